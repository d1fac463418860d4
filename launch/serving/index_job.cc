#include "launch/serving/index_job.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>

#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "dataloader/base/slice.h"
#include "dataloader/formats/id_file.h"
#include "launch/cli/progress.h"
#include "launch/serving/item_search.h"

namespace pinnerformer {
namespace {

constexpr int64_t kRowsAtOnce = 16384;
constexpr int64_t kBest = 10;
// Standard deviation of the noise of a query, as a part of the item vector's norm.
constexpr double kNoise = .5;

EmbeddingFileReader open_items(const IndexRequest& request) {
  EmbeddingFileReader items(request.vectors, "/item");
  if (items.rows() == 0)
    throw DataError(request.vectors + " has no item: there is nothing to index");
  if (items.rows() > kMostHnswRows || items.width() > kMostHnswWidth)
    throw DataError(request.vectors + " has " + std::to_string(items.rows()) + " vectors of " +
                    std::to_string(items.width()) + " numbers; an index holds up to " +
                    std::to_string(kMostHnswRows) + " of " + std::to_string(kMostHnswWidth));
  std::cerr << checksum_note(items);
  return items;
}

float largest_square(const EmbeddingFileReader& items) {
  double largest = 0;
  for (int64_t first = 0; first < items.rows(); first += kRowsAtOnce) {
    const int64_t count = std::min(kRowsAtOnce, items.rows() - first);
    largest = std::max(largest, items.vectors(first, count).square().sum(1).max().item<double>());
  }
  return static_cast<float>(largest);
}

HnswGraph build(const EmbeddingFileReader& items, const IndexRequest& request) {
  HnswOptions options = request.graph;
  options.largest_square = largest_square(items);
  HnswGraph graph(items.rows(), items.width(), options);
  ProgressLine line;
  for (int64_t first = 0; first < items.rows(); first += kRowsAtOnce) {
    const int64_t count = std::min(kRowsAtOnce, items.rows() - first);
    const torch::Tensor vectors = items.vectors(first, count);
    graph.add(first, {vectors.const_data_ptr<float>(), static_cast<size_t>(vectors.numel())});
    line.update("items", static_cast<double>(first + count) / static_cast<double>(items.rows()),
                line.rate("items", first + count, "vectors"));
  }
  graph.set_ef(request.ef);
  return graph;
}

// Rows spread evenly over the file: users lie in the order of a hash, so that they are a sample.
torch::Tensor spread_rows(const EmbeddingFileReader& set, int64_t count) {
  std::vector<torch::Tensor> rows;
  for (int64_t i = 0; i < std::min(count, set.rows()); ++i)
    rows.push_back(set.vectors(equal_slice(set.rows(), i, std::min(count, set.rows())).first, 1));
  return torch::cat(rows);
}

void add_noise(torch::Tensor& items) {
  const int64_t width = items.size(1);
  for (int64_t i = 0; i < items.size(0); ++i) {
    KeyedRandom random(RandomStream::kEvaluation, {i});
    const double scale = kNoise * items[i].norm().item<double>() / std::sqrt(width);
    float* numbers = items[i].data_ptr<float>();
    for (int64_t j = 0; j < width; ++j) numbers[j] += static_cast<float>(scale * random.normal());
  }
}

struct Queries {
  torch::Tensor vectors;  // [n, K, D], K vectors of a user
  std::string kind;
};

bool has_users(const std::string& path) {
  const H5File file = H5File::open(path);
  return file.has("/user/id") && file.describe("/user/id").shape != std::vector<int64_t>{0};
}

Queries make_queries(const EmbeddingFileReader& items, const IndexRequest& request) {
  if (has_users(request.vectors)) {
    const EmbeddingFileReader users(request.vectors, "/user");
    require_version(users.version(), request.vectors + " (users)", items.version(), "its items");
    const int64_t each = users.width() / items.width();  // vectors of a user
    if (each * items.width() != users.width()) require_width(users, items.width());
    return {spread_rows(users, request.queries).view({-1, each, items.width()}), "user vectors"};
  }
  torch::Tensor vectors = spread_rows(items, request.queries);
  add_noise(vectors);
  return {vectors.unsqueeze(1), "item vectors with noise"};
}

// The best rows by the largest score of a user's vectors, [K, D]: what `recommend` lists.
template <class Find>
std::vector<ScoredRow> best_of_vectors(const torch::Tensor& user, const Find& find) {
  std::vector<ScoredRow> rows;
  for (int64_t k = 0; k < user.size(0); ++k)
    std::ranges::copy(find(user[k].const_data_ptr<float>()), std::back_inserter(rows));
  return merge_best(std::move(rows), kBest);
}

// Equally good items are equally right.
double share_found(const HnswGraph& graph, const torch::Tensor& user) {
  const std::vector<ScoredRow> best =
      best_of_vectors(user, [&](const float* vector) { return graph.search_all(vector, kBest); });
  const std::vector<ScoredRow> found =
      best_of_vectors(user, [&](const float* vector) { return graph.search(vector, kBest); });
  const auto right = std::ranges::count_if(
      found, [&](const ScoredRow& one) { return one.score >= best.back().score; });
  return static_cast<double>(right) / static_cast<double>(best.size());
}

IndexRecall measure_recall(const HnswGraph& graph, const Queries& queries, int64_t threads) {
  const int64_t count = queries.vectors.size(0);
  std::vector<double> shares(static_cast<size_t>(count));
  run_on_threads(threads, count, [&](int64_t i) {
    shares[static_cast<size_t>(i)] = share_found(graph, queries.vectors[i]);
  });
  return {std::accumulate(shares.begin(), shares.end(), 0.) / static_cast<double>(count), count,
          queries.kind};
}

void require_recall(const IndexRecall& recall, const IndexRequest& request) {
  if (recall.at_10 >= request.least_recall) return;
  throw DataError("recall@10 is " + std::to_string(recall.at_10) + " over " +
                  std::to_string(recall.queries) + " " + recall.kind + ", less than " +
                  std::to_string(request.least_recall) + " (--least-recall): " + request.out +
                  " was not written. Raise --ef, --ef-construction or --m");
}

void write_ids(const EmbeddingFileReader& items, IdFileWriter& file) {
  for (int64_t first = 0; first < items.rows(); first += kRowsAtOnce)
    file.append(items.ids(first, std::min(kRowsAtOnce, items.rows() - first)));
}

// Version attributes of a file that was changed need not be UTF-8.
std::string index_text(const ItemIndexDescription& made) {
  return to_json(made).dump(2, ' ', /*ensure_ascii=*/false,
                            nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace

ItemIndexDescription write_index(const IndexRequest& request) {
  const EmbeddingFileReader items = open_items(request);
  const Queries queries = make_queries(items, request);
  PublishedFile file(request.out);
  IdFileWriter ids(request.out, items.integer_ids(), items.rows());
  write_ids(items, ids);
  const HnswGraph graph = build(items, request);
  ItemIndexDescription made{.version = items.version(),
                            .shape = {items.rows(), items.width(), request.graph.m},
                            .ef_construction = request.graph.ef_construction,
                            .ef = request.ef,
                            .integer_ids = items.integer_ids(),
                            .recall = measure_recall(graph, queries, request.graph.threads),
                            .graph = {},
                            .ids = ids.digest()};
  require_recall(made.recall, request);
  graph.save(file.path());
  made.graph = digest_file(file.path());
  file.publish();
  ids.publish();
  publish_text(index_description_name(request.out), index_text(made));
  return made;
}

}  // namespace pinnerformer
