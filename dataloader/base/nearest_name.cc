// Edit distance with transpositions (optimal string alignment), three rows of the table at a time.
#include "dataloader/base/nearest_name.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace pinnerformer {
namespace {

std::string_view last_word(std::string_view key) { return key.substr(key.rfind('.') + 1); }

// Smaller is nearer; the second number decides where the first is equal.
std::pair<int64_t, int64_t> key_distance(std::string_view key, std::string_view known) {
  const int64_t whole = edit_distance(key, known);
  // The 1 makes another section cost more than a typing error in the word: "model.hiden" stays in
  // `model`.
  const int64_t word = 1 + 2 * edit_distance(last_word(key), last_word(known));
  return {std::min(whole, word), whole};
}

}  // namespace

int64_t edit_distance(std::string_view from, std::string_view to) {
  const size_t columns = to.size() + 1;
  std::vector<int64_t> before(columns), above(columns), row(columns);
  for (size_t j = 0; j < columns; ++j) row[j] = static_cast<int64_t>(j);
  for (size_t i = 1; i <= from.size(); ++i) {
    std::swap(before, above);
    std::swap(above, row);
    row[0] = static_cast<int64_t>(i);
    for (size_t j = 1; j < columns; ++j) {
      const int64_t replaced = above[j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1);
      row[j] = std::min({replaced, above[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

std::string nearest_name(std::string_view name, std::span<const std::string> known) {
  const auto begun = std::ranges::find_if(
      known, [&](const std::string& whole) { return !name.empty() && whole.starts_with(name); });
  if (begun != known.end()) return *begun;
  return *std::min_element(known.begin(), known.end(), [&](const auto& a, const auto& b) {
    return edit_distance(name, a) < edit_distance(name, b);
  });
}

std::string nearest_key(std::string_view key, std::span<const std::string> known) {
  return *std::min_element(known.begin(), known.end(), [&](const auto& a, const auto& b) {
    return key_distance(key, a) < key_distance(key, b);
  });
}

}  // namespace pinnerformer
