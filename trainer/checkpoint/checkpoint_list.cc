// The checkpoints of a run: finding the newest one, setting damaged ones aside, removing old ones.
#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/manifest.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

// Entries of `directory` whose names match, sorted: zero-padded steps sort by number.
std::vector<std::string> entries_like(const std::string& directory, const char* pattern) {
  const std::regex name(pattern);
  std::vector<std::string> paths;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored))
    if (std::regex_match(entry.path().filename().string(), name)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

struct ValidCheckpoint {
  std::string path;
  CheckpointInfo info;
};

// Newest first.
std::vector<ValidCheckpoint> valid_checkpoints(const std::string& directory) {
  std::vector<ValidCheckpoint> valid;
  std::vector<std::string> paths = list_checkpoints(directory);
  for (; !paths.empty(); paths.pop_back()) {
    try {
      valid.push_back({paths.back(), read_manifest(paths.back(), /*verify_files=*/false)});
    } catch (const CheckpointError&) {
      continue;
    }
  }
  return valid;
}

// Of the valid checkpoints, newest first, those that `options` keep.
std::set<std::string> kept_checkpoints(const std::vector<ValidCheckpoint>& valid,
                                       const CheckpointOptions& options) {
  std::set<std::string> kept;
  for (const auto& [path, info] : valid) {
    const bool recent = std::ssize(kept) < options.keep_last;
    if (recent || (options.keep_every > 0 && info.step % options.keep_every == 0))
      kept.insert(path);
  }
  return kept;
}

}  // namespace

std::vector<std::string> list_checkpoints(const std::string& directory) {
  return entries_like(directory, "step-[0-9]{9,}");
}

NewestCheckpoint find_newest_checkpoint(const std::string& directory) {
  NewestCheckpoint newest;
  std::vector<std::string> paths = list_checkpoints(directory);
  for (; !paths.empty(); paths.pop_back()) {
    try {
      static_cast<void>(read_manifest(paths.back(), /*verify_files=*/true));
      newest.path = paths.back();
      return newest;
    } catch (const NewerVersionError&) {
      throw;
    } catch (const std::runtime_error& error) {
      newest.rejected.emplace_back(error.what());
    }
  }
  return newest;
}

std::string set_aside_checkpoint(const std::string& path) try {
  const fs::path from(path);
  const fs::path plain = from.parent_path() / ("damaged-" + from.filename().string());
  fs::path aside = plain;
  for (int copy = 2; fs::exists(aside); ++copy) aside = plain.string() + "-" + std::to_string(copy);
  fs::rename(from, aside);
  sync_directory_entries(from.parent_path());
  return aside;
} catch (const fs::filesystem_error& error) {
  throw IoError(std::string("setting a damaged checkpoint aside failed: ") + error.what());
}

void remove_old_checkpoints(const std::string& directory, const CheckpointOptions& options) {
  const std::vector<ValidCheckpoint> valid = valid_checkpoints(directory);
  std::error_code ignored;
  if (std::ssize(valid) > options.keep_last) {
    const std::string& oldest_kept = valid[static_cast<size_t>(options.keep_last - 1)].path;
    const std::set<std::string> kept = kept_checkpoints(valid, options);
    // What is newer and not valid is left for a person to look at.
    for (const std::string& path : list_checkpoints(directory)) {
      if (path >= oldest_kept || kept.contains(path)) continue;
      // The manifest goes first: what is half removed must not pass for a checkpoint.
      if (fs::remove(fs::path(path) / kManifestName, ignored) || !ignored)
        fs::remove_all(path, ignored);
    }
  }
  // The run is locked: no other process is writing one of these.
  for (const std::string& partial : entries_like(directory, "step-[0-9]{9,}\\.partial-[0-9]+"))
    fs::remove_all(partial, ignored);
}

}  // namespace pinnerformer
