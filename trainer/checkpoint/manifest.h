// MANIFEST.json, which vouches for the other files of a checkpoint and for itself.
#pragma once
#include <string>

#include "trainer/checkpoint/checkpoint.h"

namespace pinnerformer {

inline constexpr const char* kManifestName = "MANIFEST.json";

// JSON whose last entry, "checksum", is the XXH3-64 of the text with zeros in place of its digits.
[[nodiscard]] std::string manifest_text(const CheckpointInfo& info);
// `path` is for messages. Throws CheckpointError where a single bit is not as it was written (of
// version 1, which has no checksum: where it is no JSON or an entry is missing),
// NewerVersionError where the text is whole but of a later version.
[[nodiscard]] CheckpointInfo parse_manifest(const std::string& text, const std::string& path);

}  // namespace pinnerformer
