// tile.h - matrix tiles of 16 rows x 64 bytes, eight of them, and the product of bf16 tiles: AMX where TILE_AMX is
// defined, else a twin in C that gives the same bits. Read once per instruction set.
//
//	tile_load(t, p, stride)    row m of tile t = the 64 bytes at p + m stride
//	tile_store(t, p, stride)   the reverse
//	tile_dot(c, a, b)          c (16 x 16 fp32) += a (16 x 32 bf16) b, where row k of b holds rows 2k and 2k+1 of the
//	                           second factor interleaved: b[k][2n], b[k][2n+1]
//
// What TDPBF16PS computes, found by comparing a million random tiles with the instruction (Intel's manual says as much,
// Architecture Instruction Set Extensions, TDPBF16PS, but for the last line):
//
//	e = o = 0;  for k = 0..15:  e = F(a[m][2k], b[k][2n], e);  o = F(a[m][2k+1], b[k][2n+1], o)
//	c[m][n] = F(1, c[m][n], F(1, e, o))
//	F(x, y, z) = xy + z rounded once, to nearest even; subnormal operands count as 0, subnormal results become 0
//
// A tile is written between tile_begin and tile_end alone, on one thread: nothing of it is left when Go runs again.
// Which NaN comes out of several is not modelled.

typedef uint16_t bf16;

#if defined(TILE_AMX)

typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shape;
typedef char tile_file; // the processor has it

INL void tile_begin(tile_file *f) {
    (void)f;
    tile_shape s __attribute__((aligned(64))) = {.palette = 1};
    for (int i = 0; i < 8; i++) s.bytes[i] = 64, s.rows[i] = 16;
    _tile_loadconfig(&s);
}
INL void tile_end(tile_file *f) {
    (void)f;
    _tile_release();
}
// Numbers of tiles are literals.
#define tile_zero(f, t) _tile_zero(t)
#define tile_load(f, t, p, stride) _tile_loadd(t, p, stride)
#define tile_store(f, t, p, stride) _tile_stored(t, p, stride)
#define tile_dot(f, c, a, b) _tile_dpbf16ps(c, a, b)
// The compiler does not know that a load of a tile reads memory: what was written just before must be there.
#define tile_fence() __asm__ volatile("" ::: "memory")

#else

typedef struct {
    char t[8][16][64] __attribute__((aligned(64)));
} tile_file;

INL void tile_begin(tile_file *f) { (void)f; }
INL void tile_end(tile_file *f) { (void)f; }
INL void tile_fence(void) {}
INL void tile_zero(tile_file *f, int t) { memset(f->t[t], 0, sizeof f->t[t]); }
INL void tile_load(tile_file *f, int t, const void *p, size_t stride) {
    for (int m = 0; m < 16; m++) memcpy(f->t[t][m], (const char *)p + m * stride, 64);
}
INL void tile_store(tile_file *f, int t, void *p, size_t stride) {
    for (int m = 0; m < 16; m++) memcpy((char *)p + m * stride, f->t[t][m], 64);
}

