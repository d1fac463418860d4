#include "trainer/items/item_table.h"

#include <ATen/Parallel.h>

#include <array>
#include <cmath>
#include <numeric>
#include <span>
#include <stdexcept>

#include "comm/rows/row_copy.h"
#include "dataloader/base/random.h"
#include "trainer/items/unique.h"
#include "trainer/simd.h"

namespace pinnerformer {
namespace {

constexpr int64_t kRowsPerTask = 512;
// Columns of the counters. The fourth is unused: it aligns rows to 16 bytes.
enum Counter : int64_t { kUpdates, kNumber, kChanged, kCounters = 4 };

// Throws std::invalid_argument for kNone.
std::unique_ptr<RowExchange> make_exchange(ItemPlacement placement, Communicator& comm) {
  switch (placement) {
    case ItemPlacement::kReplicated:
      return make_replicated_exchange(comm);
    case ItemPlacement::kRowSharded:
      return make_sharded_exchange(comm);
    case ItemPlacement::kNone:
      break;
  }
  throw std::invalid_argument("an item table without a placement");
}

// Uniform with standard deviation `std`; 64 random bits make two elements.
void fill_row(float* row, int64_t width, double std, KeyedRandom random) {
  const auto unit = static_cast<float>(std * std::sqrt(3.0) * 0x1.0p-31);
  for (int64_t i = 0; i < width; i += 2) {
    const uint64_t bits = random.next();
    row[i] = unit * static_cast<float>(static_cast<int32_t>(bits));
    if (i + 1 < width) row[i + 1] = unit * static_cast<float>(static_cast<int32_t>(bits >> 32));
  }
}

// Adds the gradients of a row that several ranks used into the first of them, in rank order.
void add_duplicates(const Unique& rows, const std::vector<int64_t>& first, float* gradients,
                    int64_t width) {
  for (size_t i = 0; i < rows.position.size(); ++i) {
    const int64_t into = first[static_cast<size_t>(rows.position[i])];
    if (into == static_cast<int64_t>(i)) continue;
    float* sum = gradients + into * width;
    const float* gradient = gradients + static_cast<int64_t>(i) * width;
    for (int64_t e = 0; e < width; ++e) sum[e] += gradient[e];
  }
}

std::vector<int64_t> first_appearances(const Unique& rows) {
  std::vector<int64_t> first;
  first.reserve(rows.values.size());
  for (size_t i = 0; i < rows.position.size(); ++i)
    if (rows.position[i] == std::ssize(first)) first.push_back(static_cast<int64_t>(i));
  return first;
}

// In eight sums, which the compiler can keep in one register.
PF_VECTOR_CLONES float mean_square(const float* gradient, int64_t width) {
  constexpr int64_t kLanes = 8;
  std::array<float, kLanes> sums{};
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane)
      sums[static_cast<size_t>(lane)] += gradient[i + lane] * gradient[i + lane];
  for (; i < width; ++i) sums[0] += gradient[i] * gradient[i];
  return std::accumulate(sums.begin(), sums.end(), 0.0F) / static_cast<float>(width);
}

}  // namespace

ItemTable::ItemTable(const ItemTableOptions& options, const OptimizerOptions& optimizer,
                     int64_t rows, int64_t seed, Communicator& comm)
    : rows_(rows),
      exchange_(make_exchange(options.placement, comm)),
      owned_(exchange_->owned(rows)),
      records_(empty_table({owned_.count, options.dim + kCounters})),
      values_(records_.narrow(1, 0, options.dim)),
      counters_(records_.view(torch::kInt32).narrow(1, options.dim, kCounters).zero_()),
      row_optimizer_(make_row_optimizer(options.optimizer, optimizer,
                                        records_.select(1, options.dim + kNumber), options.dim)),
      updates_unused_rows_(options.optimizer == RowOptimizerKind::kAdam) {
  auto* values = values_.data_ptr<float>();
  at::parallel_for(0, owned_.count, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = owned_.row(i);
      fill_row(values + i * values_.stride(0), options.dim, options.init_std,
               KeyedRandom(RandomStream::kInit, {seed, row}));
    }
  });
}

void ItemTable::request(const torch::Tensor& rows) { exchange_->request(rows, values_); }

torch::Tensor ItemTable::receive() { return exchange_->receive(); }

void ItemTable::return_gradients(const torch::Tensor& gradients) {
  exchange_->return_gradients(gradients);
}

void ItemTable::update(double learning_rate) {
  RowExchange::Returned returned = exchange_->returned();
  const auto* local_rows = returned.local_row.const_data_ptr<int64_t>();
  const Unique rows = unique({local_rows, static_cast<size_t>(returned.local_row.numel())});
  const std::vector<int64_t> first = first_appearances(rows);
  auto* gradients = returned.gradient.data_ptr<float>();
  add_duplicates(rows, first, gradients, width());
  auto* values = values_.data_ptr<float>();
  const int64_t width = this->width(), stride = records_.stride(0);
  const size_t bytes = static_cast<size_t>(stride) * sizeof(float);
  std::vector<uint8_t> used(updates_unused_rows_ ? static_cast<size_t>(owned_.count) : 0);
  const auto prefetch_row = [&](int64_t i) {
    const int64_t row = rows.values[static_cast<size_t>(i)];
    prefetch<Access::kWrite>(values + row * stride, bytes);
    row_optimizer_->prefetch_state(row);
  };
  const auto update_used_row = [&](int64_t i) {
    const int64_t row = rows.values[static_cast<size_t>(i)];
    const float* gradient = gradients + first[static_cast<size_t>(i)] * width;
    const float square = mean_square(gradient, width);
    if (square == 0 || !std::isfinite(square)) return;
    update_row(row, gradient, square, learning_rate);
    if (updates_unused_rows_) used[static_cast<size_t>(row)] = 1;
  };
  at::parallel_for(0, std::ssize(first), kRowsPerTask, [&](int64_t begin, int64_t end) {
    for_rows(begin, end, prefetch_row, update_used_row);
  });
  if (updates_unused_rows_) update_unused_rows(used, learning_rate);
}

void ItemTable::update_unused_rows(const std::vector<uint8_t>& used, double learning_rate) {
  const std::vector<float> no_gradient(static_cast<size_t>(width()), 0.0F);
  const auto* counters = counters_.const_data_ptr<int32_t>();
  at::parallel_for(0, owned_.count, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const bool trained = counters[row * records_.stride(0) + kUpdates] > 0;
      if (trained && used[static_cast<size_t>(row)] == 0)
        update_row(row, no_gradient.data(), /*square=*/0, learning_rate);
    }
  });
}

void ItemTable::update_row(int64_t row, const float* gradient, float square, double learning_rate) {
  const int64_t at = row * records_.stride(0);
  int32_t* counter = counters_.data_ptr<int32_t>() + at;
  counter[kChanged] = 1;
  row_optimizer_->update(values_.data_ptr<float>() + at,
                         {row, gradient, square, ++counter[kUpdates]}, learning_rate);
}

void ItemTable::leave_out_step() { static_cast<void>(exchange_->returned()); }

std::map<std::string, torch::Tensor> ItemTable::model_state() const {
  return {{"rows", values_}, {"updates", counters_.select(1, kUpdates)}};
}

torch::Tensor ItemTable::changed_rows() const {
  return counters_.select(1, kChanged).nonzero().flatten();
}

void ItemTable::forget_changes() { counters_.select(1, kChanged).zero_(); }

}  // namespace pinnerformer
