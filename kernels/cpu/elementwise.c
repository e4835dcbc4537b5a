// elementwise.c - the loops that move more than they compute: memory-bound, one version, the compiler vectorises.
//
// A loop is a function here and a row in elementwise.go (doc.go has the recipe). It computes the units [i0,i1) of one picture -
// values, pixels or rows, as its row says - and stores its sums, if it has any, in sums. They run in double, in an order
// that depends on i0 and i1 alone. Operands and constants are read from the arguments once: a store to a tensor might
// otherwise change them, and the compiler would read them again for every value.
#include "cpu.h"
#include <math.h>
#include <string.h>

// y = (x - mean[c]) / std[c]. Pixels.
static void cpu_normalize_fwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *x = arg->x, *mean = arg->mean, *std = arg->std;
    float *y = arg->y;
    const int C = arg->C;
    (void)sums;
    for (long p = i0; p < i1; p++)
        for (int c = 0; c < C; c++) y[p * C + c] = (x[p * C + c] - mean[c]) / std[c];
}

// dx = dy / std[c]. Pixels.
static void cpu_normalize_bwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *dy = arg->dy, *std = arg->std;
    float *dx = arg->dx;
    const int C = arg->C;
    (void)sums;
    for (long p = i0; p < i1; p++)
        for (int c = 0; c < C; c++) dx[p * C + c] = dy[p * C + c] / std[c];
}

// y = max(x, 0). Values.
static void cpu_relu_fwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *x = arg->x;
    float *y = arg->y;
    (void)sums;
    for (long i = i0; i < i1; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

// dx = dy where y > 0, else 0. Values.
static void cpu_relu_bwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *dy = arg->dy, *y = arg->y;
    float *dx = arg->dx;
    (void)sums;
    for (long i = i0; i < i1; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
}

// y = x times the pixel's value of the mask. Pixels.
static void cpu_mul(const cpu_args *arg, long i0, long i1, double *sums) {
    const int C = arg->C;
    (void)sums;
    for (long i = i0; i < i1; i++) {
        const float m = arg->mask[i], *x = arg->x + i * C;
        float *y = arg->y + i * C;
        for (int c = 0; c < C; c++) y[c] = x[c] * m;
    }
}

// Which of n rows or columns lies at i, from -pad to n - 1 + pad.
static inline int pad_source(int i, int n, int wrap) {
    if (i < 0) return wrap ? i + n : -i;
    if (i >= n) return wrap ? i - n : 2 * (n - 1) - i;
    return i;
}

// y = x, continued by pad pixels beyond every border. Rows of y.
static void cpu_pad_fwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const int H = arg->H, W = arg->W, C = arg->C, p = arg->pad, wrap = arg->wrap;
    (void)sums;
    for (long r = i0; r < i1; r++) {
        const float *x = arg->x + (long)pad_source(r - p, H, wrap) * W * C;
        float *y = arg->y + r * (W + 2 * p) * C;
        for (int s = 0; s < p; s++) {
            memcpy(y + (long)s * C, x + (long)pad_source(s - p, W, wrap) * C, sizeof *y * C);
            memcpy(y + (long)(p + W + s) * C, x + (long)pad_source(W + s, W, wrap) * C, sizeof *y * C);
        }
        memcpy(y + (long)p * C, x, sizeof *y * W * C);
    }
}

// dx = the sum of dy at all places that read the pixel: by rising rows, then rising columns. Rows of dx.
static void cpu_pad_bwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const int H = arg->H, W = arg->W, C = arg->C, p = arg->pad, wrap = arg->wrap;
    (void)sums;
    for (long h = i0; h < i1; h++) {
        float *dx = arg->dx + h * W * C;
        memset(dx, 0, sizeof *dx * W * C);
        // The rows that read this one: before the picture, its own, behind it.
        const long before = wrap ? h - H + p : p - h, behind = wrap ? h + H + p : 2 * (H - 1) - h + p;
        const long rows[3] = {before < p ? before : -1, h + p, behind >= H + p && behind < H + 2 * p ? behind : -1};
        for (int a = 0; a < 3; a++) {
            if (rows[a] < 0) continue;
            const float *dy = arg->dy + rows[a] * (W + 2 * p) * C;
            for (int s = 0; s < p; s++)
                for (int c = 0; c < C; c++) dx[(long)pad_source(s - p, W, wrap) * C + c] += dy[(long)s * C + c];
            for (long i = 0; i < (long)W * C; i++) dx[i] += dy[(long)p * C + i];
            for (int s = p + W; s < W + 2 * p; s++)
                for (int c = 0; c < C; c++) dx[(long)pad_source(s - p, W, wrap) * C + c] += dy[(long)s * C + c];
        }
    }
}

