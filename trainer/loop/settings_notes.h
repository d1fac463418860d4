// What a user should know of the settings of a training before it starts.
#pragma once
#include <torch/types.h>

#include <string>
#include <vector>

#include "trainer/options.h"

namespace pinnerformer {

// A line each: settings that make a device slow or that this one does not have, and settings that
// have no effect, or another one than their number says.
[[nodiscard]] std::vector<std::string> settings_notes(const TrainerOptions& options,
                                                      torch::DeviceType device);

}  // namespace pinnerformer
