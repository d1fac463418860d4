// HDF5 is asked once, at open; afterwards reads are positioned reads, which any thread may do.
#include "dataloader/users_file.h"

#include "dataloader/dataset_format.h"
#include "dataloader/errors.h"

namespace pinnerformer {
namespace {

// Start of an event column; all of them have one value per event.
int64_t column_start(const H5File& file, const std::string& name, ElementType type,
                     int64_t events) {
  const ArrayLayout layout = file.layout(name, {type}, 1);
  if (layout.shape[0] != events) {
    throw DataError(file.path() + ": dataset " + name + ": expected " + std::to_string(events) +
                    " events, as /event/item has, found " + std::to_string(layout.shape[0]));
  }
  return layout.offset;
}

// Cuts a column of a block of users into one vector per user.
template <typename Value>
void read_column(const File& file, int64_t start, int64_t first_event,
                 std::span<Timeline> timelines, std::span<const int64_t> lengths,
                 std::vector<Value> Timeline::*column) {
  if (timelines.size() == 1) {  // straight into its place
    std::vector<Value>& values = timelines[0].*column;
    values.resize(static_cast<size_t>(lengths[0]));
    file.read_at(start + first_event * static_cast<int64_t>(sizeof(Value)), values.data(),
                 lengths[0] * static_cast<int64_t>(sizeof(Value)));
    return;
  }
  int64_t total = 0;
  for (const int64_t length : lengths) total += length;
  std::vector<Value> block(static_cast<size_t>(total));
  file.read_at(start + first_event * static_cast<int64_t>(sizeof(Value)), block.data(),
               total * static_cast<int64_t>(sizeof(Value)));
  auto next = block.begin();
  for (size_t i = 0; i < timelines.size(); ++i) {
    (timelines[i].*column).assign(next, next + lengths[i]);
    next += lengths[i];
  }
}

template <typename Value>
void read_values(const File& file, int64_t start, int64_t first, std::span<Value> out) {
  file.read_at(start + first * static_cast<int64_t>(sizeof(Value)), out.data(),
               static_cast<int64_t>(out.size_bytes()));
}

}  // namespace

void check_format(const H5File& file) {
  const std::string format = file.text_attribute("format");
  if (format != kDatasetFormat) {
    throw DataError(file.path() + ": attribute 'format': expected '" + kDatasetFormat +
                    "', found '" + format + "'");
  }
  const int64_t version = file.integer_attribute("version");
  if (version != kDatasetVersion) {
    throw DataError(file.path() + ": expected format version " + std::to_string(kDatasetVersion) +
                    ", found " + std::to_string(version) +
                    "; import the data again with this program, or use the one that wrote it");
  }
}

UsersFile::UsersFile(const std::string& path) : file_(File::open(path)) {
  const H5File file = H5File::open(path);
  check_format(file);
  fingerprint_ = file.text_attribute("fingerprint");
  const ArrayLayout offsets = file.layout("/user/offset", {ElementType::kInt64}, 1);
  users_ = offsets.shape[0] - 1;
  if (users_ < 0) throw DataError(path + ": dataset /user/offset: expected at least one number");
  offset_map_ = ReadOnlyMap(file_, offsets.offset, offsets.bytes);
  integer_ids_ = !file.holds_strings("/user/id");
  int64_t ids = 0;
  if (integer_ids_) {
    const ArrayLayout layout = file.layout("/user/id", {ElementType::kInt64}, 1);
    id_map_ = ReadOnlyMap(file_, layout.offset, layout.bytes);
    ids = layout.shape[0];
  } else {
    file.read_strings("/user/id", [this](std::string_view id) { text_ids_.push_back(id); });
    ids = text_ids_.size();
  }
  if (ids != users_) {
    throw DataError(path + ": dataset /user/id: expected " + std::to_string(users_) +
                    " users, as /user/offset says, found " + std::to_string(ids));
  }
  const ArrayLayout items = file.layout("/event/item", {ElementType::kInt32}, 1);
  events_ = items.shape[0];
  item_ = items.offset;
  action_ = column_start(file, "/event/action", ElementType::kInt16, events_);
  surface_ = column_start(file, "/event/surface", ElementType::kInt16, events_);
  time_ = column_start(file, "/event/time", ElementType::kInt64, events_);
  duration_ = column_start(file, "/event/duration", ElementType::kFloat32, events_);
  check_offsets();
}

void UsersFile::check_offsets() const {
  for (int64_t user = 0; user < users_; ++user) {
    if (length(user) < 0) {
      throw DataError(path() + ": dataset /user/offset: expected ascending numbers, found " +
                      std::to_string(offset(user + 1)) + " after " + std::to_string(offset(user)) +
                      " at row " + std::to_string(user + 1));
    }
  }
  if (offset(0) != 0 || offset(users_) != events_) {
    throw DataError(path() + ": dataset /user/offset: expected to run from 0 to " +
                    std::to_string(events_) + ", found " + std::to_string(offset(0)) + " to " +
                    std::to_string(offset(users_)));
  }
}

std::span<const int64_t> UsersFile::numbers() const {
  return {static_cast<const int64_t*>(id_map_.data()), static_cast<size_t>(users_)};
}

void UsersFile::append_timelines(int64_t first, int64_t count, int64_t first_row,
                                 std::vector<Timeline>& out) const {
  if (count == 0) return;
  const size_t start = out.size();
  out.resize(start + static_cast<size_t>(count));
  const std::span<Timeline> timelines = std::span(out).subspan(start);
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < count; ++i) {
    timelines[static_cast<size_t>(i)].user = first_row + i;
    lengths.push_back(length(first + i));
  }
  const int64_t event = offset(first);
  read_column(file_, item_, event, timelines, lengths, &Timeline::item);
  read_column(file_, action_, event, timelines, lengths, &Timeline::action);
  read_column(file_, surface_, event, timelines, lengths, &Timeline::surface);
  read_column(file_, time_, event, timelines, lengths, &Timeline::time);
  read_column(file_, duration_, event, timelines, lengths, &Timeline::duration);
}

void UsersFile::append_newest_times(int64_t first, int64_t count, std::vector<int64_t>& out) const {
  std::vector<int64_t> times(static_cast<size_t>(offset(first + count) - offset(first)));
  read_values(file_, time_, offset(first), std::span(times));
  for (int64_t user = first; user < first + count; ++user) {
    const int64_t end = offset(user + 1) - offset(first);
    out.push_back(length(user) == 0 ? INT64_MIN : times[static_cast<size_t>(end - 1)]);
  }
}

void UsersFile::read_actions(int64_t first, std::span<int16_t> out) const {
  read_values(file_, action_, first, out);
}

void UsersFile::read_surfaces(int64_t first, std::span<int16_t> out) const {
  read_values(file_, surface_, first, out);
}

}  // namespace pinnerformer
