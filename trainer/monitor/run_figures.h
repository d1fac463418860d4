// All that Prometheus is told of a run, and the text in which it is told.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "trainer/monitor/step_record.h"

namespace pinnerformer {

struct RunFigures {
  std::string run;  // the run directory: a label of every metric
  int64_t total_steps = 0;
  bool running = true;
  double start_time = 0;  // of this process' training, seconds since 1970
  int64_t restarts = 0;   // starts of this run before this one

  std::optional<StepRecord> record;  // the newest
  double record_time = 0;            // of it
  // Sums over the records of this process.
  double save_stall_seconds = 0;
  int64_t skipped_users = 0;
  int64_t nonfinite_steps = 0;

  std::optional<SavedCheckpoint> checkpoint;  // the newest

  std::optional<ValidationRecord> validation;  // the newest
  int64_t validation_step = 0;

  void add(const StepRecord& next, double now);
};

// Prometheus' text format, version 0.0.4: HELP and TYPE of each metric, then its samples. Figures
// that are not known yet are left out. Source: prometheus.io, "Exposition formats".
[[nodiscard]] std::string prometheus_text(const RunFigures& figures);

}  // namespace pinnerformer
