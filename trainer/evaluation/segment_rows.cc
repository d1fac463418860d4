#include "trainer/evaluation/segment_rows.h"

#include <utility>

namespace pinnerformer {
namespace {

// Resamples of fewer users are nearly alike: they would look certain where nothing is.
constexpr int64_t kLeastUsers = 10;

RetrievalMetrics metrics_of(const std::vector<MetricSums>& users) {
  MetricSums total;
  for (const MetricSums& user : users) total.add(user);
  return total.metrics();
}

}  // namespace

SegmentRows::SegmentRows(std::span<const Segmenter> segmenters) : segmenters_(segmenters) {
  for (const Segmenter& segmenter : segmenters) {
    std::vector<Part>& parts = parts_.emplace_back();
    for (const std::string& name : segmenter.names()) parts.emplace_back().counts.name = name;
  }
}

void SegmentRows::add(const MethodResult& row, const std::vector<SegmentScores>& runs,
                      int64_t resamples, int64_t seed) {
  for (size_t s = 0; s < parts_.size(); ++s)
    for (size_t segment = 0; segment < parts_[s].size(); ++segment) {
      Part& part = parts_[s][segment];
      std::vector<RetrievalMetrics> metrics;
      std::vector<std::vector<MetricSums>> users;
      for (const SegmentScores& run : runs) {
        const std::vector<CaseScore> cases = run.cases(s, static_cast<int64_t>(segment));
        count_cases(cases, part.counts);
        users.push_back(sums_by_user(cases));
        metrics.push_back(metrics_of(users.back()));
      }
      const bool enough = part.counts.users >= kLeastUsers;
      if (part.counts.positives > 0)
        part.rows.push_back(make_row(row, metrics, users, enough ? resamples : 0, seed));
    }
}

std::vector<SegmentedResult> SegmentRows::results() && {
  std::vector<SegmentedResult> results;
  for (size_t s = 0; s < parts_.size(); ++s) {
    SegmentedResult& result = results.emplace_back();
    result.by = segmenters_[s].kind();
    for (Part& part : parts_[s]) {
      if (part.rows.empty()) continue;
      compare_with_references(part.rows);
      result.segments.push_back(std::move(part.counts));
      result.segments.back().results = results_of(std::move(part.rows));
    }
  }
  return results;
}

}  // namespace pinnerformer
