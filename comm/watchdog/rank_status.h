// What a rank is doing, as its watchdog tells the others, and what a wait means when seen from all
// of them. Pure: no clock, no socket.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace pinnerformer {

// A text that travels as bytes; longer ones are cut.
struct ShortText {
  std::array<char, 48> bytes{};
  void assign(std::string_view text) {
    bytes = {};
    text.copy(bytes.data(), bytes.size() - 1);
  }
  [[nodiscard]] std::string text() const { return bytes.data(); }
};

// Collectives carry numbers: the n-th of a rank is number n, and all ranks make the same ones.
struct RankStatus {
  ShortText host, phase, begun_name, waiting_name;
  int64_t step = 0;
  int64_t begun = 0;    // number of the newest collective the rank has joined
  int64_t waiting = 0;  // number of the one it waits for; 0: it waits for none
  double waiting_seconds = 0;
  // Hash over all collectives up to a number, kept at the last multiple of 2^6, 2^9, 2^12, 2^15:
  // ranks that did not make the same ones differ at the first mark that they share.
  struct Mark {
    int64_t number = 0;
    uint64_t history = 0;
  };
  static constexpr std::array<int, 4> kMarkBits = {6, 9, 12, 15};
  std::array<Mark, kMarkBits.size()> marks;
};
static_assert(std::is_trivially_copyable_v<RankStatus>);

// A rank as another one sees it.
struct ObservedRank {
  RankStatus status;
  double silent_seconds = 0;  // since its last sign of life
  bool heard = false;         // there was one
};

// A rank is taken for frozen or lost after so long without a sign of life.
constexpr double kSilentSeconds = 3;

// Which ranks keep those that wait for collective `number` waiting, one clause each, separated by
// "; ": those that have not joined it, those that fell silent, those that are in another one.
[[nodiscard]] std::string explain_wait(std::span<const ObservedRank> ranks, int64_t number,
                                       const std::string& name);

// Ranks that are alive and hold others up: some rank has waited for `threshold_seconds` for a
// collective that these have not joined.
struct Straggler {
  int rank = 0;
  int64_t waiting_for = 0;  // the collective it is missing in
  std::string text;
};
[[nodiscard]] std::vector<Straggler> find_stragglers(std::span<const ObservedRank> ranks,
                                                     double threshold_seconds);

// Says which ranks have made other collectives than rank 0; "" where none has.
[[nodiscard]] std::string explain_divergence(std::span<const ObservedRank> ranks);

}  // namespace pinnerformer
