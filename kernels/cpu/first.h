// first.h - conv1_1, 3 -> 64 channels, and its backward-data, 64 -> 3: direct, since three channels fill no vector.
// Read once per instruction set; expects micro.h.
#define K1 64 // channels of the layer
#define PC 32 // columns of the backward product: 27 = 9 taps x 3 channels, padded

// w (64,3,3,3). fprop [tap*3+c][64]; dgrad [PC/NR][64][NR], column = tap*3+c with taps turned.
static void first_pack(const float *w, float *fprop, float *dgrad) {
    memset(dgrad, 0, PC * K1 * sizeof *dgrad);
    for (int k = 0; k < K1; k++)
        for (int s = 0; s < 9; s++)
            for (int c = 0; c < 3; c++) {
                const int j = s * 3 + c;
                fprop[j * K1 + k] = w[(k * 9 + s) * 3 + c];
                dgrad[(j / NR * K1 + k) * NR + j % NR] = w[(k * 9 + 8 - s) * 3 + c];
            }
}

// n pixels x NC vectors of outputs in registers; row[r] points at tap column 0 of the first pixel.
#if VL == 16
#define PX 6
#define NC 4
#elif defined(__AVX__)
#define PX 3
#define NC 4
#else
#define PX 2
#define NC 2
#endif
INL void first_pixels(const float *const *row, const float *U, const float *bias, float *y, uint8_t *bits, int k0, const int n) {
    vf acc[PX][NC];
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NC; j++) acc[i][j] = *(const vf *)(bias + k0 + j * VL);
    for (int r = 0; r < 3; r++) {
        const float *s = row[r];
#pragma GCC unroll 9
        for (int q = 0; q < 9; q++) {
            const float *u = U + (r * 9 + q) * K1 + k0;
#pragma GCC unroll 4
            for (int j = 0; j < NC; j++) {
                vf b = *(const vf *)(u + j * VL);
#pragma GCC unroll 8
                for (int i = 0; i < n; i++) acc[i][j] += (s[i * 3 + q] - (vf){0}) * b;
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NC; j++) {
            vf v = v_relu(acc[i][j]);
            if (bits) store_bits(bits + i * (K1 / 8) + (k0 + j * VL) / 8, v_positive(v));
            *(vf *)(y + i * K1 + k0 + j * VL) = v;
        }
}

// Rows [row0,row1) of y = relu(conv(x) + bias), and its sign bits. strip: 3 rows of (W+2)*3 floats.
static void first_fprop(const float *x, const float *U, const float *bias, float *y, uint8_t *bits, int H, int W, int row0,
                      int row1, float *strip) {
    const long sr = (long)(W + 2) * 3;
    for (int p = row0; p < row1; p++) {
        const float *row[3];
        for (int r = 0; r < 3; r++) { // three input rows with a zero pixel on both sides
            float *d = strip + r * sr;
            const int h = p + r - 1;
            memset(d, 0, sr * sizeof *d);
            if (h >= 0 && h < H) memcpy(d + 3, x + (long)h * W * 3, (long)W * 3 * sizeof *d);
            row[r] = d;
        }
        for (int k0 = 0; k0 < K1; k0 += NC * VL) {
            int q = 0;
            for (; q < W;) {
                const int n = q + PX <= W ? PX : 1;
                const float *at[3] = {row[0] + q * 3, row[1] + q * 3, row[2] + q * 3};
                float *yq = y + ((long)p * W + q) * K1;
                uint8_t *bq = bits ? bits + ((long)p * W + q) * (K1 / 8) : 0;
                if (n == PX) first_pixels(at, U, bias, yq, bq, k0, PX);
                else first_pixels(at, U, bias, yq, bq, k0, 1);
                q += n;
            }
        }
    }
}

typedef float v4 __attribute__((vector_size(16), aligned(4), may_alias));

// Rows [row0,row1) of dx, H x W x 3. First one product of 64 -> 27 a pixel, then nine shifted sums.
// ring: 3 rows of (W+2)*PC floats.
static void first_dgrad(const float *dy, const float *U, float *dx, int H, int W, int row0, int row1, float *ring) {
    const long pr = (long)(W + 2) * PC;
    const int off[1] = {0};
    memset(ring, 0, 3 * pr * sizeof *ring); // the pixels beside the row stay zero
    for (int p = row0 - 1; p <= row1; p++) { // product row p, then output row p - 1
        float *d = ring + (p + 3) % 3 * pr;
        if (p < 0 || p >= H) {
            memset(d, 0, pr * sizeof *d);
        } else {
            const float *s = dy + (long)p * W * K1;
            for (int q = 0; q < W; q += MR)
                for (int n = 0; n < PC / NR; n++)
                    micros[W - q < MR ? W - q : MR](s + (long)q * K1, off, 1, U + n * K1 * NR, d + (q + 1) * PC + n * NR,
                                                    PC, (const char *)(s + (long)(q + MR) * K1), (const char *)U);
        }
        if (p <= row0) continue;
        float *o = dx + (long)(p - 1) * W * 3;
        const float *r0 = ring + (p - 2 + 3) % 3 * pr, *r1 = ring + (p - 1 + 3) % 3 * pr, *r2 = ring + (p + 3) % 3 * pr;
        for (int q = 0; q < W; q++) { // tap (r,s) of output q reads product pixel q + s - 1, column (r*3+s)*3
            const float *p0 = r0 + (long)q * PC, *p1 = r1 + (long)q * PC, *p2 = r2 + (long)q * PC;
            v4 a = *(v4 *)p0 + *(v4 *)(p1 + 9) + *(v4 *)(p2 + 18);
            v4 b = *(v4 *)(p0 + PC + 3) + *(v4 *)(p1 + PC + 12) + *(v4 *)(p2 + PC + 21);
            v4 c = *(v4 *)(p0 + 2 * PC + 6) + *(v4 *)(p1 + 2 * PC + 15) + *(v4 *)(p2 + 2 * PC + 24);
            a += b + c;
            o[q * 3] = a[0], o[q * 3 + 1] = a[1], o[q * 3 + 2] = a[2];
        }
    }
}
