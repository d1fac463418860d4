// NCCL between the devices of one process, without a GPU.
#pragma once
#include <memory>

#include "comm/nccl/nccl_api.h"

namespace pinnerformer::device_double {

// The functions of NCCL for each of the ranks, which are threads. As NCCL does, a call returns at
// once; data move when somebody waits for an event that was recorded after it. The data of a
// collective are read when the first rank waits, and written to each rank when that one waits.
class NcclDouble {
 public:
  explicit NcclDouble(int ranks);
  [[nodiscard]] NcclApi api(int rank) const;

 private:
  class World;
  std::shared_ptr<World> world_;
};

}  // namespace pinnerformer::device_double
