// The known name nearest to a mistyped one: for error messages about keys, options and columns.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace pinnerformer {

// Number of letters to insert, drop, replace or swap with a neighbour to get from `from` to `to`.
[[nodiscard]] int64_t edit_distance(std::string_view from, std::string_view to);

// The first name of `known` (not empty) that begins with `name`, as in "delim" for "delimiter";
// where none does, the one with the least edit distance, the first of several.
[[nodiscard]] std::string nearest_name(std::string_view name, std::span<const std::string> known);

// As nearest_name(), for dotted keys: the right last word in the wrong section, or without a
// section, is nearer than a key with similar letters ("learning_rate" ->
// "optimizer.learning_rate").
[[nodiscard]] std::string nearest_key(std::string_view key, std::span<const std::string> known);

}  // namespace pinnerformer
