#include "trainer/item_table_file.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "dataloader/errors.h"
#include "trainer/checkpoint.h"
#include "trainer/retry.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using Columns = std::map<std::string, torch::Tensor>;

// What is written of one column [kept, ...]: all of its rows.
SlicedTensor sliced(const std::string& name, const torch::Tensor& column, ItemIdTable& table) {
  std::vector<int64_t> shape = column.sizes().vec();
  shape[0] = table.rows();
  return {name, column.scalar_type(), shape, [column, &table](int64_t first, int64_t count) {
            return table.exchange().collect(column, first, count);
          }};
}

// Which item had which row. Every rank knows, only rank 0 is asked.
SlicedTensor id_hashes(const ItemVocabulary& vocabulary) {
  return {"id_hash",
          torch::kInt64,
          {vocabulary.items},
          [hash = vocabulary.hash](int64_t first, int64_t count) {
            torch::Tensor hashes = torch::empty({count}, torch::kInt64);
            for (int64_t i = 0; i < count; ++i)
              hashes.data_ptr<int64_t>()[i] = static_cast<int64_t>(hash(first + i));
            return hashes;
          }};
}

Columns all_columns(const ItemIdTable& table) {
  Columns columns = table.model_state();
  columns.merge(table.training_state());
  return columns;
}

// The rows of a table that changed, rank after rank. With both placements a row is one rank's:
// where all have it, rank 0 speaks.
struct Changes {
  torch::Tensor mine;           // int64, local rows
  std::vector<int64_t> counts;  // of all ranks
  int64_t total = 0;

  Changes(const ItemIdTable& table, Communicator& comm) : mine(table.changed_rows()) {
    if (table.kept().stride == 1 && comm.rank() != 0) mine = mine.narrow(0, 0, 0);
    torch::Tensor all = torch::empty({comm.size()}, torch::kInt64);
    comm.all_gather(all, torch::tensor({mine.numel()}, torch::kInt64),
                    std::vector<int64_t>(static_cast<size_t>(comm.size()), 1), "changed rows")
        ->wait();
    counts.assign(all.const_data_ptr<int64_t>(), all.const_data_ptr<int64_t>() + comm.size());
    total = all.sum().item<int64_t>();
  }

  // Values of this rank's rows among changes first .. first + count, and how many each rank has.
  template <class Values>
  torch::Tensor gather(int64_t first, int64_t count, const Values& values,
                       Communicator& comm) const {
    std::vector<int64_t> parts;
    torch::Tensor part;
    int64_t begin = 0;
    for (int rank = 0; rank < comm.size(); ++rank) {
      const int64_t end = begin + counts[static_cast<size_t>(rank)];
      const int64_t from = std::clamp(first, begin, end);
      const int64_t to = std::clamp(first + count, begin, end);
      if (rank == comm.rank()) part = values(mine.narrow(0, from - begin, to - from));
      parts.push_back(to - from);
      begin = end;
    }
    return gather_on_root(part, parts, comm, "changed rows");
  }
};

std::vector<SlicedTensor> sliced_changes(const ItemIdTable& table, Communicator& comm) {
  const auto changes = std::make_shared<Changes>(table, comm);
  const KeptRows kept = table.kept();
  std::vector<SlicedTensor> sliced{
      {"row", torch::kInt64, {changes->total}, [=, &comm](int64_t first, int64_t count) {
         const auto global = [&](const torch::Tensor& local) {
           return local * kept.stride + kept.first;
         };
         return changes->gather(first, count, global, comm);
       }}};
  for (const auto& [name, column] : all_columns(table)) {
    std::vector<int64_t> shape = column.sizes().vec();
    shape[0] = changes->total;
    sliced.push_back({name, column.scalar_type(), shape,
                      [changes, column = column, &comm](int64_t first, int64_t count) {
                        const auto values = [&](const torch::Tensor& local) {
                          return column.index_select(0, local);
                        };
                        return changes->gather(first, count, values, comm);
                      }});
  }
  return sliced;
}

// The same columns; `taken` counts the slices that were asked for.
std::vector<SlicedTensor> counted(std::vector<SlicedTensor> columns, int64_t& taken) {
  for (SlicedTensor& column : columns)
    column.slice = [slice = std::move(column.slice), &taken](int64_t first, int64_t count) {
      ++taken;
      return slice(first, count);
    };
  return columns;
}

// Takes part in the collectives behind all slices but the first `taken`.
void take_rest(const std::vector<SlicedTensor>& columns, int64_t taken) {
  int64_t number = 0;
  for (const SlicedTensor& column : columns)
    for_each_slice(column, [&](int64_t first, int64_t count) {
      if (number++ >= taken) static_cast<void>(column.slice(first, count));
    });
}

