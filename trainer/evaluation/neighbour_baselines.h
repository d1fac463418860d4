// Baselines of counted pairs of items: first-order Markov chains, item to item, and EASE. They
// learn from the events that training sees (training_part.h), as the model does; a query sees its
// prefix. None scores by anything after t.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dataloader/sampling/positives.h"
#include "trainer/evaluation/baseline_inputs.h"
#include "trainer/evaluation/neighbour_lists.h"
#include "trainer/evaluation/retrieval_method.h"

namespace pinnerformer {

// Tells the other ranks that rank 0 still counts: see work_on_root().
using GoesOn = std::function<void()>;

// An item of a history and its weight in a score.
struct WeightedItem {
  int32_t item = 0;
  float weight = 1;
};

// Neighbour lists with a back-off: the score of an item is the sum over sources of
// source weight * entry, plus .01 * its positive events / those of the most popular item, so that
// items without a common user are in the order of their popularity.
class NeighbourScores {
 public:
  explicit NeighbourScores(int64_t items) : lists_(items), backoff_(torch::zeros({items})) {}

  NeighbourLists& lists() { return lists_; }
  // counts int64 [I]: positive events.
  void set_popularity(const torch::Tensor& counts);
  // Collective: every rank receives what rank 0 has.
  void broadcast(Communicator& comm);
  // [n, I] for the sources of n queries.
  [[nodiscard]] torch::Tensor operator()(
      const std::vector<std::vector<WeightedItem>>& sources) const;

 private:
  NeighbourLists lists_;
  torch::Tensor backoff_;  // float32 [I]
};

// n(a, b) = how often training users had a positive event on b in the next later second that has
// one, after an event on a. Events of one second are a set: a basket has no order. The score of b
// is the sum over a in the latest `evaluate.markov_last` seconds of the history of n(a, b), halved
// for each second further back. At most 256 items of a second count.
class MarkovBaseline final : public RetrievalMethod {
 public:
  explicit MarkovBaseline(const BaselineInputs& inputs);
  [[nodiscard]] std::string name() const override { return "markov"; }
  // Rank 0 counts.
  torch::Tensor item_vectors() override;
  [[nodiscard]] int64_t most_prefixes() const override {
    return dense_prefixes(inputs_.dataset.items());
  }
  QueryVectors encode(const std::vector<HistoryPrefix>& prefixes) override;

 private:
  void count(const GoesOn& goes_on);

  BaselineInputs inputs_;
  PositiveRule rule_;
  NeighbourScores scores_;
};

// The cosine between items as columns of the matrix of users and items, c(a, b) / √(c(a) c(b)) with
// c the number of training users with positive events on a, b or both; of a user the 500 latest
// items count for pairs. The score of b is the sum over the latest `evaluate.item_to_item_last`
// different items a of the user's positive events.
class ItemToItemBaseline final : public RetrievalMethod {
 public:
  explicit ItemToItemBaseline(const BaselineInputs& inputs);
  [[nodiscard]] std::string name() const override { return "item_to_item"; }
  // Rank 0 counts.
  torch::Tensor item_vectors() override;
  [[nodiscard]] int64_t most_prefixes() const override {
    return dense_prefixes(inputs_.dataset.items());
  }
  QueryVectors encode(const std::vector<HistoryPrefix>& prefixes) override;

 private:
  void count(const GoesOn& goes_on);

  BaselineInputs inputs_;
  PositiveRule rule_;
  NeighbourScores scores_;
};

// EASE (Steck, "Embarrassingly shallow autoencoders for sparse data", WWW'19): with X the matrix of
// training users and items, G = X'X + λI and P = G^-1, B = -P / diag(P) by columns with a zero
// diagonal; the score of b is the sum over the items a of the user's positive events of B[a, b].
// λ is evaluate.ease_l2. A dense matrix of all items: at most 12,000 of them.
class EaseBaseline final : public RetrievalMethod {
 public:
  // Throws DataError where there are more items.
  explicit EaseBaseline(const BaselineInputs& inputs);
  [[nodiscard]] std::string name() const override { return "ease"; }
  // Rank 0 counts and solves.
  torch::Tensor item_vectors() override;
  [[nodiscard]] int64_t most_prefixes() const override {
    return dense_prefixes(inputs_.dataset.items());
  }
  QueryVectors encode(const std::vector<HistoryPrefix>& prefixes) override;

 private:
  [[nodiscard]] torch::Tensor weights(torch::Tensor gram) const;
  [[nodiscard]] torch::Tensor gram(const GoesOn& goes_on) const;  // X'X, float32 [I, I]

  BaselineInputs inputs_;
  PositiveRule rule_;
  torch::Tensor weights_;  // B, float32 [I, I]
};

}  // namespace pinnerformer
