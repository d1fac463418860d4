// `checkpoint prune` and `checkpoint copy`, which return an exit code, and what no checkpoint is.
#pragma once
#include <string>
#include <vector>

#include "trainer/options.h"

namespace pinnerformer {

// Removes checkpoints of runs, or of directories of checkpoints such as a mirror, that `options` do
// not keep. Each directory is locked against a training meanwhile. `dry_run`: says what it would
// do.
int prune_checkpoints(const std::vector<std::string>& paths, const CheckpointOptions& options,
                      bool dry_run, const std::string& json_file);

// Copies checkpoints, or the newest whole one of a run, into the directory that is the last of
// `paths`. Throws DataError where that is a dataset, a run, a checkpoint or an export.
int copy_checkpoints(const std::vector<std::string>& paths, const std::string& json_file);

// Throws DataError where `path` is a dataset or an export, naming the command that fits.
void require_no_other_kind(const std::string& path);

}  // namespace pinnerformer
