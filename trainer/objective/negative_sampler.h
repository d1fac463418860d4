// The negatives of the softmax: in-batch positives of all ranks and random items, with log Q
// (paper section 7). The pool is a function of the global batch and the step: it is the same on
// every rank and for every number of ranks.
#pragma once
#include <torch/types.h>

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "dataloader/sampling/batch.h"
#include "trainer/objective/objective.h"
#include "trainer/objective/positive_exchange.h"
#include "trainer/options.h"

namespace pinnerformer {

struct NegativePool {
  torch::Tensor item;            // int64 [N], the in-batch columns first
  int64_t in_batch = 0;          // number of these
  torch::Tensor log_q;           // float32 [N], 0 without logQ
  torch::Tensor positive_log_q;  // float32 [P] of this rank's pairs, 0 without logQ
};

// Q of a column is the expected number of columns that hold its item:
//   in-batch   E_in(i) = n * C(i) / T: n in-batch columns, C(i) of T positives counted since the
//              run began, those of this step included and before the cap on n
//   random     E_random(i) = m / I: m draws, uniform over I items
//   per_part   an in-batch column has Q = E_in, a random one E_random
//   mixture    every column has Q = E_in + E_random (mixed negative sampling, WWW 2020)
//   corrected  as mixture, and the positive is not corrected (arXiv 2507.09331)
// Q of a positive, but for `corrected`, is its share of its user's pairs in this step.
class NegativeSampler {
 public:
  NegativeSampler(const NegativeOptions& options, int64_t items, int64_t seed);

  // Counts the positives of the step, then draws the pool. `pairs` are this rank's. Every rank must
  // call it: the items of the in-batch columns and their counts are fetched from the ranks that
  // have them, which are two collectives of the pool's size.
  [[nodiscard]] NegativePool draw(const GlobalPositives& global, std::span<const Pair> pairs,
                                  int64_t step, Communicator& control);

  // As if draw() had not been called for `step` and later steps, of which there are two at most.
  void take_back(int64_t step);

  // "positive_counts", int32 [I], on the coordinator: training state, the sum over ranks; with one
  // rank it shares the sampler's memory. Nothing on other ranks, without logQ or without in-batch
  // negatives. Every rank must call it.
  [[nodiscard]] std::map<std::string, torch::Tensor> gather_state(Communicator& control) const;
  // To be called by every rank after load_state() on the coordinator: that one then holds all
  // counts so far.
  void share_state(Communicator& control);
  // Throws CheckpointError where the counts are missing, have another shape or are negative;
  // `source` names the checkpoint. Counting starts anew after a checkpoint that holds count-min
  // sketches, as those of version 1 do.
  void load_state(const std::map<std::string, torch::Tensor>& state, const std::string& source);

 private:
  // What a step has counted.
  struct Counted {
    int64_t step = 0;
    std::vector<int64_t> items;  // of this rank
    int64_t positives = 0;       // of all ranks
  };
  void count(const GlobalPositives& global, int64_t step);
  // int64 [n], over all ranks.
  [[nodiscard]] torch::Tensor counts_of(const torch::Tensor& items, Communicator& control) const;
  [[nodiscard]] torch::Tensor log_q_of_columns(const NegativePool& pool,
                                               Communicator& control) const;

  NegativeOptions options_;
  int64_t items_;
  int64_t seed_;
  torch::Tensor counts_;         // int32 [I] or empty: of this rank's users, since it started
  int64_t total_ = 0;            // sum of the counts of all ranks
  std::array<Counted, 2> last_;  // the last steps counted
};

// bool [rows of the batch, N]: true where the column's item is a label of the row's user.
[[nodiscard]] torch::Tensor user_positives_mask(const TrainingBatch& batch,
                                                const torch::Tensor& pool_items);

}  // namespace pinnerformer
