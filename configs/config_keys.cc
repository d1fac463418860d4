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
      {"run.directory", "directory of the run: configuration, metrics, log and checkpoints",
       at<&RunConfig::run, &RunOptions::directory>, anything()},
      {"run.seed", "seed of every random draw of the run", at<&RunConfig::run, &RunOptions::seed>,
       at_least(0)},
  };
}

Keys data_keys() {
  return {
      {"data.path", "dataset directory, as written by `pinnerformer import`",
       at<&RunConfig::data, &DataOptions::path>, anything()},
      {"data.prefetch_batches", "number of batches prepared ahead of the training step",
       at<&RunConfig::data, &DataOptions::prefetch_batches>, at_least(1)},
      {"data.block_users", "users in a block; a block is read at once",
       at<&RunConfig::data, &DataOptions::block_users>, at_least(1)},
      {"data.shuffle_blocks", "blocks in the shuffle buffer for every 16 users of a global batch",
       at<&RunConfig::data, &DataOptions::shuffle_blocks>, at_least(1)},
      {"data.on_bad_block", "what happens when a block of users cannot be read or is damaged",
       at<&RunConfig::data, &DataOptions::on_bad_block>, anything()},
      {"data.verify_checksums", "verify the checksum of each block when it is first read",
       at<&RunConfig::data, &DataOptions::verify_checksums>, anything()},
      {"data.device_vectors_mib",
       "MiB of content vectors that a GPU may hold; more stay in host memory, and the rows of each "
       "step are sent",
       at<&RunConfig::data, &DataOptions::device_vectors_mib>, at_least(0)},
  };
}

Keys label_keys() {
  return {
      {"positives.actions",
       "actions that are positives: NAME, or NAME>SECONDS for a minimum duration",
       at<&RunConfig::positives, &PositiveOptions::actions>, positive_actions()},
      {"positives.surfaces", "surfaces whose events can be positives; empty: all",
       at<&RunConfig::positives, &PositiveOptions::surfaces>, names()},
      {"positives.first_only", "only a user's first event on an item can be a positive",
       at<&RunConfig::positives, &PositiveOptions::first_only>, anything()},
      {"split.users_percent", "percentage of users held out for evaluation",
       at<&RunConfig::split, &SplitOptions::users_percent>, between(0, 100)},
      {"split.window_days", "length of an evaluation window in days",
       at<&RunConfig::split, &SplitOptions::window_days>, above(0)},
      {"split.windows", "number of consecutive evaluation windows before split.end",
       at<&RunConfig::split, &SplitOptions::windows>, at_least(1)},
      {"split.end", "time where the last window ends, such as 2024-05-31; empty: last event",
       at<&RunConfig::split, &SplitOptions::end>, anything()},
      {"split.min_events", "minimum number of events of an evaluation user before the window",
       at<&RunConfig::split, &SplitOptions::min_events>, at_least(1)},
      {"split.protocol", "what is held out: users in windows, or the last event of every user",
       at<&RunConfig::split, &SplitOptions::protocol>, anything()},
      {"split.validation_percent",
       "percentage of users for validation, other ones than for evaluation; 0: none. Under "
       "leave_one_out: of users whose second-last event is for validation",
       at<&RunConfig::split, &SplitOptions::validation_percent>, between(0, 100)},
      {"split.leave_out",
       "under leave_one_out: number of a user's last events that training leaves out; the last one "
       "is the test, 2 leaves one for validation",
       at<&RunConfig::split, &SplitOptions::leave_out>, between(1, 2)},
  };
}

