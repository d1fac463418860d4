// What a training reads, and how far it has come.
#pragma once
#include <cstdint>
#include <memory>

#include "comm/ranks.h"
#include "dataloader/base/row_set.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/options.h"
#include "dataloader/sampling/data_loader.h"
#include "dataloader/sampling/sample_reader.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/options.h"

namespace pinnerformer {

// How to evaluate on the validation users.
struct HeldOutOptions {
  PositiveOptions positives;
  SplitOptions split;
  EvaluateOptions evaluate;
};

// What to train on.
struct TrainingData {
  const Dataset* dataset = nullptr;
  UserSet users;
  MarkPositives positives;
  TrainingPart part;
  DataOptions options;
  HeldOutOptions held_out = {};  // for validate.every_steps
};

// How far a run has come. Equal on all ranks.
struct RunProgress {
  int64_t step = 0;         // steps taken
  int64_t samples = 0;      // users consumed, over all ranks and epochs
  LoaderPosition position;  // of the loader after these steps
  BestStep best = {};       // of the validations so far
};

// The loader of this rank's share, from `position` on. `data` must outlive it. Batches come with
// their rows of `host_vectors`, [I, C], where those are defined.
[[nodiscard]] std::unique_ptr<DataLoader> make_loader(const TrainingData& data,
                                                      const TrainerOptions& options,
                                                      const ObjectiveOptions& objective,
                                                      const Ranks& ranks, LoaderPosition position,
                                                      const torch::Tensor& host_vectors = {});

}  // namespace pinnerformer
