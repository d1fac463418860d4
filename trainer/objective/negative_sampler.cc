#include "trainer/objective/negative_sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <utility>

#include "dataloader/base/random.h"
#include "trainer/errors.h"
#include "trainer/stored_tensor.h"

namespace pinnerformer {
namespace {

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

// Of each pair the log of its item's share of the pairs of its row.
torch::Tensor log_share_of_row(std::span<const Pair> pairs) {
  std::map<std::pair<int64_t, int64_t>, double> of_item;  // by (row, item)
  std::map<int64_t, double> of_row;
  for (const Pair& pair : pairs) {
    ++of_item[{pair.row, pair.item}];
    ++of_row[pair.row];
  }
  std::vector<float> shares;
  shares.reserve(pairs.size());
  for (const Pair& pair : pairs)
    shares.push_back(
        static_cast<float>(std::log(of_item[{pair.row, pair.item}] / of_row[pair.row])));
  return torch::tensor(shares);
}

}  // namespace

NegativeSampler::NegativeSampler(const NegativeOptions& options, int64_t items, int64_t seed)
    : options_(options),
      items_(items),
      seed_(seed),
      counts_(torch::zeros({options.logq && options.in_batch > 0 ? items : 0}, torch::kInt32)) {}

void NegativeSampler::count(std::span<const int64_t> items) {
  if (counts_.numel() == 0) return;
  auto* counts = counts_.data_ptr<int32_t>();
  for (const int64_t item : items) {
    if (counts[item] == std::numeric_limits<int32_t>::max()) continue;
    ++counts[item];
    ++total_;
  }
}

torch::Tensor NegativeSampler::log_q_of_columns(const NegativePool& pool) const {
  const int64_t columns = pool.item.size(0);
  const auto* item = pool.item.const_data_ptr<int64_t>();
  const double random = static_cast<double>(columns - pool.in_batch) / static_cast<double>(items_);
  const double per_count =
      total_ > 0 ? static_cast<double>(pool.in_batch) / static_cast<double>(total_) : 0;
  const bool per_part = options_.logq_form == LogQForm::kPerPart;
  torch::Tensor log_q = torch::empty({columns});
  for (int64_t j = 0; j < columns; ++j) {
    const bool in_batch = j < pool.in_batch;
    double expected = 0;
    if (per_count > 0 && (in_batch || !per_part))
      expected += per_count * counts_.const_data_ptr<int32_t>()[item[j]];
    if (!in_batch || !per_part) expected += random;
    log_q.data_ptr<float>()[j] = static_cast<float>(std::log(expected));
  }
  return log_q;
}

NegativePool NegativeSampler::draw(const GlobalPositives& global, std::span<const Pair> pairs,
                                   int64_t step) {
  KeyedRandom random(RandomStream::kPool, {seed_, step});
  std::vector<int64_t> columns = subset(global.item, options_.in_batch, random);
  NegativePool pool;
  pool.in_batch = std::ssize(columns);
  // A step without positives has a random item at least: the softmax needs a column.
  const int64_t least = columns.empty() ? 1 : 0;
  for (int64_t i = 0; i < std::max(options_.random, least); ++i)
    columns.push_back(random.below(items_));
  pool.item = torch::tensor(columns, torch::kInt64);
  pool.log_q = torch::zeros({std::ssize(columns)});
  pool.positive_log_q = torch::zeros({std::ssize(pairs)});
  if (!options_.logq) return pool;

  count(global.item);
  pool.log_q = log_q_of_columns(pool);
  if (options_.logq_form != LogQForm::kCorrected) pool.positive_log_q = log_share_of_row(pairs);
  return pool;
}

std::map<std::string, torch::Tensor> NegativeSampler::state() {
  if (counts_.numel() == 0) return {};
  return {{"positive_counts", counts_}};
}

void NegativeSampler::load_state(const std::map<std::string, torch::Tensor>& state,
                                 const std::string& source) {
  if (counts_.numel() == 0 || state.contains("sketch.in_batch")) return;
  torch::Tensor counts = torch::empty_like(counts_);
  restore_tensor(state, "positive_counts", counts, source);
  if (counts.lt(0).any().item<bool>())
    throw CheckpointError(source + ": 'positive_counts' holds negative counts");
  counts_.copy_(counts);
  total_ = counts.sum(torch::kInt64).item<int64_t>();
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
