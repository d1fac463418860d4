#include "trainer/optimizer/row_optimizer.h"

#include <cmath>
#include <utility>

#include "comm/rows/row_copy.h"
#include "trainer/simd.h"

namespace pinnerformer {
namespace {

PF_VECTOR_CLONES void subtract_scaled(float* __restrict value, const float* __restrict gradient,
                                      float scale, int64_t width) {
  for (int64_t i = 0; i < width; ++i) value[i] -= scale * gradient[i];
}

// The moments of a row that is long unused shrink to denormal numbers, which processors compute a
// hundred times more slowly.
inline float flushed(float moment) { return std::abs(moment) < 1e-30F ? 0.0F : moment; }

class RowwiseAdagrad : public RowOptimizer {
 public:
  RowwiseAdagrad(const OptimizerOptions& options, torch::Tensor sums, int64_t width)
      : epsilon_(static_cast<float>(options.epsilon)), width_(width), sums_(std::move(sums)) {}

  void update(float* value, const RowStep& step, double learning_rate) override {
    float& sum = sums_.data_ptr<float>()[step.row * sums_.stride(0)];
    sum += step.mean_square;
    const float scale = static_cast<float>(learning_rate) / (std::sqrt(sum) + epsilon_);
    subtract_scaled(value, step.gradient, scale, width_);
  }

  void prefetch_state(int64_t) const override {}

  std::map<std::string, torch::Tensor> state() const override { return {{"adagrad", sums_}}; }

 private:
  float epsilon_;
  int64_t width_;
  torch::Tensor sums_;  // float32 [rows]
};

class RowAdam : public RowOptimizer {
 public:
  RowAdam(const OptimizerOptions& options, int64_t rows, int64_t width)
      : options_(options),
        width_(width),
        first_(empty_table({rows, width}).zero_()),
        second_(empty_table({rows, width}).zero_()) {}

  void update(float* __restrict value, const RowStep& step, double learning_rate) override {
    const auto steps = static_cast<double>(step.updates);
    const auto beta1 = static_cast<float>(options_.beta1);
    const auto beta2 = static_cast<float>(options_.beta2);
    const auto rate = static_cast<float>(learning_rate / (1 - std::pow(options_.beta1, steps)));
    const auto unbias = static_cast<float>(1 / std::sqrt(1 - std::pow(options_.beta2, steps)));
    const auto epsilon = static_cast<float>(options_.epsilon);
    const float* __restrict gradient = step.gradient;
    float* __restrict m = first_.data_ptr<float>() + step.row * width_;
    float* __restrict v = second_.data_ptr<float>() + step.row * width_;
    for (int64_t i = 0; i < width_; ++i) {
      m[i] = flushed(beta1 * m[i] + (1 - beta1) * gradient[i]);
      v[i] = flushed(beta2 * v[i] + (1 - beta2) * gradient[i] * gradient[i]);
      value[i] -= rate * m[i] / (std::sqrt(v[i]) * unbias + epsilon);
    }
  }

  void prefetch_state(int64_t row) const override {
    const size_t bytes = static_cast<size_t>(width_) * sizeof(float);
    prefetch<Access::kWrite>(first_.const_data_ptr<float>() + row * width_, bytes);
    prefetch<Access::kWrite>(second_.const_data_ptr<float>() + row * width_, bytes);
  }

  std::map<std::string, torch::Tensor> state() const override {
    return {{"adam.m", first_}, {"adam.v", second_}};
  }

 private:
  OptimizerOptions options_;
  int64_t width_;
  torch::Tensor first_, second_;  // float32 [rows, width]
};

}  // namespace

std::unique_ptr<RowOptimizer> make_row_optimizer(RowOptimizerKind kind,
                                                 const OptimizerOptions& options,
                                                 torch::Tensor number, int64_t width) {
  if (kind == RowOptimizerKind::kRowwiseAdagrad)
    return std::make_unique<RowwiseAdagrad>(options, std::move(number), width);
  return std::make_unique<RowAdam>(options, number.size(0), width);
}

}  // namespace pinnerformer
