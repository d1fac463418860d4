#include "launch/doctor/rank_speed.h"

#include <torch/cuda.h>

#include <algorithm>
#include <chrono>

namespace pinnerformer {
namespace {

constexpr int kMeasurements = 5;
constexpr int64_t kCopyBytes = 64 << 20;

// Seconds of the fastest call.
template <class Call>
double fastest(torch::Device device, Call call) {
  double best = 1e9;
  for (int i = -1; i < kMeasurements; ++i) {  // the first one warms up
    const auto begin = std::chrono::steady_clock::now();
    call();
    if (device.is_cuda()) torch::cuda::synchronize(device.index());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (i >= 0) best = std::min(best, took.count());
  }
  return best;
}

}  // namespace

double product_gflops(torch::Device device) {
  const torch::NoGradGuard no_grad;
  const int64_t n = device.is_cuda() ? 8192 : 768;
  const auto options = torch::TensorOptions(torch::kFloat32).device(device);
  const torch::Tensor a = torch::ones({n, n}, options), b = torch::ones({n, n}, options);
  torch::Tensor out = torch::empty({n, n}, options);
  const double seconds = fastest(device, [&] { torch::mm_out(out, a, b); });
  const auto size = static_cast<double>(n);
  return 2 * size * size * size / seconds * 1e-9;
}

double copy_gb_per_second(torch::Device device) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor from = torch::zeros({kCopyBytes}, torch::kUInt8);
  torch::Tensor to = torch::zeros({kCopyBytes}, torch::TensorOptions(torch::kUInt8).device(device));
  const double seconds = fastest(device, [&] { to.copy_(from); });
  return static_cast<double>(kCopyBytes) / seconds * 1e-9;
}

}  // namespace pinnerformer
