// Each key is bound to its member, its help line and its rule in exactly one place: below.
#include "configs/config_keys.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

namespace pinnerformer {
namespace {

// The member at the end of a path: at<&RunConfig::model, &ModelOptions::hidden>.
template <auto... path>
ValueRef at(RunConfig& config) {
  return &(config.*....*path);
}

using Keys = std::vector<ConfigKey>;

Keys run_keys() {
  return {
      {"run.directory", "where the run writes its configuration, metrics and checkpoints",
       at<&RunConfig::run, &RunOptions::directory>, anything()},
      {"run.seed", "every random draw of the run derives from it",
       at<&RunConfig::run, &RunOptions::seed>, at_least(0)},
  };
}

Keys data_keys() {
  return {
      {"data.path", "dataset directory, as written by `pinnerformer import`",
       at<&RunConfig::data, &DataOptions::path>, anything()},
      {"data.prefetch_batches", "batches built ahead of the training step",
       at<&RunConfig::data, &DataOptions::prefetch_batches>, at_least(1)},
      {"data.block_users", "neighbours on disk that are read and shuffled together",
       at<&RunConfig::data, &DataOptions::block_users>, at_least(1)},
      {"data.shuffle_blocks", "blocks mixed for every 16 users of a global batch",
       at<&RunConfig::data, &DataOptions::shuffle_blocks>, at_least(1)},
      {"data.on_bad_block", "stop at, or go on without, users that cannot be read",
       at<&RunConfig::data, &DataOptions::on_bad_block>, anything()},
      {"data.verify_checksums", "compare what is read first with its checksums",
       at<&RunConfig::data, &DataOptions::verify_checksums>, anything()},
  };
}

Keys label_keys() {
  return {
      {"positives.actions", "which actions are positives: NAME, or NAME>SECONDS",
       at<&RunConfig::positives, &PositiveOptions::actions>, positive_actions()},
      {"positives.surfaces", "surfaces on which they count; empty: every one",
       at<&RunConfig::positives, &PositiveOptions::surfaces>, names()},
      {"positives.first_only", "only the user's first event on an item can be a positive",
       at<&RunConfig::positives, &PositiveOptions::first_only>, anything()},
      {"split.users_percent", "share of users held out for evaluation",
       at<&RunConfig::split, &SplitOptions::users_percent>, between(0, 100)},
      {"split.window_days", "length of one evaluation window",
       at<&RunConfig::split, &SplitOptions::window_days>, above(0)},
      {"split.windows", "consecutive evaluation windows at the end of the data",
       at<&RunConfig::split, &SplitOptions::windows>, at_least(1)},
      {"split.min_events", "earlier events an evaluation user must have",
       at<&RunConfig::split, &SplitOptions::min_events>, at_least(1)},
      {"split.protocol", "what is held out: users in windows, or the last event of every user",
       at<&RunConfig::split, &SplitOptions::protocol>, anything()},
  };
}

Keys model_keys() {
  return {
      {"model.max_length", "M, most recent actions read",
       at<&RunConfig::model, &ModelOptions::max_length>, at_least(1)},
      {"model.hidden", "H, width of the transformer", at<&RunConfig::model, &ModelOptions::hidden>,
       at_least(1)},
      {"model.layers", "L, blocks of the transformer", at<&RunConfig::model, &ModelOptions::layers>,
       at_least(1)},
      {"model.heads", "attention heads; must divide model.hidden",
       at<&RunConfig::model, &ModelOptions::heads>, at_least(1)},
      {"model.output", "D, width of user and item vectors",
       at<&RunConfig::model, &ModelOptions::output>, at_least(1)},
      {"model.item_hidden", "hidden width of the item tower",
       at<&RunConfig::model, &ModelOptions::item_hidden>, at_least(1)},
      {"model.action_dim", "width of the learned action vectors",
       at<&RunConfig::model, &ModelOptions::action_dim>, at_least(1)},
      {"model.surface_dim", "width of the learned surface vectors",
       at<&RunConfig::model, &ModelOptions::surface_dim>, at_least(1)},
      {"model.dropout", "share of activations dropped in training",
       at<&RunConfig::model, &ModelOptions::dropout>, from_to_below(0, 1)},
      {"model.temperature", "initial temperature of the softmax; learned",
       at<&RunConfig::model, &ModelOptions::temperature>, at_least(0.01)},
  };
}

template <auto feature>
ConfigKey feature_key(const std::string& name, const std::string& help) {
  return {"model.features." + name, "input feature: " + help,
          at<&RunConfig::model, &ModelOptions::features, feature>, anything()};
}

Keys feature_keys() {
  return {
      feature_key<&FeatureOptions::content>("content", "the item's frozen vector"),
      feature_key<&FeatureOptions::time>("time", "absolute time, age and gap"),
      feature_key<&FeatureOptions::surface>("surface", "where the action happened"),
      feature_key<&FeatureOptions::action>("action", "what kind of action it was"),
      feature_key<&FeatureOptions::duration>("duration", "how long it lasted"),
      feature_key<&FeatureOptions::position>("position", "place in the sequence, newest first"),
  };
}

template <auto option>
ConfigKey item_table_key(const std::string& name, const std::string& help, ValueRule rule) {
  return {"item.table." + name, help, at<&RunConfig::item, &ItemOptions::table, option>,
          std::move(rule)};
}

Keys item_table_keys() {
  using Table = ItemTableOptions;
  return {
      item_table_key<&Table::placement>(
          "placement", "where learned item rows live; none: there are none", anything()),
      item_table_key<&Table::dim>("dim", "width of a learned item row", at_least(1)),
      item_table_key<&Table::optimizer>("optimizer", "how the rows of a step are updated",
                                        anything()),
      item_table_key<&Table::learning_rate>("learning_rate", "highest learning rate of the rows",
                                            above(0)),
      item_table_key<&Table::init_std>("init_std", "standard deviation of the initial rows",
                                       above(0)),
      item_table_key<&Table::hash_buckets>(
          "hash_buckets", "rows shared by a hash of the item id; 0: one row each", at_least(0)),
      item_table_key<&Table::unknown_rate>(
          "unknown_rate", "share of items that read the unknown row in a training step",
          from_to_below(0, 1)),
      item_table_key<&Table::pretrain_steps>(
          "pretrain_steps", "steps that train the rows alone before the model", at_least(0)),
  };
}

Keys objective_keys() {
  return {
      {"objective.name", "which (position, positive) pairs the loss sees",
       at<&RunConfig::objective, &ObjectiveOptions::name>, anything()},
      {"objective.window_days", "K, how far ahead labels are taken from",
       at<&RunConfig::objective, &ObjectiveOptions::window_days>, above(0)},
      {"objective.window_anchor", "where that window starts",
       at<&RunConfig::objective, &ObjectiveOptions::window_anchor>, anything()},
      {"objective.max_labels", "positives kept per window",
       at<&RunConfig::objective, &ObjectiveOptions::max_labels>, at_least(1)},
      {"objective.positions", "positions drawn per user by dense_all_action",
       at<&RunConfig::objective, &ObjectiveOptions::positions>, at_least(1)},
      {"objective.weighting", "what weighs the same in the loss: every user, or every pair",
       at<&RunConfig::objective, &ObjectiveOptions::weighting>, anything()},
      {"objective.recent_days", "samples end in the last so many days of training; 0: anywhere",
       at<&RunConfig::objective, &ObjectiveOptions::recent_days>, at_least(0)},
      {"objective.sample_end",
       "where in its history a user's sample of an epoch ends: anywhere, or as late as can be",
       at<&RunConfig::objective, &ObjectiveOptions::sample_end>, anything()},
  };
}

Keys negative_keys() {
  return {
      {"negatives.in_batch", "cap on in-batch negatives, over all ranks; 0: none",
       at<&RunConfig::negatives, &NegativeOptions::in_batch>, at_least(0)},
      {"negatives.random", "uniform negatives, over all ranks; 0: none",
       at<&RunConfig::negatives, &NegativeOptions::random>, at_least(0)},
      {"negatives.logq", "correct the softmax for how often an item is sampled",
       at<&RunConfig::negatives, &NegativeOptions::logq>, anything()},
      {"negatives.mask",
       "items of the pool that are no negatives of a pair: all positives of its user, or its own",
       at<&RunConfig::negatives, &NegativeOptions::mask>, anything()},
      {"negatives.sketch_width", "counters per row of the count-min sketch",
       at<&RunConfig::negatives, &NegativeOptions::sketch_width>, power_of_two()},
      {"negatives.sketch_depth", "rows of the count-min sketch",
       at<&RunConfig::negatives, &NegativeOptions::sketch_depth>, between(1, 8)},
  };
}

Keys optimizer_keys() {
  return {
      {"optimizer.learning_rate", "highest learning rate, reached after the warm-up",
       at<&RunConfig::optimizer, &OptimizerOptions::learning_rate>, above(0)},
      {"optimizer.warmup_steps", "steps of linear growth before the cosine",
       at<&RunConfig::optimizer, &OptimizerOptions::warmup_steps>, at_least(0)},
      {"optimizer.weight_decay", "decoupled decay, on matrices only",
       at<&RunConfig::optimizer, &OptimizerOptions::weight_decay>, at_least(0)},
      {"optimizer.beta1", "memory of the gradient's mean",
       at<&RunConfig::optimizer, &OptimizerOptions::beta1>, from_to_below(0, 1)},
      {"optimizer.beta2", "memory of the gradient's square",
       at<&RunConfig::optimizer, &OptimizerOptions::beta2>, from_to_below(0, 1)},
      {"optimizer.epsilon", "added to the denominator",
       at<&RunConfig::optimizer, &OptimizerOptions::epsilon>, above(0)},
      {"optimizer.clip_norm", "global gradient norm is clipped to it; 0: off",
       at<&RunConfig::optimizer, &OptimizerOptions::clip_norm>, at_least(0)},
  };
}

Keys training_keys() {
  return {
      {"train.steps", "optimizer steps of the whole run",
       at<&RunConfig::train, &TrainOptions::steps>, at_least(1)},
      {"train.global_batch_users", "users of one step, over all ranks",
       at<&RunConfig::train, &TrainOptions::global_batch_users>, at_least(1)},
      {"train.precision",
       "arithmetic of the model; weights stay fp32. bf16: fp32 on a CPU that would have to emulate "
       "it; bf16_always: even there",
       at<&RunConfig::train, &TrainOptions::precision>, anything()},
      {"train.log_every", "steps from one logged line to the next",
       at<&RunConfig::train, &TrainOptions::log_every>, at_least(1)},
      {"train.stop_after", "save and end so long after the start, with exit code 85; empty: never",
       at<&RunConfig::train, &TrainOptions::stop_after>, duration_or_empty()},
      {"train.gradient_accumulation_steps",
       "parts in which a rank computes its users of a step, to save memory",
       at<&RunConfig::train, &TrainOptions::gradient_accumulation_steps>, at_least(1)},
      {"train.on_nonfinite", "what a step with a NaN or infinite gradient does on all ranks",
       at<&RunConfig::train, &TrainOptions::on_nonfinite>, anything()},
      {"checkpoint.every_steps", "steps from one checkpoint to the next",
       at<&RunConfig::checkpoint, &CheckpointOptions::every_steps>, at_least(1)},
      {"checkpoint.keep_last", "newest checkpoints that are kept",
       at<&RunConfig::checkpoint, &CheckpointOptions::keep_last>, at_least(1)},
      {"checkpoint.table_full_every",
       "checkpoints from one whole copy of the item table to the next; between: changed rows",
       at<&RunConfig::checkpoint, &CheckpointOptions::table_full_every>, at_least(1)},
      {"checkpoint.keep_every", "steps; checkpoints at multiples of it are kept for good; 0: none",
       at<&RunConfig::checkpoint, &CheckpointOptions::keep_every>, at_least(0)},
      {"checkpoint.keep_best", "checkpoints with the lowest loss that are kept besides; 0: none",
       at<&RunConfig::checkpoint, &CheckpointOptions::keep_best>, at_least(0)},
  };
}

Keys comm_keys() {
  return {
      {"comm.backend", "how ranks exchange tensors; auto: nccl where each rank has its own GPU",
       at<&RunConfig::comm, &CommOptions::backend>, anything()},
      {"comm.timeout_seconds", "longest wait for a collective; a checkpoint must be saved in it",
       at<&RunConfig::comm, &CommOptions::timeout_seconds>, above(0)},
      {"comm.first_timeout_seconds", "the same until the first step is taken, if longer",
       at<&RunConfig::comm, &CommOptions::first_timeout_seconds>, above(0)},
      {"comm.straggler_seconds", "a rank that others have waited for so long is reported",
       at<&RunConfig::comm, &CommOptions::straggler_seconds>, above(0)},
      {"comm.bucket_mib", "size of a gradient bucket",
       at<&RunConfig::comm, &CommOptions::bucket_mib>, above(0)},
      {"comm.first_bucket_mib", "size of the first bucket, small so that it leaves early",
       at<&RunConfig::comm, &CommOptions::first_bucket_mib>, above(0)},
      {"comm.reduce_dtype", "what gradients travel in between ranks",
       at<&RunConfig::comm, &CommOptions::reduce_dtype>, anything()},
  };
}

Keys evaluate_keys() {
  return {
      {"evaluate.index_items", "random items in the index; 0: all",
       at<&RunConfig::evaluate, &EvaluateOptions::index_items>, at_least(0)},
      {"evaluate.popularity_days", "window of the popularity baseline; 0: split.window_days",
       at<&RunConfig::evaluate, &EvaluateOptions::popularity_days>, at_least(0)},
      {"evaluate.mean_last", "items averaged by the mean_of_last baseline",
       at<&RunConfig::evaluate, &EvaluateOptions::mean_last>, at_least(1)},
      {"evaluate.bootstrap", "resamples of users for the standard errors; 0: none",
       at<&RunConfig::evaluate, &EvaluateOptions::bootstrap>, at_least(0)},
      {"evaluate.batch_users", "users embedded at a time",
       at<&RunConfig::evaluate, &EvaluateOptions::batch_users>, at_least(1)},
      {"evaluate.exclude_seen", "items the user had before do not compete",
       at<&RunConfig::evaluate, &EvaluateOptions::exclude_seen>, anything()},
      {"evaluate.frequency", "how often user vectors are recomputed",
       at<&RunConfig::evaluate, &EvaluateOptions::frequency>, anything()},
      {"evaluate.baselines", "evaluated beside the model",
       at<&RunConfig::evaluate, &EvaluateOptions::baselines>, anything()},
  };
}

Keys all_keys() {
  Keys keys;
  for (const auto section :
       {run_keys, data_keys, label_keys, model_keys, feature_keys, item_table_keys, objective_keys,
        negative_keys, optimizer_keys, training_keys, comm_keys, evaluate_keys}) {
    std::ranges::move(section(), std::back_inserter(keys));
  }
  return keys;
}

}  // namespace

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> keys = all_keys();
  return keys;
}

