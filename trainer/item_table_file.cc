#include "trainer/item_table_file.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "dataloader/errors.h"
#include "trainer/checkpoint.h"

namespace pinnerformer {
namespace {

using Columns = std::map<std::string, torch::Tensor>;

// What is written of one column [kept, ...]: all of its rows.
SlicedTensor sliced(const std::string& name, const torch::Tensor& column, ItemTable& table) {
  std::vector<int64_t> shape = column.sizes().vec();
  shape[0] = table.rows();
  return {name, column.scalar_type(), shape, [column, &table](int64_t first, int64_t count) {
            return table.exchange().collect(column, first, count);
          }};
}

// Which item had which row. Every rank knows, only rank 0 is asked.
SlicedTensor id_hashes(const ItemVocabulary& vocabulary) {
  return {"id_hash", torch::kInt64, {vocabulary.items},
          [hash = vocabulary.hash](int64_t first, int64_t count) {
            torch::Tensor hashes = torch::empty({count}, torch::kInt64);
            for (int64_t i = 0; i < count; ++i)
              hashes.data_ptr<int64_t>()[i] = static_cast<int64_t>(hash(first + i));
            return hashes;
          }};
}

FileDigest write_columns(const std::string& path, const std::vector<SlicedTensor>& columns) {
  if (!path.empty()) return write_sliced_safetensors(path, columns);
  for (const SlicedTensor& column : columns)  // the other ranks' part in the same collectives
    for_each_slice(column, [&](int64_t first, int64_t count) {
      static_cast<void>(column.slice(first, count));
    });
  return {};
}

std::string in(const std::string& directory, const char* file) { return directory + "/" + file; }

std::string text_of(const std::vector<int64_t>& shape) { return c10::str(at::IntArrayRef(shape)); }

void check_columns(const SafetensorsFile& file, const Columns& columns, int64_t rows) {
  for (const auto& [name, column] : columns) {
    std::vector<int64_t> expected = column.sizes().vec();
    expected[0] = rows;
    const auto found = file.entries().find(name);
    if (found == file.entries().end())
      throw CheckpointError(file.path() + " has no '" + name + "': it was trained with another " +
                            "item.id_table.optimizer; give its own or a fresh run.directory");
    if (found->second.shape != expected || found->second.type != column.scalar_type())
      throw CheckpointError(file.path() + " holds another item table: '" + name + "' has shape " +
                            text_of(found->second.shape) + " there, " + text_of(expected) +
                            " here (one row for each item or bucket, one for unknown items). Give " +
                            "its own item.id_table and dataset, or a fresh run.directory");
  }
}

void load_columns(const std::string& path, const Columns& columns, ItemTable& table,
                  Communicator& comm) {
  std::optional<SafetensorsFile> file;
  if (comm.rank() == 0) file.emplace(path);
  for (const auto& [name, column] : columns) {
    const SlicedTensor plan = sliced(name, column, table);
    const auto* entry = file ? &file->entries().at(name) : nullptr;
    for_each_slice(plan, [&, &column = column](int64_t first, int64_t count) {
      std::vector<int64_t> shape = plan.shape;
      shape[0] = count;
      const torch::Tensor slice =
          entry ? file->read(*entry, first, count) : torch::empty(shape, column.options());
      table.exchange().distribute(column, slice, first);
    });
  }
}

SafetensorsFile open_table(const std::string& directory) try {
  return SafetensorsFile(in(directory, kItemTableFile));
} catch (const std::runtime_error& error) {
  throw CheckpointError(std::string("the item table of the checkpoint cannot be read: ") +
                        error.what());
}

// Finds items of the training dataset by the hash of their id. A dataset that keeps its items' order
// costs nothing; the map is made where one does not.
class ItemFinder {
 public:
  explicit ItemFinder(const torch::Tensor& hashes)
      : hashes_(hashes.const_data_ptr<int64_t>()), size_(hashes.numel()) {}

