// Checks that every back end makes before it moves rows, so that a wrong count is an error that
// names the collective, not a wrong result or a crash inside MPI or NCCL. They throw c10::Error.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// Requires one count per rank, none negative, whose sum is the number of rows of `whole`.
void check_rows(const torch::Tensor& whole, const std::vector<int64_t>& counts,
                const Communicator& comm, const std::string& name);
// As check_rows(); also requires `part` to have as many rows as this rank's count, of the shape of
// the rows of `whole`.
void check_gather_rows(const torch::Tensor& whole, const torch::Tensor& part,
                       const std::vector<int64_t>& counts, const Communicator& comm,
                       const std::string& name);

}  // namespace pinnerformer
