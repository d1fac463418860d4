// Options of the communication layer. Read from the `comm` section of the configuration.
#pragma once
#include <string>

namespace pinnerformer {

struct CommOptions {
  std::string backend = "auto";   // auto | nccl | mpi | threads
  double timeout_seconds = 600;   // deadline of one collective
  double bucket_mib = 25;         // gradient bucket size
  double first_bucket_mib = 1;    // the first bucket is small so that it leaves early
};

}  // namespace pinnerformer
