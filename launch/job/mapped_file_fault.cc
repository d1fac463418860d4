// Only what POSIX allows in a handler: write(), _exit(), and copying.
#include "launch/job/mapped_file_fault.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>
#include <string_view>

#include "dataloader/base/file.h"
#include "dataloader/base/library_call.h"
#include "launch/cli/exit_code.h"

namespace pinnerformer {
namespace {

// One write, so that the messages of two ranks do not mix.
void write_parts(std::initializer_list<std::string_view> parts) {
  std::array<char, 1024> text;
  size_t length = 0;
  for (const std::string_view part : parts) {
    const size_t count = std::min(part.size(), text.size() - length);
    std::memcpy(text.data() + length, part.data(), count);
    length += count;
  }
  static_cast<void>(!::write(STDERR_FILENO, text.data(), length));
}

void end_if_in_library_call() {
  const char* file = file_in_library_call();
  if (file == nullptr) return;
  write_parts(
      {"pinnerformer: ", file,
       ": the library that reads it crashed: expected a valid file of its format. The file is "
       "damaged or malicious; copy it again\n"});
  ::_exit(kBadData);
}

// Another fault ends the process by the signal, as soon as this handler has returned.
extern "C" void end_after_library_fault(int signal, siginfo_t*, void*) {
  end_if_in_library_call();
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

extern "C" void end_with_message(int, siginfo_t* fault, void*) {
  end_if_in_library_call();
  constexpr std::string_view kReason =
      " can no longer be read: its disk failed, or it was cut short while in use. Look at the "
      "disk, and check the dataset with `pinnerformer data validate`, a checkpoint with "
      "`pinnerformer checkpoint verify`\n";
  const char* path = mapped_path_at(fault->si_addr);
  write_parts({"pinnerformer: the mapped file ",
               path == nullptr ? "(items.h5, a users file or an item table)" : path, kReason});
  ::_exit(kIoFailed);
}

}  // namespace

void report_mapped_file_faults() {
  struct sigaction action {};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = end_with_message;
  ::sigaction(SIGBUS, &action, nullptr);
}

// On a stack of its own: the library may have used up the thread's.
void report_library_faults() {
  static std::array<char, 65536> stack;
  stack_t alternate{};
  alternate.ss_sp = stack.data();
  alternate.ss_size = stack.size();
  ::sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  action.sa_sigaction = end_after_library_fault;
  for (const int signal : {SIGSEGV, SIGFPE, SIGABRT, SIGILL}) ::sigaction(signal, &action, nullptr);
}

void report_file_size_limits() { ::signal(SIGXFSZ, SIG_IGN); }

}  // namespace pinnerformer
