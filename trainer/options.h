// Options of the model, the objective and the training loop.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/options.h"

namespace pinnerformer {

struct RunOptions {
  std::string directory;  // holds config.yaml, metrics, log.txt and checkpoints/
  int64_t seed = 1;
};

// Switches of the transformer's input features (paper section 9, "leave one feature out"). The item
// tower always reads what the dataset and item.table have: content vector, learned row.
struct FeatureOptions {
  bool content = true;
  bool time = true;
  bool surface = true;
  bool action = true;
  bool duration = true;
  bool position = true;
};

// Formula of a block of the encoder.
enum class BlockKind {
  kTransformer,  // x + f(norm(x)) with a GELU network (paper section 5)
  kLigr,         // x + sigmoid(W x) * f(norm(x)) with SwiGLU (LiGR; eSASRec, RecSys 2025)
  kHstu,         // pointwise attention times a gate (HSTU, ICML 2024)
  kLru,          // complex diagonal recurrence and SwiGLU (LRURec, WSDM 2024)
};
constexpr auto enum_names(BlockKind) {
  return std::to_array<std::string_view>({"transformer", "ligr", "hstu", "lru"});
}
// Whether the past of a block is a state. Its inputs may not depend on later events, so that it
// reads no age of an event from the newest one.
constexpr bool is_recurrent(BlockKind block) { return block == BlockKind::kLru; }

// What turns the state of a position into the user vector.
enum class UserHead {
  kMlp,       // LayerNorm and two layers (paper section 5)
  kNorm,      // LayerNorm alone, as in SASRec; wants model.output = model.hidden
  kResidual,  // the mean of the embeddings of the last 20 items, plus what kMlp makes, zero at
              // first
};
constexpr auto enum_names(UserHead) {
  return std::to_array<std::string_view>({"mlp", "norm", "residual"});
}

// Score of a user vector and an item vector.
enum class Similarity {
  kCosine,  // of unit vectors, over a learned temperature
  kDot,     // their dot product
};
constexpr auto enum_names(Similarity) { return std::to_array<std::string_view>({"cosine", "dot"}); }

// What a user vector is made for, beside the user's events.
enum class Condition {
  kNone,
  kTopic,  // items of a topic (conditional retrieval; Pinterest, 2024)
};
constexpr auto enum_names(Condition) { return std::to_array<std::string_view>({"none", "topic"}); }

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
  double temperature = 0.07;  // initial; learned, never below 0.01. Not used by `dot`
  BlockKind block = BlockKind::kTransformer;
  UserHead user_head = UserHead::kMlp;
  Similarity similarity = Similarity::kCosine;
  // K, vectors of a user; the score of an item is the largest of its scores with them (SUM, 2024).
  int64_t user_vectors = 1;
  // In training the topic of a pair is that of its positive, and hidden at this rate.
  Condition condition = Condition::kNone;
  double condition_dropout = 0.5;
  // The score of an item gains sum_d b_d * log(1 + its positives in the last d days), b learned:
  // these are the d. Empty: no prior.
  std::vector<int64_t> prior_days;
  FeatureOptions features;
};

// Which rank holds the learned item rows.
enum class ItemPlacement {
  kNone,        // there are no learned rows
  kReplicated,  // every rank holds all rows
  kRowSharded,  // rank = row mod number of ranks
};
constexpr auto enum_names(ItemPlacement) {
  return std::to_array<std::string_view>({"none", "replicated", "row_sharded"});
}

// Where a rank holds its learned item rows.
enum class RowMemory {
  kAuto,    // with the model where rows are sharded, else on the host
  kHost,    // of the host
  kDevice,  // of the device that the model is on; rows have to be sharded
};
constexpr auto enum_names(RowMemory) {
  return std::to_array<std::string_view>({"auto", "host", "device"});
}

// Update rule of the learned item rows.
enum class RowOptimizerKind { kRowwiseAdagrad, kLazyAdam, kAdam };
constexpr auto enum_names(RowOptimizerKind) {
  return std::to_array<std::string_view>({"rowwise_adagrad", "lazy_adam", "adam"});
}

