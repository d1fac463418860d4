// The checkpoints of a run: listing them, finding the newest whole one, removing old ones.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "trainer/errors.h"
#include "trainer/options.h"

namespace pinnerformer {

// `directory`/step-NNNNNNNNN: the name of the checkpoint of a step.
[[nodiscard]] std::string checkpoint_path(const std::string& directory, int64_t step);

// `path`, except where that does not exist and ends in a step: RUN/500, RUN/checkpoints/500 and
// RUN/step-500 name the checkpoint of step 500 where there is one.
[[nodiscard]] std::string resolve_checkpoint_path(const std::string& path);

// Paths of all published checkpoints, oldest first; nothing is verified.
[[nodiscard]] std::vector<std::string> list_checkpoints(const std::string& directory);

struct NewestCheckpoint {
  std::optional<std::string> path;    // the newest one whose checksums all hold
  std::vector<std::string> rejected;  // newer ones whose checksums do not, each with the reason
};
// A training may save and remove checkpoints meanwhile: the search then starts again. Throws
// NewerVersionError where a newer program wrote one of the checkpoints.
[[nodiscard]] NewestCheckpoint find_newest_checkpoint(const std::string& directory);

// Calls `read` with the result of find_newest_checkpoint(). Where `read` throws an error and the
// list of checkpoints has changed, the training has removed the checkpoint: starts again with the
// newest one.
void read_newest_checkpoint(const std::string& directory,
                            const std::function<void(const NewestCheckpoint&)>& read);

// Whether a checkpoint that could not be read has been removed, as remove_old_checkpoints() does.
// Waits up to two seconds for a removal to end.
[[nodiscard]] bool was_removed(const std::string& path);

// Renames a checkpoint that find_newest_checkpoint() rejected to "damaged-NAME" beside it, where no
// run looks, and returns that path.
std::string set_aside_checkpoint(const std::string& path);

// Removes checkpoints older than the newest `keep_last` valid ones, except multiples of
// `keep_every` and the best step that the newest valid one names, and partial directories of
// interrupted saves. Valid: the manifest is whole and every file has its size. A symbolic link is
// removed itself, never what it points to.
void remove_old_checkpoints(const std::string& directory, const CheckpointOptions& options);

// What remove_old_checkpoints() would remove if a checkpoint were valid only with the right
// checksums: every file is read. Checkpoints that `options` keep are therefore whole. Throws
// CheckpointError where none is.
struct PrunePlan {
  std::vector<std::string> kept, removed;  // oldest first
};
[[nodiscard]] PrunePlan plan_prune(const std::string& directory, const CheckpointOptions& options);
// Removes them; a directory that is half removed is no checkpoint.
void prune(const PrunePlan& plan);

}  // namespace pinnerformer
