// pool.c - threads that execute one step after another, and how the work of each heavy step is cut for them.
//
// A step takes a millisecond, an iteration fifty steps. Threads that slept in between would be woken on whatever
// processor is near, often that of the thread that wakes them, and share it for a while; so a worker looks for more
// work for SPIN_NS before it sleeps. The threads are the operating system's own: goroutines in long C calls keep Go's
// scheduler busy taking their processors away (measured: 60,000 context switches in 7 s, 15 to 25 % of the time).
#define _GNU_SOURCE
#include "host.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { SPIN_NS = 200000 };

typedef void task_fn(void *arg, int worker, long index);

struct host_pool {
    int threads;
    pthread_t *ids;
    // The job at hand: written by the caller before gen changes.
    task_fn *f;
    void *arg;
    long n;
    atomic_long next;
    atomic_uint gen;
    atomic_int left;   // workers that have not finished the job
    atomic_int asleep; // workers that wait for the condition
    atomic_int quit;
    pthread_mutex_t mu;
    pthread_cond_t wake;
};

typedef struct {
    host_pool *pool;
    int id;
} worker_arg;

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void drain(host_pool *p, int worker) {
    for (long i; (i = atomic_fetch_add(&p->next, 1)) < p->n;) p->f(p->arg, worker, i);
}

static void *work(void *arg) {
    worker_arg *a = arg;
    host_pool *p = a->pool;
    const int id = a->id;
    free(a);
    for (unsigned seen = 0;; seen++) {
        for (long start = now_ns(); atomic_load(&p->gen) == seen && now_ns() - start < SPIN_NS;)
            for (int i = 0; i < 64 && atomic_load_explicit(&p->gen, memory_order_relaxed) == seen; i++) relax();
        if (atomic_load(&p->gen) == seen) {
            pthread_mutex_lock(&p->mu);
            atomic_fetch_add(&p->asleep, 1);
            while (atomic_load(&p->gen) == seen) pthread_cond_wait(&p->wake, &p->mu);
            atomic_fetch_sub(&p->asleep, 1);
            pthread_mutex_unlock(&p->mu);
        }
        if (atomic_load(&p->quit)) return 0;
        drain(p, id);
        atomic_fetch_sub(&p->left, 1);
    }
}

static void start(host_pool *p) {
    atomic_fetch_add(&p->gen, 1);
    if (atomic_load(&p->asleep)) {
        pthread_mutex_lock(&p->mu);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->mu);
    }
}

host_pool *host_pool_new(int threads) {
    host_pool *p = calloc(1, sizeof *p);
    if (!p) return 0;
    p->ids = calloc(threads, sizeof *p->ids);
    pthread_mutex_init(&p->mu, 0);
    pthread_cond_init(&p->wake, 0);
    p->threads = 1;
    for (int i = 1; p->ids && i < threads; i++) { // fewer threads than asked for still compute everything
        worker_arg *a = malloc(sizeof *a);
        if (!a) break;
        *a = (worker_arg){p, i};
        if (pthread_create(&p->ids[i], 0, work, a)) {
            free(a);
            break;
        }
        p->threads++;
    }
    return p;
}

void host_pool_free(host_pool *p) {
    if (!p) return;
    atomic_store(&p->quit, 1);
    start(p);
    for (int i = 1; i < p->threads; i++) pthread_join(p->ids[i], 0);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mu);
    free(p->ids);
    free(p);
}

// run calls f(arg, worker, 0) .. f(arg, worker, n-1), in any order, on all threads. A thread takes the next index when
// it is done with the last, so that one that is held up delays nobody.
static void run(host_pool *p, long n, task_fn *f, void *arg) {
    p->f = f, p->arg = arg, p->n = n;
    atomic_store(&p->next, 0);
    if (p->threads > 1 && n > 1) {
        atomic_store(&p->left, p->threads - 1);
        start(p);
        drain(p, 0);
        for (long i = 0; atomic_load(&p->left); i++) {
            if (i < 20000) relax();
            else sched_yield(); // others need the processor, perhaps the worker we wait for
        }
    } else {
        drain(p, 0);
    }
}

static long min_long(long a, long b) { return a < b ? a : b; }

