#include "comm/watchdog/nonblocking_write.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <ctime>
#include <string>

namespace pinnerformer {
namespace {

using Clock = std::chrono::steady_clock;

// While it lives, SIGPIPE does not reach this thread.
class WithoutSigpipe {
 public:
  WithoutSigpipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~WithoutSigpipe() {
    const timespec now{};
    if (sigismember(&before_, SIGPIPE) == 0) ::sigtimedwait(&pipe_, nullptr, &now);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  WithoutSigpipe(const WithoutSigpipe&) = delete;
  WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;

 private:
  sigset_t pipe_{}, before_{};
};

// A second, non-blocking description of the same pipe or terminal; -1 where there can be none.
int reopen_nonblocking(int descriptor) {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  return ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

// Returns at once, with EAGAIN where there is no room. Without a second description poll() has said
// that PIPE_BUF bytes fit.
ssize_t write_some(int descriptor, int reopened, bool socket, std::string_view text) {
  if (socket) return ::send(descriptor, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (reopened >= 0) return ::write(reopened, text.data(), text.size());
  return ::write(descriptor, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
}

bool wait_for_room(int descriptor, Clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
  pollfd room{descriptor, POLLOUT, 0};
  return ::poll(&room, 1, static_cast<int>(std::max<int64_t>(0, left))) > 0;
}

}  // namespace

void write_without_blocking(int descriptor, std::string_view text,
                            std::chrono::milliseconds patience) {
  const Clock::time_point end = Clock::now() + patience;
  const WithoutSigpipe without_sigpipe;
  struct stat kind {};
  if (::fstat(descriptor, &kind) != 0) return;
  const bool socket = S_ISSOCK(kind.st_mode);
  // A second description of a file would have a position of its own and overwrite.
  const int reopened = socket || S_ISREG(kind.st_mode) ? -1 : reopen_nonblocking(descriptor);
  while (!text.empty() && wait_for_room(descriptor, end)) {
    const ssize_t written = write_some(descriptor, reopened, socket, text);
    if (written < 0 && errno != EAGAIN && errno != EINTR) break;
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
    if (written < 0 && Clock::now() >= end) break;
  }
  if (reopened >= 0) ::close(reopened);
}

}  // namespace pinnerformer
