// Where the tests find this source tree, its Python, and a library that only tests load.
#pragma once
#include <string>

namespace pinnerformer {

[[nodiscard]] std::string source_directory();
[[nodiscard]] std::string python_program();
[[nodiscard]] std::string nvml_double();  // the library of support/nvml_double.cc

}  // namespace pinnerformer
