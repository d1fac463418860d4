// An existing dataset is exchanged with the new one in one system call, then deleted.
#include "dataloader/dataset/published_directory.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/dataset/dataset_writer.h"

namespace pinnerformer {
namespace fs = std::filesystem;
namespace {

std::string without_trailing_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

void check_target(const std::string& target, bool overwrite) {
  if (target.empty()) throw DataError("the name of the dataset directory is empty");
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

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

std::string unique_name(const std::string& target) {
  return target + ".tmp-" + std::to_string(::getpid()) + "-" +
         std::to_string(std::random_device{}());
}

}  // namespace

PublishedDirectory::PublishedDirectory(std::string target, bool overwrite)
    : target_(without_trailing_slash(std::move(target))), overwrite_(overwrite) {
  check_target(target_, overwrite_);
  remove_abandoned_directories(target_);
  path_ = unique_name(target_);
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
    sync_directory_entries(parent_of(target_));
    return;
  }
  // Some network file systems cannot exchange; then there is a moment with no dataset of that name.
  if (exchange) fs::rename(target_, path_ + ".old");
  if (::rename(path_.c_str(), target_.c_str()) != 0) {
    throw IoError("cannot rename " + path_ + " to " + target_ + ": " + std::strerror(errno));
  }
  if (exchange) fs::remove_all(path_ + ".old");
  path_.clear();
  sync_directory_entries(parent_of(target_));
}

}  // namespace pinnerformer
