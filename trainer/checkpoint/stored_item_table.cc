#include "trainer/checkpoint/stored_item_table.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/item_table_file.h"
#include "trainer/items/item_lookup.h"

namespace pinnerformer {
namespace {

// Finds items of the training dataset by the hash of their id. The map is made only if the
// dataset's items are in another order.
class ItemFinder {
 public:
  explicit ItemFinder(const torch::Tensor& hashes)
      : hashes_(hashes.const_data_ptr()), size_(hashes.numel()) {}

  std::optional<int64_t> find(int64_t hash, int64_t likely) {
    if (likely < size_ && int64_at(hashes_, likely) == hash) return likely;
    if (by_hash_.empty()) {
      by_hash_.reserve(static_cast<size_t>(size_));
      for (int64_t i = 0; i < size_; ++i) by_hash_.emplace(int64_at(hashes_, i), i);
    }
    const auto found = by_hash_.find(hash);
    return found == by_hash_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  const void* hashes_;  // int64 in a mapped file
  int64_t size_;
  std::unordered_map<int64_t, int64_t> by_hash_;
};

// Columns must have one length, a row for every item or bucket, and rows the configured width.
void check_whole(const SafetensorsFile& file, const ItemTableOptions& options) {
  const int64_t buckets = options.hash_buckets;
  const int64_t rows = file.entry("rows", torch::kFloat32, 2).shape[0];
  const int64_t width = file.entry("rows", torch::kFloat32, 2).shape[1];
  const int64_t updates = file.entry("updates", torch::kInt32, 1).shape[0];
  const int64_t items = file.entry("id_hash", torch::kInt64, 1).shape[0];
  if (updates != rows || (buckets > 0 ? buckets : items) + 1 != rows)
    throw CheckpointError(file.path() + " holds " + std::to_string(rows) + " rows, " +
                          std::to_string(updates) + " counts and " + std::to_string(items) +
                          " items with item.table.hash_buckets = " + std::to_string(buckets) +
                          ": expected as many counts as rows, and one row more than items or " +
                          "buckets");
  if (width != options.dim)
    throw CheckpointError(file.path() + " holds rows of width " + std::to_string(width) +
                          ", the checkpoint's configuration says " + std::to_string(options.dim));
}

void check_changes(const SafetensorsFile& file, int64_t width) {
  const int64_t count = file.entry("row", torch::kInt64, 1).shape[0];
  const std::vector<int64_t> values{count, width};
  if (file.entry("rows", torch::kFloat32, 2).shape != values ||
      file.entry("updates", torch::kInt32, 1).shape[0] != count)
    throw CheckpointError(file.path() + ": its columns differ in length or width from each other " +
                          "or from the table; expected " + std::to_string(count) +
                          " rows of width " + std::to_string(width));
}

}  // namespace

// The rows of a checkpoint, mapped: the last whole copy, and the rows that changed since.
struct StoredItemTable::Rows {
  torch::Tensor values, updates;                  // [R, E], [R] of the whole copy
  torch::Tensor changed_values, changed_updates;  // [T, E], [T]
  // int64 [R]: the row's own number, or R + its index among the changed rows.
  torch::Tensor position;
  torch::Tensor id_hash;  // int64 [I] of the training dataset

  Rows(const std::string& directory, const ItemTableOptions& options) {
    const SafetensorsFile whole = open_item_table(directory);
    check_whole(whole, options);
    values = whole.map(whole.entry("rows", torch::kFloat32, 2));
    updates = whole.map(whole.entry("updates", torch::kInt32, 1));
    id_hash = whole.map(whole.entry("id_hash", torch::kInt64, 1));
    if (const auto changes = open_item_table_changes(directory, count())) add(*changes);
  }

  void add(const SafetensorsFile& changes) {
    check_changes(changes, values.size(1));
    changed_values = changes.map(changes.entry("rows", torch::kFloat32, 2));
    changed_updates = changes.map(changes.entry("updates", torch::kInt32, 1));
    const torch::Tensor rows = changes.map(changes.entry("row", torch::kInt64, 1));
    position = torch::arange(count());
    position.index_copy_(0, rows, torch::arange(count(), count() + rows.numel()));
  }

  [[nodiscard]] int64_t count() const { return values.size(0); }
  // Of these rows, int64 [n]: values [n, E] and updates [n].
  [[nodiscard]] torch::Tensor values_of(const torch::Tensor& rows) const {
    return pick(rows, values, changed_values);
  }
  [[nodiscard]] torch::Tensor updates_of(const torch::Tensor& rows) const {
    return pick(rows, updates, changed_updates);
  }

