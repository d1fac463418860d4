// What a GPU that is too small says, with a free memory that the test gives.
#include "launch/plan/gpu_need.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "configs/errors.h"
#include "launch/plan/figures.h"
#include "launch/plan/plan.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class GpuNeed : public testing::Test {
 protected:
  static std::vector<PlanPart> need_of(const std::vector<std::string>& words, double ranks = 1) {
    return gpu_need(load_config("", words), kData, ranks);
  }
  static constexpr DataShape kData{
      .users = 1e6, .items = 1e6, .content_width = 256, .events_per_user = 1000, .window = 224};
};

TEST_F(GpuNeed, IsWhatAPlanCountsOnTheGpuWithoutTheProgram) {
  Machine machine = known_machine("h200");
  machine.runtime_mib = 0;
  const std::vector<std::string> words{"item.table.placement=replicated"};
  const Plan plan = make_plan(load_config("", words), kData, machine, 8);
  const auto need = need_of(words, 8);
  EXPECT_DOUBLE_EQ(sum_of(need), plan.memory_bytes);
  EXPECT_TRUE(std::ranges::is_sorted(need, std::greater(), &PlanPart::value));
}

TEST_F(GpuNeed, ASmallGpuIsRefusedWithTheKeysThatHelp) {
  const auto need = need_of({"train.global_batch_users=1024"});
  const double free = sum_of(need) / 3;
  EXPECT_THAT(message_of<ConfigError>([&] {
                static_cast<void>(require_gpu_memory(need, free, "the GPU of rank 3 (A of node7)"));
              }),
              AllOf(HasSubstr("the GPU of rank 3 (A of node7) has " + gib(free) + " free"),
                    HasSubstr("needs about " + gib(sum_of(need))), HasSubstr("activations"),
                    HasSubstr("(train.gradient_accumulation_steps)"), HasSubstr("use more ranks")));
}

TEST_F(GpuNeed, WhatMayFitIsANote) {
  const auto need = need_of({});
  EXPECT_EQ(require_gpu_memory(need, 1.01 * sum_of(need), "it"), "");
  EXPECT_THAT(require_gpu_memory(need, sum_of(need) / 1.1, "it"),
              HasSubstr("may run out of memory"));
  EXPECT_THROW(static_cast<void>(require_gpu_memory(need, sum_of(need) / 1.3, "it")), ConfigError);
}

TEST_F(GpuNeed, TheKeysThatItNamesLowerIt) {
  const std::vector<std::string> words{"train.precision=fp32"};
  const double before = sum_of(need_of(words));
  for (const char* word : {"train.gradient_accumulation_steps=4", "train.global_batch_users=512",
                           "data.device_vectors_mib=100", "negatives.random=512",
                           "model.hidden=384", "train.precision=auto"}) {
    std::vector<std::string> lower = words;
    lower.emplace_back(word);
    EXPECT_LT(sum_of(need_of(lower)), before) << word;
  }
}

}  // namespace
}  // namespace pinnerformer
