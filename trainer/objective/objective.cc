#include "trainer/objective/objective.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <ranges>
#include <span>

#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

constexpr double kSecondsPerDay = 86400;

// One row of a batch as the objectives see it.
struct Row {
  int64_t index = 0;
  std::span<const int64_t> time;  // of the valid positions
  std::span<const Label> labels;  // in timeline order
  [[nodiscard]] int64_t newest() const { return static_cast<int64_t>(time.size()) - 1; }
};

int64_t window_seconds(const ObjectiveOptions& options) {
  return std::llround(options.window_days * kSecondsPerDay);
}

// k distinct numbers of [0, n), ascending.
std::vector<int64_t> sample_without_replacement(int64_t n, int64_t k, KeyedRandom& random) {
  std::vector<int64_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), int64_t{0});
  if (k >= n) return all;
  shuffle_front(std::span(all), k, random);
  all.resize(static_cast<size_t>(k));
  std::sort(all.begin(), all.end());
  return all;
}

// The event behind the window of window_events that starts at this position. After the second of
// the newest input the loader has already delivered no more than these events.
int64_t end_of_events(const Row& row, int64_t position, int64_t events) {
  const int64_t next = std::ranges::upper_bound(row.time, row.time[static_cast<size_t>(position)]) -
                       row.time.begin();
  return next == std::ssize(row.time) ? std::numeric_limits<int64_t>::max() : next + events;
}

// Labels in (time, time + window_days] of this position, strict at the start, inclusive at the end
// (section 3); or those among the next window_events events.
std::span<const Label> labels_after(const Row& row, int64_t position,
                                    const ObjectiveOptions& options) {
  const int64_t from = row.time[static_cast<size_t>(position)];
  const auto begin = std::ranges::upper_bound(row.labels, from, {}, &Label::time);
  const std::ranges::subrange later(begin, row.labels.end());
  const auto end =
      options.window_events > 0
          ? std::ranges::lower_bound(later, end_of_events(row, position, options.window_events), {},
                                     &Label::event)
          : std::ranges::upper_bound(later, from + window_seconds(options), {}, &Label::time);
  return {begin, end};
}

// A label of the first later second than the position's that has one, or nullptr.
const Label* next_label(const Row& row, int64_t position, KeyedRandom& random) {
  const int64_t time = row.time[static_cast<size_t>(position)];
  const auto next = std::ranges::upper_bound(row.labels, time, {}, &Label::time);
  if (next == row.labels.end()) return nullptr;
  const auto end = std::ranges::upper_bound(next, row.labels.end(), next->time, {}, &Label::time);
  const int64_t count = end - next;
  return &*(next + (count == 1 ? 0 : random.below(count)));
}

void next_action(const Row& row, KeyedRandom& random, std::vector<Pair>& pairs) {
  if (const Label* next = next_label(row, row.newest(), random))
    pairs.push_back({row.index, row.newest(), next->item, 1.0, row.time.back()});
}

void next_item(const Row& row, KeyedRandom& random, std::vector<Pair>& pairs) {
  for (int64_t s = 0; s <= row.newest(); ++s)
    if (const Label* next = next_label(row, s, random))
      pairs.push_back({row.index, s, next->item, 1.0, row.time[static_cast<size_t>(s)]});
}

void sasrec(const Row& row, KeyedRandom& random, std::vector<Pair>& pairs) {
  const size_t begin = pairs.size();
  next_item(row, random, pairs);
  const size_t count = pairs.size() - begin;
  if (count < 2 || pairs.back().position != row.newest()) return;
  pairs.back().weight = static_cast<double>(count - 1);  // as much as all the others together
}

void all_action(const Row& row, const ObjectiveOptions& options, KeyedRandom& random,
                std::vector<Pair>& pairs) {
  const auto window = labels_after(row, row.newest(), options);
  for (const int64_t i :
       sample_without_replacement(static_cast<int64_t>(window.size()), options.max_labels, random))
    pairs.push_back(
        {row.index, row.newest(), window[static_cast<size_t>(i)].item, 1.0, row.time.back()});
}

