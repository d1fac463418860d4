// The columns of the softmax: in-batch positives of all ranks and random items, with log Q.
// Paper section 7. Everything here is a function of the global batch and the step, so the pool is
// the same on every rank and for every number of ranks.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "dataloader/sampling/batch.h"
#include "trainer/objective/count_min_sketch.h"
#include "trainer/objective/data_faults.h"
#include "trainer/objective/objective.h"
#include "trainer/options.h"

namespace pinnerformer {

// (user, item) of every pair of the global batch, users in the order of the global batch.
struct GlobalPairs {
  std::vector<int64_t> user;
  std::vector<int64_t> item;
  int64_t users_with_pairs = 0;
  DataFaults faults = {};
};

// One all-gather of fixed size, which also carries what the loaders met. Every rank must call it.
[[nodiscard]] GlobalPairs gather_pairs(const TrainingBatch& batch, std::span<const Pair> pairs,
                                       int64_t max_pairs_per_row, Communicator& control);

struct NegativePool {
  torch::Tensor item;            // int64 [N], the in-batch columns first
  torch::Tensor log_q;           // float32 [N], 0 without logQ
  torch::Tensor positive_log_q;  // float32 [P] of this rank's pairs, 0 without logQ
};

class NegativeSampler {
 public:
  NegativeSampler(const NegativeOptions& options, int64_t items, int64_t seed);

  // Counts the pairs of the step, then draws the pool and reads its log Q:
  //   positive  log C_pair(p, u) - log C_user(u)
  //   column    log C(n) - log total C + log N, C being the sketch of the column's part of the pool
  //             (in-batch or random) and N the columns of that part
  // Counting comes before the cap; with totals and N of each part apart, a cap scales log Q instead
  // of tilting one part against the other.
  [[nodiscard]] NegativePool draw(const GlobalPairs& global, const TrainingBatch& batch,
                                  std::span<const Pair> pairs, int64_t step);

  // The four sketches by name: training state.
  [[nodiscard]] std::map<std::string, torch::Tensor> state() const;
  void load_state(const std::map<std::string, torch::Tensor>& state);

 private:
  void count(const GlobalPairs& global, std::span<const int64_t> random_items);

  NegativeOptions options_;
  int64_t items_;
  int64_t seed_;
  CountMinSketch pair_counts_, user_counts_, in_batch_counts_, random_counts_;
};

// True where a column's item is one of the labels of the row's user: bool [rows of the batch, N].
[[nodiscard]] torch::Tensor user_positives_mask(const TrainingBatch& batch,
                                                const torch::Tensor& pool_items);

}  // namespace pinnerformer
