// A file in memory that each input of a fuzzer is written to, as the code under test opens files.
#pragma once
#include <unistd.h>

#include <cstddef>
#include <string>

#include "dataloader/base/file.h"

namespace pinnerformer {

inline std::string scratch_file(const std::string& name) {
  return "/dev/shm/pinnerformer-fuzz-" + std::to_string(::getpid()) + "-" + name;
}

inline void write_scratch(const std::string& path, const void* data, size_t size) {
  File::create(path).write_at(0, data, static_cast<int64_t>(size));
}

}  // namespace pinnerformer
