#include "trainer/objective/negative_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "dataloader/base/random.h"
#include "dataloader/base/slice.h"
#include "trainer/errors.h"
#include "trainer/stored_tensor.h"

namespace pinnerformer {
namespace {

uint64_t pair_key(int64_t user, int64_t item) {
  return splitmix64(static_cast<uint64_t>(user)) ^ static_cast<uint64_t>(item);
}

// A uniform random subset of `keep` values, in their order.
std::vector<int64_t> subset(const std::vector<int64_t>& values, int64_t keep, KeyedRandom& random) {
  const auto n = static_cast<int64_t>(values.size());
  if (keep >= n) return values;
  std::vector<int64_t> kept;  // selection sampling (Knuth, volume 2, algorithm S)
  kept.reserve(static_cast<size_t>(keep));
  for (int64_t i = 0; i < n && std::ssize(kept) < keep; ++i)
    if (random.below(n - i) < keep - std::ssize(kept))
      kept.push_back(values[static_cast<size_t>(i)]);
  return kept;
}

// Writes to `log_q` the log of the expected number of appearances of each item in items.size()
// draws from the distribution that the sketch counted.
void read_log_q(const CountMinSketch& sketch, std::span<const int64_t> items, torch::Tensor log_q) {
  const double draws_per_count =
      static_cast<double>(items.size()) / static_cast<double>(sketch.total());
  auto* values = log_q.data_ptr<float>();
  for (size_t j = 0; j < items.size(); ++j) {
    const auto seen = static_cast<double>(sketch.count(static_cast<uint64_t>(items[j])));
    values[j] = static_cast<float>(std::log(seen * draws_per_count));
  }
}

}  // namespace

NegativeSampler::NegativeSampler(const NegativeOptions& options, int64_t items, int64_t seed)
    : options_(options),
      items_(items),
      seed_(seed),
      pair_counts_(options.sketch_depth, options.sketch_width, 1),
      user_counts_(options.sketch_depth, options.sketch_width, 2),
      in_batch_counts_(options.sketch_depth, options.sketch_width, 3),
      random_counts_(options.sketch_depth, options.sketch_width, 4) {}

void NegativeSampler::count(const GlobalPairs& global, std::span<const int64_t> random_items) {
  for (size_t i = 0; i < global.item.size(); ++i) {
    pair_counts_.add(pair_key(global.user[i], global.item[i]));
    user_counts_.add(static_cast<uint64_t>(global.user[i]));
    if (options_.in_batch > 0) in_batch_counts_.add(static_cast<uint64_t>(global.item[i]));
  }
  for (const int64_t item : random_items) random_counts_.add(static_cast<uint64_t>(item));
}

NegativePool NegativeSampler::draw(const GlobalPairs& global, const TrainingBatch& batch,
                                   std::span<const Pair> pairs, int64_t step) {
  KeyedRandom random(RandomStream::kPool, {seed_, step});
  std::vector<int64_t> columns = subset(global.item, options_.in_batch, random);
  const size_t in_batch = columns.size();
  for (int64_t i = 0; i < options_.random; ++i) columns.push_back(random.below(items_));

  NegativePool pool;
  pool.item = torch::tensor(columns, torch::kInt64);
  pool.in_batch = static_cast<int64_t>(in_batch);
  pool.log_q = torch::zeros({std::ssize(columns)});
  pool.positive_log_q = torch::zeros({std::ssize(pairs)});
  if (!options_.logq) return pool;

  count(global, std::span(columns).subspan(in_batch));
  read_log_q(in_batch_counts_, std::span(columns).first(in_batch), pool.log_q);
  read_log_q(random_counts_, std::span(columns).subspan(in_batch),
             pool.log_q.narrow(0, static_cast<int64_t>(in_batch), options_.random));
  auto* positive_log_q = pool.positive_log_q.data_ptr<float>();
  for (size_t i = 0; i < pairs.size(); ++i) {
    const int64_t user = batch.user[static_cast<size_t>(pairs[i].row)];
    const auto together = static_cast<double>(pair_counts_.count(pair_key(user, pairs[i].item)));
    const auto alone = static_cast<double>(user_counts_.count(static_cast<uint64_t>(user)));
    positive_log_q[i] = static_cast<float>(std::log(together / alone));
  }
  return pool;
}

std::map<std::string, CountMinSketch*> NegativeSampler::sketches() {
  return {{"sketch.pair", &pair_counts_},
          {"sketch.user", &user_counts_},
          {"sketch.in_batch", &in_batch_counts_},
          {"sketch.random", &random_counts_}};
}

std::map<std::string, torch::Tensor> NegativeSampler::state() {
  std::map<std::string, torch::Tensor> state;
  for (const auto& [name, sketch] : sketches()) state[name] = sketch->counters();
  return state;
}

void NegativeSampler::load_state(const std::map<std::string, torch::Tensor>& state,
                                 const std::string& source) {
  for (auto& [name, sketch] : sketches()) {
    torch::Tensor counters = torch::empty_like(sketch->counters());
    restore_tensor(state, name, counters, source);
    if (counters.lt(0).any().item<bool>())
      throw CheckpointError(source + ": '" + name + "' holds negative counts");
    sketch->load(counters);
  }
}

torch::Tensor user_positives_mask(const TrainingBatch& batch, const torch::Tensor& pool_items) {
  const int64_t columns = pool_items.size(0);
  std::unordered_map<int64_t, std::vector<int64_t>> columns_of;  // item -> columns that hold it
  for (int64_t j = 0; j < columns; ++j) columns_of[pool_items.data_ptr<int64_t>()[j]].push_back(j);
  torch::Tensor mask = torch::zeros({batch.inputs.users(), columns}, torch::kBool);
  for (size_t row = 0; row < batch.labels.size(); ++row)
    for (const Label& label : batch.labels[row])
      if (const auto found = columns_of.find(label.item); found != columns_of.end())
        for (const int64_t j : found->second)
          mask.data_ptr<bool>()[static_cast<int64_t>(row) * columns + j] = true;
  return mask;
}

}  // namespace pinnerformer
