// memory.c - large blocks outside Go's heap: no scanning, huge pages, and given back at once when freed.
#define _GNU_SOURCE
#include "cpu.h"
#include <stdlib.h>
#include <string.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

static size_t whole(size_t bytes) { return (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE; }

void *cpu_alloc(size_t bytes) {
    const size_t len = whole(bytes), all = len + HUGE_PAGE;
    char *p = mmap(0, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (p == MAP_FAILED) return 0;
    const size_t skip = (HUGE_PAGE - (size_t)p % HUGE_PAGE) % HUGE_PAGE; // cut to a huge-page boundary
    if (skip) munmap(p, skip);
    if (all - skip > len) munmap(p + skip + len, all - skip - len);
#if defined(MADV_HUGEPAGE)
    if (bytes >= 4 * HUGE_PAGE) madvise(p + skip, len, MADV_HUGEPAGE);
#endif
    cpu_fence(p + skip + bytes, len - bytes, true);
    return p + skip;
}

void cpu_free(void *p, size_t bytes) {
    if (!p) return;
    cpu_fence(p, whole(bytes), false); // the next owner of these addresses has a right to them
    munmap(p, whole(bytes));
}
#else
#include <malloc.h>

void *cpu_alloc(size_t bytes) {
    void *p = _aligned_malloc(bytes ? bytes : 1, 4096);
    if (p) memset(p, 0, bytes);
    return p;
}

void cpu_free(void *p, size_t bytes) {
    (void)bytes;
    _aligned_free(p);
}
#endif

#if defined(__SANITIZE_ADDRESS__)
bool cpu_fences(void) { return true; }

void cpu_fence(const void *p, size_t bytes, bool shut) {
    if (shut) __asan_poison_memory_region(p, bytes);
    else __asan_unpoison_memory_region(p, bytes);
}
#else
bool cpu_fences(void) { return false; }

void cpu_fence(const void *p, size_t bytes, bool shut) { (void)p, (void)bytes, (void)shut; }
#endif
