// What a baseline is made from.
#pragma once
#include <cstdint>

#include "comm/communicator.h"
#include "dataloader/dataset/dataset.h"
#include "dataloader/options.h"
#include "trainer/options.h"

namespace pinnerformer {

// The inputs of a baseline, the same on every rank. The references must outlive it.
struct BaselineInputs {
  const Dataset& dataset;
  const PositiveOptions& positives;
  const SplitOptions& split;
  const EvaluateOptions& evaluate;
  int64_t seed = 1;
  Communicator& comm;
};

}  // namespace pinnerformer
