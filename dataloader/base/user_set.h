// A set of users, two bits each: what a loader may know of every user of a dataset of a billion.
#pragma once
#include <cstdint>
#include <vector>

namespace pinnerformer {

class UserSet {
 public:
  // Rows must be added in ascending order.
  void add(int64_t user);

  [[nodiscard]] int64_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  // The users of places [first, first + count), ascending.
  [[nodiscard]] std::vector<int64_t> slice(int64_t first, int64_t count) const;

 private:
  std::vector<uint64_t> bits_;   // bit u % 64 of word u / 64: user u is in the set
  std::vector<int64_t> before_;  // users in earlier words
  int64_t size_ = 0;
};

}  // namespace pinnerformer
