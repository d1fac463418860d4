// One number of every rank, summed.
#pragma once
#include <cstdint>
#include <string>

#include "comm/communicator.h"

namespace pinnerformer {

// Every rank must call it; `name` is that of the collective.
[[nodiscard]] int64_t sum_over_ranks(int64_t value, Communicator& comm, const std::string& name);

}  // namespace pinnerformer
