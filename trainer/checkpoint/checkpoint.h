// Checkpoints (docs/checkpoint_format.md): written aside, flushed, published by rename; a directory
// without a valid MANIFEST.json does not exist. One checkpoint here, those of a run further down.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dataloader/base/durable_file.h"
#include "dataloader/sampling/data_loader.h"
#include "trainer/errors.h"
#include "trainer/options.h"

namespace pinnerformer {

struct CheckpointInfo {
  int64_t step = 0;
  LoaderPosition position;
  int64_t samples = 0;  // users consumed so far, over all ranks and epochs
  int world_size = 1;
  std::string dataset_fingerprint;
  std::map<std::string, FileDigest> files;
  std::optional<double> loss = std::nullopt;  // mean of what was logged since the checkpoint before
};

struct Checkpoint {
  CheckpointInfo info;
  std::string config;  // resolved configuration, YAML
  std::string data;    // data.json: the DataContract; "" in one of a program that wrote none
  std::map<std::string, torch::Tensor> model;     // model.safetensors
  std::map<std::string, torch::Tensor> training;  // training.safetensors: moments, sketches
  // Larger files by name, each written by its owner to the path it is given; save only.
  std::map<std::string, std::function<FileDigest(const std::string& path)>> streamed;
};

// A checkpoint being written, file by file: what is too large to hold can be written in pieces.
// Nothing exists under its name before publish().
class CheckpointDraft {
 public:
  // Makes a directory beside `directory`/step-NNNNNNNNN. Throws IoError, also where that exists.
  CheckpointDraft(const std::string& directory, int64_t step);
  ~CheckpointDraft();  // removes the directory unless published
  CheckpointDraft(const CheckpointDraft&) = delete;
  CheckpointDraft& operator=(const CheckpointDraft&) = delete;

  // Where to write the file `name`, with DurableFile, and what it became. What an earlier try left
  // there is removed.
  [[nodiscard]] std::string path_of(const std::string& name) const;
  void add(const std::string& name, const FileDigest& digest) { files_[name] = digest; }
  // Writes the manifest over the files added and gives the checkpoint its name; returns its path.
  std::string publish(CheckpointInfo info);

 private:
  std::string directory_, target_, partial_;
  std::map<std::string, FileDigest> files_;
};

// `directory`/step-NNNNNNNNN: what the checkpoint of a step is called.
[[nodiscard]] std::string checkpoint_path(const std::string& directory, int64_t step);

// Writes what is not streamed into the draft and publishes it. May be tried again.
std::string finish_checkpoint(CheckpointDraft& draft, const Checkpoint& checkpoint);
// Publishes `directory`/step-NNNNNNNNN and returns its path. Only the coordinator rank calls it.
// Throws IoError, TransientIoError where another try may help; what was there before stays
// untouched.
std::string save_checkpoint(const std::string& directory, const Checkpoint& checkpoint);

// The manifest of one checkpoint, of whose files each is there with its size; with `verify_files`
// every one is read and its checksum compared. Throws CheckpointError naming what is wrong.
[[nodiscard]] CheckpointInfo read_manifest(const std::string& path, bool verify_files);
// Everything that is wrong with a checkpoint, file by file; every file is read.
[[nodiscard]] std::vector<std::string> checkpoint_damage(const std::string& path);
// Reads, after verifying unless that has just been done. With `training` false the moments and
// sketches are left out.
[[nodiscard]] Checkpoint load_checkpoint(const std::string& path, bool training,
                                         bool verify_files = true);

struct NewestCheckpoint {
  std::optional<std::string> path;    // newest one whose every checksum holds
  std::vector<std::string> rejected;  // newer ones that do not, each with the reason
};
// Throws NewerVersionError where a newer program wrote one of them.
[[nodiscard]] NewestCheckpoint find_newest_checkpoint(const std::string& directory);

// Paths of all published checkpoints, oldest first; nothing is verified.
[[nodiscard]] std::vector<std::string> list_checkpoints(const std::string& directory);
// Renames a checkpoint that find_newest_checkpoint() rejected to "damaged-NAME" beside it, where no
// run looks, and returns that path.
std::string set_aside_checkpoint(const std::string& path);
// Removes what is older than the newest `keep_last` valid checkpoints and no multiple of
// `keep_every`, and what a killed save has left behind. Valid: manifest whole, every file there
// with its size.
void remove_old_checkpoints(const std::string& directory, const CheckpointOptions& options);

}  // namespace pinnerformer
