// Pieces of TorchScript source.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace pinnerformer {

// Numbers as the source has them; a double keeps all its digits.
[[nodiscard]] std::string script_number(double value);
[[nodiscard]] std::string script_number(int64_t value);

// The text with every $NAME replaced by its value.
[[nodiscard]] std::string fill_script(
    std::string text, const std::vector<std::pair<std::string, std::string>>& values);

}  // namespace pinnerformer
