// k-means clustering (Lloyd 1982) with the seeding of k-means++ (Arthur and Vassilvitskii 2007).
// Our own, as it is two matrix products and two sums of LibTorch an iteration: a library would
// bring a second BLAS and a second OpenMP runtime into a process that has both.
#pragma once
#include <torch/types.h>

#include <cstdint>
#include <functional>

#include "dataloader/base/random.h"

namespace pinnerformer {

struct NearestCentres {
  torch::Tensor index;    // int64 [n]
  torch::Tensor squared;  // float32 [n], the squared distance to it
};

// The nearest of `centres`, float32 [k, C], to each of `rows`, float32 [n, C].
[[nodiscard]] NearestCentres nearest_centres(const torch::Tensor& rows,
                                             const torch::Tensor& centres);

// k centres of `rows`, float32 [n, C], n of at least k: float32 [k, C]. Calls `iterated` after each
// iteration. A function of its arguments and the number of threads, on which the rounding of sums
// depends.
[[nodiscard]] torch::Tensor k_means(const torch::Tensor& rows, int64_t k, int64_t iterations,
                                    KeyedRandom& random, const std::function<void()>& iterated);

}  // namespace pinnerformer
