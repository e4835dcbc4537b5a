// direct.h - direct 3x3 convolution, matrix product and Gram matrix, one register tile each.
// Read once per instruction set; expects VL (lanes), NV (vectors per tile row), DR (tile rows) and simd.h.
//
// Register tile: DR pixels x NR channels. Each channel of x is broadcast against NV vectors of weights, so a step
// costs NV loads, DR broadcasts and DR*NV fused multiply-adds.
// Order of sums: taps row by row, channels ascending, one chain per output: the bits do not depend on how the
// caller cuts the work.

// One channel: NV loads of weights, mr broadcasts, mr * NV multiply-adds.
INL void tile_step(const float *const *a, long lda, int u, const float *b, vf acc[DR][NV], const int mr) {
    vf bv[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) bv[j] = *(const vf *)(b + j * VL);
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++) {
        vf av = a[i / 3][(i % 3) * lda + u] - (vf){0};
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) acc[i][j] += av * bv[j];
    }
}

// y[i][0..kn) for mr pixels: init + sum over taps [r0,r1) x [s0,s1) and channels. x points at tap (0,0) of the
// first pixel; pixels are lda floats apart, tap rows xrow floats.
INL void tile(const float *x, long lda, long xrow, int r0, int r1, int s0, int s1, int C, const float *w,
              const float *bias, float *y, long ldy, int relu, int kn, const int mr) {
    vf acc[DR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) acc[i][j] = bias ? *(const vf *)(bias + j * VL) : (vf){0};
    for (int r = r0; r < r1; r++)
        for (int s = s0; s < s1; s++) {
            // a pointer for every three pixels: addresses stay base + {0,1,2} * lda + constant
            const float *a[(DR + 2) / 3];
#pragma GCC unroll 8
            for (int i = 0; i < (mr + 2) / 3; i++) a[i] = x + r * xrow + (s + 3 * i) * lda;
            const float *b = w + (long)(r * 3 + s) * C * NR;
            int c = 0;
            for (; c + 4 <= C; c += 4) {
#pragma GCC unroll 4
                for (int u = 0; u < 4; u++) tile_step(a, lda, u, b + u * NR, acc, mr);
#pragma GCC unroll 8
                for (int i = 0; i < (mr + 2) / 3; i++) a[i] += 4;
                b += 4 * NR;
            }
            for (; c < C; c++) {
                tile_step(a, lda, 0, b, acc, mr);
#pragma GCC unroll 8
                for (int i = 0; i < (mr + 2) / 3; i++) a[i]++;
                b += NR;
            }
        }
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++)
            if (relu) acc[i][j] = v_relu(acc[i][j]);
        if (kn == NR) {
#pragma GCC unroll 4
            for (int j = 0; j < NV; j++) *(vf *)(y + i * ldy + j * VL) = acc[i][j];
        } else { // residue of the output channels
            float t[NR];
#pragma GCC unroll 4
            for (int j = 0; j < NV; j++) *(vf *)(t + j * VL) = acc[i][j];
            for (int k = 0; k < kn; k++) y[i * ldy + k] = t[k];
        }
    }
}
typedef void tile_fn(const float *x, long lda, long xrow, int r0, int r1, int s0, int s1, int C, const float *w,
                     const float *bias, float *y, long ldy, int relu, int kn);
#define TILE(m)                                                                                              \
    NOINLINE void tile_##m(const float *x, long lda, long xrow, int r0, int r1, int s0, \
                                                   int s1, int C, const float *w, const float *bias, float *y,  \
                                                   long ldy, int relu, int kn) {                                \
        tile(x, lda, xrow, r0, r1, s0, s1, C, w, bias, y, ldy, relu, kn, m);                                 \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#if DR == 14
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)
static tile_fn *const tiles[DR + 1] = {0,      tile_1, tile_2, tile_3,  tile_4,  tile_5,  tile_6, tile_7,
                                       tile_8, tile_9, tile_10, tile_11, tile_12, tile_13, tile_14};
#else
static tile_fn *const tiles[DR + 1] = {0, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};
#endif