Keys model_keys() {
  return {
      {"model.max_length", "M, number of most recent actions that the model reads",
       at<&RunConfig::model, &ModelOptions::max_length>, at_least(1)},
      {"model.hidden", "H, width of the encoder", at<&RunConfig::model, &ModelOptions::hidden>,
       at_least(1)},
      {"model.layers", "L, blocks of the encoder", at<&RunConfig::model, &ModelOptions::layers>,
       at_least(1)},
      {"model.heads", "attention heads; must divide model.hidden; lru has none",
       at<&RunConfig::model, &ModelOptions::heads>, at_least(1)},
      {"model.output", "D, width of user and item vectors",
       at<&RunConfig::model, &ModelOptions::output>, at_least(1)},
      {"model.item_hidden", "hidden width of the item tower",
       at<&RunConfig::model, &ModelOptions::item_hidden>, at_least(1)},
      {"model.action_dim", "width of the learned action vectors",
       at<&RunConfig::model, &ModelOptions::action_dim>, at_least(1)},
      {"model.surface_dim", "width of the learned surface vectors",
       at<&RunConfig::model, &ModelOptions::surface_dim>, at_least(1)},
      {"model.dropout", "dropout probability in training",
       at<&RunConfig::model, &ModelOptions::dropout>, from_to_below(0, 1)},
      {"model.temperature", "initial temperature of the softmax; it is learned",
       at<&RunConfig::model, &ModelOptions::temperature>, at_least(0.01)},
      {"model.block", "formula of a block of the encoder",
       at<&RunConfig::model, &ModelOptions::block>, anything()},
      {"model.user_head", "how the state of a position becomes a user vector",
       at<&RunConfig::model, &ModelOptions::user_head>, anything()},
      {"model.similarity", "score of a user and an item: cosine over a temperature, or dot product",
       at<&RunConfig::model, &ModelOptions::similarity>, anything()},
      {"model.user_vectors",
       "K, vectors of each user; the score of an item is the largest of its scores with them",
       at<&RunConfig::model, &ModelOptions::user_vectors>, between(1, 64)},
      {"model.condition",
       "what a user vector is made for, beside the user's events: nothing, or items of a topic",
       at<&RunConfig::model, &ModelOptions::condition>, anything()},
      {"model.condition_dropout",
       "share of the training pairs whose topic is hidden, so that vectors without one are trained",
       at<&RunConfig::model, &ModelOptions::condition_dropout>, from_to_below(0, 1)},
      {"model.prior_days",
       "popularity prior: the score gains a learned multiple of log(1 + positives of the item in "
       "the last so many days) for each of these numbers of days; empty: none",
       at<&RunConfig::model, &ModelOptions::prior_days>, ascending_numbers()},
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
      {"item.tower", "how the content vector and the learned row of an item become its embedding",
       at<&RunConfig::item, &ItemOptions::tower>, anything()},
      {"item.semantic_ids",
       "add the learned rows of an item's codes to its embedding; `semantic-ids` makes the codes",
       at<&RunConfig::item, &ItemOptions::semantic_ids>, anything()},
      item_table_key<&Table::placement>(
          "placement", "which ranks hold the learned item rows; none: the model has none",
          anything()),
      item_table_key<&Table::memory>(
          "memory",
          "where a rank holds its learned item rows; auto: on the GPU where they are row_sharded",
          anything()),
      item_table_key<&Table::dim>("dim", "width of a learned item row", at_least(1)),
      item_table_key<&Table::optimizer>("optimizer", "update rule of the learned item rows",
                                        anything()),
      item_table_key<&Table::learning_rate>("learning_rate", "highest learning rate of the rows",
                                            above(0)),
      item_table_key<&Table::init_std>(
          "init_std", "standard deviation of the initial values of a row", above(0)),
      item_table_key<&Table::hash_buckets>(
          "hash_buckets", "rows shared by a hash of the item id; 0: one row each", at_least(0)),
      item_table_key<&Table::unknown_rate>(
          "unknown_rate", "share of items that read the unknown row in a training step",
          from_to_below(0, 1)),
      item_table_key<&Table::pretrain_steps>(
          "pretrain_steps", "steps that train only the rows, before the first step of the model",
          at_least(0)),
  };
}

