// Sorting, dropping of duplicates, and conversion of one user's events into a timeline.
#include "dataloader/import/users.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <span>
#include <tuple>

#include "dataloader/base/errors.h"

namespace pinnerformer {
namespace {

// An event itself, half as much for sorting, and as much again for one user's timeline at worst.
constexpr int64_t kBytesPerSortedEvent = 2 * static_cast<int64_t>(sizeof(SpilledEvent));

bool earlier(const SpilledEvent& a, const SpilledEvent& b) { return a.time < b.time; }

// All that an event is besides its user and time. The duration by its bits: NaN equals NaN here.
auto content(const SpilledEvent& event) {
  return std::tuple(event.item, event.action, event.surface,
                    std::bit_cast<uint32_t>(event.duration));
}

// Marks every event that equals an earlier one of the same instant. `events` are in time order.
std::vector<bool> find_duplicates(std::span<const SpilledEvent> events) {
  std::vector<bool> duplicate(events.size(), false);
  std::vector<size_t> order;
  for (size_t start = 0; start < events.size();) {
    size_t end = start + 1;
    while (end < events.size() && events[end].time == events[start].time) ++end;
    order.resize(end - start);
    std::iota(order.begin(), order.end(), start);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return content(events[a]) < content(events[b]); });
    for (size_t i = 1; i < order.size(); ++i) {
      duplicate[order[i]] = content(events[order[i]]) == content(events[order[i - 1]]);
    }
    start = end;
  }
  return duplicate;
}

class UserWriter {
 public:
  UserWriter(const ImportOptions& options, const EventTables& tables, const FinalNumbers& numbers,
             DatasetWriter& writer, ImportReport& report)
      : options_(options), tables_(tables), numbers_(numbers), writer_(writer), report_(report) {}

  // Stable, so that a user's events keep the order of the input for the second sort, by time.
  void sort_by_user(std::vector<SpilledEvent>& events) const {
    std::stable_sort(events.begin(), events.end(),
                     [this](const SpilledEvent& a, const SpilledEvent& b) {
                       if (a.user_hash != b.user_hash) return a.user_hash < b.user_hash;
                       if (a.user == b.user || !tables_.user_ids_are_text) return false;
                       return tables_.users.view(a.user) < tables_.users.view(b.user);
                     });
  }

  // `events` are all of one user.
  void write(std::span<SpilledEvent> events) {
    if (!std::is_sorted(events.begin(), events.end(), earlier)) {
      ++report_.unsorted_users;
      std::stable_sort(events.begin(), events.end(), earlier);
    }
    const std::vector<bool> duplicate = find_duplicates(events);
    Timeline timeline;
    for (size_t i = 0; i < events.size(); ++i) {
      if (duplicate[i]) ++report_.duplicates;
      if (!duplicate[i] || options_.keep_duplicates) append(events[i], timeline);
    }
    if (timeline.size() == 0) return;
    if (tables_.user_ids_are_text) {
      writer_.add_user(tables_.users.view(events.front().user), timeline);
    } else {
      writer_.add_user(events.front().user, timeline);
    }
    ++report_.users;
    if (timeline.size() == 1) ++report_.users_with_one_event;
    report_.longest_user = std::max(report_.longest_user, timeline.size());
    report_.events += timeline.size();
  }

 private:
  void append(const SpilledEvent& event, Timeline& timeline) {
    const int32_t item = numbers_.items[static_cast<size_t>(event.item)];
    if (item < 0) {
      ++report_.dropped_without_vector;
      return;
    }
    const int16_t action = numbers_.actions[static_cast<size_t>(event.action)];
    const int16_t surface = numbers_.surfaces[static_cast<size_t>(event.surface)];
    timeline.item.push_back(item);
    timeline.action.push_back(action);
    timeline.surface.push_back(surface);
    timeline.time.push_back(event.time / 1000000);
    timeline.duration.push_back(event.duration);
    if (std::isnan(event.duration)) ++report_.unknown_durations;
    ++report_.actions[static_cast<size_t>(action)].second;
    ++report_.surfaces[static_cast<size_t>(surface)].second;
    const int64_t seconds = timeline.time.back();
    report_.first_time = has_events_ ? std::min(report_.first_time, seconds) : seconds;
    report_.last_time = has_events_ ? std::max(report_.last_time, seconds) : seconds;
    has_events_ = true;
  }

  const ImportOptions& options_;
  const EventTables& tables_;
  const FinalNumbers& numbers_;
  DatasetWriter& writer_;
  ImportReport& report_;
  bool has_events_ = false;
};

// One user's events cannot be split. At this point of an import nothing but the process itself
// takes memory besides them.
void check_one_user(int64_t events, int64_t memory_mib) {
  constexpr int64_t kProcessMib = 256;
  const int64_t needed = kProcessMib + (events * kBytesPerSortedEvent >> 20) + 1;
  if (needed <= memory_mib) return;
  throw DataError("one user has " + std::to_string(events) + " events; sorting them takes " +
                  std::to_string(needed) + " MiB, --memory allows " + std::to_string(memory_mib) +
                  "; raise --memory, or leave this user out. Is the right column mapped to user?");
}

// Sorts and writes one partition, or the parts of one that is too large for that.
void write_partition(EventSpill& spill, int64_t partition, int64_t memory_mib, UserWriter& users) {
  const int64_t largest = largest_partition(memory_mib);
  if (spill.events(partition) > largest) {
    if (const auto parts = spill.split(partition)) {
      for (int64_t part = 0; part < parts->partitions(); ++part)
        write_partition(*parts, part, memory_mib, users);
      return;
    }
    check_one_user(spill.events(partition), memory_mib);
  }
  std::vector<SpilledEvent> events = spill.take(partition);
  users.sort_by_user(events);
  for (size_t start = 0; start < events.size();) {
    size_t end = start + 1;
    while (end < events.size() && events[end].user == events[start].user) ++end;
    users.write(std::span(events).subspan(start, end - start));
    start = end;
  }
}

}  // namespace

int64_t largest_partition(int64_t memory_mib) {
  return ((memory_mib - kImportProcessMib) << 20) / kBytesPerSortedEvent;
}

void write_users(const ImportOptions& options, const EventTables& tables,
                 const FinalNumbers& numbers, EventSpill& spill, DatasetWriter& writer,
                 ImportReport& report, const ImportProgressCallback& progress) {
  UserWriter users(options, tables, numbers, writer, report);
  for (int64_t partition = 0; partition < spill.partitions(); ++partition) {
    write_partition(spill, partition, options.memory_mib, users);
    if (progress) {
      progress({"writing users",
                static_cast<double>(partition + 1) / static_cast<double>(spill.partitions()),
                report.events});
    }
  }
}

}  // namespace pinnerformer
