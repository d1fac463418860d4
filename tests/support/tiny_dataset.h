// A dataset of a few dozen users for tests of the loader and the trainer.
#pragma once
#include <cstdint>
#include <string>

#include "dataloader/dataset/dataset.h"
#include "dataloader/sampling/data_loader.h"

namespace pinnerformer {

constexpr int64_t kTinyItems = 40;

// `users` users with 0 to 14 events within 40 days, ties in time among them; some have no positive.
// Items have vectors of 8 elements, if any, and one of 4 topics, if any; some of them none. Written
// to DIRECTORY/dataset; returns that path.
std::string write_tiny_dataset(const std::string& directory, int64_t users, bool vectors = true,
                               bool topics = false);

// Gives the items of this dataset, which have vectors, semantic ids of 2 levels of 5 codes.
void add_tiny_codes(const std::string& dataset);

// "save" is positive.
[[nodiscard]] MarkPositives saves_are_positive(const Dataset& dataset);
// All user rows, 0 .. users - 1.
[[nodiscard]] UserSet all_users(const Dataset& dataset);

}  // namespace pinnerformer
