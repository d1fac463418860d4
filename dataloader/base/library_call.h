// Which file a library reads at the moment. HDF5 1.10 can fault in files that were made on purpose:
// the signal handler then says which file it was (launch/job/mapped_file_fault.h).
#pragma once
#include <string>

namespace pinnerformer {

// As long as it exists, this thread is inside a library that reads `path`, which must live as long.
class LibraryCall {
 public:
  explicit LibraryCall(const std::string& path);
  LibraryCall(const LibraryCall&) = delete;
  LibraryCall& operator=(const LibraryCall&) = delete;
  ~LibraryCall();

 private:
  const char* before_;
};

// nullptr where this thread is in no such call. Safe in a signal handler.
[[nodiscard]] const char* file_in_library_call();

}  // namespace pinnerformer
