// What a run was trained with: RUN/machine.json, for reports and for comparing speeds later.
#pragma once
#include <string>

#include "comm/ranks.h"

namespace pinnerformer {

// One JSON object of texts and numbers: program and libraries, processor, cores that this process
// may use, memory, device of rank 0, ranks. Without host names: a report may be shown to anybody.
[[nodiscard]] std::string machine_record(const Ranks& ranks);

}  // namespace pinnerformer