Keys objective_keys() {
  return {
      {"objective.name", "which pairs (position, positive) are terms of the loss",
       at<&RunConfig::objective, &ObjectiveOptions::name>, anything()},
      {"objective.window_days",
       "K, length of the label window in days; 0 with window_events; not used by next_item",
       at<&RunConfig::objective, &ObjectiveOptions::window_days>, at_least(0)},
      {"objective.window_events",
       "W, the label window is the next so many events instead of days; 0: days",
       at<&RunConfig::objective, &ObjectiveOptions::window_events>, at_least(0)},
      {"objective.window_anchor",
       "where the label window starts: at the newest input, or at each position",
       at<&RunConfig::objective, &ObjectiveOptions::window_anchor>, anything()},
      {"objective.max_labels", "maximum number of positives per label window",
       at<&RunConfig::objective, &ObjectiveOptions::max_labels>, at_least(1)},
      {"objective.positions", "number of positions drawn per user by dense_all_action",
       at<&RunConfig::objective, &ObjectiveOptions::positions>, at_least(1)},
      {"objective.weighting",
       "user: every user has the same weight in the loss; pair: every pair has",
       at<&RunConfig::objective, &ObjectiveOptions::weighting>, anything()},
      {"objective.recent_days",
       "samples end in this many last days of the training data; 0: anywhere",
       at<&RunConfig::objective, &ObjectiveOptions::recent_days>, at_least(0)},
      {"objective.sample_end",
       "where a user's sample ends: drawn uniformly among events in each epoch, as late as "
       "possible, both in turns so that long histories are covered, or at a moment drawn uniformly "
       "in time, for vectors that are computed once a day",
       at<&RunConfig::objective, &ObjectiveOptions::sample_end>, anything()},
  };
}

Keys negative_keys() {
  return {
      {"negatives.in_batch", "maximum number of in-batch negatives, over all ranks; 0: none",
       at<&RunConfig::negatives, &NegativeOptions::in_batch>, at_least(0)},
      {"negatives.random", "number of uniformly drawn negatives, over all ranks; 0: none",
       at<&RunConfig::negatives, &NegativeOptions::random>, at_least(0)},
      {"negatives.logq", "subtract the log sampling probability of an item from its logit",
       at<&RunConfig::negatives, &NegativeOptions::logq>, anything()},
      {"negatives.logq_form", "sampling probability that logq subtracts",
       at<&RunConfig::negatives, &NegativeOptions::logq_form>, anything()},
      {"negatives.mask",
       "items of the pool that are no negatives of a pair: all labels of its user's sample, or its "
       "own item",
       at<&RunConfig::negatives, &NegativeOptions::mask>, anything()},
  };
}

Keys optimizer_keys() {
  return {
      {"optimizer.learning_rate", "highest learning rate, reached after the warm-up",
       at<&RunConfig::optimizer, &OptimizerOptions::learning_rate>, above(0)},
      {"optimizer.warmup_steps", "steps of linear warm-up",
       at<&RunConfig::optimizer, &OptimizerOptions::warmup_steps>, at_least(0)},
      {"optimizer.schedule", "learning rate after the warm-up: a cosine down to zero, or constant",
       at<&RunConfig::optimizer, &OptimizerOptions::schedule>, anything()},
      {"optimizer.weight_decay", "decoupled weight decay, on matrices only",
       at<&RunConfig::optimizer, &OptimizerOptions::weight_decay>, at_least(0)},
      {"optimizer.beta1", "decay of the running mean of the gradient",
       at<&RunConfig::optimizer, &OptimizerOptions::beta1>, from_to_below(0, 1)},
      {"optimizer.beta2", "decay of the running mean of the squared gradient",
       at<&RunConfig::optimizer, &OptimizerOptions::beta2>, from_to_below(0, 1)},
      {"optimizer.epsilon", "added to the denominator of the update",
       at<&RunConfig::optimizer, &OptimizerOptions::epsilon>, above(0)},
      {"optimizer.clip_norm", "maximum global gradient norm; 0: no clipping",
       at<&RunConfig::optimizer, &OptimizerOptions::clip_norm>, at_least(0)},
  };
}

