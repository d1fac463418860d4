#include "trainer/evaluation/segments.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "dataloader/base/errors.h"
#include "dataloader/dataset/visit_timelines.h"
#include "trainer/evaluation/popularity_counts.h"

namespace pinnerformer {
namespace {

constexpr int64_t kSecondsOfDay = 86400;

// Number of the bounds that are at most `value`.
template <size_t N>
int32_t segment_between(const std::array<int64_t, N>& bounds, int64_t value) {
  return static_cast<int32_t>(std::ranges::upper_bound(bounds, value) - bounds.begin());
}

Segmenter by_activity() {
  static constexpr std::array<int64_t, 7> kBounds = {5, 10, 20, 50, 100, 200, 500};
  return {SegmentKind::kActivity,
          {"under 5", "5 to 9", "10 to 19", "20 to 49", "50 to 99", "100 to 199", "200 to 499",
           "500 and more"},
          [](const EvaluationCase& evaluation, size_t) {
            return segment_between(kBounds, evaluation.length);
          }};
}

// The least of all ranks of every element, in blocks: the memory of one block per rank.
void reduce_to_least(std::vector<int64_t>& values, Communicator& comm) {
  constexpr int64_t kBlock = int64_t{1} << 16;
  for (int64_t first = 0; first < std::ssize(values); first += kBlock) {
    const int64_t count = std::min(kBlock, std::ssize(values) - first);
    const torch::Tensor own = torch::from_blob(values.data() + first, {1, count}, torch::kInt64);
    torch::Tensor all = torch::empty({comm.size(), count}, torch::kInt64);
    comm.all_gather(all, own.clone(), std::vector<int64_t>(static_cast<size_t>(comm.size()), 1),
                    "first events of items")
        ->wait();
    own.copy_(std::get<0>(all.min(0, /*keepdim=*/true)));
  }
}

// Of every item the time of its first event; the largest time where it has none.
std::vector<int64_t> first_events(const BaselineInputs& inputs) {
  std::vector<int64_t> first(static_cast<size_t>(inputs.dataset.items()),
                             std::numeric_limits<int64_t>::max());
  const Slice users = rank_slice(inputs.dataset.users(), inputs.comm.rank(), inputs.comm.size());
  visit_timelines(inputs.dataset, users, [&](const Timeline& timeline) {
    for (size_t event = 0; event < timeline.item.size(); ++event) {
      int64_t& earliest = first[static_cast<size_t>(timeline.item[event])];
      earliest = std::min(earliest, timeline.time[event]);
    }
  });
  reduce_to_least(first, inputs.comm);
  return first;
}

Segmenter by_item_age(const BaselineInputs& inputs) {
  static constexpr std::array<int64_t, 5> kBounds = {0, kSecondsOfDay, 7 * kSecondsOfDay,
                                                     28 * kSecondsOfDay, 90 * kSecondsOfDay};
  return {SegmentKind::kItemAge,
          {"after t", "under 1 day", "1 to 7 days", "7 to 28 days", "28 to 90 days", "90 days on"},
          [first = first_events(inputs)](const EvaluationCase& evaluation, size_t positive) {
            const auto item = static_cast<size_t>(evaluation.positives[positive]);
            return segment_between(kBounds, evaluation.time - first[item]);
          }};
}

// 0 for an item that was never taken, 1 to 10 for the tenth of the others it lies in. Items taken
// equally often share the tenth of their middle one.
std::vector<int8_t> tenths_of(const std::vector<int64_t>& counts) {
  std::vector<int64_t> taken;
  std::ranges::copy_if(counts, std::back_inserter(taken), [](int64_t count) { return count > 0; });
  std::ranges::sort(taken);
  std::vector<int8_t> tenths;
  for (const int64_t count : counts) {
    const auto [first, last] = std::ranges::equal_range(taken, count);
    // Twice the number of items below the middle of the equal ones.
    const int64_t below = (first - taken.begin()) + (last - taken.begin());
    tenths.push_back(count == 0 ? int8_t{0}
                                : static_cast<int8_t>(1 + 10 * below / (2 * std::ssize(taken))));
  }
  return tenths;
}

Segmenter by_popularity(const BaselineInputs& inputs) {
  const bool one_out = leaves_one_out(inputs.split);
  const std::vector<EvaluationWindow> windows =
      evaluation_windows(evaluation_start(inputs.dataset, inputs.split), inputs.split);
  const torch::Tensor counts =
      count_popularity(inputs, popularity_spans(inputs, windows), one_out ? 1 : 0);
  std::vector<std::vector<int8_t>> tenths;  // of each window
  for (int64_t window = 0; window < counts.size(1); ++window) {
    const torch::Tensor column = counts.select(1, window).contiguous();
    const int64_t* begin = column.const_data_ptr<int64_t>();
    tenths.push_back(tenths_of({begin, begin + column.numel()}));
  }
  return {SegmentKind::kPopularity,
          {"not taken", "1 (least)", "2", "3", "4", "5", "6", "7", "8", "9", "10 (most)"},
          [tenths = std::move(tenths)](const EvaluationCase& evaluation, size_t positive) {
            return int32_t{tenths[static_cast<size_t>(evaluation.window)]
                                 [static_cast<size_t>(evaluation.positives[positive])]};
          }};
}

Segmenter by_novelty() {
  return {SegmentKind::kNovelty,
          {"new", "seen"},
          [](const EvaluationCase& evaluation, size_t positive) {
            return std::ranges::binary_search(evaluation.seen, evaluation.positives[positive]) ? 1
                                                                                               : 0;
          }};
}

// Positives of all cases by segment, over all ranks.
std::vector<int64_t> count_positives(const Segmenter& segmenter, const BaselineInputs& inputs,
                                     HeldOut part) {
  const std::vector<int64_t> users = evaluation_users(inputs.dataset, inputs.split, part);
  EvaluationCases reader(inputs.dataset, users, PositiveRule(inputs.positives, inputs.dataset),
                         inputs.split,
                         {.rank = inputs.comm.rank(),
                          .size = inputs.comm.size(),
                          .chunk_users = inputs.evaluate.batch_users,
                          .part = part,
                          .exclude_seen = inputs.evaluate.exclude_seen});
  torch::Tensor counts = torch::zeros({std::ssize(segmenter.names())}, torch::kInt64);
  int64_t* count = counts.mutable_data_ptr<int64_t>();
  while (const auto cases = reader.next())
    for (const EvaluationCase& evaluation : *cases)
      for (size_t i = 0; i < evaluation.positives.size(); ++i) count[segmenter(evaluation, i)] += 1;
  inputs.comm.all_reduce(counts, "positives of segments")->wait();
  return {count, count + counts.numel()};
}

// The segments with the most positives in that order, the rest as one.
Segmenter largest_of(Segmenter all, const BaselineInputs& inputs, HeldOut part) {
  const std::vector<int64_t> counts = count_positives(all, inputs, part);
  std::vector<size_t> order(counts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](size_t segment) { return counts[segment]; });
  const size_t kept = std::min(order.size(), kMostNamedSegments);
  std::vector<int32_t> places(counts.size(), static_cast<int32_t>(kept));
  std::vector<std::string> names;
  for (size_t i = 0; i < kept; ++i) {
    places[order[i]] = static_cast<int32_t>(i);
    names.push_back(all.names()[order[i]]);
  }
  names.push_back("all others");
  const SegmentKind kind = all.kind();
  return {kind, std::move(names),
          [all = std::move(all), places = std::move(places)](const EvaluationCase& evaluation,
                                                             size_t positive) {
            return places[static_cast<size_t>(all(evaluation, positive))];
          }};
}

// By an index of the positive event's column.
Segmenter by_column(SegmentKind kind, const std::vector<std::string>& names,
                    std::vector<int16_t> Timeline::*column) {
  return {kind, names, [column](const EvaluationCase& evaluation, size_t positive) {
            const auto event = static_cast<size_t>(evaluation.events[positive]);
            return int32_t{((*evaluation.timeline).*column)[event]};
          }};
}

Segmenter by_topic(const Dataset& dataset) {
  if (!dataset.has_topics())
    throw DataError("--by topic: " + dataset.directory() +
                    " has no topics; import its items with `topic=COLUMN` in --item-columns");
  std::vector<std::string> names = dataset.topic_names();
  names.emplace_back("unknown");
  const auto unknown = static_cast<int32_t>(names.size() - 1);
  return {SegmentKind::kTopic, std::move(names),
          [&topics = dataset.item_topics(), unknown](const EvaluationCase& evaluation,
                                                     size_t positive) {
            const int32_t topic = topics[static_cast<size_t>(evaluation.positives[positive])];
            return topic < 0 ? unknown : topic;
          }};
}

}  // namespace

Segmenter make_segmenter(SegmentKind kind, const BaselineInputs& inputs, HeldOut part) {
  const Dataset& dataset = inputs.dataset;
  switch (kind) {
    case SegmentKind::kActivity:
      return by_activity();
    case SegmentKind::kItemAge:
      return by_item_age(inputs);
    case SegmentKind::kPopularity:
      return by_popularity(inputs);
    case SegmentKind::kSurface:
      return largest_of(by_column(kind, dataset.surfaces(), &Timeline::surface), inputs, part);
    case SegmentKind::kAction:
      return largest_of(by_column(kind, dataset.actions(), &Timeline::action), inputs, part);
    case SegmentKind::kTopic:
      return largest_of(by_topic(dataset), inputs, part);
    case SegmentKind::kNovelty:
      return by_novelty();
  }
  throw std::logic_error("make_segmenter: a kind is not handled");
}

}  // namespace pinnerformer
