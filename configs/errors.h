// What can go wrong with a configuration (exit code 78, a missing file 66).
#pragma once
#include <stdexcept>

namespace pinnerformer {

// Names the key, the value, what was expected and, for an unknown key, the nearest known one.
struct ConfigError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// The configuration file does not exist (exit code 66).
struct MissingConfigError : ConfigError {
  using ConfigError::ConfigError;
};

}  // namespace pinnerformer
