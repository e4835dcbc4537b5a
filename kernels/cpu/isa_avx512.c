// isa_avx512.c - 16 lanes; 14 x 32 register tile: 28 accumulators, 2 weights, 1 broadcast in 32 registers.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,fma,prefer-vector-width=512")
#endif
#define VL 16
#define NV 2
#define MR 14
#define DR 14
#define LABEL "avx512"
#define ISA cpu_isa_avx512
#include "isa.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
