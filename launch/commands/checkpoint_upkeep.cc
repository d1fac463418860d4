#include "launch/commands/checkpoint_upkeep.h"

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "dataloader/base/errors.h"
#include "dataloader/base/paths.h"
#include "dataloader/dataset/dataset_writer.h"
#include "launch/cli/exit_code.h"
#include "launch/cli/json_file.h"
#include "launch/job/run_lock.h"
#include "trainer/checkpoint/checkpoint_copy.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/checkpoint/manifest.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

constexpr double kLockSeconds = 5;

// The directory that holds the checkpoints of `path`, a run or such a directory.
std::string directory_of(const std::string& path) {
  require_directory(path);
  const std::string inner = path + "/checkpoints";
  return fs::is_directory(inner) ? inner : path;
}

// The directory whose lock a training of these checkpoints holds: the run, also where the directory
// of its checkpoints is named.
std::string locked_directory(const std::string& path) {
  const std::string plain = without_trailing_slashes(path);
  return fs::path(plain).filename() == "checkpoints" ? parent_directory(plain) : plain;
}

std::string checkpoint_of(const std::string& path) {
  const std::string directory = directory_of(path);
  if (directory == path) return path;
  const NewestCheckpoint newest = find_newest_checkpoint(directory);
  if (!newest.path) throw CheckpointError(directory + " has no whole checkpoint");
  return *newest.path;
}

struct OtherKind {
  std::string found, command;  // what the directory is, and the command that checks it
};

// Nothing where a directory is neither a dataset nor an export.
std::optional<OtherKind> other_kind(const std::string& directory) {
  // First: an export has an items.h5, too.
  if (fs::exists(fs::path(directory) / "export.json"))
    return OtherKind{"an export", "export --verify"};
  if (holds_dataset(directory)) return OtherKind{"a dataset", "data validate"};
  return std::nullopt;
}

// Checkpoints beside other files would be removed with them, or be taken for a part of them.
void require_target(const std::string& directory) {
  const auto refuse = [&](const std::string& found) {
    throw DataError("checkpoint copy: " + directory + " is " + found +
                    "; expected a directory that is empty, new or holds checkpoints alone");
  };
  if (const auto other = other_kind(directory)) refuse(other->found);
  if (fs::exists(fs::path(directory) / "checkpoints"))
    refuse("a run directory, whose checkpoints lie in " + directory + "/checkpoints");
  if (fs::exists(fs::path(directory) / kManifestName)) refuse("a checkpoint");
}

}  // namespace

void require_no_other_kind(const std::string& path) {
  if (const auto other = other_kind(path))
    throw DataError(path + " is " + other->found + ", not a checkpoint: use `pinnerformer " +
                    other->command + " " + path + "`");
}

int prune_checkpoints(const std::vector<std::string>& paths, const CheckpointOptions& options,
                      bool dry_run, const std::string& json_file) {
  nlohmann::json result = nlohmann::json::object();
  for (const std::string& path : paths) {
    const std::string directory = directory_of(path);
    std::optional<RunLock> lock;
    if (!dry_run) lock.emplace(locked_directory(path), kLockSeconds);
    const PrunePlan plan = plan_prune(directory, options);
    if (!dry_run) prune(plan);
    for (const std::string& kept : plan.kept) std::cout << kept << ": kept\n";
    for (const std::string& removed : plan.removed)
      std::cout << removed << (dry_run ? ": would be removed\n" : ": removed\n");
    result[path] = {{"kept", plan.kept}, {"removed", plan.removed}};
  }
  write_json_file(json_file, result);
  return kDone;
}

int copy_checkpoints(const std::vector<std::string>& paths, const std::string& json_file) {
  require_target(paths.back());
  nlohmann::json result = nlohmann::json::object();
  for (size_t i = 0; i + 1 < paths.size(); ++i) {
    const std::string from = checkpoint_of(paths[i]);
    const std::string copy = copy_checkpoint(from, paths.back());
    std::cout << from << ": copied to " << copy << std::endl;
    result[from] = copy;
  }
  write_json_file(json_file, result);
  return kDone;
}

}  // namespace pinnerformer
