// Finding the best items for a user's vector: by comparison with all of them, or with an index.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "launch/index/hnsw_graph.h"
#include "launch/serving/loaded_model.h"

namespace pinnerformer {

class ItemSearch {
 public:
  virtual ~ItemSearch() = default;
  // Up to `count` rows of the dataset's items, best first, and none of `left_out`. user: float32
  // [D], or [K, D]: the score of an item is the largest of K.
  [[nodiscard]] virtual std::vector<ScoredRow> best(const torch::Tensor& user, int64_t count,
                                                    std::vector<int64_t> left_out) const = 0;
  // The vectors of these items, float32 [n, D].
  [[nodiscard]] virtual torch::Tensor vectors(const std::vector<int64_t>& items) const = 0;
};

// Exact, with the vectors that the model computes.
[[nodiscard]] std::unique_ptr<ItemSearch> search_computed_items(LoadedModel& run);
// Exact, with those of a file of `embed`. As the next one, throws DataError where it has another
// version or width than the model's vectors, or other items than the dataset.
[[nodiscard]] std::unique_ptr<ItemSearch> search_stored_items(const LoadedModel& run,
                                                              const std::string& path);
// Approximate, with an index of `pinnerformer index`. The lists are as long as exact ones: where
// too few items remain beside those left out, it searches more.
[[nodiscard]] std::unique_ptr<ItemSearch> search_index(const LoadedModel& run,
                                                       const std::string& path);

// The best `count` rows of several lists together, each once with its best score; ties in the order
// of the rows. Where each list has the best `count` rows of one vector, these are the best by the
// largest score.
[[nodiscard]] std::vector<ScoredRow> merge_best(std::vector<ScoredRow> lists, int64_t count);

// The best `count` rows that are not in `left_out`, which ascends, each once. `find(n)` gives the n
// best of `rows` rows. Searches for twice as many until enough remain. Fewer than `count` where
// find() gives fewer rows than it is asked for, or where there are no more.
[[nodiscard]] std::vector<ScoredRow> best_of_rest(
    int64_t count, int64_t rows, const std::vector<int64_t>& left_out,
    const std::function<std::vector<ScoredRow>(int64_t)>& find);

}  // namespace pinnerformer
