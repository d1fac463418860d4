#include "comm/watchdog/rank_status.h"

#include <cstdio>

namespace pinnerformer {
namespace {

constexpr size_t kMostNamed = 8;  // ranks; a few of a thousand are enough to start with

std::string seconds(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f s", value);
  return text.data();
}

bool silent(const ObservedRank& rank) {
  return !rank.heard || rank.silent_seconds > kSilentSeconds;
}

std::string name_of(size_t rank, const RankStatus& status) {
  const std::string host = status.host.text();
  return "rank " + std::to_string(rank) + (host.empty() ? "" : " on " + host);
}

std::string position(const RankStatus& status) {
  std::string text = "at step " + std::to_string(status.step) + " in '" + status.phase.text() + "'";
  if (status.begun > 0) text += " after '" + status.begun_name.text() + "'";
  return text;
}

std::string silence(const ObservedRank& rank) {
  return "silent for " + seconds(rank.silent_seconds) + ": frozen, ended, or its host is lost";
}

bool has_other_name(const RankStatus& status, int64_t number, const std::string& name) {
  ShortText cut;
  cut.assign(name);
  return (status.begun == number && status.begun_name.text() != cut.text()) ||
         (status.waiting == number && status.waiting_name.text() != cut.text());
}

std::string other_name(const RankStatus& status, int64_t number) {
  return status.waiting == number ? status.waiting_name.text() : status.begun_name.text();
}

// What is wrong with this rank; "" for nothing.
std::string fault_of(const ObservedRank& rank, int64_t number, const std::string& name) {
  if (!rank.heard) return "has sent no heartbeat";
  const bool joined = rank.status.begun >= number;
  if (silent(rank))
    return (joined ? "joined, then " : "last seen " + position(rank.status) + ", ") + silence(rank);
  if (!joined) return "alive, " + position(rank.status);
  if (has_other_name(rank.status, number, name))
    return "is in another collective, '" + other_name(rank.status, number) +
           "': the ranks do not run the same program";
  return "";
}

}  // namespace

std::string explain_wait(std::span<const ObservedRank> ranks, int64_t number,
                         const std::string& name) {
  std::string text;
  size_t named = 0, more = 0;
  for (size_t r = 0; r < ranks.size(); ++r) {
    const std::string what = fault_of(ranks[r], number, name);
    if (what.empty()) continue;
    if (named == kMostNamed) {
      ++more;
      continue;
    }
    ++named;
    text += (text.empty() ? "" : "; ") + name_of(r, ranks[r].status) + " " + what;
  }
  if (more > 0) text += "; and " + std::to_string(more) + " more rank(s)";
  if (!text.empty()) return "not arrived: " + text;
  return "all ranks have arrived and are alive: they passed different sizes, or the network "
         "between them is blocked";
}

std::vector<Straggler> find_stragglers(std::span<const ObservedRank> ranks,
                                       double threshold_seconds) {
  const RankStatus* furthest = nullptr;
  int64_t waiting = 0;
  for (const ObservedRank& rank : ranks) {
    if (!rank.heard || rank.status.waiting == 0) continue;
    if (rank.status.waiting_seconds < threshold_seconds) continue;
    ++waiting;
    // The newest collective counts: a straggler may itself wait in an older one.
    if (furthest == nullptr || rank.status.waiting > furthest->waiting) furthest = &rank.status;
  }
  std::vector<Straggler> found;
  if (furthest == nullptr) return found;
  for (size_t r = 0; r < ranks.size(); ++r) {
    const RankStatus& status = ranks[r].status;
    // MPI progresses only when polled: a rank that has joined the collective and then computes
    // delays it, too.
    const bool joined = status.begun >= furthest->waiting && status.waiting != 0;
    if (silent(ranks[r]) || joined) continue;
    found.push_back({static_cast<int>(r), furthest->waiting,
                     "straggler: " + name_of(r, status) + " is alive " + position(status) + "; " +
                         std::to_string(waiting) + " rank(s) have waited up to " +
                         seconds(furthest->waiting_seconds) + " for it in '" +
                         furthest->waiting_name.text() + "'"});
  }
  return found;
}

std::string explain_divergence(std::span<const ObservedRank> ranks) {
  for (size_t r = 1; r < ranks.size(); ++r)
    for (const RankStatus::Mark& mine : ranks[r].status.marks)
      for (const RankStatus::Mark& first : ranks[0].status.marks)
        if (mine.number > 0 && mine.number == first.number && mine.history != first.history)
          return "up to collective " + std::to_string(mine.number) + " " +
                 name_of(r, ranks[r].status) + " has made other collectives than " +
                 name_of(0, ranks[0].status) +
                 ": the ranks do not run the same program, and their tensors are wrong";
  return "";
}

std::string explain_end(std::span<const ObservedRank> ranks) {
  for (size_t r = 0; r < ranks.size(); ++r)
    if (ranks[r].status.ended != 0 && silent(ranks[r]))
      return name_of(r, ranks[r].status) + " ended the job " + seconds(ranks[r].silent_seconds) +
             " ago, and the launcher has not ended this rank";
  return "";
}

}  // namespace pinnerformer
