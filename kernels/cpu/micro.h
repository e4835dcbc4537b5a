// micro.h - the matrix microkernel: c[mr][NR] = sum over chunks q of a_q[mr][KC] * b_q[KC][NR].
// Read once per instruction set; expects VL, NV, MR.
//
// a_q = a + off[q] has rows KC floats apart: every row is a constant displacement from one pointer, so a step of the
// inner loop is NV loads, MR broadcasts from memory and MR*NV multiply-adds, and nothing is computed but products.
// b is packed [q][k][NR]. pa and pb are what the next call will read (its rows; half of its weights): prefetching them
// into the L2 is worth up to a factor of two in the layers of 256 and 512 channels, whose operands come from the L3.
#define KC 64 // channels of a chunk
typedef void micro_fn(const float *a, const int *off, long nk, const float *b, float *c, long ldc, const char *pa,
                      const char *pb);

INL void micro(const float *restrict a0, const int *restrict off, long nk, const float *restrict b, float *restrict c,
               long ldc, const char *pa, const char *pb, const int mr) {
    vf acc[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) acc[i][j] = (vf){0};
    for (long q = 0; q < nk; q++) {
        const float *a = a0 + off[q], *end = a + KC;
        const char *pf = pa + off[q] * 4L;
        do {
#pragma GCC unroll 16
            for (int l = 0; l < (MR + 3) / 4; l++) __builtin_prefetch(pf + l * 64, 0, 2);
#pragma GCC unroll 16
            for (int l = 0; l < (NR + 7) / 8; l++) __builtin_prefetch(pb + l * 64, 0, 2);
            pf += MR * 16;
            pb += (NR + 7) / 8 * 64;
#pragma GCC unroll 4
            for (int u = 0; u < 4; u++) {
                vf bv[NV];
#pragma GCC unroll 4
                for (int j = 0; j < NV; j++) bv[j] = *(const vf *)(b + (u * NV + j) * VL);
#pragma GCC unroll 16
                for (int i = 0; i < mr; i++) {
                    vf av = a[i * KC + u] - (vf){0};
#pragma GCC unroll 4
                    for (int j = 0; j < NV; j++) acc[i][j] += av * bv[j];
                }
            }
            a += 4;
            b += 4 * NR;
        } while (a != end);
    }
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) *(vf *)(c + i * ldc + j * VL) = acc[i][j];
}

// One instance for every row count, so that the residue of a tile block costs what it computes.
#define MICRO(m)                                                                                                   \
    NOINLINE void micro_##m(const float *a, const int *off, long nk, const float *b, float *c, long ldc,           \
                            const char *pa, const char *pb) {                                                      \
        micro(a, off, nk, b, c, ldc, pa, pb, m);                                                                   \
    }
MICRO(1) MICRO(2) MICRO(3) MICRO(4) MICRO(5) MICRO(6)
#if MR == 14
MICRO(7) MICRO(8) MICRO(9) MICRO(10) MICRO(11) MICRO(12) MICRO(13) MICRO(14)
static micro_fn *const micros[MR + 1] = {0,       micro_1, micro_2, micro_3,  micro_4,  micro_5,  micro_6, micro_7,
                                         micro_8, micro_9, micro_10, micro_11, micro_12, micro_13, micro_14};
#else
static micro_fn *const micros[MR + 1] = {0, micro_1, micro_2, micro_3, micro_4, micro_5, micro_6};
#endif