Keys training_keys() {
  return {
      {"train.steps", "optimizer steps of the whole run",
       at<&RunConfig::train, &TrainOptions::steps>, at_least(1)},
      {"train.global_batch_users", "users in a step, over all ranks",
       at<&RunConfig::train, &TrainOptions::global_batch_users>, at_least(1)},
      {"train.precision",
       "arithmetic of the model; weights stay fp32. auto: bf16 on GPUs of compute capability 8.0 "
       "and more, else fp32. On a CPU without bfloat16 instructions bf16 computes in fp32, and "
       "bf16_always emulates bfloat16, slowly",
       at<&RunConfig::train, &TrainOptions::precision>, anything()},
      {"train.log_every", "number of steps between logged lines",
       at<&RunConfig::train, &TrainOptions::log_every>, at_least(1)},
      {"train.stop_after",
       "save and end this long after the start, with exit code 85; empty: never",
       at<&RunConfig::train, &TrainOptions::stop_after>, duration_or_empty()},
      {"train.gradient_accumulation_steps",
       "a rank computes its share of a batch in this many parts, one after the other: less memory",
       at<&RunConfig::train, &TrainOptions::gradient_accumulation_steps>, at_least(1)},
      {"train.on_nonfinite", "what happens at a step whose gradient is not finite",
       at<&RunConfig::train, &TrainOptions::on_nonfinite>, anything()},
      {"checkpoint.every_steps", "number of steps between checkpoints",
       at<&RunConfig::checkpoint, &CheckpointOptions::every_steps>, at_least(1)},
      {"checkpoint.keep_last", "number of newest checkpoints to keep",
       at<&RunConfig::checkpoint, &CheckpointOptions::keep_last>, at_least(1)},
      {"checkpoint.table_full_every",
       "every Nth checkpoint stores the whole item table, the others only the rows changed since",
       at<&RunConfig::checkpoint, &CheckpointOptions::table_full_every>, at_least(1)},
      {"checkpoint.keep_every", "keep checkpoints at multiples of this number of steps; 0: none",
       at<&RunConfig::checkpoint, &CheckpointOptions::keep_every>, at_least(0)},
      {"checkpoint.mirror",
       "directory of this run alone, on another disk, that gets a copy of every checkpoint",
       at<&RunConfig::checkpoint, &CheckpointOptions::mirror>, anything()},
  };
}

Keys validate_keys() {
  return {
      {"validate.every_steps",
       "number of steps between evaluations on the validation users; the best step's checkpoint is "
       "kept; 0: never",
       at<&RunConfig::validate, &ValidateOptions::every_steps>, at_least(0)},
      {"validate.patience",
       "training ends after this many validations in a row without a better one; 0: it never ends "
       "early",
       at<&RunConfig::validate, &ValidateOptions::patience>, at_least(0)},
  };
}

Keys metrics_keys() {
  return {
      {"metrics.tensorboard", "write TensorBoard event files to run.directory/tensorboard",
       at<&RunConfig::metrics, &MetricsOptions::tensorboard>, anything()},
      {"metrics.prometheus_file",
       "file that holds the newest metrics in Prometheus' text format, such as "
       "/var/lib/node_exporter/run.prom; empty: none",
       at<&RunConfig::metrics, &MetricsOptions::prometheus_file>, anything()},
      {"metrics.prometheus_port",
       "port on which rank 0 answers GET /metrics in Prometheus' text format; 0: none",
       at<&RunConfig::metrics, &MetricsOptions::prometheus_port>, between(0, 65535)},
      {"metrics.prometheus_address",
       "address of that port; 0.0.0.0: every interface, without encryption or password",
       at<&RunConfig::metrics, &MetricsOptions::prometheus_address>, ip_address()},
      {"metrics.peak_tflops",
       "TFLOP/s that a rank's device can do in train.precision, by which mfu is reported; 0: none",
       at<&RunConfig::metrics, &MetricsOptions::peak_tflops>, at_least(0)},
  };
}

