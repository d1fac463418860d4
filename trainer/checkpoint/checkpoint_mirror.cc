#include "trainer/checkpoint/checkpoint_mirror.h"

#include <exception>
#include <utility>

#include "trainer/checkpoint/checkpoint_copy.h"
#include "trainer/checkpoint/checkpoint_list.h"

namespace pinnerformer {
namespace {

// Returns what happened.
std::string copy_and_prune(const std::string& path, const CheckpointOptions& options) try {
  const std::string copy = copy_checkpoint(path, options.mirror);
  remove_old_checkpoints(options.mirror, options);
  return "copied " + path + " to " + copy;
} catch (const std::exception& error) {
  if (was_removed(path))
    return "checkpoint.mirror: " + path +
           " was removed before its copy was complete: saves are closer together than copies take. "
           "Raise checkpoint.keep_last or checkpoint.every_steps";
  return "checkpoint.mirror: there is no copy of " + path + ": " + error.what() +
         ". Training goes on; the next checkpoint is copied again";
}

}  // namespace

CheckpointMirror::CheckpointMirror(CheckpointOptions options) : options_(std::move(options)) {}

void CheckpointMirror::add(const std::string& path) { waiting_ = path; }

std::vector<std::string> CheckpointMirror::advance(std::chrono::milliseconds patience) {
  std::vector<std::string> notes;
  if (in_flight_.valid() && in_flight_.wait_for(patience) == std::future_status::ready)
    notes.push_back(in_flight_.get());
  if (waiting_ && !in_flight_.valid())
    in_flight_ = std::async(std::launch::async,
                            [path = *std::exchange(waiting_, std::nullopt), options = options_] {
                              return copy_and_prune(path, options);
                            });
  return notes;
}

}  // namespace pinnerformer
