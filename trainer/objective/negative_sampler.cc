#include "trainer/objective/negative_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "dataloader/base/random.h"
#include "dataloader/sampling/epoch_plan.h"

namespace pinnerformer {
namespace {

constexpr int64_t kNone = -1;

uint64_t pair_key(int64_t user, int64_t item) {
  return splitmix64(static_cast<uint64_t>(user)) ^ static_cast<uint64_t>(item);
}

// A uniform subset of `keep` values, in their order.
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

// A user and its items, up to the first that is none.
void add_pairs(std::span<const int64_t> entry, GlobalPairs& global) {
  if (entry[1] != kNone) ++global.users_with_pairs;
  for (size_t i = 1; i < entry.size() && entry[i] != kNone; ++i) {
    global.user.push_back(entry[0]);
    global.item.push_back(entry[i]);
  }
}

// Log of how often each of `items` is expected among so many draws from what the sketch counted.
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

GlobalPairs gather_pairs(const TrainingBatch& batch, std::span<const Pair> pairs,
                         int64_t max_pairs_per_row, Communicator& control) {
  // A row of faults, then one per slot: user, then items.
  const int64_t width = 1 + max_pairs_per_row;
  static_assert(kFaultNumbers <= 2, "the narrowest row holds a user and an item");
  torch::Tensor mine = torch::full({1 + batch.slots, width}, kNone, torch::kInt64);
  write_faults(batch, std::span<int64_t, kFaultNumbers>(mine.data_ptr<int64_t>(), kFaultNumbers));
  auto* table = mine.data_ptr<int64_t>() + width;
  std::vector<int64_t> filled(static_cast<size_t>(batch.inputs.users()), 1);
  for (const Pair& pair : pairs) {
    const auto row = static_cast<size_t>(pair.row);
    int64_t* entry = table + batch.slot[row] * width;
    entry[0] = batch.user[row];
    entry[filled[row]++] = pair.item;
  }
  std::vector<int64_t> rows = slice_counts(batch.global_slots, control.size());
  for (int64_t& count : rows) ++count;
  torch::Tensor all = torch::empty({batch.global_slots + control.size(), width}, torch::kInt64);
  control.all_gather(all, mine, rows, "pairs")->wait();

  GlobalPairs global;
  const int64_t* entry = all.data_ptr<int64_t>();
  for (int rank = 0; rank < control.size(); ++rank) {
    add_faults(global.faults, rank, std::span<const int64_t, kFaultNumbers>(entry, kFaultNumbers));
    entry += width;
    for (int64_t slot = 1; slot < rows[static_cast<size_t>(rank)]; ++slot, entry += width)
      add_pairs(std::span(entry, static_cast<size_t>(width)), global);
  }
  return global;
}

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

std::map<std::string, torch::Tensor> NegativeSampler::state() const {
  return {{"sketch.pair", pair_counts_.counters()},
          {"sketch.user", user_counts_.counters()},
          {"sketch.in_batch", in_batch_counts_.counters()},
          {"sketch.random", random_counts_.counters()}};
}

void NegativeSampler::load_state(const std::map<std::string, torch::Tensor>& state) {
  pair_counts_.load(state.at("sketch.pair"));
  user_counts_.load(state.at("sketch.user"));
  in_batch_counts_.load(state.at("sketch.in_batch"));
  random_counts_.load(state.at("sketch.random"));
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
