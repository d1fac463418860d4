// Marks a function that both the host and a GPU's kernels call.
#pragma once

#ifdef __CUDACC__
#define PF_HOST_DEVICE __host__ __device__
#else
#define PF_HOST_DEVICE
#endif
