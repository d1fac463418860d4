// What the file system of the run directory does for a checkpoint: how fast it makes a file
// durable, and how many more it can hold.
#pragma once
#include <filesystem>

#include "launch/doctor/check.h"

namespace pinnerformer {

// The path, or the nearest folder above it that exists.
[[nodiscard]] std::filesystem::path existing_folder(const std::filesystem::path& path);

// Writes a small file, brings it to the disk and renames it, a few times; removes it. A note above
// 100 ms, FAILED where one of these does not work.
[[nodiscard]] Check durable_write_check(const std::filesystem::path& folder);

// A note below 10,000 free inodes, where the file system counts them.
[[nodiscard]] Check inode_check(const std::filesystem::path& folder);

}  // namespace pinnerformer
