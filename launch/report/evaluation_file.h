// The files of `pinnerformer evaluate --json` and `recommend --json` (docs/operations.md), read for
// a report.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace pinnerformer {

// NaN where the file has null, or nothing.
struct ReportedInterval {
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

struct ReportedMetric {
  double value = std::numeric_limits<double>::quiet_NaN();
  ReportedInterval interval;
};

// A metric by its key in JSON, with its heading.
struct ReportedMetricName {
  const char* key;
  const char* title;
  const char* meaning;
};
inline constexpr std::array<ReportedMetricName, 6> kReportedMetrics = {{
    {"recall@10", "recall@10", "share of positives among the first 10 items"},
    {"recall@50", "recall@50", "share of positives among the first 50 items"},
    {"recall@10_per_user", "recall@10 per user", "mean over users of each user's share"},
    {"ndcg@10", "NDCG@10", "gain of the positive's rank among the first 10 items"},
    {"interest_entropy@50", "entropy@50", "spread of topics in the lists of 50, nats"},
    {"p90_coverage@10", "coverage@10",
     "share of the index that makes up 90 % of all items in the lists of 10"},
}};
inline constexpr size_t kRecallAt10 = 0;  // indices into kReportedMetrics
inline constexpr size_t kCoverageAt10 = 5;
using ReportedMetrics = std::array<ReportedMetric, kReportedMetrics.size()>;

// One method at one frequency of inference.
struct ReportedResult {
  std::string method;
  std::string frequency;
  int64_t runs = 1;
  ReportedMetrics metrics;
  // This row's recall@10 minus that of another.
  std::string reference;  // "" where there is none
  std::string reference_frequency;
  ReportedMetric difference;
  std::string reference_is_better;  // "holds", "does not hold", "cannot be told"
};

struct ReportedSegment {
  std::string name;
  int64_t users = 0;
  int64_t positives = 0;
  std::vector<ReportedResult> results;
};

// One word of `evaluate --by`.
struct ReportedSegmentation {
  std::string by;
  std::vector<ReportedSegment> segments;
};

struct ReportedEvaluation {
  std::string path;  // of the file
  std::string run;
  std::string checkpoint;
  int64_t step = 0;
  std::string protocol;
  int64_t users = 0;
  int64_t positives = 0;
  int64_t index_items = 0;
  std::vector<ReportedResult> results;
  std::vector<ReportedSegmentation> by;
};

// Throws DataError naming the file and the entry where the file is no evaluation; as
// read_json_file() does otherwise.
[[nodiscard]] ReportedEvaluation read_evaluation(const std::string& path);
// Nothing where the file, whose content this is, holds JSON of something else.
[[nodiscard]] std::optional<ReportedEvaluation> find_evaluation(const nlohmann::json& value,
                                                                const std::string& path);

struct ReportedItem {
  std::string item;
  std::string title;                                             // "" where unknown
  std::string action;                                            // of an event
  double similarity = std::numeric_limits<double>::quiet_NaN();  // of a recommendation
};

// A user with the last events and what would be shown.
struct ReportedUser {
  std::string user;
  int64_t events = 0;
  std::string run;
  int64_t step = 0;
  std::vector<ReportedItem> last;
  std::vector<ReportedItem> recommended;
};

// Throws as read_evaluation() does. At most the first 50 users.
[[nodiscard]] std::vector<ReportedUser> read_recommendations(const std::string& path);

}  // namespace pinnerformer
