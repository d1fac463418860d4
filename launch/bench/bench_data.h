// Synthetic users who fill every window: what `bench step` and `bench machine` train on.
#pragma once
#include <filesystem>
#include <string>

#include "configs/run_config.h"
#include "dataloader/dataset/dataset.h"
#include "trainer/loop/trainer.h"

namespace pinnerformer {

// A synthetic dataset of this rank's own, so that ranks need no common disk: the same options give
// the same bytes. Removed at the end.
class BenchData {
 public:
  BenchData(const RunConfig& config, int64_t content_width, int rank);
  ~BenchData();
  BenchData(const BenchData&) = delete;
  BenchData& operator=(const BenchData&) = delete;
  [[nodiscard]] std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Of users with so many events that a window which ends with the latest sample is full.
[[nodiscard]] TrainingData full_window_data(const Dataset& dataset, const RunConfig& config);

}  // namespace pinnerformer
