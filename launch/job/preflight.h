// Before the first step: checks that all ranks run the same job.
#pragma once
#include <string>
#include <vector>

#include "comm/agreement.h"
#include "comm/communicator.h"

namespace pinnerformer {

// Adds the build to `items` and compares all of them over the ranks; every rank must call it.
// Throws ConfigError on every rank, naming the item, the ranks and the first line that differs.
void require_same_job(Communicator& control, std::vector<AgreedItem> items);

}  // namespace pinnerformer
