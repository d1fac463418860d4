// Tests that every communicator must pass. All ranks call each check; tests/unit runs them over
// threads, tests/mpi over MPI, tests/gpu over NCCL. Values differ per rank and are never zero:
// otherwise a call that moved nothing would pass.
#pragma once
#include <torch/types.h>

#include <vector>

#include "comm/communicator.h"

namespace pinnerformer::communicator_suite {

struct Variant {
  torch::ScalarType type = torch::kFloat32;
  int64_t rows = 1;  // 0, 1, odd and large ones
  torch::Device device = torch::kCPU;
};

// Every element type with every size.
[[nodiscard]] std::vector<Variant> variants(torch::Device device = torch::kCPU);

void check_all_reduce(Communicator& comm, const Variant& variant);
void check_all_gather(Communicator& comm, const Variant& variant);
void check_reduce_scatter(Communicator& comm, const Variant& variant);
void check_all_to_all(Communicator& comm, const Variant& variant);
void check_broadcast(Communicator& comm, const Variant& variant);
// Several collectives in progress at once finish in any order of wait().
void check_overlapping(Communicator& comm, const Variant& variant);
// No rank leaves a barrier before the last one has arrived: a late rank 0 delays all.
void check_barrier(Communicator& comm);

// Tensors whose rows are not what the counts say are refused before anything moves.
void check_refusals(Communicator& comm, torch::Device device);

// All of the above.
void check_everything(Communicator& comm, torch::Device device = torch::kCPU);

}  // namespace pinnerformer::communicator_suite
