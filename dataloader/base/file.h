// Positioned reads and writes on plain files and read-only maps. Every failure is an IoError that
// names the path and the reason; a file to read that does not exist is a MissingInputError.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>

#include "dataloader/base/errors.h"

namespace pinnerformer {

// An error that may be temporary (EIO, EAGAIN, EINTR): the whole operation is worth another try
// from its beginning. A second fsync of the same file is not enough: after a failed fsync the
// kernel may have dropped the data.
struct TransientIoError : IoError {
  using IoError::IoError;
};

// An open file descriptor with its path. Reads and writes at an offset are thread-safe.
class File {
 public:
  // Read only, without waiting. DataError where `path` is no regular file: a pipe or a device may
  // block or have no end.
  static File open(const std::string& path);
  static File open_for_update(const std::string& path);  // read and write, must exist
  static File create(const std::string& path);           // read and write, emptied
  static File create_new(const std::string& path);       // the same; must not exist
  static File append_to(const std::string& path);        // created where it does not exist
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int descriptor() const { return descriptor_; }
  [[nodiscard]] int64_t size() const;
  // All bytes or an exception: an end of file in between is an error too.
  void read_at(int64_t offset, void* destination, int64_t bytes) const;
  void write_at(int64_t offset, const void* source, int64_t bytes);
  void append(const void* source, int64_t bytes);
  void sync();  // returns once the content is on the disk

 private:
  File(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  int descriptor_ = -1;
  std::string path_;
};

struct FileRange {
  std::string path;
  int64_t offset = 0;
  int64_t bytes = 0;
};

// Brings the names in a directory to the disk.
void sync_directory_entries(const std::string& path);
// Renames a file or a directory, replacing a file of that name, and syncs the directory of `to`.
// Once renamed, only the sync is repeated, and its failure is a plain IoError: the caller must not
// start again from the beginning.
void rename_durably(const std::string& from, const std::string& to);

// The content of a regular file. Throws DataError where it has more than `most_bytes` bytes,
// MissingInputError or IoError.
[[nodiscard]] std::string read_whole_file(const std::string& path, int64_t most_bytes);

// "a pipe", "a directory": for messages. `mode` is st_mode.
[[nodiscard]] const char* describe_file_type(unsigned mode);

// A part of a file in memory, read on demand and shared between processes. An I/O error of the disk
// while the memory is read ends the process with SIGBUS: use read_at where that must not happen.
// mapped_path_at() tells the signal handler which file it was.
class ReadOnlyMap {
 public:
  ReadOnlyMap() = default;
  ReadOnlyMap(const File& file, int64_t offset, int64_t bytes);
  ReadOnlyMap(ReadOnlyMap&& other) noexcept;
  ReadOnlyMap& operator=(ReadOnlyMap&& other) noexcept;
  ~ReadOnlyMap();
  [[nodiscard]] const void* data() const { return data_; }

 private:
  void* base_ = nullptr;  // start of the page that holds data_
  int64_t mapped_ = 0;    // bytes from base_ on
  const void* data_ = nullptr;
};

// Element `index` of an array of int64 in a mapped file, whose address need not be a multiple of 8.
[[nodiscard]] inline int64_t int64_at(const void* array, int64_t index) {
  int64_t value = 0;
  std::memcpy(&value, static_cast<const char*>(array) + index * int64_t{sizeof value},
              sizeof value);
  return value;
}

// Path of the file whose map holds this address (the last 511 bytes of a longer path); nullptr
// where there is none or more than 256 maps exist. Safe in a signal handler.
[[nodiscard]] const char* mapped_path_at(const void* address);

}  // namespace pinnerformer
