// host.h - interface of the CPU's loops. All tensors are fp32, NHWC, one picture; callers cut the work into
// rows, pixels or elements and call from as many threads as they like: no function keeps state.
#ifndef STYLIZE_HOST_H
#define STYLIZE_HOST_H
#include <stddef.h>
#include <stdint.h>

// The loops that do most of the arithmetic exist once per instruction set.
typedef struct {
    const char *name;
    int nr; // width of a weight panel: output channels that one register tile computes

    // Rows [row0,row1) of y = conv3x3(x, w) + bias, then max(.,0) if relu. x is H x W x C, y H x W x K;
    // w packed [ceil(K/nr)][tap][C][nr], zero-filled; bias padded to a multiple of nr.
    void (*conv3x3)(const float *x, const float *w, const float *bias, float *y, int H, int W, int C, int K,
                    int relu, int row0, int row1);
    // Rows [p0,p1) of y = f * s: f is P x C, y P x K; s packed [ceil(K/nr)][C][nr].
    void (*gemm)(const float *f, const float *s, float *y, int C, int K, long p0, long p1);
    // g[i][j] = sum over pixels [p0,p1) of f[p][i] * f[p][j], for i in [i0,i1), j in [i0,C). g is C x C.
    void (*gram)(const float *f, float *g, int C, int i0, int i1, long p0, long p1);
} host_isa;

// host_isa_named returns the set ("avx512", "avx2", "base") or NULL when this processor or build lacks it.
const host_isa *host_isa_named(const char *name);

static inline void host_conv3x3(const host_isa *isa, const float *x, const float *w, const float *bias, float *y,
                                int H, int W, int C, int K, int relu, int row0, int row1) {
    isa->conv3x3(x, w, bias, y, H, W, C, K, relu, row0, row1);
}
static inline void host_gemm(const host_isa *isa, const float *f, const float *s, float *y, int C, int K, long p0,
                             long p1) {
    isa->gemm(f, s, y, C, K, p0, p1);
}
static inline void host_gram(const host_isa *isa, const float *f, float *g, int C, int i0, int i1, long p0,
                             long p1) {
    isa->gram(f, g, C, i0, i1, p0, p1);
}

// ---- elementwise loops (elementwise.c): memory-bound, one version, the compiler vectorises
void host_normalize(float *y, const float *x, long pixels, int C, const float *mean, const float *std);
void host_relu(float *y, const float *x, long n);
void host_relu_grad(float *dx, const float *dy, const float *y, long n);
void host_add(float *y, const float *a, const float *b, long n);
void host_avgpool(float *y, const float *x, int H, int W, int C, int row0, int row1); // rows of y
void host_avgpool_grad(float *dx, const float *dy, int H, int W, int C, int row0, int row1); // rows of dx, H x W
double host_sum_sqdiff(const float *a, const float *b, long n);
void host_scaled_diff(float *y, const float *a, const float *b, float k, long n);
double host_tv(const float *x, int H, int W, int C, int row0, int row1);
void host_tv_grad(float *dx, const float *x, int H, int W, int C, float k, int row0, int row1);
// One Adam step on n values. step_size = lr/(1-beta1^t), rsqrt2 = 1/sqrt(1-beta2^t); clamp 0 after, 1 before, 2 never.
void host_adam(float *x, float *m, float *v, const float *g, long n, float one_minus_b1, float b2, float one_minus_b2,
               float step_size, float sqrt_c2, float eps, int clamp);
// out[0] += sum, out[1] += sum of squares around center, out[2] = 0 if the square of a value of g is not finite.
void host_stats(const float *x, const float *g, long n, double center, double out[3]);
#endif
