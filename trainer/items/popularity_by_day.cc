#include "trainer/items/popularity_by_day.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <tuple>
#include <utility>

#include "comm/gather_records.h"
#include "dataloader/base/slice.h"
#include "dataloader/dataset/visit_timelines.h"

namespace pinnerformer {
namespace {

constexpr int64_t kSecondsPerDay = 86400;

int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

// Positives of an item on a day. 16 bytes: there may be as many of these as items times days.
struct DayCount {
  int32_t item = 0;
  int32_t day = 0;
  int64_t count = 0;
};

// Sorts by item and day, with one entry for each.
void merge(std::vector<DayCount>& counts) {
  const auto key = [](const DayCount& count) { return std::tie(count.item, count.day); };
  std::ranges::sort(counts, {}, key);
  size_t kept = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (i > 0 && key(counts[kept - 1]) == key(counts[i]))
      counts[kept - 1].count += counts[i].count;
    else
      counts[kept++] = counts[i];
  }
  counts.resize(kept);
}

std::vector<DayCount> count_share(const Dataset& dataset, const PopularityByDay::Mark& mark,
                                  int64_t origin, Communicator& comm) {
  constexpr size_t kFewest = 4096;
  std::vector<DayCount> counts;
  size_t merged = 0;  // entries that the last merge left
  const Slice users = rank_slice(dataset.users(), comm.rank(), comm.size());
  const auto visit = [&](const Timeline& timeline) {
    const std::vector<uint8_t> marks = mark(timeline);
    for (size_t i = 0; i < marks.size(); ++i) {
      if (marks[i] == 0) continue;
      // The day that ends at this second or after.
      const int64_t day = -floor_divide(origin - timeline.time[i], kSecondsPerDay);
      counts.push_back({timeline.item[i], static_cast<int32_t>(day), 1});
    }
    if (counts.size() < merged + std::max(merged, kFewest)) return;
    merge(counts);
    merged = counts.size();
  };
  visit_undamaged_timelines(dataset, users, visit);  // damage is the loader's to report
  merge(counts);
  return counts;
}

}  // namespace

PopularityByDay::PopularityByDay(const Dataset& dataset, const Mark& mark, int64_t origin,
                                 Communicator& comm)
    : origin_(origin) {
  std::vector<DayCount> counts = count_share(dataset, mark, origin, comm);
  if (comm.size() > 1) counts = gather_records(counts, comm, "positives by day");
  merge(counts);
  first_.assign(static_cast<size_t>(dataset.items()) + 1, 0);
  day_.reserve(counts.size());
  sum_.reserve(counts.size());
  int64_t sum = 0, item = -1;
  for (const DayCount& entry : counts) {
    sum = entry.item == item ? sum + entry.count : entry.count;
    item = entry.item;
    day_.push_back(entry.day);
    sum_.push_back(sum);
    ++first_[static_cast<size_t>(item) + 1];
  }
  for (size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
}

int64_t PopularityByDay::day_before(int64_t time) const {
  return floor_divide(time - origin_, kSecondsPerDay);
}

int64_t PopularityByDay::positives_until(int64_t item, int64_t day) const {
  const auto begin = day_.begin() + first_[static_cast<size_t>(item)];
  const auto end = day_.begin() + first_[static_cast<size_t>(item) + 1];
  const auto after = std::upper_bound(begin, end, day);
  return after == begin ? 0 : sum_[static_cast<size_t>(after - day_.begin()) - 1];
}

void PopularityByDay::write(int64_t item, int64_t day, std::span<const int64_t> windows,
                            float* values, int64_t stride) const {
  const int64_t until = positives_until(item, day);
  for (const int64_t window : windows) {
    const int64_t before = until == 0 ? 0 : positives_until(item, day - window);
    *values = std::log1p(static_cast<float>(until - before));
    values += stride;
  }
}

torch::Tensor PopularityByDay::log_counts(const torch::Tensor& items, std::span<const int64_t> days,
                                          std::span<const int64_t> windows) const {
  const int64_t count = items.numel(), width = std::ssize(windows);
  torch::Tensor result = torch::empty({std::ssize(days), width, count});
  auto* values = result.data_ptr<float>();
  const auto* item = items.const_data_ptr<int64_t>();
  at::parallel_for(0, count, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (size_t k = 0; k < days.size(); ++k)
        write(item[i], days[k], windows, values + static_cast<int64_t>(k) * width * count + i,
              count);
  });
  return result;
}

torch::Tensor PopularityByDay::log_counts_each(const torch::Tensor& items,
                                               std::span<const int64_t> day_of_item,
                                               std::span<const int64_t> windows) const {
  const int64_t width = std::ssize(windows);
  torch::Tensor result = torch::empty({items.numel(), width});
  const auto* item = items.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < items.numel(); ++i)
    write(item[i], day_of_item[static_cast<size_t>(i)], windows,
          result.data_ptr<float>() + i * width, 1);
  return result;
}

}  // namespace pinnerformer
