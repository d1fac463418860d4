// What this process does with memory, and how much it took.
#pragma once

namespace pinnerformer {

// Memory that is freed stays with the process for a minute. A step allocates and frees the same
// tensors again and again; pages that go back to the kernel in between cost it a tenth of its time.
void keep_freed_memory();
// Gives it back now, all of it.
void release_freed_memory();

// The largest resident memory since the start or since forget_peak_memory(), as the kernel keeps
// it. Throws IoError where /proc does not say.
[[nodiscard]] double peak_memory_mib();
void forget_peak_memory();

}  // namespace pinnerformer
