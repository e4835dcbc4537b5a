// bf16.c - how the steps in bf16 are cut for the threads. As in steps.c, where a block begins never changes a result.
#include "pool.h"

// ---- convolutions: strips of rows, and where weights outweigh the picture, groups of channels out
typedef struct {
    const cpu_bf16 *fns;
    const cpu_bf16_conv *job;
    int strip, columns, strips, group, groups;
} conv_arg;

static void conv_strip(void *arg, int worker, long i) {
    const conv_arg *a = arg;
    (void)worker;
    cpu_bf16_conv k = *a->job;
    const long strip = i % a->strips, group = i / a->strips % a->groups, n = i / a->strips / a->groups;
    const long in = cpu_map_pixels(k.H, k.W), out = cpu_map_pixels(k.YH, k.YW), pooled = cpu_map_pixels(k.H / 2, k.W / 2);
    if (k.C) k.x += n * in * k.C;
    if (k.y) k.y += n * out * k.K;
    if (k.ypool) k.ypool += n * pooled * k.K;
    if (k.ybits) k.ybits += n * k.H * k.W * (k.K / 32);
    if (k.gate) k.gate += n * k.YH * k.YW * (k.K / 32);
    if (k.f) k.f += n * in * k.K, k.fw += n * k.K * k.K;
    for (int j = 0; j < k.addends; j++) k.addend[j] += n * in * k.K;
    if (k.image) k.image += n * k.H * k.W * 3;
    const int y0 = strip * a->strip, n0 = group * a->group;
    a->fns->conv(&k, y0, min_long(y0 + a->strip, k.H), n0, min_long(n0 + a->group, k.K), a->columns);
}
void cpu_run_bf16_conv(cpu_pool *p, const cpu_bf16 *fns, const cpu_bf16_conv *k, int strip, int columns, int group) {
    conv_arg a = {fns, k, strip, columns, (k->H + strip - 1) / strip, group, (k->K + group - 1) / group};
    cpu_run(p, (long)k->N * a.groups * a.strips, conv_strip, &a);
}

// ---- the first layer
typedef struct {
    const cpu_bf16 *fns;
    const float *x, *bias;
    const uint16_t *w;
    uint16_t *y, *work;
    uint32_t *bits;
    int H, W, strip, strips;
} first_arg;

static void first_strip(void *arg, int worker, long i) {
    const first_arg *a = arg;
    const long n = i / a->strips, px = (long)a->H * a->W, map = cpu_map_pixels(a->H, a->W) * 64;
    const int y0 = i % a->strips * a->strip;
    a->fns->first(a->x + n * px * 3, a->w, a->bias, a->y + n * map, a->bits ? a->bits + n * px * 2 : 0, a->H, a->W, y0,
                  min_long(y0 + a->strip, a->H), a->work + worker * cpu_bf16_strip(a->W, a->strip));
}
void cpu_run_bf16_first(cpu_pool *p, const cpu_bf16 *fns, const float *x, const uint16_t *w, const float *bias, uint16_t *y,
                        uint32_t *bits, int N, int H, int W, int strip, uint16_t *work) {
    first_arg a = {fns, x, bias, w, y, work, bits, H, W, strip, (H + strip - 1) / strip};
    cpu_run(p, (long)N * a.strips, first_strip, &a);
}

// ---- Gram matrix and the matrix of its gradient
typedef struct {
    const cpu_bf16 *fns;
    const uint16_t *map;
    const float *g;
    float *sums;
    uint16_t *out;
    int H, W, C, slices;
    long size, pixels, worklen;
    float scale;
    uint16_t *work;
} gram_arg;

