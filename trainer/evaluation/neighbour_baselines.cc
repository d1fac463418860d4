// Counting on rank 0 in bounded memory, then one row of scores per query.
#include "trainer/evaluation/neighbour_baselines.h"

#include <torch/nn/functional/embedding.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <unordered_set>
#include <utility>

#include "comm/work_on_root.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/temporary.h"
#include "dataloader/sampling/split.h"
#include "dataloader/vectors/co_occurrence.h"
#include "dataloader/vectors/pair_counter.h"
#include "trainer/evaluation/training_part.h"

namespace pinnerformer {
namespace {

constexpr int64_t kPairMemory = int64_t{256} << 20;  // bytes, for pairs being counted
constexpr int64_t kMostOfASecond = 256;              // pairs grow with the square
constexpr int64_t kMostOfAUser = 500;
constexpr int64_t kAllItems = std::numeric_limits<int64_t>::max();
constexpr float kDecay = 0.5F;     // of a second's weight, for each second further back
constexpr float kBackoff = 0.01F;  // below the smallest count
constexpr int64_t kMostEaseItems = 12000;

std::string temporary_prefix() {
  return temporary_name((std::filesystem::temp_directory_path() / "pinnerformer-pairs").string());
}

// Different items of the events [begin, end) of which `counts` holds, latest first, at most `most`.
template <typename Counts>
std::vector<int32_t> latest_items(const Timeline& timeline, int64_t begin, int64_t end,
                                  int64_t most, const Counts& counts) {
  std::vector<int32_t> items;
  std::unordered_set<int32_t> taken;
  for (int64_t event = end - 1; event >= begin && std::ssize(items) < most; --event) {
    const int32_t item = timeline.item[static_cast<size_t>(event)];
    if (counts(event) && taken.insert(item).second) items.push_back(item);
  }
  return items;
}

// The same of the whole history of a query, by its positive events.
std::vector<int32_t> positive_items(const HistoryPrefix& prefix, const PositiveRule& rule,
                                    int64_t most) {
  const std::vector<uint8_t> marks = rule.mark(*prefix.timeline);
  return latest_items(*prefix.timeline, 0, prefix.length, most,
                      [&](int64_t event) { return marks[static_cast<size_t>(event)] != 0; });
}

// First event of the second of event `end` - 1.
int64_t second_begin(const Timeline& timeline, int64_t end) {
  const auto last = timeline.time.begin() + (end - 1);
  return std::lower_bound(timeline.time.begin(), last, *last) - timeline.time.begin();
}

// Co-occurrence of positive events in the training part.
CoOccurrence training_co_occurrence(const BaselineInputs& inputs, const GoesOn& goes_on) {
  const SplitOptions& split = inputs.split;
  CoOccurrenceOptions options{.before = training_end(inputs.dataset, split) + 1,
                              .leave_out = left_out_events(split),
                              .counted = inputs.positives,
                              .max_items_per_user = kMostOfAUser,
                              .memory_bytes = kPairMemory,
                              .temporary_prefix = temporary_prefix(),
                              .counts_user = [&](int64_t user) {
                                return is_training_user(inputs.dataset.user_hash(user), split);
                              }};
  options.counted.first_only = false;
  return count_co_occurrence(inputs.dataset, options, [&](const StageProgress&) { goes_on(); });
}

// Transitions of one user, as pairs (a, items + b): PairCounter knows no order.
class TransitionCounter {
 public:
  TransitionCounter(int64_t items, const PositiveRule& rule)
      : items_(items), rule_(rule), pairs_(temporary_prefix(), kPairMemory) {}

  void add(const Timeline& timeline, int64_t events) {
    const std::vector<uint8_t> marks = rule_.mark(timeline);
    std::vector<int32_t> next;  // positives of the earliest later second that has one
    for (int64_t end = events; end > 0;) {
      const int64_t begin = second_begin(timeline, end);
      const auto all = [](int64_t) { return true; };
      for (const int32_t from : latest_items(timeline, begin, end, kMostOfASecond, all))
        for (const int32_t to : next)
          pairs_.add(static_cast<uint32_t>(from), static_cast<uint32_t>(items_ + to));
      const auto positive = [&](int64_t event) { return marks[static_cast<size_t>(event)] != 0; };
      std::vector<int32_t> here = latest_items(timeline, begin, end, kMostOfASecond, positive);
      if (!here.empty()) next = std::move(here);
      end = begin;
    }
  }

  void finish(NeighbourLists& lists, const GoesOn& goes_on) {
    const int64_t most = most_neighbours(items_);
    pairs_.finish().visit([&](const PairCount& pair) {
      goes_on();
      lists.add(static_cast<int32_t>(pair.row),
                {.item = static_cast<int32_t>(pair.column - items_),
                 .weight = static_cast<float>(pair.count)},
                most);
    });
    lists.trim(most);
  }

