// SIGTERM, SIGUSR1 and SIGINT (Ctrl-C) ask a training to save and to end (exit code 85). Further
// SIGTERM and SIGUSR1 change nothing; a second SIGINT ends the process at once.
#pragma once

namespace pinnerformer {

// Handles these signals from construction to the end of the process.
class StopSignals {
 public:
  StopSignals();
  [[nodiscard]] static bool received();  // since the construction
};

}  // namespace pinnerformer
