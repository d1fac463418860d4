// Which values of its type a key accepts. Each key of the table has one rule.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "configs/typed_value.h"

namespace pinnerformer {

struct ValueRule {
  std::string expected;  // "at least 1"; "" where every value will do
  std::function<bool(const ValueRef&)> holds;
};

[[nodiscard]] ValueRule anything();
[[nodiscard]] ValueRule at_least(double least);
[[nodiscard]] ValueRule above(double bound);
[[nodiscard]] ValueRule between(double least, double most);
[[nodiscard]] ValueRule from_to_below(double least, double bound);  // [least, bound)
[[nodiscard]] ValueRule ascending_numbers();  // a list of whole numbers above 0, ascending
[[nodiscard]] ValueRule names();              // a list without empty or repeated words
[[nodiscard]] ValueRule duration_or_empty();  // see configs/duration.h
[[nodiscard]] ValueRule ip_address();         // an IPv4 or IPv6 address in numbers, not a name
[[nodiscard]] ValueRule positive_actions();   // a list of "name" or "name>SECONDS", no name twice

}  // namespace pinnerformer
