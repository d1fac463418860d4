// The formulas: docs/architecture.md names their sources.
#include "tests/support/plain_training.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>
#include <numeric>
#include <set>

#include "comm/thread_communicator.h"
#include "dataloader/base/random.h"

namespace pinnerformer {
namespace {

using torch::Tensor;

int64_t seconds(double days) { return std::llround(days * 86400); }

// "save" or "save>10": whether an event of this action and duration is listed.
bool is_listed(const std::vector<std::string>& entries, const std::string& action, float duration) {
  return std::ranges::any_of(entries, [&](const std::string& entry) {
    const size_t cut = entry.find('>');
    return entry.substr(0, cut) == action &&
           (cut == std::string::npos || duration > std::stof(entry.substr(cut + 1)));
  });
}

std::vector<uint8_t> mark_positives(const Timeline& timeline, const PositiveOptions& options,
                                    const std::vector<std::string>& actions,
                                    const std::vector<std::string>& surfaces) {
  std::vector<uint8_t> marks;
  std::set<int32_t> met;
  for (size_t i = 0; i < timeline.item.size(); ++i) {
    const std::string& surface = surfaces[static_cast<size_t>(timeline.surface[i])];
    const bool first = met.insert(timeline.item[i]).second;
    const bool counts =
        is_listed(options.actions, actions[static_cast<size_t>(timeline.action[i])],
                  timeline.duration[i]) &&
        (options.surfaces.empty() || std::ranges::count(options.surfaces, surface) > 0) &&
        (first || !options.first_only);
    marks.push_back(counts ? 1 : 0);
  }
  return marks;
}

// Linear warm-up, then a cosine to zero.
double learning_rate(int64_t step, const TrainerOptions& options) {
  const OptimizerOptions& optimizer = options.optimizer;
  const auto at = static_cast<double>(step), warmup = static_cast<double>(optimizer.warmup_steps);
  if (at < warmup) return optimizer.learning_rate * (at + 1) / warmup;
  if (optimizer.schedule == LrSchedule::kConstant) return optimizer.learning_rate;
  const double rest = std::max(1.0, static_cast<double>(options.train.steps) - warmup);
  return optimizer.learning_rate * (1 + std::cos(std::numbers::pi * (at - warmup) / rest)) / 2;
}

// AdamW with clipping by the global norm; weight decay on matrices alone.
class AdamW {
 public:
  AdamW(PinnerFormer model, const OptimizerOptions& options)
      : model_(std::move(model)), options_(options) {}

  void step(double rate) {
    const torch::NoGradGuard no_grad;
    ++steps_;
    const double scale = clipping();
    for (const auto& entry : model_->named_parameters()) {
      Tensor weight = entry.value();
      const Tensor gradient = gradient_of(weight) * scale;
      if (weight.dim() >= 2) weight.mul_(1 - rate * options_.weight_decay);
      Tensor& first = moment(first_, entry.key(), weight);
      Tensor& second = moment(second_, entry.key(), weight);
      first = options_.beta1 * first + (1 - options_.beta1) * gradient;
      second = options_.beta2 * second + (1 - options_.beta2) * gradient.square();
      const Tensor mean = first / (1 - std::pow(options_.beta1, steps_));
      const Tensor size = (second / (1 - std::pow(options_.beta2, steps_))).sqrt();
      weight.sub_(rate * mean / (size + options_.epsilon));
      weight.mutable_grad().reset();
    }
  }

 private:
  static Tensor gradient_of(const Tensor& weight) {
    return weight.grad().defined() ? weight.grad() : torch::zeros_like(weight);
  }
  static Tensor& moment(std::map<std::string, Tensor>& moments, const std::string& name,
                        const Tensor& like) {
    return moments.try_emplace(name, torch::zeros_like(like)).first->second;
  }
  [[nodiscard]] double clipping() {
    double square = 0;
    for (const Tensor& weight : model_->parameters())
      square += gradient_of(weight).square().sum().item<double>();
    return options_.clip_norm > 0 ? std::min(1.0, options_.clip_norm / (std::sqrt(square) + 1e-6))
                                  : 1;
  }

