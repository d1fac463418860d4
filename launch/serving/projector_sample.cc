#include "launch/serving/projector_sample.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>

#include "dataloader/base/printable.h"
#include "dataloader/base/published_file.h"
#include "dataloader/vectors/embedding_file.h"

namespace pinnerformer {
namespace {

// Numbers as float32 needs them, parted by tabs.
void append_row(std::string& text, const torch::Tensor& vector) {
  const auto* values = vector.data_ptr<float>();
  for (int64_t i = 0; i < vector.numel(); ++i) {
    std::array<char, 32> number{};
    std::snprintf(number.data(), number.size(), "%s%.7g", i == 0 ? "" : "\t",
                  static_cast<double>(values[i]));
    text += number.data();
  }
  text += '\n';
}

// A file of one column has no heading, one of several has.
struct Labels {
  std::string heading;
  std::function<std::string(int64_t row)> more = [](int64_t) { return ""; };
};

// Returns the entry of projector_config.pbtxt.
std::string write_set(const ProjectorRequest& request, const EmbeddingFileReader& file,
                      const std::string& name, const Labels& columns) {
  const int64_t count = std::min(request.rows, file.rows());
  std::string vectors, labels = columns.heading;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = i * file.rows() / count;
    append_row(vectors, file.vectors(row, 1).contiguous());
    labels += printable(file.ids(row, 1).text(0)) + columns.more(row) + "\n";
  }
  publish_text(request.directory + "/" + name + "_vectors.tsv", vectors);
  publish_text(request.directory + "/" + name + "_labels.tsv", labels);
  return "embeddings {\n  tensor_name: \"" + name + "\"\n  tensor_path: \"" + name +
         "_vectors.tsv\"\n  metadata_path: \"" + name + "_labels.tsv\"\n}\n";
}

}  // namespace

void write_projector_sample(const ProjectorRequest& request, const std::string& vector_file,
                            const Dataset& dataset) {
  std::string config;
  if (request.items) {
    Labels labels;
    if (request.titles)
      labels = {.heading = "id\ttitle\n", .more = [&](int64_t row) {
                  std::string column = "\t";
                  return column += printable(dataset.item_title(row));
                }};
    config += write_set(request, EmbeddingFileReader(vector_file, "/item"), "item", labels);
  }
  if (request.users)
    config += write_set(request, EmbeddingFileReader(vector_file, "/user"), "user", Labels());
  publish_text(request.directory + "/projector_config.pbtxt", config);
}

}  // namespace pinnerformer
