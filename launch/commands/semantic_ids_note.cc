#include "launch/commands/semantic_ids_note.h"

#include <exception>
#include <iostream>

#include "dataloader/dataset/dataset.h"

namespace pinnerformer {

bool has_semantic_ids(const std::string& directory) try {
  return Dataset::open(directory).semantic_ids().defined();
} catch (const std::exception&) {
  return false;
}

void note_lost_semantic_ids(const std::string& directory) {
  std::cerr << "note: the semantic ids of " << directory
            << " were codes of the vectors before and are gone; make new ones with `pinnerformer "
               "semantic-ids --into "
            << directory << "`\n";
}

}  // namespace pinnerformer
