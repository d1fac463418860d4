#include "dataloader/dataset/items_copy.h"

namespace pinnerformer {

ItemColumns columns_of(const ItemsFile& items) {
  ItemColumns columns;
  columns.ids = items.ids;
  columns.topics = items.topics;
  columns.topic_names = items.topic_names;
  for (int64_t i = 0; items.has_titles && i < items.titles.size(); ++i)
    columns.titles.push_back(items.titles.text(i));
  return columns;
}

PartList parts_of(const ItemsFile& items) {
  return {.users = items.part_users,
          .events = items.part_events,
          .fingerprints = items.part_fingerprints,
          .first_time = items.first_time,
          .last_time = items.last_time};
}

}  // namespace pinnerformer
