// isa_amx.c - the loops of bf16 on AMX, and whether this machine grants it.
#if defined(__x86_64__) && defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 13 : __GNUC__ >= 11)
#define _GNU_SOURCE
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#define AMX_TARGET "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,fma,amx-tile,amx-bf16"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target(AMX_TARGET))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,fma,amx-tile,amx-bf16,prefer-vector-width=512")
#endif
#define VL 16
#define NV 2
#define TILE_AMX
#define BF16 cpu_bf16_amx_loops
#include "cpu.h"
#include "simd.h"
#include "tile.h"
#include "bf16.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif

// The kernel keeps tiles for those processes alone that have asked (arch_prctl(2), ARCH_REQ_XCOMP_PERM): elsewhere the first
// instruction on a tile would be a signal. It holds for all threads.
static int granted(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

const cpu_bf16 *cpu_bf16_amx(void) {
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AVX512_BF16 = 1 << 5 };
    unsigned a, b, c, d;
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("fma"))
        return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & AMX_BF16) || !(d & AMX_TILE)) return 0;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & AVX512_BF16)) return 0;
    return granted() ? &cpu_bf16_amx_loops : 0;
}
#else
#include "cpu.h"
const cpu_bf16 *cpu_bf16_amx(void) { return 0; }
#endif
