// Users files as they fill up, items.h5 last, then one rename.
#include "dataloader/dataset/dataset_writer.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "dataloader/base/checksum.h"
#include "dataloader/base/errors.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/dataset/published_directory.h"
#include "dataloader/dataset/users_writer.h"

namespace pinnerformer {
namespace {

void check_index(int64_t index, size_t size, const char* what) {
  if (index < 0 || index >= static_cast<int64_t>(size)) {
    throw DataError(std::string("event with ") + what + " " + std::to_string(index) +
                    ", but there are " + std::to_string(size));
  }
}

}  // namespace

struct DatasetWriter::Impl {
  DatasetWriterOptions options;
  PublishedDirectory directory;
  ItemsWriter items;
  std::optional<UsersWriter> part;
  PartList parts;
  uint64_t last_hash = 0;
  std::string last_id;
  int64_t last_number = 0;
  int64_t events = 0;
  int64_t users = 0;

  Impl(DatasetWriterOptions given, ItemColumns table)
      : options(std::move(given)),
        directory(options.directory, options.overwrite),
        items(directory.path() + "/" + kItemsFile, std::move(table),
              {.actions = options.actions,
               .surfaces = options.surfaces,
               .vector_width = options.vector_width,
               .float32_vectors = options.float32_vectors}) {}

  void check_events(const Timeline& timeline) const;
  void open_part();
  void count(const Timeline& timeline);
  void close_part();
};

void DatasetWriter::Impl::check_events(const Timeline& timeline) const {
  const size_t size = timeline.item.size();
  if (timeline.action.size() != size || timeline.surface.size() != size ||
      timeline.time.size() != size || timeline.duration.size() != size) {
    throw DataError("the columns of a timeline differ in length");
  }
  const auto item_count = static_cast<size_t>(items.items());
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
  const auto number = static_cast<int64_t>(parts.users.size());
  part.emplace(directory.path() + "/part-" + std::to_string(number), options.integer_user_ids);
}

void DatasetWriter::Impl::count(const Timeline& timeline) {
  ++users;
  if (timeline.size() > 0) {
    parts.first_time =
        events == 0 ? timeline.time.front() : std::min(parts.first_time, timeline.time.front());
    parts.last_time =
        events == 0 ? timeline.time.back() : std::max(parts.last_time, timeline.time.back());
  }
  events += timeline.size();
  if (part->events() >= options.part_events) close_part();
}

void DatasetWriter::Impl::close_part() {
  parts.users.push_back(part->users());
  parts.events.push_back(part->events());
  parts.fingerprints.push_back(part->finish());
  part.reset();
}

bool holds_dataset(const std::string& directory) {
  return std::filesystem::exists(std::filesystem::path(directory) / kItemsFile);
}

DatasetWriter::DatasetWriter(DatasetWriterOptions options, ItemColumns items)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(items))) {}

DatasetWriter::~DatasetWriter() = default;

void DatasetWriter::set_vectors(int64_t first, std::span<const float> values) {
  impl_->items.set_vectors(first, values);
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
  if (impl_->part || impl_->parts.users.empty()) {
    impl_->open_part();
    impl_->close_part();
  }
  const auto parts = static_cast<int64_t>(impl_->parts.users.size());
  for (int64_t i = 0; i < parts; ++i) {
    std::filesystem::rename(impl_->directory.path() + "/part-" + std::to_string(i),
                            impl_->directory.path() + "/" + part_file_name(i, parts));
  }
  impl_->items.seal(impl_->parts);
  impl_->directory.publish();
}

}  // namespace pinnerformer
