// Counts how often unordered pairs of small numbers occur, in bounded memory and exactly: pairs are
// collected, sorted and counted in runs, runs go to temporary files and are merged at the end.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "dataloader/base/file.h"

namespace pinnerformer {

// `row` < `column` occurred together `count` times.
struct PairCount {
  uint32_t row = 0;
  uint32_t column = 0;
  uint32_t count = 0;
  [[nodiscard]] uint64_t key() const { return uint64_t{row} << 32 | column; }
};

// Pairs on disk in ascending (row, column), each once. Reading takes a block of memory and is
// thread-safe.
class PairFile {
 public:
  // A file without a name, which vanishes with the object or the process; `path` is where it lies.
  explicit PairFile(const std::string& path);

  [[nodiscard]] int64_t size() const { return size_; }
  // Pairs [first, first + count).
  void read(int64_t first, int64_t count, PairCount* out) const;
  void append(const std::vector<PairCount>& pairs);
  // Calls `visit` for every pair in order.
  template <typename Visit>
  void visit(const Visit& visit) const {
    std::vector<PairCount> block(static_cast<size_t>(std::min(size_, kBlockPairs)));
    for (int64_t first = 0; first < size_; first += kBlockPairs) {
      const int64_t count = std::min(kBlockPairs, size_ - first);
      read(first, count, block.data());
      for (int64_t i = 0; i < count; ++i) visit(block[static_cast<size_t>(i)]);
    }
  }

 private:
  static constexpr int64_t kBlockPairs = 1 << 16;
  File file_;
  int64_t size_ = 0;
};

class PairCounter {
 public:
  // Temporary files are called `path_prefix` and a number. `memory_bytes` hold the pairs that are
  // not yet counted, and only what is used of it is taken.
  PairCounter(std::string path_prefix, int64_t memory_bytes);

  // One occurrence of two different numbers, in any order.
  void add(uint32_t a, uint32_t b) {
    if (waiting_.size() == capacity_) flush();
    waiting_.push_back(a < b ? uint64_t{a} << 32 | b : uint64_t{b} << 32 | a);
  }
  [[nodiscard]] int64_t added() const { return flushed_ + static_cast<int64_t>(waiting_.size()); }
  // The counts of all pairs. The counter is empty afterwards.
  [[nodiscard]] PairFile finish();

 private:
  [[nodiscard]] std::string next_path();
  void flush();
  [[nodiscard]] PairFile merge_runs();

  std::string path_prefix_;
  size_t capacity_;
  std::vector<uint64_t> waiting_;
  std::vector<PairFile> runs_;
  int64_t flushed_ = 0;
  int64_t files_ = 0;
};

}  // namespace pinnerformer
