// One checkpoint (docs/checkpoint_format.md): written beside its final name, flushed, published by
// rename. A directory without a valid MANIFEST.json is no checkpoint.
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

// Files of a checkpoint. The last one exists where the item table before it is an older whole copy.
inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kTrainingFile = "training.safetensors";
inline constexpr const char* kConfigFile = "config.yaml";
inline constexpr const char* kDataFile = "data.json";
inline constexpr const char* kItemTableFile = "item_table.safetensors";
inline constexpr const char* kItemTableTrainingFile = "item_table_training.safetensors";
inline constexpr const char* kItemTableChangesFile = "item_table_changes.safetensors";

// The best of a run's validations.
struct BestStep {
  int64_t step = -1;  // -1: there was none
  double recall_at_10 = 0;
  int64_t validations_since = 0;  // none of which was better
};

// The checkpoint whose weights a run began with.
struct InitialWeights {
  std::string checkpoint;  // its directory by then; "": the run began with random weights
  int64_t step = 0;
  std::string model;  // XXH3-64 of its model.safetensors
};

struct CheckpointInfo {
  int64_t step = 0;
  LoaderPosition position;
  int64_t samples = 0;  // users consumed so far, over all ranks and epochs
  int world_size = 1;
  std::string dataset_fingerprint;
  std::map<std::string, FileDigest> files;
  std::optional<double> loss = std::nullopt;  // mean of what was logged since the checkpoint before
  BestStep best = {};
  InitialWeights initial = {};
};

struct Checkpoint {
  CheckpointInfo info;
  std::string config;  // resolved configuration, YAML
  std::string data;    // data.json: the DataContract; "" in one of a program that wrote none
  std::map<std::string, torch::Tensor> model;     // model.safetensors
  std::map<std::string, torch::Tensor> training;  // training.safetensors: moments, counts
  // Larger files by name, each written by its owner to the path it is given; save only. Those of
  // `deferred` hold a copy of their content and may be written while the training goes on.
  using Writers = std::map<std::string, std::function<FileDigest(const std::string& path)>>;
  Writers streamed, deferred;
};

// A checkpoint being written, file by file, so that large files can be written in slices. Nothing
// exists under its name before publish().
class CheckpointDraft {
 public:
  // Makes a directory beside `directory`/step-NNNNNNNNN. Throws IoError, also where that exists.
  CheckpointDraft(const std::string& directory, int64_t step);
  ~CheckpointDraft();  // removes the directory unless published
  CheckpointDraft(const CheckpointDraft&) = delete;
  CheckpointDraft& operator=(const CheckpointDraft&) = delete;

  // The path of the file `name`, to be written with DurableFile. Removes the file of an earlier
  // try.
  [[nodiscard]] std::string path_of(const std::string& name) const;
  // Notes size and checksum of a written file for the manifest.
  void add(const std::string& name, const FileDigest& digest) { files_[name] = digest; }
  // Writes the manifest over the files added and gives the checkpoint its name; returns its path.
  std::string publish(CheckpointInfo info);

 private:
  std::string directory_, target_, partial_;
  std::map<std::string, FileDigest> files_;
};

// Writes all files that are not streamed into the draft and publishes it. May be called again after
// an error.
std::string finish_checkpoint(CheckpointDraft& draft, const Checkpoint& checkpoint);
// Publishes `directory`/step-NNNNNNNNN and returns its path. Only the coordinator rank calls it.
// Throws IoError, TransientIoError where another try may help; files that were there before stay
// untouched.
std::string save_checkpoint(const std::string& directory, const Checkpoint& checkpoint);

// The manifest of one checkpoint. Every file it names must be a regular file of its size, no file
// of a checkpoint may be missing in it, and with `verify_files` every file is read and its checksum
// compared. Throws CheckpointError naming the file.
[[nodiscard]] CheckpointInfo read_manifest(const std::string& path, bool verify_files);
// Throws CheckpointError where the position in the data cannot be that of a training on `users`
// users an epoch: every user of every epoch before, and less than an epoch of this one.
void check_position(const CheckpointInfo& info, int64_t users, const std::string& path);
// All errors of a checkpoint, file by file; every file is read.
[[nodiscard]] std::vector<std::string> checkpoint_damage(const std::string& path);
// Reads a checkpoint, and verifies its checksums first if `verify_files`. With `training` false,
// moments and counts are left out. Throws CheckpointError.
[[nodiscard]] Checkpoint load_checkpoint(const std::string& path, bool training,
                                         bool verify_files = true);

}  // namespace pinnerformer
