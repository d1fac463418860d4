// What `evaluate --json` measured: methods, frequencies, coverage, segments.
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <string>

#include "launch/report/chart.h"
#include "launch/report/sections.h"
#include "launch/report/table.h"
#include "launch/slurm/slurm_script.h"

namespace pinnerformer {
namespace {

// The first so many of kReportedMetrics are better where they are larger; of the others more is not
// always better.
constexpr size_t kRankedMetrics = 4;
constexpr std::array<const char*, 3> kFrequencies = {"once", "daily", "realtime"};

// A command line of `evaluate` that would fill a section of the first run.
std::string evaluate_command(const ReportInputs& inputs, const std::string& words) {
  const std::string& run = inputs.runs.front().path;
  return "pinnerformer evaluate --run " + shell_quoted(run) + (words.empty() ? "" : " " + words) +
         " --json " + shell_quoted((std::filesystem::path(run) / "evaluate.json").string());
}

Markup heading_of(const ReportedEvaluation& evaluation) {
  std::string name = evaluation.run.empty() ? evaluation.checkpoint : evaluation.run;
  if (name.empty()) name = evaluation.path;
  return element("h3", text(name + ", step " + count_text(evaluation.step))) +
         element("p", {{"class", "note"}},
                 count(evaluation.positives) + text(" positives of ") + count(evaluation.users) +
                     text(" held-out users (" + evaluation.protocol + "), index of ") +
                     count(evaluation.index_items) + text(" items, from " + evaluation.path));
}

// The methods in the order of their first row: their colours.
std::vector<std::string> methods_of(const std::vector<ReportedResult>& results) {
  std::vector<std::string> methods;
  for (const ReportedResult& result : results)
    if (std::ranges::find(methods, result.method) == methods.end())
      methods.push_back(result.method);
  return methods;
}

size_t color_of(const std::vector<std::string>& methods, const std::string& method) {
  return static_cast<size_t>(std::ranges::find(methods, method) - methods.begin());
}

Markup legend_of(const std::vector<std::string>& methods) {
  std::vector<LegendEntry> entries;
  for (size_t i = 0; i < methods.size(); ++i)
    entries.push_back({methods[i], "fill " + color_class(i)});
  return legend(entries);
}

std::string interval_text(const ReportedInterval& interval, const char* format) {
  if (!std::isfinite(interval.low) || !std::isfinite(interval.high)) return "";
  return number_text(interval.low, format) + " to " + number_text(interval.high, format);
}

Markup metric_cell(const ReportedMetric& metric, bool best) {
  Markup value = number(metric.value, "%.4f");
  if (best) value = element("b", value);
  const std::string interval = interval_text(metric.interval, "%.4f");
  return interval.empty() ? value : value + element("small", text(interval));
}

// What the interval of a difference says, in words: "model is better".
std::string verdict_of(const ReportedResult& result) {
  const std::string reference =
      result.reference == result.method ? result.reference_frequency : result.reference;
  if (result.reference_is_better == "holds") return reference + " is better";
  if (result.reference_is_better == "does not hold") return reference + " is worse";
  return "cannot be told";
}

Markup difference_cell(const ReportedResult& result) {
  if (result.reference.empty()) return text("–");
  return number(result.difference.value, "%+.4f") +
         element("small", text(interval_text(result.difference.interval, "%+.4f"))) +
         element("small", text(verdict_of(result)));
}

// Of each metric the largest value, NaN where none is defined.
std::array<double, kReportedMetrics.size()> best_of(const std::vector<ReportedResult>& results) {
  std::array<double, kReportedMetrics.size()> best;
  best.fill(std::nan(""));
  for (const ReportedResult& result : results)
    for (size_t i = 0; i < best.size(); ++i) best[i] = std::fmax(best[i], result.metrics[i].value);
  return best;
}

Markup results_table(const std::vector<ReportedResult>& results) {
  std::vector<HeadedColumn> columns = {{"method"}, {"frequency"}};
  for (const ReportedMetricName& name : kReportedMetrics)
    columns.push_back({name.title, name.meaning, true});
  columns.push_back({"difference in recall@10", "to the row it is compared with", true});
  Table table(columns);
  const auto best = best_of(results);
  for (const ReportedResult& result : results) {
    const std::string runs =
        result.runs > 1 ? " (mean of " + std::to_string(result.runs) + " runs)" : "";
    std::vector<Markup> cells = {text(result.method + runs), text(result.frequency)};
    for (size_t i = 0; i < kReportedMetrics.size(); ++i)
      cells.push_back(
          metric_cell(result.metrics[i], i < kRankedMetrics && result.metrics[i].value == best[i]));
    cells.push_back(difference_cell(result));
    table.add_row(cells);
  }
  return table.markup();
}

Estimate estimate_of(const ReportedMetric& metric) {
  return {metric.value, metric.interval.low, metric.interval.high};
}

const ReportedResult* find_result(const std::vector<ReportedResult>& results,
                                  const std::string& method, const std::string& frequency) {
  const auto found = std::ranges::find_if(results, [&](const ReportedResult& result) {
    return result.method == method && result.frequency == frequency;
  });
  return found == results.end() ? nullptr : &*found;
}

// A metric of every method at the first frequency it has.
Markup methods_chart(const ReportedEvaluation& evaluation, const ChartHead& head, size_t metric) {
  std::vector<NamedEstimate> rows;
  const std::vector<std::string> methods = methods_of(evaluation.results);
  for (const std::string& method : methods) {
    const auto first = std::ranges::find(evaluation.results, method, &ReportedResult::method);
    const std::string frequency = first->frequency == "once" ? "" : ", " + first->frequency;
    rows.push_back(
        {method + frequency, color_of(methods, method), estimate_of(first->metrics[metric])});
  }
  return interval_chart(head, rows, "%.4f");
}

// Methods with more than one frequency, over the frequencies.
Markup frequency_chart(const ReportedEvaluation& evaluation) {
  const std::vector<std::string> methods = methods_of(evaluation.results);
  std::vector<EstimatedSeries> all;
  std::vector<LegendEntry> entries;
  for (const std::string& method : methods) {
    EstimatedSeries series{method, color_of(methods, method), {}};
    int found = 0;
    for (const char* frequency : kFrequencies) {
      const ReportedResult* result = find_result(evaluation.results, method, frequency);
      const double nan = std::nan("");
      series.estimates.push_back(result == nullptr ? Estimate{nan, nan, nan}
                                                   : estimate_of(result->metrics[kRecallAt10]));
      found += result == nullptr ? 0 : 1;
    }
    if (found < 2) continue;
    all.push_back(series);
    entries.push_back({method, "fill " + color_class(series.color)});
  }
  if (all.empty()) return {};
  return legend(entries) + category_chart({"recall@10 by how often vectors are made", ""},
                                          {kFrequencies.begin(), kFrequencies.end()}, all);
}

// "popularity finds .0386 of the positives among ten items, model .0598: ..."
Markup popularity_notes(const ReportedEvaluation& evaluation) {
  Markup notes;
  for (const ReportedResult& result : evaluation.results) {
    if (result.method.find("popularity") == std::string::npos || result.reference.empty() ||
        result.reference == result.method)
      continue;
    const ReportedResult* reference =
        find_result(evaluation.results, result.reference, result.reference_frequency);
    if (reference == nullptr) continue;
    notes +=
        element("li", text(result.method + " (" + result.frequency + ") finds ") +
                          number(result.metrics[kRecallAt10].value, "%.4f") +
                          text(" of the positives among ten items, " + result.reference + " ") +
                          number(reference->metrics[kRecallAt10].value, "%.4f") +
                          text(": " + verdict_of(result) + "."));
  }
  return notes.empty() ? notes : element("ul", {{"class", "notes"}}, notes);
}

// Segments over their own axis, for the methods at the first frequency each has.
Markup segments_chart(const ReportedSegmentation& segmentation,
                      const std::vector<std::string>& methods) {
  constexpr size_t kMostCategories = 12;
  if (segmentation.segments.size() < 2 || segmentation.segments.size() > kMostCategories) return {};
  std::vector<std::string> categories;
  std::vector<EstimatedSeries> all;
  for (size_t i = 0; i < methods.size(); ++i) all.push_back({methods[i], i, {}});
  for (const ReportedSegment& segment : segmentation.segments) {
    categories.push_back(segment.name);
    for (EstimatedSeries& series : all) {
      const auto found = std::ranges::find(segment.results, series.name, &ReportedResult::method);
      const double nan = std::nan("");
      series.estimates.push_back(found == segment.results.end()
                                     ? Estimate{nan, nan, nan}
                                     : estimate_of(found->metrics[kRecallAt10]));
    }
  }
  return category_chart({"recall@10 by " + segmentation.by, ""}, categories, all);
}

Markup segments_table(const ReportedSegmentation& segmentation,
                      const std::vector<std::string>& methods) {
  std::vector<HeadedColumn> columns = {
      {segmentation.by}, {"users", "", true}, {"positives", "", true}};
  for (const std::string& method : methods) columns.push_back({method, "recall@10", true});
  Table table(columns);
  for (const ReportedSegment& segment : segmentation.segments) {
    std::vector<Markup> cells = {text(segment.name), count(segment.users),
                                 count(segment.positives)};
    for (const std::string& method : methods) {
      const auto found = std::ranges::find(segment.results, method, &ReportedResult::method);
      cells.push_back(found == segment.results.end()
                          ? text("–")
                          : metric_cell(found->metrics[kRecallAt10], false));
    }
    table.add_row(cells);
  }
  return table.markup();
}

// What `part` makes of every evaluation, each under its heading; nothing where it makes nothing.
template <class Make>
Markup of_each(const ReportInputs& inputs, const Make& part) {
  Markup content;
  for (const ReportedEvaluation& evaluation : inputs.evaluations) {
    const Markup made = part(evaluation);
    if (!made.empty()) content += heading_of(evaluation) + made;
  }
  return content;
}

}  // namespace

Section evaluation_section(const ReportInputs& inputs) {
  Markup content = of_each(inputs, [](const ReportedEvaluation& evaluation) {
    return methods_chart(evaluation, {"recall@10", "with 95 % intervals", true}, kRecallAt10) +
           results_table(evaluation.results);
  });
  if (content.empty())
    content =
        missing("No evaluation was found. This command makes one:", evaluate_command(inputs, ""));
  return {"evaluation", "Evaluation",
          "On users that were never trained on. Small figures are 95 % intervals over resampled "
          "users; the best recall and NDCG are bold. Point at a heading to see what it means.",
          content};
}

Section frequency_section(const ReportInputs& inputs) {
  Markup content = of_each(inputs, frequency_chart);
  if (content.empty())
    content = missing("No evaluation has more than one frequency. This command makes one:",
                      evaluate_command(inputs, "evaluate.frequency=once,daily,realtime"));
  return {"frequency", "How often vectors are made",
          "One vector may serve a whole window (once), be made anew every night (daily) or after "
          "every action (realtime). What is lost from right to left is the price of a simpler "
          "system.",
          content};
}

Section coverage_section(const ReportInputs& inputs) {
  Markup content = of_each(inputs, [](const ReportedEvaluation& evaluation) {
    return methods_chart(
               evaluation,
               {"coverage@10", "share of the index that makes up 90 % of what is shown", true},
               kCoverageAt10) +
           popularity_notes(evaluation);
  });
  if (content.empty())
    content = missing("No evaluation was found. This command makes one:",
                      evaluate_command(inputs, "evaluate.baselines=popularity,mean_of_last"));
  return {"coverage", "Popularity and coverage",
          "A method that shows everybody the same popular items covers next to nothing of the "
          "catalogue. A good one finds more than popularity does and covers more.",
          content};
}

Section segments_section(const ReportInputs& inputs) {
  Markup content = of_each(inputs, [](const ReportedEvaluation& evaluation) {
    const std::vector<std::string> methods = methods_of(evaluation.results);
    Markup parts;
    for (const ReportedSegmentation& segmentation : evaluation.by)
      parts += segments_chart(segmentation, methods) + segments_table(segmentation, methods);
    return parts.empty() ? parts : legend_of(methods) + parts;
  });
  if (content.empty())
    content = missing("No evaluation has segments. This command makes one:",
                      evaluate_command(inputs, "--by activity,popularity,novelty"));
  return {"segments", "Where it works",
          "The same figures for parts of the users and positives. A method can be good on average "
          "and useless for new items or new users.",
          content};
}

}  // namespace pinnerformer
