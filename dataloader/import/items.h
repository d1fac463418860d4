// The items of an import: collected from events, attributes and vectors, then put in order.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "dataloader/dataset/dataset_writer.h"
#include "dataloader/import/id_dictionary.h"
#include "dataloader/import/import.h"
#include "dataloader/import/vectors.h"

namespace pinnerformer {

// What is known about items, by their provisional numbers.
struct ItemCatalog {
  IdDictionary ids;
  std::vector<std::string> titles;    // shorter than ids where the rest is unknown
  std::vector<std::string> topics;    // likewise; "" unknown
  std::vector<int64_t> vector_items;  // item of each row of the vectors
  std::vector<bool> has_vector;       // likewise
  std::vector<bool> has_attributes;   // likewise
};

// Adds the items of the attribute table. Throws DataError where an id comes twice.
void read_item_attributes(const ImportOptions& options, ItemCatalog& catalog);
// Adds the items of the vectors. Throws DataError where an id comes twice.
void read_vector_ids(const VectorSource& source, ItemCatalog& catalog);

// Takes items out of `has_vector` whose vectors are all zero as float16. Reads all vectors.
void leave_out_zero_vectors(const VectorSource& source, ItemCatalog& catalog);

// Items in the order of the format.
struct OrderedItems {
  ItemColumns table;
  std::vector<int32_t> row_of_item;  // provisional number -> row; -1: dropped
};

// Applies options.without_vector: throws DataError naming items where it is kError.
[[nodiscard]] OrderedItems order_items(const ImportOptions& options, const ItemCatalog& catalog);

// Copies the vectors to their rows; returns how many of them are vectors: one that is all zero as
// float16 stands for none.
int64_t copy_vectors(const VectorSource& source, const ItemCatalog& catalog,
                     const OrderedItems& items, DatasetWriter& writer);

}  // namespace pinnerformer
