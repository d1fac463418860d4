// What a rank is doing, as its watchdog reports it to the others, and what follows from the
// statuses of all ranks for a rank that waits. Pure: no clock, no socket.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace pinnerformer {

// The characters before the first zero byte. Never reads past the array, which may have none.
template <size_t size>
[[nodiscard]] std::string bounded_text(const std::array<char, size>& bytes) {
  return {bytes.data(), ::strnlen(bytes.data(), size)};
}

// A text of fixed size for datagrams; longer ones are cut.
struct ShortText {
  std::array<char, 48> bytes{};
  void assign(std::string_view text) {
    bytes = {};
    text.copy(bytes.data(), bytes.size() - 1);
  }
  [[nodiscard]] std::string text() const { return bounded_text(bytes); }
};

// Collectives are numbered: the n-th of a rank is number n, and all ranks make the same ones.
struct RankStatus {
  ShortText host, phase, begun_name, waiting_name;
  int64_t step = 0;
  int64_t ended = 0;    // 1: this rank is ending the job, and no further status will come
  int64_t begun = 0;    // number of the newest collective the rank has joined
  int64_t waiting = 0;  // number of the one it waits for; 0: it waits for none
  double waiting_seconds = 0;
  // Hash over all collectives up to a number, kept at the last multiple of 2^6, 2^9, 2^12, 2^15:
  // ranks that did not make the same ones differ at the first mark that they have in common.
  struct Mark {
    int64_t number = 0;
    uint64_t history = 0;
  };
  static constexpr std::array<int, 4> kMarkBits = {6, 9, 12, 15};
  std::array<Mark, kMarkBits.size()> marks;
};
static_assert(std::is_trivially_copyable_v<RankStatus>);

// A rank as the coordinator sees it.
struct ObservedRank {
  RankStatus status;
  double silent_seconds = 0;  // since its last heartbeat
  bool heard = false;         // false: no heartbeat has arrived so far
};

// A rank without a heartbeat for so long is considered frozen or lost.
constexpr double kSilentSeconds = 3;

// Names the ranks that the others wait for in collective `number`, one clause each, separated by
// "; ": ranks that have not joined it, that are silent, or that are in another collective.
[[nodiscard]] std::string explain_wait(std::span<const ObservedRank> ranks, int64_t number,
                                       const std::string& name);

// Ranks that are alive and delay others: some rank has waited for `threshold_seconds` for a
// collective that these have not joined.
struct Straggler {
  int rank = 0;
  int64_t waiting_for = 0;  // the collective it is missing in
  std::string text;
};
[[nodiscard]] std::vector<Straggler> find_stragglers(std::span<const ObservedRank> ranks,
                                                     double threshold_seconds);

// Names a rank that has made other collectives than rank 0; "" where none has.
[[nodiscard]] std::string explain_divergence(std::span<const ObservedRank> ranks);

// Names a rank that has ended the job while this rank still runs; "" where none has. A launcher
// ends the other ranks at once, so that silence after the end means that the launcher does not.
[[nodiscard]] std::string explain_end(std::span<const ObservedRank> ranks);

}  // namespace pinnerformer
