// HDF5 is asked once, at open; afterwards reads are positioned reads, which any thread may do.
#include "dataloader/dataset/users_file.h"

#include <algorithm>

#include "dataloader/base/checksum.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/sparse_file.h"
#include "dataloader/dataset/dataset_format.h"

namespace pinnerformer {
namespace {

// An I/O error of `read` knows the file; this adds what of it was wanted.
template <class Read>
void naming_rows(const char* dataset, int64_t first, int64_t count, const Read& read) {
  try {
    read();
  } catch (const IoError& error) {
    throw IoError(std::string(error.what()) + " (dataset " + dataset + ", rows " +
                  std::to_string(first) + " to " + std::to_string(first + count) + ")");
  }
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

UsersFile::UsersFile(const std::string& path) : file_(File::open(path)), size_(file_.size()) {
  require_written(file_);
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
  events_ = file.describe(item_.name).shape.at(0);
  open_column(file, item_, ElementType::kInt32);
  open_column(file, action_, ElementType::kInt16);
  open_column(file, surface_, ElementType::kInt16);
  open_column(file, time_, ElementType::kInt64);
  open_column(file, duration_, ElementType::kFloat32);
  check_offsets();
  for (Column* column : {&item_, &action_, &surface_, &time_, &duration_})
    read_checksums(file, *column);
}

void UsersFile::open_column(const H5File& file, Column& column, ElementType type) {
  const ArrayLayout layout = file.layout(column.name, {type}, 1);
  if (layout.shape[0] != events_) {
    throw DataError(path() + ": dataset " + column.name + ": expected " + std::to_string(events_) +
                    " events, as /event/item has, found " + std::to_string(layout.shape[0]));
  }
  column.start = layout.offset;
  column.width = size_of(type);
}

void UsersFile::read_checksums(const H5File& file, Column& column) const {
  column.checksums = file.read_words(checksum_name(column.name));
  const int64_t blocks = (events_ * column.width + kChecksumBlockBytes - 1) / kChecksumBlockBytes;
  if (std::ssize(column.checksums) != blocks) {
    throw DataError(path() + ": dataset " + checksum_name(column.name) + ": expected " +
                    std::to_string(blocks) + " blocks, found " +
                    std::to_string(column.checksums.size()));
  }
}

std::vector<const UsersFile::Column*> UsersFile::columns() const {
  return {&item_, &action_, &surface_, &time_, &duration_};
}

void UsersFile::check_offsets() const {
  for (int64_t user = 0; user < users_; ++user) {
    if (offset(user + 1) < offset(user)) {
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

void UsersFile::check_size() const {
  const int64_t size = file_.size();
  if (size < size_)
    throw DataError(path() + ": expected " + std::to_string(size_) +
                    " bytes, as when it was opened, " + "found " + std::to_string(size) +
                    ": it was cut short while in use");
}

template <class Value>
void UsersFile::read_values(const Column& column, int64_t first, std::span<Value> out) const {
  naming_rows(column.name, first, std::ssize(out), [&] {
    file_.read_at(column.start + first * column.width, out.data(),
                  static_cast<int64_t>(out.size_bytes()));
  });
}

void UsersFile::read_events(int64_t first, int64_t count, EventBlock& block, int64_t at) const {
  const int64_t event = offset(first);
  const auto place = static_cast<size_t>(at);
  const auto events = static_cast<size_t>(offset(first + count) - event);
  const auto part = [&](auto& column) { return std::span(column).subspan(place, events); };
  read_values(item_, event, part(block.item));
  read_values(action_, event, part(block.action));
  read_values(surface_, event, part(block.surface));
  read_values(time_, event, part(block.time));
  read_values(duration_, event, part(block.duration));
}

void UsersFile::append_ranges(int64_t first, int64_t count, std::vector<FileRange>& ranges) const {
  for (const Column* column : columns())
    ranges.push_back({path(), column->start + offset(first) * column->width,
                      (offset(first + count) - offset(first)) * column->width});
}

void UsersFile::append_newest_times(int64_t first, int64_t count, std::vector<int64_t>& out) const {
  std::vector<int64_t> times(static_cast<size_t>(offset(first + count) - offset(first)));
  read_values(time_, offset(first), std::span(times));
  for (int64_t user = first; user < first + count; ++user) {
    const int64_t end = offset(user + 1) - offset(first);
    out.push_back(length(user) == 0 ? INT64_MIN : times[static_cast<size_t>(end - 1)]);
  }
}

void UsersFile::verify(int64_t first, int64_t count, VerifiedBlocks& verified) const {
  const std::vector<const Column*> all = columns();
  verified.resize(all.size());
  for (size_t i = 0; i < all.size(); ++i)
    verify_column(*all[i], offset(first) * all[i]->width, offset(first + count) * all[i]->width,
                  verified[i]);
}

void UsersFile::verify_column(const Column& column, int64_t first_byte, int64_t end_byte,
                              std::vector<bool>& verified) const {
  verified.resize(column.checksums.size());
  for (int64_t start = first_byte / kChecksumBlockBytes * kChecksumBlockBytes; start < end_byte;
       start += kChecksumBlockBytes) {
    const auto block = static_cast<size_t>(start / kChecksumBlockBytes);
    if (verified[block]) continue;
    const int64_t bytes = std::min(kChecksumBlockBytes, events_ * column.width - start);
    std::vector<uint64_t> found;
    naming_rows(column.name, start / column.width, bytes / column.width,
                [&] { found = block_checksums(file_, column.start + start, bytes); });
    if (found.front() != column.checksums[block])
      throw damaged_rows(path(), column.name, start / column.width, (start + bytes) / column.width);
    verified[block] = true;
  }
}

}  // namespace pinnerformer
