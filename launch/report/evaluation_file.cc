// Every entry is looked at before it is believed: the files may come from anywhere.
#include "launch/report/evaluation_file.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "dataloader/base/errors.h"
#include "launch/cli/json_file.h"

namespace pinnerformer {
namespace {

using nlohmann::json;

// Lists longer than these are no result of ours.
constexpr size_t kMostResults = 500;
constexpr size_t kMostSegments = 500;
constexpr size_t kMostUsers = 50;
constexpr size_t kMostItems = 100;

// A part of a file with its place, for messages.
struct Part {
  const json& value;
  const std::string& path;
  std::string place;

  [[noreturn]] void fail(const std::string& expected) const {
    throw DataError(path + ": " + (place.empty() ? "the whole" : place) + " should be " + expected);
  }
  [[nodiscard]] bool has(const char* key) const {
    return value.is_object() && value.contains(key) && !value.at(key).is_null();
  }
  [[nodiscard]] Part at(const char* key) const {
    if (!value.is_object()) fail("an object");
    const std::string name = place.empty() ? key : place + "." + key;
    if (!value.contains(key)) throw DataError(path + " has no " + name);
    return {value.at(key), path, name};
  }
  [[nodiscard]] std::string as_text() const {
    if (!value.is_string()) fail("a text");
    return value.get<std::string>();
  }
  [[nodiscard]] int64_t as_count() const {
    constexpr double kMost = 9e15;
    const double number = value.is_number() ? value.get<double>() : -1;
    if (!(number >= 0 && number <= kMost && number == std::floor(number)))
      fail("a whole number of at least 0");
    return static_cast<int64_t>(number);
  }
  [[nodiscard]] double as_number() const {
    if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
    if (!value.is_number()) fail("a number or null");
    return value.get<double>();
  }
  [[nodiscard]] std::string text_or(const char* key, const char* other = "") const {
    return has(key) ? at(key).as_text() : other;
  }
  [[nodiscard]] double number_or_nan(const char* key) const {
    return has(key) ? at(key).as_number() : std::numeric_limits<double>::quiet_NaN();
  }
  [[nodiscard]] int64_t count_or_0(const char* key) const {
    return has(key) ? at(key).as_count() : 0;
  }
};

// Calls read(element) for each of at most `most` elements.
template <class Read>
void read_list(const Part& list, size_t most, const Read& read) {
  if (!list.value.is_array()) list.fail("a list");
  if (list.value.size() > most)
    list.fail("a list of at most " + std::to_string(most) + " entries, and has " +
              std::to_string(list.value.size()));
  for (size_t i = 0; i < list.value.size(); ++i)
    read(Part{list.value[i], list.path, list.place + "[" + std::to_string(i) + "]"});
}

ReportedInterval interval_of(const Part& part) {
  if (!part.value.is_array() || part.value.size() != 2) part.fail("a list of two numbers");
  const auto end = [&](size_t i) { return Part{part.value[i], part.path, part.place}.as_number(); };
  return {end(0), end(1)};
}

void read_difference(const Part& part, ReportedResult& result) {
  result.reference = part.at("to").as_text();
  result.reference_frequency = part.at("to_frequency").as_text();
  const Part recall = part.at(kReportedMetrics[kRecallAt10].key);
  result.difference.value = recall.at("value").as_number();
  result.difference.interval = interval_of(recall.at("interval"));
  result.reference_is_better = recall.at("reference_is_better").as_text();
}

ReportedResult result_of(const Part& part) {
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

std::vector<ReportedResult> results_of(const Part& list) {
  std::vector<ReportedResult> results;
  read_list(list, kMostResults, [&](const Part& part) { results.push_back(result_of(part)); });
  return results;
}

ReportedSegmentation segmentation_of(const Part& part) {
  ReportedSegmentation segmentation{part.at("by").as_text(), {}};
  read_list(part.at("segments"), kMostSegments, [&](const Part& segment) {
    segmentation.segments.push_back(
        {segment.at("segment").as_text(), segment.at("users").as_count(),
         segment.at("positives").as_count(), results_of(segment.at("results"))});
  });
  return segmentation;
}

ReportedEvaluation evaluation_of(const json& value, const std::string& path) {
  const Part whole{value, path, ""};
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
              [&](const Part& part) { evaluation.by.push_back(segmentation_of(part)); });
  return evaluation;
}

std::vector<ReportedItem> items_of(const Part& user, const char* key) {
  std::vector<ReportedItem> items;
  if (!user.has(key)) return items;  // a user without events, or with nothing left to show
  read_list(user.at(key), kMostItems, [&](const Part& part) {
    items.push_back({part.at("item").as_text(), part.text_or("title"), part.text_or("action"),
                     part.number_or_nan("similarity")});
  });
  return items;
}

ReportedUser user_of(const Part& part) {
  return {part.at("user").as_text(), part.at("events").as_count(), part.text_or("run"),
          part.count_or_0("step"),   items_of(part, "last"),       items_of(part, "recommended")};
}

}  // namespace

ReportedEvaluation read_evaluation(const std::string& path) {
  return evaluation_of(read_json_file(path), path);
}

std::optional<ReportedEvaluation> find_evaluation(const std::string& path) {
  const json value = read_json_file(path);
  if (!value.is_object() || !value.contains("results") || !value.contains("protocol"))
    return std::nullopt;
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
