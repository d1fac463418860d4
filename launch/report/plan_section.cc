// What `plan --json` foresaw beside what the run took.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>

#include "launch/report/chart.h"
#include "launch/report/sections.h"
#include "launch/report/table.h"
#include "launch/slurm/slurm_script.h"

namespace pinnerformer {
namespace {

constexpr size_t kPlanned = 0, kMeasured = 1;  // colours
constexpr double kMiB = 1 << 20;
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// Median over the records; NaN without any.
double median_of(const Curve& curve) {
  std::vector<double> values;
  for (const CurvePoint& point : curve.points()) values.push_back(point.mean);
  if (values.empty()) return kUnknown;
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::ranges::nth_element(values, middle);
  return *middle;
}

double measured_mib(const RunMetrics& metrics, const ReportedPlan& plan) {
  const double most = plan.gpu ? metrics.largest_gpu_memory_mib : metrics.largest_memory_mib;
  return most > 0 ? most : kUnknown;
}

// Whether the run had the ranks of the plan, and no others.
bool same_ranks(const RunMetrics& metrics, const ReportedPlan& plan) {
  return metrics.world_sizes.size() == 1 && metrics.world_sizes.front() == plan.ranks;
}

Markup heading_of(const RunRecord& run, const ReportedPlan& plan) {
  std::string note = "Planned for " + count_text(plan.ranks) + " rank(s) of '" + plan.machine +
                     "', from " + plan.path + ".";
  if (!same_ranks(run.metrics, plan))
    note += " The run had other ranks: step and memory cannot be compared.";
  return element("h3", text(run.label)) + element("p", {{"class", "note"}}, text(note));
}

Markup comparison(const RunMetrics& metrics, const ReportedPlan& plan) {
  Table table({{"what"},
               {"planned", "", true},
               {"measured", "memory: the largest; the others: median over the records", true},
               {"measured / planned", "", true}});
  const bool same = same_ranks(metrics, plan);
  const auto add = [&](const char* what, double planned, double measured, const char* format) {
    table.add_row({text(what), number(planned, format), number(measured, format),
                   number(same ? measured / planned : kUnknown, "%.2f")});
  };
  add("step, ms", plan.step_ms, median_of(metrics.step_ms), "%.1f");
  add("users per second", plan.users_per_second, median_of(metrics.users_per_second), "%.0f");
  add(plan.gpu ? "memory of rank 0 on its GPU, MiB" : "memory of rank 0, MiB",
      plan.memory_bytes / kMiB, measured_mib(metrics, plan), "%.0f");
  return table.markup();
}

// Planned parts, then the sum beside what was measured.
Markup parts_chart(const ChartHead& head, const std::vector<ReportedPart>& parts, bool on_gpu,
                   double unit, double together, double measured) {
  std::vector<NamedValue> bars;
  for (const ReportedPart& part : parts)
    if (part.value > 0)
      bars.push_back({part.name + (on_gpu && part.on_host ? " (host)" : ""), kPlanned,
                      part.value / unit, part.formula});
  bars.push_back({"planned together", kPlanned, together / unit, ""});
  bars.push_back({"measured", kMeasured, measured, ""});
  return bar_chart(head, bars, "%.1f");
}

// The planned step on other numbers of ranks, and the measured one where the run had one number.
Markup scaling_chart(const RunMetrics& metrics, const ReportedPlan& plan) {
  std::vector<ReportedScale> rows = plan.scaling;
  if (!std::ranges::count(rows, plan.ranks, &ReportedScale::ranks))
    rows.push_back({plan.ranks, plan.step_ms});
  const int64_t measured = metrics.world_sizes.size() == 1 ? metrics.world_sizes.front() : 0;
  if (measured > 0 && !std::ranges::count(rows, measured, &ReportedScale::ranks))
    rows.push_back({measured, kUnknown});
  std::ranges::sort(rows, {}, &ReportedScale::ranks);
  std::vector<std::string> ranks;
  EstimatedSeries planned{"planned", kPlanned, {}}, found{"measured", kMeasured, {}};
  for (const ReportedScale& row : rows) {
    ranks.push_back(count_text(row.ranks));
    planned.estimates.push_back({row.step_ms, kUnknown, kUnknown});
    found.estimates.push_back(
        {row.ranks == measured ? median_of(metrics.step_ms) : kUnknown, kUnknown, kUnknown});
  }
  return category_chart({"A step of the same global batch on so many ranks", "ms", true}, ranks,
                        {planned, found});
}

Markup plan_markup(const RunRecord& run, const ReportedPlan& plan) {
  const double step = same_ranks(run.metrics, plan) ? median_of(run.metrics.step_ms) : kUnknown;
  const double memory = same_ranks(run.metrics, plan) ? measured_mib(run.metrics, plan) : kUnknown;
  return heading_of(run, plan) + comparison(run.metrics, plan) +
         parts_chart({"Memory of rank 0", "MiB", true}, plan.memory, plan.gpu, kMiB,
                     plan.memory_bytes, memory) +
         parts_chart({"Time of a step", "ms", true}, plan.step, /*on_gpu=*/false, 1, plan.step_ms,
                     step) +
         scaling_chart(run.metrics, plan);
}

}  // namespace

Section plan_section(const ReportInputs& inputs) {
  Markup content;
  for (const RunRecord& run : inputs.runs)
    for (const ReportedPlan& plan : run.plans) content += plan_markup(run, plan);
  if (content.empty()) {
    const RunRecord& run = inputs.runs.front();
    const std::filesystem::path path = run.path;
    const int64_t ranks = run.metrics.world_sizes.empty() ? 1 : run.metrics.world_sizes.back();
    content = missing(
        "No plan lies in a run directory. These commands measure the machine and make one:",
        "pinnerformer bench machine --out machine.yaml\n"
        "pinnerformer plan --config " +
            shell_quoted((path / "config.yaml").string()) + " --ranks " + std::to_string(ranks) +
            " --machine machine.yaml --json " + shell_quoted((path / "plan.json").string()));
  } else {
    content = legend({{"planned", "fill " + color_class(kPlanned)},
                      {"measured", "fill " + color_class(kMeasured)}}) +
              content;
  }
  return {"plan", "Plan and measurement",
          "What the command plan foresaw for the configuration and a machine, and what the run "
          "took. Where they differ by much, the machine file describes another machine.",
          content};
}

}  // namespace pinnerformer
