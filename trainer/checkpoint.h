// Checkpoints (docs/checkpoint_format.md): written aside, flushed, published by rename; a directory
// without a valid MANIFEST.json does not exist.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "dataloader/data_loader.h"
#include "trainer/durable_file.h"

namespace pinnerformer {

// A checkpoint cannot be used: damaged, or of another model, dataset or configuration (exit code 65).
struct CheckpointError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct CheckpointInfo {
  int64_t step = 0;
  LoaderPosition position;
  int64_t samples = 0;  // users consumed so far, over all ranks and epochs
  int world_size = 1;
  std::string dataset_fingerprint;
  std::map<std::string, FileDigest> files;
};

struct Checkpoint {
  CheckpointInfo info;
  std::string config;                               // resolved configuration, YAML
  std::string data;  // data.json: the DataContract; "" in one of a program that wrote none
  std::map<std::string, torch::Tensor> model;       // model.safetensors
  std::map<std::string, torch::Tensor> training;    // training.safetensors: moments, sketches
  // Larger files by name, each written by its owner to the path it is given; save only.
  std::map<std::string, std::function<FileDigest(const std::string& path)>> streamed;
};

// Publishes `directory`/step-NNNNNNNNN and returns its path. Only the coordinator rank calls it.
// Throws IoError; what was there before stays untouched.
std::string save_checkpoint(const std::string& directory, const Checkpoint& checkpoint);

// The manifest of one checkpoint; with `verify_files` every file is read and its checksum compared.
// Throws CheckpointError naming what is wrong.
[[nodiscard]] CheckpointInfo read_manifest(const std::string& path, bool verify_files);
// Reads, after verifying unless that has just been done. With `training` false the moments and
// sketches are left out.
[[nodiscard]] Checkpoint load_checkpoint(const std::string& path, bool training,
                                         bool verify_files = true);

struct NewestCheckpoint {
  std::optional<std::string> path;     // newest one whose every checksum holds
  std::vector<std::string> rejected;   // newer ones that do not, each with the reason
};
[[nodiscard]] NewestCheckpoint find_newest_checkpoint(const std::string& directory);

// Paths of all published checkpoints, oldest first; nothing is verified.
[[nodiscard]] std::vector<std::string> list_checkpoints(const std::string& directory);
// Renames a checkpoint that find_newest_checkpoint() rejected to "damaged-NAME" beside it, where no
// run looks, and returns that path.
std::string set_aside_checkpoint(const std::string& path);
// Removes what is older than the newest `keep_last` valid checkpoints, and abandoned partial ones.
void remove_old_checkpoints(const std::string& directory, int64_t keep_last);

}  // namespace pinnerformer
