// Retries after transient I/O errors.
#pragma once
#include <array>
#include <chrono>
#include <thread>

#include "dataloader/base/file.h"

namespace pinnerformer {

// Waits between tries.
constexpr std::array kRetryDelays{std::chrono::milliseconds(100), std::chrono::milliseconds(400),
                                  std::chrono::milliseconds(1600)};

// Calls `call` up to four times within about two seconds, until it ends without TransientIoError.
template <class Call>
auto retry_passing_errors(const Call& call) {
  for (const auto delay : kRetryDelays) {
    try {
      return call();
    } catch (const TransientIoError&) {
      std::this_thread::sleep_for(delay);
    }
  }
  return call();
}

}  // namespace pinnerformer