const ConfigKey* find_config_key(std::string_view name) {
  const auto found = std::ranges::find(config_keys(), name, &ConfigKey::name);
  return found == config_keys().end() ? nullptr : &*found;
}

bool is_config_section(std::string_view name) {
  const std::string prefix = std::string(name) + ".";
  return std::ranges::any_of(config_keys(),
                             [&](const ConfigKey& key) { return key.name.starts_with(prefix); });
}

std::string key_of_common_name(std::string_view name) {
  constexpr auto kNames = std::to_array<std::pair<std::string_view, std::string_view>>({
      {"lr", "optimizer.learning_rate"},
      {"warmup", "optimizer.warmup_steps"},
      {"clip", "optimizer.clip_norm"},
      {"batch_size", "train.global_batch_users"},
      {"batch", "train.global_batch_users"},
      {"max_steps", "train.steps"},
      {"iterations", "train.steps"},
      {"epochs", "train.steps"},
      {"grad_accum", "train.gradient_accumulation_steps"},
      {"accumulate", "train.gradient_accumulation_steps"},
      {"dtype", "train.precision"},
      {"embedding_dim", "model.output"},
      {"dim", "model.hidden"},
      {"num_layers", "model.layers"},
      {"num_heads", "model.heads"},
      {"seq_len", "model.max_length"},
      {"dataset", "data.path"},
      {"output_dir", "run.directory"},
  });
  const auto* const found =
      std::ranges::find(kNames, name, [](const auto& pair) { return pair.first; });
  return found == kNames.end() ? "" : std::string(found->second);
}

std::vector<std::string> config_key_names() {
  std::vector<std::string> names;
  for (const ConfigKey& key : config_keys()) names.push_back(key.name);
  return names;
}

std::vector<std::string> config_section_names() {
  std::vector<std::string> names;
  for (const ConfigKey& key : config_keys()) {
    const std::string section = key.name.substr(0, key.name.rfind('.'));
    if (names.empty() || names.back() != section) names.push_back(section);
  }
  return names;
}

}  // namespace pinnerformer
