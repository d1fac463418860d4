#include "comm/nccl/nccl_handle.h"

#include <sched.h>

#include <chrono>
#include <exception>
#include <utility>

namespace pinnerformer {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kAbortPatience = std::chrono::seconds(1);

}  // namespace

NcclHandle::NcclHandle(NcclApi api, const ncclUniqueId& id, int rank, int size,
                       double timeout_seconds)
    : api_(std::move(api)), rank_(rank), timeout_(timeout_seconds) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  try {
    await_acceptance(api_.init(&comm_, size, id, rank, &config), "start of NCCL");
  } catch (...) {
    abort();
    throw;
  }
}

NcclHandle::~NcclHandle() {
  if (comm_ != nullptr && !failed_ && std::uncaught_exceptions() == 0) {
    try {
      run("end of NCCL", [this](ncclComm_t comm) { return api_.finalize(comm); });
      api_.destroy(comm_);
      comm_ = nullptr;
    } catch (const CommError&) {
      // All collectives are complete; only the memory of this rank is left to free.
    }
  }
  abort();
}

void NcclHandle::require_alive(const std::string& name) const {
  if (comm_ == nullptr || failed_)
    throw CommError(name + ": the NCCL communicator of rank " + std::to_string(rank_) +
                    " has been aborted");
}

// A non-blocking communicator returns "in progress" until it has accepted the call.
void NcclHandle::await_acceptance(ncclResult_t result, const std::string& name) {
  const auto start = Clock::now();
  while (result == ncclInProgress) {
    if (std::chrono::duration<double>(Clock::now() - start).count() > timeout_) {
      const std::lock_guard lock(mutex_);
      failed_ = true;
      throw CommError(name + " did not finish within " + std::to_string(timeout_) +
                      " s: a rank is lost or frozen");
    }
    sched_yield();
    const std::lock_guard lock(mutex_);
    require_alive(name);
    result = poll();
  }
  if (result == ncclSuccess) return;
  const std::lock_guard lock(mutex_);
  fail(result, name);
}

ncclResult_t NcclHandle::poll() {
  ncclResult_t state = ncclSuccess;
  const ncclResult_t query = api_.async_error(comm_, &state);
  return query == ncclSuccess ? state : query;
}

void NcclHandle::fail(ncclResult_t result, const std::string& name) {
  failed_ = true;
  throw CommError(name + " failed on rank " + std::to_string(rank_) + ": " +
                  api_.error_string(result) + "; " + api_.last_error(comm_));
}

void NcclHandle::check_async() {
  const std::lock_guard lock(mutex_);
  require_alive("NCCL");
  const ncclResult_t state = poll();
  if (state != ncclSuccess && state != ncclInProgress) fail(state, "NCCL");
}

void NcclHandle::abort() {
  const std::unique_lock lock(mutex_, kAbortPatience);
  if (!lock || comm_ == nullptr) return;
  failed_ = true;
  api_.abort(std::exchange(comm_, nullptr));
}

}  // namespace pinnerformer