// ---- Winograd: blocks of tiles with V and M of their own, or one V for all and the channels divided
typedef struct {
    const host_wino_fns *fns;
    const host_wino *job;
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
void host_run_wino(host_pool *p, const host_isa *isa, const host_wino_fns *fns, const host_wino *job, float *work,
                   int tiles, int size, int shared) {
    wino_arg a = {fns, job, work, fns->vsize(job->C, size), fns->msize(size), tiles, size, isa->mr, job->K / isa->nr,
                  isa->nr < 32 ? 32 / isa->nr : 1};
    if (shared) {
        run(p, (tiles + isa->mr - 1) / isa->mr, wino_rows, &a);
        run(p, (a.panels + a.group - 1) / a.group, wino_panels, &a);
    } else {
        run(p, (tiles + size - 1) / size, wino_block, &a);
    }
}

typedef struct {
    const host_wino_fns *fns;
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
void host_run_pack(host_pool *p, const host_isa *isa, const host_wino_fns *fns, const float *w, int Co, int Ci, int rot,
                   double scale, float *U) {
    pack_arg a = {fns, w, Co, Ci, rot, scale, U};
    run(p, (rot ? Ci : Co) / isa->nr, pack_panel, &a);
}

// ---- everything that is cut into blocks of rows or pixels of each picture
typedef struct {
    const host_isa *isa;
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
void host_run_conv3x3(host_pool *p, const host_isa *isa, const float *x, const float *w, const float *bias, float *y,
                      int N, int H, int W, int C, int K, int relu, int size) {
    rows_arg a = {.isa = isa, .x = x, .w = w, .bias = bias, .y = y, .H = H, .W = W, .C = C, .K = K, .relu = relu,
                  .size = size, .blocks = (H + size - 1) / size};
    run(p, (long)N * a.blocks, conv_rows, &a);
}

static void first_fwd_rows(void *arg, int worker, long i) {
    rows_arg *a = arg;
    const long n = i / a->blocks, px = n * a->H * a->W;
    const int r0 = i % a->blocks * a->size;
    a->isa->first_fwd(a->x + px * 3, a->w, a->bias, a->y + px * 64, a->bits ? a->bits + px * 8 : 0, a->H, a->W, r0,
                      min_long(r0 + a->size, a->H), a->work + worker * a->worklen);
}
static void first_bwd_rows(void *arg, int worker, long i) {
    rows_arg *a = arg;
    const long n = i / a->blocks, px = n * a->H * a->W;
    const int r0 = i % a->blocks * a->size;
    a->isa->first_bwd(a->x + px * 64, a->w, a->y + px * 3, a->H, a->W, r0, min_long(r0 + a->size, a->H),
                      a->work + worker * a->worklen);
}
void host_run_first(host_pool *p, const host_isa *isa, int dgrad, const float *x, const float *w, const float *bias,
                    float *y, uint8_t *bits, int N, int H, int W, int size, float *work, long worklen) {
    rows_arg a = {.isa = isa, .x = x, .w = w, .bias = bias, .y = y, .bits = bits, .H = H, .W = W, .size = size,
                  .blocks = (H + size - 1) / size, .work = work, .worklen = worklen};
    run(p, (long)N * a.blocks, dgrad ? first_bwd_rows : first_fwd_rows, &a);
}

typedef struct {
    const host_isa *isa;
    const float *f, *s;
    float *y;
    int C, slices, bands;
    long pixels, size;
} product_arg;

static void gemm_pixels(void *arg, int worker, long i) {
    product_arg *a = arg;
    (void)worker;
    a->isa->gemm(a->f, a->s, a->y, a->C, a->C, i * a->size, min_long((i + 1) * a->size, a->pixels));
}
void host_run_gemm(host_pool *p, const host_isa *isa, const float *f, const float *s, float *y, int C, long pixels,
                   long size) {
    product_arg a = {.isa = isa, .f = f, .s = s, .y = y, .C = C, .pixels = pixels, .size = size};
    run(p, (pixels + size - 1) / size, gemm_pixels, &a);
}

static void gram_slice(void *arg, int worker, long i) {
    product_arg *a = arg;
    (void)worker;
    const long slice = i / a->bands;
    const int i0 = i % a->bands * 64;
    a->isa->gram(a->f, a->y + slice * a->C * a->C, a->C, i0, min_long(i0 + 64, a->C), slice * a->size,
                 min_long((slice + 1) * a->size, a->pixels));
}
void host_run_gram(host_pool *p, const host_isa *isa, const float *f, float *work, int C, long pixels, int slices) {
    product_arg a = {.isa = isa, .f = f, .y = work, .C = C, .pixels = pixels, .slices = slices, .bands = (C + 63) / 64,
                     .size = (pixels + slices - 1) / slices};
    run(p, (a.pixels + a.size - 1) / a.size * a.bands, gram_slice, &a);
}

// ---- what the processor can do at most
typedef struct {
    const host_isa *isa;
    long rounds;
    float *sink;
} peak_arg;
static void peak_thread(void *arg, int worker, long i) {
    peak_arg *a = arg;
    (void)worker;
    a->sink[i] = a->isa->probe_peak(a->rounds);
}
double host_run_peak(host_pool *p, const host_isa *isa, long rounds) {
    float *sink = calloc(p->threads, sizeof *sink);
    if (!sink) return 0;
    peak_arg a = {isa, rounds, sink};
    run(p, p->threads, peak_thread, &a);
    free(sink);
    return isa->peak * (double)rounds * p->threads;
}
