// The baselines as retrieval methods: each is a dot product of a user's and an item's vector.
#include "trainer/evaluation/baselines.h"

#include <stdexcept>

#include "dataloader/base/random.h"
#include "dataloader/sampling/split.h"
#include "trainer/evaluation/content_vectors.h"
#include "trainer/evaluation/neighbour_baselines.h"
#include "trainer/evaluation/pinnersage.h"
#include "trainer/evaluation/popularity_counts.h"
#include "trainer/evaluation/popularity_recency.h"
#include "trainer/normalise.h"

namespace pinnerformer {
namespace {

constexpr int64_t kRandomWidth = 32;

// `count` draws of a standard normal distribution, a function of the key.
void fill_normal(int64_t seed, int64_t key, float* values, int64_t count) {
  KeyedRandom random(RandomStream::kEvaluation, {seed, key});
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(random.normal());
}

}  // namespace

bool needs_content_vectors(Baseline baseline) {
  return baseline == Baseline::kMeanOfLast || baseline == Baseline::kPinnerSage5 ||
         baseline == Baseline::kPinnerSage20 || baseline == Baseline::kPopularityRecency;
}

std::unique_ptr<RetrievalMethod> make_baseline(Baseline baseline, const BaselineInputs& inputs) {
  const auto pinnersage = [&](int64_t clusters) {
    return std::make_unique<PinnerSageBaseline>(inputs.dataset,
                                                PinnerSageOptions{.clusters = clusters});
  };
  switch (baseline) {
    case Baseline::kRandom:
      return std::make_unique<RandomBaseline>(inputs.dataset.items(), inputs.seed);
    case Baseline::kPopularity:
      return std::make_unique<PopularityBaseline>(inputs);
    case Baseline::kPersonalPopularity:
      return std::make_unique<PersonalPopularityBaseline>(inputs);
    case Baseline::kMeanOfLast:
      return std::make_unique<MeanOfLastBaseline>(inputs.dataset, inputs.evaluate.mean_last);
    case Baseline::kPinnerSage5:
      return pinnersage(5);
    case Baseline::kPinnerSage20:
      return pinnersage(20);
    case Baseline::kMarkov:
      return std::make_unique<MarkovBaseline>(inputs);
    case Baseline::kItemToItem:
      return std::make_unique<ItemToItemBaseline>(inputs);
    case Baseline::kEase:
      return std::make_unique<EaseBaseline>(inputs);
    case Baseline::kPopularityRecency:
      return std::make_unique<PopularityRecencyBaseline>(inputs);
  }
  throw std::logic_error("make_baseline: a baseline is not handled");
}

torch::Tensor RandomBaseline::item_vectors() {
  torch::Tensor vectors = torch::empty({items_, kRandomWidth}, torch::kFloat32);
  // A negative key, as users have the others.
  fill_normal(seed_, -1, vectors.mutable_data_ptr<float>(), vectors.numel());
  // Of one norm: longer vectors would be in the list of every user.
  return normalised_rows(vectors);
}

QueryVectors RandomBaseline::encode(const std::vector<HistoryPrefix>& prefixes) {
  const auto count = static_cast<int64_t>(prefixes.size());
  torch::Tensor vectors = torch::empty({count, kRandomWidth}, torch::kFloat32);
  for (int64_t i = 0; i < count; ++i) {
    const Timeline& timeline = *prefixes[static_cast<size_t>(i)].timeline;
    float* row = vectors.mutable_data_ptr<float>() + i * kRandomWidth;
    fill_normal(seed_, timeline.user, row, kRandomWidth);
  }
  return {.vectors = vectors, .counts = {}};
}

torch::Tensor PopularityBaseline::item_vectors() {
  const std::vector<EvaluationWindow> windows =
      evaluation_windows(evaluation_start(inputs_.dataset, inputs_.split), inputs_.split);
  const torch::Tensor counts = count_popularity(inputs_, popularity_spans(inputs_, windows),
                                                leaves_one_out(inputs_.split) ? 1 : 0);
  windows_ = counts.size(1);
  return counts.to(torch::kFloat32);  // exact up to 2^24 events on one item
}

QueryVectors PopularityBaseline::encode(const std::vector<HistoryPrefix>& prefixes) {
  const auto count = static_cast<int64_t>(prefixes.size());
  torch::Tensor vectors = torch::zeros({count, windows_}, torch::kFloat32);
  for (int64_t i = 0; i < count; ++i) {
    vectors[i][prefixes[static_cast<size_t>(i)].window] = 1;
  }
  return {.vectors = vectors, .counts = {}};
}

PersonalPopularityBaseline::PersonalPopularityBaseline(const BaselineInputs& inputs)
    : items_(inputs.dataset.items()),
      rule_(PositiveRule(inputs.positives, inputs.dataset).with_repeats()) {}

QueryVectors PersonalPopularityBaseline::encode(const std::vector<HistoryPrefix>& prefixes) {
  torch::Tensor counts = torch::zeros({std::ssize(prefixes), items_}, torch::kFloat32);
  float* row = counts.mutable_data_ptr<float>();
  for (const HistoryPrefix& prefix : prefixes) {
    const std::vector<uint8_t> marks = rule_.mark(*prefix.timeline);
    for (size_t event = 0; event < static_cast<size_t>(prefix.length); ++event)
      row[prefix.timeline->item[event]] += static_cast<float>(marks[event]);
    row += items_;
  }
  return {.vectors = counts, .counts = {}};
}

MeanOfLastBaseline::MeanOfLastBaseline(const Dataset& dataset, int64_t last)
    : vectors_(content_vectors(dataset, "mean_of_last")), last_(last) {}

QueryVectors MeanOfLastBaseline::encode(const std::vector<HistoryPrefix>& prefixes) {
  return {.vectors = mean_of_last(vectors_, prefixes, last_), .counts = {}};
}

}  // namespace pinnerformer
