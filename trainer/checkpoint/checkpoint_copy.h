// Copies a checkpoint to another directory: of another disk, or of another host over NFS.
#pragma once
#include <string>

namespace pinnerformer {

// Publishes a copy of the checkpoint `path` as `directory`/step-NNNNNNNNN and returns that path.
// Every byte is compared with the manifest's checksums on its way, so that a damaged checkpoint
// makes no copy. A whole copy that is there already is left as it is. Throws CheckpointError where
// `path` is damaged, IoError where the copy cannot be written or another checkpoint has its name;
// nothing is left behind then.
std::string copy_checkpoint(const std::string& path, const std::string& directory);

}  // namespace pinnerformer
