// Errors of checkpoints.
#pragma once
#include <stdexcept>

namespace pinnerformer {

// A checkpoint cannot be used: damaged, or of another model, dataset or configuration (exit code
// 65).
struct CheckpointError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// Whole, but written by a newer program. An older checkpoint is never used instead: that would
// discard the newer training.
struct NewerVersionError : CheckpointError {
  using CheckpointError::CheckpointError;
};

}  // namespace pinnerformer
