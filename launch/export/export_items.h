// items.h5 of an export: the vectors of all items, and what the towers read of them.
#pragma once
#include <string>

#include "launch/serving/loaded_model.h"

namespace pinnerformer {

// A vector file (docs/data_format.md, "Vector files") with the set /item and, where the model has
// them, /item/content [I, C] of the dataset's type, /item/id_rows float32 [I, E] and
// /item/unknown_id_row float32 [1, E]. `run` has its model loaded. Throws IoError, and DataError
// where a vector holds NaN or infinity.
void write_export_items(const std::string& path, LoadedModel& run);

}  // namespace pinnerformer