  PinnerFormer model_;
  OptimizerOptions options_;
  int64_t steps_ = 0;
  std::map<std::string, Tensor> first_, second_;
};

// All item rows as one dense matrix.
class PlainTable {
 public:
  PlainTable(const Dataset& dataset, const TrainerOptions& options)
      : dataset_(&dataset), options_(options), table_(options.item.table) {
    const int64_t rows = (table_.hash_buckets > 0 ? table_.hash_buckets : dataset.items()) + 1;
    values_ = torch::zeros({rows, table_.dim});
    for (int64_t row = 0; row < rows; ++row) fill(row);
    values_.requires_grad_(true);
    updates_ = torch::zeros({rows, 1});
    first_ = torch::zeros_like(values_);
    second_ = torch::zeros_like(values_);
    squares_ = torch::zeros({rows, 1});
  }

  // Rows of these items in a step, int64 [...] -> [..., E].
  [[nodiscard]] Tensor read(const Tensor& items, int64_t step) const {
    std::vector<int64_t> rows, shape = items.sizes().vec();
    const Tensor flat = items.flatten();
    for (int64_t i = 0; i < flat.numel(); ++i)
      rows.push_back(row_of(flat[i].item<int64_t>(), step));
    shape.push_back(table_.dim);
    return values_.index_select(0, torch::tensor(rows, torch::kInt64)).view(shape);
  }

  // A row whose gradient is zero stays as it was, but for Adam's after its first gradient.
  void update(double rate) {
    const torch::NoGradGuard no_grad;
    const Tensor gradient = values_.grad();
    const Tensor square = gradient.square().mean(1, /*keepdim=*/true);
    Tensor used = square > 0;
    if (table_.optimizer == RowOptimizerKind::kAdam) used = used.logical_or(updates_ > 0);
    updates_ += used;
    const OptimizerOptions& optimizer = options_.optimizer;
    if (table_.optimizer == RowOptimizerKind::kRowwiseAdagrad) {
      squares_ += square;
      values_.sub_(rate * gradient / (squares_.sqrt() + optimizer.epsilon));
    } else {
      const double b1 = optimizer.beta1, b2 = optimizer.beta2;
      first_ = torch::where(used, b1 * first_ + (1 - b1) * gradient, first_);
      second_ = torch::where(used, b2 * second_ + (1 - b2) * gradient.square(), second_);
      const Tensor steps = updates_.clamp_min(1);
      const Tensor mean = first_ / (1 - torch::pow(b1, steps));
      const Tensor size = (second_ / (1 - torch::pow(b2, steps))).sqrt();
      values_.sub_(used * rate * mean / (size + optimizer.epsilon));
    }
    values_.mutable_grad().reset();
  }

  void add_to(std::map<std::string, Tensor>& weights) const {
    weights["item_table.rows"] = values_.detach().clone();
    weights["item_table.updates"] = updates_.flatten().clone();
  }

 private:
  // Uniform with the standard deviation init_std, two elements from every 64 bits.
  void fill(int64_t row) {
    KeyedRandom random(RandomStream::kInit, {options_.run.seed, row});
    const double bound = table_.init_std * std::sqrt(3.0);
    for (int64_t i = 0; i < table_.dim; i += 2) {
      const uint64_t bits = random.next();
      values_[row][i] = bound * std::ldexp(static_cast<int32_t>(bits), -31);
      if (i + 1 < table_.dim)
        values_[row][i + 1] = bound * std::ldexp(static_cast<int32_t>(bits >> 32), -31);
    }
  }
  [[nodiscard]] int64_t row_of(int64_t item, int64_t step) const {
    KeyedRandom random(RandomStream::kUnknown, {options_.run.seed, step, item});
    if (random.uniform() < table_.unknown_rate) return values_.size(0) - 1;
    return table_.hash_buckets > 0
               ? static_cast<int64_t>(dataset_->item_hash(item) %
                                      static_cast<uint64_t>(table_.hash_buckets))
               : item;
  }

