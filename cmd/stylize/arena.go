//go:build linux && cgo

package main

// What must be said of memory before Go's runtime starts, which ends with a dump of its
// stacks and exit code 2 where it gets none.
//
// The C library keeps a heap of its own for every thread that allocates, and reserves
// 128 MB of address space for each. This program's C code hardly allocates. Under a
// limit of address space (ulimit -v) these heaps are what a run dies of before it has
// read a file: of 100 runs with 1.6 GB four did, and none with one heap.
//
// Below the limits here the runtime does not start, or starts by luck: with 0.7 GB of
// address space and with 1.2 and 1.3 GB, 20 of 20 starts died, with 0.9 and 1.4 none; with
// 100 MB of data 10 of 10, with 200 none.

/*
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static void at_least(int resource, const char *what, const char *option, rlim_t mb) {
    struct rlimit r;
    if (getrlimit(resource, &r) || r.rlim_cur == RLIM_INFINITY || r.rlim_cur >= mb << 20) return;
    dprintf(2, "stylize: this process may take %llu MB of %s, and needs %llu MB to start; raise the limit (ulimit -%s)\n",
            (unsigned long long)r.rlim_cur >> 20, what, (unsigned long long)mb, option);
    _Exit(2);
}

__attribute__((constructor)) static void before_go(void) {
    at_least(RLIMIT_AS, "address space", "v", 1400);
    at_least(RLIMIT_DATA, "data", "d", 192);
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1);
#endif
}
*/
import "C"
