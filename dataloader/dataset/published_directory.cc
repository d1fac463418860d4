// An existing dataset is exchanged with the new one in one system call, then deleted.
#include "dataloader/dataset/published_directory.h"

#include <fcntl.h>
#include <stdio.h>

#include <filesystem>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/paths.h"
#include "dataloader/base/temporary.h"
#include "dataloader/dataset/dataset_writer.h"

namespace pinnerformer {
namespace fs = std::filesystem;
namespace {

void check_target(const std::string& target, bool overwrite) {
  if (target.empty()) throw DataError("the name of the dataset directory is empty");
  if (fs::is_symlink(target))
    throw DataError(target + " is a symbolic link; name the directory that it points to");
  if (!fs::exists(target) || (fs::is_directory(target) && fs::is_empty(target))) return;
  if (!holds_dataset(target)) {
    throw DataError(target + " exists and is not a dataset; choose another directory");
  }
  if (!overwrite) throw DataError(target + " holds a dataset already; --overwrite replaces it");
  for (const auto& entry : fs::directory_iterator(target)) {
    const std::string name = entry.path().filename();
    if (name != "items.h5" && !(name.starts_with("users-") && name.ends_with(".h5")))
      throw DataError(target + " holds " + name + " besides its dataset, and --overwrite would " +
                      "delete it; move it away or choose another directory");
  }
}

}  // namespace

PublishedDirectory::PublishedDirectory(std::string target, bool overwrite)
    : target_(without_trailing_slashes(std::move(target))), overwrite_(overwrite) {
  check_target(target_, overwrite_);
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
  check_target(target_, overwrite_);  // it may have appeared meanwhile
  // Both names change at once; afterwards path_ is the old dataset and the destructor removes it.
  const bool exchange = holds_dataset(target_);
  if (exchange &&
      ::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) == 0) {
    sync_directory_entries(parent_directory(target_));
    return;
  }
  // Some network file systems cannot exchange; then there is a moment with no dataset of that name.
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
