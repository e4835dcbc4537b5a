// A driver with one GPU that keeps memory and does no work: kernels and graphs
// are accepted and leave it as it is. It answers threads that made a context, and
// knows its own handles alone, so that a call or a handle of another driver shows.
#include <stdlib.h>
#include <string.h>

enum { invalid_value = 1, no_context = 201, invalid_handle = 400 };

static __thread int contexts;
static char mark;

#define CALL(name, ...) int name(__VA_ARGS__) { if (!contexts) return no_context;
#define MAKES(name) CALL(name, void **h) *h = &mark; return 0; }
#define TAKES(name) CALL(name, void *h) return h == &mark ? 0 : invalid_handle; }

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *v) { *v = 11040; return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return 0; }
int cuDeviceGetName(char *name, int n, int d) { strncpy(name, "Idle GPU", n); return 0; }
int cuDeviceGetAttribute(int *v, int attribute, int d) { *v = attribute == 75 ? 8 : attribute == 16 ? 4 : 0; return 0; }
int cuCtxCreate_v2(void **c, unsigned flags, int d) { contexts++; *c = &mark; return 0; }
int cuCtxDestroy_v2(void *c) { if (c != &mark) return no_context; contexts--; return 0; }

MAKES(cuStreamCreate)
TAKES(cuStreamDestroy_v2)
TAKES(cuStreamSynchronize)
TAKES(cuStreamBeginCapture_v2)
CALL(cuStreamEndCapture, void *s, void **g) *g = &mark; return s == &mark ? 0 : invalid_handle; }
MAKES(cuGraphInstantiateWithFlags)
TAKES(cuGraphLaunch)
TAKES(cuGraphDestroy)
TAKES(cuGraphExecDestroy)
MAKES(cuEventCreate)
TAKES(cuEventRecord)
TAKES(cuEventSynchronize)
TAKES(cuEventDestroy_v2)
MAKES(cuModuleLoadDataEx)
TAKES(cuModuleUnload)
CALL(cuModuleGetFunction, void **f, void *m, const char *name) *f = &mark; return m == &mark ? 0 : invalid_handle; }
TAKES(cuFuncSetAttribute)
TAKES(cuLaunchKernel)

CALL(cuMemAlloc_v2, void **p, size_t n) return (*p = calloc(n, 1)) ? 0 : invalid_value; }
CALL(cuMemFree_v2, void *p) free(p); return 0; }
CALL(cuMemAllocHost_v2, void **p, size_t n) return (*p = calloc(n, 1)) ? 0 : invalid_value; }
CALL(cuMemFreeHost, void *p) free(p); return 0; }
CALL(cuMemGetInfo_v2, size_t *unused, size_t *total) *unused = *total = 1 << 30; return 0; }
CALL(cuMemsetD8Async, void *p, unsigned char v, size_t n, void *s) memset(p, v, n); return 0; }
CALL(cuMemcpyHtoDAsync_v2, void *p, const void *h, size_t n, void *s) memcpy(p, h, n); return 0; }
CALL(cuMemcpyDtoHAsync_v2, void *h, const void *p, size_t n, void *s) memcpy(h, p, n); return 0; }
