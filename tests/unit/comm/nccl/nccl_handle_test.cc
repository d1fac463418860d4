// The lifetime of an NCCL communicator without a GPU, with NCCL's functions replaced: failures,
// hangs, abort and the order of destruction.
#ifdef PF_WITH_CUDA
#include "comm/nccl/nccl_handle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A communicator that starts in `state` and records the calls made on it.
struct FakeNccl {
  std::vector<std::string> calls;
  std::atomic<ncclResult_t> state = ncclSuccess;
  ncclResult_t init_result = ncclSuccess;
  ncclResult_t finalize_result = ncclSuccess;
  int blocking = -1;

  NcclApi api() {
    NcclApi api;
    api.init = [this](ncclComm_t* comm, int, ncclUniqueId, int, ncclConfig_t* config) {
      calls.emplace_back("init");
      blocking = config->blocking;
      *comm = reinterpret_cast<ncclComm_t>(this);
      return init_result;
    };
    api.async_error = [this](ncclComm_t, ncclResult_t* result) {
      *result = state;
      return ncclSuccess;
    };
    api.finalize = [this](ncclComm_t) {
      calls.emplace_back("finalize");
      return finalize_result;
    };
    api.destroy = [this](ncclComm_t) {
      calls.emplace_back("destroy");
      return ncclSuccess;
    };
    api.abort = [this](ncclComm_t) {
      calls.emplace_back("abort");
      return ncclSuccess;
    };
    api.error_string = [](ncclResult_t) { return "unhandled system error"; };
    api.last_error = [](ncclComm_t) { return "connection closed by node9"; };
    return api;
  }
};

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const CommError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(NcclHandle, IsFinalizedThenDestroyed) {
  FakeNccl nccl;
  { const NcclHandle handle(nccl.api(), {}, 0, 2, 1); }
  EXPECT_THAT(nccl.calls, ElementsAre("init", "finalize", "destroy"));
  EXPECT_EQ(nccl.blocking, 0) << "only a non-blocking communicator can be aborted";
}

TEST(NcclHandle, InitWaitsUntilTheRanksAreConnected) {
  FakeNccl nccl;
  nccl.init_result = nccl.state = ncclInProgress;
  std::thread peer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    nccl.state = ncclSuccess;
  });
  { const NcclHandle handle(nccl.api(), {}, 0, 2, 60); }
  peer.join();
  EXPECT_THAT(nccl.calls, ElementsAre("init", "finalize", "destroy"));
}

TEST(NcclHandle, InitThatNeverFinishesIsAborted) {
  FakeNccl nccl;
  nccl.init_result = nccl.state = ncclInProgress;
  EXPECT_THAT(message_of([&] { NcclHandle(nccl.api(), {}, 0, 2, 0.1); }),
              HasSubstr("start of NCCL did not finish within 0.1"));
  EXPECT_THAT(nccl.calls, ElementsAre("init", "abort"));
}

TEST(NcclHandle, FailureNamesCallRankAndNcclsOwnWords) {
  FakeNccl nccl;
  NcclHandle handle(nccl.api(), {}, 3, 4, 1);
  const std::string text = message_of(
      [&] { handle.run("gradient bucket 2", [](ncclComm_t) { return ncclSystemError; }); });
  EXPECT_EQ(text,
            "gradient bucket 2 failed on rank 3: unhandled system error; connection closed "
            "by node9");
}

TEST(NcclHandle, AnAsynchronousErrorIsFoundAndEndsInAbort) {
  FakeNccl nccl;
  {
    NcclHandle handle(nccl.api(), {}, 1, 4, 1);
    EXPECT_NO_THROW(handle.check_async());
    nccl.state = ncclInProgress;
    EXPECT_NO_THROW(handle.check_async()) << "work under way is no error";
    nccl.state = ncclRemoteError;
    EXPECT_THAT(message_of([&] { handle.check_async(); }), HasSubstr("failed on rank 1"));
  }
  EXPECT_THAT(nccl.calls, ElementsAre("init", "abort")) << "finalize would wait for the lost peer";
}

TEST(NcclHandle, ACallThatIsNeverTakenUpHasADeadline) {
  FakeNccl nccl;
  {
    NcclHandle handle(nccl.api(), {}, 0, 2, 0.1);
    nccl.state = ncclInProgress;
    EXPECT_THAT(message_of([&] { handle.run("pairs", [](ncclComm_t) { return ncclInProgress; }); }),
                HasSubstr("pairs did not finish within 0.1"));
  }
  EXPECT_THAT(nccl.calls, ElementsAre("init", "abort"));
}

TEST(NcclHandle, AFinalizeThatHangsEndsInAbort) {
  FakeNccl nccl;
  {
    const NcclHandle handle(nccl.api(), {}, 0, 2, 0.1);
    nccl.finalize_result = nccl.state = ncclInProgress;
  }
  EXPECT_THAT(nccl.calls, ElementsAre("init", "finalize", "abort"));
}

TEST(NcclHandle, AnExceptionOnItsWayEndsInAbort) {
  FakeNccl nccl;
  EXPECT_THROW(
      {
        const NcclHandle handle(nccl.api(), {}, 0, 2, 1);
        throw CommError("another rank is lost");
      },
      CommError);
  EXPECT_THAT(nccl.calls, ElementsAre("init", "abort"));
}

// A watchdog aborts while a thread waits inside a call.
TEST(NcclHandle, AbortFromAnotherThreadEndsAWait) {
  FakeNccl nccl;
  NcclHandle handle(nccl.api(), {}, 0, 2, 60);
  nccl.state = ncclInProgress;
  std::thread watchdog([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    handle.abort();
    handle.abort();
  });
  EXPECT_THAT(message_of([&] { handle.run("pairs", [](ncclComm_t) { return ncclInProgress; }); }),
              HasSubstr("has been aborted"));
  watchdog.join();
  EXPECT_THAT(nccl.calls, ElementsAre("init", "abort")) << "once";
  EXPECT_THAT(message_of([&] { handle.check_async(); }), HasSubstr("has been aborted"));
}

}  // namespace
}  // namespace pinnerformer
#endif
