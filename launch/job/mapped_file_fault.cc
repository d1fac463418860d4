// Only what POSIX allows in a handler: write(), _exit(), and copying.
#include "launch/job/mapped_file_fault.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "dataloader/base/file.h"
#include "launch/cli/exit_code.h"

namespace pinnerformer {
namespace {

extern "C" void end_with_message(int, siginfo_t* fault, void*) {
  constexpr std::string_view kReason =
      " can no longer be read: its disk failed, or it was cut short while in use. Look at the "
      "disk, and check the dataset with `pinnerformer data validate`, a checkpoint with "
      "`pinnerformer checkpoint verify`\n";
  const char* path = mapped_path_at(fault->si_addr);
  // One write, so that the messages of two ranks do not mix.
  std::array<char, 1024> text;
  size_t length = 0;
  for (const std::string_view part :
       {std::string_view("pinnerformer: the mapped file "),
        std::string_view(path == nullptr ? "(items.h5, a users file or an item table)" : path),
        kReason}) {
    const size_t count = std::min(part.size(), text.size() - length);
    std::memcpy(text.data() + length, part.data(), count);
    length += count;
  }
  static_cast<void>(!::write(STDERR_FILENO, text.data(), length));
  ::_exit(kIoFailed);
}

}  // namespace

void report_mapped_file_faults() {
  struct sigaction action {};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = end_with_message;
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace pinnerformer
