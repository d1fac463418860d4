// One block of threads per row.
#include "trainer/optimizer/row_update_cuda.h"

namespace pinnerformer {
namespace {

constexpr int kThreads = 64;  // a power of two

// The sum over the threads of a block, for all of them.
__device__ float block_sum(float own) {
  __shared__ float sums[kThreads];
  const auto thread = static_cast<int>(threadIdx.x);
  sums[thread] = own;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (thread < half) sums[thread] += sums[thread + half];
    __syncthreads();
  }
  return sums[0];
}

__device__ bool leaves_out(const RowPointers& table) {
  return table.norm != nullptr && !isfinite(*table.norm);
}

// `gradient` [E], or null: zeros. `square` is the mean of its squares. All threads of the block
// call it.
__device__ void update_row(const RowPointers& table, const RowRule& rule, int64_t row,
                           const float* gradient, float square) {
  __shared__ float rate, unbias;
  float* record = table.records + row * (table.width + kRowCounters);
  if (threadIdx.x == 0) {
    int32_t* counter = reinterpret_cast<int32_t*>(record + table.width);
    counter[kRowChanged] = 1;
    ++counter[kRowUpdates];
    if (rule.adam) {
      const AdamRow adam = adam_row(rule, counter[kRowUpdates]);
      rate = adam.rate;
      unbias = adam.unbias;
    } else {
      rate = adagrad_rate(rule, square, record[table.width + kRowSum]);
    }
  }
  __syncthreads();
  for (int64_t e = threadIdx.x; e < table.width; e += kThreads) {
    const float own = gradient != nullptr ? gradient[e] : 0.0F;
    const int64_t moment = row * table.width + e;
    if (rule.adam)
      adam_update(rule, {rate, unbias}, own, record[e], table.first_moments[moment],
                  table.second_moments[moment]);
    else
      record[e] -= rate * own;
  }
}

__global__ void used_rows_kernel(RowPointers table, RowRule rule) {
  if (leaves_out(table)) return;
  const int64_t i = blockIdx.x;
  float* gradient = table.gradients + table.order[table.first[i]] * table.width;
  float squares = 0;
  for (int64_t e = threadIdx.x; e < table.width; e += kThreads) {
    float sum = gradient[e];
    for (int64_t j = table.first[i] + 1; j < table.first[i + 1]; ++j)
      sum += table.gradients[table.order[j] * table.width + e];
    gradient[e] = sum;
    squares += sum * sum;
  }
  const float square = block_sum(squares) / static_cast<float>(table.width);
  if (square == 0 || !isfinite(square)) return;
  const int64_t row = table.rows[i];
  update_row(table, rule, row, gradient, square);
  if (table.used != nullptr && threadIdx.x == 0) table.used[row] = 1;
}

__global__ void unused_rows_kernel(RowPointers table, RowRule rule) {
  if (leaves_out(table)) return;
  const int64_t row = blockIdx.x;
  const float* record = table.records + row * (table.width + kRowCounters);
  const bool trained = reinterpret_cast<const int32_t*>(record + table.width)[kRowUpdates] > 0;
  __syncthreads();  // before a thread counts this update
  if (table.used[row] == 0 && trained) update_row(table, rule, row, nullptr, 0);
}

}  // namespace

cudaError_t launch_row_update(const RowPointers& pointers, const RowRule& rule,
                              cudaStream_t stream) {
  if (pointers.used_rows > 0)
    used_rows_kernel<<<static_cast<unsigned>(pointers.used_rows), kThreads, 0, stream>>>(pointers,
                                                                                         rule);
  if (rule.updates_unused && pointers.table_rows > 0)
    unused_rows_kernel<<<static_cast<unsigned>(pointers.table_rows), kThreads, 0, stream>>>(
        pointers, rule);
  return cudaGetLastError();
}

}  // namespace pinnerformer
