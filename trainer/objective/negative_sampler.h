// The negatives of the softmax: in-batch positives of all ranks and random items, with log Q
// (paper section 7). The pool is a function of the global batch and the step: it is the same on
// every rank and for every number of ranks.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "dataloader/sampling/batch.h"
#include "trainer/objective/count_min_sketch.h"
#include "trainer/objective/objective.h"
#include "trainer/objective/pair_exchange.h"
#include "trainer/options.h"

namespace pinnerformer {

struct NegativePool {
  torch::Tensor item;            // int64 [N], the in-batch columns first
  int64_t in_batch = 0;          // number of these
  torch::Tensor log_q;           // float32 [N], 0 without logQ
  torch::Tensor positive_log_q;  // float32 [P] of this rank's pairs, 0 without logQ
};

class NegativeSampler {
 public:
  NegativeSampler(const NegativeOptions& options, int64_t items, int64_t seed);

  // Counts the pairs of the step, then draws the pool and computes its log Q:
  //   positive  log C_pair(p, u) - log C_user(u)
  //   column    log C(n) - log total C + log N, where C is the sketch of the column's part of the
  //             pool (in-batch or random) and N the number of columns of that part
  // Pairs are counted before in-batch columns are capped. Each part has its own total and N, so
  // that a cap scales the log Q of its part and changes nothing in the other.
  [[nodiscard]] NegativePool draw(const GlobalPairs& global, const TrainingBatch& batch,
                                  std::span<const Pair> pairs, int64_t step);

  // The counters of the four sketches by name, which share their memory: training state.
  [[nodiscard]] std::map<std::string, torch::Tensor> state();
  // Throws CheckpointError where a sketch is missing, has another shape or negative counts;
  // `source` names the checkpoint.
  void load_state(const std::map<std::string, torch::Tensor>& state, const std::string& source);

 private:
  void count(const GlobalPairs& global, std::span<const int64_t> random_items);
  [[nodiscard]] std::map<std::string, CountMinSketch*> sketches();

  NegativeOptions options_;
  int64_t items_;
  int64_t seed_;
  CountMinSketch pair_counts_, user_counts_, in_batch_counts_, random_counts_;
};

// bool [rows of the batch, N]: true where the column's item is a label of the row's user.
[[nodiscard]] torch::Tensor user_positives_mask(const TrainingBatch& batch,
                                                const torch::Tensor& pool_items);

}  // namespace pinnerformer
