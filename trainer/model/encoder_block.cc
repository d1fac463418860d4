#include "trainer/model/encoder_block.h"

namespace pinnerformer {

DropoutRows dropout_rows(const Sequences& sequences) { return {sequences.draw_key, {}}; }

DropoutRows dropout_rows_at(const Sequences& sequences, const torch::Tensor& positions,
                            int64_t length, int64_t width) {
  return {sequences.draw_key.index_select(0, positions.floor_divide(length)),
          positions.remainder(length) * width};
}

torch::Tensor rows_at(const torch::Tensor& states, const torch::Tensor& positions) {
  return states.flatten(0, 1).index_select(0, positions);
}

torch::Tensor spread_rows(const torch::Tensor& rows, const torch::Tensor& positions, int64_t users,
                          int64_t length) {
  return torch::zeros({users * length, rows.size(1)}, rows.options())
      .index_copy(0, positions, rows)
      .view({users, length, rows.size(1)});
}

}  // namespace pinnerformer
