// One users file of a dataset: collects users in order, then writes and seals the file.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/base/id_column.h"
#include "dataloader/dataset/column_spool.h"
#include "dataloader/dataset/timeline.h"
#include "dataloader/hdf5/h5_file.h"

namespace pinnerformer {

class UsersWriter {
 public:
  // Temporary files lie beside `path`, which finish() writes.
  UsersWriter(std::string path, bool integer_user_ids);
  UsersWriter(UsersWriter&&) = default;

  void add_user(int64_t id, const Timeline& events);
  void add_user(std::string_view id, const Timeline& events);
  [[nodiscard]] int64_t users() const { return users_; }
  [[nodiscard]] int64_t events() const { return events_; }
  // Writes the file with its checksums, brings it to the disk, returns its fingerprint.
  uint64_t finish();

 private:
  struct Column {
    std::string dataset;
    ElementType type;
    ColumnSpool spool;
  };
  void add_events(const Timeline& events);
  void write_columns();
  std::string path_;
  IdColumn text_ids_;  // only where ids are strings
  bool integer_ids_;
  std::vector<Column> columns_;
  int64_t users_ = 0;
  int64_t events_ = 0;
};

}  // namespace pinnerformer
