#include "trainer/checkpoint/item_table_file.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>
#include <utility>

#include "comm/rows/row_transport.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/retry.h"
#include "trainer/checkpoint/checkpoint.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
using Columns = std::map<std::string, torch::Tensor>;

// All rows of a column [kept, ...], for writing.
SlicedTensor sliced(const std::string& name, const torch::Tensor& column, ItemTable& table) {
  std::vector<int64_t> shape = column.sizes().vec();
  shape[0] = table.rows();
  return {name, column.scalar_type(), shape, [column, &table](int64_t first, int64_t count) {
            return table.exchange().collect(column, first, count);
          }};
}

// The hash of the id of every item, by row. Every rank can compute it; only rank 0 does.
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

Columns all_columns(const ItemTable& table) {
  Columns columns = table.model_state();
  columns.merge(table.training_state());
  return columns;
}

// The rows of a table that changed, rank after rank. Each row is sent by one rank only: rank 0
// where all ranks hold the table.
struct Changes {
  torch::Tensor mine;           // int64, local rows
  std::vector<int64_t> counts;  // of all ranks
  int64_t total = 0;

  Changes(const ItemTable& table, Communicator& comm) : mine(table.changed_rows()) {
    if (table.owned().stride == 1 && comm.rank() != 0) mine = mine.narrow(0, 0, 0);
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
    return gather_on_coordinator(part, parts, comm, "changed rows");
  }
};

std::vector<SlicedTensor> sliced_changes(const ItemTable& table, Communicator& comm) {
  const auto changes = std::make_shared<Changes>(table, comm);
  const OwnedRows kept = table.owned();
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
                          return column.index_select(0, local.to(column.device())).cpu();
                        };
                        return changes->gather(first, count, values, comm);
                      }});
  }
  return sliced;
}

// The same columns; `taken` counts the slices that were read.
std::vector<SlicedTensor> counted(std::vector<SlicedTensor> columns, int64_t& taken) {
  for (SlicedTensor& column : columns)
    column.slice = [slice = std::move(column.slice), &taken](int64_t first, int64_t count) {
      ++taken;
      return slice(first, count);
    };
  return columns;
}

// Takes part in the collectives of all slices but the first `taken`.
void take_rest(const std::vector<SlicedTensor>& columns, int64_t taken) {
  int64_t number = 0;
  for (const SlicedTensor& column : columns)
    for_each_slice(column, [&](int64_t first, int64_t count) {
      if (number++ >= taken) static_cast<void>(column.slice(first, count));
    });
}

// Rank 0 writes the values of all ranks. After a transient error all ranks try again.
FileDigest write_columns(const std::string& path, const std::vector<SlicedTensor>& columns,
                         Communicator& comm) {
  for (size_t attempt = 0;; ++attempt) {
    FileDigest digest;
    int64_t taken = 0;
    torch::Tensor again = torch::zeros({1}, torch::kInt64);
    if (!path.empty()) try {
        digest = write_sliced_safetensors(path, counted(columns, taken));
      } catch (const TransientIoError&) {
        if (attempt == kRetryDelays.size()) throw;
        again.fill_(1);
      }
    take_rest(columns, taken);
    broadcast_from_coordinator(again, comm, "try the item table again");
    if (again.item<int64_t>() == 0) return digest;
    if (path.empty()) continue;
    fs::remove(path);
    std::this_thread::sleep_for(kRetryDelays[attempt]);
  }
}

// Bytes that a program can still allocate without swapping; 0 where the kernel does not say.
int64_t free_memory_bytes() {
  std::ifstream lines("/proc/meminfo");
  for (std::string name, unit, rest; lines >> name >> unit; std::getline(lines, rest))
    if (name == "MemAvailable:") return std::strtoll(unit.c_str(), nullptr, 10) << 10;
  return 0;
}

int64_t bytes_of(const SlicedTensor& tensor) {
  int64_t bytes = static_cast<int64_t>(c10::elementSize(tensor.type));
  for (const int64_t size : tensor.shape) bytes *= size;
  return bytes;
}

