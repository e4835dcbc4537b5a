// pool.c - threads that execute one step after another.
//
// A step takes a millisecond, an iteration fifty steps. Threads that slept in between would be woken on whatever
// processor is near, often that of the thread that wakes them, and share it for a while; so a worker looks for more
// work for SPIN_NS before it sleeps. Beside other programs a worker may have no processor when a step begins. So it
// joins the step when it can, and nobody waits for a worker that has not joined. The threads are the operating system's
// own: goroutines in long C calls keep Go's scheduler busy taking their processors away (measured: 60,000 context
// switches in 7 s, 15 to 25 % of the time).
#define _GNU_SOURCE
#include "pool.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum { SPIN_NS = 200000 };

// The state of a pool is one word, so that a worker joins a job that it has seen or none: the number of the job in the
// high half; below it whether the job is closed, and how many workers are in it.
#define JOB(state) ((uint32_t)((state) >> 32))
#define CLOSED ((uint64_t)1 << 31)
#define WORKERS(state) ((state) & (CLOSED - 1))

struct cpu_pool {
    int threads;
    int first; // the processor of thread 0 among those that this process may use; -1: they may run anywhere
    pthread_t *ids;
    // The job at hand: written by the caller while it is closed and nobody is in it.
    task_fn *f;
    void *arg;
    long n;
    atomic_long next;
    _Atomic uint64_t state;
    atomic_int asleep; // workers that wait for the condition
    atomic_int quit;
    pthread_mutex_t mu;
    pthread_cond_t wake;
};

typedef struct {
    cpu_pool *pool;
    int id;
} worker_arg;

// pin keeps a thread on a processor, the n-th of those that it may use, round and round, and says in before what those
// are; unpin gives them back to the calling thread. n < 0 changes nothing.
#if defined(__linux__)
typedef cpu_set_t processors;

static bool pin(pthread_t thread, int n, processors *before) {
    if (n < 0 || pthread_getaffinity_np(thread, sizeof *before, before)) return false;
    n %= CPU_COUNT(before);
    int i = 0;
    while (!CPU_ISSET(i, before) || n--) i++;
    processors one;
    CPU_ZERO(&one);
    CPU_SET(i, &one);
    return !pthread_setaffinity_np(thread, sizeof one, &one);
}

static void unpin(const processors *before) { pthread_setaffinity_np(pthread_self(), sizeof *before, before); }

bool cpu_can_pin(void) {
    processors may;
    return !sched_getaffinity(0, sizeof may, &may) && CPU_COUNT(&may) > 0;
}
#else
typedef int processors;

static bool pin(pthread_t thread, int n, processors *before) {
    return (void)thread, (void)n, (void)before, false;
}

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
    for (uint32_t seen = 0;;) {
        for (long start = now_ns(); JOB(atomic_load(&p->state)) == seen && now_ns() - start < SPIN_NS;) {
            for (int i = 0; i < 64 && JOB(atomic_load_explicit(&p->state, memory_order_relaxed)) == seen; i++) relax();
            sched_yield(); // to who has work
        }
        if (JOB(atomic_load(&p->state)) == seen) {
            pthread_mutex_lock(&p->mu);
            atomic_fetch_add(&p->asleep, 1);
            while (JOB(atomic_load(&p->state)) == seen) pthread_cond_wait(&p->wake, &p->mu);
            atomic_fetch_sub(&p->asleep, 1);
            pthread_mutex_unlock(&p->mu);
        }
        if (atomic_load(&p->quit)) return 0;
        uint64_t state = atomic_load(&p->state);
        while (!(state & CLOSED)) {
            if (!atomic_compare_exchange_weak(&p->state, &state, state + 1)) continue;
            drain(p, id);
            atomic_fetch_sub(&p->state, 1);
            break;
        }
        seen = JOB(state);
    }
}

// start opens the next job.
static void start(cpu_pool *p) {
    atomic_store(&p->state, ((uint64_t)JOB(atomic_load(&p->state)) + 1) << 32);
    if (atomic_load(&p->asleep)) {
        pthread_mutex_lock(&p->mu);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->mu);
    }
}

// finish closes the job, and waits for those who are in it.
static void finish(cpu_pool *p) {
    atomic_fetch_or(&p->state, CLOSED);
    for (long i = 0; WORKERS(atomic_load(&p->state)); i++) {
        if (i < 20000) relax();
        else sched_yield(); // others need the processor, perhaps the worker we wait for
    }
}

int cpu_pool_threads(const cpu_pool *p) { return p->threads; }

cpu_pool *cpu_pool_new(int threads, int first) {
    cpu_pool *p = calloc(1, sizeof *p);
    if (!p) return 0;
    p->first = first;
    atomic_store(&p->state, CLOSED);
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
        processors all;
        if (first >= 0) pin(p->ids[i], first + i, &all); // by its creator: who has a pool has it pinned
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
    const bool pinned = pin(pthread_self(), p->first, &before);
    p->f = f, p->arg = arg, p->n = n;
    atomic_store(&p->next, 0);
    if (p->threads > 1 && n > 1) {
        start(p);
        drain(p, 0);
        finish(p);
    } else {
        drain(p, 0);
    }
    if (pinned) unpin(&before);
}
