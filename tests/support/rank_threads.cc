// One thread per rank; the first exception of any thread is rethrown.
#include "tests/support/rank_threads.h"

#include <gtest/gtest.h>

#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "comm/thread_communicator.h"

namespace pinnerformer {

void run_ranks(int ranks, const std::function<void(Communicator&)>& body, double timeout_seconds) {
  const auto world = make_thread_communicators(ranks, timeout_seconds);
  std::mutex mutex;
  std::exception_ptr first;
  std::vector<std::thread> threads;
  for (const auto& comm : world)
    threads.emplace_back([&, member = comm.get()] {
      const testing::ScopedTrace trace(__FILE__, __LINE__,
                                       "rank " + std::to_string(member->rank()));
      try {
        body(*member);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace pinnerformer
