// pool.c - threads that execute one step after another.
//
// A step takes a millisecond, an iteration fifty steps. Threads that slept in between would be woken on whatever
// processor is near, often that of the thread that wakes them, and share it for a while; so a worker looks for more
// work for SPIN_NS before it sleeps. The threads are the operating system's own: goroutines in long C calls keep Go's
// scheduler busy taking their processors away (measured: 60,000 context switches in 7 s, 15 to 25 % of the time).
#define _GNU_SOURCE
#include "pool.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { SPIN_NS = 200000 };

struct cpu_pool {
    int threads;
    int first; // the processor of thread 0 among those that this process may use; -1: they may run anywhere
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
    cpu_pool *pool;
    int id;
} worker_arg;

// pin keeps the calling thread on a processor, the n-th of those that it may use, round and round, and says in before
// what those are; unpin gives them back. n < 0 changes nothing.
#if defined(__linux__)
typedef cpu_set_t processors;

static bool pin(int n, processors *before) {
    if (n < 0 || pthread_getaffinity_np(pthread_self(), sizeof *before, before)) return false;
    n %= CPU_COUNT(before);
    int i = 0;
    while (!CPU_ISSET(i, before) || n--) i++;
    processors one;
    CPU_ZERO(&one);
    CPU_SET(i, &one);
    return !pthread_setaffinity_np(pthread_self(), sizeof one, &one);
}

static void unpin(const processors *before) { pthread_setaffinity_np(pthread_self(), sizeof *before, before); }

bool cpu_can_pin(void) {
    processors may;
    return !sched_getaffinity(0, sizeof may, &may) && CPU_COUNT(&may) > 0;
}
#else
typedef int processors;

static bool pin(int n, processors *before) { return (void)n, (void)before, false; }

static void unpin(const processors *before) { (void)before; }

bool cpu_can_pin(void) { return false; }
#endif

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

static void drain(cpu_pool *p, int worker) {
    for (long i; (i = atomic_fetch_add(&p->next, 1)) < p->n;) p->f(p->arg, worker, i);
}

static void *work(void *arg) {
    worker_arg *a = arg;
    cpu_pool *p = a->pool;
    const int id = a->id;
    free(a);
    processors all;
    if (p->first >= 0) pin(p->first + id, &all);
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

static void start(cpu_pool *p) {
    atomic_fetch_add(&p->gen, 1);
    if (atomic_load(&p->asleep)) {
        pthread_mutex_lock(&p->mu);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->mu);
    }
}

int cpu_pool_threads(const cpu_pool *p) { return p->threads; }

cpu_pool *cpu_pool_new(int threads, int first) {
    cpu_pool *p = calloc(1, sizeof *p);
    if (!p) return 0;
    p->first = first;
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

void cpu_pool_free(cpu_pool *p) {
    if (!p) return;
    atomic_store(&p->quit, 1);
    start(p);
    for (int i = 1; i < p->threads; i++) pthread_join(p->ids[i], 0);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mu);
    free(p->ids);
    free(p);
}

void cpu_run(cpu_pool *p, long n, task_fn *f, void *arg) {
    processors before; // the caller's thread is Go's, which has other work elsewhere: it is pinned for the step
    const bool pinned = pin(p->first, &before);
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
    if (pinned) unpin(&before);
}
