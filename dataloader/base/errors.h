// Errors of reading and writing data. Messages say what failed, where, what was expected, what was
// found, and what to do.
#pragma once
#include <stdexcept>

namespace pinnerformer {

// The data is bad (exit code 65).
struct DataError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// A named input does not exist (exit code 66).
struct MissingInputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// Reading or writing failed (exit code 74).
struct IoError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace pinnerformer
