#include "trainer/checkpoint/checkpoint_copy.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "dataloader/base/errors.h"
#include "dataloader/base/retry.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/checkpoint/manifest.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

FileDigest copy_file(const std::string& from, const std::string& to) {
  constexpr int64_t kBlock = int64_t{4} << 20;
  const File source = File::open(from);
  DurableFile copy(to);
  const int64_t size = source.size();
  std::vector<char> block(static_cast<size_t>(std::min(size, kBlock)));
  for (int64_t at = 0; at < size; at += kBlock) {
    const int64_t bytes = std::min(kBlock, size - at);
    source.read_at(at, block.data(), bytes);
    copy.write(block.data(), static_cast<size_t>(bytes));
  }
  return copy.finish();
}

// Whether `target` is a whole copy of `path`. Throws IoError where it is something else.
bool is_copy(const std::string& target, const std::string& path) {
  if (!fs::exists(fs::symlink_status(target))) return false;
  try {
    static_cast<void>(read_manifest(target, /*verify_files=*/true));
    if (manifest_text(read_manifest_file(target)) == manifest_text(read_manifest_file(path)))
      return true;
  } catch (const CheckpointError&) {
    throw IoError(target + " exists and is damaged: move it away, then copy again");
  }
  throw IoError(target + " exists and is not a copy of " + path + ": give another directory");
}

std::string copy_once(const std::string& path, const CheckpointInfo& info,
                      const std::string& directory) {
  CheckpointDraft draft(directory, info.step);
  for (const auto& [name, expected] : info.files) {
    const std::string from = fs::path(path) / name;
    const FileDigest copied = copy_file(from, draft.path_of(name));
    if (copied.bytes != expected.bytes || copied.xxh3 != expected.xxh3)
      throw CheckpointError(from + " is damaged: its checksum is not the manifest's");
    draft.add(name, copied);
  }
  return draft.publish(info);
}

}  // namespace

std::string copy_checkpoint(const std::string& path, const std::string& directory) {
  const CheckpointInfo info = read_manifest(path, /*verify_files=*/false);
  const std::string target = checkpoint_path(directory, info.step);
  if (is_copy(target, path)) return target;
  return retry_passing_errors([&] { return copy_once(path, info, directory); });
}

}  // namespace pinnerformer
