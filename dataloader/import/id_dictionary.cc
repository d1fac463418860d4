// One hash map per kind of id; only one of them is in use.
#include "dataloader/import/id_dictionary.h"

#include <algorithm>
#include <numeric>

namespace pinnerformer {

int64_t IdDictionary::add(int64_t id) {
  if (!integers_) return add(std::string_view(std::to_string(id)));
  const auto [entry, is_new] = index_of_number_.try_emplace(id, size());
  if (is_new) numbers_.push_back(id);
  return entry->second;
}

int64_t IdDictionary::add(std::string_view id) {
  if (integers_) {
    if (const auto number = canonical_integer(id)) return add(*number);
    if (const auto number = whole_decimal(id)) {
      has_decimals_ = true;
      return add(*number);
    }
    if (has_decimals_) throw IdsAreText();
    become_strings();
  }
  const auto known = index_of_text_.find(id);
  if (known != index_of_text_.end()) return known->second;
  const int64_t index = size();
  index_of_text_.emplace(texts_.emplace_back(id), index);
  return index;
}

void IdDictionary::become_strings() {
  if (!integers_) return;
  integers_ = false;
  for (const int64_t number : numbers_) add(std::string_view(std::to_string(number)));
  numbers_ = {};
  index_of_number_ = {};
}

std::string IdDictionary::text(int64_t index) const {
  return integers_ ? std::to_string(number(index)) : std::string(view(index));
}

std::vector<int64_t> IdDictionary::sorted() const {
  std::vector<int64_t> order(static_cast<size_t>(size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (integers_) {
    std::sort(order.begin(), order.end(),
              [this](int64_t a, int64_t b) { return number(a) < number(b); });
  } else {
    std::sort(order.begin(), order.end(),
              [this](int64_t a, int64_t b) { return view(a) < view(b); });
  }
  return order;
}

}  // namespace pinnerformer
