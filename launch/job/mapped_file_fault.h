// Item vectors are mapped into memory: where the disk fails or the file is truncated, the kernel
// sends SIGBUS instead of returning an error code.
#pragma once

namespace pinnerformer {

// From now on SIGBUS ends the process with kIoFailed and a message that says so and names the file.
void report_mapped_file_faults();

}  // namespace pinnerformer
