#include "launch/serving/item_search.h"

#include <algorithm>
#include <functional>
#include <iostream>
#include <iterator>
#include <limits>
#include <utility>

#include "dataloader/base/errors.h"
#include "launch/serving/item_index.h"
#include "trainer/evaluation/top_items.h"

namespace pinnerformer {
namespace {

class ExactSearch : public ItemSearch {
 public:
  explicit ExactSearch(torch::Tensor items) : items_(std::move(items)) {}

  std::vector<ScoredRow> best(const torch::Tensor& user, int64_t count,
                              std::vector<int64_t> left_out) const override {
    torch::Tensor scores = torch::matmul(user.view({-1, user.size(-1)}), items_.t());  // [K, I]
    scores = scores.amax(0, /*keepdim=*/true);
    if (!left_out.empty())
      scores.index_fill_(1, torch::tensor(left_out), -std::numeric_limits<float>::infinity());
    std::vector<ScoredRow> found;
    const auto lists = top_columns(scores, count);
    for (const int64_t item : lists.front()) found.push_back({item, scores[0][item].item<float>()});
    return found;
  }

  torch::Tensor vectors(const std::vector<int64_t>& items) const override {
    return items_.index_select(0, torch::tensor(items, torch::kInt64));
  }

 private:
  torch::Tensor items_;  // [I, D]
};

class IndexSearch : public ItemSearch {
 public:
  explicit IndexSearch(const std::string& path) : index_(path) {}
  [[nodiscard]] const ItemIndex& index() const { return index_; }

  std::vector<ScoredRow> best(const torch::Tensor& user, int64_t count,
                              std::vector<int64_t> left_out) const override {
    std::ranges::sort(left_out);
    const auto [first, last] = std::ranges::unique(left_out);
    left_out.erase(first, last);
    const HnswGraph& graph = index_.graph();
    std::vector<ScoredRow> found = best_of_rest(count, graph.rows(), left_out, [&](int64_t wanted) {
      return for_each_vector(user, wanted,
                             [&](const float* vector) { return graph.search(vector, wanted); });
    });
    const int64_t there = std::min(count, graph.rows() - std::ssize(left_out));
    if (std::ssize(found) == there) return found;
    return for_each_vector(user, count, [&](const float* vector) {
      return graph.search_all(vector, count, left_out);
    });
  }

  torch::Tensor vectors(const std::vector<int64_t>& items) const override {
    const int64_t width = index_.graph().width();
    torch::Tensor out = torch::empty({std::ssize(items), width});
    for (int64_t i = 0; i < std::ssize(items); ++i)
      std::copy_n(index_.graph().vector(items[static_cast<size_t>(i)]), width,
                  out.data_ptr<float>() + i * width);
    return out;
  }

 private:
  // The best `count` of what `find` finds for each vector of the user.
  template <class Find>
  static std::vector<ScoredRow> for_each_vector(const torch::Tensor& user, int64_t count,
                                                const Find& find) {
    const torch::Tensor vectors = user.contiguous().view({-1, user.size(-1)});
    if (vectors.size(0) == 1) return find(vectors.const_data_ptr<float>());
    std::vector<ScoredRow> lists;
    for (int64_t k = 0; k < vectors.size(0); ++k)
      std::ranges::copy(find(vectors[k].const_data_ptr<float>()), std::back_inserter(lists));
    return merge_best(std::move(lists), count);
  }

  ItemIndex index_;
};

// Both are ascending by id: the same items are the same ids in the same order.
void require_items(const IdColumn& ids, const Dataset& dataset, const std::string& path,
                   const std::string& remedy) {
  for (int64_t item = 0; item < std::max(dataset.items(), ids.size()); ++item) {
    const std::string here = item < dataset.items() ? dataset.item_id(item) : "";
    const std::string there = item < ids.size() ? ids.text(item) : "";
    if (here == there) continue;
    throw DataError(path + " has the vectors of other items than " + dataset.directory() +
                    ": item '" + (here.empty() ? there : here) + "' is not in both. " + remedy);
  }
}

}  // namespace

std::vector<ScoredRow> merge_best(std::vector<ScoredRow> lists, int64_t count) {
  // By row first, the best of a row in front, so that one of each remains.
  std::ranges::sort(lists, [](const ScoredRow& a, const ScoredRow& b) {
    return a.row != b.row ? a.row < b.row : a.score > b.score;
  });
  const auto [first, last] = std::ranges::unique(lists, {}, &ScoredRow::row);
  lists.erase(first, last);
  std::ranges::stable_sort(lists, std::greater(), &ScoredRow::score);
  if (std::ssize(lists) > count) lists.resize(static_cast<size_t>(count));
  return lists;
}

std::vector<ScoredRow> best_of_rest(int64_t count, int64_t rows,
                                    const std::vector<int64_t>& left_out,
                                    const std::function<std::vector<ScoredRow>(int64_t)>& find) {
  // With so many candidates enough remain whichever of them are left out.
  const int64_t most = std::min(rows, count + std::ssize(left_out));
  for (int64_t wanted = std::min(2 * count, most);; wanted = std::min(2 * wanted, most)) {
    std::vector<ScoredRow> found = find(wanted);
    std::erase_if(
        found, [&](const ScoredRow& one) { return std::ranges::binary_search(left_out, one.row); });
    if (std::ssize(found) > count) found.resize(static_cast<size_t>(count));
    if (std::ssize(found) == count || wanted == most) return found;
  }
}

std::unique_ptr<ItemSearch> search_computed_items(LoadedModel& run) {
  return std::make_unique<ExactSearch>(run.item_vectors());
}

std::unique_ptr<ItemSearch> search_stored_items(const LoadedModel& run, const std::string& path) {
  const EmbeddingFileReader stored(path, "/item");
  require_version(stored.version(), path, run.version(), run.path(),
                  "Run `pinnerformer embed --items` with this model");
  require_width(stored, run.dimensions());
  std::cerr << checksum_note(stored);
  require_items(stored.ids(0, stored.rows()), run.dataset(), path,
                "Run `pinnerformer embed --items` with this dataset");
  return std::make_unique<ExactSearch>(stored.vectors(0, stored.rows()));
}

std::unique_ptr<ItemSearch> search_index(const LoadedModel& run, const std::string& path) {
  auto search = std::make_unique<IndexSearch>(path);
  const ItemIndexDescription& found = search->index().description();
  const std::string again = "Run `pinnerformer embed --items` and `pinnerformer index` again";
  require_version(found.version, path, run.version(), run.path(), again);
  if (found.shape.width != run.dimensions())
    throw DataError(path + ": expected vectors of " + std::to_string(run.dimensions()) +
                    " numbers, as the model makes, found " + std::to_string(found.shape.width) +
                    ". " + again);
  require_items(search->index().ids(), run.dataset(), path,
                "Run `pinnerformer embed --items` and `pinnerformer index` with this dataset");
  return search;
}

}  // namespace pinnerformer
