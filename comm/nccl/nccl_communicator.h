// Communicator over NCCL for CUDA tensors. Compiled where LibTorch has CUDA.
#pragma once
#include <torch/types.h>

#include <memory>

#include "comm/communicator.h"
#include "comm/nccl/nccl_api.h"

namespace pinnerformer {

// One rank per GPU: `device` is this rank's. `control` (CPU tensors) broadcasts the unique id and
// is used during this call only. Collectives run on a high-priority stream of their own,
// synchronised by events; wait() never blocks the host. Throws CommError. Streams and events are
// those of the device's type, so that tests need no GPU.
[[nodiscard]] std::unique_ptr<Communicator> make_nccl_communicator(Communicator& control,
                                                                   torch::Device device,
                                                                   double timeout_seconds,
                                                                   NcclApi api = {});

}  // namespace pinnerformer
