// The page of `pinnerformer report`: one HTML file that needs no network, no script and no other
// file.
#pragma once
#include <string>
#include <vector>

#include "launch/report/evaluation_file.h"
#include "launch/report/run_record.h"

namespace pinnerformer {

struct ReportInputs {
  std::vector<RunRecord> runs;                  // at least one
  std::vector<ReportedEvaluation> evaluations;  // found in the runs or named
  std::vector<ReportedUser> users;              // examples
};

// The same bytes for the same inputs.
[[nodiscard]] std::string report_page(const ReportInputs& inputs);

}  // namespace pinnerformer
