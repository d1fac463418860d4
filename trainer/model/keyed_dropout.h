// Dropout whose mask depends on (draw key of the row, site, element) and on nothing else, so that
// the number of ranks, the padding and the batch a row sits in never change it.
#pragma once
#include <torch/types.h>

#include <optional>

namespace pinnerformer {

// input [B, ...] float32 or bfloat16; draw_key int64 [B]; `site` tells the uses in a model apart.
// Zeroes elements with probability p in [0, 1) and scales the rest by 1 / (1 - p). Where a row of
// the input is only a part of what the key stands for, first_element int64 [B] says where it
// starts.
[[nodiscard]] torch::Tensor keyed_dropout(const torch::Tensor& input, const torch::Tensor& draw_key,
                                          int64_t site, double p,
                                          const std::optional<torch::Tensor>& first_element = {});

}  // namespace pinnerformer
