// isa_avx512.c - 16 lanes, 8 x 32 register tile (16 of 32 accumulators leave room to hide the multiply-add latency).
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,fma,prefer-vector-width=512")
#endif
#include "host.h"
#define VL 16
#define NV 2
#define MR 8
#include "simd.h"
#include "direct.h"
ISA_TABLE(host_isa_avx512, "avx512")
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
