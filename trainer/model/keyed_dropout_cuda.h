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

// Masks `values` [rows, row_elements] in place, on `stream`. All pointers are the GPU's.
cudaError_t launch_keyed_dropout(float* values, const KeyedRows& rows, const DropoutSite& site,
                                 cudaStream_t stream);
cudaError_t launch_keyed_dropout(__nv_bfloat16* values, const KeyedRows& rows,
                                 const DropoutSite& site, cudaStream_t stream);

}  // namespace pinnerformer
