// Only what POSIX allows in a handler: write() and _exit().
#include "launch/mapped_file_fault.h"

#include <signal.h>
#include <unistd.h>

#include <string_view>

#include "launch/command.h"

namespace pinnerformer {
namespace {

extern "C" void end_with_message(int) {
  constexpr std::string_view kMessage =
      "pinnerformer: a mapped file of the dataset (items.h5 or a users file) can no longer be "
      "read: "
      "its disk failed, or it was cut short while in use. Look at the disk, and check the dataset "
      "with `pinnerformer data validate`\n";
  static_cast<void>(!::write(STDERR_FILENO, kMessage.data(), kMessage.size()));
  ::_exit(kIoFailed);
}

}  // namespace

void report_mapped_file_faults() {
  struct sigaction action {};
  action.sa_handler = end_with_message;
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace pinnerformer