// A learned row per item, beside its content vector or instead of it.
struct ItemTableOptions {
  ItemPlacement placement = ItemPlacement::kNone;
  RowMemory memory = RowMemory::kAuto;
  int64_t dim = 64;  // width of a row
  RowOptimizerKind optimizer = RowOptimizerKind::kRowwiseAdagrad;
  double learning_rate = 0.05;  // highest; warm-up and cosine as of optimizer.learning_rate
  double init_std = 0.1;        // standard deviation of the elements a row starts with; not 0
  int64_t hash_buckets = 0;     // rows that all items share by a hash of their id; 0: one row each
  double unknown_rate = 0.02;   // share of items that read the unknown row in a training step
  int64_t pretrain_steps = 0;   // steps that train the rows alone, before the first of train.steps

  // Whether a rank whose model is on a device that is not the CPU holds its rows there, too.
  [[nodiscard]] bool on_device() const {
    return placement == ItemPlacement::kRowSharded && memory != RowMemory::kHost;
  }
};

// What turns the vector and the learned row of an item into its embedding.
enum class ItemTower {
  kMlp,       // two layers (paper section 5)
  kResidual,  // a linear map plus two layers, the last of which starts at zero
  kTied,      // the learned row, plus a linear map of the vector; the encoder reads the same sum
};
constexpr auto enum_names(ItemTower) {
  return std::to_array<std::string_view>({"mlp", "residual", "tied"});
}

struct ItemOptions {
  ItemTower tower = ItemTower::kMlp;
  // The embedding of an item gains the sum of the learned rows of its codes.
  bool semantic_ids = false;
  ItemTableOptions table;
};

// Which (position, positive) pairs the loss sees (paper section 6).
enum class ObjectiveKind { kNextAction, kSasrec, kAllAction, kDenseAllAction, kNextItem };
constexpr auto enum_names(ObjectiveKind) {
  return std::to_array<std::string_view>(
      {"next_action", "sasrec", "all_action", "dense_all_action", "next_item"});
}

// Where a label window starts: at the newest input, or at the position itself.
enum class WindowAnchor { kSequenceEnd, kPosition };
constexpr auto enum_names(WindowAnchor) {
  return std::to_array<std::string_view>({"sequence_end", "position"});
}

// What has equal weight in the loss.
enum class PairWeighting { kUser, kPair };
constexpr auto enum_names(PairWeighting) {
  return std::to_array<std::string_view>({"user", "pair"});
}

struct ObjectiveOptions {
  ObjectiveKind name = ObjectiveKind::kDenseAllAction;
  double window_days = 28;  // K; next_item has no window
  // W events instead of K days, which are 0 then (USE, KDD 2024); 0: off
  int64_t window_events = 0;
  WindowAnchor window_anchor = WindowAnchor::kSequenceEnd;
  int64_t max_labels = 32;  // positives kept per window
  int64_t positions = 32;   // positions drawn per user by dense_all_action
  PairWeighting weighting = PairWeighting::kUser;
  double recent_days = 0;  // samples end in the last so many days of training; 0: anywhere
  SampleEnd sample_end = SampleEnd::kUniform;
};

// Which items of the pool are no negatives of a pair.
enum class NegativeMask {
  kUserPositives,  // all labels of its user's sample
  kOwnPositive,    // its own positive alone
};
constexpr auto enum_names(NegativeMask) {
  return std::to_array<std::string_view>({"user_positives", "own_positive"});
}

// How log Q corrects the logits: see NegativeSampler.
enum class LogQForm { kPerPart, kMixture, kCorrected };
constexpr auto enum_names(LogQForm) {
  return std::to_array<std::string_view>({"per_part", "mixture", "corrected"});
}

struct NegativeOptions {
  int64_t in_batch = 5000;  // cap on in-batch columns, over all ranks
  int64_t random = 8192;    // uniform over all items, over all ranks
  bool logq = true;
  LogQForm logq_form = LogQForm::kPerPart;
  NegativeMask mask = NegativeMask::kUserPositives;
};

// The learning rate after the warm-up.
enum class LrSchedule { kCosine, kConstant };
constexpr auto enum_names(LrSchedule) {
  return std::to_array<std::string_view>({"cosine", "constant"});
}

struct OptimizerOptions {
  double learning_rate = 1e-3;
  LrSchedule schedule = LrSchedule::kCosine;
  int64_t warmup_steps = 750;
  double weight_decay = 0.01;  // on matrices only
  double beta1 = 0.9;
  double beta2 = 0.98;
  double epsilon = 1e-8;
  double clip_norm = 1;  // 0: off
};