  const Dataset* dataset_;
  TrainerOptions options_;
  ItemTableOptions table_;
  Tensor values_, updates_;
  Tensor first_, second_, squares_;  // state of the update rules
};

// item.semantic_ids: code c of level l is row l * V + c of the model's table.
Tensor plain_code_rows(const Dataset& dataset, const RunConfig& config) {
  if (!config.item.semantic_ids) return {};
  const SemanticIds& ids = dataset.semantic_ids();
  Tensor rows = ids.codes.clone();
  for (int64_t item = 0; item < rows.size(0); ++item)
    for (int64_t level = 0; level < rows.size(1); ++level)
      if (rows[item][level].item<int64_t>() >= 0)
        rows[item][level] += static_cast<int32_t>(level * ids.codebooks.size(0) / rows.size(1));
  return rows;
}

int64_t plain_codes(const Dataset& dataset, const RunConfig& config) {
  return config.item.semantic_ids ? dataset.semantic_ids().codebooks.size(0) : 0;
}

// What one step computes on.
struct PlainStep {
  int64_t number = 0;
  TrainingBatch batch;
  std::vector<Pair> pairs;
  NegativePool pool;
  double total_weight = 0;
  Tensor row, position, item;  // int64 [P] of the pairs
};

// The items of each user that may become in-batch columns, in the order of the global batch.
GlobalPositives all_positives(const TrainingBatch& batch, const std::vector<Pair>& pairs,
                              const ObjectiveOptions& objective) {
  const auto positives = pool_positives(batch, pairs, objective);
  std::map<int64_t, size_t> row_of_slot;
  for (const Pair& pair : pairs)
    row_of_slot[batch.slot[static_cast<size_t>(pair.row)]] = static_cast<size_t>(pair.row);
  GlobalPositives all;
  for (const auto& [slot, row] : row_of_slot)
    all.item.insert(all.item.end(), positives[row].begin(), positives[row].end());
  all.pairs = std::ssize(pairs);
  all.users_with_pairs = std::ssize(row_of_slot);
  return all;
}

Tensor column(const std::vector<Pair>& pairs, int64_t Pair::*member) {
  std::vector<int64_t> values;
  for (const Pair& pair : pairs) values.push_back(pair.*member);
  return torch::tensor(values, torch::kInt64);
}

// Draws the steps of one objective, in order.
class PlainSteps {
 public:
  PlainSteps(const TrainingData& data, const TrainerOptions& options,
             const ObjectiveOptions& objective)
      : objective_(objective),
        sampler_(options.negatives, data.dataset->items(), options.run.seed),
        loader_(*data.dataset, data.users, data.positives, loader_spec(data, options, objective),
                data.options, {}) {}

  PlainStep next(int64_t number) {
    PlainStep step{number, loader_.next(), {}, {}, 0, {}, {}, {}};
    step.pairs = make_pairs(step.batch, objective_);
    const GlobalPositives all = all_positives(step.batch, step.pairs, objective_);
    step.pool = sampler_.draw(all, step.pairs, number, *alone_);
    step.total_weight = static_cast<double>(
        objective_.weighting == PairWeighting::kPair ? all.pairs : all.users_with_pairs);
    step.row = column(step.pairs, &Pair::row);
    step.position = column(step.pairs, &Pair::position);
    step.item = column(step.pairs, &Pair::item);
    return step;
  }

 private:
  static LoaderSpec loader_spec(const TrainingData& data, const TrainerOptions& options,
                                const ObjectiveOptions& objective) {
    WindowSpec window;
    window.max_length = options.model.max_length;
    window.window_seconds = seconds(objective.window_days);
    window.labels_in_input = objective.name == ObjectiveKind::kSasrec ||
                             objective.name == ObjectiveKind::kNextItem ||
                             (objective.name == ObjectiveKind::kDenseAllAction &&
                              objective.window_anchor == WindowAnchor::kPosition);
    window.end = objective.sample_end;
    window.next_only = objective.name == ObjectiveKind::kNextItem;
    window.window_events = objective.window_events;
    if (objective.recent_days > 0)
      window.earliest = data.part.train_until - seconds(objective.recent_days);
    return {window, data.part, options.train.global_batch_users, options.run.seed, 0, 1};
  }

  ObjectiveOptions objective_;
  NegativeSampler sampler_;
  std::unique_ptr<Communicator> alone_ = make_single_communicator();
  DataLoader loader_;
};

// bool [P, N]: the column is no negative of the pair.
Tensor not_negative(const PlainStep& step, NegativeMask mask) {
  Tensor result = torch::zeros({step.item.numel(), step.pool.item.numel()}, torch::kBool);
  for (int64_t p = 0; p < result.size(0); ++p) {
    const Pair& pair = step.pairs[static_cast<size_t>(p)];
    std::set<int64_t> items = {pair.item};
    if (mask == NegativeMask::kUserPositives)
      for (const Label& label : step.batch.labels[static_cast<size_t>(pair.row)])
        items.insert(label.item);
    for (int64_t n = 0; n < result.size(1); ++n)
      result[p][n] = items.contains(step.pool.item[n].item<int64_t>());
  }
  return result;
}

// The popularity prior of one step by going through all positives: of pairs [P] and columns [P, N].
struct PlainPrior {
  Tensor own, others;  // undefined without a prior
};

class PlainPopularity {
 public:
  PlainPopularity(const TrainingData& data, const std::vector<int64_t>& windows)
      : windows_(windows), until_(data.part.train_until) {
    for (int64_t user = 0; user < data.dataset->users() && !windows.empty(); ++user) {
      const Timeline timeline = data.dataset->timeline(user);
      const std::vector<uint8_t> marks = data.positives(timeline);
      for (size_t i = 0; i < marks.size(); ++i)
        if (marks[i] != 0 && timeline.time[i] <= until_)
          times_[timeline.item[i]].push_back(timeline.time[i]);
    }
  }

