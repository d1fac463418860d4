// The memory that a training needs at least, known before anything is allocated.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "configs/run_config.h"

namespace pinnerformer {

struct MemoryPart {
  std::string key;   // the key of the configuration that sets its size
  double bytes = 0;  // per rank
};

struct MemoryScale {
  int64_t items = 0;  // of the dataset
  int ranks = 1;
};

[[nodiscard]] std::string gib_text(double bytes);  // "1.2 GiB"

// Lower bounds per rank, largest first: weights with gradients and moments, learned rows,
// activations of one part of a batch, pool of negatives.
[[nodiscard]] std::vector<MemoryPart> memory_parts(const RunConfig& config,
                                                   const MemoryScale& scale);

// Throws ConfigError, naming the key of the largest part, where the sum exceeds `available` bytes.
void require_memory(const RunConfig& config, const MemoryScale& scale, double available);
// The same with the memory of this machine.
void require_memory(const RunConfig& config, const MemoryScale& scale);

}  // namespace pinnerformer