Keys comm_keys() {
  return {
      {"comm.backend", "how ranks exchange tensors; auto: nccl where each rank has its own GPU",
       at<&RunConfig::comm, &CommOptions::backend>, anything()},
      {"comm.timeout_seconds", "deadline of a collective; must cover saving a checkpoint",
       at<&RunConfig::comm, &CommOptions::timeout_seconds>, above(0)},
      {"comm.first_timeout_seconds", "deadline of a collective until the first step is done",
       at<&RunConfig::comm, &CommOptions::first_timeout_seconds>, above(0)},
      {"comm.straggler_seconds", "reports a rank for which others have waited this long",
       at<&RunConfig::comm, &CommOptions::straggler_seconds>, above(0)},
      {"comm.bucket_mib", "size of a gradient bucket in MiB; 0: 25, and 64 beyond 32 GPUs",
       at<&RunConfig::comm, &CommOptions::bucket_mib>, at_least(0)},
      {"comm.reduce_dtype", "element type in which gradients are sent and summed",
       at<&RunConfig::comm, &CommOptions::reduce_dtype>, anything()},
  };
}

Keys evaluate_keys() {
  return {
      {"evaluate.index_items", "number of random items in the index; 0: all items",
       at<&RunConfig::evaluate, &EvaluateOptions::index_items>, at_least(0)},
      {"evaluate.popularity_days",
       "days counted by the popularity baseline; 0: split.window_days; leave_one_out counts all",
       at<&RunConfig::evaluate, &EvaluateOptions::popularity_days>, at_least(0)},
      {"evaluate.mean_last",
       "number of items averaged by the mean_of_last and popularity_recency baselines",
       at<&RunConfig::evaluate, &EvaluateOptions::mean_last>, at_least(1)},
      {"evaluate.markov_last",
       "the markov baseline reads a user's events of this many latest seconds that have any",
       at<&RunConfig::evaluate, &EvaluateOptions::markov_last>, at_least(1)},
      {"evaluate.item_to_item_last",
       "number of latest positive items that the item_to_item baseline reads",
       at<&RunConfig::evaluate, &EvaluateOptions::item_to_item_last>, at_least(1)},
      {"evaluate.ease_l2", "λ, the L2 penalty of the ease baseline",
       at<&RunConfig::evaluate, &EvaluateOptions::ease_l2>, above(0)},
      {"evaluate.daily_delay_days", "days from making a daily vector to its use; 1 in the paper",
       at<&RunConfig::evaluate, &EvaluateOptions::daily_delay_days>, at_least(0)},
      {"evaluate.bootstrap",
       "number of resamples of users for standard errors and intervals; 0: none",
       at<&RunConfig::evaluate, &EvaluateOptions::bootstrap>, at_least(0)},
      {"evaluate.batch_users", "users embedded in one batch",
       at<&RunConfig::evaluate, &EvaluateOptions::batch_users>, at_least(1)},
      {"evaluate.exclude_seen",
       "leave items that the user had before out of the index and of the positives",
       at<&RunConfig::evaluate, &EvaluateOptions::exclude_seen>, anything()},
      {"evaluate.frequency", "how often user vectors are recomputed",
       at<&RunConfig::evaluate, &EvaluateOptions::frequency>, anything()},
      {"evaluate.baselines", "methods that are evaluated beside the model",
       at<&RunConfig::evaluate, &EvaluateOptions::baselines>, anything()},
  };
}

Keys all_keys() {
  Keys keys;
  for (const auto section :
       {run_keys, data_keys, label_keys, model_keys, feature_keys, item_table_keys, objective_keys,
        negative_keys, optimizer_keys, training_keys, validate_keys, metrics_keys, comm_keys,
        evaluate_keys}) {
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

bool is_path_key(std::string_view name) {
  constexpr auto kPaths = std::to_array<std::string_view>(
      {"run.directory", "data.path", "checkpoint.mirror", "metrics.prometheus_file"});
  return std::ranges::find(kPaths, name) != kPaths.end();
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