static void gram_slice(void *arg, int worker, long i) {
    const gram_arg *a = arg;
    a->fns->gram(a->map, a->sums + i * a->C * a->C, a->H, a->W, a->C, i * a->size, min_long((i + 1) * a->size, a->pixels),
                 a->work + worker * a->worklen);
}
void cpu_run_bf16_gram_fwd(cpu_pool *p, const cpu_bf16 *fns, const uint16_t *map, float *g, float *work, int H, int W, int C,
                           int slices) {
    gram_arg a = {.fns = fns, .map = map, .sums = work, .H = H, .W = W, .C = C, .pixels = (long)H * (W + 1), .worklen = 1024L * C};
    a.size = (a.pixels + slices - 1) / slices;
    a.size = (a.size + 511) / 512 * 512; // whole panels
    a.slices = (a.pixels + a.size - 1) / a.size;
    a.work = (uint16_t *)(work + (long)slices * C * C);
    cpu_run(p, a.slices, gram_slice, &a);
    cpu_add_triangles(p, work, g, C, a.slices, 1 / ((double)C * H * W));
}

static void gram_column(void *arg, int worker, long i) {
    const gram_arg *a = arg;
    (void)worker;
    a->fns->pack_gram(a->g, a->C, a->scale, a->out, i, i + 1);
}
void cpu_run_bf16_pack_gram(cpu_pool *p, const cpu_bf16 *fns, const float *g, int C, double pixels, uint16_t *out) {
    gram_arg a = {.fns = fns, .g = g, .C = C, .out = out, .scale = (float)(1 / (C * pixels))};
    cpu_run(p, C / 32, gram_column, &a);
}

// ---- weights
typedef struct {
    const cpu_bf16 *fns;
    const float *w;
    int Co, Ci, dgrad;
    uint16_t *out;
} pack_arg;

static void pack_block(void *arg, int worker, long i) {
    const pack_arg *a = arg;
    (void)worker;
    a->fns->pack(a->w, a->Co, a->Ci, a->dgrad, a->out, i);
}
void cpu_run_bf16_pack(cpu_pool *p, const cpu_bf16 *fns, const float *w, int Co, int Ci, int dgrad, uint16_t *out) {
    pack_arg a = {fns, w, Co, Ci, dgrad, out};
    cpu_run(p, ((dgrad ? Ci : Co) + 31) / 32, pack_block, &a);
}

// ---- passes over features
typedef struct {
    const cpu_bf16 *fns;
    const cpu_map_job *job;
    int strip;
} map_arg;

static void map_strip(void *arg, int worker, long i) {
    const map_arg *a = arg;
    const cpu_bf16 *f = a->fns;
    const cpu_map_job *j = a->job;
    (void)worker;
    const int y0 = i * a->strip, y1 = min_long(y0 + a->strip, j->H);
    switch (j->pass) {
    case MAP_FROM_PLAIN: f->from_plain(j->plain, j->y, j->H, j->W, j->C, y0, y1); break;
    case MAP_TO_PLAIN: f->to_plain(j->map, j->to_plain, j->H, j->W, j->C, y0, y1); break;
    case MAP_MSE_FWD: j->sums[i] = f->mse_fwd(j->map, j->plain, j->H, j->W, j->C, y0, y1); break;
    case MAP_MSE_BWD: f->mse_bwd(j->map, j->plain, j->scale, j->y, j->H, j->W, j->C, y0, y1); break;
    case MAP_MUL: f->mul(j->map, j->plain, j->y, j->H, j->W, j->C, y0, y1); break;
    }
}
void cpu_run_bf16_map(cpu_pool *p, const cpu_bf16 *fns, const cpu_map_job *job) {
    map_arg a = {fns, job, cpu_map_strip(job->W, job->C)};
    cpu_run(p, (job->H + a.strip - 1) / a.strip, map_strip, &a);
}

// ---- what the tile units can do at most
typedef struct {
    const cpu_bf16 *fns;
    long rounds;
} peak_arg;
static void peak_thread(void *arg, int worker, long i) {
    const peak_arg *a = arg;
    (void)worker, (void)i;
    volatile float sink = a->fns->probe_peak(a->rounds);
    (void)sink;
}
double cpu_run_bf16_peak(cpu_pool *p, const cpu_bf16 *fns, long rounds) {
    peak_arg a = {fns, rounds};
    cpu_run(p, cpu_pool_threads(p), peak_thread, &a);
    return fns->peak * (double)rounds * cpu_pool_threads(p);
}
