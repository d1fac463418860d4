// Which keys a checkpoint fixes, for a run that goes on and for one that begins with its weights.
#include "launch/job/stored_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "configs/errors.h"
#include "configs/run_config.h"
#include "tests/support/message_of.h"

namespace pinnerformer {
namespace {

using testing::HasSubstr;
using testing::SizeIs;
using Words = std::vector<std::string>;
using Check = void (*)(const RunConfig& given, const RunConfig& stored);

void check_model(const RunConfig& given, const RunConfig& stored) {
  require_same_model(given, stored, "begin");
}

// What `check` says where one key of a stored configuration, `word`, has another value.
std::string refusal(Check check, const Words& stored, const std::string& word) {
  Words given = stored;
  given.push_back(word);
  const RunConfig here = load_config("", given), there = load_config("", stored);
  EXPECT_THAT(config_differences(here, there), SizeIs(1)) << word;
  return message_of<ConfigError>([&] { check(here, there); });
}

void expect_free(Check check, const Words& stored, const Words& words) {
  for (const std::string& word : words) EXPECT_EQ(refusal(check, stored, word), "no error");
}

void expect_fixed(Check check, const Words& stored, const Words& words) {
  for (const std::string& word : words)
    EXPECT_THAT(refusal(check, stored, word), HasSubstr(word.substr(0, word.find('=')) + ":"));
}

TEST(StoredConfig, ARunGoesOnElsewhereAndAtAnotherPace) {
  expect_free(require_same_run, {},
              {"run.directory=b", "data.path=b", "data.prefetch_batches=7",
               "data.on_bad_block=skip", "data.device_vectors_mib=7", "train.steps=7",
               "train.log_every=7", "train.stop_after=1d", "train.gradient_accumulation_steps=2",
               "train.on_nonfinite=skip", "checkpoint.every_steps=7", "checkpoint.keep_last=7",
               "comm.timeout_seconds=7", "metrics.tensorboard=false", "metrics.peak_tflops=7"});
  expect_free(require_same_run, {"item.table.placement=replicated"},
              {"item.table.placement=row_sharded"});
}

TEST(StoredConfig, WhatTrainingComputesIsFixed) {
  expect_fixed(
      require_same_run, {},
      {"run.seed=7", "data.block_users=7", "data.shuffle_blocks=7", "positives.actions=repin",
       "split.users_percent=7", "split.min_events=7", "model.dropout=0.3", "item.tower=residual",
       "item.table.dim=7", "item.table.learning_rate=0.3", "objective.positions=7",
       "negatives.random=7", "optimizer.learning_rate=0.3", "train.global_batch_users=7",
       "train.precision=bf16", "validate.every_steps=7", "validate.patience=7"});
}

TEST(StoredConfig, ValidationsOfARunAreComparableWithEachOther) {
  const Words validates = {"validate.every_steps=5", "split.validation_percent=5"};
  const Words decide = {"evaluate.index_items=7", "evaluate.exclude_seen=false"};
  expect_fixed(require_same_run, validates, decide);
  expect_free(require_same_run, {}, decide);
  expect_free(require_same_run, validates,
              {"evaluate.popularity_days=7", "evaluate.mean_last=7", "evaluate.markov_last=7",
               "evaluate.item_to_item_last=7", "evaluate.ease_l2=7", "evaluate.daily_delay_days=7",
               "evaluate.bootstrap=7", "evaluate.batch_users=7", "evaluate.frequency=daily",
               "evaluate.baselines=random"});
}

TEST(StoredConfig, AStartWithWeightsNeedsTheSameModelAlone) {
  const Words rows = {"item.table.placement=replicated"};
  expect_fixed(check_model, rows,
               {"model.hidden=64", "model.heads=4", "model.max_length=7", "model.output=7",
                "model.block=hstu", "model.features.duration=false", "item.tower=residual",
                "item.table.dim=7", "item.table.hash_buckets=7", "item.table.placement=none"});
  expect_free(check_model, rows,
              {"run.seed=7", "data.path=b", "positives.actions=repin", "split.users_percent=7",
               "model.dropout=0.3", "model.temperature=0.3", "model.condition_dropout=0.3",
               "item.table.learning_rate=0.3", "item.table.placement=row_sharded",
               "objective.positions=7", "train.steps=7", "evaluate.exclude_seen=false"});
}

}  // namespace
}  // namespace pinnerformer
