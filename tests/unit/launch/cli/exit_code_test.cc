// Which exception ends the program with which code and message, and which rank says so.
#include "launch/cli/exit_code.h"

#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <new>

#include "comm/communicator.h"
#include "configs/errors.h"
#include "dataloader/base/errors.h"
#include "launch/cli/launcher_rank.h"
#include "launch/job/failure.h"
#include "trainer/checkpoint/checkpoint.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::array kRankVariables = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                       "SLURM_PROCID"};

// Tests may themselves run under a launcher: each starts without its variables.
class ExitCode : public testing::Test {
 protected:
  ExitCode() {
    for (const char* variable : kRankVariables) unsetenv(variable);
  }
  ~ExitCode() override {
    for (const char* variable : kRankVariables) unsetenv(variable);
  }
};

template <class Exception>
Failure failure_of(const Exception& exception) {
  return describe_failure(std::make_exception_ptr(exception));
}

std::string reported(const Failure& failure) {
  testing::internal::CaptureStderr();
  report_failure("pinnerformer train", failure);
  return testing::internal::GetCapturedStderr();
}

TEST_F(ExitCode, AllocationsThatFailInLibrariesAreNoBug) {
  for (const char* text : {"could not create a memory object",
                           "DefaultCPUAllocator: can't allocate "
                           "memory: you tried to allocate 8 bytes",
                           "Not enough memory: addPoint failed to allocate linklist",
                           "Resource temporarily unavailable"}) {
    const Failure failure = failure_of(std::runtime_error(text));
    EXPECT_EQ(failure.exit_code, kNoMemory) << text;
    EXPECT_THAT(failure.message, HasSubstr("out of memory: "));
    EXPECT_THAT(failure.message, Not(HasSubstr("a bug")));
  }
}

// Of this process: more than any machine has.
TEST_F(ExitCode, SoIsATensorThatTheCpuHasNoRoomFor) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer ends a process that asks for so much";
#endif
  try {
    static_cast<void>(torch::empty({int64_t{1} << 46}, torch::kFloat32));
    FAIL() << "256 TiB were there";
  } catch (...) {
    const Failure failure = describe_failure(std::current_exception());
    EXPECT_EQ(failure.exit_code, kNoMemory) << failure.message;
    EXPECT_THAT(failure.message, HasSubstr("lower train.global_batch_users"));
  }
}

// As c10::cuda::c10_cuda_check_implementation() throws it.
Failure failure_of_cuda(int32_t code, const char* text) {
  return failure_of(c10::AcceleratorError({__func__, __FILE__, __LINE__}, code, text));
}

TEST_F(ExitCode, AGpuThatFailsIsWorthARestart) {
  constexpr int kEccUncorrectable = 214, kLaunchFailure = 719;
  for (const int code : {kEccUncorrectable, kLaunchFailure}) {
    const Failure failure = failure_of_cuda(code, "CUDA error: uncorrectable ECC error");
    EXPECT_EQ(failure.exit_code, kCommFailed) << code;
    EXPECT_THAT(failure.message, HasSubstr("a GPU failed: CUDA error: uncorrectable ECC error"));
    EXPECT_THAT(failure.message, Not(HasSubstr("frame #")));
  }
  const auto by_cublas = [] { TORCH_CHECK(false, "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"); };
  try {
    by_cublas();
  } catch (...) {
    EXPECT_EQ(describe_failure(std::current_exception()).exit_code, kCommFailed);
  }
}

#ifdef PF_WITH_CUDA
TEST_F(ExitCode, AKernelThatFailsByItselfWouldFailAgain) {
  constexpr int kMemoryAllocation = 2, kInvalidConfiguration = 9, kAssert = 710;
  for (const int code : {kInvalidConfiguration, kAssert}) {
    EXPECT_EQ(failure_of_cuda(code, "CUDA error").exit_code, kBug) << code;
    EXPECT_THAT(failure_of_cuda(code, "CUDA error").message, HasSubstr("This is a bug"));
  }
  const Failure memory = failure_of_cuda(kMemoryAllocation, "CUDA error: out of memory");
  EXPECT_EQ(memory.exit_code, kNoMemory);
  EXPECT_THAT(memory.message, HasSubstr("raise train.gradient_accumulation_steps"));
}
#endif

