#include "trainer/objective/negative_sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "comm/communicator.h"
#include "comm/ranks.h"
#include "dataloader/base/random.h"
#include "trainer/errors.h"
#include "trainer/stored_tensor.h"

namespace pinnerformer {
namespace {

// Selection sampling (Knuth, volume 2, algorithm S): a draw for each of n numbers.
std::vector<int64_t> select_numbers(int64_t n, int64_t keep, KeyedRandom& random) {
  std::vector<int64_t> kept;
  kept.reserve(static_cast<size_t>(keep));
  for (int64_t i = 0; i < n && std::ssize(kept) < keep; ++i)
    if (random.below(n - i) < keep - std::ssize(kept)) kept.push_back(i);
  return kept;
}

// Floyd's sampling (Bentley and Floyd, Communications of the ACM 30:9, 1987): a draw for each
// number that is kept.
std::vector<int64_t> pick_numbers(int64_t n, int64_t keep, KeyedRandom& random) {
  std::unordered_set<int64_t> kept;
  kept.reserve(static_cast<size_t>(keep));
  for (int64_t last = n - keep; last < n; ++last)
    if (!kept.insert(random.below(last + 1)).second) kept.insert(last);
  std::vector<int64_t> ascending(kept.begin(), kept.end());
  std::ranges::sort(ascending);
  return ascending;
}

// A uniform random subset of 0 .. n - 1, ascending. Its cost does not grow with n, of which large
// jobs have millions.
std::vector<int64_t> subset(int64_t n, int64_t keep, KeyedRandom& random) {
  constexpr int64_t kDense = 16;
  if (keep < n)
    return n <= kDense * keep ? select_numbers(n, keep, random) : pick_numbers(n, keep, random);
  std::vector<int64_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

int64_t positives_in(const GlobalPositives& global) {
  if (global.of_rank.empty()) return std::ssize(global.item);
  return std::accumulate(global.of_rank.begin(), global.of_rank.end(), int64_t{0});
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

void NegativeSampler::count(const GlobalPositives& global, int64_t step) {
  if (counts_.numel() == 0) return;
  Counted counted{.step = step, .items = {}, .positives = positives_in(global)};
  auto* counts = counts_.data_ptr<int32_t>();
  for (const int64_t item : global.item) {
    if (counts[item] == std::numeric_limits<int32_t>::max()) continue;
    ++counts[item];
    counted.items.push_back(item);
  }
  total_ += counted.positives;
  last_ = {std::move(last_[1]), std::move(counted)};
}

void NegativeSampler::take_back(int64_t step) {
  auto* counts = counts_.data_ptr<int32_t>();
  for (Counted& counted : last_) {
    if (counted.step < step) continue;
    for (const int64_t item : counted.items) --counts[item];
    total_ -= counted.positives;
    counted = {};
  }
}

torch::Tensor NegativeSampler::counts_of(const torch::Tensor& items, Communicator& control) const {
  torch::Tensor counts = counts_.index_select(0, items).to(torch::kInt64);
  if (control.size() > 1) control.all_reduce(counts, "counts of the columns")->wait();
  return counts;
}

torch::Tensor NegativeSampler::log_q_of_columns(const NegativePool& pool,
                                                Communicator& control) const {
  const int64_t columns = pool.item.size(0);
  const double random = static_cast<double>(columns - pool.in_batch) / static_cast<double>(items_);
  const double per_count =
      total_ > 0 ? static_cast<double>(pool.in_batch) / static_cast<double>(total_) : 0;
  const bool per_part = options_.logq_form == LogQForm::kPerPart;
  torch::Tensor counts;  // int64, of the columns whose Q depends on them
  if (per_count > 0)
    counts = counts_of(pool.item.narrow(0, 0, per_part ? pool.in_batch : columns), control);
  torch::Tensor log_q = torch::empty({columns});
  for (int64_t j = 0; j < columns; ++j) {
    const bool in_batch = j < pool.in_batch;
    double expected = 0;
    if (per_count > 0 && (in_batch || !per_part))
      expected += per_count * static_cast<double>(counts.const_data_ptr<int64_t>()[j]);
    if (!in_batch || !per_part) expected += random;
    log_q.data_ptr<float>()[j] = static_cast<float>(std::log(expected));
  }
  return log_q;
}

NegativePool NegativeSampler::draw(const GlobalPositives& global, std::span<const Pair> pairs,
                                   int64_t step, Communicator& control) {
  KeyedRandom random(RandomStream::kPool, {seed_, step});
  const std::vector<int64_t> places = subset(positives_in(global), options_.in_batch, random);
  NegativePool pool;
  pool.in_batch = std::ssize(places);
  // A step without positives has a random item at least: the softmax needs a column.
  const int64_t least = places.empty() ? 1 : 0;
  std::vector<int64_t> drawn;
  for (int64_t i = 0; i < std::max(options_.random, least); ++i)
    drawn.push_back(random.below(items_));
  pool.item =
      torch::cat({fetch_positives(global, places, control), torch::tensor(drawn, torch::kInt64)});
  pool.log_q = torch::zeros({pool.item.size(0)});
  pool.positive_log_q = torch::zeros({std::ssize(pairs)});
  if (!options_.logq) return pool;

  count(global, step);
  pool.log_q = log_q_of_columns(pool, control);
  if (options_.logq_form != LogQForm::kCorrected) pool.positive_log_q = log_share_of_row(pairs);
  return pool;
}

// In pieces, so that a rank needs little memory beside its counts.
std::map<std::string, torch::Tensor> NegativeSampler::gather_state(Communicator& control) const {
  if (counts_.numel() == 0) return {};
  if (control.size() == 1) return {{"positive_counts", counts_}};
  constexpr int64_t kPiece = int64_t{1} << 20;
  const bool coordinator = control.rank() == kCoordinator;
  torch::Tensor whole = torch::empty({coordinator ? items_ : 0}, torch::kInt32);
  for (int64_t first = 0; first < items_; first += kPiece) {
    const int64_t count = std::min(kPiece, items_ - first);
    torch::Tensor sum = counts_.narrow(0, first, count).to(torch::kInt64);
    control.all_reduce(sum, "positive counts")->wait();
    if (coordinator)
      whole.narrow(0, first, count).copy_(sum.clamp_max(std::numeric_limits<int32_t>::max()));
  }
  if (!coordinator) return {};
  return {{"positive_counts", whole}};
}

void NegativeSampler::share_state(Communicator& control) {
  torch::Tensor total = torch::tensor({total_}, torch::kInt64);
  control.broadcast(total, kCoordinator, "positives counted")->wait();
  total_ = total.item<int64_t>();
  if (control.rank() != kCoordinator) counts_.zero_();
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
