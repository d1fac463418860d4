// One opened users file: offsets and integer ids are mapped, event columns are read by position.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/base/file.h"
#include "dataloader/base/id_column.h"
#include "dataloader/dataset/event_block.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {

class UsersFile {
 public:
  // Checks schema, sizes and offsets. Throws DataError, MissingInputError or IoError.
  explicit UsersFile(const std::string& path);

  [[nodiscard]] const std::string& path() const { return file_.path(); }
  [[nodiscard]] int64_t users() const { return users_; }
  [[nodiscard]] int64_t events() const { return events_; }
  [[nodiscard]] const std::string& fingerprint() const { return fingerprint_; }
  [[nodiscard]] bool integer_ids() const { return integer_ids_; }
  [[nodiscard]] int64_t number(int64_t user) const { return int64_at(id_map_.data(), user); }
  [[nodiscard]] std::string_view text(int64_t user) const { return text_ids_.view(user); }
  [[nodiscard]] int64_t length(int64_t user) const { return offset(user + 1) - offset(user); }
  [[nodiscard]] int64_t first_event(int64_t user) const { return offset(user); }
  // Throws DataError where the file is shorter than when it was opened.
  void check_size() const;
  // The events of users [first, first + count), into the columns of `block` from event `at` on.
  void read_events(int64_t first, int64_t count, EventBlock& block, int64_t at) const;
  // The parts of the file that read_events() reads, in its order.
  void append_ranges(int64_t first, int64_t count, std::vector<FileRange>& ranges) const;
  // Compares those parts of the event columns with their checksums that hold events of these users
  // and have not been compared before. Throws DataError with the dataset and the rows.
  void verify(int64_t first, int64_t count, VerifiedBlocks& verified) const;
  // Time of the newest event of users [first, first + count), INT64_MIN where there is none.
  void append_newest_times(int64_t first, int64_t count, std::vector<int64_t>& out) const;

 private:
  // An event column: where it starts in the file, and what should be there.
  struct Column {
    const char* name;
    int64_t start = 0;
    int64_t width = 0;  // bytes per event
    std::vector<uint64_t> checksums = {};
  };

  void open_column(const H5File& file, Column& column, ElementType type);
  void read_checksums(const H5File& file, Column& column) const;
  [[nodiscard]] std::vector<const Column*> columns() const;
  template <class Value>
  void read_values(const Column& column, int64_t first, std::span<Value> out) const;
  void verify_column(const Column& column, int64_t first_byte, int64_t end_byte,
                     std::vector<bool>& verified) const;
  [[nodiscard]] int64_t offset(int64_t user) const { return int64_at(offset_map_.data(), user); }
  void check_offsets() const;

  File file_;
  int64_t users_ = 0;
  int64_t events_ = 0;
  std::string fingerprint_;
  bool integer_ids_ = true;
  IdColumn text_ids_{false};
  ReadOnlyMap id_map_;
  ReadOnlyMap offset_map_;
  int64_t size_ = 0;  // bytes of the file when it was opened
  Column item_{"/event/item"}, action_{"/event/action"}, surface_{"/event/surface"};
  Column time_{"/event/time"}, duration_{"/event/duration"};
};

// Checks the format name and version that every file of a dataset carries.
void check_format(const H5File& file);

}  // namespace pinnerformer