TEST_F(ExitCode, FollowsTheKindOfException) {
  EXPECT_EQ(failure_of(UsageError("x")).exit_code, kUsage);
  EXPECT_EQ(failure_of(DataError("x")).exit_code, kBadData);
  EXPECT_EQ(failure_of(CheckpointError("x")).exit_code, kBadData);
  EXPECT_EQ(failure_of(MissingInputError("x")).exit_code, kNoInput);
  EXPECT_EQ(failure_of(MissingConfigError("x")).exit_code, kNoInput);
  EXPECT_EQ(failure_of(ConfigError("x")).exit_code, kBadConfig);
  EXPECT_EQ(failure_of(IoError("x")).exit_code, kIoFailed);
  EXPECT_EQ(failure_of(std::filesystem::filesystem_error("x", std::error_code())).exit_code,
            kIoFailed);
  EXPECT_EQ(failure_of(CommError("x")).exit_code, kCommFailed);
  EXPECT_EQ(failure_of(std::logic_error("x")).exit_code, kBug);
  EXPECT_EQ(failure_of(std::bad_alloc()).exit_code, kNoMemory);
  EXPECT_EQ(failure_of(3).exit_code, kBug);
}

TEST_F(ExitCode, SaysWhatIsABug) {
  EXPECT_THAT(failure_of(std::logic_error("wrong shape")).message,
              HasSubstr("wrong shape\nThis is a bug"));
  EXPECT_THAT(failure_of(3).message, HasSubstr("This is a bug"));
  EXPECT_EQ(failure_of(DataError("bad row")).message, "bad row");
  EXPECT_THAT(failure_of(std::bad_alloc()).message, HasSubstr("lower train.global_batch_users"));
}

TEST_F(ExitCode, LeavesOutTheBacktraceOfLibTorch) {
  try {
    TORCH_CHECK(false, "expected 3 rows, found ", 4);
  } catch (...) {
    const Failure failure = describe_failure(std::current_exception());
    EXPECT_EQ(failure.exit_code, kBug);
    EXPECT_THAT(failure.message, HasSubstr("expected 3 rows, found 4\nThis is a bug"));
    EXPECT_THAT(failure.message, Not(HasSubstr("frame #")));
  }
}

TEST_F(ExitCode, MessageNamesTheCommandAndUnderALauncherTheRank) {
  EXPECT_EQ(reported(failure_of(DataError("bad row"))), "pinnerformer train: bad row\n");
  for (const char* variable : kRankVariables) {
    setenv(variable, "0", /*overwrite=*/1);
    EXPECT_EQ(reported(failure_of(DataError("bad row"))), "pinnerformer train: [rank 0] bad row\n");
    unsetenv(variable);
  }
  setenv("SLURM_PROCID", "3", /*overwrite=*/1);
  EXPECT_EQ(reported(failure_of(DataError("bad row"))), "pinnerformer train: [rank 3] bad row\n");
}

TEST_F(ExitCode, WhatAllRanksShareIsSaidByRankZeroAlone) {
  setenv("OMPI_COMM_WORLD_RANK", "0", /*overwrite=*/1);
  EXPECT_EQ(reported(failure_of(ConfigError("bad key"))), "pinnerformer train: bad key\n");
  setenv("OMPI_COMM_WORLD_RANK", "1", /*overwrite=*/1);
  EXPECT_EQ(reported(failure_of(ConfigError("bad key"))), "");
  EXPECT_TRUE(failure_of(UsageError("bad option")).same_on_every_rank);
  EXPECT_TRUE(failure_of(MissingConfigError("no file")).same_on_every_rank);
  EXPECT_FALSE(failure_of(IoError("disk full")).same_on_every_rank);
}

TEST_F(ExitCode, RankComesFromTheMostSpecificVariable) {
  EXPECT_EQ(launcher_rank(), std::nullopt);
  EXPECT_TRUE(speaks_for_all_ranks());
  setenv("SLURM_PROCID", "0", /*overwrite=*/1);
  setenv("OMPI_COMM_WORLD_RANK", "2", /*overwrite=*/1);
  EXPECT_EQ(launcher_rank(), 2);
  EXPECT_FALSE(speaks_for_all_ranks());
  setenv("OMPI_COMM_WORLD_RANK", "nonsense", /*overwrite=*/1);
  EXPECT_EQ(launcher_rank(), 0);
}

}  // namespace
}  // namespace pinnerformer
