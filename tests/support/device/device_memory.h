// Memory of a device that is not the CPU: in host memory, but the host must not touch it.
#pragma once
#include <cstddef>
#include <map>
#include <mutex>

namespace pinnerformer::device_double {

// The same pages are mapped twice. Tensors hold addresses of the first mapping, which has no access
// rights: a host that follows one is killed by SIGSEGV, as an illegal address is found on a GPU.
// Kernels use the second one.
class DeviceMemory {
 public:
  static DeviceMemory& instance();

  // At least one byte; aligned to 256.
  [[nodiscard]] void* allocate(size_t bytes);
  void release(void* start);
  // The start of the allocation that holds the byte.
  [[nodiscard]] void* start_of(const void* data);
  [[nodiscard]] void* for_kernels(const void* data) const;

 private:
  DeviceMemory();

  char* guarded_;
  char* open_;
  std::mutex mutex_;
  size_t top_ = 0;
  std::multimap<size_t, char*> free_;  // by bytes
  std::map<char*, size_t> used_;       // start -> bytes
};

}  // namespace pinnerformer::device_double
