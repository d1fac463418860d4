// What a new items.h5 takes over from the one that it replaces in a dataset.
#pragma once
#include "dataloader/dataset/items_file.h"
#include "dataloader/dataset/items_writer.h"

namespace pinnerformer {

// Ids, titles and topics. Semantic ids are codes of the vectors and stay behind.
[[nodiscard]] ItemColumns columns_of(const ItemsFile& items);
[[nodiscard]] PartList parts_of(const ItemsFile& items);

}  // namespace pinnerformer
