// Every key sets the member that its name says, and no other: two keys that are swapped, or one
// that writes nowhere, fail here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "configs/config_keys.h"
#include "configs/run_config.h"

namespace pinnerformer {
namespace {

using Names = std::vector<std::string>;

struct Binding {
  std::string key;
  std::string text;                             // not the default
  std::function<bool(const RunConfig&)> holds;  // the member has the value of `text`
};

#define MEMBER(path, value) [](const RunConfig& config) { return config.path == (value); }

std::vector<Binding> bindings() {
  return {
      {"run.directory", "a/run", MEMBER(run.directory, "a/run")},
      {"run.seed", "12", MEMBER(run.seed, 12)},
      {"data.path", "a/dataset", MEMBER(data.path, "a/dataset")},
      {"data.prefetch_batches", "9", MEMBER(data.prefetch_batches, 9)},
      {"data.block_users", "33", MEMBER(data.block_users, 33)},
      {"data.shuffle_blocks", "3", MEMBER(data.shuffle_blocks, 3)},
      {"data.on_bad_block", "skip", MEMBER(data.on_bad_block, OnBadBlock::kSkip)},
      {"data.verify_checksums", "false", MEMBER(data.verify_checksums, false)},
      {"data.device_vectors_mib", "9", MEMBER(data.device_vectors_mib, 9)},
      {"positives.actions", "a,b>3", MEMBER(positives.actions, (Names{"a", "b>3"}))},
      {"positives.surfaces", "x,y", MEMBER(positives.surfaces, (Names{"x", "y"}))},
      {"positives.first_only", "true", MEMBER(positives.first_only, true)},
      {"split.users_percent", "31", MEMBER(split.users_percent, 31)},
      {"split.window_days", "3.5", MEMBER(split.window_days, 3.5)},
      {"split.windows", "4", MEMBER(split.windows, 4)},
      {"split.end", "2024-05-31", MEMBER(split.end, "2024-05-31")},
      {"split.min_events", "7", MEMBER(split.min_events, 7)},
      {"split.protocol", "leave_one_out", MEMBER(split.protocol, SplitProtocol::kLeaveOneOut)},
      {"split.validation_percent", "32", MEMBER(split.validation_percent, 32)},
      {"split.leave_out", "1", MEMBER(split.leave_out, 1)},
      {"model.max_length", "99", MEMBER(model.max_length, 99)},
      {"model.hidden", "96", MEMBER(model.hidden, 96)},
      {"model.layers", "3", MEMBER(model.layers, 3)},
      {"model.heads", "4", MEMBER(model.heads, 4)},
      {"model.output", "48", MEMBER(model.output, 48)},
      {"model.item_hidden", "77", MEMBER(model.item_hidden, 77)},
      {"model.action_dim", "13", MEMBER(model.action_dim, 13)},
      {"model.surface_dim", "14", MEMBER(model.surface_dim, 14)},
      {"model.dropout", "0.25", MEMBER(model.dropout, 0.25)},
      {"model.temperature", "0.5", MEMBER(model.temperature, 0.5)},
      {"model.block", "ligr", MEMBER(model.block, BlockKind::kLigr)},
      {"model.user_head", "norm", MEMBER(model.user_head, UserHead::kNorm)},
      {"model.similarity", "dot", MEMBER(model.similarity, Similarity::kDot)},
      {"model.user_vectors", "5", MEMBER(model.user_vectors, 5)},
      {"model.condition", "topic", MEMBER(model.condition, Condition::kTopic)},
      {"model.condition_dropout", "0.75", MEMBER(model.condition_dropout, 0.75)},
      {"model.prior_days", "[1, 7]", MEMBER(model.prior_days, (std::vector<int64_t>{1, 7}))},
      {"item.tower", "tied", MEMBER(item.tower, ItemTower::kTied)},
      {"item.semantic_ids", "true", MEMBER(item.semantic_ids, true)},
      {"model.features.content", "false", MEMBER(model.features.content, false)},
      {"model.features.time", "false", MEMBER(model.features.time, false)},
      {"model.features.surface", "false", MEMBER(model.features.surface, false)},
      {"model.features.action", "false", MEMBER(model.features.action, false)},
      {"model.features.duration", "false", MEMBER(model.features.duration, false)},
      {"model.features.position", "false", MEMBER(model.features.position, false)},
      {"item.table.placement", "row_sharded",
       MEMBER(item.table.placement, ItemPlacement::kRowSharded)},
      {"item.table.memory", "host", MEMBER(item.table.memory, RowMemory::kHost)},
      {"item.table.dim", "17", MEMBER(item.table.dim, 17)},
      {"item.table.optimizer", "lazy_adam",
       MEMBER(item.table.optimizer, RowOptimizerKind::kLazyAdam)},
      {"item.table.learning_rate", "0.75", MEMBER(item.table.learning_rate, 0.75)},
      {"item.table.init_std", "1.5", MEMBER(item.table.init_std, 1.5)},
      {"item.table.hash_buckets", "18", MEMBER(item.table.hash_buckets, 18)},
      {"item.table.unknown_rate", "0.125", MEMBER(item.table.unknown_rate, 0.125)},
      {"item.table.pretrain_steps", "19", MEMBER(item.table.pretrain_steps, 19)},
      {"objective.name", "sasrec", MEMBER(objective.name, ObjectiveKind::kSasrec)},
      {"objective.window_days", "6.5", MEMBER(objective.window_days, 6.5)},
      {"objective.window_events", "20", MEMBER(objective.window_events, 20)},
      {"objective.window_anchor", "position",
       MEMBER(objective.window_anchor, WindowAnchor::kPosition)},
      {"objective.max_labels", "21", MEMBER(objective.max_labels, 21)},
      {"objective.positions", "22", MEMBER(objective.positions, 22)},
      {"objective.weighting", "pair", MEMBER(objective.weighting, PairWeighting::kPair)},
      {"objective.recent_days", "8.5", MEMBER(objective.recent_days, 8.5)},
      {"objective.sample_end", "latest", MEMBER(objective.sample_end, SampleEnd::kLatest)},
      {"negatives.in_batch", "23", MEMBER(negatives.in_batch, 23)},
      {"negatives.random", "24", MEMBER(negatives.random, 24)},
      {"negatives.logq", "false", MEMBER(negatives.logq, false)},
      {"negatives.mask", "own_positive", MEMBER(negatives.mask, NegativeMask::kOwnPositive)},
      {"negatives.logq_form", "mixture", MEMBER(negatives.logq_form, LogQForm::kMixture)},
      {"optimizer.learning_rate", "0.625", MEMBER(optimizer.learning_rate, 0.625)},
      {"optimizer.schedule", "constant", MEMBER(optimizer.schedule, LrSchedule::kConstant)},
      {"optimizer.warmup_steps", "25", MEMBER(optimizer.warmup_steps, 25)},
      {"optimizer.weight_decay", "0.375", MEMBER(optimizer.weight_decay, 0.375)},
      {"optimizer.beta1", "0.5", MEMBER(optimizer.beta1, 0.5)},
      {"optimizer.beta2", "0.75", MEMBER(optimizer.beta2, 0.75)},
      {"optimizer.epsilon", "0.0625", MEMBER(optimizer.epsilon, 0.0625)},
      {"optimizer.clip_norm", "2.5", MEMBER(optimizer.clip_norm, 2.5)},
      {"train.steps", "26", MEMBER(train.steps, 26)},
      {"train.global_batch_users", "27", MEMBER(train.global_batch_users, 27)},
      {"train.precision", "bf16_always", MEMBER(train.precision, Precision::kBf16Always)},
      {"train.log_every", "28", MEMBER(train.log_every, 28)},
      {"train.stop_after", "2h", MEMBER(train.stop_after, "2h")},
      {"train.gradient_accumulation_steps", "29", MEMBER(train.gradient_accumulation_steps, 29)},
      {"train.on_nonfinite", "skip", MEMBER(train.on_nonfinite, OnNonfinite::kSkip)},
      {"checkpoint.every_steps", "30", MEMBER(checkpoint.every_steps, 30)},
      {"checkpoint.keep_last", "32", MEMBER(checkpoint.keep_last, 32)},
      {"checkpoint.table_full_every", "34", MEMBER(checkpoint.table_full_every, 34)},
      {"checkpoint.keep_every", "35", MEMBER(checkpoint.keep_every, 35)},
      {"checkpoint.mirror", "a/mirror", MEMBER(checkpoint.mirror, "a/mirror")},
      {"validate.every_steps", "36", MEMBER(validate.every_steps, 36)},
      {"validate.patience", "46", MEMBER(validate.patience, 46)},
      {"metrics.tensorboard", "false", MEMBER(metrics.tensorboard, false)},
      {"metrics.prometheus_file", "a/run.prom", MEMBER(metrics.prometheus_file, "a/run.prom")},
      {"metrics.prometheus_port", "9400", MEMBER(metrics.prometheus_port, 9400)},
      {"metrics.prometheus_address", "::1", MEMBER(metrics.prometheus_address, "::1")},
      {"metrics.peak_tflops", "989", MEMBER(metrics.peak_tflops, 989)},
      {"comm.backend", "mpi", MEMBER(comm.backend, CommBackend::kMpi)},
      {"comm.timeout_seconds", "37", MEMBER(comm.timeout_seconds, 37)},
      {"comm.first_timeout_seconds", "38", MEMBER(comm.first_timeout_seconds, 38)},
      {"comm.straggler_seconds", "39", MEMBER(comm.straggler_seconds, 39)},
      {"comm.bucket_mib", "40", MEMBER(comm.bucket_mib, 40)},
      {"comm.reduce_dtype", "bf16", MEMBER(comm.reduce_dtype, ReduceDtype::kBf16)},
      {"evaluate.index_items", "42", MEMBER(evaluate.index_items, 42)},
      {"evaluate.popularity_days", "4.5", MEMBER(evaluate.popularity_days, 4.5)},
      {"evaluate.mean_last", "43", MEMBER(evaluate.mean_last, 43)},
      {"evaluate.markov_last", "48", MEMBER(evaluate.markov_last, 48)},
      {"evaluate.item_to_item_last", "49", MEMBER(evaluate.item_to_item_last, 49)},
      {"evaluate.ease_l2", "50.5", MEMBER(evaluate.ease_l2, 50.5)},
      {"evaluate.daily_delay_days", "3", MEMBER(evaluate.daily_delay_days, 3)},
      {"evaluate.bootstrap", "44", MEMBER(evaluate.bootstrap, 44)},
      {"evaluate.batch_users", "45", MEMBER(evaluate.batch_users, 45)},
      {"evaluate.exclude_seen", "false", MEMBER(evaluate.exclude_seen, false)},
      {"evaluate.frequency", "daily",
       MEMBER(evaluate.frequency, std::vector{InferenceFrequency::kDaily})},
      {"evaluate.baselines", "random", MEMBER(evaluate.baselines, std::vector{Baseline::kRandom})},
  };
}

TEST(ConfigBindings, EveryKeySetsTheMemberOfItsName) {
  for (const Binding& binding : bindings()) {
    EXPECT_FALSE(binding.holds(RunConfig())) << binding.key << ": the value is the default";
    RunConfig config;
    const ConfigKey* key = find_config_key(binding.key);
    ASSERT_NE(key, nullptr) << binding.key;
    ASSERT_TRUE(assign_text(key->member(config), binding.text)) << binding.key;
    EXPECT_TRUE(binding.holds(config)) << binding.key;
    for (const Binding& other : bindings())
      EXPECT_EQ(other.holds(config), other.key == binding.key)
          << binding.key << " changes what " << other.key << " sets";
  }
}

TEST(ConfigBindings, NoKeyIsLeftOut) {
  std::vector<std::string> keys;
  for (const Binding& binding : bindings()) keys.push_back(binding.key);
  EXPECT_THAT(keys, testing::UnorderedElementsAreArray(config_key_names()));
}

}  // namespace
}  // namespace pinnerformer
