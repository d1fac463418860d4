// Moves blocks of rows between all ranks and the coordinator: what row exchanges and checkpoint
// files are built from. Tensors hold any 4-byte type or int64, on the CPU.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace pinnerformer {

// The sum of counts, and the elements of an int64 tensor as a vector.
[[nodiscard]] int64_t total_of(const std::vector<int64_t>& counts);
[[nodiscard]] std::vector<int64_t> to_vector(const torch::Tensor& counts);

// Uninitialised memory for `count` rows of the shape and type of the rows of `like`.
[[nodiscard]] torch::Tensor empty_rows(int64_t count, const torch::Tensor& like);

// The same bits in a type that communicators accept: other 4-byte types become float32.
[[nodiscard]] torch::Tensor as_transportable(const torch::Tensor& rows);

// The parts [parts[r], ...] of all ranks one after another, on the coordinator; undefined on the
// other ranks. Every rank must call it.
[[nodiscard]] torch::Tensor gather_on_coordinator(const torch::Tensor& part,
                                                  const std::vector<int64_t>& parts,
                                                  Communicator& comm, const std::string& name);
// The inverse: rows `parts[r]` of the coordinator's `grouped` go to rank r, into `part`
// [parts[r], ...]. `grouped` is read on the coordinator only. Every rank must call it.
void scatter_from_coordinator(const torch::Tensor& grouped, const torch::Tensor& part,
                              const std::vector<int64_t>& parts, Communicator& comm,
                              const std::string& name);
// Copies the coordinator's tensor to all ranks, in place. Every rank must call it.
void broadcast_from_coordinator(const torch::Tensor& tensor, Communicator& comm,
                                const std::string& name);

}  // namespace pinnerformer
