// A linear recurrence with complex diagonal weights, the sequence mixer of LRU (Orvieto et al.,
// "Resurrecting Recurrent Neural Networks for Long Sequences", ICML 2023).
#pragma once
#include <torch/types.h>

namespace pinnerformer {

// h_s = weight * h_{s-1} + input_s, complex numbers element by element: input float32 [B, S, 2K]
// and weight [2K] hold K real parts and then K imaginary ones, and so does the result [B, S, 2K].
// `before` [B, 2K] is h of the event before the first; undefined: zero. One pass over time for all
// channels and users in parallel on a CPU, by doubling elsewhere.
[[nodiscard]] torch::Tensor linear_recurrence(const torch::Tensor& input,
                                              const torch::Tensor& weight,
                                              const torch::Tensor& before = {});

// The same in ceil(log2(S)) operations over whole tensors: after the n-th, each position holds the
// sum over the last 2^n. For devices where a pass over time would be S small kernels.
[[nodiscard]] torch::Tensor linear_recurrence_by_doubling(const torch::Tensor& input,
                                                          const torch::Tensor& weight,
                                                          const torch::Tensor& before = {});

}  // namespace pinnerformer
