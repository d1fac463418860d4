// The types of an option, read from text and written as text. Shared by the configuration's keys
// and the options of the command line.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "configs/choice_ref.h"

namespace pinnerformer {

// Points at the member that holds the value; does not own it.
using ValueRef = std::variant<bool*, int64_t*, double*, std::string*, std::vector<std::string>*,
                              std::vector<int64_t>*, ChoiceRef>;

// Stores `text` in the value; false, and the value untouched, where the text is not of its type.
// Lists are "a,b" or "[a, b]"; truth is true/false, yes/no or on/off; numbers must be finite.
[[nodiscard]] bool assign_text(const ValueRef& value, std::string_view text);
// The same for the words of a YAML list; false where the value is no list.
[[nodiscard]] bool assign_list(const ValueRef& value, const std::vector<std::string>& words);
[[nodiscard]] bool is_list(const ValueRef& value);

// The value as YAML: assign_text() and a YAML reader both get the same value back.
[[nodiscard]] std::string value_text(const ValueRef& value);

// What assign_text() expects, for messages: "a whole number".
[[nodiscard]] std::string type_name(const ValueRef& value);

}  // namespace pinnerformer
