// The pointwise attention of HSTU (Zhai et al., "Actions Speak Louder than Words", ICML 2024).
#pragma once
#include <torch/types.h>

#include <array>
#include <cstdint>

namespace pinnerformer {

// Added to the scores, the same for all heads.
struct HstuBias {
  torch::Tensor position;  // float32 [M], by how many events a key is older than the query; S <= M
  torch::Tensor time;      // float32 [kTimeBuckets], by how much older it is; undefined: none
};

// Two buckets for each doubling of the seconds: bucket b starts at 2^(b / 2).
inline constexpr int64_t kTimeBuckets = 64;
[[nodiscard]] int64_t time_bucket(int64_t seconds);
// The least number of seconds of each bucket, ascending, from 0: for searches by tensors.
[[nodiscard]] std::array<int64_t, kTimeBuckets> time_bucket_starts();

// Row i is the sum over j <= i of SiLU(q_i k_j + position[i - j] + time[bucket(t_i - t_j)]) v_j,
// divided by `divisor`, a constant: a sum over the events present would depend on the padding.
// Queries, keys and values [B, heads, S, d], and so is the result; time int64 [B, S] seconds.
// Computed user by user on a CPU, by products elsewhere.
[[nodiscard]] torch::Tensor hstu_attention(const torch::Tensor& queries, const torch::Tensor& keys,
                                           const torch::Tensor& values, const HstuBias& bias,
                                           const torch::Tensor& time, double divisor);

// The same as matrix products of the whole batch. Backward keeps several tensors of B * heads * S *
// S elements.
[[nodiscard]] torch::Tensor hstu_attention_by_products(const torch::Tensor& queries,
                                                       const torch::Tensor& keys,
                                                       const torch::Tensor& values,
                                                       const HstuBias& bias,
                                                       const torch::Tensor& time, double divisor);

}  // namespace pinnerformer
