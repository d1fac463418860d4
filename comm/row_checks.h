// What every back end checks before it moves rows: a wrong count is an error with a name, not a
// wrong result or a crash inside MPI or NCCL.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// One count per rank, none negative, together the rows of `whole`.
void check_rows(const torch::Tensor& whole, const std::vector<int64_t>& counts,
                const Communicator& comm, const std::string& name);
// As check_rows(), and `part` holds this rank's rows of `whole`, as wide as they are.
void check_gather_rows(const torch::Tensor& whole, const torch::Tensor& part,
                       const std::vector<int64_t>& counts, const Communicator& comm,
                       const std::string& name);

}  // namespace pinnerformer
