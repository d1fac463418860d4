// First pass: users per item. Second pass: pairs among the items that have enough of them.
#include "dataloader/vectors/co_occurrence.h"

#include <utility>

#include "dataloader/base/errors.h"
#include "dataloader/base/time_text.h"
#include "dataloader/dataset/visit_timelines.h"
#include "dataloader/sampling/positives.h"
#include "dataloader/sampling/split.h"

namespace pinnerformer {
namespace {

constexpr int32_t kNoPart = -1;

// Calls `visit` for every timeline that counts.
template <typename Visit>
void visit_counted(const Dataset& dataset, const CoOccurrenceOptions& options,
                   const std::string& stage, const StageCallback& progress, const Visit& visit) {
  visit_timelines(
      dataset, {0, dataset.users()},
      [&](const Timeline& timeline) {
        if (!options.counts_user || options.counts_user(timeline.user)) visit(timeline);
      },
      [&](int64_t end) {
        const double fraction = static_cast<double>(end) / static_cast<double>(dataset.users());
        if (progress) progress({stage, fraction, end, "users"});
      });
}

// The different items of a timeline's counted events.
class ItemsOfUser {
 public:
  ItemsOfUser(const Dataset& dataset, const CoOccurrenceOptions& options)
      : part_{.train_until = options.before - 1, .leave_out = options.leave_out},
        rule_(options.counted, dataset),
        last_user_(static_cast<size_t>(dataset.items()), -1) {}

  // Most recent first, each once. The reference is valid until the next call.
  const std::vector<int32_t>& operator()(const Timeline& timeline) {
    items_.clear();
    ++user_;
    const std::vector<uint8_t> counts = rule_.mark(timeline);
    const int64_t end = part_.events(timeline.time);
    kept_out_ += timeline.size() - end;
    for (auto i = static_cast<size_t>(end); i-- > 0;) {
      if (!counts[i]) continue;
      ++events_;
      int64_t& last = last_user_[static_cast<size_t>(timeline.item[i])];
      if (last != user_) items_.push_back(timeline.item[i]);
      last = user_;
    }
    return items_;
  }
  [[nodiscard]] int64_t events() const { return events_; }
  [[nodiscard]] int64_t events_kept_out() const { return kept_out_; }

 private:
  TrainingPart part_;
  PositiveRule rule_;
  std::vector<int64_t> last_user_;  // by item: the last call that met it
  std::vector<int32_t> items_;
  int64_t user_ = 0;
  int64_t events_ = 0;
  int64_t kept_out_ = 0;
};

// Users of each item. Fills the event counts of `statistics`.
std::vector<int64_t> count_users(const Dataset& dataset, const CoOccurrenceOptions& options,
                                 const StageCallback& progress,
                                 CoOccurrenceStatistics& statistics) {
  ItemsOfUser items_of(dataset, options);
  std::vector<int64_t> users(static_cast<size_t>(dataset.items()), 0);
  visit_counted(dataset, options, "counting items", progress, [&](const Timeline& timeline) {
    for (const int32_t item : items_of(timeline)) ++users[static_cast<size_t>(item)];
  });
  statistics.events = items_of.events();
  statistics.events_kept_out = items_of.events_kept_out();
  return users;
}

// Rows of the items that take part.
std::vector<int32_t> choose_items(const std::vector<int64_t>& users, int64_t min_users,
                                  CoOccurrenceStatistics& statistics) {
  std::vector<int32_t> items;
  for (size_t item = 0; item < users.size(); ++item) {
    if (users[item] >= min_users && users[item] > 0) {
      items.push_back(static_cast<int32_t>(item));
    } else if (users[item] > 0) {
      ++statistics.rare_items;
    }
  }
  return items;
}

struct CountedPairs {
  PairFile pairs;
  std::vector<int64_t> users;  // of each item: those whose pairs it is in, or would be
};

CountedPairs count_pairs(const Dataset& dataset, const CoOccurrenceOptions& options,
                         const std::vector<int32_t>& items, const StageCallback& progress,
                         CoOccurrenceStatistics& statistics) {
  std::vector<int32_t> position(static_cast<size_t>(dataset.items()), kNoPart);
  for (size_t i = 0; i < items.size(); ++i) {
    position[static_cast<size_t>(items[i])] = static_cast<int32_t>(i);
  }
  ItemsOfUser items_of(dataset, options);
  PairCounter counter(options.temporary_prefix, options.memory_bytes);
  std::vector<int64_t> users(items.size(), 0);
  std::vector<uint32_t> own;
  visit_counted(dataset, options, "counting pairs", progress, [&](const Timeline& timeline) {
    own.clear();
    for (const int32_t item : items_of(timeline)) {
      const int32_t at = position[static_cast<size_t>(item)];
      if (at != kNoPart) own.push_back(static_cast<uint32_t>(at));
    }
    const auto most = static_cast<size_t>(options.max_items_per_user);
    if (own.size() > most) {
      ++statistics.capped_users;
      own.resize(most);
    }
    if (own.size() > 1) ++statistics.users;
    for (const uint32_t item : own) ++users[item];
    for (size_t a = 1; a < own.size(); ++a) {
      for (size_t b = 0; b < a; ++b) counter.add(own[a], own[b]);
    }
  });
  statistics.pair_occurrences = counter.added();
  if (progress) progress({"merging pairs", 0, statistics.pair_occurrences, "pairs"});
  return {counter.finish(), std::move(users)};
}

std::vector<int64_t> degrees_of(const PairFile& pairs, size_t items) {
  std::vector<int64_t> degree(items, 0);
  pairs.visit([&degree](const PairCount& pair) {
    degree[pair.row] += pair.count;
    degree[pair.column] += pair.count;
  });
  return degree;
}

void fail_without_events(const Dataset& dataset, const CoOccurrenceOptions& options) {
  throw DataError(dataset.directory() + ": expected events before " + utc_text(options.before) +
                  ", found none that counts; those of the dataset go from " +
                  utc_text(dataset.first_time()) + " to " + utc_text(dataset.last_time()));
}

}  // namespace

CoOccurrence count_co_occurrence(const Dataset& dataset, const CoOccurrenceOptions& options,
                                 const StageCallback& progress) {
  CoOccurrenceStatistics statistics;
  const std::vector<int64_t> users = count_users(dataset, options, progress, statistics);
  if (statistics.events == 0) fail_without_events(dataset, options);
  std::vector<int32_t> items = choose_items(users, options.min_users, statistics);
  CountedPairs counted = count_pairs(dataset, options, items, progress, statistics);
  std::vector<int64_t> degree = degrees_of(counted.pairs, items.size());
  return {std::move(items), std::move(counted.users), std::move(degree), std::move(counted.pairs),
          statistics};
}

}  // namespace pinnerformer
