// Commands that replace a dataset's vectors leave its semantic ids behind, and say so.
#pragma once
#include <string>

namespace pinnerformer {

// False where the directory holds no dataset that can be opened.
[[nodiscard]] bool has_semantic_ids(const std::string& directory);
// On stderr: this dataset had semantic ids, and how it gets new ones.
void note_lost_semantic_ids(const std::string& directory);

}  // namespace pinnerformer
