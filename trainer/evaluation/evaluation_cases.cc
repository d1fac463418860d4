// Cuts timelines at the evaluation times; strict at t, inclusive at the window's end (section 3).
#include "trainer/evaluation/evaluation_cases.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace pinnerformer {
namespace {

// Events with time <= `time`.
int64_t length_until(const Timeline& timeline, int64_t time) {
  const auto end = std::upper_bound(timeline.time.begin(), timeline.time.end(), time);
  return end - timeline.time.begin();
}

std::vector<int32_t> distinct_items(const Timeline& timeline, int64_t length) {
  std::vector<int32_t> items(timeline.item.begin(), timeline.item.begin() + length);
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
  return items;
}

void add_positives(const std::vector<uint8_t>& marks, int64_t end, EvaluationCase& result) {
  std::unordered_set<int32_t> taken;
  for (int64_t event = result.length; event < end; ++event) {
    const int32_t item = result.timeline->item[static_cast<size_t>(event)];
    if (marks[static_cast<size_t>(event)] == 0 || !taken.insert(item).second) continue;
    result.positives.push_back(item);
    result.events.push_back(event);
  }
}

}  // namespace

std::vector<EvaluationCase> cases_of_user(const std::shared_ptr<const Timeline>& timeline,
                                          const PositiveRule& rule,
                                          const std::vector<EvaluationWindow>& windows,
                                          int64_t min_events) {
  std::vector<EvaluationCase> cases;
  const std::vector<uint8_t> marks = rule.mark(*timeline);
  for (size_t k = 0; k < windows.size(); ++k) {
    EvaluationCase result;
    result.timeline = timeline;
    result.window = static_cast<int64_t>(k);
    result.time = windows[k].begin;
    result.length = length_until(*timeline, windows[k].begin);
    if (result.length < min_events) continue;
    add_positives(marks, length_until(*timeline, windows[k].end), result);
    if (result.positives.empty()) continue;
    result.seen = distinct_items(*timeline, result.length);
    cases.push_back(std::move(result));
  }
  return cases;
}

std::vector<EvaluationCase> leave_one_out_case(const std::shared_ptr<const Timeline>& timeline,
                                               const PositiveRule& rule, int64_t min_events,
                                               int64_t later) {
  const int64_t last = timeline->size() - 1 - later;
  if (last < std::max<int64_t>(1, min_events)) return {};
  if (rule.mark(*timeline)[static_cast<size_t>(last)] == 0) return {};
  EvaluationCase result;
  result.timeline = timeline;
  result.time = timeline->time[static_cast<size_t>(last - 1)];
  result.length = last;
  result.positives = {timeline->item[static_cast<size_t>(last)]};
  result.events = {last};
  result.seen = distinct_items(*timeline, last);
  return {result};
}

int64_t remove_repeats(std::vector<EvaluationCase>& cases) {
  int64_t removed = 0;
  for (EvaluationCase& one : cases) {
    size_t kept = 0;
    for (size_t i = 0; i < one.positives.size(); ++i) {
      if (std::ranges::binary_search(one.seen, one.positives[i])) continue;
      one.positives[kept] = one.positives[i];
      one.events[kept++] = one.events[i];
    }
    removed += static_cast<int64_t>(one.positives.size() - kept);
    one.positives.resize(kept);
    one.events.resize(kept);
  }
  std::erase_if(cases, [](const EvaluationCase& one) { return one.positives.empty(); });
  return removed;
}

std::vector<int64_t> evaluation_users(const Dataset& dataset, const SplitOptions& options,
                                      HeldOut part) {
  std::vector<int64_t> users;
  for (int64_t user = 0; user < dataset.users(); ++user) {
    if (is_held_out_user(dataset.user_hash(user), options, part)) users.push_back(user);
  }
  return users;
}

EvaluationCases::EvaluationCases(const Dataset& dataset, const std::vector<int64_t>& users,
                                 PositiveRule rule, const SplitOptions& options, const Share& share)
    : dataset_(dataset),
      users_(users),
      rule_(std::move(rule)),
      windows_(evaluation_windows(evaluation_start(dataset, options), options)),
      leaves_one_out_(leaves_one_out(options)),
      part_(share.part),
      exclude_seen_(share.exclude_seen),
      min_events_(options.min_events),
      chunk_users_(static_cast<size_t>(share.chunk_users)) {
  const size_t chunks = (users.size() + chunk_users_ - 1) / chunk_users_;
  const auto rank = static_cast<size_t>(share.rank);
  const auto size = static_cast<size_t>(share.size);
  begin_ = std::min(users.size(), chunks * rank / size * chunk_users_);
  position_ = begin_;
  end_ = std::min(users.size(), chunks * (rank + 1) / size * chunk_users_);
}

std::optional<std::vector<EvaluationCase>> EvaluationCases::next() {
  if (position_ >= end_) return std::nullopt;
  std::vector<EvaluationCase> cases;
  const size_t stop = std::min(end_, position_ + chunk_users_);
  for (; position_ < stop; ++position_) {
    const int64_t user = users_[position_];
    // Most users of a large dataset have too few events: these are not read.
    if (dataset_.timeline_length(user) <= min_events_) continue;
    const auto timeline = std::make_shared<const Timeline>(dataset_.timeline(user));
    std::vector<EvaluationCase> found =
        leaves_one_out_
            ? leave_one_out_case(timeline, rule_, min_events_, part_ == HeldOut::kTest ? 0 : 1)
            : cases_of_user(timeline, rule_, windows_, min_events_);
    if (exclude_seen_) repeats_ += remove_repeats(found);
    std::move(found.begin(), found.end(), std::back_inserter(cases));
  }
  return cases;
}

}  // namespace pinnerformer
