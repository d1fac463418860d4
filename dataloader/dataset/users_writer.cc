// Columns are spooled, because a contiguous dataset must know its length when it is made.
#include "dataloader/dataset/users_writer.h"

#include "dataloader/base/checksum.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/dataset/fingerprints.h"

namespace pinnerformer {
namespace {

template <typename Value>
void append_values(ColumnSpool& spool, const std::vector<Value>& values) {
  spool.append(values.data(), static_cast<int64_t>(values.size() * sizeof(Value)));
}

}  // namespace

UsersWriter::UsersWriter(std::string path, bool integer_user_ids)
    : path_(std::move(path)), text_ids_(false), integer_ids_(integer_user_ids) {
  const auto add = [this](const char* dataset, ElementType type) {
    columns_.push_back(
        {dataset, type, ColumnSpool(path_ + ".spool-" + std::to_string(columns_.size()))});
  };
  add("/user/offset", ElementType::kInt64);
  add("/event/item", ElementType::kInt32);
  add("/event/action", ElementType::kInt16);
  add("/event/surface", ElementType::kInt16);
  add("/event/time", ElementType::kInt64);
  add("/event/duration", ElementType::kFloat32);
  if (integer_ids_) add("/user/id", ElementType::kInt64);
  columns_[0].spool.append(&events_, sizeof(events_));
}

void UsersWriter::add_events(const Timeline& events) {
  events_ += events.size();
  ++users_;
  columns_[0].spool.append(&events_, sizeof(events_));
  append_values(columns_[1].spool, events.item);
  append_values(columns_[2].spool, events.action);
  append_values(columns_[3].spool, events.surface);
  append_values(columns_[4].spool, events.time);
  append_values(columns_[5].spool, events.duration);
}

void UsersWriter::add_user(int64_t id, const Timeline& events) {
  columns_[6].spool.append(&id, sizeof(id));
  add_events(events);
}

void UsersWriter::add_user(std::string_view id, const Timeline& events) {
  text_ids_.push_back(id);
  add_events(events);
}

void UsersWriter::write_columns() {
  H5File file = H5File::create(path_);
  for (const Column& column : columns_) {
    file.define(column.dataset, column.type, {column.spool.bytes() / size_of(column.type)});
  }
  if (!integer_ids_) {
    file.write_strings("/user/id", users_, [this](int64_t i) { return text_ids_.text(i); });
  }
  file.close();
  const H5File written = H5File::open(path_);
  File raw = File::open_for_update(path_);
  for (const Column& column : columns_) {
    column.spool.copy_to(raw, written.layout(column.dataset, {column.type}, 1).offset);
  }
}

uint64_t UsersWriter::finish() {
  write_columns();
  write_checksums(path_, users_file_columns());
  const uint64_t fingerprint = users_file_fingerprint(path_);
  H5File file = H5File::open_for_update(path_);
  file.set_attribute("format", std::string(kDatasetFormat));
  file.set_attribute("version", kDatasetVersion);
  file.set_attribute("fingerprint", hash_text(fingerprint));
  file.close();
  File::open_for_update(path_).sync();
  return fingerprint;
}

}  // namespace pinnerformer
