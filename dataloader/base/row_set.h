// A set of the rows of a table: one bit per row.
#pragma once
#include <bit>
#include <cstdint>
#include <vector>

namespace pinnerformer {

class RowSet {
 public:
  explicit RowSet(int64_t rows) : words_(static_cast<size_t>((rows + 63) / 64)), rows_(rows) {}

  void add(int64_t row) { words_[word_of(row)] |= bit_of(row); }
  [[nodiscard]] bool contains(int64_t row) const {
    return (words_[word_of(row)] & bit_of(row)) != 0;
  }
  [[nodiscard]] int64_t count() const {
    int64_t total = 0;
    for (const uint64_t word : words_) total += std::popcount(word);
    return total;
  }
  // The first row of the set from `row` on; the number of rows of the table where there is none.
  [[nodiscard]] int64_t next(int64_t row) const {
    while (row < rows_) {
      const uint64_t rest = words_[word_of(row)] >> (row % 64);
      if (rest != 0) return row + std::countr_zero(rest);
      row = (row / 64 + 1) * 64;
    }
    return rows_;
  }
  [[nodiscard]] int64_t rows() const { return rows_; }
  // Row r is bit r % 64 of word r / 64: what ranks exchange.
  [[nodiscard]] std::vector<uint64_t>& words() { return words_; }

 private:
  static size_t word_of(int64_t row) { return static_cast<size_t>(row / 64); }
  static uint64_t bit_of(int64_t row) { return uint64_t{1} << (row % 64); }

  std::vector<uint64_t> words_;
  int64_t rows_;
};

}  // namespace pinnerformer
