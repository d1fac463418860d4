// Computes blocks of scores as one matrix product each, then ranks and best items from the block.
#include "trainer/evaluation/retrieval.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "trainer/evaluation/top_items.h"

namespace pinnerformer {
namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();

void require_finite(const torch::Tensor& vectors, const char* what) {
  // A sum is finite only where every element is; summing in double cannot overflow.
  if (!std::isfinite(vectors.sum(torch::kFloat64).item<double>())) {
    throw DataError(std::string(what) +
                    " vectors hold NaN or infinity, which cannot be ranked: the weights of the "
                    "model or the vectors of the dataset are damaged");
  }
}

torch::Tensor to_tensor(const std::vector<int64_t>& values, torch::Device device) {
  return torch::tensor(values, torch::kInt64).to(device);
}

// Cells of the score matrix.
struct Cells {
  std::vector<int64_t> rows;
  std::vector<int64_t> columns;
  void add(int64_t row, int64_t column) {
    rows.push_back(row);
    columns.push_back(column);
  }
};

// vectors [rows, D] or [rows, K, D], items [n, D]. Writes the scores, or the largest of K, into
// `scores` [rows, n].
void multiply_into(torch::Tensor scores, const torch::Tensor& vectors, const torch::Tensor& items) {
  if (vectors.dim() == 2) {
    torch::mm_out(scores, vectors, items.t());
    return;
  }
  torch::mm_out(scores, vectors.select(1, 0), items.t());
  for (int64_t k = 1; k < vectors.size(1); ++k)
    torch::maximum_out(scores, scores, torch::mm(vectors.select(1, k), items.t()));
}

// Scores [rows, size of the index + extra]: one block of queries against the index, and against
// those of its targets that are not in the index.
class ScoreBlock {
 public:
  ScoreBlock(const CandidateIndex& index, std::span<const RetrievalQuery> queries)
      : index_(index), queries_(queries) {
    for (const RetrievalQuery& query : queries) {
      first_rows_.push_back(rows_);
      rows_ += query.vectors;
      for (const int32_t item : query.targets) {
        if (index.column(item) >= 0 || extra_columns_.contains(item)) continue;
        extra_columns_[item] = index.size() + static_cast<int64_t>(extra_.size());
        extra_.push_back(item);
      }
    }
  }

  // vectors [rows, D] or [rows, K, D], item_vectors [I, D], index_vectors [size of the index, D].
  void multiply(const torch::Tensor& vectors, const torch::Tensor& item_vectors,
                const torch::Tensor& index_vectors) {
    const auto extra = static_cast<int64_t>(extra_.size());
    scores_ = torch::empty({rows_, index_.size() + extra}, vectors.options());
    competing_ = scores_.narrow(1, 0, index_.size());
    torch::Tensor rest = scores_.narrow(1, index_.size(), extra);
    const torch::Tensor extra_items = to_tensor(extra_, vectors.device());
    if (!item_vectors.defined()) {  // the query vectors are the scores of all items
      competing_.copy_(vectors.index_select(
          1, torch::tensor(index_.items(), torch::kInt64).to(vectors.device())));
      rest.copy_(vectors.index_select(1, extra_items));
      return;
    }
    multiply_into(competing_, vectors, index_vectors);
    if (extra > 0) multiply_into(rest, vectors, item_vectors.index_select(0, extra_items));
  }

  // Of every target: the row of its query that scores it highest, and that score.
  void find_targets() {
    Cells cells;
    for (size_t q = 0; q < queries_.size(); ++q) {
      for (const int32_t item : queries_[q].targets) {
        const int64_t column = index_.column(item);
        for (int64_t v = 0; v < queries_[q].vectors; ++v) {
          cells.add(first_rows_[q] + v, column >= 0 ? column : extra_columns_.at(item));
        }
      }
    }
    if (cells.rows.empty()) return;
    const torch::Tensor scores = read(cells);
    const float* score = scores.const_data_ptr<float>();
    for (const RetrievalQuery& query : queries_) {
      for (size_t t = 0; t < query.targets.size(); ++t, score += query.vectors) {
        const float* best = std::max_element(score, score + query.vectors);
        const auto cell = static_cast<size_t>(best - scores.const_data_ptr<float>());
        target_rows_.push_back(cells.rows[cell]);
        target_scores_.push_back(*best);
      }
    }
  }

  // Excludes the items in `list` of every query from ranks, or from the list of best items.
  void exclude(std::span<const int32_t> RetrievalQuery::*list) {
    Cells cells;
    for (size_t q = 0; q < queries_.size(); ++q) {
      for (const int32_t item : queries_[q].*list) {
        const int64_t column = index_.column(item);
        for (int64_t v = 0; column >= 0 && v < queries_[q].vectors; ++v) {
          cells.add(first_rows_[q] + v, column);
        }
      }
    }
    if (cells.rows.empty()) return;
    const torch::Device device = scores_.device();
    scores_.index_put_({to_tensor(cells.rows, device), to_tensor(cells.columns, device)},
                       torch::scalar_tensor(kExcluded, scores_.options()));
  }

