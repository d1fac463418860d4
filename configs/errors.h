// What can go wrong with a configuration (exit code 78).
#pragma once
#include <stdexcept>

namespace pinnerformer {

// Names the key, the value, what was expected and, for an unknown key, the nearest known one.
struct ConfigError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace pinnerformer
