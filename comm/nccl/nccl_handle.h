// Owns one NCCL communicator: every wait has a deadline, every failure a message, and destruction
// follows the state of the communicator.
#pragma once
#include <nccl.h>

#include <mutex>
#include <string>

#include "comm/communicator.h"
#include "comm/nccl/nccl_api.h"

namespace pinnerformer {

// The communicator is non-blocking: a blocking one cannot be aborted safely while it hangs. NCCL
// allows one thread at a time inside a communicator; a lock ensures that, so that abort() and
// check_async() may be called from any thread.
class NcclHandle {
 public:
  // All ranks call it with the id of rank 0. Returns when the ranks are connected; throws CommError
  // after `timeout_seconds`.
  NcclHandle(NcclApi api, const ncclUniqueId& id, int rank, int size, double timeout_seconds);
  // Normally finalizes, which waits for the calls in progress up to the deadline, and destroys.
  // After a failure, a missed deadline or during an exception it aborts without waiting.
  ~NcclHandle();
  NcclHandle(const NcclHandle&) = delete;
  NcclHandle& operator=(const NcclHandle&) = delete;

  // Makes a call on the communicator and waits until NCCL has accepted it. `name` is for messages.
  template <class Call>
  void run(const std::string& name, Call call) {
    ncclResult_t result;
    {
      const std::lock_guard lock(mutex_);
      require_alive(name);
      result = call(comm_);
    }
    await_acceptance(result, name);
  }
  // Throws CommError if NCCL reported an asynchronous error, such as a lost peer.
  void check_async();
  // Frees the communicator at once, also during a collective. Does nothing when called again or
  // while another thread hangs inside NCCL.
  void abort();

 private:
  void require_alive(const std::string& name) const;
  void await_acceptance(ncclResult_t result, const std::string& name);
  // The caller of these two holds the lock.
  [[nodiscard]] ncclResult_t poll();
  [[noreturn]] void fail(ncclResult_t result, const std::string& name);

  NcclApi api_;
  int rank_;
  double timeout_;
  std::timed_mutex mutex_;
  ncclComm_t comm_ = nullptr;
  bool failed_ = false;
};

}  // namespace pinnerformer