  // Best items of each query. To be called after excluding items that must not be in the list.
  void collect_top(int64_t top_k, std::span<RetrievalAnswer> answers) const {
    const std::vector<std::vector<int64_t>> best = top_columns(competing_, top_k);
    for (size_t q = 0; q < queries_.size(); ++q) {
      const auto first = best.begin() + first_rows_[q];
      const std::vector<int64_t> blended =
          round_robin({first, first + queries_[q].vectors}, static_cast<size_t>(top_k));
      for (const int64_t column : blended) {
        answers[q].top.push_back(index_.items()[static_cast<size_t>(column)]);
      }
    }
  }

  // Ranks of all targets, `chunk` at a time. To be called after excluding items from the ranks.
  void collect_ranks(int64_t chunk, std::span<RetrievalAnswer> answers) const {
    const auto targets = static_cast<int64_t>(target_rows_.size());
    std::vector<double> ranks;
    for (int64_t first = 0; first < targets; first += chunk) {
      const int64_t count = std::min(chunk, targets - first);
      const torch::Tensor rows = torch::tensor(
          at::ArrayRef<int64_t>(target_rows_.data() + first, static_cast<size_t>(count)));
      const torch::Tensor score = torch::tensor(
          at::ArrayRef<float>(target_scores_.data() + first, static_cast<size_t>(count)));
      const torch::Tensor others = competing_.index_select(0, rows.to(scores_.device()));
      const torch::Tensor own = score.to(scores_.device()).unsqueeze(1);
      const torch::Tensor rank = ((others > own).sum(1) * 2 + (others == own).sum(1)).cpu();
      const int64_t* halves = rank.const_data_ptr<int64_t>();
      for (int64_t i = 0; i < count; ++i) ranks.push_back(static_cast<double>(halves[i]) / 2);
    }
    auto rank = ranks.begin();
    for (size_t q = 0; q < queries_.size(); ++q) {
      const auto count = static_cast<std::ptrdiff_t>(queries_[q].targets.size());
      answers[q].ranks.assign(rank, rank + count);
      rank += count;
    }
  }

  [[nodiscard]] int64_t rows() const { return rows_; }

 private:
  [[nodiscard]] torch::Tensor read(const Cells& cells) const {
    const torch::Device device = scores_.device();
    return scores_.index({to_tensor(cells.rows, device), to_tensor(cells.columns, device)}).cpu();
  }

  const CandidateIndex& index_;
  std::span<const RetrievalQuery> queries_;
  std::vector<int64_t> first_rows_;  // by query
  int64_t rows_ = 0;
  std::vector<int64_t> extra_;  // targets outside the index
  std::unordered_map<int32_t, int64_t> extra_columns_;
  torch::Tensor scores_;
  torch::Tensor competing_;           // the columns of the index, a view of scores_
  std::vector<int64_t> target_rows_;  // by target, queries one after the other
  std::vector<float> target_scores_;
};

}  // namespace

CandidateIndex::CandidateIndex(int64_t items, int64_t count, int64_t seed)
    : columns_(static_cast<size_t>(items), -1) {
  items_.resize(static_cast<size_t>(items));
  std::iota(items_.begin(), items_.end(), 0);
  if (count > 0 && count < items) {
    KeyedRandom random(RandomStream::kEvaluation, {seed, items});
    shuffle_front(std::span(items_), count, random);
    items_.resize(static_cast<size_t>(count));
    std::sort(items_.begin(), items_.end());
  }
  for (size_t i = 0; i < items_.size(); ++i) {
    columns_[static_cast<size_t>(items_[i])] = static_cast<int32_t>(i);
  }
}

Retriever::Retriever(torch::Tensor item_vectors, const CandidateIndex& index, int64_t block_bytes)
    : index_(index), item_vectors_(std::move(item_vectors)), index_vectors_(item_vectors_) {
  if (item_vectors_.defined()) require_finite(item_vectors_, "item");
  if (item_vectors_.defined() && index.size() < item_vectors_.size(0)) {
    const torch::Tensor rows = torch::tensor(index.items(), torch::kInt64);
    index_vectors_ = item_vectors_.index_select(0, rows.to(item_vectors_.device()));
  }
  const auto row_bytes = static_cast<int64_t>(sizeof(float)) * std::max<int64_t>(1, index.size());
  block_rows_ = std::max<int64_t>(1, block_bytes / row_bytes);
}

std::vector<RetrievalAnswer> Retriever::answer(const torch::Tensor& query_vectors,
                                               std::span<const RetrievalQuery> queries,
                                               int64_t top_k) const {
  const torch::NoGradGuard no_grad;
  require_finite(query_vectors, "user");
  std::vector<RetrievalAnswer> answers(queries.size());
  const torch::Tensor vectors =
      item_vectors_.defined() ? query_vectors.to(item_vectors_.device()) : query_vectors;
  int64_t row = 0;
  for (size_t first = 0; first < queries.size();) {
    size_t last = first;
    int64_t rows = 0;
    do {
      rows += queries[last++].vectors;
    } while (last < queries.size() && rows + queries[last].vectors <= block_rows_);
    const auto results = std::span(answers).subspan(first, last - first);
    ScoreBlock block(index_, queries.subspan(first, last - first));
    block.multiply(vectors.narrow(0, row, rows), item_vectors_, index_vectors_);
    block.find_targets();
    block.exclude(&RetrievalQuery::seen);
    block.collect_top(top_k, results);
    block.exclude(&RetrievalQuery::positives);
    block.exclude(&RetrievalQuery::targets);
    block.collect_ranks(block_rows_, results);
    row += rows;
    first = last;
  }
  return answers;
}

}  // namespace pinnerformer
