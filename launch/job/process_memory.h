// How long this process keeps freed memory, and its peak.
#pragma once

namespace pinnerformer {

// Keeps freed memory in the process for a minute. A step allocates and frees the same tensors again
// and again; returning their pages to the kernel in between costs a tenth of its time.
void keep_freed_memory();
// Returns all freed memory to the kernel now.
void release_freed_memory();

// The largest resident memory since the start or since forget_peak_memory(), as the kernel keeps
// it. Throws IoError where /proc does not say.
[[nodiscard]] double peak_memory_mib();
void forget_peak_memory();

}  // namespace pinnerformer
