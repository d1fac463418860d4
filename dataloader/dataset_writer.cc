// Users files as they fill up, items.h5 last, then one rename.
#include "dataloader/dataset_writer.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>

#include "dataloader/checksum.h"
#include "dataloader/dataset_format.h"
#include "dataloader/errors.h"
#include "dataloader/fingerprints.h"
#include "dataloader/part_writer.h"
#include "dataloader/publish.h"

namespace pinnerformer {
namespace {

// The largest finite float16.
constexpr float kHalfMaximum = 65504.0f;

void check_names(const std::vector<std::string>& names, const std::string& what) {
  if (names.size() > static_cast<size_t>(std::numeric_limits<int16_t>::max())) {
    throw DataError("expected at most 32767 different " + what + ", found " +
                    std::to_string(names.size()) + "; is the right column mapped?");
  }
  if (!std::is_sorted(names.begin(), names.end())) {
    throw DataError("the vocabulary of " + what + " must be sorted by name");
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

void check_index(int64_t index, size_t size, const char* what) {
  if (index < 0 || index >= static_cast<int64_t>(size)) {
    throw DataError(std::string("event with ") + what + " " + std::to_string(index) +
                    ", but there are " + std::to_string(size));
  }
}

}  // namespace

struct DatasetWriter::Impl {
  DatasetWriterOptions options;
  ItemTable items;
  PublishedDirectory directory;
  std::optional<File> vectors;  // items.h5, open for the raw rows
  int64_t vectors_offset = 0;
  std::optional<PartWriter> part;
  std::vector<int64_t> part_users;
  std::vector<int64_t> part_events;
  std::vector<uint64_t> part_fingerprints;
  uint64_t last_hash = 0;
  std::string last_id;
  int64_t last_number = 0;
  int64_t first_time = 0;
  int64_t last_time = 0;
  int64_t events = 0;
  int64_t users = 0;

  Impl(DatasetWriterOptions given, ItemTable table)
      : options(std::move(given)),
        items(std::move(table)),
        directory(options.directory, options.overwrite) {}

  std::string items_path() const { return directory.path() + "/" + kItemsFile; }
  void define_items();
  void check_events(const Timeline& timeline) const;
  void open_part();
  void count(const Timeline& timeline);
  void close_part();
  void seal_items();
};

void DatasetWriter::Impl::define_items() {
  const int64_t count = items.ids.size();
  H5File file = H5File::create(items_path());
  if (items.ids.integers()) {
    file.write("/item/id", items.ids.numbers());
  } else {
    file.write_strings("/item/id", count, [&](int64_t i) { return items.ids.text(i); });
  }
  const auto write_names = [&file](const std::string& dataset,
                                   const std::vector<std::string>& names) {
    file.write_strings(dataset, static_cast<int64_t>(names.size()),
                       [&](int64_t i) { return names[static_cast<size_t>(i)]; });
  };
  write_names("/vocabulary/action", options.actions);
  write_names("/vocabulary/surface", options.surfaces);
  if (!items.titles.empty()) write_names("/item/title", items.titles);
  if (!items.topics.empty()) {
    write_names("/vocabulary/topic", items.topic_names);
    file.define("/item/topic", ElementType::kInt32, {count});
  }
  const ElementType type = options.float32_vectors ? ElementType::kFloat32 : ElementType::kFloat16;
  if (options.vector_width > 0) file.define("/item/vector", type, {count, options.vector_width});
  file.close();

  const H5File written = H5File::open(items_path());
  vectors = File::open_for_update(items_path());
  if (!items.topics.empty()) {
    const ArrayLayout topics = written.layout("/item/topic", {ElementType::kInt32}, 1);
    vectors->write_at(topics.offset, items.topics.data(), topics.bytes);
  }
  if (options.vector_width > 0) {
    vectors_offset = written.layout("/item/vector", {type}, 2).offset;
  }
}

void DatasetWriter::Impl::check_events(const Timeline& timeline) const {
  const size_t size = timeline.item.size();
  if (timeline.action.size() != size || timeline.surface.size() != size ||
      timeline.time.size() != size || timeline.duration.size() != size) {
    throw DataError("the columns of a timeline differ in length");
  }
  const auto item_count = static_cast<size_t>(items.ids.size());
  for (size_t i = 0; i < size; ++i) {
    check_index(timeline.item[i], item_count, "item");
    check_index(timeline.action[i], options.actions.size(), "action");
    check_index(timeline.surface[i], options.surfaces.size(), "surface");
    if (i > 0 && timeline.time[i] < timeline.time[i - 1]) {
      throw DataError("the events of a user must be in ascending time");
    }
  }
}

void DatasetWriter::Impl::open_part() {
  if (part) return;
  const auto number = static_cast<int64_t>(part_users.size());
  part.emplace(directory.path() + "/part-" + std::to_string(number), options.integer_user_ids);
}

void DatasetWriter::Impl::count(const Timeline& timeline) {
  ++users;
  if (timeline.size() > 0) {
    first_time = events == 0 ? timeline.time.front() : std::min(first_time, timeline.time.front());
    last_time = events == 0 ? timeline.time.back() : std::max(last_time, timeline.time.back());
  }
  events += timeline.size();
  if (part->events() >= options.part_events) close_part();
}

void DatasetWriter::Impl::close_part() {
  part_users.push_back(part->users());
  part_events.push_back(part->events());
  part_fingerprints.push_back(part->finish());
  part.reset();
}

void DatasetWriter::Impl::seal_items() {
  vectors.reset();
  write_checksums(items_path(), items_file_columns());
  H5File file = H5File::open_for_update(items_path());
  file.write("/part/users", part_users);
  file.write("/part/events", part_events);
  file.write("/part/fingerprint", part_fingerprints);
  file.close();
  const uint64_t fingerprint = items_file_fingerprint(items_path());
  file = H5File::open_for_update(items_path());
  file.set_attribute("format", std::string(kDatasetFormat));
  file.set_attribute("version", kDatasetVersion);
  file.set_attribute("first_time", first_time);
  file.set_attribute("last_time", last_time);
  file.set_attribute("fingerprint", fingerprint_text(fingerprint));
  file.close();
  File::open_for_update(items_path()).sync();
}

bool holds_dataset(const std::string& directory) {
  return std::filesystem::exists(std::filesystem::path(directory) / kItemsFile);
}

DatasetWriter::DatasetWriter(DatasetWriterOptions options, ItemTable items) {
  check_names(options.actions, "actions");
  check_names(options.surfaces, "surfaces");
  check_ids(items.ids);
  impl_ = std::make_unique<Impl>(std::move(options), std::move(items));
  impl_->define_items();
}

DatasetWriter::~DatasetWriter() = default;

void DatasetWriter::set_vectors(int64_t first, std::span<const float> values) {
  const int64_t width = impl_->options.vector_width;
  const bool half = !impl_->options.float32_vectors;
  std::vector<c10::Half> halves;
  for (size_t i = 0; i < values.size(); ++i) {
    // Rounding to float16 would turn a large finite value into infinity without a word.
    if (!std::isfinite(values[i]) || (half && std::abs(values[i]) > kHalfMaximum)) {
      const int64_t item = first + static_cast<int64_t>(i) / width;
      throw DataError("vector of item " + impl_->items.ids.text(item) + ", element " +
                      std::to_string(static_cast<int64_t>(i) % width) + ": expected a number" +
                      (half ? " that fits float16 (up to 65504)" : "") + ", found " +
                      std::to_string(values[i]));
    }
    if (half) halves.emplace_back(values[i]);
  }
  const int64_t size = half ? 2 : 4;
  const void* source = half ? static_cast<const void*>(halves.data()) : values.data();
  impl_->vectors->write_at(impl_->vectors_offset + first * width * size, source,
                           static_cast<int64_t>(values.size()) * size);
}

void DatasetWriter::add_user(int64_t id, const Timeline& events) {
  const uint64_t hash = user_hash(id);
  if (impl_->users > 0 && hash <= impl_->last_hash) {
    throw DataError("users must come in ascending order of their hash: " + std::to_string(id));
  }
  impl_->last_hash = hash;
  impl_->check_events(events);
  impl_->open_part();
  impl_->part->add_user(id, events);
  impl_->count(events);
}

void DatasetWriter::add_user(std::string_view id, const Timeline& events) {
  const uint64_t hash = user_hash(id);
  if (impl_->users > 0 && (hash < impl_->last_hash ||
                           (hash == impl_->last_hash && id <= std::string_view(impl_->last_id)))) {
    throw DataError("users must come in ascending order of their hash: " + std::string(id));
  }
  impl_->last_hash = hash;
  impl_->last_id = id;
  impl_->check_events(events);
  impl_->open_part();
  impl_->part->add_user(id, events);
  impl_->count(events);
}

void DatasetWriter::finish() {
  if (impl_->part || impl_->part_users.empty()) {
    impl_->open_part();
    impl_->close_part();
  }
  const auto parts = static_cast<int64_t>(impl_->part_users.size());
  for (int64_t i = 0; i < parts; ++i) {
    std::filesystem::rename(impl_->directory.path() + "/part-" + std::to_string(i),
                            impl_->directory.path() + "/" + part_file_name(i, parts));
  }
  impl_->seal_items();
  impl_->directory.publish();
}

}  // namespace pinnerformer
