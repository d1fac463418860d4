// Exact retrieval: ranks of positives and best items for query vectors, in bounded memory (paper
// section 8).
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <span>
#include <vector>

namespace pinnerformer {

// The candidate items: all, or a random sample (the paper samples 1,000,000).
class CandidateIndex {
 public:
  // `count` of `items` items without replacement, a function of the seed alone; all of them if
  // `count` is 0 or more than `items`.
  CandidateIndex(int64_t items, int64_t count, int64_t seed);

  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(items_.size()); }
  [[nodiscard]] const std::vector<int32_t>& items() const { return items_; }  // ascending
  [[nodiscard]] int64_t column(int32_t item) const {  // index of the item in items(), or -1
    return columns_[static_cast<size_t>(item)];
  }

 private:
  std::vector<int32_t> items_;
  std::vector<int32_t> columns_;  // [I]
};

// The spans must outlive the call they are passed to.
struct RetrievalQuery {
  int64_t vectors = 1;                 // consecutive rows of the query matrix that belong to it
  std::span<const int32_t> targets;    // items to rank; need not be in the index
  std::span<const int32_t> positives;  // excluded from ranks, but can be in the list
  std::span<const int32_t> seen;       // earlier items of the user: excluded from ranks and list
};

struct RetrievalAnswer {
  // Of each target the number of items of the index that score higher, ties counting half. A hit
  // within k has a rank below k. Each target is ranked alone, without the query's `positives` and
  // `seen`; with several vectors, by the one that scores the target highest.
  std::vector<double> ranks;
  // The best items of the index without `seen`, best first, ties in the order of their rows.
  // Several vectors alternate (round robin): each adds its best item that is not in the list yet.
  std::vector<int32_t> top;
};

class Retriever {
 public:
  // item_vectors [I, D] float32 on any device, or undefined: the identity (D = I). Scores are
  // computed on that device, in blocks of at most `block_bytes` (and at least one query). Throws
  // DataError on NaN or infinity, which have no rank. Keeps a reference to `index`.
  Retriever(torch::Tensor item_vectors, const CandidateIndex& index,
            int64_t block_bytes = int64_t{64} << 20);

  // query_vectors [sum of vectors, D] float32; `top` has up to `top_k` items. With [sum of vectors,
  // K, D] the score of an item is the largest of its K scores: for every item, not for the targets
  // alone. Throws as above.
  [[nodiscard]] std::vector<RetrievalAnswer> answer(const torch::Tensor& query_vectors,
                                                    std::span<const RetrievalQuery> queries,
                                                    int64_t top_k) const;

 private:
  const CandidateIndex& index_;
  torch::Tensor item_vectors_;   // [I, D]
  torch::Tensor index_vectors_;  // [size of the index, D]
  int64_t block_rows_;
};

}  // namespace pinnerformer
