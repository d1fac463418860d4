// What one rank can find out about its own machine, without the others.
#pragma once
#include <string>
#include <vector>

#include "comm/ranks.h"
#include "configs/run_config.h"

namespace pinnerformer {

enum class Health { kOk, kNote, kFailed };

struct Check {
  std::string name;
  Health health = Health::kOk;
  std::string finding;
};

// Versions that fit, the GPU, the network NCCL would take, file locks at data.path, room at
// run.directory. The same names in the same order on every rank. A CPU as `device` fails "GPU"
// where comm.backend is nccl.
[[nodiscard]] std::vector<Check> check_machine(const RunConfig& config, torch::Device device);

}  // namespace pinnerformer
