// Events on their way from the order of the input to the order of the dataset: spread over
// partition files by the user's hash, so that each partition fits in memory to be sorted.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

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
  // Makes `directory`; `partitions` is a power of two.
  EventSpill(std::string directory, int64_t partitions);
  EventSpill(const EventSpill&) = delete;
  EventSpill& operator=(const EventSpill&) = delete;
  ~EventSpill();  // removes the directory

  void add(const SpilledEvent& event);
  [[nodiscard]] int64_t partitions() const { return static_cast<int64_t>(buffers_.size()); }
  // All events of one partition in the order they were added; its file is removed. Partitions hold
  // ascending ranges of user_hash.
  [[nodiscard]] std::vector<SpilledEvent> take(int64_t partition);

 private:
  [[nodiscard]] std::string file_name(size_t partition) const;
  void flush(size_t partition);
  std::string directory_;
  int shift_;  // user_hash >> shift_ is the partition
  std::vector<std::vector<SpilledEvent>> buffers_;
  std::vector<int64_t> in_file_;  // events of each partition that are in its file
};

}  // namespace pinnerformer