 private:
  [[nodiscard]] torch::Tensor pick(const torch::Tensor& rows, const torch::Tensor& whole,
                                   const torch::Tensor& changed) const {
    torch::Tensor picked = whole.index_select(0, rows);
    if (!position.defined()) return picked;
    const torch::Tensor positions = position.index_select(0, rows);
    const torch::Tensor moved = positions.ge(count()).nonzero().flatten();
    return picked.index_copy_(0, moved,
                              changed.index_select(0, positions.index_select(0, moved) - count()));
  }
};

StoredItemTable::StoredItemTable(const std::string& directory, const ItemTableOptions& options,
                                 const Dataset& dataset, std::optional<bool> integer_ids) try
    : rows_(std::make_shared<Rows>(directory, options)), hashed_(options.hash_buckets > 0) {
  find_rows(options, dataset, integer_ids.value_or(dataset.item_ids_are_integers()));
  if (!integer_ids && new_items_ == dataset.items())  // a checkpoint that does not say the type
    find_rows(options, dataset, !dataset.item_ids_are_integers());
} catch (const DataError& error) {
  throw CheckpointError(error.what());
}

void StoredItemTable::find_rows(const ItemTableOptions& options, const Dataset& dataset,
                                bool integers) {
  new_items_ = untrained_items_ = 0;
  const int64_t unknown = rows_->count() - 1;
  const torch::Tensor trained = rows_->updates_of(torch::arange(rows_->count())) > 0;
  ItemFinder finder(rows_->id_hash);
  row_of_item_ = torch::full({dataset.items()}, unknown, torch::kInt64);
  for (int64_t item = 0; item < dataset.items(); ++item) {
    const std::optional<uint64_t> hash = dataset.item_hash_as(integers, item);
    const auto found =
        hash ? finder.find(static_cast<int64_t>(*hash), item) : std::optional<int64_t>();
    if (!found) {
      ++new_items_;
      continue;
    }
    const int64_t row = options.hash_buckets > 0 ? bucket_of(*hash, options.hash_buckets) : *found;
    if (trained.const_data_ptr<bool>()[row]) {
      row_of_item_.data_ptr<int64_t>()[item] = row;
    } else {
      ++untrained_items_;
    }
  }
}

torch::Tensor StoredItemTable::rows(const torch::Tensor& items) const {
  std::vector<int64_t> shape = items.sizes().vec();
  shape.push_back(rows_->values.size(1));
  return rows_->values_of(row_of_item_.index_select(0, items.flatten().cpu())).view(shape);
}

StoredItemTable::TableRows StoredItemTable::table_rows(int64_t first, int64_t count) const {
  const int64_t unknown = rows_->count() - 1;
  torch::Tensor source = torch::arange(first, first + count);
  torch::Tensor trained = torch::ones({count}, torch::kBool);
  if (!hashed_) {  // the table has a row for each item of the dataset, and the unknown one
    const int64_t items = std::min(count, row_of_item_.numel() - first);
    source.fill_(unknown);
    source.narrow(0, 0, items).copy_(row_of_item_.narrow(0, first, items));
    trained.narrow(0, 0, items).copy_(source.narrow(0, 0, items) != unknown);
  }
  return {rows_->values_of(source), trained.logical_and_(rows_->updates_of(source) > 0)};
}

torch::Tensor StoredItemTable::unknown_row() const {
  return rows_->values_of(torch::tensor({rows_->count() - 1}, torch::kInt64))[0];
}

ItemTableSummary summarise_item_table(const std::string& directory,
                                      const ItemTableOptions& options) try {
  const StoredItemTable::Rows table(directory, options);
  ItemTableSummary summary;
  summary.items = table.id_hash.numel();
  summary.rows = table.count() - 1;
  summary.width = table.values.size(1);
  if (table.changed_updates.defined()) summary.changed_rows = table.changed_updates.numel();
  if (options.hash_buckets > 0) {
    std::unordered_set<int64_t> taken;
    const void* hashes = table.id_hash.const_data_ptr();
    for (int64_t i = 0; i < summary.items; ++i)
      taken.insert(bucket_of(static_cast<uint64_t>(int64_at(hashes, i)), summary.rows));
    summary.collisions = summary.items - static_cast<int64_t>(taken.size());
  }
  double sum = 0;
  for_each_slice({"rows", torch::kFloat32, {summary.rows, summary.width}, {}}, [&](int64_t first,
                                                                                   int64_t count) {
    const torch::Tensor rows = torch::arange(first, first + count);
    const torch::Tensor norms =
        table.values_of(rows).norm(2, 1).masked_select(table.updates_of(rows) > 0);
    if (norms.numel() == 0) return;
    summary.trained_rows += norms.numel();
    sum += norms.sum(torch::kFloat64).item<double>();
    summary.largest_norm = std::max(summary.largest_norm, norms.max().item<double>());
  });
  if (summary.trained_rows > 0) summary.mean_norm = sum / static_cast<double>(summary.trained_rows);
  summary.unknown_norm =
      table.values_of(torch::tensor({summary.rows}, torch::kInt64)).norm().item<double>();
  return summary;
} catch (const DataError& error) {
  throw CheckpointError(error.what());
}

}  // namespace pinnerformer
