// pool.h - how steps.c, bf16.c and lbfgs.c use the threads of pool.c.
#ifndef STYLIZE_POOL_H
#define STYLIZE_POOL_H
#include "cpu.h"

typedef void task_fn(void *arg, int worker, long index);

// cpu_run calls f(arg, worker, 0) .. f(arg, worker, n-1), in any order, on all threads; worker says which, for scratch
// of its own. A thread takes the next index when it is done with the last, so that one that is held up delays nobody.
void cpu_run(cpu_pool *p, long n, task_fn *f, void *arg);
int cpu_pool_threads(const cpu_pool *p);

// g = scale times the sum of the upper triangles of C x C in work, and their mirror.
void cpu_add_triangles(cpu_pool *p, const float *work, float *g, int C, int slices, double scale);

static inline long min_long(long a, long b) { return a < b ? a : b; }
#endif
