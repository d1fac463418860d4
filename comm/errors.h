// What can go wrong between ranks.
#pragma once
#include <stdexcept>

namespace pinnerformer {

// Communication failed or a rank was lost (exit code 75).
struct CommError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace pinnerformer
