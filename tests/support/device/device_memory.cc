#include "tests/support/device/device_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <iterator>
#include <stdexcept>

namespace pinnerformer::device_double {
namespace {

constexpr size_t kBytes = size_t{4} << 30;  // of addresses; pages are taken when they are used

char* map_pages(int file, int rights) {
  void* start = ::mmap(nullptr, kBytes, rights, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (start == MAP_FAILED) throw std::runtime_error("no addresses for the memory of a device");
  return static_cast<char*>(start);
}

}  // namespace

// Never destroyed: tensors may outlive every other object.
DeviceMemory& DeviceMemory::instance() {
  static auto* memory = new DeviceMemory;
  return *memory;
}

DeviceMemory::DeviceMemory() {
  const int file = ::memfd_create("device memory of tests", MFD_CLOEXEC);
  if (file < 0 || ::ftruncate(file, kBytes) != 0)
    throw std::runtime_error("no file for the memory of a device");
  guarded_ = map_pages(file, PROT_NONE);
  open_ = map_pages(file, PROT_READ | PROT_WRITE);
  ::close(file);
}

void* DeviceMemory::allocate(size_t bytes) {
  constexpr size_t kAlignment = 256;
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const std::lock_guard lock(mutex_);
  char* start = guarded_ + top_;
  if (const auto found = free_.find(bytes); found != free_.end()) {
    start = found->second;
    free_.erase(found);
  } else {
    top_ += bytes;
    if (top_ > kBytes) throw std::runtime_error("the device of the tests is full");
  }
  used_[start] = bytes;
  return start;
}

void DeviceMemory::release(void* start) {
  const std::lock_guard lock(mutex_);
  const auto found = used_.find(static_cast<char*>(start));
  free_.emplace(found->second, found->first);
  used_.erase(found);
}

void* DeviceMemory::start_of(const void* data) {
  const std::lock_guard lock(mutex_);
  const auto after = used_.upper_bound(static_cast<char*>(const_cast<void*>(data)));
  if (after == used_.begin()) throw std::runtime_error("an address that the device did not give");
  return std::prev(after)->first;
}

void* DeviceMemory::for_kernels(const void* data) const {
  return open_ + (static_cast<const char*>(data) - guarded_);
}

}  // namespace pinnerformer::device_double
