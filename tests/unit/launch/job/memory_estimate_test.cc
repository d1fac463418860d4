// What a training needs at least: close to what is allocated, and absurd sizes are named.
#include "launch/job/memory_estimate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/errors.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;

constexpr double kGib = 1024.0 * 1024 * 1024;
constexpr MemoryScale kScale{.items = 100'000, .ranks = 2};

double total(const RunConfig& config) {
  double sum = 0;
  for (const MemoryPart& part : memory_parts(config, kScale)) sum += part.bytes;
  return sum;
}

TEST(MemoryEstimate, TheDefaultModelFitsIntoTwoGib) {
  EXPECT_GT(total(RunConfig()), 0.5 * kGib);  // 43 million parameters of 16 bytes
  EXPECT_LT(total(RunConfig()), 2 * kGib);
  EXPECT_NO_THROW(require_memory(RunConfig(), kScale, 2 * kGib));
}

TEST(MemoryEstimate, NamesTheKeyOfTheLargestPart) {
  for (const char* word :
       {"model.hidden=1000000", "model.layers=1000000", "model.max_length=1000000000",
        "model.output=1000000000", "model.item_hidden=1000000000", "model.action_dim=1000000000",
        "train.global_batch_users=1000000000", "negatives.random=1000000000"}) {
    const std::string key = std::string(word).substr(0, std::string(word).find('='));
    const RunConfig config = load_config("", {word});
    EXPECT_EQ(memory_parts(config, kScale).front().key, key);
    EXPECT_THAT(message_of<ConfigError>([&] { require_memory(config, kScale, 16 * kGib); }),
                HasSubstr(key + " takes"));
  }
}

TEST(MemoryEstimate, LearnedRowsAreSharedByTheRanksThatHoldThem) {
  RunConfig config;
  config.item.table.dim = 1000;
  config.item.table.placement = ItemPlacement::kReplicated;
  const double replicated = total(config);
  config.item.table.placement = ItemPlacement::kRowSharded;
  EXPECT_DOUBLE_EQ(replicated - total(config), 100'000 * 1000 * 4 / 2.0);
  config.item.table.optimizer = RowOptimizerKind::kLazyAdam;
  EXPECT_DOUBLE_EQ(total(config) - replicated, 100'000 * 1000 * 4 / 2.0);
  config.item.table.optimizer = RowOptimizerKind::kAdam;
  EXPECT_DOUBLE_EQ(total(config) - replicated, 100'000 * 1000 * 4 / 2.0);
}

TEST(MemoryEstimate, MessageGivesBothSizes) {
  const RunConfig config = load_config("", {"model.hidden=1000000"});
  EXPECT_THAT(message_of<ConfigError>([&] { require_memory(config, kScale, 16 * kGib); }),
              testing::MatchesRegex("a rank of this training needs at least [0-9.]+ GiB of memory, "
                                    "of which model.hidden takes [0-9.]+ GiB; this machine has "
                                    "16.0 GiB. Lower model.hidden"));
}

}  // namespace
}  // namespace pinnerformer