void dense_all_action(const Row& row, const ObjectiveOptions& options, KeyedRandom& random,
                      std::vector<Pair>& pairs) {
  const bool own_window = options.window_anchor == WindowAnchor::kPosition;
  // With one window for all positions its max_labels positives are drawn once, not per position.
  const auto shared = labels_after(row, row.newest(), options);
  const auto kept =
      sample_without_replacement(static_cast<int64_t>(shared.size()), options.max_labels, random);
  for (const int64_t s : sample_without_replacement(static_cast<int64_t>(row.time.size()),
                                                    options.positions, random)) {
    if (own_window) {
      const auto own = labels_after(row, s, options);
      if (own.empty()) continue;
      const int64_t i = random.below(static_cast<int64_t>(own.size()));
      pairs.push_back(
          {row.index, s, own[static_cast<size_t>(i)].item, 1.0, row.time[static_cast<size_t>(s)]});
    } else if (!kept.empty()) {
      const int64_t i = kept[static_cast<size_t>(random.below(static_cast<int64_t>(kept.size())))];
      pairs.push_back({row.index, s, shared[static_cast<size_t>(i)].item, 1.0, row.time.back()});
    }
  }
}

void normalise(std::span<Pair> pairs_of_row, double to) {
  double sum = 0;
  for (const Pair& pair : pairs_of_row) sum += pair.weight;
  for (Pair& pair : pairs_of_row) pair.weight *= to / sum;
}

Row row_of(const TrainingBatch& batch, int64_t b) {
  const auto length = static_cast<size_t>(batch.inputs.length.const_data_ptr<int64_t>()[b]);
  return {b,
          {batch.inputs.time.const_data_ptr<int64_t>() + b * batch.inputs.time.size(1), length},
          batch.labels[static_cast<size_t>(b)]};
}

// The labels after the newest input, within its window.
std::vector<int64_t> items_of_window(const Row& row, const ObjectiveOptions& options) {
  std::vector<int64_t> items;
  for (const Label& label : labels_after(row, row.newest(), options)) items.push_back(label.item);
  return items;
}

}  // namespace

std::vector<Pair> make_pairs(const TrainingBatch& batch, const ObjectiveOptions& options) {
  std::vector<Pair> pairs;
  for (int64_t b = 0; b < batch.inputs.users(); ++b) {
    const Row row = row_of(batch, b);
    KeyedRandom random(RandomStream::kPairs, {batch.inputs.draw_key.data_ptr<int64_t>()[b]});
    const size_t begin = pairs.size();
    switch (options.name) {
      case ObjectiveKind::kNextAction:
        next_action(row, random, pairs);
        break;
      case ObjectiveKind::kSasrec:
        sasrec(row, random, pairs);
        break;
      case ObjectiveKind::kNextItem:
        next_item(row, random, pairs);
        break;
      case ObjectiveKind::kAllAction:
        all_action(row, options, random, pairs);
        break;
      case ObjectiveKind::kDenseAllAction:
        dense_all_action(row, options, random, pairs);
        break;
    }
    const std::span<Pair> of_row = std::span(pairs).subspan(begin);
    normalise(of_row,
              options.weighting == PairWeighting::kPair ? static_cast<double>(of_row.size()) : 1);
  }
  return pairs;
}

std::vector<std::vector<int64_t>> pool_positives(const TrainingBatch& batch,
                                                 std::span<const Pair> pairs,
                                                 const ObjectiveOptions& options) {
  std::vector<std::vector<int64_t>> positives(static_cast<size_t>(batch.inputs.users()));
  for (const Pair& pair : pairs) positives[static_cast<size_t>(pair.row)].push_back(pair.item);
  for (size_t row = 0; row < positives.size(); ++row) {
    std::vector<int64_t>& items = positives[row];
    if (items.empty()) continue;
    const bool next_item = options.name == ObjectiveKind::kNextItem;
    if (!next_item) items = items_of_window(row_of(batch, static_cast<int64_t>(row)), options);
    std::ranges::sort(items);
    items.erase(std::ranges::unique(items).begin(), items.end());
    if (next_item || std::ssize(items) <= options.max_labels) continue;
    KeyedRandom random(RandomStream::kPoolPositives,
                       {batch.inputs.draw_key.const_data_ptr<int64_t>()[row]});
    shuffle_front(std::span(items), options.max_labels, random);
    items.resize(static_cast<size_t>(options.max_labels));
    std::ranges::sort(items);
  }
  return positives;
}

WindowSpec window_spec(const ObjectiveOptions& options, int64_t max_length, int64_t train_until) {
  const bool dense_by_position = options.name == ObjectiveKind::kDenseAllAction &&
                                 options.window_anchor == WindowAnchor::kPosition;
  const bool next_item = options.name == ObjectiveKind::kNextItem;
  WindowSpec spec{max_length, window_seconds(options),
                  options.name == ObjectiveKind::kSasrec || next_item || dense_by_position};
  spec.end = options.sample_end;
  spec.next_only = next_item;
  spec.window_events = options.window_events;
  if (options.recent_days > 0)
    spec.earliest = train_until - std::llround(options.recent_days * kSecondsPerDay);
  return spec;
}

}  // namespace pinnerformer
