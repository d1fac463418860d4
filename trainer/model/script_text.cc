#include "trainer/model/script_text.h"

#include <array>
#include <cstdio>

namespace pinnerformer {

std::string script_number(double value) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.17g", value);
  const std::string digits = text.data();
  return digits.find_first_of(".e") == std::string::npos ? digits + ".0" : digits;
}

std::string script_number(int64_t value) { return std::to_string(value); }

std::string fill_script(std::string text,
                        const std::vector<std::pair<std::string, std::string>>& values) {
  for (const auto& [name, value] : values)
    for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at))
      text.replace(at, name.size(), value);
  return text;
}

}  // namespace pinnerformer