  [[nodiscard]] PlainPrior of(const PlainStep& step, const Tensor& weights) const {
    if (windows_.empty()) return {};
    std::vector<Tensor> own, others;
    for (const Pair& pair : step.pairs) {
      own.push_back(log_counts(pair.item, pair.time).dot(weights));
      std::vector<Tensor> row;
      for (int64_t n = 0; n < step.pool.item.numel(); ++n)
        row.push_back(log_counts(step.pool.item[n].item<int64_t>(), pair.time).dot(weights));
      others.push_back(torch::stack(row));
    }
    return {torch::stack(own), torch::stack(others)};
  }

 private:
  // [windows]: log(1 + positives in the days that ended by then).
  [[nodiscard]] Tensor log_counts(int64_t item, int64_t time) const {
    int64_t end = until_;
    while (end > time) end -= seconds(1);
    std::vector<float> logs;
    for (const int64_t days : windows_) {
      double count = 0;
      if (const auto found = times_.find(item); found != times_.end())
        for (const int64_t at : found->second)
          count += at > end - seconds(static_cast<double>(days)) && at <= end ? 1 : 0;
      logs.push_back(static_cast<float>(std::log(1 + count)));
    }
    return torch::tensor(logs);
  }

  std::vector<int64_t> windows_;
  int64_t until_;
  std::map<int64_t, std::vector<int64_t>> times_;  // of the positives, by item
};

// Sampled softmax with log Q (paper section 7). user [P, D] or [P, K, D], positive [P, D], pool [N,
// D].
Tensor softmax_loss(const PlainStep& step, NegativeMask mask, const Tensor& user,
                    const Tensor& positive, const Tensor& pool, const Tensor& scale,
                    const PlainPrior& prior = {}) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const Tensor users = user.dim() == 3 ? user : user.unsqueeze(1);  // [P, K, D]; P may be 0
  Tensor own = (users * positive.unsqueeze(1)).sum(2).amax(1) * scale - step.pool.positive_log_q;
  Tensor others = torch::matmul(users, pool.t()).amax(1) * scale - step.pool.log_q;
  if (prior.own.defined()) {
    own = own + prior.own;
    others = others + prior.others;
  }
  others = others.masked_fill(not_negative(step, mask), -kInfinity);
  std::vector<float> weights;
  for (const Pair& pair : step.pairs)
    weights.push_back(static_cast<float>(pair.weight / step.total_weight));
  const Tensor losses = torch::logsumexp(torch::cat({own.unsqueeze(1), others}, 1), 1) - own;
  return (losses * torch::tensor(weights)).sum();
}

Tensor unit(const Tensor& rows) { return rows / rows.norm(2, -1, true).clamp_min(1e-6); }

// Topics of the pairs' positives, every pair with draws of its own; undefined without a condition.
Tensor topics_of(const PlainStep& step, const Dataset& dataset, const ModelOptions& model) {
  if (model.condition == Condition::kNone) return {};
  std::vector<int64_t> topics;
  for (size_t p = 0; p < step.pairs.size(); ++p) {
    const Pair& pair = step.pairs[p];
    int64_t before = 0;  // pairs of the same row in front of it
    for (size_t q = 0; q < p; ++q) before += step.pairs[q].row == pair.row ? 1 : 0;
    KeyedRandom random(RandomStream::kCondition,
                       {step.batch.inputs.draw_key[pair.row].item<int64_t>(), before});
    topics.push_back(random.uniform() < model.condition_dropout
                         ? -1
                         : dataset.item_topics()[static_cast<size_t>(pair.item)]);
  }
  return torch::tensor(topics, torch::kInt64);
}

Tensor model_loss(PinnerFormer& model, const PlainTable* table, const PlainPopularity& popularity,
                  const PlainStep& step, NegativeMask mask, const Tensor& topics) {
  const auto rows = [&](const Tensor& items) {
    return table == nullptr ? Tensor() : table->read(items, step.number);
  };
  const Tensor hidden = model->hidden(step.batch.inputs, rows(step.batch.inputs.item));
  const Tensor place = step.row * step.batch.inputs.item.size(1) + step.position;
  const Tensor profile = model->profile_at(place, step.batch.inputs, rows(step.batch.inputs.item));
  const Tensor user = model->user_head(hidden.index({step.row, step.position}), profile, topics);
  return softmax_loss(step, mask, user, model->item_embedding(step.item, rows(step.item)),
                      model->item_embedding(step.pool.item, rows(step.pool.item)),
                      model->inverse_temperature(), popularity.of(step, model->prior_weights()));
}

// The row of an input item against the row of the next positive, without the model.
void pretrain(const TrainingData& data, const TrainerOptions& options, PlainTable& table) {
  ObjectiveOptions objective = options.objective;
  if (objective.name != ObjectiveKind::kNextItem) objective.name = ObjectiveKind::kSasrec;
  objective.recent_days = 0;
  PlainSteps steps(data, options, objective);
  for (int64_t number = -options.item.table.pretrain_steps; number < 0; ++number) {
    const PlainStep step = steps.next(number);
    const Tensor input = step.batch.inputs.item.index({step.row, step.position});
    softmax_loss(step, options.negatives.mask, unit(table.read(input, number)),
                 unit(table.read(step.item, number)), unit(table.read(step.pool.item, number)),
                 torch::tensor(1 / options.model.temperature, torch::kFloat32))
        .backward();
    table.update(options.item.table.learning_rate);
  }
}

}  // namespace

