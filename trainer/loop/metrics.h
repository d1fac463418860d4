// The record of a logged step: one JSON line in metrics.jsonl, the same as text in log.txt and on
// the console. Rank 0 only.
#pragma once
#include <cstdint>
#include <fstream>
#include <string>

#include "trainer/monitor/console.h"
#include "trainer/monitor/step_record.h"

namespace pinnerformer {

class MetricsLog {
 public:
  // Appends to `directory`/metrics.jsonl and log.txt, after dropping records of steps beyond
  // `resumed_step`: those steps will be taken again. Throws IoError.
  MetricsLog(const std::string& directory, int64_t resumed_step, int64_t total_steps);

  void record(const StepRecord& record);
  // A line for people: console and log.txt.
  void note(const std::string& line);
  // Moves the progress bar, where there is one.
  void show_progress(int64_t step) { bar_.update(step); }

 private:
  std::string directory_;
  int64_t total_steps_;
  std::ofstream json_;
  std::ofstream text_;
  ProgressBar bar_;
};

// Resident memory of this process in MiB.
[[nodiscard]] double resident_memory_mib();

}  // namespace pinnerformer
