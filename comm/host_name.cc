#include "comm/host_name.h"

#include <unistd.h>

#include <algorithm>
#include <array>

namespace pinnerformer {

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown host";
}

std::string host_name_fault(const std::string& host) {
  constexpr size_t kLongestPrefix = 49;
  const size_t length = std::min(host.find_first_of(".0123456789"), host.size());
  if (length <= kLongestPrefix) return "";
  return "the host name '" + host + "' has " + std::to_string(length) +
         " characters before the first digit or dot, and MPI can take " +
         std::to_string(kLongestPrefix) +
         ": a longer one ends in a stack overflow inside Open MPI. Give the host a shorter name";
}

}  // namespace pinnerformer
