#include "launch/doctor/file_system_checks.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <vector>

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;
constexpr int kWrites = 9;
constexpr double kSlowMs = 100;
constexpr uint64_t kFewInodes = 10'000;

// Milliseconds of a write with fsync() and of a rename; the failed call in `fault`, errno stays.
struct DurableWrite {
  double sync_ms = 0, rename_ms = 0;
  const char* fault = nullptr;
};

double ms_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

DurableWrite write_once(const std::string& from, const std::string& to) {
  static constexpr std::array<char, 4096> bytes{};
  auto begin = std::chrono::steady_clock::now();
  const int handle = ::open(from.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (handle < 0) return {.fault = "open"};
  const bool written = ::write(handle, bytes.data(), bytes.size()) == std::ssize(bytes);
  const bool synced = written && ::fsync(handle) == 0;
  const int error = errno;
  ::close(handle);
  errno = error;
  if (!synced) return {.fault = written ? "fsync" : "write"};
  const double sync_ms = ms_since(begin);
  begin = std::chrono::steady_clock::now();
  if (::rename(from.c_str(), to.c_str()) != 0) return {.fault = "rename"};
  return {.sync_ms = sync_ms, .rename_ms = ms_since(begin)};
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

std::string milliseconds(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g ms", value);
  return text.data();
}

}  // namespace

fs::path existing_folder(const fs::path& path) {
  std::error_code none;
  fs::path there = fs::absolute(path, none);
  while (!fs::exists(there, none) && there != there.parent_path()) there = there.parent_path();
  return there;
}

Check durable_write_check(const fs::path& folder) {
  const std::string name = "durable writes";
  const std::string to = folder / (".pinnerformer-doctor-" + std::to_string(::getpid()));
  const std::string from = to + ".tmp";
  std::vector<double> syncs, renames;
  for (int i = 0; i < kWrites; ++i) {
    const DurableWrite done = write_once(from, to);
    if (done.fault != nullptr) {
      const std::string why = std::strerror(errno);
      for (const std::string& file : {from, to}) ::unlink(file.c_str());
      return {name, Health::kFailed,
              std::string(done.fault) + " does not work in " + folder.string() + ": " + why};
    }
    syncs.push_back(done.sync_ms);
    renames.push_back(done.rename_ms);
  }
  ::unlink(to.c_str());
  const double sync = median(syncs), rename = median(renames);
  const std::string finding =
      "fsync " + milliseconds(sync) + ", rename " + milliseconds(rename) + " in " + folder.string();
  if (std::max(sync, rename) > kSlowMs)
    return {name, Health::kNote, finding + ": slow; every checkpoint waits for a dozen of each"};
  return {name, Health::kOk, finding};
}

Check inode_check(const fs::path& folder) {
  struct statvfs disk {};
  if (::statvfs(folder.c_str(), &disk) != 0)
    return {"inodes", Health::kFailed, folder.string() + ": " + std::strerror(errno)};
  if (disk.f_files == 0)
    return {"inodes", Health::kOk, "not counted by the file system of " + folder.string()};
  return {"inodes", disk.f_favail < kFewInodes ? Health::kNote : Health::kOk,
          std::to_string(disk.f_favail) + " free at " + folder.string()};
}

}  // namespace pinnerformer
