// Writing a command's result for `--json FILE`.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace pinnerformer {

// Writes `result` to `file`, creating its directory. A reader sees the old file or the whole new
// one, never a part. Does nothing where `file` is "" (no --json given). Throws IoError.
// Numbers without a JSON form (NaN, infinity) become null.
void write_json_file(const std::string& file, const nlohmann::json& result);

}  // namespace pinnerformer
