#include "launch/report/plan_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "launch/report/json_part.h"

namespace pinnerformer {
namespace {

constexpr size_t kMostParts = 50;  // a plan has about ten
constexpr size_t kMostScales = 50;

std::vector<ReportedPart> parts_of(const JsonPart& list) {
  std::vector<ReportedPart> parts;
  read_list(list, kMostParts, [&](const JsonPart& part) {
    parts.push_back({part.at("part").as_text(), part.text_or("formula"),
                     part.at("value").as_number(),
                     part.has("on_host") && part.at("on_host").as_bool()});
  });
  return parts;
}

std::vector<ReportedScale> scales_of(const JsonPart& list) {
  std::vector<ReportedScale> scales;
  read_list(list, kMostScales, [&](const JsonPart& row) {
    if (!row.at("possible").as_bool()) return;
    scales.push_back({row.at("ranks").as_count(), row.at("step_ms").as_number()});
  });
  std::ranges::sort(scales, {}, &ReportedScale::ranks);
  return scales;
}

}  // namespace

std::optional<ReportedPlan> find_plan(const nlohmann::json& value, const std::string& path) {
  if (!value.is_object() || !value.contains("scaling") || !value.contains("step_ms"))
    return std::nullopt;
  const JsonPart whole{value, path, ""};
  ReportedPlan plan;
  plan.path = path;
  plan.machine = whole.at("machine").as_text();
  plan.gpu = whole.text_or("device") == "gpu";
  plan.ranks = whole.at("ranks").as_count();
  plan.memory = parts_of(whole.at("memory"));
  plan.step = parts_of(whole.at("step"));
  plan.memory_bytes = whole.at("memory_bytes").as_number();
  plan.step_ms = whole.at("step_ms").as_number();
  plan.users_per_second = whole.at("users_per_second").as_number();
  plan.scaling = scales_of(whole.at("scaling"));
  return plan;
}

}  // namespace pinnerformer
