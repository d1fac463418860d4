// MANIFEST.json: sizes and checksums of the other files of a checkpoint, and of itself.
#pragma once
#include <string>

#include "trainer/checkpoint/checkpoint.h"

namespace pinnerformer {

inline constexpr const char* kManifestName = "MANIFEST.json";

// JSON whose last entry, "checksum", is the XXH3-64 of the text with zeros in place of its digits.
[[nodiscard]] std::string manifest_text(const CheckpointInfo& info);

// `path` is for messages. Throws NewerVersionError where the text is whole but of a later version,
// CheckpointError where a bit is not as it was written (version 1 has no checksum), or where an
// entry is missing or impossible: counts are whole numbers >= 0; `files` names at least the
// weights, the training state and the configuration, each by a plain name without a folder.
[[nodiscard]] CheckpointInfo parse_manifest(const std::string& text, const std::string& path);

// The manifest of the checkpoint in `directory`. Throws as parse_manifest() and
// read_bounded_text() do.
[[nodiscard]] CheckpointInfo read_manifest_file(const std::string& directory);

}  // namespace pinnerformer
