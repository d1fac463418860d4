// What this program calls itself, in --version and in what it writes.
#pragma once

namespace pinnerformer {

[[nodiscard]] const char* program_version();  // "0.1.0"

}  // namespace pinnerformer
