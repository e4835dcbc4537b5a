// isa_base.c - what every processor of the architecture has: 4 lanes (SSE2, NEON), 6 x 8 register tile, and the choice
// between the sets.
#include "host.h"
#include <string.h>
#define VL 4
#define NV 2
#define MR 6
#include "simd.h"
#include "direct.h"
ISA_TABLE(host_isa_base, "base")

#if defined(__x86_64__)
extern const host_isa host_isa_avx512, host_isa_avx2;
#endif

const host_isa *host_isa_named(const char *name) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!strcmp(name, "avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma"))
        return &host_isa_avx512;
    if (!strcmp(name, "avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &host_isa_avx2;
#endif
    return !strcmp(name, "base") ? &host_isa_base : 0;
}
