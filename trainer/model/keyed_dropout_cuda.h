// Keyed dropout in CUDA, where the build has it.
#pragma once
#include <torch/types.h>

#include <cstdint>

namespace pinnerformer {

struct DropoutSite {
  uint64_t salt = 0;
  uint32_t drop_below = 0;  // an element is dropped where its 32 bits are below this
  float scale = 1;          // of the kept elements
};

#ifdef PF_WITH_CUDA
// Masks `values` in place: [B, row_elements] contiguous, keys int64 [B], on the current stream;
// first_element is null or [B] on the device.
void keyed_dropout_cuda(const torch::Tensor& values, const torch::Tensor& keys,
                        const int64_t* first_element, int64_t row_elements,
                        const DropoutSite& site);
#else
inline void keyed_dropout_cuda(const torch::Tensor&, const torch::Tensor&, const int64_t*, int64_t,
                               const DropoutSite&) {
  TORCH_CHECK(false, "this build has no CUDA code");
}
#endif

}  // namespace pinnerformer
