#include "dataloader/vectors/semantic_ids.h"

#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <span>

#include "dataloader/base/errors.h"
#include "dataloader/base/published_file.h"
#include "dataloader/base/random.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/dataset/items_copy.h"
#include "dataloader/vectors/k_means.h"

namespace pinnerformer {
namespace {

constexpr int64_t kVectorsAtOnce = 8192;
constexpr double kLeastNorm = 1e-6;  // as trainer/normalise.cc

// Items that have a vector, ascending.
torch::Tensor items_with_vector(const torch::Tensor& vectors) {
  std::vector<torch::Tensor> items = {torch::empty({0}, torch::kInt64)};
  int64_t first = 0;
  for (const torch::Tensor& part : vectors.split(kVectorsAtOnce)) {
    items.push_back(part.ne(0).any(1).nonzero().squeeze(1) + first);
    first += part.size(0);
  }
  return torch::cat(items);
}

// Vectors of these items, of norm 1.
torch::Tensor unit_vectors(const torch::Tensor& vectors, const torch::Tensor& items) {
  const torch::Tensor rows = vectors.index_select(0, items).to(torch::kFloat32);
  if (!rows.isfinite().all().item<bool>())
    throw DataError(
        "an item vector holds NaN or infinity and can have no code; `pinnerformer data validate` "
        "names the item");
  return rows / rows.norm(2, 1, /*keepdim=*/true).clamp_min(kLeastNorm);
}

// At most `most` of the items, drawn at random.
torch::Tensor drawn(const torch::Tensor& items, int64_t most, int64_t seed) {
  if (items.numel() <= most) return items;
  std::vector<int64_t> places(static_cast<size_t>(items.numel()));
  std::iota(places.begin(), places.end(), int64_t{0});
  KeyedRandom random(RandomStream::kClustering, {seed});
  shuffle_front(std::span(places), most, random);
  places.resize(static_cast<size_t>(most));
  return items.index_select(0, torch::tensor(places, torch::kInt64));
}

template <class T>
std::vector<T> values_of(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.contiguous();
  return {flat.const_data_ptr<T>(), flat.const_data_ptr<T>() + flat.numel()};
}

void copy_all_vectors(const torch::Tensor& vectors, ItemsWriter& writer) {
  int64_t first = 0;
  for (const torch::Tensor& part : vectors.split(kVectorsAtOnce)) {
    writer.set_vectors(first, values_of<float>(part.to(torch::kFloat32)));
    first += part.size(0);
  }
}

}  // namespace

torch::Tensor learn_codebooks(const torch::Tensor& vectors, const CodebookOptions& options,
                              const CodebookProgress& progress) {
  const torch::Tensor items = items_with_vector(vectors);
  if (std::min(items.numel(), options.most_vectors) < options.codes)
    throw DataError(std::to_string(options.codes) + " codes for " + std::to_string(items.numel()) +
                    " items with a vector: expected at least as many items; give fewer --codes");
  torch::Tensor left = unit_vectors(vectors, drawn(items, options.most_vectors, options.seed));
  std::vector<torch::Tensor> books;
  int64_t done = 0;
  for (int64_t level = 0; level < options.levels; ++level) {
    KeyedRandom random(RandomStream::kClustering, {options.seed, level});
    books.push_back(k_means(left, options.codes, options.iterations, random, [&] {
      if (progress) progress(++done, options.levels * options.iterations);
    }));
    left = left - books.back().index_select(0, nearest_centres(left, books.back()).index);
  }
  return torch::cat(books);
}

AssignedCodes assign_codes(const torch::Tensor& vectors, const torch::Tensor& codebooks,
                           int64_t levels) {
  const std::vector<torch::Tensor> books = codebooks.split(codebooks.size(0) / levels);
  const torch::Tensor known = items_with_vector(vectors);
  SemanticIds ids{torch::full({vectors.size(0), levels}, -1, torch::kInt32), codebooks};
  std::vector<double> left(books.size(), 0);
  for (const torch::Tensor& items : known.split(kVectorsAtOnce)) {
    torch::Tensor rest = unit_vectors(vectors, items);
    for (size_t level = 0; level < books.size(); ++level) {
      const torch::Tensor found = nearest_centres(rest, books[level]).index;
      rest = rest - books[level].index_select(0, found);
      ids.codes.select(1, static_cast<int64_t>(level))
          .index_copy_(0, items, found.to(torch::kInt32));
      left[level] += rest.square().sum().item<double>();
    }
  }
  for (double& sum : left) sum /= static_cast<double>(std::max<int64_t>(1, known.numel()));
  const torch::Tensor coded = ids.codes.index_select(0, known);
  return {ids, known.numel(), std::get<0>(torch::unique_dim(coded, 0)).size(0), left};
}

void attach_semantic_ids(const std::string& directory, const SemanticIds& ids) {
  const std::string target = directory + "/" + kItemsFile;
  const ItemsFile items(target);
  ItemColumns columns = columns_of(items);
  columns.codes = {ids.levels(), values_of<int32_t>(ids.codes), values_of<float>(ids.codebooks)};
  // Not inside the dataset: see attach_item_vectors().
  PublishedFile partial(target, std::filesystem::canonical(directory).string() + ".items");
  ItemsWriter writer(partial.path(), std::move(columns),
                     {.actions = items.actions,
                      .surfaces = items.surfaces,
                      .vector_width = items.vectors.size(1),
                      .float32_vectors = items.vectors.scalar_type() == torch::kFloat32});
  copy_all_vectors(items.vectors, writer);
  writer.seal(parts_of(items));
  partial.publish();
}

}  // namespace pinnerformer
