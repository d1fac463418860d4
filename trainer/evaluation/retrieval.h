// Exact retrieval: ranks of positives and best items for query vectors, in bounded memory.
// Last stage of evaluation before the metrics (paper section 8).
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <span>
#include <vector>

namespace pinnerformer {

// The items that compete: all, or a random sample (the paper takes 1,000,000 pins).
class CandidateIndex {
 public:
  // `count` of `items` items without replacement, a function of the seed alone; 0 or more than
  // there are: all of them.
  CandidateIndex(int64_t items, int64_t count, int64_t seed);

  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(items_.size()); }
  [[nodiscard]] const std::vector<int32_t>& items() const { return items_; }  // ascending
  [[nodiscard]] int64_t column(int32_t item) const {  // where the item stands in items(), or -1
    return columns_[static_cast<size_t>(item)];
  }

 private:
  std::vector<int32_t> items_;
  std::vector<int32_t> columns_;  // [I]
};

// The spans must outlive the call they are passed to.
struct RetrievalQuery {
  int64_t vectors = 1;                 // consecutive rows of the query matrix that belong to it
  std::span<const int32_t> targets;    // items whose rank is wanted; need not be in the index
  std::span<const int32_t> positives;  // never compete with a target, but can be retrieved
  std::span<const int32_t> seen;       // earlier items of the user: neither compete nor show up
};

struct RetrievalAnswer {
  // Of each target: items of the index that score higher, ties counting half. A target that is hit
  // within k has a rank below k. Each target is ranked alone, without the query's `positives` and
  // `seen`. With several vectors: by the one that scores the target highest.
  std::vector<double> ranks;
  // The best items of the index without `seen`, best first, ties in order of their rows. Several
  // vectors take turns (round robin), each adding its best item that is not there yet.
  std::vector<int32_t> top;
};

class Retriever {
 public:
  // item_vectors [I, D] float32 on any device, or undefined: the identity (D = I). Scores are
  // computed on that device. A block of scores takes
  // at most `block_bytes` (but holds one query). Throws std::runtime_error on NaN or infinity,
  // which would rank everything first. Keeps a reference to `index`.
  Retriever(torch::Tensor item_vectors, const CandidateIndex& index,
            int64_t block_bytes = int64_t{64} << 20);

  // query_vectors [sum of vectors, D] float32; `top` has up to `top_k` items. Throws like above.
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
