// Reads JSON and other small texts of a checkpoint. Such files may be damaged, or made on purpose
// to take all memory: size and nesting are limited before anything is believed.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "dataloader/base/durable_file.h"

namespace pinnerformer {

// The content of a regular file of at most `most_bytes` bytes. Throws CheckpointError where it is
// missing, longer, or no regular file (a pipe, a device); IoError where it cannot be read.
[[nodiscard]] std::string read_bounded_text(const std::string& path, int64_t most_bytes);

// JSON of at most `most_depth` objects and arrays inside each other. Throws CheckpointError.
[[nodiscard]] nlohmann::json parse_bounded_json(const std::string& text, int most_depth,
                                                const std::string& path);

// A value for a message: escaped, and cut after 80 characters.
[[nodiscard]] std::string printable_json(const nlohmann::json& value);

// The entry `key` of `object`: a whole number from `least` to 2^53. Throws CheckpointError.
[[nodiscard]] int64_t whole_number(const nlohmann::json& object, const char* key, int64_t least,
                                   const std::string& path);
// The same for a value, which messages call `name`.
[[nodiscard]] int64_t as_whole_number(const nlohmann::json& value, const std::string& name,
                                      int64_t least, const std::string& path);
// The entry `key` of `object`: a number. Throws CheckpointError.
[[nodiscard]] double number_entry(const nlohmann::json& object, const char* key,
                                  const std::string& path);
// The entry `key` of `object`: a string. Throws CheckpointError.
[[nodiscard]] std::string text_entry(const nlohmann::json& object, const char* key,
                                     const std::string& path);

// A file's size and hash as an object with "bytes" and "xxh3", and back. Throws CheckpointError.
[[nodiscard]] nlohmann::json digest_json(const FileDigest& digest);
[[nodiscard]] FileDigest digest_of(const nlohmann::json& object, const std::string& path);

}  // namespace pinnerformer
