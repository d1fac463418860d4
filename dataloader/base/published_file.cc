// The temporary file has an unpredictable name and is created exclusively: nobody can plant a link
// under that name.
#include "dataloader/base/published_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "dataloader/base/paths.h"
#include "dataloader/base/temporary.h"

namespace pinnerformer {
namespace fs = std::filesystem;
namespace {

void create_parent_directory(const std::string& path) {
  const std::string parent = parent_directory(path);
  std::error_code error;
  fs::create_directories(parent, error);
  if (error)
    throw IoError("cannot write " + path + ": cannot create directory " + parent + ": " +
                  error.message());
}

File create_temporary(const std::string& target, const std::string& beside) {
  check_replaceable(target);
  create_parent_directory(beside);
  remove_abandoned_files(beside);
  return create_claimed_file(beside);
}

}  // namespace

void check_replaceable(const std::string& target) {
  if (target.empty()) throw IoError("cannot write a file without a name");
  struct stat status {};
  if (::lstat(target.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return;
  throw IoError(
      "cannot write " + target + ": expected a regular file or a free name, found " +
      describe_file_type(status.st_mode) + "; " +
      (S_ISLNK(status.st_mode) ? "name the file that the link points to" : "choose another name"));
}

PublishedFile::PublishedFile(std::string target, const std::string& beside)
    : target_(std::move(target)), file_(create_temporary(target_, beside)) {}

PublishedFile::~PublishedFile() {
  if (!published_) ::unlink(file_.path().c_str());
}

void PublishedFile::publish() {
  file_.sync();
  check_replaceable(target_);  // it may have appeared meanwhile
  rename_durably(file_.path(), target_);
  published_ = true;
}

void publish_text(const std::string& target, std::string_view content) {
  PublishedFile file(target);
  file.file().append(content.data(), static_cast<int64_t>(content.size()));
  file.publish();
}

}  // namespace pinnerformer
