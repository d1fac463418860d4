// The baselines as retrieval methods: each is a dot product of a user's and an item's vector.
#include "trainer/evaluation/baselines.h"

#include <cmath>
#include <stdexcept>

#include "dataloader/base/random.h"
#include "dataloader/sampling/split.h"
#include "trainer/evaluation/content_vectors.h"
#include "trainer/evaluation/pinnersage.h"
#include "trainer/normalise.h"

namespace pinnerformer {
namespace {

constexpr int64_t kRandomWidth = 32;

// `count` draws of a standard normal distribution, a function of the key.
void fill_normal(int64_t seed, int64_t key, float* values, int64_t count) {
  KeyedRandom random(RandomStream::kEvaluation, {seed, key});
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(random.normal());
}

// Adds the positive events of one timeline to counts [I, windows].
void count_positives(const Timeline& timeline, const std::vector<uint8_t>& marks,
                     const std::vector<EvaluationWindow>& spans, int64_t* counts) {
  const auto windows = static_cast<int64_t>(spans.size());
  for (size_t event = 0; event < marks.size(); ++event) {
    if (marks[event] == 0) continue;
    for (int64_t k = 0; k < windows; ++k) {
      const EvaluationWindow& span = spans[static_cast<size_t>(k)];
      const int64_t time = timeline.time[event];
      if (time > span.begin && time <= span.end) counts[timeline.item[event] * windows + k] += 1;
    }
  }
}

}  // namespace

bool needs_content_vectors(Baseline baseline) {
  return baseline == Baseline::kMeanOfLast || baseline == Baseline::kPinnerSage5 ||
         baseline == Baseline::kPinnerSage20;
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

std::vector<EvaluationWindow> PopularityBaseline::counted_spans() const {
  const Dataset& dataset = inputs_.dataset;
  if (leaves_one_out(inputs_.split)) {
    return {{.begin = dataset.first_time() - 1, .end = dataset.last_time()}};
  }
  const double days = inputs_.evaluate.popularity_days > 0 ? inputs_.evaluate.popularity_days
                                                           : inputs_.split.window_days;
  std::vector<EvaluationWindow> spans =
      evaluation_windows(evaluation_start(dataset, inputs_.split), inputs_.split);
  for (EvaluationWindow& span : spans) {
    span = {.begin = span.begin - std::llround(days * 86400), .end = span.begin};
  }
  return spans;
}

torch::Tensor PopularityBaseline::item_vectors() {
  const Dataset& dataset = inputs_.dataset;
  const PositiveRule rule = PositiveRule(inputs_.positives, dataset).with_repeats();
  const std::vector<EvaluationWindow> spans = counted_spans();
  torch::Tensor counts =
      torch::zeros({dataset.items(), static_cast<int64_t>(spans.size())}, torch::kInt64);
  const int64_t rank = inputs_.comm.rank();
  const int64_t size = inputs_.comm.size();
  const int64_t last = dataset.users() * (rank + 1) / size;
  for (int64_t user = dataset.users() * rank / size; user < last; ++user) {
    const Timeline timeline = dataset.timeline(user);
    std::vector<uint8_t> marks = rule.mark(timeline);
    if (leaves_one_out(inputs_.split) && !marks.empty()) marks.pop_back();
    count_positives(timeline, marks, spans, counts.mutable_data_ptr<int64_t>());
  }
  inputs_.comm.all_reduce(counts, "popularity counts")->wait();
  return counts.to(torch::kFloat32);  // exact up to 2^24 events on one item
}

QueryVectors PopularityBaseline::encode(const std::vector<HistoryPrefix>& prefixes) {
  const auto count = static_cast<int64_t>(prefixes.size());
  torch::Tensor vectors =
      torch::zeros({count, static_cast<int64_t>(counted_spans().size())}, torch::kFloat32);
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
  const int64_t width = vectors_.size(1);
  const float* vectors = vectors_.const_data_ptr<float>();
  torch::Tensor sums =
      torch::zeros({static_cast<int64_t>(prefixes.size()), width}, torch::kFloat32);
  float* sum = sums.mutable_data_ptr<float>();
  for (const HistoryPrefix& prefix : prefixes) {
    int64_t taken = 0;
    for (int64_t event = prefix.length - 1; event >= 0 && taken < last_; --event) {
      const int64_t item = prefix.timeline->item[static_cast<size_t>(event)];
      if (!has_vector(vectors_, item)) continue;
      for (int64_t i = 0; i < width; ++i) sum[i] += vectors[item * width + i];
      ++taken;
    }
    sum += width;
  }
  return {.vectors = normalised_rows(sums), .counts = {}};
}

}  // namespace pinnerformer
