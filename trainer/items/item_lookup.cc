#include "trainer/items/item_lookup.h"

#include <algorithm>
#include <functional>
#include <string>
#include <unordered_set>

#include "comm/rows/row_exchange.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/random.h"
#include "trainer/items/unique.h"

namespace pinnerformer {
namespace {

std::vector<int64_t> items_of(const StepItems& items) {
  std::vector<int64_t> all;
  const torch::Tensor& sequence = items.inputs.item;
  const int64_t users = sequence.size(0), length = sequence.size(1);
  all.reserve(static_cast<size_t>(sequence.numel() + items.pool.numel()) + items.positives.size());
  for (int64_t b = 0; b < users; ++b) {
    const int64_t* row = sequence.const_data_ptr<int64_t>() + b * length;
    all.insert(all.end(), row, row + items.inputs.length.const_data_ptr<int64_t>()[b]);
  }
  all.insert(all.end(), items.positives.begin(), items.positives.end());
  const int64_t* pool = items.pool.const_data_ptr<int64_t>();
  all.insert(all.end(), pool, pool + items.pool.numel());
  return all;
}

bool is_dropped(double rate, int64_t seed, int64_t step, int64_t item) {
  return rate > 0 && KeyedRandom(RandomStream::kUnknown, {seed, step, item}).uniform() < rate;
}

}  // namespace

ItemRows::ItemRows(const ItemTableOptions& options, const Dataset& dataset)
    : dataset_(&dataset), buckets_(options.hash_buckets) {}

int64_t ItemRows::row(int64_t item) const {
  if (item < 0 || item >= dataset_->items())
    throw DataError(dataset_->directory() + ": an event names item row " + std::to_string(item) +
                    ", expected 0 to " + std::to_string(dataset_->items() - 1) +
                    "; `pinnerformer data validate` finds which");
  return buckets_ > 0 ? bucket_of(dataset_->item_hash(item), buckets_) : item;
}

std::string ItemRows::name(int64_t row) const {
  if (row == unknown()) return "the unknown row";
  return buckets_ > 0 ? "bucket " + std::to_string(row) : "item " + dataset_->item_id(row);
}

int64_t ItemRows::collisions() const {
  if (buckets_ == 0) return 0;
  std::unordered_set<int64_t> taken;
  for (int64_t item = 0; item < dataset_->items(); ++item) taken.insert(row(item));
  return dataset_->items() - static_cast<int64_t>(taken.size());
}

int64_t bucket_of(uint64_t item_hash, int64_t buckets) {
  return static_cast<int64_t>(item_hash % static_cast<uint64_t>(buckets));
}

ItemLookup plan_lookup(const StepItems& items, const ItemRows& rows, double unknown_rate,
                       int64_t seed, int64_t step) {
  const Unique used = unique(items_of(items));
  std::vector<int64_t> row_of_item;
  row_of_item.reserve(used.values.size());
  for (const int64_t item : used.values)
    row_of_item.push_back(is_dropped(unknown_rate, seed, step, item) ? rows.unknown()
                                                                     : rows.row(item));
  const Unique read = unique(row_of_item);  // buckets and the unknown row are shared
  auto next_position = [&, next = used.position.begin()]() mutable {
    return read.position[static_cast<size_t>(*next++)];
  };

  ItemLookup lookup;
  lookup.rows = torch::tensor(read.values, torch::kInt64);
  lookup.inputs = torch::zeros_like(items.inputs.item);
  const int64_t length = lookup.inputs.size(1);
  for (int64_t b = 0; b < lookup.inputs.size(0); ++b)
    std::generate_n(lookup.inputs.data_ptr<int64_t>() + b * length,
                    items.inputs.length.const_data_ptr<int64_t>()[b], std::ref(next_position));
  const auto next_positions = [&](int64_t count) {
    torch::Tensor tensor = torch::empty({count}, torch::kInt64);
    std::generate_n(tensor.data_ptr<int64_t>(), count, std::ref(next_position));
    return tensor;
  };
  lookup.positives = next_positions(std::ssize(items.positives));
  lookup.pool = next_positions(items.pool.numel());
  return lookup;
}

ItemLookup by_owner(ItemLookup lookup, int64_t owners) {
  if (owners == 1) return lookup;
  const torch::Tensor order = order_by_owner(lookup.rows, owners);
  torch::Tensor moved_to = torch::empty_like(order);
  moved_to.index_copy_(0, order, torch::arange(order.numel()));
  const auto moved = [&](const torch::Tensor& positions) {
    return moved_to.index_select(0, positions.flatten()).view_as(positions);
  };
  return {lookup.rows.index_select(0, order), moved(lookup.inputs), moved(lookup.positives),
          moved(lookup.pool)};
}

}  // namespace pinnerformer
