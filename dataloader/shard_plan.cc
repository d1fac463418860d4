#include "dataloader/shard_plan.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "dataloader/random.h"

namespace pinnerformer {
namespace {

// Fisher-Yates; std::shuffle may differ between standard libraries.
void shuffle(std::span<int64_t> values, KeyedRandom& random) {
  for (size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[static_cast<size_t>(random.below(static_cast<int64_t>(i)))]);
}

}  // namespace

Slice rank_slice(int64_t total, int rank, int world) {
  const int64_t first = total * rank / world;
  return {first, total * (rank + 1) / world - first};
}

std::vector<int64_t> slice_counts(int64_t total, int world) {
  std::vector<int64_t> counts;
  for (int rank = 0; rank < world; ++rank) counts.push_back(rank_slice(total, rank, world).count);
  return counts;
}

std::vector<int64_t> epoch_order(const std::vector<int64_t>& users, int64_t seed, int64_t epoch,
                                 int64_t block_users, int64_t buffer_blocks) {
  KeyedRandom random(Draw::kOrder, {seed, epoch});
  const auto total = static_cast<int64_t>(users.size());
  std::vector<int64_t> blocks(static_cast<size_t>((total + block_users - 1) / block_users));
  std::iota(blocks.begin(), blocks.end(), int64_t{0});
  shuffle(blocks, random);

  std::vector<int64_t> order;
  order.reserve(users.size());
  size_t buffer_begin = 0;
  for (size_t b = 0; b < blocks.size(); ++b) {
    const int64_t first = blocks[b] * block_users;
    const int64_t last = std::min(total, first + block_users);
    order.insert(order.end(), users.begin() + first, users.begin() + last);
    const bool buffer_full = (b + 1) % static_cast<size_t>(buffer_blocks) == 0;
    if (buffer_full || b + 1 == blocks.size()) {
      shuffle(std::span(order).subspan(buffer_begin), random);
      buffer_begin = order.size();
    }
  }
  return order;
}

}  // namespace pinnerformer
