// Options of the model, the objective and the training loop.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace pinnerformer {

struct RunOptions {
  std::string directory;  // holds config.yaml, metrics.jsonl, log.txt and checkpoints/
  int64_t seed = 1;
};

// Switches of the transformer's input features (paper section 9, "leave one feature out"). The item
// tower always reads what the dataset and item.id_table have: content vector, learned row.
struct FeatureOptions {
  bool content = true;
  bool time = true;
  bool surface = true;
  bool action = true;
  bool duration = true;
  bool position = true;
};

// Defaults are the paper's model (paper section 5).
struct ModelOptions {
  int64_t max_length = 256;  // M, most recent actions read
  int64_t hidden = 768;      // H
  int64_t layers = 6;        // L
  int64_t heads = 8;
  int64_t output = 256;        // D
  int64_t item_hidden = 1024;  // hidden width of the item tower
  int64_t action_dim = 32;
  int64_t surface_dim = 32;
  double dropout = 0.1;
  double temperature = 0.07;  // initial; learned, never below 0.01
  FeatureOptions features;
};

// A learned row per item, beside its content vector or instead of it.
struct ItemTableOptions {
  std::string placement = "none";  // none: no table | replicated | row_sharded (row mod ranks)
  int64_t dim = 64;                // width of a row
  std::string optimizer = "rowwise_adagrad";  // rowwise_adagrad | lazy_adam
  double learning_rate = 0.05;  // highest; warm-up and cosine as of optimizer.learning_rate
  double init_std = 0.1;        // standard deviation of the elements a row starts with; not 0
  int64_t hash_buckets = 0;     // rows that all items share by a hash of their id; 0: one row each
  double unknown_rate = 0.02;   // share of items that read the unknown row in a training step
  int64_t pretrain_steps = 0;   // steps that train the rows alone, before the first of train.steps
};

struct ItemOptions {
  ItemTableOptions id_table;
};

struct ObjectiveOptions {
  std::string name = "dense_all_action";  // next_action | sasrec | all_action | dense_all_action
  double window_days = 28;                // K
  std::string window_anchor = "sequence_end";  // sequence_end | position
  int64_t max_labels = 32;                     // positives kept per window
  int64_t positions = 32;                      // positions drawn per user by dense_all_action
  std::string weighting = "user";              // user | pair: what weighs the same in the loss
  double recent_days = 0;  // samples end in so many last days of training; 0: anywhere
  // Which of the possible ends of a user's sample is taken: uniform | latest
  std::string sample_end = "uniform";
};

struct NegativeOptions {
  int64_t in_batch = 5000;  // cap on in-batch columns, over all ranks
  int64_t random = 8192;    // uniform over all items, over all ranks
  bool logq = true;
  std::string mask = "user_positives";  // user_positives | own_positive: no negatives of a pair
  int64_t sketch_width = 1 << 20;       // counters per row of the count-min sketch
  int64_t sketch_depth = 2;
};

struct OptimizerOptions {
  double learning_rate = 1e-3;
  int64_t warmup_steps = 750;
  double weight_decay = 0.01;  // on matrices only
  double beta1 = 0.9;
  double beta2 = 0.98;
  double epsilon = 1e-8;
  double clip_norm = 1;  // 0: off
};

struct TrainOptions {
  int64_t steps = 100000;
  int64_t global_batch_users = 1024;  // over all ranks
  std::string precision = "fp32";     // fp32 | bf16 (autocast; weights stay fp32) | bf16_always
  int64_t log_every = 10;             // steps
  std::string stop_after;  // "11h30m": save in time to end so long after the start; "": never
  int64_t accumulate = 1;  // a rank's share of a batch is computed in so many parts, to save memory
  std::string on_nonfinite = "stop";  // stop | skip: a step whose gradient is not finite
};

struct CheckpointOptions {
  int64_t every_steps = 1000;
  int64_t keep_last = 3;
  int64_t table_full_every = 1;  // checkpoints from one whole copy of the item table to the next
  int64_t keep_every = 0;        // steps; checkpoints at multiples of it are kept for good; 0: none
  int64_t keep_best = 1;         // checkpoints with the lowest loss that are kept besides; 0: none
};

// What a Trainer needs to know.
struct TrainerOptions {
  RunOptions run;
  ModelOptions model;
  ItemOptions item;
  ObjectiveOptions objective;
  NegativeOptions negatives;
  OptimizerOptions optimizer;
  TrainOptions train;
  CheckpointOptions checkpoint;
};

struct EvaluateOptions {
  int64_t index_items = 0;     // random items in the index; 0: all
  double popularity_days = 0;  // window of the popularity baseline; 0: the evaluation window
  int64_t mean_last = 20;      // items averaged by the mean_of_last baseline
  int64_t bootstrap = 200;     // resamples of users for the standard errors
  int64_t batch_users = 256;
  // Items the user had before are neither ranked against nor retrieved. Turn it off where repeats
  // are wanted, with positives.first_only.
  bool exclude_seen = true;
  // How often user vectors are recomputed: once | daily | realtime (paper section 8).
  std::vector<std::string> frequency = {"once"};
  // Evaluated beside the model; see baseline_names().
  std::vector<std::string> baselines = {"popularity", "mean_of_last"};
};

}  // namespace pinnerformer
