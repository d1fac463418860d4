// Keyed dropout on a GPU, without LibTorch: nvcc would take a minute and a half for its headers.
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "trainer/model/keyed_dropout_hash.h"

namespace pinnerformer {

struct KeyedRows {
  const int64_t* keys = nullptr;           // [rows]
  const int64_t* first_element = nullptr;  // [rows], or null: zeros
  int64_t rows = 0;
  int64_t row_elements = 0;
};

// output = residual + mask * input, each [rows, row_elements]; a null `residual` is zero. All
// pointers are the GPU's. For float and __nv_bfloat16.
template <class Out, class In>
cudaError_t launch_keyed_dropout(Out* output, const In* input, const float* residual,
                                 const KeyedRows& rows, const DropoutSite& site,
                                 cudaStream_t stream);

}  // namespace pinnerformer
