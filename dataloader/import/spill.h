// Events on their way from the order of the input to the order of the dataset: spread over
// partition files by the user's hash, so that each partition fits in memory to be sorted.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataloader/base/temporary.h"

namespace pinnerformer {

// One event with provisional numbers (the order of first appearance).
struct SpilledEvent {
  uint64_t user_hash = 0;
  int64_t user = 0;  // the id itself, or its number in the dictionary of text ids
  int64_t time = 0;  // microseconds since 1970: the full resolution decides the order
  int32_t item = 0;
  float duration = 0;  // seconds
  int16_t action = 0;
  int16_t surface = 0;
  int32_t unused = 0;  // written to a file: no uninitialised padding
};
static_assert(sizeof(SpilledEvent) == 40);

class EventSpill {
 public:
  // Makes `directory`; `partitions` is a power of two. The first `bits_before` bits of the hash do
  // not decide: they are the same for all events.
  EventSpill(std::string directory, int64_t partitions, int bits_before = 0);
  EventSpill(const EventSpill&) = delete;
  EventSpill& operator=(const EventSpill&) = delete;
  ~EventSpill();  // removes the directory

  void add(const SpilledEvent& event);
  [[nodiscard]] int64_t partitions() const { return static_cast<int64_t>(buffers_.size()); }
  // All events of one partition in the order they were added; its file is removed. Partitions hold
  // ascending ranges of user_hash.
  [[nodiscard]] std::vector<SpilledEvent> take(int64_t partition);
  [[nodiscard]] int64_t events(int64_t partition) const;
  // Spreads one partition over smaller ones, in the same order; its file is removed. Nothing where
  // its users cannot be told apart any more.
  [[nodiscard]] std::unique_ptr<EventSpill> split(int64_t partition);

 private:
  [[nodiscard]] std::string file_name(size_t partition) const;
  void flush(size_t partition);
  std::string directory_;
  std::optional<DirectoryClaim> claim_;
  int bits_before_;
  int bits_;  // of the hash that make up a partition's number
  std::vector<std::vector<SpilledEvent>> buffers_;
  std::vector<int64_t> in_file_;  // events of each partition that are in its file
};

}  // namespace pinnerformer
