// What a training needs of a GPU's memory, compared with what is free there before anything large
// is allocated.
#pragma once
#include <string>
#include <vector>

#include "launch/plan/plan_parts.h"

namespace pinnerformer {

// Bytes on the GPU of a rank at the peak of a step, largest first. Not among them: the program and
// its libraries, which hold theirs when the free memory is read.
[[nodiscard]] std::vector<PlanPart> gpu_need(const RunConfig& config, const DataShape& data,
                                             double ranks);

// Throws ConfigError with the largest parts, and the keys that make them smaller, where `need` is
// more than `free` bytes by more than the estimate may be wrong. Where it is more by less, returns
// that as a note; "" where it fits. `gpu` names the GPU: "the GPU of rank 3 (NVIDIA H200)".
[[nodiscard]] std::string require_gpu_memory(const std::vector<PlanPart>& need, double free,
                                             const std::string& gpu);

}  // namespace pinnerformer
