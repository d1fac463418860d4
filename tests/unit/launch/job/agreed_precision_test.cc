// What train.precision=auto stands for, and that all ranks take the same.
#include "launch/job/agreed_precision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "comm/communicator.h"
#include "comm/thread_communicator.h"
#include "configs/errors.h"
#include "tests/support/message_of.h"
#include "tests/support/rank_threads.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const DeviceKind kCpu, kOld{"Tesla V100", 70}, kAmpere{"NVIDIA A100", 80},
    kHopper{"NVIDIA H200", 90};

Precision alone(Precision given, const DeviceKind& own) {
  return agreed_precision(given, own, *make_single_communicator());
}

TEST(AgreedPrecision, AutoIsBfloat16WhereAGpuMultipliesIt) {
  EXPECT_EQ(alone(Precision::kAuto, kCpu), Precision::kFp32);
  EXPECT_EQ(alone(Precision::kAuto, kOld), Precision::kFp32);
  EXPECT_EQ(alone(Precision::kAuto, kAmpere), Precision::kBf16);
  EXPECT_EQ(alone(Precision::kAuto, kHopper), Precision::kBf16);
}

TEST(AgreedPrecision, WhatIsGivenIsTaken) {
  for (const Precision given : {Precision::kFp32, Precision::kBf16, Precision::kBf16Always})
    for (const DeviceKind& kind : {kCpu, kOld, kHopper}) EXPECT_EQ(alone(given, kind), given);
}

TEST(AgreedPrecision, ADeviceThatIsTheCpuHasNoCapability) {
  EXPECT_EQ(device_kind(torch::kCPU).capability, 0);
}

TEST(AgreedPrecision, RanksThatDifferAreNamedOnAllRanks) {
  std::atomic<int> refused{0};
  run_ranks(3, [&](Communicator& comm) {
    const DeviceKind& own = comm.rank() == 2 ? kOld : kHopper;
    const std::string message = message_of<ConfigError>(
        [&] { static_cast<void>(agreed_precision(Precision::kAuto, own, comm)); });
    EXPECT_THAT(message, AllOf(HasSubstr("rank 0 in bf16 on NVIDIA H200, compute capability 9.0"),
                               HasSubstr("rank 2 in fp32 on Tesla V100, compute capability 7.0"),
                               HasSubstr("train.precision=fp32")));
    refused += message != "no error";
    EXPECT_EQ(agreed_precision(Precision::kFp32, own, comm), Precision::kFp32);
    const DeviceKind& alike = comm.rank() == 2 ? kAmpere : kHopper;
    EXPECT_EQ(agreed_precision(Precision::kAuto, alike, comm), Precision::kBf16);
  });
  EXPECT_EQ(refused, 3);
}

}  // namespace
}  // namespace pinnerformer
