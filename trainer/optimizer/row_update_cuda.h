// The update of item rows on a GPU, without LibTorch: nvcc would take a minute and a half for its
// headers.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "trainer/optimizer/row_rule.h"

namespace pinnerformer {

// RowStorage and RowGradients as pointers of the GPU; null where a tensor is undefined.
struct RowPointers {
  float* records = nullptr;
  float* first_moments = nullptr;
  float* second_moments = nullptr;
  int64_t table_rows = 0;  // R
  int64_t width = 0;       // E
  float* gradients = nullptr;
  const int64_t* rows = nullptr;
  const int64_t* first = nullptr;
  const int64_t* order = nullptr;
  int64_t used_rows = 0;        // k
  const float* norm = nullptr;  // null: finite
  uint8_t* used = nullptr;      // [R], zeros, where the rule updates unused rows
};

cudaError_t launch_row_update(const RowPointers& pointers, const RowRule& rule,
                              cudaStream_t stream);

}  // namespace pinnerformer
