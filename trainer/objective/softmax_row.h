// The softmax of one pair against the pool, for host and device.
#pragma once
#include <cmath>
#include <cstdint>

#include "trainer/host_device.h"

namespace pinnerformer {

// What the logits of a pair depend on, beside its products with the columns.
struct SoftmaxRow {
  float scale = 1;                 // inverse temperature
  const float* log_q = nullptr;    // [N]
  const float* prior = nullptr;    // [N], or null: none
  const bool* masked = nullptr;    // [N]; null: the columns that hold `item` are masked
  const int64_t* items = nullptr;  // [N], without a mask
  int64_t item = 0;
};

// The logit of a column. A masked column has none: minus infinity.
PF_HOST_DEVICE inline float softmax_logit(float product, const SoftmaxRow& row, int64_t column) {
  if (row.masked ? row.masked[column] : row.items[column] == row.item) return -INFINITY;
  const float logit = product * row.scale - row.log_q[column];
  return row.prior ? logit + row.prior[column] : logit;
}

// exp(largest) * sum = sum of exp(logit) over the logits added so far, without overflow.
struct SoftmaxSum {
  float largest = -INFINITY;
  float sum = 0;

  PF_HOST_DEVICE void add(float logit) { add(SoftmaxSum{logit, 1}); }
  PF_HOST_DEVICE void add(const SoftmaxSum& other) {
    if (other.largest == -INFINITY) return;
    if (other.largest > largest) {
      sum = sum * expf(largest - other.largest) + other.sum;
      largest = other.largest;
    } else {
      sum += other.sum * expf(other.largest - largest);
    }
  }
  PF_HOST_DEVICE [[nodiscard]] float log() const { return largest + logf(sum); }
};

// The sum over the columns first, first + stride, ... below `columns`.
template <class Product>
PF_HOST_DEVICE SoftmaxSum softmax_sum(const Product* products, const SoftmaxRow& row, int64_t first,
                                      int64_t stride, int64_t columns) {
  SoftmaxSum sum;
  for (int64_t j = first; j < columns; j += stride)
    sum.add(softmax_logit(static_cast<float>(products[j]), row, j));
  return sum;
}

// pull[j] = weight * softmax of column j, for the same columns; `pull` may be `products`.
template <class Pull, class Product>
PF_HOST_DEVICE void softmax_pull(Pull* pull, const Product* products, const SoftmaxRow& row,
                                 float normaliser, float weight, int64_t first, int64_t stride,
                                 int64_t columns) {
  for (int64_t j = first; j < columns; j += stride) {
    const float logit = softmax_logit(static_cast<float>(products[j]), row, j);
    pull[j] = static_cast<Pull>(weight * expf(logit - normaliser));
  }
}

}  // namespace pinnerformer
