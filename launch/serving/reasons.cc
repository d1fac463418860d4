#include "launch/serving/reasons.h"

#include <cmath>

namespace pinnerformer {
namespace {

// Vectors of zeros, of items without content, are near to nothing.
torch::Tensor unit_rows(const torch::Tensor& vectors) {
  constexpr double kLeastNorm = 1e-12;
  return vectors / vectors.norm(2, 1, /*keepdim=*/true).clamp_min(kLeastNorm);
}

int64_t last_of_greatest(const torch::Tensor& values) {
  const float* value = values.const_data_ptr<float>();
  int64_t greatest = 0;
  for (int64_t i = 1; i < values.size(0); ++i)
    if (value[i] >= value[greatest]) greatest = i;
  return greatest;
}

double share(double part, double rest) {
  const double whole = std::abs(part) + std::abs(rest);
  return whole > 0 ? std::abs(part) / whole : 0;
}

}  // namespace

std::vector<Reason> reasons(const torch::Tensor& user, const torch::Tensor& items,
                            const torch::Tensor& events, int64_t width) {
  const torch::Tensor cosines =
      torch::matmul(unit_rows(items.narrow(1, 0, width)), unit_rows(events.narrow(1, 0, width)).t())
          .contiguous();                                         // [n, e]
  const torch::Tensor vectors = user.view({-1, user.size(-1)});  // [K, D]
  const torch::Tensor best = torch::matmul(items, vectors.t()).argmax(1);
  const torch::Tensor parts = vectors.index_select(0, best) * items;  // [n, D]
  const torch::Tensor model = parts.narrow(1, 0, width).sum(1);
  const torch::Tensor prior = parts.narrow(1, width, parts.size(1) - width).sum(1);
  std::vector<Reason> found;
  for (int64_t i = 0; i < items.size(0); ++i) {
    const int64_t event = last_of_greatest(cosines[i]);
    const auto added = prior[i].item<double>();
    found.push_back(
        {event, cosines[i][event].item<double>(), added, share(added, model[i].item<double>())});
  }
  return found;
}

}  // namespace pinnerformer
