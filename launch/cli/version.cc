#include "launch/cli/version.h"

namespace pinnerformer {

const char* program_version() { return PF_VERSION; }

}  // namespace pinnerformer
