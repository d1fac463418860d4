#include "trainer/objective/count_min_sketch.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "dataloader/base/random.h"

namespace pinnerformer {

CountMinSketch::CountMinSketch(int64_t depth, int64_t width, uint64_t salt)
    : depth_(depth), width_(width), salt_(salt) {
  TORCH_CHECK(depth >= 1 && width >= 1 && std::has_single_bit(static_cast<uint64_t>(width)),
              "a sketch has depth >= 1 and a power of two as width, not ", depth, " x ", width);
  counters_ = torch::zeros({depth, width}, torch::kInt64);
}

int64_t CountMinSketch::slot(int64_t row, uint64_t key) const {
  const uint64_t hash = splitmix64(key ^ splitmix64(salt_ + static_cast<uint64_t>(row)));
  return row * width_ + static_cast<int64_t>(hash & static_cast<uint64_t>(width_ - 1));
}

void CountMinSketch::add(uint64_t key) {
  auto* counters = counters_.data_ptr<int64_t>();
  for (int64_t row = 0; row < depth_; ++row) ++counters[slot(row, key)];
  ++total_;
}

int64_t CountMinSketch::count(uint64_t key) const {
  const auto* counters = counters_.data_ptr<int64_t>();
  int64_t least = std::numeric_limits<int64_t>::max();
  for (int64_t row = 0; row < depth_; ++row) least = std::min(least, counters[slot(row, key)]);
  return least;
}

void CountMinSketch::load(const torch::Tensor& counters) {
  counters_.copy_(counters);
  total_ = counters_[0].sum().item<int64_t>();  // every add() raises one counter of each row
}

}  // namespace pinnerformer
