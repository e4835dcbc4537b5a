// isa_avx2.c - 8 lanes; 6 x 16 register tile: 12 accumulators, 2 weights, 1 broadcast in 16 registers.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define VL 8
#define NV 2
#define MR 6
#define DR 6
#define LABEL "avx2"
#define ISA cpu_isa_avx2
#include "isa.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
