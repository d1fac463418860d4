// Arguments and exit codes of the commands.
#pragma once
#include <stdexcept>
#include <string>
#include <vector>

namespace pinnerformer {

// After sysexits.h, with two of our own.
enum ExitCode {
  kDone = 0,
  kDiffers = 1,      // `checkpoint diff` and `verify-resume`: the compared states differ; a
                     // script of launch: its last message says why
  kUsage = 64,       // wrong command line
  kBadData = 65,     // DataError
  kNoInput = 66,     // MissingInputError
  kBug = 70,         // anything else
  kNoMemory = 71,    // an allocation failed: a restart would meet it again
  kIoFailed = 74,    // IoError
  kCommFailed = 75,  // CommError: worth a restart
  kBadConfig = 78,   // ConfigError
  kRequeue = 85,     // asked to stop, checkpoint written
};

// The command line is wrong (exit code 64).
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Arguments = std::vector<std::string>;

}  // namespace pinnerformer
