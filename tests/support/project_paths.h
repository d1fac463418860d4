// Where the tests find this source tree and its Python.
#pragma once
#include <string>

namespace pinnerformer {

[[nodiscard]] std::string source_directory();
[[nodiscard]] std::string python_program();

}  // namespace pinnerformer
