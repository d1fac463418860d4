// Sets of rows of a table. RowSet takes rows in any order and has one bit per row. UserSet takes
// them in ascending order and also finds the n-th row of the set, with two bits per row.
#pragma once
#include <bit>
#include <cstddef>
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

// Few enough bits for every user of a dataset of a billion.
class UserSet {
 public:
  // Throws std::logic_error unless users are added in ascending order.
  void add(int64_t user);

  [[nodiscard]] int64_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  // The users with index [first, first + count) among those of the set, ascending.
  [[nodiscard]] std::vector<int64_t> slice(int64_t first, int64_t count) const;

 private:
  std::vector<uint64_t> bits_;   // bit u % 64 of word u / 64: user u is in the set
  std::vector<int64_t> before_;  // number of users in earlier words
  int64_t size_ = 0;
};

}  // namespace pinnerformer
