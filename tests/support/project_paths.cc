#include "tests/support/project_paths.h"

namespace pinnerformer {

std::string source_directory() { return PF_SOURCE_DIR; }

std::string nvml_double() { return PF_NVML_DOUBLE; }

std::string python_program() { return PF_PYTHON; }

}  // namespace pinnerformer
