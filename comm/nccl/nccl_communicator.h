// Communicator over NCCL for CUDA tensors. Compiled where LibTorch has CUDA.
#pragma once
#include <memory>

#include "comm/communicator.h"

namespace pinnerformer {

// One rank per GPU; the current CUDA device is this rank's. `control` (CPU tensors) broadcasts the
// unique id and is used during this call only. Collectives run on a high-priority stream of their
// own, synchronised by events; wait() never blocks the host. Throws CommError.
[[nodiscard]] std::unique_ptr<Communicator> make_nccl_communicator(Communicator& control,
                                                                   double timeout_seconds);

}  // namespace pinnerformer
