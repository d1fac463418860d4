// The records of a run as TensorBoard shows them: RUN/tensorboard/events.out.tfevents.*.
#pragma once
#include <cstdint>
#include <fstream>
#include <string>

#include "trainer/monitor/step_record.h"

namespace pinnerformer {

// One file for each start of the training, since TensorBoard follows a file only at its end.
class TensorboardLog {
 public:
  // Removes the events of steps after `resumed_step` from the files of earlier starts: those steps
  // will be taken again. Writes the configuration as text. Throws IoError.
  TensorboardLog(const std::string& run_directory, int64_t resumed_step, const std::string& config);

  void record(const StepRecord& record);

 private:
  void write(const std::string& event);

  std::string path_;
  std::ofstream file_;
};

}  // namespace pinnerformer