// y = a + b. Values.
static void cpu_add(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *a = arg->a, *b = arg->b;
    float *y = arg->y;
    (void)sums;
    for (long i = i0; i < i1; i++) y[i] = a[i] + b[i];
}

// y = the mean of each 2x2 window of x. Pairs of rows of x, an odd last row left over.
static void cpu_avgpool2x2_fwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *x = arg->x;
    float *y = arg->y;
    const int W = arg->W, C = arg->C, Q = W / 2;
    (void)sums;
    for (long p = i0; p < i1; p++)
        for (int q = 0; q < Q; q++) {
            const float *a = x + (2 * p * W + 2 * q) * C, *b = a + (long)W * C;
            float *o = y + (p * Q + q) * C;
            for (int c = 0; c < C; c++) o[c] = (a[c] + a[c + C] + b[c] + b[c + C]) * 0.25f;
        }
}

// dx = dy / 4 in each window, 0 in an odd last row or column. Rows of dx.
static void cpu_avgpool2x2_bwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *dy = arg->dy;
    float *dx = arg->dx;
    const int W = arg->W, C = arg->C, P = arg->H / 2, Q = W / 2;
    (void)sums;
    for (long h = i0; h < i1; h++)
        for (int w = 0; w < W; w++) {
            float *o = dx + (h * W + w) * C;
            const float *g = dy + (h / 2 * Q + w / 2) * C;
            const int inside = h / 2 < P && w / 2 < Q;
            for (int c = 0; c < C; c++) o[c] = inside ? g[c] * 0.25f : 0;
        }
}

// Which value of a 2x2 window is its first maximum, row by row; a NaN is larger than any number.
static inline int first_max(float a, float b, float c, float d) {
    int where = 0;
    float most = a;
    if (b > most || b != b) where = 1, most = b;
    if (c > most || c != c) where = 2, most = c;
    if (d > most || d != d) where = 3;
    return where;
}

// y = the maximum of each 2x2 window of x. Pairs of rows of x, an odd last row left over.
static void cpu_maxpool2x2_fwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *x = arg->x;
    float *y = arg->y;
    const int W = arg->W, C = arg->C, Q = W / 2;
    (void)sums;
    for (long p = i0; p < i1; p++)
        for (int q = 0; q < Q; q++) {
            const float *a = x + (2 * p * W + 2 * q) * C, *b = a + (long)W * C;
            float *o = y + (p * Q + q) * C;
            for (int c = 0; c < C; c++) {
                const float v[4] = {a[c], a[c + C], b[c], b[c + C]};
                o[c] = v[first_max(v[0], v[1], v[2], v[3])];
            }
        }
}

// dx = dy at the first maximum of each window of x, 0 elsewhere. Rows of dx.
static void cpu_maxpool2x2_bwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *dy = arg->dy, *x = arg->x;
    float *dx = arg->dx;
    const int W = arg->W, C = arg->C, P = arg->H / 2, Q = W / 2;
    (void)sums;
    for (long h = i0; h < i1; h++)
        for (int w = 0; w < W; w++) {
            float *o = dx + (h * W + w) * C;
            const float *g = dy + (h / 2 * Q + w / 2) * C;
            const float *a = x + (h / 2 * 2 * W + w / 2 * 2) * C, *b = a + (long)W * C;
            const int inside = h / 2 < P && w / 2 < Q, here = h % 2 * 2 + w % 2;
            for (int c = 0; c < C; c++) o[c] = inside && first_max(a[c], a[c + C], b[c], b[c + C]) == here ? g[c] : 0;
        }
}

// sums[0] = sum (x - target)^2. Values.
static void cpu_mse_fwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *x = arg->x, *target = arg->target;
    double s[8] = {0};
    long i = i0;
    for (; i + 8 <= i1; i += 8)
        for (int j = 0; j < 8; j++) {
            double d = (double)x[i + j] - target[i + j];
            s[j] += d * d;
        }
    for (; i < i1; i++) {
        double d = (double)x[i] - target[i];
        s[0] += d * d;
    }
    sums[0] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

// dx = scale (x - target). Values.
static void cpu_mse_bwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *x = arg->x, *target = arg->target, scale = arg->scale;
    float *dx = arg->dx;
    (void)sums;
    for (long i = i0; i < i1; i++) dx[i] = scale * (x[i] - target[i]);
}

