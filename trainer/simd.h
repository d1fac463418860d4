// For loops that gain from wide registers: compiled once for AVX2 and once for any x86-64, chosen
// when the program is loaded. Without fused multiply-add, so that both give the same bits.
#pragma once

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define PF_VECTOR_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define PF_VECTOR_CLONES
#endif
