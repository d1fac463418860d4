// Both are written whole under another name first.
#include "dataloader/vectors/item_vectors_file.h"

#include <torch/torch.h>

#include <filesystem>

#include "dataloader/base/errors.h"
#include "dataloader/base/published_file.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/dataset/items_copy.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {
namespace {

void write_ids(H5File& file, const IdColumn& ids) {
  if (ids.integers()) {
    file.write("/item_id", ids.numbers());
  } else {
    file.write_strings("/item_id", ids.size(), [&](int64_t i) { return ids.text(i); });
  }
}

// Copies what the dataset knows; both id columns ascend, and a number and its text are the same id.
int64_t copy_vectors(const ItemVectors& content, const Dataset& dataset, ItemsWriter& writer) {
  const torch::Tensor values = content.vectors.to(torch::kFloat32).contiguous();
  const auto width = static_cast<size_t>(values.size(1));
  int64_t found = 0;
  for (int64_t i = 0; i < content.ids.size(); ++i) {
    const std::optional<int64_t> row = dataset.find_item(content.ids.text(i));
    if (!row) continue;
    ++found;
    writer.set_vectors(*row,
                       {values.const_data_ptr<float>() + static_cast<size_t>(i) * width, width});
  }
  return found;
}

}  // namespace

void write_item_vectors(const std::string& path, const ItemVectors& content) {
  PublishedFile partial(path);
  H5File file = H5File::create(partial.path());
  file.set_attribute("format", std::string("pinnerformer-item-vectors"));
  file.set_attribute("version", int64_t{1});
  file.set_attribute("recipe", content.recipe);
  file.set_attribute("before", content.before);
  write_ids(file, content.ids);
  file.define("/vector", ElementType::kFloat16, {content.vectors.size(0), content.vectors.size(1)});
  file.close();

  const ArrayLayout layout =
      H5File::open(partial.path()).layout("/vector", {ElementType::kFloat16}, 2);
  const torch::Tensor values = content.vectors.contiguous();
  partial.file().write_at(layout.offset, values.const_data_ptr(), layout.bytes);
  partial.publish();
}

int64_t attach_item_vectors(const std::string& directory, const ItemVectors& content) {
  const Dataset dataset = Dataset::open(directory);
  const std::string target = directory + "/" + kItemsFile;
  const ItemsFile items(target);
  // Not inside the dataset: a file that a killed process left there would be foreign to it. On the
  // file system of the dataset, where `directory` is a link too.
  PublishedFile partial(target, std::filesystem::canonical(directory).string() + ".items");
  ItemsWriter writer(partial.path(), columns_of(items),
                     {.actions = items.actions,
                      .surfaces = items.surfaces,
                      .vector_width = content.vectors.size(1)});
  const int64_t found = copy_vectors(content, dataset, writer);
  if (found == 0) {
    throw DataError(directory + ": not one of the " + std::to_string(content.ids.size()) +
                    " items with a vector is an item of this dataset, for example " +
                    content.ids.text(0) + "; do both number their items alike?");
  }
  writer.seal(parts_of(items));
  partial.publish();
  return found;
}

}  // namespace pinnerformer