// sums[0] = sum |x[h,w+1] - x[h,w]| + |x[h+1,w] - x[h,w]|. Rows.
static void cpu_tv_fwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const int H = arg->H, C = arg->C;
    const long row = (long)arg->W * C;
    double sum = 0;
    for (long h = i0; h < i1; h++) {
        const float *p = arg->x + h * row;
        double s = 0;
        for (long i = 0; i + C < row; i++) s += fabsf(p[i + C] - p[i]);
        if (h + 1 < H)
            for (long i = 0; i < row; i++) s += fabsf(p[i + row] - p[i]);
        sum += s;
    }
    sums[0] = sum;
}

static inline float sign(float v) { return (v > 0) - (v < 0); }

// dx = scale * the sum of the signs of the differences from the neighbours. Rows.
static void cpu_tv_bwd(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *x = arg->x, scale = arg->scale;
    float *dx = arg->dx;
    const int H = arg->H, C = arg->C;
    const long row = (long)arg->W * C;
    (void)sums;
    for (long h = i0; h < i1; h++) {
        const float *p = x + h * row;
        float *o = dx + h * row;
        for (long i = 0; i < row; i++) {
            float s = 0;
            if (h > 0) s += sign(p[i] - p[i - row]);
            if (h + 1 < H) s += sign(p[i] - p[i + row]);
            if (i >= C) s += sign(p[i] - p[i - C]);
            if (i + C < row) s += sign(p[i] - p[i + C]);
            o[i] = scale * s;
        }
    }
}

// One step on the picture x and its moments m, v (gpu.AdamParams has the formula). Values.
static void cpu_adam(const cpu_args *arg, long i0, long i1, double *sums) {
    const cpu_adam_step s = arg->adam;
    const float *g = arg->gradient;
    float *x = arg->x, *m = arg->m, *v = arg->v;
    (void)sums;
    for (long i = i0; i < i1; i++) {
        float gi = g[i], xi = x[i];
        if (!(gi * gi - gi * gi == 0)) continue; // would make the second moment infinite: leave the value alone
        if (s.clamp == 1) xi = xi < 0 ? 0 : xi > 1 ? 1 : xi;
        float mi = m[i] + (gi - m[i]) * s.one_minus_beta1;
        float vi = v[i] * s.beta2 + s.one_minus_beta2 * gi * gi;
        xi -= s.step_size * mi / (sqrtf(vi) / s.sqrt_c2 + s.eps);
        if (s.clamp == 0) xi = xi < 0 ? 0 : xi > 1 ? 1 : xi;
        x[i] = xi, m[i] = mi, v[i] = vi;
    }
}

// average += (x - average) scale; x itself where scale is 1, whatever the average was. Values.
static void cpu_average(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *x = arg->x, scale = arg->scale;
    float *average = arg->average;
    (void)sums;
    if (scale == 1) {
        memcpy(average + i0, x + i0, sizeof *x * (i1 - i0));
        return;
    }
    for (long i = i0; i < i1; i++) average[i] += (x[i] - average[i]) * scale;
}

// sums = sum x, sum (x - 0.5)^2, how many values of the gradient have a square that is not finite. Values.
static void cpu_record(const cpu_args *arg, long i0, long i1, double *sums) {
    const float *x = arg->x, *g = arg->gradient;
    double s = 0, q = 0;
    int bad = 0;
    for (long i = i0; i < i1; i++) {
        double d = x[i] - 0.5;
        s += x[i];
        q += d * d;
        bad += !(g[i] * g[i] - g[i] * g[i] == 0);
    }
    sums[0] = s, sums[1] = q, sums[2] = bad;
}

static const struct {
    const char *name;
    cpu_loop_fn fn;
} loops[] = {
    {"normalize_fwd", cpu_normalize_fwd},
    {"normalize_bwd", cpu_normalize_bwd},
    {"relu_fwd", cpu_relu_fwd},
    {"relu_bwd", cpu_relu_bwd},
    {"add", cpu_add},
    {"mul", cpu_mul},
    {"pad_fwd", cpu_pad_fwd},
    {"pad_bwd", cpu_pad_bwd},
    {"avgpool2x2_fwd", cpu_avgpool2x2_fwd},
    {"avgpool2x2_bwd", cpu_avgpool2x2_bwd},
    {"maxpool2x2_fwd", cpu_maxpool2x2_fwd},
    {"maxpool2x2_bwd", cpu_maxpool2x2_bwd},
    {"mse_fwd", cpu_mse_fwd},
    {"mse_bwd", cpu_mse_bwd},
    {"tv_fwd", cpu_tv_fwd},
    {"tv_bwd", cpu_tv_bwd},
    {"adam", cpu_adam},
    {"average", cpu_average},
    {"record", cpu_record},
};

cpu_loop_fn cpu_loop_named(const char *name) {
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        if (!strcmp(loops[i].name, name)) return loops[i].fn;
    return 0;
}
