// Results of commands, `--json FILE`: writing them and reading them again.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace pinnerformer {

// Writes `result` to `file`, creating its directory. A reader sees the old file or the whole new
// one, never a part. Does nothing where `file` is "" (no --json given). Throws IoError.
// Numbers without a JSON form (NaN, infinity) become null.
void write_json_file(const std::string& file, const nlohmann::json& result);

// Before the work whose result goes to `file`: throws UsageError where its name cannot be replaced
// (a directory, a symbolic link) or has the ending of another format. "" is no file.
void check_json_file(const std::string& file);

// Reads what `--json FILE` of a command wrote. The file may come from anywhere: it has at most 32
// MiB, and at most 32 objects and arrays inside each other. Throws DataError where that does not
// hold or it is no JSON, MissingInputError or IoError.
[[nodiscard]] nlohmann::json read_json_file(const std::string& file);

}  // namespace pinnerformer
