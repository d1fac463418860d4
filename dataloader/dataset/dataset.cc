// Joins items.h5 and the users files into one numbering of users.
#include "dataloader/dataset/dataset.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <mutex>

#include "dataloader/base/checksum.h"
#include "dataloader/base/digits.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/paths.h"
#include "dataloader/dataset/dataset_format.h"
#include "dataloader/dataset/dataset_parts.h"
#include "dataloader/dataset/timeline_check.h"

namespace pinnerformer {
namespace {

// Rows of `count` sorted by `before(row)`: the first row for which it is false.
template <typename Before>
int64_t partition_point(int64_t count, const Before& before) {
  int64_t low = 0;
  while (count > 0) {
    const int64_t half = count / 2;
    if (before(low + half)) {
      low += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return low;
}

std::optional<int64_t> as_integer(const std::string& text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

void check_part(const UsersFile& part, const ItemsFile& items, size_t number) {
  const std::string expected = hash_text(items.part_fingerprints[number]);
  if (part.users() != items.part_users[number] || part.events() != items.part_events[number] ||
      part.fingerprint() != expected) {
    throw DataError(part.path() + ": does not belong to the " + kItemsFile +
                    " beside it: expected " + std::to_string(items.part_users[number]) +
                    " users, " + std::to_string(items.part_events[number]) +
                    " events, fingerprint " + expected + ", found " + std::to_string(part.users()) +
                    ", " + std::to_string(part.events()) + ", " + part.fingerprint() +
                    "; copy the whole dataset again");
  }
}

std::string items_path(const std::string& directory) {
  namespace fs = std::filesystem;
  if (directory.empty())
    throw MissingInputError("no dataset is named; data.path=DIR names the directory of one");
  if (!fs::exists(directory)) {
    throw MissingInputError("no such dataset: " + directory +
                            "; `pinnerformer import` or `pinnerformer synth` makes one");
  }
  if (!fs::is_directory(directory)) {
    const fs::path file(directory);
    throw MissingInputError(directory + " is a file, not the directory of a dataset" +
                            (file.filename() == kItemsFile
                                 ? "; the dataset is the directory " + parent_directory(directory)
                                 : ""));
  }
  const std::string path = directory + "/" + kItemsFile;
  if (!fs::exists(path)) {
    throw MissingInputError(directory + " is not a dataset: it has no " + kItemsFile);
  }
  return path;
}

}  // namespace

Dataset::Impl::Impl(const std::string& name) : directory(name), items(items_path(name)) {
  const auto count = static_cast<int64_t>(items.part_users.size());
  for (int64_t i = 0; i < count; ++i) {
    const std::string path = name + "/" + part_file_name(i, count);
    if (!std::filesystem::exists(path)) {
      throw DataError(name + ": expected " + std::to_string(count) + " users files, " + path +
                      " is missing; copy the whole dataset again");
    }
    parts.emplace_back(path);
    check_part(parts.back(), items, static_cast<size_t>(i));
    first_users.push_back(users);
    users += parts.back().users();
    events += parts.back().events();
    if (parts.back().integer_ids() != parts.front().integer_ids()) {
      throw DataError(path + ": dataset /user/id: expected the same type as in the other files");
    }
  }
}

PlacedUser Dataset::Impl::place(int64_t user) const {
  if (user < 0 || user >= users) {
    throw std::out_of_range("user row " + std::to_string(user) + " of " + std::to_string(users));
  }
  const auto after = std::upper_bound(first_users.begin(), first_users.end(), user);
  const auto part = static_cast<size_t>(after - first_users.begin()) - 1;
  return {part, user - first_users[part]};
}

void Dataset::Impl::for_each_part(
    int64_t first, int64_t count,
    const std::function<void(size_t part, int64_t row, int64_t users)>& visit) const {
  if (count == 0) return;
  static_cast<void>(place(first + count - 1));  // the whole range exists
  for (PlacedUser at = place(first); count > 0; at = {at.part + 1, 0}) {
    const int64_t here = std::min(count, parts[at.part].users() - at.row);
    if (here > 0) visit(at.part, at.row, here);
    count -= here;
  }
}

Dataset::Dataset(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Dataset::Dataset(Dataset&&) noexcept = default;
Dataset& Dataset::operator=(Dataset&&) noexcept = default;
Dataset::~Dataset() = default;

Dataset Dataset::open(const std::string& directory) {
  // HDF5 may have been built without thread safety; after opening it is not needed any more.
  static std::mutex one_at_a_time;
  const std::scoped_lock lock(one_at_a_time);
  return Dataset(std::make_unique<Impl>(directory));
}

int64_t Dataset::users() const { return impl_->users; }
int64_t Dataset::items() const { return impl_->items.ids.size(); }
int64_t Dataset::events() const { return impl_->events; }
int64_t Dataset::first_time() const { return impl_->items.first_time; }
int64_t Dataset::last_time() const { return impl_->items.last_time; }
const std::string& Dataset::directory() const { return impl_->directory; }
const std::string& Dataset::fingerprint() const { return impl_->items.fingerprint; }
const std::vector<std::string>& Dataset::actions() const { return impl_->items.actions; }
const std::vector<std::string>& Dataset::surfaces() const { return impl_->items.surfaces; }

Timeline Dataset::timeline(int64_t user) const {
  Timeline found = std::move(timelines(user, 1).front());
  check(found);
  return found;
}

int64_t Dataset::timeline_length(int64_t user) const {
  const PlacedUser at = impl_->place(user);
  return impl_->parts[at.part].length(at.row);
}

void Dataset::read(int64_t first, int64_t count, EventBlock& block) const {
  std::vector<int64_t> lengths;
  impl_->for_each_part(first, count, [&](size_t part, int64_t row, int64_t users) {
    for (int64_t i = 0; i < users; ++i) lengths.push_back(impl_->parts[part].length(row + i));
  });
  block.reset(first, lengths);
  int64_t done = 0;
  impl_->for_each_part(first, count, [&](size_t part, int64_t row, int64_t users) {
    impl_->parts[part].read_events(row, users, block, block.start[static_cast<size_t>(done)]);
    done += users;
  });
}

std::vector<Timeline> Dataset::timelines(int64_t first, int64_t count) const {
  EventBlock block;
  read(first, count, block);
  std::vector<Timeline> timelines(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    block.copy_to(timelines[static_cast<size_t>(i)], i, block.length(i));
  return timelines;
}

void Dataset::check_files(int64_t first, int64_t count) const {
  impl_->for_each_part(first, count,
                       [&](size_t part, int64_t, int64_t) { impl_->parts[part].check_size(); });
}

void Dataset::verify(int64_t first, int64_t count, std::vector<VerifiedBlocks>& verified) const {
  verified.resize(impl_->parts.size());
  impl_->for_each_part(first, count, [&](size_t part, int64_t row, int64_t users) {
    impl_->parts[part].verify(row, users, verified[part]);
  });
}

void Dataset::check(const Timeline& timeline) const {
  const TimelineLimits limits{items(), std::ssize(actions()), std::ssize(surfaces())};
  const std::string fault = timeline_fault(timeline, limits);
  if (!fault.empty())
    throw DataError(place_of(timeline.user) + ": dataset " + fault +
                    "; copy or import the dataset again");
}

std::vector<FileRange> Dataset::file_ranges(int64_t first, int64_t count) const {
  std::vector<FileRange> ranges;
  impl_->for_each_part(first, count, [&](size_t part, int64_t row, int64_t users) {
    impl_->parts[part].append_ranges(row, users, ranges);
  });
  return ranges;
}

std::string Dataset::place_of(int64_t user) const {
  const PlacedUser at = impl_->place(user);
  const UsersFile& part = impl_->parts[at.part];
  return part.path() + ": user " + user_id(user) + " (row " + std::to_string(at.row) + ", events " +
         std::to_string(part.first_event(at.row)) + " to " +
         std::to_string(part.first_event(at.row) + part.length(at.row)) + ")";
}

std::vector<int64_t> Dataset::newest_times(int64_t first, int64_t count) const {
  std::vector<int64_t> out;
  out.reserve(static_cast<size_t>(count));
  impl_->for_each_part(first, count, [&](size_t part, int64_t row, int64_t users) {
    impl_->parts[part].append_newest_times(row, users, out);
  });
  return out;
}

std::string Dataset::user_id(int64_t user) const {
  const PlacedUser at = impl_->place(user);
  const UsersFile& part = impl_->parts[at.part];
  return part.integer_ids() ? std::to_string(part.number(at.row)) : std::string(part.text(at.row));
}

std::string Dataset::item_id(int64_t item) const {
  if (item < 0 || item >= items()) {
    throw std::out_of_range("item row " + std::to_string(item) + " of " + std::to_string(items()));
  }
  return impl_->items.ids.text(item);
}

bool Dataset::user_ids_are_integers() const { return impl_->parts.front().integer_ids(); }
bool Dataset::item_ids_are_integers() const { return impl_->items.ids.integers(); }

void Dataset::append_user_id(int64_t user, IdColumn* ids) const {
  const PlacedUser at = impl_->place(user);
  const UsersFile& part = impl_->parts[at.part];
  if (part.integer_ids()) {
    ids->push_back(part.number(at.row));
  } else {
    ids->push_back(part.text(at.row));
  }
}

void Dataset::append_item_id(int64_t item, IdColumn* ids) const {
  if (impl_->items.ids.integers()) {
    ids->push_back(impl_->items.ids.number(item));
  } else {
    ids->push_back(impl_->items.ids.view(item));
  }
}

uint64_t Dataset::user_hash(int64_t user) const {
  const PlacedUser at = impl_->place(user);
  const UsersFile& part = impl_->parts[at.part];
  return part.integer_ids() ? pinnerformer::user_hash(part.number(at.row))
                            : pinnerformer::user_hash(part.text(at.row));
}

uint64_t Dataset::item_hash(int64_t item) const {
  const IdColumn& ids = impl_->items.ids;
  return ids.integers() ? pinnerformer::user_hash(ids.number(item))
                        : pinnerformer::user_hash(ids.view(item));
}

std::optional<uint64_t> Dataset::item_hash_as(bool integers, int64_t item) const {
  if (integers == item_ids_are_integers()) return item_hash(item);
  const std::string id = item_id(item);
  if (!integers) return pinnerformer::user_hash(std::string_view(id));
  const std::optional<int64_t> number = canonical_integer(id);
  return number ? std::optional(pinnerformer::user_hash(*number)) : std::nullopt;
}

std::optional<int64_t> Dataset::find_user(const std::string& id) const {
  const std::optional<int64_t> number = as_integer(id);
  if (user_ids_are_integers() && !number) return std::nullopt;
  const uint64_t hash = user_ids_are_integers() ? pinnerformer::user_hash(*number)
                                                : pinnerformer::user_hash(std::string_view(id));
  int64_t row = partition_point(users(), [&](int64_t user) { return user_hash(user) < hash; });
  // Two strings may share a hash; the walk is one step in practice.
  for (; row < users() && user_hash(row) == hash; ++row) {
    if (user_id(row) == id || (number && user_ids_are_integers())) return row;
  }
  return std::nullopt;
}

std::optional<int64_t> Dataset::find_item(const std::string& id) const {
  const IdColumn& ids = impl_->items.ids;
  const std::optional<int64_t> number = as_integer(id);
  if (ids.integers() && !number) return std::nullopt;
  const int64_t row = partition_point(ids.size(), [&](int64_t item) {
    return ids.integers() ? ids.number(item) < *number : ids.view(item) < std::string_view(id);
  });
  if (row == ids.size()) return std::nullopt;
  const bool found = ids.integers() ? ids.number(row) == *number : ids.view(row) == id;
  return found ? std::optional(row) : std::nullopt;
}

const torch::Tensor& Dataset::item_vectors() const { return impl_->items.vectors; }
const SemanticIds& Dataset::semantic_ids() const { return impl_->items.semantic_ids; }
int64_t Dataset::vector_width() const {
  return item_vectors().defined() ? item_vectors().size(1) : 0;
}
bool Dataset::has_titles() const { return impl_->items.has_titles; }
std::string Dataset::item_title(int64_t item) const {
  return has_titles() ? impl_->items.titles.text(item) : "";
}
bool Dataset::has_topics() const { return !impl_->items.topics.empty(); }
const std::vector<int32_t>& Dataset::item_topics() const { return impl_->items.topics; }
const std::vector<std::string>& Dataset::topic_names() const { return impl_->items.topic_names; }

}  // namespace pinnerformer
