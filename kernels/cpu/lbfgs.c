// lbfgs.c - the passes of projected L-BFGS over the vectors of one picture; lbfgs.go has the recursion between them.
//
// A block is some values of every vector, a strip of it as many as stay in the L1. Sums run in float within a strip, in double
// between strips, in an order that depends on where the block begins alone.
#include "pool.h"
#include <math.h>

enum { STRIP = 256, MOST_SLOTS = 33 };

// 0 where a value is at its bound and would leave it, else 1.
static inline float is_free(float x, float g) { return !((x <= 0 && g > 0) || (x >= 1 && g < 0)); }

// The pair of a step from a to x, into slot `next`; and out: the products of all s, y and g with the free part of all y and g,
// row by row, then s.y and y.y of the new pair, how many squares of g are not finite, and the largest |g|.
static void products(const cpu_lbfgs *l, const cpu_isa *isa, long i0, long i1, double *out) {
    float masked[(MOST_SLOTS + 1) * STRIP], mask[STRIP];
    const float *rows[2 * MOST_SLOTS + 1], *columns[MOST_SLOTS + 1];
    const int m = l->slots;
    float *s = l->s + l->next * l->n, *y = l->y + l->next * l->n, most = 0;
    double sy = 0, yy = 0;
    long bad = 0;
    for (int j = 0; j <= m; j++) columns[j] = masked + j * STRIP;
    for (long from = i0; from < i1; from += STRIP) {
        const long n = min_long(STRIP, i1 - from);
        const float *x = l->x + from, *g = l->g + from, *a = l->a + from, *ga = l->ga + from;
        for (long i = 0; i < n; i++) {
            s[from + i] = x[i] - a[i];
            y[from + i] = g[i] - ga[i];
            mask[i] = is_free(x[i], g[i]);
            bad += !(g[i] * g[i] - g[i] * g[i] == 0);
            most = fabsf(g[i]) > most ? fabsf(g[i]) : most;
        }
        for (long i = 0; i < n; i++) {
            sy += (double)s[from + i] * y[from + i];
            yy += (double)y[from + i] * y[from + i];
        }
        for (int j = 0; j <= m; j++) {
            const float *v = j < m ? l->y + j * l->n + from : g;
            for (long i = 0; i < n; i++) masked[j * STRIP + i] = mask[i] * v[i];
        }
        for (int j = 0; j < m; j++) rows[j] = l->s + j * l->n + from, rows[m + j] = l->y + j * l->n + from;
        rows[2 * m] = g;
        isa->dots(rows, 2 * m + 1, columns, m + 1, n, out);
    }
    out += (2 * m + 1) * (m + 1);
    out[0] = sy, out[1] = yy, out[2] = bad, out[3] = most;
}

// d = -free (sum of coef times the vectors); out: the largest |d|. A vector of coefficient 0 is not read: it may hold anything.
static void direction(const cpu_lbfgs *l, long i0, long i1, double *out) {
    float sum[STRIP], most = 0;
    const int m = l->slots;
    for (long from = i0; from < i1; from += STRIP) {
        const long n = min_long(STRIP, i1 - from);
        float *a = l->a + from, *ga = l->ga + from, *d = l->d + from;
        if (l->accept)
            for (long i = 0; i < n; i++) a[i] = l->x[from + i], ga[i] = l->g[from + i];
        for (long i = 0; i < n; i++) sum[i] = 0;
        for (int j = 0; j <= 2 * m; j++) {
            const float c = l->coef[j], *v = j < m ? l->s + j * l->n + from : j < 2 * m ? l->y + (j - m) * l->n + from : ga;
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
