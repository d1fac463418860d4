// Writes an EvaluationResult as the object of `pinnerformer evaluate --json` (docs/operations.md).
#include <cmath>
#include <nlohmann/json.hpp>

#include "dataloader/base/enum_name.h"
#include "trainer/evaluation/evaluation.h"

namespace pinnerformer {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no NaN.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json metrics_json(const RetrievalMetrics& metrics) {
  Json object;
  for (const MetricName& name : kMetricNames) object[name.key] = number(metrics.*name.metric);
  return object;
}

Json interval_json(const Interval& interval) {
  return Json::array({number(interval.low), number(interval.high)});
}

Json difference_json(const MethodResult& row) {
  Json object;
  object["to"] = row.reference;
  object["to_frequency"] = enum_name(row.reference_frequency);
  for (size_t i = 0; i < kMetricNames.size(); ++i) {
    const Difference& found = row.differences[i];
    object[kMetricNames[i].key] = {{"value", number(found.value)},
                                   {"interval", interval_json(found.interval)},
                                   {"reference_is_better", verdict_text(found.model_is_better)}};
  }
  return object;
}

Json method_json(const MethodResult& row, SplitProtocol protocol) {
  Json entry;
  entry["method"] = row.method;
  entry["frequency"] = enum_name(row.frequency);
  entry["runs"] = row.runs;
  entry.update(metrics_json(row.metrics));
  // The literature's name for the recall of a single positive.
  if (protocol == SplitProtocol::kLeaveOneOut) entry["hr@10"] = entry["recall@10"];
  entry["p90_coverage@10"] = number(row.metrics.p90_coverage_at_10);
  entry["stderr"] = metrics_json(row.standard_errors);
  for (size_t i = 0; i < kMetricNames.size(); ++i)
    entry["interval"][kMetricNames[i].key] = interval_json(row.intervals[i]);
  if (!row.reference.empty()) entry["difference"] = difference_json(row);
  for (const auto& [name, value] : row.settings) entry["settings"][name] = number(value);
  return entry;
}

Json segments_json(const SegmentedResult& segmented, SplitProtocol protocol) {
  Json segments = Json::array();
  for (const SegmentResult& segment : segmented.segments) {
    Json results = Json::array();
    for (const MethodResult& row : segment.results) {
      Json entry = method_json(row, protocol);
      entry.erase("p90_coverage@10");  // not defined here
      entry.erase("settings");         // those of the whole
      results.push_back(entry);
    }
    segments.push_back({{"segment", segment.name},
                        {"users", segment.users},
                        {"user_windows", segment.user_windows},
                        {"positives", segment.positives},
                        {"results", results}});
  }
  return {{"by", enum_name(segmented.by)}, {"segments", segments}};
}

}  // namespace

std::string to_json(const EvaluationResult& result) {
  Json object;
  object["protocol"] = enum_name(result.protocol);
  object["users"] = result.users;
  object["user_windows"] = result.user_windows;
  object["positives"] = result.positives;
  object["excluded_positives"] = result.excluded_positives;
  object["index_items"] = result.index_items;
  object["daily_delay_days"] = result.daily_delay_days;
  object["results"] = Json::array();
  for (const MethodResult& row : result.results)
    object["results"].push_back(method_json(row, result.protocol));
  for (const SegmentedResult& segmented : result.by)
    object["by"].push_back(segments_json(segmented, result.protocol));
  // Names of topics need not be UTF-8.
  return object.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace pinnerformer
