// What can go wrong with what a training wrote.
#pragma once
#include <stdexcept>

namespace pinnerformer {

// A checkpoint cannot be used: damaged, or of another model, dataset or configuration (exit code
// 65).
struct CheckpointError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// Whole, but written by a newer program. Never passed over for an older checkpoint: that would
// throw away what the newer program did.
struct NewerVersionError : CheckpointError {
  using CheckpointError::CheckpointError;
};

}  // namespace pinnerformer
