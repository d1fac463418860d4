#include "trainer/evaluation/segment_scores.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "comm/gather_records.h"

namespace pinnerformer {

SegmentScores::SegmentScores(std::span<const Segmenter> segmenters,
                             const std::vector<int32_t>& topics)
    : segmenters_(segmenters), topics_(topics), closed_(segmenters.size()) {}

void SegmentScores::begin_chunk(const std::vector<EvaluationCase>& cases) {
  if (segmenters_.empty()) return;
  cases_ = &cases;
  open_.assign(cases.size(), {});
  for (OpenCase& open : open_) open.scores.resize(segmenters_.size());
}

void SegmentScores::add_list(size_t index, std::span<const double> ranks,
                             std::span<const int32_t> top) {
  if (segmenters_.empty()) return;
  OpenCase& open = open_[index];
  const EvaluationCase& evaluation = (*cases_)[index];
  const double entropy =
      interest_entropy(top.first(std::min<size_t>(top.size(), kEntropyTop)), topics_);
  for (size_t s = 0; s < segmenters_.size(); ++s) {
    std::set<int32_t> served;
    for (size_t i = 0; i < ranks.size(); ++i) {
      const int32_t segment = segmenters_[s](evaluation, open.next_positive + i);
      CaseScore& score = open.scores[s][segment];
      score.user = evaluation.timeline->user;
      score.add_rank(ranks[i]);
      if (!served.insert(segment).second || std::isnan(entropy)) continue;
      score.entropy_sum += entropy;
      score.entropy_lists += 1;
    }
  }
  open.next_positive += ranks.size();
}

void SegmentScores::end_chunk() {
  for (const OpenCase& open : open_)
    for (size_t s = 0; s < segmenters_.size(); ++s)
      for (const auto& [segment, score] : open.scores[s]) closed_[s].push_back({segment, score});
  open_.clear();
}

void SegmentScores::gather(Communicator& comm) {
  for (std::vector<SegmentCase>& cases : closed_)
    cases = gather_records(cases, comm, "evaluation segments");
}

std::vector<CaseScore> SegmentScores::cases(size_t number, int64_t segment) const {
  std::vector<CaseScore> found;
  for (const SegmentCase& one : closed_[number])
    if (one.segment == segment) found.push_back(one.score);
  return found;
}

}  // namespace pinnerformer
