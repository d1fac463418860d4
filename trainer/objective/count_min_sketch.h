// Approximate counts of 64-bit keys in fixed memory (Cormode, Muthukrishnan 2005).
#pragma once
#include <torch/types.h>

#include <cstdint>

namespace pinnerformer {

// A count is never too small. It is too large by at most total * e / width with probability
// 1 - e^-depth.
class CountMinSketch {
 public:
  // `width` is a power of two. Sketches with the same `salt` use the same hash.
  CountMinSketch(int64_t depth, int64_t width, uint64_t salt);

  void add(uint64_t key);
  [[nodiscard]] int64_t count(uint64_t key) const;
  [[nodiscard]] int64_t total() const { return total_; }  // number of add() calls

  // The counters, int64 [depth, width], which a checkpoint stores.
  [[nodiscard]] const torch::Tensor& counters() const { return counters_; }
  void load(const torch::Tensor& counters);

 private:
  [[nodiscard]] int64_t slot(int64_t row, uint64_t key) const;
  int64_t depth_;
  int64_t width_;
  uint64_t salt_;
  torch::Tensor counters_;
  int64_t total_ = 0;
};

}  // namespace pinnerformer
