// steps.c - how the work of each step is cut for the threads. A block is some rows, pixels, tiles or elements; where it
// begins never changes a result, and sums are kept by block and added in order by the caller.
#include "pool.h"
#include <stdlib.h>
#include <string.h>

// ---- Winograd: blocks of tiles with V and M of their own, or one V for all and the channels divided
typedef struct {
    const cpu_wino_fns *fns;
    const cpu_wino *job;
    float *work;
    long vlen, mlen;
    int tiles, size, rows, panels, group;
} wino_arg;

static void wino_block(void *arg, int worker, long i) {
    wino_arg *a = arg;
    float *v = a->work + worker * (a->vlen + a->mlen), *m = v + a->vlen;
    const int t0 = i * a->size, n = min_long(a->size, a->tiles - t0);
    a->fns->transform(a->job, v, t0, n, 0, (n + a->rows - 1) / a->rows);
    a->fns->multiply(a->job, v, m, t0, n, 0, a->panels);
}
static void wino_rows(void *arg, int worker, long i) {
    wino_arg *a = arg;
    (void)worker;
    a->fns->transform(a->job, a->work, 0, a->tiles, i, i + 1);
}
static void wino_panels(void *arg, int worker, long i) {
    wino_arg *a = arg;
    const int n0 = i * a->group;
    a->fns->multiply(a->job, a->work, a->work + a->vlen + worker * a->mlen, 0, a->tiles, n0,
                     min_long(n0 + a->group, a->panels));
}
void cpu_run_wino(cpu_pool *p, const cpu_isa *isa, const cpu_wino_fns *fns, const cpu_wino *job, float *work,
                   int tiles, int size, int shared) {
    wino_arg a = {fns, job, work, fns->vsize(job->C, size), fns->msize(size), tiles, size, isa->mr, job->K / isa->nr,
                  isa->nr < 32 ? 32 / isa->nr : 1};
    if (shared) {
        cpu_run(p, (tiles + isa->mr - 1) / isa->mr, wino_rows, &a);
        cpu_run(p, (a.panels + a.group - 1) / a.group, wino_panels, &a);
    } else {
        cpu_run(p, (tiles + size - 1) / size, wino_block, &a);
    }
}

typedef struct {
    const cpu_wino_fns *fns;
    const float *w;
    int Co, Ci, rot;
    double scale;
    float *U;
} pack_arg;
static void pack_panel(void *arg, int worker, long i) {
    pack_arg *a = arg;
    (void)worker;
    a->fns->pack(a->w, a->Co, a->Ci, a->rot, a->scale, a->U, i, i + 1);
}
void cpu_run_pack(cpu_pool *p, const cpu_isa *isa, const cpu_wino_fns *fns, const float *w, int Co, int Ci, int rot,
                   double scale, float *U) {
    pack_arg a = {fns, w, Co, Ci, rot, scale, U};
    cpu_run(p, (rot ? Ci : Co) / isa->nr, pack_panel, &a);
}

// ---- everything that is cut into blocks of rows or pixels of each picture
typedef struct {
    const cpu_isa *isa;
    const float *x, *w, *bias;
    float *y, *work;
    uint8_t *bits;
    int H, W, C, K, relu, size, blocks;
    long worklen;
} rows_arg;

static void conv_rows(void *arg, int worker, long i) {
    rows_arg *a = arg;
    (void)worker;
    const long n = i / a->blocks, px = n * a->H * a->W;
    const int r0 = i % a->blocks * a->size;
    a->isa->conv3x3(a->x + px * a->C, a->w, a->bias, a->y + px * a->K, a->H, a->W, a->C, a->K, a->relu, r0,
                    min_long(r0 + a->size, a->H));
}
void cpu_run_conv3x3(cpu_pool *p, const cpu_isa *isa, const float *x, const float *w, const float *bias, float *y,
                      int N, int H, int W, int C, int K, int relu, int size) {
    rows_arg a = {.isa = isa, .x = x, .w = w, .bias = bias, .y = y, .H = H, .W = W, .C = C, .K = K, .relu = relu,
                  .size = size, .blocks = (H + size - 1) / size};
    cpu_run(p, (long)N * a.blocks, conv_rows, &a);
}

static void first_fprop_rows(void *arg, int worker, long i) {
    rows_arg *a = arg;
    const long n = i / a->blocks, px = n * a->H * a->W;
    const int r0 = i % a->blocks * a->size;
    a->isa->first_fprop(a->x + px * 3, a->w, a->bias, a->y + px * 64, a->bits ? a->bits + px * 8 : 0, a->H, a->W, r0,
                      min_long(r0 + a->size, a->H), a->work + worker * a->worklen);
}
static void first_dgrad_rows(void *arg, int worker, long i) {
    rows_arg *a = arg;
    const long n = i / a->blocks, px = n * a->H * a->W;
    const int r0 = i % a->blocks * a->size;
    a->isa->first_dgrad(a->x + px * 64, a->w, a->y + px * 3, a->H, a->W, r0, min_long(r0 + a->size, a->H),
                      a->work + worker * a->worklen);
}
void cpu_run_first(cpu_pool *p, const cpu_isa *isa, int dgrad, const float *x, const float *w, const float *bias,
                    float *y, uint8_t *bits, int N, int H, int W, int size, float *work, long worklen) {
    rows_arg a = {.isa = isa, .x = x, .w = w, .bias = bias, .y = y, .bits = bits, .H = H, .W = W, .size = size,
                  .blocks = (H + size - 1) / size, .work = work, .worklen = worklen};
    cpu_run(p, (long)N * a.blocks, dgrad ? first_dgrad_rows : first_fprop_rows, &a);
}

