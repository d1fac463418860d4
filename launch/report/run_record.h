// What a run directory says of a run.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "configs/run_config.h"
#include "launch/report/evaluation_file.h"
#include "launch/report/metrics_file.h"
#include "launch/report/plan_file.h"

namespace pinnerformer {

struct RunRecord {
  std::string path;
  std::string label;  // the end of the path that tells it from the other runs
  RunMetrics metrics;
  std::optional<RunConfig> config;
  std::vector<std::pair<std::string, std::string>> machine;  // name and value, for people
  std::vector<ReportedEvaluation> evaluations;               // files *.json of the directory
  std::vector<ReportedPlan> plans;                           // likewise
  std::vector<std::string> problems;                         // what was left out, with the reason
};

// Reads the runs in these directories. A file that is damaged is named in `problems`. Throws
// MissingInputError where a directory is no run: it has no metrics.jsonl.
[[nodiscard]] std::vector<RunRecord> read_runs(const std::vector<std::string>& directories);

}  // namespace pinnerformer
