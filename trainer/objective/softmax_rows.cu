// One block of threads per pair.
#include "trainer/objective/softmax_row.h"
#include "trainer/objective/softmax_rows_cuda.h"

namespace pinnerformer {
namespace {

constexpr int kThreads = 256;  // a power of two

__device__ SoftmaxRow row_of(const SoftmaxPointers& from, int64_t i) {
  SoftmaxRow row;
  row.scale = *from.scale;
  row.log_q = from.log_q;
  if (from.prior) row.prior = from.prior + from.prior_row[i] * from.columns;
  if (from.mask) {
    row.masked = from.mask + from.mask_row[i] * from.columns;
  } else {
    row.items = from.pool_item;
    row.item = from.positive_item[i];
  }
  return row;
}

template <class Pull, class Product>
__global__ void softmax_kernel(Pull* pull, const Product* products, SoftmaxPointers pointers) {
  __shared__ float largest[kThreads], sum[kThreads];  // of the threads' columns
  const int64_t i = blockIdx.x;
  const auto thread = static_cast<int>(threadIdx.x);
  const int64_t columns = pointers.columns;
  const SoftmaxRow row = row_of(pointers, i);
  pull += i * columns;
  products += i * columns;
  SoftmaxSum own = softmax_sum(products, row, thread, kThreads, columns);
  if (thread == 0) own.add(pointers.positive_logit[i]);
  for (int half = kThreads / 2; half > 0; half /= 2) {
    largest[thread] = own.largest;
    sum[thread] = own.sum;
    __syncthreads();
    if (thread < half) own.add(SoftmaxSum{largest[thread + half], sum[thread + half]});
    __syncthreads();
  }
  if (thread == 0) largest[0] = own.log();
  __syncthreads();
  const float normaliser = largest[0];
  if (thread == 0) pointers.normaliser[i] = normaliser;
  softmax_pull(pull, products, row, normaliser, pointers.weight[i], thread, kThreads, columns);
}

}  // namespace

template <class Pull, class Product>
cudaError_t launch_softmax_rows(Pull* pull, const Product* products,
                                const SoftmaxPointers& pointers, cudaStream_t stream) {
  if (pointers.rows == 0) return cudaSuccess;
  softmax_kernel<<<static_cast<unsigned>(pointers.rows), kThreads, 0, stream>>>(pull, products,
                                                                                pointers);
  return cudaGetLastError();
}

#define PF_INSTANTIATE(Pull, Product)                                                     \
  template cudaError_t launch_softmax_rows(Pull*, const Product*, const SoftmaxPointers&, \
                                           cudaStream_t)
PF_INSTANTIATE(float, float);
PF_INSTANTIATE(float, __nv_bfloat16);
PF_INSTANTIATE(__nv_bfloat16, float);
PF_INSTANTIATE(__nv_bfloat16, __nv_bfloat16);
#undef PF_INSTANTIATE

}  // namespace pinnerformer
