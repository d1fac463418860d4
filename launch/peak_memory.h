// The largest resident memory of this process, as the kernel keeps it.
#pragma once

namespace pinnerformer {

// Since the start, or since forget_peak_memory(). Throws IoError where /proc does not say.
[[nodiscard]] double peak_memory_mib();
void forget_peak_memory();

}  // namespace pinnerformer
