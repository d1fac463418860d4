// Writes the item table of a training to a checkpoint and reads it back
// (docs/checkpoint_format.md). All ranks stream it in slices, in the order of the rows, so that any
// number of ranks and either placement can read it.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataloader/base/durable_file.h"
#include "dataloader/dataset/dataset.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/safetensors.h"
#include "trainer/items/item_lookup.h"
#include "trainer/items/item_table.h"

namespace pinnerformer {

// The whole copy of the table in a checkpoint. Throws CheckpointError where it cannot be read.
[[nodiscard]] SafetensorsFile open_item_table(const std::string& directory);
// The rows that changed since that copy, where the checkpoint has such a file. Throws
// CheckpointError where it cannot be read or names a row outside of 0 .. rows - 1.
[[nodiscard]] std::optional<SafetensorsFile> open_item_table_changes(const std::string& directory,
                                                                     int64_t rows);

// The items that the rows are for, by the hash of their external ids (Dataset::item_hash).
struct ItemVocabulary {
  int64_t items = 0;
  std::function<uint64_t(int64_t item)> hash;
};
[[nodiscard]] ItemVocabulary vocabulary_of(const Dataset& dataset);  // which must outlive it

// By file name, a function that writes the file to a path. Every rank must call each, in this
// order; all but rank 0 pass "" and write nothing. Rank 0 needs memory for a few slices of 16 MiB.
using FileWriters = std::map<std::string, std::function<FileDigest(const std::string& path)>>;
// The whole table.
[[nodiscard]] FileWriters item_table_writers(ItemTable& table, const ItemVocabulary& vocabulary,
                                             Communicator& comm);

// How the files of one checkpoint are written.
struct TableWriters {
  FileWriters now;    // every rank must call each
  FileWriters later;  // rank 0 alone; they hold a copy of the rows
};

// Saves a table at every checkpoint: whole, or as hard links to the last whole copy together with
// the rows that changed since then. Every checkpoint can be read, moved and removed by itself.
//   TableWriters writers = saver.next();   // of one checkpoint
//   ... write them ...
// Files of up to a quarter of the memory that is free on rank 0 are copied there, so that the
// training need not wait for the disk; the memory of the copy is kept for the next save. Larger
// ones are streamed.
//   saver.saved(path);
class ItemTableSaver {
 public:
  // A whole copy at least every `full_every` checkpoints. The references must outlive the saver.
  ItemTableSaver(ItemTable& table, ItemVocabulary vocabulary, int64_t full_every,
                 Communicator& comm);

  // Writers of a whole copy if `full_every` is reached, if more than half of the rows changed since
  // the last whole copy, if this process has made none yet, or if that copy cannot be linked to;
  // otherwise of links and changed rows. Every rank must call it.
  // The writers of the save before must have ended.
  [[nodiscard]] TableWriters next();
  // The directory of the checkpoint that next() was for; read on rank 0 only.
  void saved(const std::string& directory);

 private:
  using Files = std::map<std::string, std::vector<SlicedTensor>>;
  [[nodiscard]] bool whole_is_due(int64_t changed);
  [[nodiscard]] bool fits_into_memory(const Files& files);
  [[nodiscard]] TableWriters writers_of(const Files& files);

  ItemTable& table_;
  ItemVocabulary vocabulary_;
  int64_t full_every_;
  Communicator& comm_;
  std::string base_;   // directory of the last checkpoint, on rank 0
  int64_t since_ = 0;  // checkpoints after it
  bool have_base_ = false;
  bool whole_ = true;                            // what next() decided
  std::map<std::string, torch::Tensor> copies_;  // by file and column, on rank 0
};

// Throws CheckpointError where the table in the checkpoint `directory` has other rows, another
// width or another update rule than `table`. Called on one rank.
void check_item_table(const std::string& directory, const ItemTable& table);
// Reads it back, in slices. Every rank must call it; `directory` is read on rank 0 only.
void load_item_table(const std::string& directory, ItemTable& table, Communicator& comm);

}  // namespace pinnerformer
