// What the parts of a run share about its ranks.
#pragma once
#include <torch/types.h>

namespace pinnerformer {

class Communicator;
class Watchdog;

// The rank that collects results, writes files and speaks for all ranks.
constexpr int kCoordinator = 0;

// The ranks of a run, as two communicators: `control` moves CPU tensors (ids, flags, state),
// `tensors` moves what lives on `device`. Both are the same where the device is the CPU.
struct Ranks {
  Communicator* control = nullptr;
  Communicator* tensors = nullptr;
  torch::Device device = torch::kCPU;
  Watchdog* watchdog = nullptr;  // null: none
};

}  // namespace pinnerformer