#if VL == 16 || defined(__AVX__)
// With the processor's fused multiply-add, told to take and make no subnormal numbers. That mode is set around a call,
// across which the compiler moves no arithmetic.
#if VL == 16
#define v_fma(a, b, c) (vf) _mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c))
#else
#define v_fma(a, b, c) (vf) _mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c))
#endif
NOINLINE void tile_dot_flushed(char (*c)[64], const char (*a)[64], const char (*b)[64]) {
    enum { P = 16 / VL };
    vf even[16][P], odd[16][P];
    for (int k = 0; k < 16; k++)
        for (int p = 0; p < P; p++) {
            const vi v = *(const vi *)(b[k] + 4 * VL * p);
            even[k][p] = (vf)(v << 16), odd[k][p] = (vf)(v & (int32_t)0xffff0000);
        }
    for (int m = 0; m < 16; m++) {
        vf e[P], o[P];
        for (int p = 0; p < P; p++) e[p] = o[p] = (vf){0};
#pragma GCC unroll 16
        for (int k = 0; k < 16; k++) {
            int32_t two;
            memcpy(&two, a[m] + 4 * k, 4);
            const vi pair = (vi){0} + two; // of integers: 0 + -0 is 0
            const vf x = (vf)(pair << 16), y = (vf)(pair & (int32_t)0xffff0000);
#pragma GCC unroll 2
            for (int p = 0; p < P; p++) e[p] = v_fma(x, even[k][p], e[p]), o[p] = v_fma(y, odd[k][p], o[p]);
        }
        for (int p = 0; p < P; p++) {
            vf *s = (vf *)(c[m] + 4 * VL * p);
            *s = *s + (e[p] + o[p]);
        }
    }
}
INL void tile_dot(tile_file *f, int c, int a, int b) {
    enum { FLUSH_RESULTS = 0x8000, FLUSH_OPERANDS = 0x40 };
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | FLUSH_RESULTS | FLUSH_OPERANDS);
    tile_dot_flushed(f->t[c], (const char(*)[64])f->t[a], (const char(*)[64])f->t[b]);
    _mm_setcsr(mode);
}
#else
// Anywhere: the same by hand.
INL float flush(float v) {
    uint32_t u;
    memcpy(&u, &v, 4);
    if (!(u & 0x7f800000)) u &= 0x80000000;
    memcpy(&v, &u, 4);
    return v;
}
INL float flushed_fma(float a, float b, float c) {
    a = flush(a), b = flush(b), c = flush(c);
    float r = __builtin_fmaf(a, b, c);
    // A result is subnormal if it were so with an exponent without bound: also where rounding to 24 bits reaches 2^-126.
    if (r != 0 && __builtin_fabsf(r) <= 0x1p-126f && __builtin_fabs((double)a * b + c) < 0x1p-126 - 0x1p-151) r = __builtin_copysignf(0, r);
    return r;
}
INL float from_bf16(const char *p) {
    bf16 h;
    memcpy(&h, p, 2);
    const uint32_t u = (uint32_t)h << 16;
    float v;
    memcpy(&v, &u, 4);
    return v;
}
NOINLINE void tile_dot(tile_file *f, int c, int a, int b) {
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float e = 0, o = 0, s;
            for (int k = 0; k < 16; k++) {
                e = flushed_fma(from_bf16(f->t[a][m] + 4 * k), from_bf16(f->t[b][k] + 4 * n), e);
                o = flushed_fma(from_bf16(f->t[a][m] + 4 * k + 2), from_bf16(f->t[b][k] + 4 * n + 2), o);
            }
            memcpy(&s, f->t[c][m] + 4 * n, 4);
            s = flushed_fma(1, s, flushed_fma(1, e, o));
            memcpy(f->t[c][m] + 4 * n, &s, 4);
        }
}
#endif
#endif

// ---- 32 channels of a pixel: a line of 64 bytes in bf16, NQ vectors in fp32
enum { NQ = 32 / VL };
typedef uint16_t vh __attribute__((vector_size(2 * VL), aligned(2), may_alias));
typedef uint32_t vu __attribute__((vector_size(4 * VL), aligned(4), may_alias));

// Rounded to nearest even; a subnormal number becomes 0 and a NaN quiet, as VCVTNE2PS2BF16 has it.
INL vh v_to_bf16(vf v) {
    const vu u = (vu)v, size = u & 0x7fffffff;
    vu r = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    r = (vu)((size > 0x7f800000) & (vi)((u >> 16) | 0x40)) | (vu)(~(vi)(size > 0x7f800000) & (vi)r);
    r = (vu)((size < 0x00800000) & (vi)((u >> 16) & 0x8000)) | (vu)(~(vi)(size < 0x00800000) & (vi)r);
    return __builtin_convertvector(r, vh);
}
INL vf v_from_bf16(vh v) { return (vf)(__builtin_convertvector(v, vu) << 16); }
INL void line_store(bf16 *p, const vf *v, int stream) {
#if defined(TILE_AMX)
    const __m512i line = (__m512i)_mm512_cvtne2ps_pbh((__m512)v[1], (__m512)v[0]);
    if (stream) _mm512_stream_si512((void *)p, line);
    else _mm512_store_si512((void *)p, line);
#else
    (void)stream;
#pragma GCC unroll 4
    for (int q = 0; q < NQ; q++) *(vh *)(p + q * VL) = v_to_bf16(v[q]);
#endif
}
INL void line_load(const bf16 *p, vf *v) {
#pragma GCC unroll 4
    for (int q = 0; q < NQ; q++) v[q] = v_from_bf16(*(const vh *)(p + q * VL));
}
INL void stream_end(void) {
#if defined(TILE_AMX)
    _mm_sfence();
#endif
}
