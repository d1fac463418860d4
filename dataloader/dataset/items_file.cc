// Everything but the vectors is small enough to be read at open.
#include "dataloader/dataset/items_file.h"

#include <algorithm>
#include <functional>

#include "dataloader/base/errors.h"
#include "dataloader/base/sparse_file.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/dataset/users_file.h"

namespace pinnerformer {
namespace {

std::vector<std::string> read_names(const H5File& file, const std::string& dataset) {
  std::vector<std::string> names;
  file.read_strings(dataset, [&names](std::string_view name) { names.emplace_back(name); });
  const auto before = std::ranges::adjacent_find(names, std::greater_equal<>());
  if (before == names.end()) return names;
  throw DataError(file.path() + ": dataset " + dataset + ", row " +
                  std::to_string(before - names.begin() + 1) +
                  ": expected names in ascending order, each once, found '" + *(before + 1) +
                  "' after '" + *before + "'");
}

void check_rows(const H5File& file, const std::string& dataset, int64_t found, int64_t items) {
  if (found == items) return;
  throw DataError(file.path() + ": dataset " + dataset + ": expected " + std::to_string(items) +
                  " rows, as /item/id has, found " + std::to_string(found));
}

void check_codes_shape(const H5File& file, const ArrayLayout& codes, const ArrayLayout& books,
                       int64_t vector_width) {
  const int64_t levels = codes.shape[1], rows = books.shape[0];
  if (levels < 1 || levels > kMostCodeLevels)
    throw DataError(file.path() + ": dataset " + kCodesColumn + ": expected 1 to " +
                    std::to_string(kMostCodeLevels) + " codes of an item, found " +
                    std::to_string(levels));
  if (vector_width > 0 && books.shape[1] == vector_width && rows >= levels && rows % levels == 0 &&
      rows / levels <= kMostCodesOfLevel)
    return;
  throw DataError(file.path() + ": dataset " + kCodebooksColumn + ": expected [" +
                  std::to_string(levels) + " * V, " + std::to_string(vector_width) +
                  "] with V of 1 to " + std::to_string(kMostCodesOfLevel) +
                  ", as the codes and the vectors have it, found [" + std::to_string(rows) + ", " +
                  std::to_string(books.shape[1]) + "]");
}

void check_codes(const H5File& file, const SemanticIds& ids) {
  const torch::Tensor known = ids.codes.ge(0).all(1), unknown = ids.codes.eq(-1).all(1);
  const torch::Tensor bad = (known.logical_and(ids.codes.lt(ids.codes_of_level()).all(1)))
                                .logical_or(unknown)
                                .logical_not()
                                .nonzero();
  if (bad.numel() > 0)
    throw DataError(file.path() + ": dataset " + kCodesColumn + ", row " +
                    std::to_string(bad[0].item<int64_t>()) + ": expected codes of 0 to " +
                    std::to_string(ids.codes_of_level() - 1) + ", or -1 in all levels");
  if (!ids.codebooks.isfinite().all().item<bool>())
    throw DataError(file.path() + ": dataset " + kCodebooksColumn + ": expected finite numbers");
}

}  // namespace

ItemsFile::ItemsFile(const std::string& path) {
  require_written(File::open(path));
  const H5File file = H5File::open(path);
  check_format(file);
  read_attributes(file);
  actions = read_names(file, "/vocabulary/action");
  surfaces = read_names(file, "/vocabulary/surface");
  read_ids(file);
  if (file.has("/item/title")) {
    has_titles = true;
    file.read_strings("/item/title", [this](std::string_view title) { titles.push_back(title); });
    check_rows(file, "/item/title", titles.size(), ids.size());
  }
  if (file.has("/item/topic")) read_topics(file);
  if (file.has("/item/vector")) map_vectors(file);
  if (file.has(kCodesColumn) || file.has(kCodebooksColumn)) read_semantic_ids(file);
}

void ItemsFile::read_attributes(const H5File& file) {
  fingerprint = file.text_attribute("fingerprint");
  first_time = file.integer_attribute("first_time");
  last_time = file.integer_attribute("last_time");
  for (const int64_t time : {first_time, last_time}) {
    if (is_storable_time(time)) continue;
    throw DataError(file.path() + ": attributes first_time and last_time: expected " +
                    kStorableTimes + ", found " + std::to_string(time));
  }
  part_users = file.read_integers("/part/users");
  part_events = file.read_integers("/part/events");
  part_fingerprints = file.read_words("/part/fingerprint");
  if (part_users.empty() || part_events.size() != part_users.size() ||
      part_fingerprints.size() != part_users.size()) {
    throw DataError(file.path() + ": the datasets of /part differ in length or are empty");
  }
}

void ItemsFile::read_ids(const H5File& file) {
  if (file.holds_strings("/item/id")) {
    ids = IdColumn(false);
    file.read_strings("/item/id", [this](std::string_view id) { ids.push_back(id); });
    return;
  }
  for (const int64_t id : file.read_integers("/item/id")) ids.push_back(id);
}

void ItemsFile::read_topics(const H5File& file) {
  topic_names = read_names(file, "/vocabulary/topic");
  const ArrayLayout layout = file.layout("/item/topic", {ElementType::kInt32}, 1);
  check_rows(file, "/item/topic", layout.shape[0], ids.size());
  topics.resize(static_cast<size_t>(ids.size()));
  File::open(file.path()).read_at(layout.offset, topics.data(), layout.bytes);
  for (size_t i = 0; i < topics.size(); ++i) {
    if (topics[i] < -1 || topics[i] >= static_cast<int64_t>(topic_names.size())) {
      throw DataError(file.path() + ": dataset /item/topic, row " + std::to_string(i) +
                      ": expected -1 to " + std::to_string(topic_names.size()) + " - 1, found " +
                      std::to_string(topics[i]));
    }
  }
}

void ItemsFile::read_semantic_ids(const H5File& file) {
  const ArrayLayout codes = file.layout(kCodesColumn, {ElementType::kInt32}, 2);
  const ArrayLayout books = file.layout(kCodebooksColumn, {ElementType::kFloat32}, 2);
  check_rows(file, kCodesColumn, codes.shape[0], ids.size());
  check_codes_shape(file, codes, books, vectors.defined() ? vectors.size(1) : 0);
  const File raw = File::open(file.path());
  semantic_ids.codes = torch::empty(codes.shape, torch::kInt32);
  semantic_ids.codebooks = torch::empty(books.shape);
  raw.read_at(codes.offset, semantic_ids.codes.data_ptr(), codes.bytes);
  raw.read_at(books.offset, semantic_ids.codebooks.data_ptr(), books.bytes);
  check_codes(file, semantic_ids);
}

void ItemsFile::map_vectors(const H5File& file) {
  const ArrayLayout layout =
      file.layout("/item/vector", {ElementType::kFloat16, ElementType::kFloat32}, 2);
  check_rows(file, "/item/vector", layout.shape[0], ids.size());
  if (layout.shape[1] < 1 || layout.shape[1] > kWidestVector)
    throw DataError(file.path() + ": dataset /item/vector: expected vectors of 1 to " +
                    std::to_string(kWidestVector) + " numbers, found " +
                    std::to_string(layout.shape[1]));
  const File raw = File::open(file.path());
  const auto map = std::make_shared<ReadOnlyMap>(raw, layout.offset, layout.bytes);
  const auto type = layout.type == ElementType::kFloat16 ? torch::kFloat16 : torch::kFloat32;
  // from_blob takes a mutable pointer; the map is read only, so a write would end the process.
  // The tensor keeps the map alive.
  vectors = torch::from_blob(
      const_cast<void*>(map->data()), layout.shape, [map](void*) {},
      torch::TensorOptions().dtype(type));
}

}  // namespace pinnerformer
