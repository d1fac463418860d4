#include "trainer/checkpoint/checkpoint.h"

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <utility>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "trainer/checkpoint/bounded_json.h"
#include "trainer/checkpoint/checkpoint_list.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/safetensors.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostConfigBytes = int64_t{16} << 20;
constexpr int64_t kMostDataBytes = int64_t{256} << 20;

[[noreturn]] void throw_io_error(const std::string& what, const fs::filesystem_error& error) {
  const std::string message = what + ": " + error.what();
  const int code = error.code().value();
  if (code == EIO || code == EAGAIN || code == EINTR) throw TransientIoError(message);
  if (code == ENOSPC || code == EDQUOT)
    throw IoError(message + "; free some space, the last checkpoint is whole");
  throw IoError(message);
}

// Texts, and tensors that are read whole, must fit in memory. A file may claim any size: a sparse
// one takes no space on the disk.
int64_t most_bytes(const std::string& name) {
  if (name == kConfigFile) return kMostConfigBytes;
  if (name == kDataFile) return kMostDataBytes;
  if (name == kModelFile || name == kTrainingFile)
    return ::sysconf(_SC_PHYS_PAGES) * ::sysconf(_SC_PAGESIZE);
  return INT64_MAX;
}

void check_size(const fs::path& path, const FileDigest& expected) {
  std::error_code failed;
  const fs::file_status status = fs::status(path, failed);
  if (!fs::exists(status)) throw CheckpointError(path.string() + " is missing");
  if (!fs::is_regular_file(status)) throw CheckpointError(path.string() + " is not a regular file");
  const auto size = fs::file_size(path, failed);
  if (failed) throw CheckpointError(path.string() + " is missing");
  if (std::cmp_not_equal(size, expected.bytes))
    throw CheckpointError(path.string() + " has " + std::to_string(size) + " bytes, its manifest " +
                          "says " + std::to_string(expected.bytes));
  const int64_t most = most_bytes(path.filename());
  if (expected.bytes > most)
    throw CheckpointError(path.string() + " has " + std::to_string(size) +
                          " bytes, expected at most " + std::to_string(most) +
                          " (what this host can hold in memory)");
}

// A file that the program would read and the manifest does not vouch for.
void check_unnamed(const fs::path& path, const CheckpointInfo& info) {
  for (const char* name : {kModelFile, kTrainingFile, kConfigFile, kDataFile, kItemTableFile,
                           kItemTableTrainingFile, kItemTableChangesFile})
    if (!info.files.contains(name) && fs::exists(path / name))
      throw CheckpointError((path / name).string() + " is not named in " + kManifestName +
                            ": it belongs to another checkpoint; remove it");
}

void check_content(const fs::path& path, const FileDigest& expected) try {
  if (digest_file(path) != expected)
    throw CheckpointError(path.string() + " is damaged: its checksum is not the manifest's");
} catch (const MissingInputError&) {
  throw CheckpointError(path.string() + " is missing");
}

}  // namespace

// The name holds this process's id: a directory of that name was left by a process that has ended.
CheckpointDraft::CheckpointDraft(const std::string& directory, int64_t step) try
    : directory_(directory),
      target_(checkpoint_path(directory, step)),
      partial_(target_ + ".partial-" + std::to_string(::getpid())) {
  fs::create_directories(directory_);
  if (fs::exists(target_)) throw IoError(target_ + " exists already: never overwritten");
  fs::remove_all(partial_);
  if (!fs::create_directory(partial_))
    throw IoError("saving a checkpoint failed: cannot create " + partial_);
} catch (const fs::filesystem_error& error) {
  throw_io_error("saving a checkpoint failed", error);
}

CheckpointDraft::~CheckpointDraft() {
  std::error_code ignored;
  if (!partial_.empty()) fs::remove_all(partial_, ignored);
}

std::string CheckpointDraft::path_of(const std::string& name) const {
  const std::string path = fs::path(partial_) / name;
  std::error_code ignored;
  fs::remove(path, ignored);
  return path;
}

std::string CheckpointDraft::publish(CheckpointInfo info) {
  info.files = files_;
  write_durable(path_of(kManifestName), manifest_text(info));  // last: it vouches for the rest
  sync_directory_entries(partial_);
  rename_durably(partial_, target_);
  return target_;
}

std::string finish_checkpoint(CheckpointDraft& draft, const Checkpoint& checkpoint) {
  for (const auto& [name, write] : checkpoint.deferred) draft.add(name, write(draft.path_of(name)));
  for (const auto& [name, tensors] :
       {std::pair(kModelFile, &checkpoint.model), std::pair(kTrainingFile, &checkpoint.training)})
    draft.add(name, write_safetensors(draft.path_of(name), *tensors));
  for (const auto& [name, text] :
       {std::pair(kConfigFile, &checkpoint.config), std::pair(kDataFile, &checkpoint.data)})
    draft.add(name, write_durable(draft.path_of(name), *text));
  return draft.publish(checkpoint.info);
}

std::string save_checkpoint(const std::string& directory, const Checkpoint& checkpoint) {
  CheckpointDraft draft(directory, checkpoint.info.step);
  for (const auto& [name, write] : checkpoint.streamed) draft.add(name, write(draft.path_of(name)));
  return finish_checkpoint(draft, checkpoint);
}

CheckpointInfo read_manifest(const std::string& path, bool verify_files) {
  CheckpointInfo info = read_manifest_file(path);
  for (const auto& [name, digest] : info.files) check_size(fs::path(path) / name, digest);
  check_unnamed(path, info);
  for (const auto& [name, digest] : info.files)
    if (verify_files) check_content(fs::path(path) / name, digest);
  return info;
}

void check_position(const CheckpointInfo& info, int64_t users, const std::string& path) {
  const LoaderPosition& position = info.position;
  int64_t samples = 0;
  const bool possible = position.consumed < users &&
                        !__builtin_mul_overflow(position.epoch, users, &samples) &&
                        info.samples - position.consumed == samples;
  if (!possible)
    throw CheckpointError(
        path + ": epoch " + std::to_string(position.epoch) + ", epoch_consumed " +
        std::to_string(position.consumed) + " and samples " + std::to_string(info.samples) +
        " are no position in epochs of " + std::to_string(users) +
        " users: the manifest was changed, or another split or dataset was trained on");
}

std::vector<std::string> checkpoint_damage(const std::string& path) {
  std::vector<std::string> damage;
  const auto note = [&](const auto& check) {
    try {
      check();
    } catch (const std::runtime_error& error) {
      damage.emplace_back(error.what());
    }
  };
  CheckpointInfo info;
  note([&] {
    info = read_manifest_file(path);
    check_unnamed(path, info);
  });
  for (const auto& [name, digest] : info.files)
    note([&, file = fs::path(path) / name, expected = digest] {
      check_size(file, expected);
      check_content(file, expected);
    });
  return damage;
}

Checkpoint load_checkpoint(const std::string& path, bool training, bool verify_files) try {
  const fs::path directory(path);
  Checkpoint checkpoint;
  checkpoint.info = read_manifest(path, verify_files);
  checkpoint.config = read_bounded_text(directory / kConfigFile, kMostConfigBytes);
  if (checkpoint.info.files.contains(kDataFile))
    checkpoint.data = read_bounded_text(directory / kDataFile, kMostDataBytes);
  checkpoint.model = read_safetensors(directory / kModelFile);
  if (training) checkpoint.training = read_safetensors(directory / kTrainingFile);
  return checkpoint;
} catch (const DataError& error) {
  throw CheckpointError(error.what());
}

}  // namespace pinnerformer
