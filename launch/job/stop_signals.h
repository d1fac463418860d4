// SIGTERM and SIGUSR1 ask a training to save and to end (exit code 85). Their handler only sets a
// flag, so a second signal, at whatever moment, changes nothing.
#pragma once

namespace pinnerformer {

// Handles both signals from construction to the end of the process.
class StopSignals {
 public:
  StopSignals();
  [[nodiscard]] static bool received();  // since the construction
};

}  // namespace pinnerformer