 private:
  int64_t items_;
  const PositiveRule& rule_;
  PairCounter pairs_;
};

// Positive events on each item in the training part, repeats included; int64 [I].
torch::Tensor training_popularity(const BaselineInputs& inputs, const GoesOn& goes_on) {
  const PositiveRule rule = PositiveRule(inputs.positives, inputs.dataset).with_repeats();
  torch::Tensor counts = torch::zeros({inputs.dataset.items()}, torch::kInt64);
  auto* count = counts.mutable_data_ptr<int64_t>();
  visit_training_part(inputs.dataset, inputs.split, [&](const Timeline& timeline, int64_t events) {
    const std::vector<uint8_t> marks = rule.mark(timeline);
    for (size_t event = 0; event < static_cast<size_t>(events); ++event)
      count[timeline.item[event]] += marks[event];
    goes_on();
  });
  return counts;
}

std::vector<WeightedItem> equal_weights(const std::vector<int32_t>& items) {
  std::vector<WeightedItem> weighted;
  for (const int32_t item : items) weighted.push_back({.item = item});
  return weighted;
}

}  // namespace

void NeighbourScores::set_popularity(const torch::Tensor& counts) {
  const auto most = std::max<int64_t>(1, counts.max().item<int64_t>());
  backoff_ = counts.to(torch::kFloat32) * (kBackoff / static_cast<float>(most));
}

void NeighbourScores::broadcast(Communicator& comm) {
  lists_.broadcast(comm);
  comm.broadcast(backoff_, 0, "popularity of the back-off")->wait();
}

torch::Tensor NeighbourScores::operator()(
    const std::vector<std::vector<WeightedItem>>& sources) const {
  torch::Tensor scores = backoff_.repeat({std::ssize(sources), 1});
  float* row = scores.mutable_data_ptr<float>();
  for (const std::vector<WeightedItem>& items : sources) {
    for (const WeightedItem& source : items)
      for (const Neighbour& neighbour : lists_.of(source.item))
        row[neighbour.item] += source.weight * neighbour.weight;
    row += lists_.items();
  }
  return scores;
}

MarkovBaseline::MarkovBaseline(const BaselineInputs& inputs)
    : inputs_(inputs), rule_(inputs.positives, inputs.dataset), scores_(inputs.dataset.items()) {}

void MarkovBaseline::count(const GoesOn& goes_on) {
  TransitionCounter counter(inputs_.dataset.items(), rule_);
  visit_training_part(inputs_.dataset, inputs_.split,
                      [&](const Timeline& timeline, int64_t events) {
                        counter.add(timeline, events);
                        goes_on();
                      });
  counter.finish(scores_.lists(), goes_on);
  scores_.set_popularity(training_popularity(inputs_, goes_on));
}

torch::Tensor MarkovBaseline::item_vectors() {
  scores_ = NeighbourScores(inputs_.dataset.items());
  work_on_root(inputs_.comm, "counting neighbours", [&](const GoesOn& goes_on) { count(goes_on); });
  scores_.broadcast(inputs_.comm);
  return {};
}

QueryVectors MarkovBaseline::encode(const std::vector<HistoryPrefix>& prefixes) {
  const auto all = [](int64_t) { return true; };
  std::vector<std::vector<WeightedItem>> sources;
  for (const HistoryPrefix& prefix : prefixes) {
    std::vector<WeightedItem>& items = sources.emplace_back();
    float weight = 1;
    int64_t end = prefix.length;
    for (int64_t second = 0; second < inputs_.evaluate.markov_last && end > 0; ++second) {
      const int64_t begin = second_begin(*prefix.timeline, end);
      for (const int32_t item : latest_items(*prefix.timeline, begin, end, kMostOfASecond, all))
        items.push_back({.item = item, .weight = weight});
      end = begin;
      weight *= kDecay;
    }
  }
  return {.vectors = scores_(sources), .counts = {}};
}

ItemToItemBaseline::ItemToItemBaseline(const BaselineInputs& inputs)
    : inputs_(inputs),
      rule_(PositiveRule(inputs.positives, inputs.dataset).with_repeats()),
      scores_(inputs.dataset.items()) {}

void ItemToItemBaseline::count(const GoesOn& goes_on) {
  const CoOccurrence counted = training_co_occurrence(inputs_, goes_on);
  const int64_t most = most_neighbours(inputs_.dataset.items());
  counted.pairs.visit([&](const PairCount& pair) {
    const double norm = std::sqrt(static_cast<double>(counted.users[pair.row]) *
                                  static_cast<double>(counted.users[pair.column]));
    const auto cosine = static_cast<float>(pair.count / norm);
    const int32_t a = counted.items[pair.row];
    const int32_t b = counted.items[pair.column];
    goes_on();
    scores_.lists().add(a, {.item = b, .weight = cosine}, most);
    scores_.lists().add(b, {.item = a, .weight = cosine}, most);
  });
  scores_.lists().trim(most);
  scores_.set_popularity(training_popularity(inputs_, goes_on));
}

torch::Tensor ItemToItemBaseline::item_vectors() {
  scores_ = NeighbourScores(inputs_.dataset.items());
  work_on_root(inputs_.comm, "counting neighbours", [&](const GoesOn& goes_on) { count(goes_on); });
  scores_.broadcast(inputs_.comm);
  return {};
}

QueryVectors ItemToItemBaseline::encode(const std::vector<HistoryPrefix>& prefixes) {
  std::vector<std::vector<WeightedItem>> sources;
  for (const HistoryPrefix& prefix : prefixes)
    sources.push_back(
        equal_weights(positive_items(prefix, rule_, inputs_.evaluate.item_to_item_last)));
  return {.vectors = scores_(sources), .counts = {}};
}

EaseBaseline::EaseBaseline(const BaselineInputs& inputs)
    : inputs_(inputs), rule_(PositiveRule(inputs.positives, inputs.dataset).with_repeats()) {
  if (inputs.dataset.items() <= kMostEaseItems) return;
  throw DataError("baseline ease: expected at most " + std::to_string(kMostEaseItems) +
                  " items, as it inverts a matrix of all pairs, found " +
                  std::to_string(inputs.dataset.items()) + " in " + inputs.dataset.directory() +
                  "; take item_to_item in its place (evaluate.baselines)");
}

torch::Tensor EaseBaseline::gram(const GoesOn& goes_on) const {
  const CoOccurrence counted = training_co_occurrence(inputs_, goes_on);
  const int64_t items = inputs_.dataset.items();
  torch::Tensor gram = torch::zeros({items, items}, torch::kFloat32);
  float* cell = gram.mutable_data_ptr<float>();
  for (size_t i = 0; i < counted.items.size(); ++i)
    cell[counted.items[i] * (items + 1)] = static_cast<float>(counted.users[i]);
  counted.pairs.visit([&](const PairCount& pair) {
    const int64_t a = counted.items[pair.row];
    const int64_t b = counted.items[pair.column];
    cell[a * items + b] = static_cast<float>(pair.count);
    cell[b * items + a] = static_cast<float>(pair.count);
  });
  return gram;
}

torch::Tensor EaseBaseline::weights(torch::Tensor gram) const {
  gram.diagonal().add_(inputs_.evaluate.ease_l2);
  const auto [factor, failed] = torch::linalg_cholesky_ex(gram);
  if (failed.item<int64_t>() != 0)
    throw DataError(
        "baseline ease: the matrix of item pairs is not positive definite in float32 "
        "with evaluate.ease_l2 = " +
        std::to_string(inputs_.evaluate.ease_l2) + "; raise it");
  gram = torch::Tensor();  // of a gigabyte and more: freed before the inverse
  // Symmetric and stored by column: the transpose is the same matrix, stored by row.
  torch::Tensor weights = torch::cholesky_inverse(factor).t().contiguous();
  weights.div_(-weights.diagonal().clone());
  weights.diagonal().zero_();
  return weights;
}

torch::Tensor EaseBaseline::item_vectors() {
  const torch::NoGradGuard no_grad;
  const int64_t items = inputs_.dataset.items();
  if (inputs_.comm.rank() != 0) weights_ = torch::empty({items, items}, torch::kFloat32);
  work_on_root(inputs_.comm, "counting for EASE",
               [&](const GoesOn& goes_on) { weights_ = weights(gram(goes_on)); });
  inputs_.comm.broadcast(weights_, 0, "EASE weights")->wait();
  return {};
}

QueryVectors EaseBaseline::encode(const std::vector<HistoryPrefix>& prefixes) {
  const torch::NoGradGuard no_grad;
  torch::Tensor scores = torch::zeros({std::ssize(prefixes), inputs_.dataset.items()});
  for (size_t i = 0; i < prefixes.size(); ++i) {
    torch::Tensor row = scores[static_cast<int64_t>(i)];
    for (const int32_t item : positive_items(prefixes[i], rule_, kAllItems))
      row.add_(weights_[item]);
  }
  return {.vectors = scores, .counts = {}};
}

}  // namespace pinnerformer
