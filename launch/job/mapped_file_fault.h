// Item vectors are mapped, not read: where their disk fails or their file is cut short, the kernel
// answers with SIGBUS and not with an error code.
#pragma once

namespace pinnerformer {

// From now on SIGBUS ends the process with kIoFailed and a message that says so and names the file.
void report_mapped_file_faults();

}  // namespace pinnerformer
