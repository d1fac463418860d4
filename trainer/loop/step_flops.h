// The arithmetic of a step: what a device would have to compute even with perfect kernels.
#pragma once
#include <cstdint>

#include "trainer/model/model.h"
#include "trainer/options.h"

namespace pinnerformer {

// What one rank computes in a step.
struct RankStepShape {
  int64_t users = 0;       // B
  int64_t length = 0;      // S, padding included: it is computed, too
  int64_t positions = 0;   // Q, those with pairs
  int64_t pairs = 0;       // P
  int64_t pool_share = 0;  // items of the pool that this rank embeds
  int64_t columns = 0;     // N, of the whole pool
};

// Model FLOP of a step. A multiplication and an addition are two; backward costs twice as much as
// forward. Counted are the products: every weight matrix times the rows it is applied to (in the
// last block the positions with pairs, but for keys and values and what writes a state), causal
// attention (half of S x S; recurrent blocks have none), and the logits (P x N, for each of a
// user's vectors). What is computed again in backward and all element-wise work are not, nor are
// the sums of a recurrence.
class StepFlops {
 public:
  StepFlops(PinnerFormer& model, const ModelOptions& options);
  [[nodiscard]] double of(const RankStepShape& shape) const;

 private:
  ModelOptions options_;
  // Elements of the matrices applied to each position, each position with pairs, each pair, each
  // item.
  double of_position_ = 0, of_pair_position_ = 0, of_pair_ = 0, of_item_ = 0;
  bool items_at_positions_ = false;  // the item tower embeds the inputs as well
};

}  // namespace pinnerformer