TrainingData plain_training_data(const Dataset& dataset, const RunConfig& config) {
  const SplitOptions& split = config.split;
  const bool leave_one_out = split.protocol == SplitProtocol::kLeaveOneOut;
  TrainingData data;
  data.dataset = &dataset;
  data.part.leave_out = leave_one_out ? config.split.leave_out : 0;
  data.part.train_until = dataset.last_time();
  if (!leave_one_out && split.users_percent + split.validation_percent > 0)
    data.part.train_until -= seconds(static_cast<double>(split.windows) * split.window_days);
  for (int64_t user = 0; user < dataset.users(); ++user) {
    const bool held_out = dataset.user_hash(user) % 100 <
                          static_cast<uint64_t>(split.users_percent + split.validation_percent);
    if ((leave_one_out || !held_out) && dataset.timeline(user).size() >= 2 + data.part.leave_out)
      data.users.add(user);
  }
  data.positives = [options = config.positives, actions = dataset.actions(),
                    surfaces = dataset.surfaces()](const Timeline& timeline) {
    return mark_positives(timeline, options, actions, surfaces);
  };
  data.options = config.data;
  return data;
}

PlainRun train_plainly(const Dataset& dataset, const RunConfig& config) {
  const TrainingData data = plain_training_data(dataset, config);
  const ItemTableOptions& table_options = config.item.table;
  std::unique_ptr<PlainTable> table;
  if (table_options.placement != ItemPlacement::kNone)
    table = std::make_unique<PlainTable>(dataset, config);
  torch::manual_seed(static_cast<uint64_t>(config.run.seed));
  PinnerFormer model(config.model,
                     ModelInputs{dataset.item_vectors(), std::ssize(dataset.actions()),
                                 std::ssize(dataset.surfaces()), table ? table_options.dim : 0,
                                 config.item.tower, std::ssize(dataset.topic_names()),
                                 plain_code_rows(dataset, config), plain_codes(dataset, config)});
  model->train();
  if (table) pretrain(data, config, *table);
  AdamW optimizer(model, config.optimizer);
  PlainSteps steps(data, config, config.objective);
  const PlainPopularity popularity(data, config.model.prior_days);
  PlainRun run;
  for (int64_t number = 0; number < config.train.steps; ++number) {
    const double rate = learning_rate(number, config);
    const PlainStep step = steps.next(number);
    const Tensor loss = model_loss(model, table.get(), popularity, step, config.negatives.mask,
                                   topics_of(step, dataset, config.model));
    loss.backward();
    optimizer.step(rate);
    if (table) table->update(table_options.learning_rate * rate / config.optimizer.learning_rate);
    run.losses.push_back(loss.item<double>());
    run.learning_rates.push_back(rate);
  }
  for (const auto& entry : model->named_parameters())
    run.weights[entry.key()] = entry.value().detach().clone();
  if (table) table->add_to(run.weights);
  return run;
}

}  // namespace pinnerformer
