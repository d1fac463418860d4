// Every piece is hashed with its name and length, so that nothing can move from one to the next.
#include "dataloader/dataset/fingerprints.h"

#include "dataloader/base/checksum.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {
namespace {

bool is_numeric(const H5File& file, const std::string& dataset) {
  return file.has(dataset) && !file.holds_strings(dataset);
}

void add_columns(const H5File& file, const std::vector<std::string>& columns,
                 Fingerprint& fingerprint) {
  for (const std::string& column : columns) {
    if (!is_numeric(file, column)) continue;
    const ArrayLayout layout = file.describe(column);
    fingerprint.add(column);
    for (const int64_t extent : layout.shape) fingerprint.add(extent);
    fingerprint.add(file.read_words(checksum_name(column)));
  }
}

void add_strings(const H5File& file, const std::string& dataset, Fingerprint& fingerprint) {
  if (!file.has(dataset) || !file.holds_strings(dataset)) return;
  fingerprint.add(dataset);
  file.read_strings(dataset, [&](std::string_view text) { fingerprint.add(text); });
}

}  // namespace

const std::vector<std::string>& users_file_columns() {
  static const std::vector<std::string> columns = {
      "/user/id",       "/user/offset", "/event/item",    "/event/action",
      "/event/surface", "/event/time",  "/event/duration"};
  return columns;
}

const std::vector<std::string>& items_file_columns() {
  static const std::vector<std::string> columns = {"/item/id", "/item/topic", "/item/vector",
                                                   kCodesColumn, kCodebooksColumn};
  return columns;
}

void write_checksums(const std::string& path, const std::vector<std::string>& columns) {
  H5File file = H5File::open_for_update(path);
  const File raw = File::open(path);
  for (const std::string& column : columns) {
    if (!is_numeric(file, column)) continue;
    const ArrayLayout found = file.describe(column);
    const ArrayLayout layout = file.layout(column, {found.type}, found.shape.size());
    file.write(checksum_name(column), block_checksums(raw, layout.offset, layout.bytes));
  }
  file.close();
}

uint64_t users_file_fingerprint(const std::string& path) {
  const H5File file = H5File::open(path);
  Fingerprint fingerprint;
  add_columns(file, users_file_columns(), fingerprint);
  add_strings(file, "/user/id", fingerprint);
  return fingerprint.value();
}

uint64_t items_file_fingerprint(const std::string& path) {
  const H5File file = H5File::open(path);
  Fingerprint fingerprint;
  add_columns(file, items_file_columns(), fingerprint);
  for (const char* dataset : {"/item/id", "/item/title", "/vocabulary/action",
                              "/vocabulary/surface", "/vocabulary/topic"}) {
    add_strings(file, dataset, fingerprint);
  }
  fingerprint.add(file.read_words("/part/fingerprint"));
  return fingerprint.value();
}

}  // namespace pinnerformer
