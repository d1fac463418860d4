// Item vectors are mapped into memory: where the disk fails or the file is truncated, the kernel
// sends SIGBUS instead of returning an error code.
#pragma once

namespace pinnerformer {

// From now on SIGBUS ends the process with kIoFailed and a message that says so and names the file.
void report_mapped_file_faults();

// From now on a fault inside a library that reads a file (dataloader/base/library_call.h) ends the
// process with kBadData and a message that names the file. Other faults end it as before.
void report_library_faults();

// From now on a write beyond the limit on file sizes (`ulimit -f`) fails like one to a full disk,
// instead of ending the process with SIGXFSZ and without a word.
void report_file_size_limits();

}  // namespace pinnerformer
