// lbfgs.c - the passes of projected L-BFGS over the vectors of one picture; lbfgs.go has the recursion between them.
//
// A block is whole rows of every vector, a strip of a row as many values as stay in the L1. Sums run in float within a strip, in
// double between strips, in an order that depends on where the block begins alone.
#include "pool.h"
#include <math.h>

enum { STRIP = 252, MARGIN = 3, MOST_SLOTS = 33 };   // values of a strip, whole pixels; one pixel beside it

// 0 where a value is at its bound and would leave it, else 1.
static inline float is_free(float x, float g) { return !((x <= 0 && g > 0) || (x >= 1 && g < 0)); }

// B of a strip, of the sums 1 2 1 down: v has a pixel more on either side.
static inline void across(const float *v, float *b, long n) {
    for (long i = 0; i < n; i++) b[i] = (v[i] + 2 * v[i + MARGIN] + v[i + 2 * MARGIN]) * 0.0625f;
}

// The pair of a step from a to x, into slot `next`, and z; and out: the products of all s and Py with y and f g, row by row, then how many
// squares of g are not finite, the largest |g|, the squares of f g, and its products with B f g.
static void products(const cpu_lbfgs *l, const cpu_isa *isa, long i0, long i1, double *out) {
    float y[STRIP], down[STRIP], of_y[STRIP + 2 * MARGIN], of_down[STRIP + 2 * MARGIN], by[STRIP], bdown[STRIP];
    const float *rows[2 * MOST_SLOTS], *columns[2] = {y, down};
    const int m = l->slots;
    const long stride = 3 * l->width;
    float *s = l->s + l->next * l->n, *u = l->y + l->next * l->n, most = 0;
    double square = 0, smooth = 0;
    long bad = 0;
    for (long row = i0; row < i1; row += stride)
        for (long left = 0; left < stride; left += STRIP) {
            const long n = min_long(STRIP, stride - left), at = row + left;
            // Sums 1 2 1 of the rows above, at and below, from a pixel to the left to a pixel to the right.
            const long from = left > 0 ? -MARGIN : 0, to = left + n < stride ? n + MARGIN : n;
            for (long i = 0; i < n + 2 * MARGIN; i++) of_y[i] = of_down[i] = 0;
            for (int k = -1; k <= 1; k++) {
                const long there = at + k * stride;
                if (there < 0 || there >= l->n) continue;
                const float *x = l->x + there, *g = l->g + there, *ga = l->ga + there, w = k ? 1 : 2;
                for (long i = from; i < to; i++) {
                    of_y[i + MARGIN] += w * (g[i] - ga[i]);
                    of_down[i + MARGIN] += w * (is_free(x[i], g[i]) * g[i]);
                }
            }
            across(of_y, by, n), across(of_down, bdown, n);
            const float *x = l->x + at, *g = l->g + at, *a = l->a + at, *ga = l->ga + at;
            float strip_square = 0, strip_smooth = 0;
            for (long i = 0; i < n; i++) {
                y[i] = g[i] - ga[i];
                down[i] = is_free(x[i], g[i]) * g[i];
                s[at + i] = x[i] - a[i];
                u[at + i] = y[i] - l->smooth * by[i];
                l->z[at + i] = down[i] - l->smooth * bdown[i];
                strip_square += down[i] * down[i];
                strip_smooth += down[i] * bdown[i];
                bad += !(g[i] * g[i] - g[i] * g[i] == 0);
                most = fabsf(g[i]) > most ? fabsf(g[i]) : most;
            }
            square += strip_square, smooth += strip_smooth;
            for (int j = 0; j < m; j++) rows[j] = l->s + j * l->n + at, rows[m + j] = l->y + j * l->n + at;
            isa->dots(rows, 2 * m, columns, 2, n, out);
        }
    out += 2 * m * 2;
    out[0] = bad, out[1] = most, out[2] = square, out[3] = smooth;
}

// d = -free (sum of coef times the vectors + slope ga); out: the largest |d|. A vector of coefficient 0 is not read: it may hold anything.
static void direction(const cpu_lbfgs *l, long i0, long i1, double *out) {
    float sum[STRIP], most = 0;
    const int m = l->slots;
    for (long from = i0; from < i1; from += STRIP) {
        const long n = min_long(STRIP, i1 - from);
        float *a = l->a + from, *ga = l->ga + from, *d = l->d + from;
        if (l->accept)
            for (long i = 0; i < n; i++) a[i] = l->x[from + i], ga[i] = l->g[from + i];
        for (long i = 0; i < n; i++) sum[i] = l->slope * ga[i];
        for (int j = 0; j <= 2 * m; j++) {
            const float c = l->coef[j], *v = (j < m ? l->s + j * l->n : j < 2 * m ? l->y + (j - m) * l->n : l->z) + from;
            if (c == 0) continue;
            for (long i = 0; i < n; i++) sum[i] += c * v[i];
        }
        for (long i = 0; i < n; i++) {
            d[i] = -is_free(a[i], ga[i]) * sum[i];
            most = fabsf(d[i]) > most ? fabsf(d[i]) : most;
        }
    }
    out[0] = most;
}

// x = clamp(a + by d, 0, 1).
static void step(const cpu_lbfgs *l, long i0, long i1) {
    for (long i = i0; i < i1; i++) {
        const float v = l->a[i] + l->by * l->d[i];
        l->x[i] = v < 0 ? 0 : v > 1 ? 1 : v;
    }
}

typedef struct {
    const cpu_lbfgs *l;
    const cpu_isa *isa;
    cpu_lbfgs_pass pass;
    long size;
    double *out;
    int width;
} pass_arg;

static void pass_block(void *arg, int worker, long i) {
    const pass_arg *a = arg;
    const long i0 = i * a->size, i1 = min_long(i0 + a->size, a->l->n);
    (void)worker;
    switch (a->pass) {
    case LBFGS_PRODUCTS: products(a->l, a->isa, i0, i1, a->out + i * a->width); break;
    case LBFGS_DIRECTION: direction(a->l, i0, i1, a->out + i * a->width); break;
    case LBFGS_STEP: step(a->l, i0, i1); break;
    }
}

void cpu_run_lbfgs(cpu_pool *p, const cpu_isa *isa, cpu_lbfgs_pass pass, const cpu_lbfgs *l, long size, double *out, int width) {
    pass_arg a = {l, isa, pass, size, out, width};
    cpu_run(p, (l->n + size - 1) / size, pass_block, &a);
}
