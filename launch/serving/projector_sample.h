// A sample of a vector file in the form of TensorBoard's projector: what lies near what.
#pragma once
#include <cstdint>
#include <string>

#include "dataloader/dataset/dataset.h"

namespace pinnerformer {

struct ProjectorRequest {
  std::string directory;  // to write to: RUN/tensorboard shows it beside the run's curves
  int64_t rows = 2000;    // of each set at most, evenly spaced over the file
  bool titles = false;    // items with their titles
  bool users = true;
  bool items = true;
};

// Writes SET_vectors.tsv (a row of D numbers for each vector) and SET_labels.tsv (its external id)
// of `vector_file`, and projector_config.pbtxt, which names them, last. Items of the file are the
// rows of `dataset`. Throws DataError, IoError.
void write_projector_sample(const ProjectorRequest& request, const std::string& vector_file,
                            const Dataset& dataset);

}  // namespace pinnerformer
