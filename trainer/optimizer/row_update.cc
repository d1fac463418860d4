#include "trainer/optimizer/row_update.h"

#include <ATen/Parallel.h>

#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "comm/rows/row_copy.h"
#include "trainer/device_kernels.h"
#include "trainer/simd.h"

namespace pinnerformer {
namespace {

constexpr int64_t kRowsPerTask = 512;

PF_VECTOR_CLONES void subtract_scaled(float* __restrict value, const float* __restrict gradient,
                                      float scale, int64_t width) {
  for (int64_t e = 0; e < width; ++e) value[e] -= scale * gradient[e];
}

PF_VECTOR_CLONES void adam_updates(RowRule rule, AdamRow row, const float* __restrict gradient,
                                   float* __restrict value, float* __restrict first,
                                   float* __restrict second, int64_t width) {
  for (int64_t e = 0; e < width; ++e)
    adam_update(rule, row, gradient[e], value[e], first[e], second[e]);
}

// In eight sums, which the compiler can keep in one register.
PF_VECTOR_CLONES float mean_square(const float* gradient, int64_t width) {
  constexpr int64_t kLanes = 8;
  std::array<float, kLanes> sums{};
  int64_t e = 0;
  for (; e + kLanes <= width; e += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane)
      sums[static_cast<size_t>(lane)] += gradient[e + lane] * gradient[e + lane];
  for (; e < width; ++e) sums[0] += gradient[e] * gradient[e];
  return std::accumulate(sums.begin(), sums.end(), 0.0F) / static_cast<float>(width);
}

float* moments_of(const torch::Tensor& moments) {
  return moments.defined() ? moments.data_ptr<float>() : nullptr;
}

// The rows in the memory of the host.
class HostRows {
 public:
  HostRows(const RowStorage& table, const RowRule& rule)
      : rule_(rule),
        count_(table.records.size(0)),
        width_(table.width()),
        records_(table.records.data_ptr<float>()),
        first_(moments_of(table.first_moments)),
        second_(moments_of(table.second_moments)) {}

  [[nodiscard]] int64_t count() const { return count_; }
  [[nodiscard]] int64_t width() const { return width_; }
  [[nodiscard]] bool trained(int64_t row) const { return counters(row)[kRowUpdates] > 0; }

  void prefetch_row(int64_t row) const {
    const auto bytes = static_cast<size_t>(width_) * sizeof(float);
    prefetch<Access::kWrite>(record(row), bytes + kRowCounters * sizeof(float));
    if (!rule_.adam) return;
    prefetch<Access::kWrite>(first_ + row * width_, bytes);
    prefetch<Access::kWrite>(second_ + row * width_, bytes);
  }

  // `gradient` [E]; `square` is the mean of its squares. May run on several rows at once.
  void update(int64_t row, const float* gradient, float square) const {
    float* value = record(row);
    int32_t* counter = counters(row);
    counter[kRowChanged] = 1;
    ++counter[kRowUpdates];
    if (!rule_.adam) {
      const float rate = adagrad_rate(rule_, square, value[width_ + kRowSum]);
      subtract_scaled(value, gradient, rate, width_);
      return;
    }
    adam_updates(rule_, adam_row(rule_, counter[kRowUpdates]), gradient, value,
                 first_ + row * width_, second_ + row * width_, width_);
  }

 private:
  [[nodiscard]] float* record(int64_t row) const {
    return records_ + row * (width_ + kRowCounters);
  }
  [[nodiscard]] int32_t* counters(int64_t row) const {
    return reinterpret_cast<int32_t*>(record(row) + width_);
  }

  const RowRule& rule_;
  int64_t count_, width_;
  float *records_, *first_, *second_;
};

PF_VECTOR_CLONES void add(float* __restrict sum, const float* __restrict gradient, int64_t width) {
  for (int64_t e = 0; e < width; ++e) sum[e] += gradient[e];
}

// RowGradients in the memory of the host.
struct HostGradients {
  float* values;
  const int64_t *first, *order;
  int64_t width;

  HostGradients(const RowGradients& gradients, int64_t elements)
      : values(gradients.values.data_ptr<float>()),
        first(gradients.first.const_data_ptr<int64_t>()),
        order(gradients.order.const_data_ptr<int64_t>()),
        width(elements) {}

  // The gradients of row rows[i], added up into the first of them.
  [[nodiscard]] const float* sum_of(int64_t i) const {
    float* sum = values + order[first[i]] * width;
    for (int64_t j = first[i] + 1; j < first[i + 1]; ++j)
      add(sum, values + order[j] * width, width);
    return sum;
  }
};

void update_unused(const HostRows& rows, const std::vector<uint8_t>& used) {
  const std::vector<float> no_gradient(static_cast<size_t>(rows.width()), 0.0F);
  at::parallel_for(0, rows.count(), kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      if (used[static_cast<size_t>(row)] == 0 && rows.trained(row))
        rows.update(row, no_gradient.data(), /*square=*/0);
  });
}

DeviceKernels<RowKernel>& kernels() {
#ifdef PF_WITH_CUDA
  static DeviceKernels<RowKernel> known("the update of item rows", &update_rows_cpu,
                                        &update_rows_cuda);
#else
  static DeviceKernels<RowKernel> known("the update of item rows", &update_rows_cpu, nullptr);
#endif
  return known;
}

}  // namespace

void update_rows_cpu(const RowStorage& table, const RowGradients& gradients, const RowRule& rule) {
  if (gradients.norm.defined() && !std::isfinite(gradients.norm.item<float>())) return;
  const HostRows rows(table, rule);
  const HostGradients host(gradients, rows.width());
  const auto* row = gradients.rows.const_data_ptr<int64_t>();
  std::vector<uint8_t> used(rule.updates_unused ? static_cast<size_t>(rows.count()) : 0);
  const auto update_used = [&](int64_t i) {
    const float* gradient = host.sum_of(i);
    const float square = mean_square(gradient, rows.width());
    if (square == 0 || !std::isfinite(square)) return;
    rows.update(row[i], gradient, square);
    if (rule.updates_unused) used[static_cast<size_t>(row[i])] = 1;
  };
  at::parallel_for(0, gradients.rows.numel(), kRowsPerTask, [&](int64_t begin, int64_t end) {
    for_rows(
        begin, end, [&](int64_t i) { rows.prefetch_row(row[i]); }, update_used);
  });
  if (rule.updates_unused) update_unused(rows, used);
}

void register_row_kernel(c10::DeviceType type, RowKernel* kernel) { kernels().set(type, kernel); }

void update_rows(const RowStorage& table, const RowGradients& gradients, const RowRule& rule) {
  const c10::Device device = table.records.device();
  for (const torch::Tensor& tensor :
       {table.records, table.first_moments, table.second_moments, gradients.values, gradients.rows,
        gradients.first, gradients.order, gradients.norm})
    TORCH_CHECK(!tensor.defined() || (tensor.is_contiguous() && tensor.device() == device),
                "update of item rows: a tensor has gaps, or is not on ", device);
  kernels().of(device)(table, gradients, rule);
}

}  // namespace pinnerformer
