#include "trainer/items/item_table.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <span>
#include <stdexcept>
#include <utility>

#include "comm/packed_transfer.h"
#include "comm/rows/row_copy.h"
#include "dataloader/base/random.h"
#include "trainer/items/unique.h"

namespace pinnerformer {
namespace {

constexpr int64_t kRowsPerTask = 512;
constexpr int64_t kRowsPerCopy = 65536;  // of initial values, to a device

// Throws std::invalid_argument for kNone.
std::unique_ptr<RowExchange> make_exchange(const ItemTableOptions& options, const Ranks& ranks) {
  switch (options.placement) {
    case ItemPlacement::kReplicated:
      return make_replicated_exchange(*ranks.control);
    case ItemPlacement::kRowSharded:
      return make_sharded_exchange(*ranks.control,
                                   options.on_device() ? *ranks.tensors : *ranks.control);
    case ItemPlacement::kNone:
      break;
  }
  throw std::invalid_argument("an item table without a placement");
}

RowStorage make_storage(const ItemTableOptions& options, int64_t rows, torch::Device device) {
  const auto zeros = [&](int64_t columns) {
    const torch::Tensor table =
        device.is_cpu() ? empty_table({rows, columns}) : torch::empty({rows, columns}, device);
    return table.zero_();
  };
  RowStorage storage{
      .records = zeros(options.dim + kRowCounters), .first_moments = {}, .second_moments = {}};
  if (options.optimizer != RowOptimizerKind::kRowwiseAdagrad) {
    storage.first_moments = zeros(options.dim);
    storage.second_moments = zeros(options.dim);
  }
  return storage;
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

// Fills rows first .. first + values.size(0) of those that this rank owns; `values` [n, E] are on
// the CPU.
void fill_rows(const torch::Tensor& values, int64_t first, const OwnedRows& owned, double std,
               int64_t seed) {
  auto* data = values.data_ptr<float>();
  at::parallel_for(0, values.size(0), kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      fill_row(data + i * values.stride(0), values.size(1), std,
               KeyedRandom(RandomStream::kInit, {seed, owned.row(first + i)}));
  });
}

// A device has its values from blocks of the host.
void set_initial(const torch::Tensor& values, const OwnedRows& owned, double std, int64_t seed) {
  if (values.is_cpu()) return fill_rows(values, 0, owned, std, seed);
  for (int64_t first = 0; first < owned.count; first += kRowsPerCopy) {
    const int64_t count = std::min(kRowsPerCopy, owned.count - first);
    const torch::Tensor block = torch::empty({count, values.size(1)});
    fill_rows(block, first, owned, std, seed);
    values.narrow(0, first, count).copy_(block);
  }
}

RowRule rule_of(const ItemTableOptions& options, const OptimizerOptions& optimizer) {
  return {.adam = options.optimizer != RowOptimizerKind::kRowwiseAdagrad,
          .updates_unused = options.optimizer == RowOptimizerKind::kAdam,
          .learning_rate = 0,
          .beta1 = optimizer.beta1,
          .beta2 = optimizer.beta2,
          .epsilon = static_cast<float>(optimizer.epsilon)};
}

// Which gradients belong to which row. On the CPU, without the values.
RowGradients group_by_row(const torch::Tensor& local_rows) {
  const auto* row = local_rows.const_data_ptr<int64_t>();
  const Unique rows = unique({row, static_cast<size_t>(local_rows.numel())});
  RowGradients grouped;
  grouped.rows = torch::tensor(rows.values, torch::kInt64);
  grouped.first = torch::zeros({std::ssize(rows.values) + 1}, torch::kInt64);
  grouped.order = torch::empty_like(local_rows);
  auto* first = grouped.first.data_ptr<int64_t>();
  for (const int64_t position : rows.position) ++first[position + 1];
  for (int64_t i = 0; i < std::ssize(rows.values); ++i) first[i + 1] += first[i];
  std::vector<int64_t> next(first, first + rows.values.size());
  auto* order = grouped.order.data_ptr<int64_t>();
  for (size_t i = 0; i < rows.position.size(); ++i)
    order[next[static_cast<size_t>(rows.position[i])]++] = static_cast<int64_t>(i);
  return grouped;
}

}  // namespace

ItemTable::ItemTable(const ItemTableOptions& options, const OptimizerOptions& optimizer,
                     int64_t rows, int64_t seed, const Ranks& ranks)
    : rows_(rows),
      compute_device_(ranks.device),
      exchange_(make_exchange(options, ranks)),
      owned_(exchange_->owned(rows)),
      storage_(make_storage(options, owned_.count,
                            options.on_device() ? ranks.device : torch::Device(torch::kCPU))),
      values_(storage_.records.narrow(1, 0, options.dim)),
      counters_(storage_.records.view(torch::kInt32).narrow(1, options.dim, kRowCounters)),
      rule_(rule_of(options, optimizer)) {
  set_initial(values_, owned_, options.init_std, seed);
}

void ItemTable::request(const torch::Tensor& rows) { exchange_->request(rows, values_); }

torch::Tensor ItemTable::receive() { return exchange_->receive().to(compute_device_); }

void ItemTable::return_gradients(const torch::Tensor& gradients) {
  exchange_->return_gradients(gradients.to(values_.device()));
}

void ItemTable::update(double learning_rate, const torch::Tensor& norm) {
  RowExchange::Returned returned = exchange_->returned();
  RowGradients gradients = group_by_row(returned.local_row);
  PackedTransfer transfer(values_.device());
  for (torch::Tensor* tensor : {&gradients.rows, &gradients.first, &gradients.order})
    transfer.add(*tensor);
  transfer.run();
  gradients.values = std::move(returned.gradient);
  if (norm.defined()) gradients.norm = norm.to(values_.device());
  RowRule rule = rule_;
  rule.learning_rate = learning_rate;
  update_rows(storage_, gradients, rule);
}

std::map<std::string, torch::Tensor> ItemTable::model_state() const {
  return {{"rows", values_}, {"updates", counters_.select(1, kRowUpdates)}};
}

std::map<std::string, torch::Tensor> ItemTable::training_state() const {
  if (!rule_.adam) return {{"adagrad", storage_.records.select(1, width() + kRowSum)}};
  return {{"adam.m", storage_.first_moments}, {"adam.v", storage_.second_moments}};
}

torch::Tensor ItemTable::changed_rows() const {
  return counters_.select(1, kRowChanged).nonzero().flatten().cpu();
}

void ItemTable::forget_changes() { counters_.select(1, kRowChanged).zero_(); }

}  // namespace pinnerformer
