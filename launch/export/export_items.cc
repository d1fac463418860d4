#include "launch/export/export_items.h"

#include <algorithm>
#include <functional>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/hdf5/h5_file.h"
#include "dataloader/vectors/embedding_file.h"

namespace pinnerformer {
namespace {

constexpr const char* kItems = "/item";
constexpr int64_t kItemsAtOnce = 4096;

void for_each_block(int64_t rows, const std::function<void(int64_t first, int64_t count)>& use) {
  for (int64_t first = 0; first < rows; first += kItemsAtOnce)
    use(first, std::min(kItemsAtOnce, rows - first));
}

EmbeddingFileShape item_set(const LoadedModel& run) {
  const Dataset& dataset = run.dataset();
  const bool integers = dataset.item_ids_are_integers();
  return {kItems, dataset.items(), run.dimensions(), integers,
          [&dataset, integers, item = int64_t{0}](int64_t count) mutable {
            IdColumn ids(integers);
            while (ids.size() < count) dataset.append_item_id(item++, &ids);
            return ids;
          }};
}

void require_finite(const torch::Tensor& vectors, int64_t first, const Dataset& dataset) {
  const torch::Tensor bad = vectors.isfinite().all(1).logical_not().nonzero();
  if (bad.numel() == 0) return;
  const int64_t item = first + bad[0].item<int64_t>();
  throw DataError("the vector of item " + dataset.item_id(item) +
                  " holds NaN or infinity: nothing is exported. Use an earlier checkpoint");
}

void write_vectors(const std::string& path, LoadedModel& run) {
  EmbeddingFileWriter writer(path, run.version(), {item_set(run)}, run.source());
  for_each_block(run.dataset().items(), [&](int64_t first, int64_t count) {
    const torch::Tensor vectors = run.item_vectors(first, count);
    require_finite(vectors, first, run.dataset());
    writer.write(kItems, first, vectors);
  });
  writer.publish();
}

// A further dataset of the file, made of blocks of rows.
struct ItemColumn {
  std::string name;
  ElementType type = ElementType::kFloat32;
  int64_t rows = 0;
  int64_t width = 0;
  std::function<torch::Tensor(int64_t first, int64_t count)> block;  // on the CPU
};

std::vector<ItemColumn> input_columns(LoadedModel& run) {
  std::vector<ItemColumn> columns;
  const Dataset& dataset = run.dataset();
  const torch::Tensor& content = dataset.item_vectors();
  if (content.defined())
    columns.push_back(
        {"/item/content",
         content.scalar_type() == torch::kFloat16 ? ElementType::kFloat16 : ElementType::kFloat32,
         dataset.items(), content.size(1),
         [&content](int64_t first, int64_t count) { return content.narrow(0, first, count); }});
  const torch::Tensor unknown = run.unknown_tower_row();
  if (unknown.numel() == 0) return columns;
  columns.push_back({"/item/id_rows", ElementType::kFloat32, dataset.items(), unknown.numel(),
                     [&run](int64_t first, int64_t count) {
                       return run.tower_rows(torch::arange(first, first + count));
                     }});
  columns.push_back({"/item/unknown_id_row", ElementType::kFloat32, 1, unknown.numel(),
                     [unknown](int64_t, int64_t) { return unknown.unsqueeze(0); }});
  return columns;
}

void append_columns(const std::string& path, const std::vector<ItemColumn>& columns) {
  H5File file = H5File::open_for_update(path);
  for (const ItemColumn& column : columns)
    file.define(column.name, column.type, {column.rows, column.width});
  file.close();
  const H5File written = H5File::open(path);
  File bytes = File::open_for_update(path);
  for (const ItemColumn& column : columns) {
    const int64_t offset = written.layout(column.name, {column.type}, 2).offset;
    const int64_t row = column.width * size_of(column.type);
    for_each_block(column.rows, [&](int64_t first, int64_t count) {
      const torch::Tensor block = column.block(first, count).contiguous();
      bytes.write_at(offset + first * row, block.const_data_ptr(), count * row);
    });
  }
  bytes.sync();
}

}  // namespace

void write_export_items(const std::string& path, LoadedModel& run) {
  write_vectors(path, run);
  append_columns(path, input_columns(run));
}

}  // namespace pinnerformer
