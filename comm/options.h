// Options of the communication layer. Read from the `comm` section of the configuration.
#pragma once
#include <array>
#include <string_view>

namespace pinnerformer {

// How ranks exchange tensors.
enum class CommBackend {
  kAuto,  // NCCL where every rank has a GPU of its own, else MPI
  kNccl,
  kMpi,
  kThreads,  // one process
};
// Each enum of the options has a function `enum_names`: the names of its values in a configuration,
// in the order of the enumerators.
constexpr auto enum_names(CommBackend) {
  return std::to_array<std::string_view>({"auto", "nccl", "mpi", "threads"});
}

// Element type in which gradients are sent and summed.
enum class ReduceDtype { kFp32, kBf16 };
constexpr auto enum_names(ReduceDtype) { return std::to_array<std::string_view>({"fp32", "bf16"}); }

struct CommOptions {
  CommBackend backend = CommBackend::kAuto;
  double timeout_seconds = 600;         // deadline of a collective; must cover saving a checkpoint
  double first_timeout_seconds = 1200;  // the same until the first step is done
  double straggler_seconds = 30;        // reports a rank for which others have waited this long
  double bucket_mib = 0;                // size of a gradient bucket; 0: as bucket_mib_for()
  ReduceDtype reduce_dtype = ReduceDtype::kFp32;
};

// MiB of a gradient bucket. NCCL starts a thread for each call, and a ring over many GPUs is slow
// to fill: large jobs make fewer, larger buckets.
constexpr double bucket_mib_for(const CommOptions& options, double ranks, bool gpus) {
  constexpr double kUsual = 25, kOfManyGpus = 64, kMany = 32;
  if (options.bucket_mib > 0) return options.bucket_mib;
  return gpus && ranks > kMany ? kOfManyGpus : kUsual;
}

}  // namespace pinnerformer
