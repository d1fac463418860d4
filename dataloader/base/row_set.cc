// slice() finds its first word by binary search over `before_`.
#include "dataloader/base/row_set.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>

namespace pinnerformer {
namespace {
constexpr int64_t kWordBits = 64;
}

void UserSet::add(int64_t user) {
  const auto word = static_cast<size_t>(user / kWordBits);
  const uint64_t bit = uint64_t{1} << (user % kWordBits);
  if (word + 1 < bits_.size() || (word < bits_.size() && bits_[word] >= bit))
    throw std::logic_error("user " + std::to_string(user) + " is added out of order");
  bits_.resize(word + 1, 0);
  before_.resize(word + 1, size_);
  bits_[word] |= bit;
  ++size_;
}

std::vector<int64_t> UserSet::slice(int64_t first, int64_t count) const {
  if (first < 0 || count < 0 || first + count > size_)
    throw std::out_of_range("indices " + std::to_string(first) + " to " +
                            std::to_string(first + count) + " of " + std::to_string(size_));
  std::vector<int64_t> users;
  if (count == 0) return users;
  users.reserve(static_cast<size_t>(count));
  auto word = static_cast<size_t>(std::upper_bound(before_.begin(), before_.end(), first) -
                                  before_.begin()) -
              1;
  uint64_t left = bits_[word];
  for (int64_t skip = first - before_[word]; skip > 0; --skip) left &= left - 1;
  while (std::ssize(users) < count) {
    for (; left == 0; left = bits_[word]) ++word;
    users.push_back(static_cast<int64_t>(word) * kWordBits + std::countr_zero(left));
    left &= left - 1;
  }
  return users;
}

}  // namespace pinnerformer