// Rank 0 writes what all ranks bring together. After an error that may pass all of them try again.
FileDigest write_columns(const std::string& path, const std::vector<SlicedTensor>& columns,
                         Communicator& comm) {
  for (size_t attempt = 0;; ++attempt) {
    FileDigest digest;
    int64_t taken = 0;
    torch::Tensor again = torch::zeros({1}, torch::kInt64);
    if (!path.empty()) try {
        digest = write_sliced_safetensors(path, counted(columns, taken));
      } catch (const PassingIoError&) {
        if (attempt == kRetryDelays.size()) throw;
        again.fill_(1);
      }
    take_rest(columns, taken);
    broadcast_from_root(again, comm, "try the item table again");
    if (again.item<int64_t>() == 0) return digest;
    if (path.empty()) continue;
    fs::remove(path);
    std::this_thread::sleep_for(kRetryDelays[attempt]);
  }
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
      throw CheckpointError(
          file.path() + " holds another item table: '" + name + "' has shape " +
          text_of(found->second.shape) + " there, " + text_of(expected) +
          " here (one row for each item or bucket, one for unknown items). Give " +
          "its own item.id_table and dataset, or a fresh run.directory");
  }
}

void load_columns(const std::string& path, const Columns& columns, ItemIdTable& table,
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

// Puts changed rows over those of the whole copy.
void load_changes(const std::string& directory, ItemIdTable& table, Communicator& comm) {
  std::optional<SafetensorsFile> file;
  torch::Tensor total = torch::full({1}, -1, torch::kInt64);
  if (comm.rank() == 0 && fs::exists(in(directory, kItemTableChangesFile))) {
    file.emplace(in(directory, kItemTableChangesFile));
    total[0] = file->entry("row", torch::kInt64, 1).shape[0];
  }
  broadcast_from_root(total, comm, "number of changed rows");
  const KeptRows kept = table.kept();
  for (const auto& [name, column] : all_columns(table)) {
    std::vector<int64_t> shape = column.sizes().vec();
    shape[0] = std::max<int64_t>(0, total.item<int64_t>());
    for_each_slice({name, column.scalar_type(), shape, {}}, [&, &name = name, &column = column](
                                                                int64_t first, int64_t count) {
      shape[0] = count;
      torch::Tensor rows = torch::empty({count}, torch::kInt64);
      torch::Tensor values = torch::empty(shape, column.options());
      if (file) {
        rows = file->read(file->entries().at("row"), first, count);
        values = file->read(file->entries().at(name), first, count);
      }
      broadcast_from_root(rows, comm, "changed rows");
      broadcast_from_root(values, comm, "changed rows");
      const torch::Tensor mine = rows.remainder(kept.stride).eq(kept.first).nonzero().flatten();
      const torch::Tensor local =
          rows.index_select(0, mine).sub(kept.first).floor_divide(kept.stride);
      column.index_copy_(0, local, values.index_select(0, mine));
    });
  }
}

SafetensorsFile open_table(const std::string& directory) try {
  return SafetensorsFile(in(directory, kItemTableFile));
} catch (const std::runtime_error& error) {
  throw CheckpointError(std::string("the item table of the checkpoint cannot be read: ") +
                        error.what());
}

// Finds items of the training dataset by the hash of their id. A dataset that keeps its items'
// order costs nothing; the map is made where one does not.
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

FileWriters item_table_writers(ItemIdTable& table, const ItemVocabulary& vocabulary,
                               Communicator& comm) {
  std::vector<SlicedTensor> model, training;
  for (const auto& [name, column] : table.model_state())
    model.push_back(sliced(name, column, table));
  for (const auto& [name, column] : table.training_state())
    training.push_back(sliced(name, column, table));
  if (comm.rank() == 0) model.push_back(id_hashes(vocabulary));
  const auto writer = [&comm](const std::vector<SlicedTensor>& columns) {
    return [columns, &comm](const std::string& path) { return write_columns(path, columns, comm); };
  };
  return {{kItemTableFile, writer(model)}, {kItemTableTrainingFile, writer(training)}};
}

void check_item_table(const std::string& directory, const ItemIdTable& table) {
  check_columns(open_table(directory), table.model_state(), table.rows());
  check_columns(SafetensorsFile(in(directory, kItemTableTrainingFile)), table.training_state(),
                table.rows());
  if (!fs::exists(in(directory, kItemTableChangesFile))) return;
  const SafetensorsFile changes(in(directory, kItemTableChangesFile));
  check_columns(changes, all_columns(table), changes.entry("row", torch::kInt64, 1).shape[0]);
}

void load_item_table(const std::string& directory, ItemIdTable& table, Communicator& comm) {
  load_columns(in(directory, kItemTableFile), table.model_state(), table, comm);
  load_columns(in(directory, kItemTableTrainingFile), table.training_state(), table, comm);
  load_changes(directory, table, comm);
}

ItemTableSaver::ItemTableSaver(ItemIdTable& table, ItemVocabulary vocabulary, int64_t full_every,
                               Communicator& comm)
    : table_(table), vocabulary_(std::move(vocabulary)), full_every_(full_every), comm_(comm) {}

bool ItemTableSaver::whole_is_due(int64_t changed) {
  if (!have_base_ || since_ + 1 >= full_every_ || 2 * changed > table_.rows()) return true;
  torch::Tensor linked = torch::zeros({1}, torch::kInt64);
  if (comm_.rank() == 0) {  // does this file system link, and is the copy still there?
    std::error_code failed;
    const std::string probe = in(base_, ".link");
    fs::create_hard_link(in(base_, kItemTableFile), probe, failed);
    linked[0] = failed ? 0 : 1;
    fs::remove(probe, failed);
  }
  broadcast_from_root(linked, comm_, "last whole item table");
  return linked.item<int64_t>() == 0;
}

FileWriters ItemTableSaver::next() {
  if (full_every_ == 1) return item_table_writers(table_, vocabulary_, comm_);
  const std::vector<SlicedTensor> changes = sliced_changes(table_, comm_);
  whole_ = whole_is_due(changes.front().shape[0]);
  if (whole_) return item_table_writers(table_, vocabulary_, comm_);
  FileWriters writers{{kItemTableChangesFile, [changes, &comm = comm_](const std::string& path) {
                         return write_columns(path, changes, comm);
                       }}};
  for (const char* file : {kItemTableFile, kItemTableTrainingFile})
    writers[file] = [base = base_, file](const std::string& path) {
      if (path.empty()) return FileDigest();
      fs::create_hard_link(in(base, file), path);
      return read_manifest(base, /*verify_files=*/false).files.at(file);
    };
  return writers;
}

void ItemTableSaver::saved(const std::string& directory) {
  base_ = directory;  // a link is as good as the copy, and stays when older checkpoints are removed
  have_base_ = true;
  since_ = whole_ ? 0 : since_ + 1;
  if (whole_) table_.forget_changes();
}

// The rows of a checkpoint, mapped: the whole copy, and what changed since.
struct StoredItemTable::Rows {
  torch::Tensor values, updates;                  // [R, E], [R] of the whole copy
  torch::Tensor changed_values, changed_updates;  // [T, E], [T]
  torch::Tensor place;    // int64 [R]: a row's own number, or R + its place among the changed ones
  torch::Tensor id_hash;  // int64 [I] of the training dataset

  Rows(const std::string& directory, const ItemTableOptions& options) {
    const SafetensorsFile whole = open_table(directory);
    check_lengths(whole, options.hash_buckets);
    values = whole.map(whole.entry("rows", torch::kFloat32, 2));
    updates = whole.map(whole.entry("updates", torch::kInt32, 1));
    id_hash = whole.map(whole.entry("id_hash", torch::kInt64, 1));
    if (!fs::exists(in(directory, kItemTableChangesFile))) return;
    const SafetensorsFile changes(in(directory, kItemTableChangesFile));
    changed_values = changes.map(changes.entry("rows", torch::kFloat32, 2));
    changed_updates = changes.map(changes.entry("updates", torch::kInt32, 1));
    const torch::Tensor rows = changes.map(changes.entry("row", torch::kInt64, 1));
    place = torch::arange(count());
    place.index_copy_(0, rows, torch::arange(count(), count() + rows.numel()));
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
    if (!place.defined()) return picked;
    const torch::Tensor places = place.index_select(0, rows);
    const torch::Tensor moved = places.ge(count()).nonzero().flatten();
    return picked.index_copy_(0, moved,
                              changed.index_select(0, places.index_select(0, moved) - count()));
  }
};

StoredItemTable::StoredItemTable(const std::string& directory, const ItemTableOptions& options,
                                 const Dataset& dataset) try
    : rows_(std::make_shared<Rows>(directory, options)) {
  const int64_t unknown = rows_->count() - 1;
  const torch::Tensor trained = rows_->updates_of(torch::arange(rows_->count())) > 0;
  ItemFinder finder(rows_->id_hash);
  row_of_item_ = torch::full({dataset.items()}, unknown, torch::kInt64);
  for (int64_t item = 0; item < dataset.items(); ++item) {
    const uint64_t hash = dataset.item_hash(item);
    const auto found = finder.find(static_cast<int64_t>(hash), item);
    if (!found) {
      ++new_items_;
      continue;
    }
    const int64_t row = options.hash_buckets > 0 ? bucket_of(hash, options.hash_buckets) : *found;
    if (trained.const_data_ptr<bool>()[row]) {
      row_of_item_.data_ptr<int64_t>()[item] = row;
    } else {
      ++untrained_items_;
    }
  }
} catch (const DataError& error) {
  throw CheckpointError(error.what());
}

torch::Tensor StoredItemTable::rows(const torch::Tensor& items) const {
  std::vector<int64_t> shape = items.sizes().vec();
  shape.push_back(rows_->values.size(1));
  return rows_->values_of(row_of_item_.index_select(0, items.flatten().cpu())).view(shape);
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
    const int64_t* hashes = table.id_hash.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < summary.items; ++i)
      taken.insert(bucket_of(static_cast<uint64_t>(hashes[i]), summary.rows));
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
