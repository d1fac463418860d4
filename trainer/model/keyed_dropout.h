// Dropout whose mask is a function of (draw key of the row, site, element). The number of ranks,
// the padding and the batch of a row do not change it.
#pragma once
#include <torch/types.h>

#include <optional>

namespace pinnerformer {

// input [B, ...] float32 or bfloat16; draw_key int64 [B]; `site` is the number of this dropout in
// the model. Zeroes elements with probability p in [0, 1) and multiplies the others by 1 / (1 - p).
// Where a row of the input is a part of a longer row, first_element int64 [B] is the index of its
// first element there.
[[nodiscard]] torch::Tensor keyed_dropout(const torch::Tensor& input, const torch::Tensor& draw_key,
                                          int64_t site, double p,
                                          const std::optional<torch::Tensor>& first_element = {});

// residual + keyed_dropout(branch, ...): on a GPU by one kernel, which reads and writes each
// element once and does not round the product to the type of `branch`.
[[nodiscard]] torch::Tensor add_dropped(const torch::Tensor& residual, const torch::Tensor& branch,
                                        const torch::Tensor& draw_key, int64_t site, double p,
                                        const std::optional<torch::Tensor>& first_element = {});
// The same by one kernel on every device: residual float32, branch float32 or bfloat16, of the same
// sizes.
[[nodiscard]] torch::Tensor add_dropped_at_once(
    const torch::Tensor& residual, const torch::Tensor& branch, const torch::Tensor& draw_key,
    int64_t site, double p, const std::optional<torch::Tensor>& first_element = {});

}  // namespace pinnerformer
