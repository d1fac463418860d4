// The update rules for one row of an item table, for the host and for a GPU's kernels alike.
//   rowwise_adagrad  s += mean(g^2);  value -= rate * g / (sqrt(s) + epsilon)
//   lazy_adam        Adam whose moments and step count change only in steps that use the row;
//                    its bias correction uses the row's own count
//   adam             the same rule; every row is updated in each step from its first gradient on,
//                    with a gradient of zero where the step does not use it
#pragma once
#include <cmath>
#include <cstdint>

#include "trainer/host_device.h"

namespace pinnerformer {

// Numbers of four bytes that follow the values of a row in memory. The fourth is unused: it aligns
// rows to 16 bytes.
enum RowCounter : int64_t {
  kRowUpdates,  // int32, updates of the row
  kRowSum,      // float32, s of rowwise_adagrad
  kRowChanged,  // int32, 1 where the row changed since the table was told to forget changes
  kRowCounters = 4
};

// The constants of a step.
struct RowRule {
  bool adam = false;            // else rowwise_adagrad
  bool updates_unused = false;  // with adam
  double learning_rate = 0;
  double beta1 = 0, beta2 = 0;
  float epsilon = 0;
};

// Adam's constants of a row in a step.
struct AdamRow {
  float rate = 0, unbias = 0;
};

// What a row's gradient is multiplied by. Updates `sum`.
PF_HOST_DEVICE inline float adagrad_rate(const RowRule& rule, float mean_square, float& sum) {
  sum += mean_square;
  return static_cast<float>(rule.learning_rate) / (sqrtf(sum) + rule.epsilon);
}

// `updates`: of this row, including this one.
PF_HOST_DEVICE inline AdamRow adam_row(const RowRule& rule, int32_t updates) {
  const auto steps = static_cast<double>(updates);
  return {static_cast<float>(rule.learning_rate / (1 - pow(rule.beta1, steps))),
          static_cast<float>(1 / sqrt(1 - pow(rule.beta2, steps)))};
}

// The moments of a row that is long unused shrink to denormal numbers, which processors compute a
// hundred times more slowly.
PF_HOST_DEVICE inline float flushed(float moment) { return fabsf(moment) < 1e-30F ? 0.0F : moment; }

// One element of a row: its value, moments and gradient.
PF_HOST_DEVICE inline void adam_update(const RowRule& rule, const AdamRow& row, float gradient,
                                       float& value, float& first, float& second) {
  const auto beta1 = static_cast<float>(rule.beta1), beta2 = static_cast<float>(rule.beta2);
  const float mean = flushed(beta1 * first + (1 - beta1) * gradient);
  const float square = flushed(beta2 * second + (1 - beta2) * gradient * gradient);
  first = mean;
  second = square;
  value -= row.rate * mean / (sqrtf(square) * row.unbias + rule.epsilon);
}

}  // namespace pinnerformer
