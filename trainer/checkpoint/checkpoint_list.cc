#include "trainer/checkpoint/checkpoint_list.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <set>
#include <string_view>
#include <thread>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/manifest.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

// How often a search starts again because the list of checkpoints has changed.
constexpr int kMostSearches = 20;

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// "step-" and a step of nine digits or more.
bool names_checkpoint(std::string_view name) {
  constexpr std::string_view kPrefix = "step-";
  return name.starts_with(kPrefix) && name.size() >= kPrefix.size() + 9 &&
         all_digits(name.substr(kPrefix.size()));
}

// A checkpoint's name with ".partial-" and digits behind it: what CheckpointDraft writes to.
bool names_partial(std::string_view name) {
  constexpr std::string_view kMiddle = ".partial-";
  const size_t middle = name.find(kMiddle);
  return middle != std::string_view::npos && names_checkpoint(name.substr(0, middle)) &&
         all_digits(name.substr(middle + kMiddle.size()));
}

// Entries of `directory` with such names, sorted: zero-padded steps sort by number.
std::vector<std::string> entries_with(const std::string& directory,
                                      bool (*matches)(std::string_view name)) {
  std::vector<std::string> paths;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored))
    if (matches(entry.path().filename().string())) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

struct ValidCheckpoint {
  std::string path;
  CheckpointInfo info;
};

// Newest first. With `verify_files` the files are read, else their sizes are enough.
std::vector<ValidCheckpoint> valid_checkpoints(const std::string& directory, bool verify_files) {
  std::vector<ValidCheckpoint> valid;
  std::vector<std::string> paths = list_checkpoints(directory);
  for (; !paths.empty(); paths.pop_back()) {
    try {
      valid.push_back({paths.back(), read_manifest(paths.back(), verify_files)});
    } catch (const std::runtime_error&) {  // damaged, or not readable now
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
    const bool best = info.step == valid.front().info.best.step;
    if (recent || best || (options.keep_every > 0 && info.step % options.keep_every == 0))
      kept.insert(path);
  }
  return kept;
}

// A newer one that is not valid stays, so that its damage can be examined.
PrunePlan plan_of(const std::string& directory, const std::vector<ValidCheckpoint>& valid,
                  const CheckpointOptions& options) {
  const bool all = std::ssize(valid) <= options.keep_last;
  const std::string oldest_kept = all ? "" : valid[static_cast<size_t>(options.keep_last - 1)].path;
  const std::set<std::string> kept = kept_checkpoints(valid, options);
  PrunePlan plan;
  for (const std::string& path : list_checkpoints(directory))
    (path >= oldest_kept || kept.contains(path) ? plan.kept : plan.removed).push_back(path);
  return plan;
}

NewestCheckpoint newest_of(std::vector<std::string> paths) {
  NewestCheckpoint newest;
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

// A manifest is removed first: a directory that is half removed is no checkpoint. A link is removed
// itself, and nothing behind it.
void remove_checkpoint(const fs::path& path) {
  std::error_code failed;
  if (fs::is_symlink(path, failed)) {
    fs::remove(path, failed);
    return;
  }
  fs::remove(path / kManifestName, failed);
  if (!failed) fs::remove_all(path, failed);
}

// The step at the end of a path: 500 or step-500.
std::optional<int64_t> step_at_end(const std::string& name) {
  const std::string digits = name.starts_with("step-") ? name.substr(5) : name;
  int64_t step = 0;
  const char* end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, step);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == end && step >= 0;
  return whole ? std::optional(step) : std::nullopt;
}

}  // namespace

std::string checkpoint_path(const std::string& directory, int64_t step) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "step-%09lld", static_cast<long long>(step));
  return fs::path(directory) / name.data();
}

std::string resolve_checkpoint_path(const std::string& path) {
  const fs::path given(path);
  const auto step = step_at_end(given.filename().string());
  std::error_code ignored;
  if (!step || fs::exists(given, ignored)) return path;
  for (const fs::path& directory : {given.parent_path(), given.parent_path() / "checkpoints"}) {
    const std::string named = checkpoint_path(directory, *step);
    if (fs::is_directory(named, ignored)) return named;
  }
  return path;
}

std::vector<std::string> list_checkpoints(const std::string& directory) {
  return entries_with(directory, names_checkpoint);
}

NewestCheckpoint find_newest_checkpoint(const std::string& directory) {
  for (int left = kMostSearches;; --left) {
    const std::vector<std::string> paths = list_checkpoints(directory);
    NewestCheckpoint newest = newest_of(paths);
    // Only a checkpoint that is older than others is removed, and those are in the new list.
    if (newest.rejected.empty() || left == 0 || list_checkpoints(directory) == paths) return newest;
  }
}

void read_newest_checkpoint(const std::string& directory,
                            const std::function<void(const NewestCheckpoint&)>& read) {
  for (int left = kMostSearches;; --left) {
    const std::vector<std::string> paths = list_checkpoints(directory);
    try {
      return read(find_newest_checkpoint(directory));
    } catch (const std::runtime_error&) {
      if (left == 0 || list_checkpoints(directory) == paths) throw;
    }
  }
}

bool was_removed(const std::string& path) {
  std::error_code ignored;
  for (int left = 20; left > 0; --left) {
    if (!fs::exists(path, ignored)) return true;
    if (fs::exists(fs::path(path) / kManifestName, ignored)) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return false;
}

std::string set_aside_checkpoint(const std::string& path) try {
  const fs::path from(path);
  const fs::path plain = from.parent_path() / ("damaged-" + from.filename().string());
  fs::path aside = plain;
  for (int copy = 2; fs::exists(fs::symlink_status(aside)); ++copy)
    aside = plain.string() + "-" + std::to_string(copy);
  fs::rename(from, aside);
  sync_directory_entries(from.parent_path());
  return aside;
} catch (const fs::filesystem_error& error) {
  throw IoError(std::string("setting a damaged checkpoint aside failed: ") + error.what());
}

PrunePlan plan_prune(const std::string& directory, const CheckpointOptions& options) {
  const std::vector<ValidCheckpoint> whole = valid_checkpoints(directory, /*verify_files=*/true);
  if (whole.empty()) throw CheckpointError(directory + " has no whole checkpoint: none is removed");
  return plan_of(directory, whole, options);
}

void prune(const PrunePlan& plan) {
  for (const std::string& path : plan.removed) remove_checkpoint(path);
}

void remove_old_checkpoints(const std::string& directory, const CheckpointOptions& options) {
  prune(plan_of(directory, valid_checkpoints(directory, /*verify_files=*/false), options));
  // The run is locked: no other process is writing one of these.
  std::error_code ignored;
  for (const std::string& partial : entries_with(directory, names_partial))
    fs::remove_all(partial, ignored);
}

}  // namespace pinnerformer
