// The figures of users by segment, gathered like those of RetrievalScores: the same bits on any
// number of ranks.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "trainer/evaluation/evaluation_cases.h"
#include "trainer/evaluation/retrieval_metrics.h"
#include "trainer/evaluation/segments.h"

namespace pinnerformer {

// One user in one window, with the positives of one segment alone.
struct SegmentCase {
  int64_t segment = 0;
  CaseScore score;
};

// Without segmenters every call does nothing.
class SegmentScores {
 public:
  // Keeps the references. `topics` as of RetrievalScores.
  SegmentScores(std::span<const Segmenter> segmenters, const std::vector<int32_t>& topics);

  // `cases` must live until end_chunk().
  void begin_chunk(const std::vector<EvaluationCase>& cases);
  // One list of case `index`, with the ranks of the positives that it served. The lists of a case
  // come in the order of its positives.
  void add_list(size_t index, std::span<const double> ranks, std::span<const int32_t> top);
  void end_chunk();

  // Collective: afterwards every rank holds the figures of all ranks, in rank order.
  void gather(Communicator& comm);
  // Those of one segment of segmenter `number`, in the order of the users.
  [[nodiscard]] std::vector<CaseScore> cases(size_t number, int64_t segment) const;

 private:
  // A case while its lists come in.
  struct OpenCase {
    size_t next_positive = 0;
    std::vector<std::map<int32_t, CaseScore>> scores;  // of each segmenter, by segment
  };
  std::span<const Segmenter> segmenters_;
  const std::vector<int32_t>& topics_;
  const std::vector<EvaluationCase>* cases_ = nullptr;
  std::vector<OpenCase> open_;
  std::vector<std::vector<SegmentCase>> closed_;  // of each segmenter
};

}  // namespace pinnerformer
