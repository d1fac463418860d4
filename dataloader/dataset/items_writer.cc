// The library makes the datasets; numbers are written where they lie.
#include "dataloader/dataset/items_writer.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "dataloader/base/checksum.h"
#include "dataloader/base/errors.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/dataset/fingerprints.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {
namespace {

// The largest finite float16.
constexpr float kHalfMaximum = 65504.0f;

void check_names(const std::vector<std::string>& names, const std::string& what) {
  if (names.size() > static_cast<size_t>(std::numeric_limits<int16_t>::max())) {
    throw DataError("expected at most 32767 different " + what + ", found " +
                    std::to_string(names.size()) + "; is the right column mapped?");
  }
  if (std::adjacent_find(names.begin(), names.end(), std::greater_equal<>()) != names.end()) {
    throw DataError("the vocabulary of " + what + " must be sorted by name, each name once");
  }
}

void check_ids(const IdColumn& ids) {
  if (ids.size() > std::numeric_limits<int32_t>::max()) {
    throw DataError("expected at most 2147483647 items, found " + std::to_string(ids.size()));
  }
  for (int64_t i = 1; i < ids.size(); ++i) {
    const bool ascending =
        ids.integers() ? ids.number(i - 1) < ids.number(i) : ids.view(i - 1) < ids.view(i);
    if (!ascending) {
      throw DataError("item ids must be ascending and unique: " + ids.text(i) + " follows " +
                      ids.text(i - 1));
    }
  }
}

}  // namespace

ItemsWriter::ItemsWriter(std::string path, ItemColumns items, ItemsFormat format)
    : path_(std::move(path)), items_(std::move(items)), format_(std::move(format)) {
  check_names(format_.actions, "actions");
  check_names(format_.surfaces, "surfaces");
  check_ids(items_.ids);
  define();
}

void ItemsWriter::define() {
  const int64_t count = items_.ids.size();
  H5File file = H5File::create(path_);
  if (items_.ids.integers()) {
    file.write("/item/id", items_.ids.numbers());
  } else {
    file.write_strings("/item/id", count, [&](int64_t i) { return items_.ids.text(i); });
  }
  const auto write_names = [&file](const std::string& dataset,
                                   const std::vector<std::string>& names) {
    file.write_strings(dataset, static_cast<int64_t>(names.size()),
                       [&](int64_t i) { return names[static_cast<size_t>(i)]; });
  };
  write_names("/vocabulary/action", format_.actions);
  write_names("/vocabulary/surface", format_.surfaces);
  if (!items_.titles.empty()) write_names("/item/title", items_.titles);
  if (!items_.topics.empty()) {
    write_names("/vocabulary/topic", items_.topic_names);
    file.define("/item/topic", ElementType::kInt32, {count});
  }
  const ElementType type = format_.float32_vectors ? ElementType::kFloat32 : ElementType::kFloat16;
  if (format_.vector_width > 0) file.define("/item/vector", type, {count, format_.vector_width});
  if (items_.codes.levels > 0) define_codes(file);
  file.close();

  const H5File written = H5File::open(path_);
  file_ = File::open_for_update(path_);
  if (!items_.topics.empty()) {
    const ArrayLayout topics = written.layout("/item/topic", {ElementType::kInt32}, 1);
    file_->write_at(topics.offset, items_.topics.data(), topics.bytes);
  }
  if (items_.codes.levels > 0) write_codes(written);
  if (format_.vector_width > 0) {
    vectors_offset_ = written.layout("/item/vector", {type}, 2).offset;
  }
}

void ItemsWriter::define_codes(H5File& file) const {
  const ItemCodes& codes = items_.codes;
  file.define(kCodesColumn, ElementType::kInt32, {items(), codes.levels});
  file.define(kCodebooksColumn, ElementType::kFloat32,
              {std::ssize(codes.codebooks) / format_.vector_width, format_.vector_width});
}

void ItemsWriter::write_codes(const H5File& written) {
  const ArrayLayout codes = written.layout(kCodesColumn, {ElementType::kInt32}, 2);
  const ArrayLayout books = written.layout(kCodebooksColumn, {ElementType::kFloat32}, 2);
  file_->write_at(codes.offset, items_.codes.codes.data(), codes.bytes);
  file_->write_at(books.offset, items_.codes.codebooks.data(), books.bytes);
}

void ItemsWriter::set_vectors(int64_t first, std::span<const float> values) {
  const int64_t width = format_.vector_width;
  const bool half = !format_.float32_vectors;
  std::vector<c10::Half> halves;
  for (size_t i = 0; i < values.size(); ++i) {
    // Rounding to float16 would turn a large finite value into infinity without a word.
    if (!std::isfinite(values[i]) || (half && std::abs(values[i]) > kHalfMaximum)) {
      const int64_t item = first + static_cast<int64_t>(i) / width;
      throw DataError("vector of item " + items_.ids.text(item) + ", element " +
                      std::to_string(static_cast<int64_t>(i) % width) + ": expected a number" +
                      (half ? " that fits float16 (up to 65504)" : "") + ", found " +
                      std::to_string(values[i]));
    }
    if (half) halves.emplace_back(values[i]);
  }
  const int64_t size = half ? 2 : 4;
  const void* source = half ? static_cast<const void*>(halves.data()) : values.data();
  file_->write_at(vectors_offset_ + first * width * size, source,
                  static_cast<int64_t>(values.size()) * size);
}

void ItemsWriter::seal(const PartList& parts) {
  file_.reset();
  write_checksums(path_, items_file_columns());
  H5File file = H5File::open_for_update(path_);
  file.write("/part/users", parts.users);
  file.write("/part/events", parts.events);
  file.write("/part/fingerprint", parts.fingerprints);
  file.close();
  const uint64_t fingerprint = items_file_fingerprint(path_);
  file = H5File::open_for_update(path_);
  file.set_attribute("format", std::string(kDatasetFormat));
  file.set_attribute("version", kDatasetVersion);
  file.set_attribute("first_time", parts.first_time);
  file.set_attribute("last_time", parts.last_time);
  file.set_attribute("fingerprint", hash_text(fingerprint));
  file.close();
  File::open_for_update(path_).sync();
}

}  // namespace pinnerformer
