// Another try for what failed with an error that passes.
#pragma once
#include <array>
#include <chrono>
#include <thread>

#include "dataloader/file_io.h"

namespace pinnerformer {

// Calls `call` up to four times within about two seconds, until it ends without PassingIoError.
template <class Call>
auto retry_passing_errors(const Call& call) {
  using namespace std::chrono_literals;
  for (const auto delay : std::array{100ms, 400ms, 1600ms}) {
    try {
      return call();
    } catch (const PassingIoError&) {
      std::this_thread::sleep_for(delay);
    }
  }
  return call();
}

}  // namespace pinnerformer
