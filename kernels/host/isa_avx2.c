// isa_avx2.c - 8 lanes, 6 x 16 register tile: 12 accumulators, 2 weights and 1 broadcast in 16 registers.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "host.h"
#define VL 8
#define NV 2
#define MR 6
#include "simd.h"
#include "direct.h"
ISA_TABLE(host_isa_avx2, "avx2")
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
