// Numbers external ids in the order they are first seen. Ids stay integers as long as all of them
// are written like integers; with the first other one, all become strings.
#pragma once
#include <charconv>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dataloader/base/id_column.h"

namespace pinnerformer {

// The value of a canonical decimal number: "7", "-7", not "007", "+7" or "-0". Only those have
// exactly one spelling, so that a number can become its text again.
[[nodiscard]] inline std::optional<int64_t> canonical_integer(std::string_view text) {
  int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  const size_t sign = text[0] == '-' ? 1 : 0;
  if (text[sign] == '0' && text.size() > 1) return std::nullopt;
  return value;
}

class IdDictionary {
 public:
  [[nodiscard]] bool integers() const { return integers_; }
  [[nodiscard]] int64_t size() const {
    return static_cast<int64_t>(integers_ ? numbers_.size() : texts_.size());
  }
  // The number of an id, new or known.
  int64_t add(int64_t id);
  int64_t add(std::string_view id);
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
  std::vector<int64_t> numbers_;
  std::unordered_map<int64_t, int64_t> index_of_number_;
  std::deque<std::string> texts_;  // never move: the map points into them
  std::unordered_map<std::string_view, int64_t> index_of_text_;
};

}  // namespace pinnerformer
