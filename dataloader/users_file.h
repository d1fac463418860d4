// One opened users file: offsets and integer ids are mapped, event columns are read by position.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/file_io.h"
#include "dataloader/h5_file.h"
#include "dataloader/id_column.h"
#include "dataloader/timeline.h"

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
  [[nodiscard]] int64_t number(int64_t user) const { return numbers()[static_cast<size_t>(user)]; }
  [[nodiscard]] std::string_view text(int64_t user) const { return text_ids_.view(user); }
  [[nodiscard]] int64_t length(int64_t user) const { return offset(user + 1) - offset(user); }
  // Users [first, first + count), with Timeline::user counted from `first_row` on.
  void append_timelines(int64_t first, int64_t count, int64_t first_row,
                        std::vector<Timeline>& out) const;
  // Time of the newest event of users [first, first + count), INT64_MIN where there is none.
  void append_newest_times(int64_t first, int64_t count, std::vector<int64_t>& out) const;
  // Events [first, first + out.size()) of one column, regardless of users.
  void read_actions(int64_t first, std::span<int16_t> out) const;
  void read_surfaces(int64_t first, std::span<int16_t> out) const;

 private:
  [[nodiscard]] std::span<const int64_t> numbers() const;
  [[nodiscard]] int64_t offset(int64_t user) const {
    return static_cast<const int64_t*>(offset_map_.data())[user];
  }
  void check_offsets() const;

  File file_;
  int64_t users_ = 0;
  int64_t events_ = 0;
  std::string fingerprint_;
  bool integer_ids_ = true;
  IdColumn text_ids_{false};
  ReadOnlyMap id_map_;
  ReadOnlyMap offset_map_;
  int64_t item_ = 0;  // where each event column starts in the file, bytes
  int64_t action_ = 0;
  int64_t surface_ = 0;
  int64_t time_ = 0;
  int64_t duration_ = 0;
};

// Checks the format name and version that every file of a dataset carries.
void check_format(const H5File& file);

}  // namespace pinnerformer
