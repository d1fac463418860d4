// A sparse matrix from item to item, as baselines of counted pairs use it, in bounded memory.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

struct Neighbour {
  int32_t item = 0;  // row
  float weight = 0;
};

// The entries of each item kept, so that all lists of a catalogue of `items` take 128 MiB: all of
// them up to 4,096 items, 50 from 335,544 on (then in proportion to the items).
[[nodiscard]] int64_t most_neighbours(int64_t items);

class NeighbourLists {
 public:
  // No neighbours.
  explicit NeighbourLists(int64_t items) : lists_(static_cast<size_t>(items)) {}

  // Adds an entry. Of each item the `most` with the largest weight are kept, of equal ones those of
  // the smaller row; each neighbour may be added once.
  void add(int32_t item, const Neighbour& neighbour, int64_t most);
  // To be called after the last add(), before any look-up.
  void trim(int64_t most);
  // Collective: every rank receives rank 0's lists.
  void broadcast(Communicator& comm);

  [[nodiscard]] std::span<const Neighbour> of(int32_t item) const {
    return lists_[static_cast<size_t>(item)];
  }
  [[nodiscard]] int64_t items() const { return static_cast<int64_t>(lists_.size()); }

 private:
  std::vector<std::vector<Neighbour>> lists_;  // [I]
};

}  // namespace pinnerformer