// Collects a column of all ranks in `copy` on rank 0, reusing its memory, and returns it as a
// column that needs no other rank. Every rank must call it.
SlicedTensor collected(const SlicedTensor& column, torch::Tensor& copy, bool coordinator) {
  if (coordinator && (!copy.defined() || copy.sizes() != at::IntArrayRef(column.shape)))
    copy = torch::empty(column.shape, column.type);
  for_each_slice(column, [&](int64_t first, int64_t count) {
    const torch::Tensor slice = column.slice(first, count);
    if (coordinator) copy.narrow(0, first, count).copy_(slice);
  });
  return {column.name, column.type, column.shape,
          [copy](int64_t first, int64_t count) { return copy.narrow(0, first, count); }};
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
                            "item.table.optimizer; give its own or a fresh run.directory");
    if (found->second.shape != expected || found->second.type != column.scalar_type())
      throw CheckpointError(
          file.path() + " holds another item table: '" + name + "' has shape " +
          text_of(found->second.shape) + " there, " + text_of(expected) +
          " here (one row for each item or bucket, one for unknown items). Give " +
          "its own item.table and dataset, or a fresh run.directory");
  }
}

// A row that the table does not have cannot be written to it.
void check_rows(const SafetensorsFile& changes, int64_t rows) {
  const auto& entry = changes.entry("row", torch::kInt64, 1);
  for_each_slice({"row", torch::kInt64, entry.shape, {}}, [&](int64_t first, int64_t count) {
    const torch::Tensor numbers = changes.read(entry, first, count);
    if (numbers.lt(0).logical_or_(numbers.ge(rows)).any().item<bool>())
      throw CheckpointError(changes.path() +
                            " holds values of rows that the table does not have: " +
                            "expected rows from 0 to " + std::to_string(rows - 1));
  });
}

// A file of the table in the checkpoint `directory`.
SafetensorsFile open_table_file(const std::string& directory, const char* file) try {
  return SafetensorsFile(in(directory, file));
} catch (const std::runtime_error& error) {
  throw CheckpointError(std::string("the item table of the checkpoint cannot be read: ") +
                        error.what());
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

// Puts changed rows over those of the whole copy.
void load_changes(const std::string& directory, ItemTable& table, Communicator& comm) {
  std::optional<SafetensorsFile> file;
  torch::Tensor total = torch::full({1}, -1, torch::kInt64);
  if (comm.rank() == 0) file = open_item_table_changes(directory, table.rows());
  if (file) total[0] = file->entry("row", torch::kInt64, 1).shape[0];
  broadcast_from_coordinator(total, comm, "number of changed rows");
  const OwnedRows kept = table.owned();
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
      broadcast_from_coordinator(rows, comm, "changed rows");
      broadcast_from_coordinator(values, comm, "changed rows");
      const torch::Tensor mine = rows.remainder(kept.stride).eq(kept.first).nonzero().flatten();
      const torch::Tensor local =
          rows.index_select(0, mine).sub(kept.first).floor_divide(kept.stride);
      column.index_copy_(0, local, values.index_select(0, mine));
    });
  }
}

}  // namespace

SafetensorsFile open_item_table(const std::string& directory) {
  return open_table_file(directory, kItemTableFile);
}

std::optional<SafetensorsFile> open_item_table_changes(const std::string& directory, int64_t rows) {
  if (!fs::exists(in(directory, kItemTableChangesFile))) return std::nullopt;
  SafetensorsFile changes = open_table_file(directory, kItemTableChangesFile);
  check_rows(changes, rows);
  return changes;
}

ItemVocabulary vocabulary_of(const Dataset& dataset) {
  return {dataset.items(), [&dataset](int64_t item) { return dataset.item_hash(item); }};
}

namespace {

std::map<std::string, std::vector<SlicedTensor>> whole_files(ItemTable& table,
                                                             const ItemVocabulary& vocabulary,
                                                             const Communicator& comm) {
  std::vector<SlicedTensor> model, training;
  for (const auto& [name, column] : table.model_state())
    model.push_back(sliced(name, column, table));
  for (const auto& [name, column] : table.training_state())
    training.push_back(sliced(name, column, table));
  if (comm.rank() == 0) model.push_back(id_hashes(vocabulary));
  return {{kItemTableFile, model}, {kItemTableTrainingFile, training}};
}

FileWriters streaming(const std::map<std::string, std::vector<SlicedTensor>>& files,
                      Communicator& comm) {
  FileWriters writers;
  for (const auto& [name, columns] : files)
    writers[name] = [columns = columns, &comm](const std::string& path) {
      return write_columns(path, columns, comm);
    };
  return writers;
}

}  // namespace

