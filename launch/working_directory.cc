// Refuses a working directory whose path is too long for the system's calls. It does so before the
// constructors of libraries run: that of MKL ends the process with a message that names LibTorch.
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "launch/cli/exit_code.h"

namespace pinnerformer {
namespace {

// Neither the allocator nor a sanitizer is ready. getcwd() would allocate memory for a long path.
[[gnu::no_sanitize("address", "undefined", "thread")]] void require_short_working_directory() {
  constexpr char kText[] =
      "pinnerformer: the path of the working directory has more characters than the system's limit "
      "of 4095: change to a directory with a shorter path\n";
  char path[PATH_MAX];
  const bool is_known = ::syscall(SYS_getcwd, path, sizeof path) >= 0;
  if (is_known || (errno != ENAMETOOLONG && errno != ERANGE)) return;
  static_cast<void>(!::write(STDERR_FILENO, kText, sizeof kText - 1));
  ::_exit(kBadConfig);
}

[[gnu::section(".preinit_array"),
  gnu::used]] void (*const kBeforeLibraries)() = require_short_working_directory;

}  // namespace
}  // namespace pinnerformer
