#include "launch/commands/evaluate_text.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include "dataloader/base/enum_name.h"
#include "dataloader/base/printable.h"

namespace pinnerformer {
namespace {

std::string number(const char* format, double value) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string cell(double value, double standard_error) {
  if (value != value) return "-";
  const std::string text = number("%.4f", value);
  return standard_error > 0 ? text + " ± " + number("%.4f", standard_error) : text;
}

struct Column {
  const char* title;
  Metric metric;
  bool with_error;  // shown with its standard error
};

// With one positive per user recall is the hit rate (HR).
std::vector<Column> columns(SplitProtocol protocol) {
  const Column coverage{"coverage@10", &RetrievalMetrics::p90_coverage_at_10, false};
  const Column entropy{"entropy@50", &RetrievalMetrics::interest_entropy_at_50, false};
  if (protocol == SplitProtocol::kLeaveOneOut)
    return {{"HR@10", &RetrievalMetrics::recall_at_10, true},
            {"NDCG@10", &RetrievalMetrics::ndcg_at_10, true},
            {"HR@50", &RetrievalMetrics::recall_at_50, false},
            coverage,
            entropy};
  return {{"R@10", &RetrievalMetrics::recall_at_10, true},
          {"R@50", &RetrievalMetrics::recall_at_50, true},
          {"R@10/user", &RetrievalMetrics::recall_at_10_per_user, false},
          {"NDCG@10", &RetrievalMetrics::ndcg_at_10, false},
          coverage,
          entropy};
}

std::string padded(const std::string& text, size_t width) {
  // "±" takes two bytes and one column.
  const size_t shown = text.size() - (text.find("±") != std::string::npos ? 1 : 0);
  return text + std::string(shown < width ? width - shown : 1, ' ');
}

size_t width_of(const Column& column) { return column.with_error ? 18 : 13; }

// What the frequency `daily` means, where the paper's delay changes it.
std::string describe_delay(const EvaluationResult& result) {
  const bool daily = std::any_of(
      result.results.begin(), result.results.end(),
      [](const MethodResult& row) { return row.frequency == InferenceFrequency::kDaily; });
  if (!daily || result.daily_delay_days == 0) return "";
  return "daily: vectors come into use " + std::to_string(result.daily_delay_days) +
         " day(s) after they are made\n";
}

std::string describe_repeats(const EvaluationResult& result) {
  if (result.excluded_positives == 0) return "";
  return std::to_string(result.excluded_positives) +
         " more positives are of items that the user had before: no list has them "
         "(evaluate.exclude_seen), and they are not counted\n";
}

std::string describe_metrics(const EvaluationResult& result) {
  const std::vector<Column> shown = columns(result.protocol);
  std::string text = padded("method", 20) + padded("frequency", 10);
  for (const Column& column : shown) text += padded(column.title, width_of(column));
  for (const MethodResult& row : result.results) {
    text += '\n';
    text += padded(row.method, 20) + padded(std::string(enum_name(row.frequency)), 10);
    for (const Column& column : shown)
      text += padded(cell(row.metrics.*column.metric,
                          column.with_error ? row.standard_errors.*column.metric : 0),
                     width_of(column));
  }
  return text + "\n";
}

std::string describe_settings(const EvaluationResult& result) {
  std::string text;
  for (const MethodResult& row : result.results) {
    if (row.frequency != result.results.front().frequency) continue;
    for (const auto& [name, value] : row.settings)
      text += row.method + ": " + name + " " + number("%g", value) + "\n";
    if (row.runs > 1)
      text += row.method + ": mean over " + std::to_string(row.runs) +
              " runs; runs and users are resampled\n";
  }
  return text;
}

// "model > popularity", or of two frequencies of the model "once > realtime".
std::string claim(const MethodResult& row) {
  if (row.reference == row.method)
    return std::string(enum_name(row.reference_frequency)) + " > " +
           std::string(enum_name(row.frequency));
  return row.reference + " > " + row.method;
}

// Nothing where there is one method alone, or no interval.
std::string describe_differences(const EvaluationResult& result) {
  const bool one_out = result.protocol == SplitProtocol::kLeaveOneOut;
  std::string text;
  for (const MethodResult& row : result.results) {
    if (row.reference.empty() ||
        !(row.differences[0].interval.low <= row.differences[0].interval.high))
      continue;
    const Difference& found = row.differences[0];
    text +=
        padded(row.method, 20) + padded(std::string(enum_name(row.frequency)), 10) +
        padded(number("%+.4f", found.value), 10) +
        padded(number("%+.4f", found.interval.low) + " to " + number("%+.4f", found.interval.high),
               22) +
        claim(row) + ": " + verdict_text(found.model_is_better) + "\n";
  }
  if (text.empty()) return "";
  return "\nDifference in " + std::string(one_out ? "HR@10" : "R@10") +
         ", with its 95 % interval over the same users:\n" + text;
}

// The rows of each method at its first frequency.
std::vector<const MethodResult*> first_rows(const std::vector<MethodResult>& results) {
  std::vector<const MethodResult*> rows;
  for (const MethodResult& row : results)
    if (std::ranges::none_of(rows, [&](const auto* one) { return one->method == row.method; }))
      rows.push_back(&row);
  return rows;
}

// One line per segment: counts, and the recall of every method.
std::string describe_segments(const SegmentedResult& segmented, const Column& recall) {
  constexpr size_t kSegment = 20, kCount = 11, kMethod = 19;
  std::string text = "\n";
  text += std::string(recall.title) + " by " + std::string(enum_name(segmented.by)) + "\n" +
          padded("segment", kSegment) + padded("users", kCount) + padded("positives", kCount);
  if (segmented.segments.empty()) return text + "\n";
  for (const MethodResult* row : first_rows(segmented.segments.front().results))
    text += padded(row->method, kMethod);
  for (const SegmentResult& segment : segmented.segments) {
    text += '\n';
    text += padded(printable(segment.name, kSegment - 4), kSegment) +
            padded(std::to_string(segment.users), kCount) +
            padded(std::to_string(segment.positives), kCount);
    for (const MethodResult* row : first_rows(segment.results))
      text +=
          padded(cell(row->metrics.*recall.metric, row->standard_errors.*recall.metric), kMethod);
  }
  return text + "\n";
}

}  // namespace

std::string describe_evaluation(const EvaluationResult& result) {
  std::string segments;
  for (const SegmentedResult& segmented : result.by)
    segments += describe_segments(segmented, columns(result.protocol).front());
  return std::to_string(result.positives) + " positives of " + std::to_string(result.users) +
         " held-out users, index of " + std::to_string(result.index_items) + " items\n" +
         describe_repeats(result) + describe_delay(result) + "\n" + describe_metrics(result) +
         describe_settings(result) + describe_differences(result) + segments;
}

}  // namespace pinnerformer
