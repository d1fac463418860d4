// The baselines: random, popularity, the user's own popular items, and the mean of the last content
// vectors.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "dataloader/sampling/positives.h"
#include "trainer/evaluation/baseline_inputs.h"
#include "trainer/evaluation/retrieval_method.h"
#include "trainer/options.h"

namespace pinnerformer {

// True where make_baseline() needs the dataset to have content vectors.
[[nodiscard]] bool needs_content_vectors(Baseline baseline);

// Throws DataError where the baseline needs content vectors and the dataset has none, or has too
// many items for it.
[[nodiscard]] std::unique_ptr<RetrievalMethod> make_baseline(Baseline baseline,
                                                             const BaselineInputs& inputs);

// Random scores: the level of chance.
class RandomBaseline final : public RetrievalMethod {
 public:
  RandomBaseline(int64_t items, int64_t seed) : items_(items), seed_(seed) {}
  [[nodiscard]] std::string name() const override { return "random"; }
  torch::Tensor item_vectors() override;
  QueryVectors encode(const std::vector<HistoryPrefix>& prefixes) override;
  [[nodiscard]] bool depends_on_time() const override { return false; }

 private:
  int64_t items_;
  int64_t seed_;
};

// Positive events of all users, repeats included, in the days before each window; under
// leave_one_out all but the last event of every user. The vector of an item holds its count for
// each window, that of a user is 1 for its window.
class PopularityBaseline final : public RetrievalMethod {
 public:
  explicit PopularityBaseline(const BaselineInputs& inputs) : inputs_(inputs) {}
  [[nodiscard]] std::string name() const override { return "popularity"; }
  // Each rank counts its share of the users.
  torch::Tensor item_vectors() override;
  QueryVectors encode(const std::vector<HistoryPrefix>& prefixes) override;
  [[nodiscard]] bool depends_on_time() const override { return false; }

 private:
  BaselineInputs inputs_;
  int64_t windows_ = 1;
};

// A user's own items by the number of positive events on them: strong where users return to items
// (evaluate.exclude_seen = false), useless where every positive is new.
class PersonalPopularityBaseline final : public RetrievalMethod {
 public:
  explicit PersonalPopularityBaseline(const BaselineInputs& inputs);
  [[nodiscard]] std::string name() const override { return "personal_popularity"; }
  torch::Tensor item_vectors() override { return {}; }
  [[nodiscard]] int64_t most_prefixes() const override { return dense_prefixes(items_); }
  QueryVectors encode(const std::vector<HistoryPrefix>& prefixes) override;  // counts [n, I]

 private:
  int64_t items_;
  PositiveRule rule_;
};

// Mean of the normalised content vectors of the last `evaluate.mean_last` items that have one.
class MeanOfLastBaseline final : public RetrievalMethod {
 public:
  MeanOfLastBaseline(const Dataset& dataset, int64_t last);
  [[nodiscard]] std::string name() const override { return "mean_of_last"; }
  torch::Tensor item_vectors() override { return vectors_; }
  // Zeros for a user none of whose items has a vector: all items then have the same score.
  QueryVectors encode(const std::vector<HistoryPrefix>& prefixes) override;

 private:
  torch::Tensor vectors_;  // [I, C]
  int64_t last_;
};

}  // namespace pinnerformer
