#include "trainer/checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "dataloader/errors.h"
#include "dataloader/file_io.h"
#include "trainer/safetensors.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFormat = "pinnerformer-checkpoint";
constexpr int kVersion = 1;
constexpr const char* kManifest = "MANIFEST.json";
constexpr const char* kPartial = ".partial-";

std::string step_name(int64_t step) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "step-%09lld", static_cast<long long>(step));
  return name.data();
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw CheckpointError(path.string() + " is missing or unreadable");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

json to_json(const CheckpointInfo& info) {
  json files = json::object();
  for (const auto& [name, digest] : info.files)
    files[name] = {{"bytes", digest.bytes}, {"xxh3", digest.xxh3}};
  return {{"format", kFormat},
          {"version", kVersion},
          {"step", info.step},
          {"epoch", info.position.epoch},
          {"epoch_consumed", info.position.consumed},
          {"samples", info.samples},
          {"world_size", info.world_size},
          {"dataset_fingerprint", info.dataset_fingerprint},
          {"files", files}};
}

CheckpointInfo from_json(const json& manifest) {
  CheckpointInfo info;
  info.step = manifest.at("step");
  info.position = {manifest.at("epoch"), manifest.at("epoch_consumed")};
  info.samples = manifest.at("samples");
  info.world_size = manifest.at("world_size");
  info.dataset_fingerprint = manifest.at("dataset_fingerprint");
  for (const auto& [name, digest] : manifest.at("files").items())
    info.files[name] = {digest.at("bytes"), digest.at("xxh3")};
  return info;
}

void verify_file(const fs::path& path, const FileDigest& expected) {
  std::error_code missing;
  const auto size = fs::file_size(path, missing);
  if (missing) throw CheckpointError(path.string() + " is missing");
  if (std::cmp_not_equal(size, expected.bytes))
    throw CheckpointError(path.string() + " has " + std::to_string(size) + " bytes, its manifest " +
                          "says " + std::to_string(expected.bytes));
  if (digest_file(path).xxh3 != expected.xxh3)
    throw CheckpointError(path.string() + " is damaged: its checksum is not the manifest's");
}

}  // namespace

std::string save_checkpoint(const std::string& directory, const Checkpoint& checkpoint) try {
  fs::create_directories(directory);
  const fs::path target = fs::path(directory) / step_name(checkpoint.info.step);
  if (fs::exists(target)) throw IoError(target.string() + " exists already: never overwritten");
  const fs::path partial = target.string() + kPartial + std::to_string(::getpid());
  fs::remove_all(partial);
  fs::create_directory(partial);

  CheckpointInfo info = checkpoint.info;
  info.files["model.safetensors"] =
      write_safetensors(partial / "model.safetensors", checkpoint.model);
  info.files["training.safetensors"] =
      write_safetensors(partial / "training.safetensors", checkpoint.training);
  for (const auto& [name, write] : checkpoint.streamed) info.files[name] = write(partial / name);
  info.files["config.yaml"] = write_durable(partial / "config.yaml", checkpoint.config);
  info.files["data.json"] = write_durable(partial / "data.json", checkpoint.data);
  write_durable(partial / kManifest, to_json(info).dump(2) + "\n");  // last: it vouches for the rest
  sync_directory_entries(partial);
  fs::rename(partial, target);
  sync_directory_entries(directory);
  return target;
} catch (const fs::filesystem_error& error) {
  throw IoError(std::string("saving a checkpoint failed: ") + error.what());
}

CheckpointInfo read_manifest(const std::string& path, bool verify_files) {
  const fs::path manifest_path = fs::path(path) / kManifest;
  CheckpointInfo info;
  try {
    const json manifest = json::parse(read_text(manifest_path));
    if (manifest.at("format") != kFormat)
      throw CheckpointError(manifest_path.string() + " is no manifest of a " + kFormat);
    if (manifest.at("version").get<int>() > kVersion)
      throw CheckpointError(path + " has format version " + manifest.at("version").dump() +
                            ", this program reads up to " + std::to_string(kVersion) +
                            ": use a newer pinnerformer");
    info = from_json(manifest);
  } catch (const json::exception& error) {
    throw CheckpointError(manifest_path.string() + " is damaged: " + error.what());
  }
  if (verify_files)
    for (const auto& [name, digest] : info.files) verify_file(fs::path(path) / name, digest);
  return info;
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

std::vector<std::string> list_checkpoints(const std::string& directory) {
  std::vector<std::string> paths;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("step-") && name.find(kPartial) == std::string::npos)
      paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());  // zero-padded: the order of names is the order of steps
  return paths;
}

NewestCheckpoint find_newest_checkpoint(const std::string& directory) {
  NewestCheckpoint newest;
  std::vector<std::string> paths = list_checkpoints(directory);
  for (; !paths.empty(); paths.pop_back()) {
    try {
      static_cast<void>(read_manifest(paths.back(), /*verify_files=*/true));
      newest.path = paths.back();
      return newest;
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

void remove_old_checkpoints(const std::string& directory, int64_t keep_last) {
  int64_t valid = 0;
  std::vector<std::string> paths = list_checkpoints(directory);
  for (; !paths.empty(); paths.pop_back()) {
    if (valid >= keep_last) {
      // The manifest goes first: what is half removed must not pass for a checkpoint.
      std::error_code ignored;
      fs::remove(fs::path(paths.back()) / kManifest, ignored);
      fs::remove_all(paths.back(), ignored);
      continue;
    }
    try {
      static_cast<void>(read_manifest(paths.back(), /*verify_files=*/false));
      ++valid;
    } catch (const CheckpointError&) {
      continue;  // left for a person to look at
    }
  }
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored))
    if (entry.path().filename().string().find(kPartial) != std::string::npos)
      fs::remove_all(entry.path(), ignored);
}

}  // namespace pinnerformer
