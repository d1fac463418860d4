// The file of `pinnerformer plan --json` (docs/operations.md), read for a report.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace pinnerformer {

// Bytes or milliseconds.
struct ReportedPart {
  std::string name;
  std::string formula;
  double value = 0;
  bool on_host = false;  // memory of the host where `gpu`: not part of memory_bytes
};

struct ReportedScale {
  int64_t ranks = 1;
  double step_ms = 0;
};

struct ReportedPlan {
  std::string path;  // of the file
  std::string machine;
  bool gpu = false;  // memory is that of the GPU
  int64_t ranks = 1;
  std::vector<ReportedPart> memory, step;
  double memory_bytes = 0;  // of rank 0, of the parts that must fit together
  double step_ms = 0;
  double users_per_second = 0;
  std::vector<ReportedScale> scaling;  // numbers of ranks that are possible, ascending
};

// Nothing where the file, whose content this is, holds JSON of something else. Throws DataError
// naming the file and the entry where it is a plan with a wrong entry.
[[nodiscard]] std::optional<ReportedPlan> find_plan(const nlohmann::json& value,
                                                    const std::string& path);

}  // namespace pinnerformer
