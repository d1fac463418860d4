// Which known name a mistyped one was meant to be. For error messages of keys, options, commands.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace pinnerformer {

// Number of letters to insert, drop, replace or swap with a neighbour to get from `from` to `to`.
[[nodiscard]] int64_t edit_distance(std::string_view from, std::string_view to);

// The name of `known` (not empty) with the least edit distance; the first of several.
[[nodiscard]] std::string nearest_name(std::string_view name, std::span<const std::string> known);

// As nearest_name(), for dotted keys: the right last word in the wrong section, or with no section
// at all, beats a key that merely looks alike ("learning_rate" -> "optimizer.learning_rate").
[[nodiscard]] std::string nearest_key(std::string_view key, std::span<const std::string> known);

}  // namespace pinnerformer
