// Numbers external ids in the order they are first seen. Ids stay integers as long as all of them
// are written like integers, or like "7.0"; with the first other one, all become strings.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dataloader/base/digits.h"
#include "dataloader/base/id_column.h"

namespace pinnerformer {

// The value of a whole number that is written as a float, "7.0" or "-7.00": a column of integers
// with an empty cell is often stored so.
[[nodiscard]] inline std::optional<int64_t> whole_decimal(std::string_view text) {
  const size_t point = text.find('.');
  if (point == std::string_view::npos || point + 1 == text.size()) return std::nullopt;
  if (text.find_first_not_of('0', point + 1) != std::string_view::npos) return std::nullopt;
  return canonical_integer(text.substr(0, point));
}

// Thrown where ids become strings after "7.0" was read as 7: as a string it is another id, so the
// input has to be read again with strings from the beginning.
struct IdsAreText {};

class IdDictionary {
 public:
  [[nodiscard]] bool integers() const { return integers_; }
  [[nodiscard]] int64_t size() const {
    return static_cast<int64_t>(integers_ ? numbers_.size() : texts_.size());
  }
  // The number of an id, new or known.
  int64_t add(int64_t id);
  int64_t add(std::string_view id);  // throws IdsAreText
  void become_strings();
  [[nodiscard]] std::string text(int64_t index) const;
  // Indices in the order of the format: integers by value, strings by their bytes.
  [[nodiscard]] std::vector<int64_t> sorted() const;
  [[nodiscard]] int64_t number(int64_t index) const { return numbers_[static_cast<size_t>(index)]; }
  [[nodiscard]] std::string_view view(int64_t index) const {
    return texts_[static_cast<size_t>(index)];
  }

 private:
  bool integers_ = true;
  bool has_decimals_ = false;  // some were written like "7.0"
  std::vector<int64_t> numbers_;
  std::unordered_map<int64_t, int64_t> index_of_number_;
  std::deque<std::string> texts_;  // never move: the map points into them
  std::unordered_map<std::string_view, int64_t> index_of_text_;
};

}  // namespace pinnerformer
