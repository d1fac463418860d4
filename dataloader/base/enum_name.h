// Names of enumerators. An enum with names has a constexpr function enum_names(E), found by
// argument-dependent lookup, that returns a std::array of them in the order of its enumerators,
// which count from 0.
#pragma once
#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace pinnerformer {

template <class E>
inline constexpr auto kEnumNames = enum_names(E{});

template <class E>
[[nodiscard]] constexpr std::string_view enum_name(E value) {
  return kEnumNames<E>[static_cast<size_t>(value)];
}

// Throws std::invalid_argument for a name that is not in the table.
template <class E>
[[nodiscard]] E enum_value(std::string_view name) {
  const auto found = std::ranges::find(kEnumNames<E>, name);
  if (found == kEnumNames<E>.end())
    throw std::invalid_argument("unknown name '" + std::string(name) + "'");
  return static_cast<E>(found - kEnumNames<E>.begin());
}

}  // namespace pinnerformer
