// Recall, interest entropy and coverage from ranks and lists of items, with standard errors (paper
// section 8). Identical bits on any number of ranks: only integers are summed over ranks; other
// values are gathered and summed in the order of the users on every rank.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "trainer/evaluation/bootstrap.h"
#include "trainer/evaluation/retrieval.h"

namespace pinnerformer {

inline constexpr int64_t kCoverageTop = 10;  // list length of coverage
inline constexpr int64_t kEntropyTop = 50;   // list length of interest entropy

// The figures of one user in one window, from which all metrics are computed.
struct CaseScore {
  int64_t user = 0;  // row
  int64_t positives = 0;
  int64_t hits_at_10 = 0;
  int64_t hits_at_50 = 0;
  double gain_at_10 = 0;   // sum over positives of 1 / log2(rank + 2) where the rank is below 10
  double entropy_sum = 0;  // over the lists whose entropy is defined
  int64_t entropy_lists = 0;

  void add_rank(double rank);
};

// The scores of one rank; after gather(), those of all ranks.
class RetrievalScores {
 public:
  // `topics` [I] by item row, -1 for unknown; empty: no topics. Keeps references to both.
  RetrievalScores(const CandidateIndex& index, const std::vector<int32_t>& topics);

  // Counts the list of one query for coverage, and its entropy for `score`. Best items first.
  void add_list(std::span<const int32_t> top, CaseScore& score);
  void add_case(const CaseScore& score) { cases_.push_back(score); }

  // Collective: afterwards every rank holds the scores of all ranks, in rank order.
  void gather(Communicator& comm);

  [[nodiscard]] const std::vector<CaseScore>& cases() const { return cases_; }
  [[nodiscard]] RetrievalMetrics metrics() const;
  // Bootstrap over users: the spread of each metric over `resamples` draws of as many users with
  // replacement, a function of the seed. NaN for coverage, which is not a mean over users.
  [[nodiscard]] RetrievalMetrics standard_errors(int64_t resamples, int64_t seed) const;

 private:
  const CandidateIndex& index_;
  const std::vector<int32_t>& topics_;
  std::vector<CaseScore> cases_;
  std::vector<int64_t> appearances_;  // by column of the index
};

// Entropy in nats of the topics of `items`; items of unknown topic are left out. NaN where none is
// known.
[[nodiscard]] double interest_entropy(std::span<const int32_t> items,
                                      const std::vector<int32_t>& topics);

// The smallest share of the items that makes up 90 % of all appearances; NaN without appearances.
[[nodiscard]] double p90_coverage(std::vector<int64_t> appearances);

}  // namespace pinnerformer
