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

void add_metrics(const RetrievalMetrics& metrics, Json& object) {
  object["recall@10"] = number(metrics.recall_at_10);
  object["recall@50"] = number(metrics.recall_at_50);
  object["recall@10_per_user"] = number(metrics.recall_at_10_per_user);
  object["ndcg@10"] = number(metrics.ndcg_at_10);
  object["interest_entropy@50"] = number(metrics.interest_entropy_at_50);
}

}  // namespace

std::string to_json(const EvaluationResult& result) {
  Json object;
  object["protocol"] = enum_name(result.protocol);
  object["users"] = result.users;
  object["user_windows"] = result.user_windows;
  object["positives"] = result.positives;
  object["index_items"] = result.index_items;
  object["daily_delay_days"] = result.daily_delay_days;
  object["results"] = Json::array();
  for (const MethodResult& method : result.results) {
    Json entry;
    entry["method"] = method.method;
    entry["frequency"] = enum_name(method.frequency);
    add_metrics(method.metrics, entry);
    // The literature's name for the recall of a single positive.
    if (result.protocol == SplitProtocol::kLeaveOneOut) entry["hr@10"] = entry["recall@10"];
    entry["p90_coverage@10"] = number(method.metrics.p90_coverage_at_10);
    add_metrics(method.standard_errors, entry["stderr"]);
    for (const auto& [name, value] : method.settings) entry["settings"][name] = number(value);
    object["results"].push_back(entry);
  }
  return object.dump(2);
}

}  // namespace pinnerformer
