// Progress for people: shown where stderr is a terminal, silent elsewhere.
#pragma once
#include <cstdint>
#include <string>

#include "trainer/stopwatch.h"

namespace pinnerformer {

[[nodiscard]] bool stderr_is_terminal();

// One line that is rewritten in place, with rate and time left. Starts to show after two seconds.
class Progress {
 public:
  Progress(std::string what, std::string unit) : what_(std::move(what)), unit_(std::move(unit)) {}
  ~Progress();  // ends the line
  void show(int64_t done, int64_t total);

 private:
  std::string what_;
  std::string unit_;
  Stopwatch clock_;
  double shown_ms_ = 0;
  bool open_ = false;
};

}  // namespace pinnerformer
