// What is popular and like the user's last items: a strong baseline where popularity moves.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dataloader/sampling/positives.h"
#include "trainer/evaluation/baseline_inputs.h"
#include "trainer/evaluation/evaluation_cases.h"
#include "trainer/evaluation/retrieval.h"
#include "trainer/evaluation/retrieval_method.h"

namespace pinnerformer {

// Score = cosine to the mean of the last `evaluate.mean_last` content vectors
//         + w * log(1 + positive events on the item in the days before the window),
// with the days of the popularity baseline. The weight w is the one of a fixed list with the best
// recall@10 one window earlier, on up to 2,000 training users: neither evaluation users nor an
// event after t have a say. Without a positive there the weight is 0. Under leave_one_out on the
// last event that training sees, with the counts of the events before it.
class PopularityRecencyBaseline final : public RetrievalMethod {
 public:
  // Throws DataError where the dataset has no content vectors.
  explicit PopularityRecencyBaseline(const BaselineInputs& inputs);
  [[nodiscard]] std::string name() const override { return "popularity_recency"; }
  // Item vectors [I, C + windows]: content vector, log counts of each window. Collective.
  torch::Tensor item_vectors() override;
  QueryVectors encode(const std::vector<HistoryPrefix>& prefixes) override;
  // The weight, and the number of positives that it was chosen on.
  [[nodiscard]] Settings settings() const override {
    return {{"weight", weight_}, {"chosen_on", static_cast<double>(chosen_on_)}};
  }

 private:
  [[nodiscard]] torch::Tensor log_counts(const std::vector<EvaluationWindow>& windows,
                                         int64_t leave_out) const;  // float32 [I, windows]
  [[nodiscard]] EvaluationWindow earlier_window() const;
  [[nodiscard]] std::vector<EvaluationCase> earlier_cases() const;  // of this rank's share
  [[nodiscard]] torch::Tensor hits_by_weight(std::span<const EvaluationCase> cases,
                                             const Retriever& retriever) const;
  void choose_weight();

  BaselineInputs inputs_;
  PositiveRule rule_;
  torch::Tensor vectors_;  // [I, C]
  int64_t windows_ = 1;    // columns of log counts
  double weight_ = 0;
  int64_t chosen_on_ = 0;  // positives
};

}  // namespace pinnerformer
