// elementwise.c - the loops that move more than they compute. Sums run in double, in an order that depends on the
// range alone, so a result depends on how the caller cuts the range but not on threads.
#include "cpu.h"
#include <math.h>

void cpu_normalize(float *y, const float *x, long pixels, int C, const float *mean, const float *std) {
    for (long p = 0; p < pixels; p++)
        for (int c = 0; c < C; c++) y[p * C + c] = (x[p * C + c] - mean[c]) / std[c];
}

void cpu_relu(float *y, const float *x, long n) {
    for (long i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

void cpu_relu_grad(float *dx, const float *dy, const float *y, long n) {
    for (long i = 0; i < n; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
}

void cpu_add(float *y, const float *a, const float *b, long n) {
    for (long i = 0; i < n; i++) y[i] = a[i] + b[i];
}

void cpu_avgpool(float *y, const float *x, int H, int W, int C, int row0, int row1) {
    (void)H;
    const int Q = W / 2;
    for (int p = row0; p < row1; p++)
        for (int q = 0; q < Q; q++) {
            const float *a = x + ((long)2 * p * W + 2 * q) * C, *b = a + (long)W * C;
            float *o = y + ((long)p * Q + q) * C;
            for (int c = 0; c < C; c++) o[c] = (a[c] + a[c + C] + b[c] + b[c + C]) * 0.25f;
        }
}

void cpu_avgpool_grad(float *dx, const float *dy, int H, int W, int C, int row0, int row1) {
    const int P = H / 2, Q = W / 2;
    for (int h = row0; h < row1; h++)
        for (int w = 0; w < W; w++) {
            float *o = dx + ((long)h * W + w) * C;
            const float *g = dy + ((long)(h / 2) * Q + w / 2) * C;
            const int inside = h / 2 < P && w / 2 < Q;
            for (int c = 0; c < C; c++) o[c] = inside ? g[c] * 0.25f : 0;
        }
}

double cpu_sum_sqdiff(const float *a, const float *b, long n) {
    double s[8] = {0};
    long i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) {
            double d = (double)a[i + j] - b[i + j];
            s[j] += d * d;
        }
    for (; i < n; i++) {
        double d = (double)a[i] - b[i];
        s[0] += d * d;
    }
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

void cpu_scaled_diff(float *y, const float *a, const float *b, float k, long n) {
    for (long i = 0; i < n; i++) y[i] = k * (a[i] - b[i]);
}

double cpu_tv(const float *x, int H, int W, int C, int row0, int row1) {
    double sum = 0;
    const long row = (long)W * C;
    for (int h = row0; h < row1; h++) {
        const float *p = x + h * row;
        double s = 0;
        for (long i = 0; i + C < row; i++) s += fabsf(p[i + C] - p[i]);
        if (h + 1 < H)
            for (long i = 0; i < row; i++) s += fabsf(p[i + row] - p[i]);
        sum += s;
    }
    return sum;
}

static inline float sign(float v) { return (v > 0) - (v < 0); }

void cpu_tv_grad(float *dx, const float *x, int H, int W, int C, float k, int row0, int row1) {
    const long row = (long)W * C;
    for (int h = row0; h < row1; h++) {
        const float *p = x + h * row;
        float *o = dx + h * row;
        for (long i = 0; i < row; i++) {
            float s = 0;
            if (h > 0) s += sign(p[i] - p[i - row]);
            if (h + 1 < H) s += sign(p[i] - p[i + row]);
            if (i >= C) s += sign(p[i] - p[i - C]);
            if (i + C < row) s += sign(p[i] - p[i + C]);
            o[i] = k * s;
        }
    }
}

void cpu_adam(float *x, float *m, float *v, const float *g, long n, float one_minus_b1, float b2, float one_minus_b2,
               float step_size, float sqrt_c2, float eps, int clamp) {
    for (long i = 0; i < n; i++) {
        float gi = g[i], xi = x[i];
        if (!(gi * gi - gi * gi == 0)) continue; // would make the second moment infinite: leave the value alone
        if (clamp == 1) xi = xi < 0 ? 0 : xi > 1 ? 1 : xi;
        float mi = m[i] + (gi - m[i]) * one_minus_b1;
        float vi = v[i] * b2 + one_minus_b2 * gi * gi;
        xi -= step_size * mi / (sqrtf(vi) / sqrt_c2 + eps);
        if (clamp == 0) xi = xi < 0 ? 0 : xi > 1 ? 1 : xi;
        x[i] = xi, m[i] = mi, v[i] = vi;
    }
}

void cpu_stats(const float *x, const float *g, long n, double center, double out[3]) {
    double s = 0, q = 0;
    int ok = 1;
    for (long i = 0; i < n; i++) {
        double d = x[i] - center;
        s += x[i];
        q += d * d;
        ok &= g[i] * g[i] - g[i] * g[i] == 0;
    }
    out[0] += s, out[1] += q;
    if (!ok) out[2] = 0;
}
