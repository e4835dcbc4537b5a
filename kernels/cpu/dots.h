// dots.h - dot products of vectors with vectors, for the recursion of L-BFGS.
// Read once per instruction set; expects VL.

// sums[i * nb + j] += a[i] . b[j] over n values; DA x DB products at a time share the loads of their operands. A lane sums in
// float, lanes are added in double.
enum { DA = 3, DB = 4 };
INL void dots_tile(const float *const *a, const float *const *b, int nb, long n, double *sums, const int da, const int db) {
    vf acc[DA][DB];
#pragma GCC unroll 4
    for (int i = 0; i < da; i++)
#pragma GCC unroll 4
        for (int j = 0; j < db; j++) acc[i][j] = (vf){0};
    long k = 0;
    for (; k + VL <= n; k += VL) {
        vf bv[DB];
#pragma GCC unroll 4
        for (int j = 0; j < db; j++) bv[j] = *(const vf *)(b[j] + k);
#pragma GCC unroll 4
        for (int i = 0; i < da; i++) {
            const vf av = *(const vf *)(a[i] + k);
#pragma GCC unroll 4
            for (int j = 0; j < db; j++) acc[i][j] += av * bv[j];
        }
    }
    for (int i = 0; i < da; i++)
        for (int j = 0; j < db; j++) {
            double s = 0;
            for (int l = 0; l < VL; l++) s += acc[i][j][l];
            for (long t = k; t < n; t++) s += (double)a[i][t] * b[j][t];
            sums[i * nb + j] += s;
        }
}
static void dots(const float *const *a, int na, const float *const *b, int nb, long n, double *sums) {
    int i = 0;
    for (; i < na;) {
        const int da = na - i >= DA ? DA : 1;
        int j = 0;
        for (; j + DB <= nb; j += DB)
            da == DA ? dots_tile(a + i, b + j, nb, n, sums + i * nb + j, DA, DB) : dots_tile(a + i, b + j, nb, n, sums + i * nb + j, 1, DB);
        for (; j < nb; j++)
            da == DA ? dots_tile(a + i, b + j, nb, n, sums + i * nb + j, DA, 1) : dots_tile(a + i, b + j, nb, n, sums + i * nb + j, 1, 1);
        i += da;
    }
}
