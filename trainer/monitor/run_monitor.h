// Shows a running training to other programs: TensorBoard's event files, Prometheus' text format in
// a file and on a port (MetricsOptions). Rank 0 only.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "trainer/monitor/step_record.h"
#include "trainer/options.h"

namespace pinnerformer {

struct MonitoredRun {
  std::string directory;
  std::string config;        // the resolved configuration, as text
  int64_t resumed_step = 0;  // steps after it will be taken again
  int64_t total_steps = 0;
};

// Only reads what it is given, so that a training has the same result with it and without it.
class RunMonitor {
 public:
  // What prevents Prometheus from seeing the run (a port in use, a file that cannot be written)
  // goes to `warn`, once for each outlet, and the training goes on. Throws IoError where an event
  // file of TensorBoard, which is part of the run directory, cannot be written; so does record().
  RunMonitor(const MetricsOptions& options, MonitoredRun run,
             std::function<void(const std::string& text)> warn);
  ~RunMonitor();
  RunMonitor(const RunMonitor&) = delete;
  RunMonitor& operator=(const RunMonitor&) = delete;

  void record(const StepRecord& record);
  void saved(const SavedCheckpoint& checkpoint);
  // The training has ended as it should, not by an error.
  void finish();

 private:
  class Outlets;
  std::unique_ptr<Outlets> outlets_;
};

}  // namespace pinnerformer
