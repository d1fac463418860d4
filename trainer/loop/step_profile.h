// A trace of some steps: operators, phases, collectives and, on a GPU, kernels and copies, on a
// time line.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <string>

#include "trainer/loop/step_log.h"

namespace pinnerformer {

struct ProfileRequest {
  int64_t steps = 0;  // to record; 0: none
  std::string path;   // JSON in the form of Chrome's traces, which Perfetto opens
};

// Records `steps` steps in a row, a few after the first, which prepare what later ones reuse. The
// phases are those of enter_phase(); every thread of LibTorch is seen. The recorded steps take
// longer.
class StepProfile {
 public:
  StepProfile(ProfileRequest request, torch::Device device, StepLog& log);
  ~StepProfile();  // drops what finish() has not written
  StepProfile(const StepProfile&) = delete;
  StepProfile& operator=(const StepProfile&) = delete;

  // To be called after every step. Writes the file after the last of the steps. Throws IoError.
  void end_step();
  // The training is over: writes what there is.
  void finish();

 private:
  void start();
  void write();

  ProfileRequest request_;
  torch::Device device_;
  StepLog& log_;
  int64_t taken_ = 0;  // steps
  bool recording_ = false;
};

}  // namespace pinnerformer