// ---- Gram matrix and its gradient
typedef struct {
    const cpu_isa *isa;
    const float *f, *g;
    float *y, *work;
    int C, slices, bands;
    long pixels, size;
    double scale;
} product_arg;

static void gram_slice(void *arg, int worker, long i) {
    product_arg *a = arg;
    (void)worker;
    const long slice = i / a->bands;
    const int i0 = i % a->bands * 64;
    a->isa->gram(a->f, a->work + slice * a->C * a->C, a->C, i0, min_long(i0 + 64, a->C), slice * a->size,
                 min_long((slice + 1) * a->size, a->pixels));
}
static void gram_add(void *arg, int worker, long band) { // the slices' triangles in order, then the mirror
    product_arg *a = arg;
    (void)worker;
    const long C = a->C, CC = C * C;
    for (long j0 = band * 64; j0 < C; j0 += 16) // blocks, so that the mirrored writes stay in the L1
        for (long i = band * 64; i < min_long(band * 64 + 64, C); i++)
            for (long j = j0 > i ? j0 : i; j < min_long(j0 + 16, C); j++) {
                double sum = 0;
                for (int s = 0; s < a->slices; s++) sum += a->work[s * CC + i * C + j];
                a->y[i * C + j] = a->y[j * C + i] = (float)(sum * a->scale);
            }
}
void cpu_run_gram_fwd(cpu_pool *p, const cpu_isa *isa, const float *f, float *g, float *work, int C, long pixels,
                   int slices) {
    const long size = (pixels + slices - 1) / slices;
    product_arg a = {.isa = isa, .f = f, .y = g, .work = work, .C = C, .pixels = pixels, .size = size,
                     .slices = (pixels + size - 1) / size, .bands = (C + 63) / 64,
                     .scale = 1 / ((double)C * (double)pixels)};
    cpu_run(p, (long)a.slices * a.bands, gram_slice, &a);
    cpu_add_triangles(p, work, g, C, a.slices, a.scale);
}
void cpu_add_triangles(cpu_pool *p, const float *work, float *g, int C, int slices, double scale) {
    product_arg a = {.y = g, .work = (float *)work, .C = C, .slices = slices, .bands = (C + 63) / 64, .scale = scale};
    cpu_run(p, a.bands, gram_add, &a);
}

static void gemm_pack(void *arg, int worker, long n) { // panel n of (g + g^T) * scale, [C][nr]
    product_arg *a = arg;
    (void)worker;
    const int C = a->C, nr = a->isa->nr;
    const float k = (float)a->scale;
    float *panel = a->work + n * C * nr;
    const int i0 = n * nr, lanes = C - i0 < nr ? C - i0 : nr;
    if (lanes < nr) memset(panel, 0, sizeof *panel * C * nr);
    for (int j0 = 0; j0 < C; j0 += 16) // blocks of both operands stay in the L1, one of them read across
        for (int i = 0; i < lanes; i++)
            for (int j = j0; j < j0 + 16 && j < C; j++)
                panel[j * nr + i] = k * (a->g[(long)(i0 + i) * C + j] + a->g[(long)j * C + i0 + i]);
}
static void gemm_pixels(void *arg, int worker, long i) {
    product_arg *a = arg;
    (void)worker;
    a->isa->gemm(a->f, a->work, a->y, a->C, a->C, i * a->size, min_long((i + 1) * a->size, a->pixels));
}
void cpu_run_gram_bwd(cpu_pool *p, const cpu_isa *isa, const float *f, const float *g, float *y, float *work, int C,
                        long pixels) {
    product_arg a = {.isa = isa, .f = f, .g = g, .y = y, .work = work, .C = C, .pixels = pixels,
                     .size = C < 341 ? 32768 / C / 96 * 96 : 96, .scale = 1 / ((double)C * (double)pixels)};
    if (a.size < 96) a.size = 96;
    cpu_run(p, (C + isa->nr - 1) / isa->nr, gemm_pack, &a);
    cpu_run(p, (pixels + a.size - 1) / a.size, gemm_pixels, &a);
}

// ---- the loops of elementwise.c: the blocks of all pictures at once
typedef struct {
    cpu_loop_fn fn;
    const cpu_args *args;
    double *sums;
    long n, size, blocks;
    int width;
} loop_arg;
static void loop_block(void *arg, int worker, long i) {
    loop_arg *a = arg;
    (void)worker;
    const long i0 = i % a->blocks * a->size;
    a->fn(a->args + i / a->blocks, i0, min_long(i0 + a->size, a->n), a->width ? a->sums + i * a->width : 0);
}
void cpu_run_loop(cpu_pool *p, cpu_loop_fn fn, const cpu_args *args, long pictures, long n, long size, double *sums,
                   int width) {
    loop_arg a = {fn, args, sums, n, size, (n + size - 1) / size, width};
    cpu_run(p, pictures * a.blocks, loop_block, &a);
}

// ---- what the processor can do at most
typedef struct {
    const cpu_isa *isa;
    long rounds;
    float *sink;
} peak_arg;
static void peak_thread(void *arg, int worker, long i) {
    peak_arg *a = arg;
    (void)worker;
    a->sink[i] = a->isa->probe_peak(a->rounds);
}
double cpu_run_peak(cpu_pool *p, const cpu_isa *isa, long rounds) {
    float *sink = calloc(cpu_pool_threads(p), sizeof *sink);
    if (!sink) return 0;
    peak_arg a = {isa, rounds, sink};
    cpu_run(p, cpu_pool_threads(p), peak_thread, &a);
    free(sink);
    return isa->peak * (double)rounds * cpu_pool_threads(p);
}
