#include "dataloader/vector_file.h"

#include <unistd.h>

#include <filesystem>

#include "dataloader/errors.h"
#include "dataloader/file_io.h"
#include "dataloader/h5_file.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

void define(H5File& file, const std::string& group, const VectorSet& set) {
  TORCH_CHECK(set.ids.size() == set.vectors.size(0), group, ": ", set.ids.size(), " ids, ",
              set.vectors.size(0), " vectors");
  if (set.ids.integers()) {
    file.write(group + "/id", set.ids.numbers());
  } else {
    file.write_strings(group + "/id", set.ids.size(), [&](int64_t i) { return set.ids.text(i); });
  }
  file.define(group + "/vector", ElementType::kFloat32, {set.vectors.size(0), set.vectors.size(1)});
}

}  // namespace

void write_vector_file(const std::string& path, const VectorFile& content) try {
  const fs::path target(path);
  if (target.has_parent_path()) fs::create_directories(target.parent_path());
  const std::string partial = path + ".tmp-" + std::to_string(::getpid());
  H5File file = H5File::create(partial);
  file.set_attribute("format", std::string("pinnerformer-vectors"));
  file.set_attribute("version", int64_t{1});
  file.set_attribute("model_version", content.version);
  define(file, "/user", content.users);
  define(file, "/item", content.items);
  file.close();

  const H5File defined = H5File::open(partial);
  File bytes = File::open_for_update(partial);
  for (const auto& [dataset, set] : {std::pair{"/user/vector", &content.users},
                                     std::pair{"/item/vector", &content.items}}) {
    const ArrayLayout layout = defined.layout(dataset, {ElementType::kFloat32}, 2);
    const torch::Tensor values = set->vectors.to(torch::kFloat32).contiguous();
    if (layout.bytes > 0) bytes.write_at(layout.offset, values.data_ptr(), layout.bytes);
  }
  bytes.sync();
  fs::rename(partial, target);
} catch (const fs::filesystem_error& error) {
  throw IoError("writing " + path + " failed: " + error.what());
}

}  // namespace pinnerformer
