#include "trainer/checkpoint/checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/retry.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/safetensors.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw CheckpointError(path.string() + " is missing or unreadable");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

[[noreturn]] void throw_io_error(const std::string& what, const fs::filesystem_error& error) {
  const std::string message = what + ": " + error.what();
  const int code = error.code().value();
  if (code == EIO || code == EAGAIN || code == EINTR) throw TransientIoError(message);
  if (code == ENOSPC || code == EDQUOT)
    throw IoError(message + "; free some space, the last checkpoint is whole");
  throw IoError(message);
}

void check_size(const fs::path& path, const FileDigest& expected) {
  std::error_code missing;
  const auto size = fs::file_size(path, missing);
  if (missing) throw CheckpointError(path.string() + " is missing");
  if (std::cmp_not_equal(size, expected.bytes))
    throw CheckpointError(path.string() + " has " + std::to_string(size) + " bytes, its manifest " +
                          "says " + std::to_string(expected.bytes));
}

void check_content(const fs::path& path, const FileDigest& expected) {
  if (digest_file(path).xxh3 != expected.xxh3)
    throw CheckpointError(path.string() + " is damaged: its checksum is not the manifest's");
}

}  // namespace

std::string checkpoint_path(const std::string& directory, int64_t step) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "step-%09lld", static_cast<long long>(step));
  return fs::path(directory) / name.data();
}

// The name is this process's own: a leftover of the same name was made by one that is gone.
CheckpointDraft::CheckpointDraft(const std::string& directory, int64_t step) try
    : directory_(directory),
      target_(checkpoint_path(directory, step)),
      partial_(target_ + ".partial-" + std::to_string(::getpid())) {
  fs::create_directories(directory_);
  if (fs::exists(target_)) throw IoError(target_ + " exists already: never overwritten");
  fs::remove_all(partial_);
  fs::create_directory(partial_);
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

std::string CheckpointDraft::publish(CheckpointInfo info) try {
  info.files = files_;
  write_durable(path_of(kManifestName), manifest_text(info));  // last: it vouches for the rest
  sync_directory_entries(partial_);
  fs::rename(partial_, target_);
  partial_.clear();
  // It has its name: from here on only this last step can be repeated.
  try {
    retry_passing_errors([&] { sync_directory_entries(directory_); });
  } catch (const TransientIoError& error) {
    throw IoError(error.what());
  }
  return target_;
} catch (const fs::filesystem_error& error) {
  throw_io_error("publishing a checkpoint failed", error);
}

std::string finish_checkpoint(CheckpointDraft& draft, const Checkpoint& checkpoint) {
  for (const auto& [name, tensors] : {std::pair("model.safetensors", &checkpoint.model),
                                      std::pair("training.safetensors", &checkpoint.training)})
    draft.add(name, write_safetensors(draft.path_of(name), *tensors));
  for (const auto& [name, text] :
       {std::pair("config.yaml", &checkpoint.config), std::pair("data.json", &checkpoint.data)})
    draft.add(name, write_durable(draft.path_of(name), *text));
  return draft.publish(checkpoint.info);
}

std::string save_checkpoint(const std::string& directory, const Checkpoint& checkpoint) {
  CheckpointDraft draft(directory, checkpoint.info.step);
  for (const auto& [name, write] : checkpoint.streamed) draft.add(name, write(draft.path_of(name)));
  return finish_checkpoint(draft, checkpoint);
}

CheckpointInfo read_manifest(const std::string& path, bool verify_files) {
  const fs::path manifest = fs::path(path) / kManifestName;
  const CheckpointInfo info = parse_manifest(read_text(manifest), manifest);
  for (const auto& [name, digest] : info.files) {
    check_size(fs::path(path) / name, digest);
    if (verify_files) check_content(fs::path(path) / name, digest);
  }
  return info;
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
  const fs::path manifest = fs::path(path) / kManifestName;
  CheckpointInfo info;
  note([&] { info = parse_manifest(read_text(manifest), manifest); });
  for (const auto& [name, digest] : info.files)
    note([&, file = fs::path(path) / name, expected = digest] {
      check_size(file, expected);
      check_content(file, expected);
    });
  return damage;
}

Checkpoint load_checkpoint(const std::string& path, bool training, bool verify_files) try {
  Checkpoint checkpoint;
  checkpoint.info = read_manifest(path, verify_files);
  checkpoint.config = read_text(fs::path(path) / "config.yaml");
  if (checkpoint.info.files.contains("data.json"))
    checkpoint.data = read_text(fs::path(path) / "data.json");
  checkpoint.model = read_safetensors(fs::path(path) / "model.safetensors");
  if (training) checkpoint.training = read_safetensors(fs::path(path) / "training.safetensors");
  return checkpoint;
} catch (const DataError& error) {
  throw CheckpointError(error.what());
}

}  // namespace pinnerformer
