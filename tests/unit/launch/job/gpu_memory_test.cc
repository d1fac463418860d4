// Which GPU has the least memory, and what is said where one has none left.
#include "launch/job/gpu_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/communicator.h"
#include "launch/cli/exit_code.h"
#include "launch/commands/train_device.h"
#include "launch/job/failure.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr double kGibibyte = 1 << 30;

TEST(GpuMemory, TheScarcestIsTheSameOnAllRanks) {
  run_ranks(3, [](Communicator& comm) {
    const double free = comm.rank() == 1 ? 3.5 * kGibibyte : 70 * kGibibyte;
    const auto scarcest = scarcest_gpu(
        GpuMemory{"GPU of node" + std::to_string(comm.rank()), free, 80 * kGibibyte}, comm);
    ASSERT_TRUE(scarcest);
    EXPECT_EQ(scarcest->rank, 1);
    EXPECT_EQ(scarcest->name, "GPU of node1");
    EXPECT_EQ(scarcest->free, 3.5 * kGibibyte);
    EXPECT_EQ(scarcest->total, 80 * kGibibyte);
    EXPECT_FALSE(scarcest_gpu(std::nullopt, comm)) << "CPUs";
  });
  EXPECT_FALSE(own_gpu_memory(torch::kCPU));
}

TEST(GpuMemory, ItsEndNamesWhatWasHeldAndPredicted) {
  const auto fail = []() -> int {
    throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, "CUDA out of memory. Tried 3 GiB");
  };
  try {
    naming_gpu_memory(61.5 * kGibibyte, torch::kCPU, fail);
    FAIL() << "nothing was thrown";
  } catch (const OutOfGpuMemory&) {
    const Failure failure = describe_failure(std::current_exception());
    EXPECT_EQ(failure.exit_code, kNoMemory);
    EXPECT_THAT(failure.message,
                AllOf(HasSubstr("out of memory: CUDA out of memory. Tried 3 GiB"),
                      HasSubstr("has held 0.0 GiB at most"), HasSubstr("61.5 GiB were predicted"),
                      HasSubstr("raise train.gradient_accumulation_steps"), Not(HasSubstr("bug"))));
  }
  EXPECT_EQ(naming_gpu_memory(0, torch::kCPU, [] { return 7; }), 7);
}

}  // namespace
}  // namespace pinnerformer