static void conv3x3(const float *x, const float *w, const float *bias, float *y, int H, int W, int C, int K, int relu,
                    int row0, int row1) {
    const long xrow = (long)W * C;
    for (int k0 = 0; k0 < K; k0 += NR) { // a panel of weights stays in the L2 over all rows
        const int kn = K - k0 < NR ? K - k0 : NR;
        const float *wp = w + (long)k0 * 9 * C, *bp = bias ? bias + k0 : 0;
        for (int p = row0; p < row1; p++) {
            const int r0 = p == 0, r1 = p == H - 1 ? 2 : 3;
            const float *xp = x + (p - 1) * xrow - C; // tap (0,0) of pixel 0
            float *yp = y + (long)p * W * K + k0;
            // the first and the last pixel of a row miss a column of taps
            tile_1(xp, C, xrow, r0, r1, 1, W == 1 ? 2 : 3, C, wp, bp, yp, K, relu, kn);
            for (int q = 1; q < W - 1;) {
                const int m = W - 1 - q < DR ? W - 1 - q : DR;
                tiles[m](xp + (long)q * C, C, xrow, r0, r1, 0, 3, C, wp, bp, yp + (long)q * K, K, relu, kn);
                q += m;
            }
            if (W > 1)
                tile_1(xp + (long)(W - 1) * C, C, xrow, r0, r1, 0, 2, C, wp, bp, yp + (long)(W - 1) * K, K, relu, kn);
        }
    }
}

static void gemm(const float *f, const float *s, float *y, int C, int K, long p0, long p1) {
    enum { BP = 96 }; // pixels whose C channels stay in the L2 over all panels
    for (long b = p0; b < p1; b += BP) {
        const long e = b + BP < p1 ? b + BP : p1;
        for (int k0 = 0; k0 < K; k0 += NR) {
            const int kn = K - k0 < NR ? K - k0 : NR;
            for (long p = b; p < e; p += DR) {
                if (k0 == 0) // what the next block will read and write: the large layers wait for memory
                    for (long i = p + BP; i < p + BP + DR && i < p1; i++) {
                        for (long c = 0; c < C; c += 16) __builtin_prefetch(f + i * C + c, 0, 2);
                        for (long k = 0; k < K; k += 16) __builtin_prefetch(y + i * K + k, 1, 2);
                    }
                tiles[e - p < DR ? e - p : DR](f + p * C, C, 0, 0, 1, 0, 1, C, s + (long)k0 * C, 0, y + p * K + k0, K,
                                               0, kn);
            }
        }
    }
}

// mr x NR corner of the Gram matrix at (i0, j0), pixels [p0,p1), added to g. Both operands are rows of f.
INL void gram_tile(const float *f, float *g, int C, int i0, int j0, long p0, long p1, const int mr) {
    vf acc[DR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) acc[i][j] = (vf){0};
    const float *a = f + p0 * C + i0, *b = f + p0 * C + j0;
    for (long p = p0; p < p1; p++) {
        vf bv[NV];
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) bv[j] = *(const vf *)(b + j * VL);
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
            vf av = a[i] - (vf){0};
#pragma GCC unroll 4
            for (int j = 0; j < NV; j++) acc[i][j] += av * bv[j];
        }
        a += C, b += C;
    }
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) *(vf *)(g + (long)(i0 + i) * C + j0 + j * VL) += acc[i][j];
}
// A band of 64 rows is cut into tiles of DR rows and one of GREST.
enum { GREST = 64 % DR };
NOINLINE void gram_full(const float *f, float *g, int C, int i0, int j0, long p0, long p1) {
    gram_tile(f, g, C, i0, j0, p0, p1, DR);
}
NOINLINE void gram_rest(const float *f, float *g, int C, int i0, int j0, long p0, long p1) {
    gram_tile(f, g, C, i0, j0, p0, p1, GREST);
}

static void gram(const float *f, float *g, int C, int i0, int i1, long p0, long p1) {
    enum { BP = 256 }; // pixels per chain of sums: their rows stay in the L2, and long sums lose no digits
    for (int i = i0; i < i1; i++)
        for (int j = i0; j < C; j++) g[(long)i * C + j] = 0;
    const int fast = C % 64 == 0 && i0 % 64 == 0 && i1 - i0 == 64;
    for (long b = p0; b < p1; b += BP) {
        const long e = b + BP < p1 ? b + BP : p1;
        if (fast) {
            for (int i = i0; i < i1; i += DR)
                for (int j = i / NR * NR; j < C; j += NR)
                    (i + DR <= i1 ? gram_full : gram_rest)(f, g, C, i, j, b, e);
            continue;
        }
        for (int i = i0; i < i1; i++) // odd channel counts
            for (int j = i; j < C; j++) {
                float sum = 0;
                for (long p = b; p < e; p++) sum += f[p * C + i] * f[p * C + j];
                g[(long)i * C + j] += sum;
            }
    }
}
