// Rows of the segments of an evaluation, one table per segment.
#pragma once
#include <span>
#include <vector>

#include "trainer/evaluation/evaluation.h"
#include "trainer/evaluation/evaluation_rows.h"
#include "trainer/evaluation/segment_scores.h"

namespace pinnerformer {

class SegmentRows {
 public:
  // Keeps the reference.
  explicit SegmentRows(std::span<const Segmenter> segmenters);

  // Adds `row` to every segment. `runs` are the gathered figures of the method's runs. Methods and
  // frequencies have the same cases, so a segment has all rows or none.
  void add(const MethodResult& row, const std::vector<SegmentScores>& runs, int64_t resamples,
           int64_t seed);
  // With their differences to the first method. Segments without a positive are left out.
  [[nodiscard]] std::vector<SegmentedResult> results() &&;

 private:
  struct Part {
    SegmentResult counts;  // without its results
    std::vector<EvaluationRow> rows;
  };
  std::span<const Segmenter> segmenters_;
  std::vector<std::vector<Part>> parts_;  // [segmenter][segment]
};

}  // namespace pinnerformer
