// What an import has to say about data that it accepted.
#pragma once
#include <string>
#include <vector>

#include "dataloader/import/events.h"
#include "dataloader/import/items.h"

namespace pinnerformer {

// One sentence each: many duplicates, or any where times are whole days; many dropped times; a few
// events long after all others; ids that differ in nearly every row, stand for nothing, or are text
// among integers; JSON lines files without a key that others have; --items or --vectors that no
// event names.
[[nodiscard]] std::vector<std::string> import_warnings(const ImportOptions& options,
                                                       const EventTables& tables,
                                                       const ItemCatalog& catalog,
                                                       const ImportReport& report);

}  // namespace pinnerformer
