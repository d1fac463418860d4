// The name of the host of this process, for messages.
#pragma once
#include <string>

namespace pinnerformer {

// Works before MPI is up. "unknown host" where the system has no name for it.
[[nodiscard]] std::string host_name();

// Open MPI up to 4.1 copies the characters of a host name that come before the first digit and the
// first dot into 50 bytes without a check (regx/fwd), so that a longer name overwrites its stack.
// Says so and what to do; "" where `host` is safe.
[[nodiscard]] std::string host_name_fault(const std::string& host);

}  // namespace pinnerformer
