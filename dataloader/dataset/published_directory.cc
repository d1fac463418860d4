// An existing directory is exchanged with the new one in one system call, then deleted.
#include "dataloader/dataset/published_directory.h"

#include <fcntl.h>
#include <stdio.h>

#include <filesystem>
#include <utility>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/paths.h"
#include "dataloader/base/temporary.h"
#include "dataloader/dataset/dataset_format.h"

namespace pinnerformer {
namespace fs = std::filesystem;
namespace {

bool holds(const std::string& target, const DirectoryKind& kind) {
  return fs::exists(fs::path(target) / kind.marker);
}

}  // namespace

void require_free_target(const std::string& path, bool overwrite, const DirectoryKind& kind) {
  const std::string target = without_trailing_slashes(path);
  if (target.empty()) throw DataError("the name of the " + kind.name + " directory is empty");
  if (fs::is_symlink(target))
    throw DataError(target + " is a symbolic link; name the directory that it points to");
  if (!fs::exists(target) || (fs::is_directory(target) && fs::is_empty(target))) return;
  if (!holds(target, kind))
    throw DataError(target + " exists and is not " + kind.a_name + "; choose another directory");
  if (!overwrite)
    throw DataError(target + " holds " + kind.a_name + " already; --overwrite replaces it");
  for (const auto& entry : fs::directory_iterator(target)) {
    const std::string name = entry.path().filename();
    if (!kind.is_part(name))
      throw DataError(
          target + " holds " + name + " besides its " + kind.name +
          ", and --overwrite would delete it; move it away or choose another directory");
  }
}

const DirectoryKind& dataset_directory() {
  static const DirectoryKind kind{"dataset", "a dataset", kItemsFile, [](const std::string& file) {
                                    return file == kItemsFile ||
                                           (file.starts_with("users-") && file.ends_with(".h5"));
                                  }};
  return kind;
}

PublishedDirectory::PublishedDirectory(std::string target, bool overwrite, DirectoryKind kind)
    : target_(without_trailing_slashes(std::move(target))),
      overwrite_(overwrite),
      kind_(std::move(kind)) {
  require_free_target(target_, overwrite_, kind_);
  remove_abandoned_directories(target_);
  path_ = temporary_name(target_);
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) throw IoError("cannot make directory " + path_ + ": " + error.message());
  claim_.emplace(path_);
}

PublishedDirectory::~PublishedDirectory() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

void PublishedDirectory::publish() {
  sync_directory_entries(path_);
  require_free_target(target_, overwrite_, kind_);  // it may have appeared meanwhile
  // Both names change at once; afterwards path_ is the old one and the destructor removes it.
  const bool exchange = holds(target_, kind_);
  if (exchange &&
      ::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) == 0) {
    sync_directory_entries(parent_directory(target_));
    return;
  }
  // Some network file systems cannot exchange; then there is a moment with no directory of that
  // name.
  const std::string old = path_ + ".old";
  if (exchange) rename_durably(target_, old);
  try {
    rename_durably(path_, target_);
  } catch (...) {
    if (exchange && !fs::exists(target_)) rename_durably(old, target_);
    throw;
  }
  path_.clear();
  if (exchange) fs::remove_all(old);
}

}  // namespace pinnerformer
