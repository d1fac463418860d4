// Checks that one rank makes of its own machine, without the other ranks.
#pragma once
#include <vector>

#include "comm/ranks.h"
#include "configs/run_config.h"
#include "launch/doctor/check.h"

namespace pinnerformer {

// Library versions, the host name, the GPU and what its driver recorded of it, cores, the network
// that NCCL would use, file locks at data.path, free space at run.directory. The same names in the
// same order on every rank. A CPU as `device` fails "GPU" where comm.backend is nccl.
[[nodiscard]] std::vector<Check> check_machine(const RunConfig& config, torch::Device device);

}  // namespace pinnerformer
