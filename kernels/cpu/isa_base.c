// isa_base.c - what every processor of the architecture has (SSE2, NEON), 8 lanes in pairs of registers; and the choice
// between the sets. NEON's 32 registers hold a 6 x 16 tile, SSE2's 16 a 6 x 8 tile.
#define VL 8
#if defined(__aarch64__)
#define NV 2
#else
#define NV 1
#endif
#define MR 6
#define DR 6
#define LABEL "base"
#define ISA cpu_isa_base
#include "isa.h"

#if defined(__x86_64__)
extern const cpu_isa cpu_isa_avx512, cpu_isa_avx2;
#endif

const cpu_isa *cpu_isa_named(const char *name) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!strcmp(name, "avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma"))
        return &cpu_isa_avx512;
    if (!strcmp(name, "avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &cpu_isa_avx2;
#endif
    return !strcmp(name, "base") ? &cpu_isa_base : 0;
}