  std::optional<int64_t> find(int64_t hash, int64_t likely) {
    if (likely < size_ && hashes_[likely] == hash) return likely;
    if (by_hash_.empty()) {
      by_hash_.reserve(static_cast<size_t>(size_));
      for (int64_t i = 0; i < size_; ++i) by_hash_.emplace(hashes_[i], i);
    }
    const auto found = by_hash_.find(hash);
    return found == by_hash_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  const int64_t* hashes_;
  int64_t size_;
  std::unordered_map<int64_t, int64_t> by_hash_;
};

// Columns of one length, a row for every item or bucket.
void check_lengths(const SafetensorsFile& file, int64_t buckets) {
  const int64_t rows = file.entry("rows", torch::kFloat32, 2).shape[0];
  const int64_t updates = file.entry("updates", torch::kInt32, 1).shape[0];
  const int64_t items = file.entry("id_hash", torch::kInt64, 1).shape[0];
  if (updates != rows || (buckets > 0 ? buckets : items) + 1 != rows)
    throw CheckpointError(file.path() + " holds " + std::to_string(rows) + " rows, " +
                          std::to_string(updates) + " counts and " + std::to_string(items) +
                          " items with item.id_table.hash_buckets = " + std::to_string(buckets) +
                          ": expected as many counts as rows, and one row more than items or " +
                          "buckets");
}

}  // namespace

ItemVocabulary vocabulary_of(const Dataset& dataset) {
  return {dataset.items(), [&dataset](int64_t item) { return dataset.item_hash(item); }};
}

FileWriters item_table_writers(ItemTable& table, const ItemVocabulary& vocabulary,
                               Communicator& comm) {
  std::vector<SlicedTensor> model, training;
  for (const auto& [name, column] : table.model_state())
    model.push_back(sliced(name, column, table));
  for (const auto& [name, column] : table.training_state())
    training.push_back(sliced(name, column, table));
  if (comm.rank() == 0) model.push_back(id_hashes(vocabulary));
  return {{kItemTableFile, [model](const std::string& path) { return write_columns(path, model); }},
          {kItemTableTrainingFile,
           [training](const std::string& path) { return write_columns(path, training); }}};
}

void check_item_table(const std::string& directory, const ItemTable& table) {
  check_columns(open_table(directory), table.model_state(), table.rows());
  check_columns(SafetensorsFile(in(directory, kItemTableTrainingFile)), table.training_state(),
                table.rows());
}

void load_item_table(const std::string& directory, ItemTable& table, Communicator& comm) {
  load_columns(in(directory, kItemTableFile), table.model_state(), table, comm);
  load_columns(in(directory, kItemTableTrainingFile), table.training_state(), table, comm);
}

StoredItemTable::StoredItemTable(const std::string& directory, const ItemTableOptions& options,
                                 const Dataset& dataset) try {
  const SafetensorsFile file = open_table(directory);
  values_ = file.map(file.entry("rows", torch::kFloat32, 2));
  check_lengths(file, options.hash_buckets);
  const torch::Tensor updates = file.map(file.entry("updates", torch::kInt32, 1));
  const torch::Tensor hashes = file.map(file.entry("id_hash", torch::kInt64, 1));
  ItemFinder finder(hashes);
  const int64_t unknown = values_.size(0) - 1;
  row_of_item_ = torch::empty({dataset.items()}, torch::kInt64);
  for (int64_t item = 0; item < dataset.items(); ++item) {
    const uint64_t hash = dataset.item_hash(item);
    const auto found = finder.find(static_cast<int64_t>(hash), item);
    int64_t row = unknown;
    if (!found) {
      ++new_items_;
    } else {
      row = options.hash_buckets > 0 ? bucket_of(hash, options.hash_buckets) : *found;
      if (updates.const_data_ptr<int32_t>()[row] == 0) {
        ++untrained_items_;
        row = unknown;
      }
    }
    row_of_item_.data_ptr<int64_t>()[item] = row;
  }
} catch (const DataError& error) {
  throw CheckpointError(error.what());
}

torch::Tensor StoredItemTable::rows(const torch::Tensor& items) const {
  std::vector<int64_t> shape = items.sizes().vec();
  shape.push_back(values_.size(1));
  const torch::Tensor rows = row_of_item_.index_select(0, items.flatten().cpu());
  return values_.index_select(0, rows).view(shape);
}

ItemTableSummary summarise_item_table(const std::string& directory,
                                      const ItemTableOptions& options) try {
  const SafetensorsFile file = open_table(directory);
  check_lengths(file, options.hash_buckets);
  const auto& rows = file.entry("rows", torch::kFloat32, 2);
  const auto& updates = file.entry("updates", torch::kInt32, 1);
  const torch::Tensor hashes = file.map(file.entry("id_hash", torch::kInt64, 1));
  ItemTableSummary summary;
  summary.items = hashes.numel();
  summary.rows = rows.shape[0] - 1;
  summary.width = rows.shape[1];
  if (options.hash_buckets > 0) {
    std::unordered_set<int64_t> taken;
    for (int64_t i = 0; i < hashes.numel(); ++i)
      taken.insert(bucket_of(static_cast<uint64_t>(hashes.const_data_ptr<int64_t>()[i]),
                             summary.rows));
    summary.collisions = summary.items - static_cast<int64_t>(taken.size());
  }
  double sum = 0;
  for_each_slice({"rows", rows.type, {summary.rows, summary.width}, {}},
                 [&](int64_t first, int64_t count) {
                   const torch::Tensor trained = file.read(updates, first, count) > 0;
                   const torch::Tensor norms =
                       file.read(rows, first, count).norm(2, 1).masked_select(trained);
                   if (norms.numel() == 0) return;
                   summary.trained_rows += norms.numel();
                   sum += norms.sum(torch::kFloat64).item<double>();
                   summary.largest_norm =
                       std::max(summary.largest_norm, norms.max().item<double>());
                 });
  if (summary.trained_rows > 0) summary.mean_norm = sum / static_cast<double>(summary.trained_rows);
  summary.unknown_norm = file.read(rows, summary.rows, 1).norm().item<double>();
  return summary;
} catch (const DataError& error) {
  throw CheckpointError(error.what());
}

}  // namespace pinnerformer