// Arithmetic of the model; weights stay float32.
enum class Precision {
  kAuto,  // kBf16 on GPUs that have bfloat16, else kFp32: see agreed_precision()
  kFp32,
  kBf16,        // autocast; float32 on a CPU without bfloat16 instructions
  kBf16Always,  // autocast on every device
};
constexpr auto enum_names(Precision) {
  return std::to_array<std::string_view>({"auto", "fp32", "bf16", "bf16_always"});
}

// What a step whose gradient is not finite does on all ranks.
enum class OnNonfinite { kStop, kSkip };
constexpr auto enum_names(OnNonfinite) { return std::to_array<std::string_view>({"stop", "skip"}); }

struct TrainOptions {
  int64_t steps = 100000;
  int64_t global_batch_users = 1024;  // over all ranks
  Precision precision = Precision::kAuto;
  int64_t log_every = 10;  // steps
  std::string stop_after;  // "11h30m": save in time to end this long after the start; "": never
  // Number of parts in which a rank computes its share of a batch, to save memory.
  int64_t gradient_accumulation_steps = 1;
  OnNonfinite on_nonfinite = OnNonfinite::kStop;
};

struct CheckpointOptions {
  int64_t every_steps = 1000;
  int64_t keep_last = 3;
  int64_t table_full_every = 1;  // checkpoints from one whole copy of the item table to the next
  int64_t keep_every = 0;        // steps; checkpoints at multiples of it are kept for good; 0: none
  std::string mirror;            // second directory that gets a copy of every checkpoint; "": none
};

struct ValidateOptions {
  int64_t every_steps = 0;  // 0: never
  int64_t patience = 0;     // validations without a better one after which training ends; 0: none
};

// Where a running training can be watched, beside the console and metrics.jsonl: see
// trainer/monitor. Nothing of it changes what is trained.
struct MetricsOptions {
  bool tensorboard = true;      // event files in the run directory
  std::string prometheus_file;  // for the textfile collector of node_exporter; "": none
  int64_t prometheus_port = 0;  // rank 0 answers GET /metrics there; 0: no port
  std::string prometheus_address = "127.0.0.1";  // of that port; 0.0.0.0: every interface
  double peak_tflops = 0;  // of a rank's device in train.precision, for `mfu`; 0: not reported
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
  ValidateOptions validate;
  MetricsOptions metrics;
};

// How often user vectors are recomputed (paper section 8).
enum class InferenceFrequency {
  kOnce,      // the vector made at t serves the whole window
  kDaily,     // made at t + d days, it serves the day that follows, or a later one with a delay
  kRealtime,  // made anew for every positive, from the events of earlier seconds
};
constexpr auto enum_names(InferenceFrequency) {
  return std::to_array<std::string_view>({"once", "daily", "realtime"});
}

// Methods that are evaluated beside the model.
enum class Baseline {
  kRandom,
  kPopularity,
  kPersonalPopularity,
  kMeanOfLast,
  kPinnerSage5,   // 5 clusters
  kPinnerSage20,  // 20 clusters
  kMarkov,
  kItemToItem,
  kEase,
  kPopularityRecency,
};
constexpr auto enum_names(Baseline) {
  return std::to_array<std::string_view>({"random", "popularity", "personal_popularity",
                                          "mean_of_last", "pinnersage_5", "pinnersage_20", "markov",
                                          "item_to_item", "ease", "popularity_recency"});
}

struct EvaluateOptions {
  int64_t index_items = 0;         // random items in the index; 0: all
  double popularity_days = 0;      // window of the popularity baseline; 0: the evaluation window
  int64_t mean_last = 20;          // items averaged by mean_of_last and popularity_recency
  int64_t markov_last = 1;         // latest seconds with events that the markov baseline reads
  int64_t item_to_item_last = 20;  // latest positive items that the item_to_item baseline reads
  double ease_l2 = 250;            // λ of the ease baseline
  int64_t daily_delay_days = 0;    // days from making a daily vector to its use; the paper's: 1
  int64_t bootstrap = 1000;        // resamples of users for standard errors and intervals
  int64_t batch_users = 256;
  // Items the user had before are neither ranked, ranked against nor retrieved. Turn it off where
  // repeats are wanted, with positives.first_only.
  bool exclude_seen = true;
  std::vector<InferenceFrequency> frequency = {InferenceFrequency::kOnce};
  std::vector<Baseline> baselines = {Baseline::kPopularity, Baseline::kMeanOfLast,
                                     Baseline::kPopularityRecency};
};

}  // namespace pinnerformer
