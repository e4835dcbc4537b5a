// simd.h - the vector type of an instruction set and the few operations that vector extensions lack.
// Read once per instruction set, hence no include guard. Expects VL, the lanes of a vector: 16 or 8. Where the
// registers are narrower (SSE2, NEON) the compiler makes two operations of one.
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Unaligned access is allowed: tensors need no padding.
typedef float vf __attribute__((vector_size(4 * VL), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * VL), aligned(4), may_alias));
#define INL static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#define NR (NV * VL) // width of a register tile: output channels

INL vf v_relu(vf v) {
    return (vf)((vi)v & ~(v < (vf){0})); // a NaN stays a NaN
}

INL vf v_pick(vi m, vf a, vf b) { return (vf)((m & (vi)a) | (~m & (vi)b)); }

// One bit a lane: which values are positive. gate keeps the values whose bit is set and zeroes the others.
#if VL == 16
typedef uint16_t vbits;
INL vbits v_positive(vf v) { return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_GT_OQ); }
INL vf v_gate(vbits m, vf v) { return (vf)_mm512_maskz_mov_ps(m, (__m512)v); }
#else
typedef uint8_t vbits;
#if defined(__AVX__) // defined by the target pragma
INL vbits v_positive(vf v) { return _mm256_movemask_ps(_mm256_cmp_ps((__m256)v, _mm256_setzero_ps(), _CMP_GT_OQ)); }
#else
INL vbits v_positive(vf v) {
    const vi bit = {1, 2, 4, 8, 16, 32, 64, 128};
    vi m = (v > (vf){0}) & bit;
    return m[0] | m[1] | m[2] | m[3] | m[4] | m[5] | m[6] | m[7];
}
#endif
INL vf v_gate(vbits m, vf v) {
    const vi bit = {1, 2, 4, 8, 16, 32, 64, 128};
    vi have = bit & ((vi){0} + m);
    return (vf)((vi)v & (have == bit));
}
#endif
// One bit a lane of a comparison.
INL vbits v_lanes(vi m) {
#if VL == 16
    return _mm512_movepi32_mask((__m512i)m);
#elif defined(__AVX__)
    return _mm256_movemask_ps((__m256)m);
#else
    m &= (vi){1, 2, 4, 8, 16, 32, 64, 128};
    return m[0] | m[1] | m[2] | m[3] | m[4] | m[5] | m[6] | m[7];
#endif
}
INL vbits load_bits(const uint8_t *p) {
    vbits b;
    memcpy(&b, p, sizeof b);
    return b;
}
INL void store_bits(uint8_t *p, vbits b) { memcpy(p, &b, sizeof b); }

// HIDE keeps the compiler from precomputing, and spilling, one address for every load of an unrolled loop.
#define HIDE(p) __asm__("" : "+r"(p))
