// Options of the communication layer. Read from the `comm` section of the configuration.
#pragma once
#include <string>

namespace pinnerformer {

struct CommOptions {
  std::string backend = "auto";  // auto | nccl | mpi | threads
  double timeout_seconds = 600;  // longest wait for a collective; a save of a checkpoint fits in
  double first_timeout_seconds = 1200;  // until the first step is taken
  double straggler_seconds = 30;        // a rank that others have waited for so long is reported
  double bucket_mib = 25;               // gradient bucket size
  double first_bucket_mib = 1;          // the first bucket is small so that it leaves early
  std::string wire_precision = "fp32";  // fp32 | bf16: what gradients travel and are summed in
};

}  // namespace pinnerformer
