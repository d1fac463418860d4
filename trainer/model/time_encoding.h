// Time as cosines and sines of fixed periods with learned phases, and a logarithm (paper section
// 2).
#pragma once
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <vector>

namespace pinnerformer {

// Periods in seconds. 12 of the absolute time, from a quarter of an hour to a year; 32 log-spaced
// from 1 s to 4 weeks of the age and of the gap.
[[nodiscard]] std::vector<double> absolute_time_periods();
[[nodiscard]] std::vector<double> relative_time_periods();

// r(t)[2i-1] = cos(2 pi t / p_i + phi[2i-1]),  r(t)[2i] = sin(2 pi t / p_i + phi[2i]),
// r(t)[2P+1] = log1p(t) / log1p(4 weeks): scaled so that no channel dwarfs the others.
class TimeEncodingImpl : public torch::nn::Module {
 public:
  explicit TimeEncodingImpl(const std::vector<double>& period_seconds);
  // int64 [B, S] seconds >= 0 -> float32 [B, S, channels()].
  torch::Tensor forward(const torch::Tensor& seconds);
  [[nodiscard]] int64_t channels() const;

 private:
  torch::Tensor period_us_;  // int64 [P] microseconds
  torch::Tensor phase_;      // [2 P], of the cosines and then of the sines
};
TORCH_MODULE(TimeEncoding);

}  // namespace pinnerformer
