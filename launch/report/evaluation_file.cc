// Every entry is looked at before it is believed: the files may come from anywhere.
#include "launch/report/evaluation_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "launch/cli/json_file.h"
#include "launch/report/json_part.h"

namespace pinnerformer {
namespace {

using nlohmann::json;

// Lists longer than these are no result of ours.
constexpr size_t kMostResults = 500;
constexpr size_t kMostSegments = 500;
constexpr size_t kMostUsers = 50;
constexpr size_t kMostItems = 100;

ReportedInterval interval_of(const JsonPart& part) {
  if (!part.value.is_array() || part.value.size() != 2) part.fail("a list of two numbers");
  const auto end = [&](size_t i) {
    return JsonPart{part.value[i], part.path, part.place}.as_number();
  };
  return {end(0), end(1)};
}

void read_difference(const JsonPart& part, ReportedResult& result) {
  result.reference = part.at("to").as_text();
  result.reference_frequency = part.at("to_frequency").as_text();
  const JsonPart recall = part.at(kReportedMetrics[kRecallAt10].key);
  result.difference.value = recall.at("value").as_number();
  result.difference.interval = interval_of(recall.at("interval"));
  result.reference_is_better = recall.at("reference_is_better").as_text();
}

ReportedResult result_of(const JsonPart& part) {
  ReportedResult result;
  result.method = part.at("method").as_text();
  result.frequency = part.at("frequency").as_text();
  if (part.has("runs")) result.runs = part.at("runs").as_count();
  for (size_t i = 0; i < kReportedMetrics.size(); ++i) {
    const char* key = kReportedMetrics[i].key;
    result.metrics[i].value = part.number_or_nan(key);
    if (part.has("interval") && part.at("interval").has(key))
      result.metrics[i].interval = interval_of(part.at("interval").at(key));
  }
  if (part.has("difference")) read_difference(part.at("difference"), result);
  return result;
}

std::vector<ReportedResult> results_of(const JsonPart& list) {
  std::vector<ReportedResult> results;
  read_list(list, kMostResults, [&](const JsonPart& part) { results.push_back(result_of(part)); });
  return results;
}

ReportedSegmentation segmentation_of(const JsonPart& part) {
  ReportedSegmentation segmentation{part.at("by").as_text(), {}};
  read_list(part.at("segments"), kMostSegments, [&](const JsonPart& segment) {
    segmentation.segments.push_back(
        {segment.at("segment").as_text(), segment.at("users").as_count(),
         segment.at("positives").as_count(), results_of(segment.at("results"))});
  });
  return segmentation;
}

ReportedEvaluation evaluation_of(const json& value, const std::string& path) {
  const JsonPart whole{value, path, ""};
  ReportedEvaluation evaluation;
  evaluation.path = path;
  evaluation.results = results_of(whole.at("results"));
  evaluation.run = whole.text_or("run");
  evaluation.checkpoint = whole.text_or("checkpoint");
  evaluation.step = whole.count_or_0("step");
  evaluation.protocol = whole.at("protocol").as_text();
  evaluation.users = whole.at("users").as_count();
  evaluation.positives = whole.at("positives").as_count();
  evaluation.index_items = whole.at("index_items").as_count();
  if (whole.has("by"))
    read_list(whole.at("by"), kMostSegments,
              [&](const JsonPart& part) { evaluation.by.push_back(segmentation_of(part)); });
  return evaluation;
}

std::vector<ReportedItem> items_of(const JsonPart& user, const char* key) {
  std::vector<ReportedItem> items;
  if (!user.has(key)) return items;  // a user without events, or with nothing left to show
  read_list(user.at(key), kMostItems, [&](const JsonPart& part) {
    items.push_back({part.at("item").as_text(), part.text_or("title"), part.text_or("action"),
                     part.number_or_nan("similarity")});
  });
  return items;
}

ReportedUser user_of(const JsonPart& part) {
  return {part.at("user").as_text(), part.at("events").as_count(), part.text_or("run"),
          part.count_or_0("step"),   items_of(part, "last"),       items_of(part, "recommended")};
}

bool is_evaluation(const json& value) {
  return value.is_object() && value.contains("results") && value.contains("protocol");
}

// What else a file of --json may be.
std::string kind_of(const json& value) {
  if (value.is_array()) return "a list, as `recommend --json` writes it";
  if (!value.is_object()) return "no object";
  if (value.contains("scaling")) return "a plan (`plan --json`)";
  if (value.contains("benchmark")) return "a result of `bench`";
  return std::string("an object without ") + (value.contains("results") ? "protocol" : "results");
}

}  // namespace

ReportedEvaluation read_evaluation(const std::string& path) {
  const json value = read_json_file(path);
  if (!is_evaluation(value))
    throw DataError(path + " is no evaluation: expected what `pinnerformer evaluate --json` " +
                    "writes, found " + kind_of(value));
  return evaluation_of(value, path);
}

std::optional<ReportedEvaluation> find_evaluation(const json& value, const std::string& path) {
  if (!is_evaluation(value)) return std::nullopt;
  return evaluation_of(value, path);
}

std::vector<ReportedUser> read_recommendations(const std::string& path) {
  const json value = read_json_file(path);
  if (!value.is_array())
    throw DataError(path + " is no list of users: expected what `pinnerformer recommend --json` " +
                    "writes");
  std::vector<ReportedUser> users;
  for (size_t i = 0; i < std::min(kMostUsers, value.size()); ++i)
    users.push_back(user_of({value[i], path, "user " + std::to_string(i)}));
  return users;
}

}  // namespace pinnerformer
