// From user rows to training samples: large reads, checks, one window per user.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset.h"
#include "dataloader/options.h"
#include "dataloader/sampling/label_window.h"
#include "dataloader/sampling/split.h"

namespace pinnerformer {

// PositiveRule::mark(), or a function in its place: 1 where the event is a positive, [size].
using MarkPositives = std::function<std::vector<uint8_t>(const Timeline&)>;

struct Sample {
  Timeline inputs;  // the events of the window only
  std::vector<Label> labels;
  int64_t draw_key = 0;
};

// Number of users in skipped blocks, and the reason for the first.
struct SkippedUsers {
  int64_t count = 0;
  std::string reason;
};

// For one thread. Draws are a function of (seed, epoch, user).
class SampleReader {
 public:
  // `dataset` must outlive the reader.
  SampleReader(const Dataset& dataset, MarkPositives positives, const WindowSpec& window,
               const TrainingPart& part, int64_t seed, const DataOptions& options);

  // Appends the samples of `users` (rows, ascending); a user without one is left out. A bad block
  // throws DataError, MissingInputError or IoError; with on_bad_block = skip it is added to
  // `skipped` instead.
  void read(std::span<const int64_t> users, int64_t epoch, std::vector<Sample>& samples,
            SkippedUsers& skipped);

 private:
  void read_block(std::span<const int64_t> users, int64_t epoch, std::vector<Sample>& samples);
  void add_sample(int64_t epoch, std::vector<Sample>& samples);
  [[nodiscard]] size_t block_size(std::span<const int64_t> users) const;
  void skip(size_t users, const std::exception& error, SkippedUsers& skipped) const;

  const Dataset& dataset_;
  MarkPositives positives_;
  WindowSpec window_;
  TrainingPart part_;
  int64_t seed_;
  bool skip_bad_blocks_;
  bool verify_checksums_;
  std::vector<VerifiedBlocks> verified_;
  EventBlock block_;
  Timeline timeline_;  // one user of it
};

}  // namespace pinnerformer
