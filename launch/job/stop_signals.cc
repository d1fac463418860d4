#include "launch/job/stop_signals.h"

#include <csignal>

namespace pinnerformer {
namespace {

volatile std::sig_atomic_t stop_received = 0;

extern "C" void note_stop_signal(int) { stop_received = 1; }

}  // namespace

StopSignals::StopSignals() {
  stop_received = 0;
  struct sigaction action {};
  action.sa_handler = note_stop_signal;
  action.sa_flags = SA_RESTART;  // interrupted reads, writes and waits continue
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
  action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);  // the second one acts by default
  sigaction(SIGINT, &action, nullptr);
}

bool StopSignals::received() { return stop_received != 0; }

}  // namespace pinnerformer