FileWriters item_table_writers(ItemTable& table, const ItemVocabulary& vocabulary,
                               Communicator& comm) {
  return streaming(whole_files(table, vocabulary, comm), comm);
}

void check_item_table(const std::string& directory, const ItemTable& table) {
  check_columns(open_item_table(directory), table.model_state(), table.rows());
  check_columns(open_table_file(directory, kItemTableTrainingFile), table.training_state(),
                table.rows());
  const auto changes = open_item_table_changes(directory, table.rows());
  if (changes)
    check_columns(*changes, all_columns(table), changes->entry("row", torch::kInt64, 1).shape[0]);
}

void load_item_table(const std::string& directory, ItemTable& table, Communicator& comm) {
  load_columns(in(directory, kItemTableFile), table.model_state(), table, comm);
  load_columns(in(directory, kItemTableTrainingFile), table.training_state(), table, comm);
  load_changes(directory, table, comm);
}

ItemTableSaver::ItemTableSaver(ItemTable& table, ItemVocabulary vocabulary, int64_t full_every,
                               Communicator& comm)
    : table_(table), vocabulary_(std::move(vocabulary)), full_every_(full_every), comm_(comm) {}

bool ItemTableSaver::whole_is_due(int64_t changed) {
  if (!have_base_ || since_ + 1 >= full_every_ || 2 * changed > table_.rows()) return true;
  torch::Tensor linked = torch::zeros({1}, torch::kInt64);
  if (comm_.rank() == 0) {  // whether this file system has links, and the copy still exists
    std::error_code failed;
    const std::string probe = in(base_, ".link");
    fs::create_hard_link(in(base_, kItemTableFile), probe, failed);
    linked[0] = failed ? 0 : 1;
    fs::remove(probe, failed);
  }
  broadcast_from_coordinator(linked, comm_, "last whole item table");
  return linked.item<int64_t>() == 0;
}

bool ItemTableSaver::fits_into_memory(const Files& files) {
  constexpr int64_t kShare = 4;
  int64_t bytes = 0;
  for (const auto& [name, columns] : files)
    for (const SlicedTensor& column : columns) bytes += bytes_of(column);
  int64_t held = 0;
  for (const auto& [name, copy] : copies_)
    if (copy.defined()) held += static_cast<int64_t>(copy.nbytes());
  torch::Tensor fits = torch::zeros({1}, torch::kInt64);
  if (comm_.rank() == 0) fits[0] = bytes <= std::max(held, free_memory_bytes() / kShare) ? 1 : 0;
  broadcast_from_coordinator(fits, comm_, "copy of the item table");
  return fits.item<int64_t>() == 1;
}

TableWriters ItemTableSaver::writers_of(const Files& files) {
  if (!fits_into_memory(files)) {
    copies_.clear();
    return {streaming(files, comm_), {}};
  }
  const bool coordinator = comm_.rank() == 0;
  TableWriters writers;
  for (const auto& [name, columns] : files) {
    std::vector<SlicedTensor> copies;
    for (const SlicedTensor& column : columns)
      copies.push_back(collected(column, copies_[name + "/" + column.name], coordinator));
    if (coordinator)
      writers.later[name] = [copies](const std::string& path) {
        return write_sliced_safetensors(path, copies);
      };
  }
  return writers;
}

TableWriters ItemTableSaver::next() {
  if (full_every_ == 1) return writers_of(whole_files(table_, vocabulary_, comm_));
  const std::vector<SlicedTensor> changes = sliced_changes(table_, comm_);
  whole_ = whole_is_due(changes.front().shape[0]);
  if (whole_) return writers_of(whole_files(table_, vocabulary_, comm_));
  TableWriters writers = writers_of({{kItemTableChangesFile, changes}});
  for (const char* file : {kItemTableFile, kItemTableTrainingFile})
    writers.now[file] = [base = base_, file](const std::string& path) {
      if (path.empty()) return FileDigest();
      fs::create_hard_link(in(base, file), path);
      return read_manifest(base, /*verify_files=*/false).files.at(file);
    };
  return writers;
}

void ItemTableSaver::saved(const std::string& directory) {
  base_ = directory;  // its hard links stay when older checkpoints are removed
  have_base_ = true;
  since_ = whole_ ? 0 : since_ + 1;
  if (whole_) table_.forget_changes();
}

}  // namespace pinnerformer
