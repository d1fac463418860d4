// Products are counted as 2 m n k operations.
#include "launch/plan/block_cost.h"

#include <algorithm>
#include <cmath>

#include "launch/plan/figures.h"

namespace pinnerformer {
namespace {

// Where scores are computed again in backward, one product of two.
constexpr double kRecomputed = 0.5;

// Kept: input of the norm and its output, three of attention's input and its output, the sum in the
// middle, its norm, four before and four after the activation. The gates of ligr keep theirs
// beside it, and its activation has two inputs.
BlockCost transformer_cost(double h, bool gated) {
  const double square = h * h, norms = 4 * h, biases = (gated ? 15 : 9) * h;
  BlockCost cost;
  cost.matrices = (gated ? 18 : 12) * square;
  cost.matrices_of_all = 2 * square;  // keys and values
  cost.parameters = norms + cost.matrices + biases;
  cost.attention_passes = kPasses + kRecomputed;
  cost.kept = gated ? 28 : 16;
  cost.kept_of_all = 5;
  return cost;
}

// Kept: input of the norm and its output, four before and four after SiLU, copies of queries, keys
// and values by head, their mix, its norm and that times the gate. A GPU keeps the scores and their
// SiLU for each head, and the places of both biases as int64.
BlockCost hstu_cost(const ModelOptions& model, bool gpu) {
  constexpr double kTimeBuckets = 64, kScores = 2, kPlaces = 2;
  const double h = real(model.hidden), norms = 4 * h, biases = 5 * h;
  BlockCost cost;
  cost.matrices = 5 * h * h;
  cost.matrices_of_all = 2 * h * h;  // values and keys
  cost.parameters = norms + cost.matrices + biases + real(model.max_length) +
                    (model.features.time ? kTimeBuckets : 0);
  // Products of whole matrices compute the other half, too.
  cost.attention_passes = gpu ? 2 * kPasses : kPasses + kRecomputed;
  cost.kept = 16;
  cost.kept_of_all = 11;
  cost.kept_scores = gpu ? kScores * real(model.heads) + kPlaces : 0;
  return cost;
}

// Kept: input of the norm and its output, two written and two of the state, the sum in the middle,
// its norm, and the two inputs of the activation, its output and their product. A GPU computes the
// recurrence by doubling and keeps two of the state for each time.
BlockCost lru_cost(double h, double window, bool gpu) {
  const double inner = std::ceil(8 * h / 3), norms = 4 * h, recurrence = 3 * h,
               biases = 4 * h + 2 * inner;
  const double doublings = gpu ? std::ceil(std::log2(std::max(window, 1.0))) : 0;
  BlockCost cost;
  cost.matrices = 4 * h * h + 3 * h * inner;
  cost.matrices_of_all = 2 * h * h;  // what writes the state
  cost.parameters = norms + recurrence + cost.matrices + biases;
  cost.kept_of_all = 6 + 2 * doublings;
  cost.kept = cost.kept_of_all + 2 + 4 * inner / h;
  return cost;
}

}  // namespace

BlockCost block_cost(const ModelOptions& model, double window, bool gpu) {
  switch (model.block) {
    case BlockKind::kHstu:
      return hstu_cost(model, gpu);
    case BlockKind::kLru:
      return lru_cost(real(model.hidden), window, gpu);
    case BlockKind::kTransformer:
    case BlockKind::kLigr:
      break;
  }
  return transformer_cost(real(model.hidden), model.block == BlockKind::kLigr);
}

double attention_operations(double events, double window, double hidden) {
  return events * 2 * window * hidden;
}

double block_operations(const BlockCost& block, double events, double window, double hidden) {
  return kPasses * events * 2 * block.matrices +
         block.attention_passes * attention_operations(events, window, hidden);
}

double block_touched_bytes(const BlockCost& block, double events, double hidden) {
  return kTouches * kFloat * events * hidden * block.kept;
}

}  // namespace pinnerformer
