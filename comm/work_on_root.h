// Long work of rank 0 for which the others wait.
#pragma once
#include <torch/types.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "comm/communicator.h"

namespace pinnerformer {

// Runs work(goes_on) on rank 0; every rank must call this, and returns when the work is done. The
// deadline of the others is for one collective, not for the work: `work` calls goes_on() at least
// once per deadline, as often as it likes. Throws what `work` throws, on rank 0, and CommError.
template <class Work>
void work_on_root(Communicator& comm, const std::string& name, Work work) {
  using Clock = std::chrono::steady_clock;
  const auto agree = [&](bool more) {
    torch::Tensor flag = torch::tensor({int64_t{more}}, torch::kInt64);
    comm.broadcast(flag, /*root=*/0, name)->wait();
    return flag.item<int64_t>() != 0;
  };
  if (comm.rank() != 0) {
    while (agree(false)) {
    }
    return;
  }
  Clock::time_point told = Clock::now();
  work([&] {
    if (Clock::now() - told < std::chrono::milliseconds(500)) return;
    static_cast<void>(agree(true));
    told = Clock::now();
  });
  static_cast<void>(agree(false));
}

}  // namespace pinnerformer
