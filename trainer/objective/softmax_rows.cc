#include "trainer/objective/softmax_rows.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "trainer/device_kernels.h"
#include "trainer/objective/softmax_row.h"
#include "trainer/simd.h"

namespace pinnerformer {
namespace {

// Sums and largest values are kept in parts: the compiler may not change the order of additions by
// itself.
using Lanes = std::array<float, 16>;
constexpr int64_t kLanes = std::tuple_size_v<Lanes>;

// exp(x) of x <= 0 to 2e-7 of its value, in operations that wide registers have. 0 below -87.
inline float exp_of_negative(float x) {
  constexpr float kLog2E = 1.44269504F, kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  constexpr float kRounder = 12582912.F;  // 1.5 * 2^23: adding it rounds to a whole number
  const float shifted = x * kLog2E + kRounder;
  const float whole = shifted - kRounder;
  const float rest = (x - whole * kLn2High) - whole * kLn2Low;  // within ln(2) / 2 of 0
  float series = 1.F / 5040;
  for (const float coefficient : {1.F / 720, 1.F / 120, 1.F / 24, 1.F / 6, 1.F / 2, 1.F, 1.F})
    series = series * rest + coefficient;
  const uint32_t exponent =
      std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRounder) + 127U;
  const float power = series * std::bit_cast<float>(exponent << 23);
  // A condition instead of these bits would keep the compiler from using wide registers.
  const uint32_t keep = 0U - static_cast<uint32_t>(!(x < -87.F));
  return std::bit_cast<float>(std::bit_cast<uint32_t>(power) & keep);
}

template <class Product>
PF_VECTOR_CLONES void logits_of(float* out, const Product* products, const SoftmaxRow& row,
                                int64_t columns) {
  const float scale = row.scale;
  const float* log_q = row.log_q;
  for (int64_t j = 0; j < columns; ++j) out[j] = static_cast<float>(products[j]) * scale - log_q[j];
  if (const float* prior = row.prior)
    for (int64_t j = 0; j < columns; ++j) out[j] += prior[j];
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  if (const bool* masked = row.masked) {
    for (int64_t j = 0; j < columns; ++j) out[j] = masked[j] ? kNone : out[j];
  } else {
    const int64_t* items = row.items;
    const int64_t item = row.item;
    for (int64_t j = 0; j < columns; ++j) out[j] = items[j] == item ? kNone : out[j];
  }
}

PF_VECTOR_CLONES float largest_of(const float* logits, int64_t columns, float at_least) {
  Lanes largest;
  largest.fill(at_least);
  int64_t j = 0;
  for (; j + kLanes <= columns; j += kLanes) {
    const float* part = logits + j;
    for (size_t k = 0; k < kLanes; ++k) largest[k] = part[k] > largest[k] ? part[k] : largest[k];
  }
  for (; j < columns; ++j) largest[0] = std::max(largest[0], logits[j]);
  return *std::max_element(largest.begin(), largest.end());
}

PF_VECTOR_CLONES void exponentiate(float* logits, int64_t columns, float largest) {
  for (int64_t j = 0; j < columns; ++j) {
    const float x = logits[j] - largest;
    logits[j] = exp_of_negative(x);
  }
}

PF_VECTOR_CLONES float sum_of(const float* values, int64_t columns) {
  Lanes sum{};
  int64_t j = 0;
  for (; j + kLanes <= columns; j += kLanes) {
    const float* part = values + j;
    for (size_t k = 0; k < kLanes; ++k) sum[k] += part[k];
  }
  for (; j < columns; ++j) sum[0] += values[j];
  float total = 0;
  for (const float part : sum) total += part;
  return total;
}

template <class Pull>
PF_VECTOR_CLONES void scale_into(Pull* out, const float* values, int64_t columns, float factor) {
  for (int64_t j = 0; j < columns; ++j) out[j] = static_cast<Pull>(values[j] * factor);
}

// Row i of `rows`.
SoftmaxRow row_of(const SoftmaxRows& rows, int64_t i) {
  const int64_t columns = rows.products.size(1);
  SoftmaxRow row{.scale = *rows.scale.const_data_ptr<float>(),
                 .log_q = rows.log_q.const_data_ptr<float>()};
  if (rows.prior.defined())
    row.prior =
        rows.prior.const_data_ptr<float>() + rows.prior_row.const_data_ptr<int64_t>()[i] * columns;
  if (rows.mask.defined()) {
    row.masked =
        rows.mask.const_data_ptr<bool>() + rows.mask_row.const_data_ptr<int64_t>()[i] * columns;
  } else {
    row.items = rows.pool_item.const_data_ptr<int64_t>();
    row.item = rows.positive_item.const_data_ptr<int64_t>()[i];
  }
  return row;
}

template <class Pull, class Product>
void apply_cpu(Pull* pull, const Product* products, const SoftmaxRows& rows) {
  const int64_t columns = rows.products.size(1);
  const auto* positive_logit = rows.positive_logit.const_data_ptr<float>();
  const auto* weight = rows.weight.const_data_ptr<float>();
  auto* normaliser = rows.normaliser.data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, at::internal::GRAIN_SIZE / columns);
  at::parallel_for(0, rows.products.size(0), grain, [&](int64_t begin, int64_t end) {
    std::vector<float> values(static_cast<size_t>(columns));
    for (int64_t i = begin; i < end; ++i) {
      logits_of(values.data(), products + i * columns, row_of(rows, i), columns);
      const float largest = largest_of(values.data(), columns, positive_logit[i]);
      exponentiate(values.data(), columns, largest);
      const float sum = sum_of(values.data(), columns) + std::exp(positive_logit[i] - largest);
      normaliser[i] = largest + std::log(sum);
      scale_into(pull + i * columns, values.data(), columns, weight[i] / sum);
    }
  });
}

DeviceKernels<SoftmaxKernel>& kernels() {
#ifdef PF_WITH_CUDA
  static DeviceKernels<SoftmaxKernel> known("the softmax", &softmax_rows_cpu, &softmax_rows_cuda);
#else
  static DeviceKernels<SoftmaxKernel> known("the softmax", &softmax_rows_cpu, nullptr);
#endif
  return known;
}

}  // namespace

void softmax_rows_cpu(const SoftmaxRows& rows) {
  const auto into = [&](auto* pull) {
    if (rows.products.scalar_type() == torch::kFloat32)
      apply_cpu(pull, rows.products.const_data_ptr<float>(), rows);
    else
      apply_cpu(pull, rows.products.const_data_ptr<c10::BFloat16>(), rows);
  };
  if (rows.pull.scalar_type() == torch::kFloat32)
    into(rows.pull.data_ptr<float>());
  else
    into(rows.pull.data_ptr<c10::BFloat16>());
}

void register_softmax_kernel(c10::DeviceType type, SoftmaxKernel* kernel) {
  kernels().set(type, kernel);
}

void softmax_rows(const SoftmaxRows& rows) {
  for (const torch::Tensor& tensor : {rows.products, rows.log_q, rows.prior, rows.prior_row,
                                      rows.mask, rows.mask_row, rows.positive_item, rows.pool_item,
                                      rows.positive_logit, rows.weight, rows.normaliser, rows.pull})
    TORCH_CHECK(
        !tensor.defined() || (tensor.is_contiguous() && tensor.device() == rows.products.device()),
        "the softmax needs contiguous tensors on one device");
  kernels().of(rows.products.device())(rows);
}

}  // namespace pinnerformer
