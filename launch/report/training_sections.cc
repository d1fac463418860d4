// What a training logged: overview, curves, time.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "launch/report/chart.h"
#include "launch/report/sections.h"
#include "launch/report/table.h"

namespace pinnerformer {
namespace {

Markup legend_of_runs(const ReportInputs& inputs) {
  if (inputs.runs.size() < 2) return {};
  std::vector<LegendEntry> entries;
  for (size_t i = 0; i < inputs.runs.size(); ++i)
    entries.push_back({inputs.runs[i].label, "fill " + color_class(i)});
  return legend(entries);
}

std::string ranks_text(const RunMetrics& metrics) {
  std::string ranks;
  for (const int64_t size : metrics.world_sizes)
    ranks += (ranks.empty() ? "" : ", then ") + std::to_string(size);
  return ranks.empty() ? "–" : ranks;
}

Markup steps_cell(const RunRecord& run) {
  Markup cell = count(run.metrics.last_step);
  if (run.config) cell += text(" of ") + count(run.config->train.steps);
  return cell;
}

Markup validation_cell(const RunMetrics& metrics) {
  if (!metrics.best_validation) return text("–");
  return number(metrics.best_validation->recall_at_10, "%.4f") +
         element("small", text("at step ") + count(metrics.best_validation->step));
}

// The mean over all records.
double mean_of(const Curve& curve) {
  double sum = 0, values = 0;
  for (const CurvePoint& point : curve.points()) {
    sum += point.mean * static_cast<double>(point.values);
    values += static_cast<double>(point.values);
  }
  return sum / values;
}

// Charts of one quantity over the steps of all runs.
Markup curves_of(const ReportInputs& inputs, const ChartHead& head, Curve RunMetrics::*quantity) {
  std::vector<NamedCurve> curves;
  for (size_t i = 0; i < inputs.runs.size(); ++i)
    curves.push_back({inputs.runs[i].label, i, &(inputs.runs[i].metrics.*quantity)});
  return line_chart(head, curves);
}

bool learns_temperature(const ReportInputs& inputs) {
  return std::ranges::any_of(inputs.runs, [](const RunRecord& run) {
    return !run.config || run.config->model.similarity == Similarity::kCosine;
  });
}

std::string hours_text(double milliseconds) {
  const double seconds = milliseconds / 1000;
  if (seconds < 120) return number_text(seconds, "%.1f s");
  if (seconds < 7200) return number_text(seconds / 60, "%.1f min");
  return number_text(seconds / 3600, "%.1f h");
}

constexpr std::array<std::pair<const char*, const char*>, 4> kTimeParts = {
    {{"compute", "fill t0"},
     {"data", "fill t1"},
     {"communication", "fill t2"},
     {"checkpoints", "fill t3"}}};

std::array<double, 4> parts_of(const TimeSpent& time) {
  return {time.compute, time.data, time.comm, time.save};
}

Markup shares_of(const ReportInputs& inputs) {
  std::vector<ShareRow> rows;
  for (const RunRecord& run : inputs.runs) {
    ShareRow row{run.label, {}};
    const std::array<double, 4> parts = parts_of(run.metrics.time);
    for (size_t i = 0; i < kTimeParts.size(); ++i)
      row.parts.push_back({kTimeParts[i].first, kTimeParts[i].second, parts[i]});
    rows.push_back(row);
  }
  return share_chart({"Shares of the time of all steps", ""}, rows);
}

Markup time_table(const ReportInputs& inputs) {
  Table table({{"run"},
               {"time in steps", "of all steps together", true},
               {"compute", "the rest of a step", true},
               {"data", "rank 0 waited for its loader", true},
               {"communication", "rank 0 waited for other ranks", true},
               {"checkpoints", "all ranks waited for a save", true}});
  for (const RunRecord& run : inputs.runs) {
    const TimeSpent& time = run.metrics.time;
    std::vector<Markup> cells = {text(run.label), text(hours_text(time.total()))};
    for (const double part : parts_of(time))
      cells.push_back(number(100 * part / time.total(), "%.1f %%"));
    table.add_row(cells);
  }
  return table.markup();
}

}  // namespace

Section overview_section(const ReportInputs& inputs) {
  Table table(
      {{"run"},
       {"steps", "taken, of those configured", true},
       {"loss", "of the last record, nats", true},
       {"best validation recall@10", "on users that are neither trained on nor evaluated", true},
       {"temperature", "of the last record", true},
       {"users per second", "mean over the records, over all ranks", true},
       {"ranks", "", true},
       {"memory", "largest resident memory of rank 0", true}});
  for (const RunRecord& run : inputs.runs) {
    const RunMetrics& metrics = run.metrics;
    table.add_row({text(run.label), steps_cell(run), number(metrics.last_loss, "%.4f"),
                   validation_cell(metrics), number(metrics.last_temperature, "%.4f"),
                   number(mean_of(metrics.users_per_second), "%.0f"), text(ranks_text(metrics)),
                   number(metrics.largest_memory_mib, "%.0f MiB")});
  }
  return {"overview", "Overview", "", table.markup()};
}

Section curves_section(const ReportInputs& inputs) {
  Markup charts = curves_of(inputs, {"Loss", "nats"}, &RunMetrics::loss) +
                  curves_of(inputs, {"Validation recall@10", ""}, &RunMetrics::validation_recall);
  const bool validated = std::ranges::any_of(
      inputs.runs, [](const RunRecord& run) { return !run.metrics.validation_recall.empty(); });
  if (learns_temperature(inputs))
    charts += curves_of(inputs, {"Learned temperature", "τ"}, &RunMetrics::temperature);
  charts +=
      curves_of(inputs, {"Norm of the gradient", "before clipping", true}, &RunMetrics::grad_norm);
  charts += curves_of(inputs, {"Learning rate", "", true}, &RunMetrics::learning_rate);
  Markup content = legend_of_runs(inputs) + element("div", {{"class", "charts"}}, charts);
  if (charts.empty())
    content = missing("No step has been logged yet.", "pinnerformer train --config FILE");
  if (!validated)
    content += missing(
        "There is no validation curve. A training that holds out further users makes one:",
        "pinnerformer train --config FILE validate.every_steps=100 split.validation_percent=10");
  return {"curves", "Training",
          "Each value is the mean over the steps of one record. Where a point stands for several "
          "records, the band shows their range.",
          content};
}

Section time_section(const ReportInputs& inputs) {
  const bool logged = std::ranges::any_of(
      inputs.runs, [](const RunRecord& run) { return run.metrics.time.total() > 0; });
  Markup content = missing("No step has been logged yet.", "pinnerformer train --config FILE");
  if (logged) {
    std::vector<LegendEntry> entries;
    for (const auto& [name, style] : kTimeParts) entries.push_back({name, style});
    content = legend(entries) + shares_of(inputs) + time_table(inputs) + legend_of_runs(inputs) +
              element("div", {{"class", "charts"}},
                      curves_of(inputs, {"Throughput", "users per second, all ranks", true},
                                &RunMetrics::users_per_second));
  }
  return {"time", "Throughput and time",
          "Where rank 0 spent the time of its steps. Waiting for data or for other ranks is time "
          "that faster disks, more prefetching or a faster network would save.",
          content};
}

}  // namespace pinnerformer
