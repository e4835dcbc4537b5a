// libcuda.so.1 over libptxsim. The types are those of cuda.h as far as a program can see
// them; no header of NVIDIA's is needed.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../sim.h"

#define API __attribute__((visibility("default")))
#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))
#define NAME ((char *)__func__)

typedef int result;
typedef uint64_t device_ptr;

// ready says why a call cannot be made: no cuInit, no context.
static result ready(void) {
    if (!sim_initialized) return SIM_NOT_INITIALIZED;
    return sim_context() ? SIM_OK : SIM_INVALID_CONTEXT;
}
#define READY()              \
    do {                     \
        result r_ = ready(); \
        if (r_) return r_;   \
    } while (0)
#define STREAM(s)                                  \
    do {                                           \
        READY();                                   \
        result r_ = sim_stream_get(s, NULL, NULL); \
        if (r_) return r_;                         \
    } while (0)
#define WANT(p)                             \
    do {                                    \
        if (!(p)) return SIM_INVALID_VALUE; \
    } while (0)

// answer adds what an earlier kernel left, and gives codes that only the runtime has the driver's way.
static result answer(result r) {
    if (!r) r = simDeferred();
    return r == SIM_INVALID_CONFIGURATION ? SIM_INVALID_VALUE
           : r == SIM_INVALID_FUNCTION    ? SIM_INVALID_HANDLE
                                          : r;
}

// ---- Start, versions, errors, entry points

API result cuInit(unsigned flags) {
    if (flags) return SIM_INVALID_VALUE;
    sim_initialized = 1;
    return SIM_OK;
}
API result cuDriverGetVersion(int *v) {
    WANT(v);
    *v = 13000;
    return SIM_OK;
}
API result cuGetErrorName(result r, const char **s) {
    WANT(s);
    *s = sim_error_name(r, 1);
    return *s ? SIM_OK : SIM_INVALID_VALUE;
}
API result cuGetErrorString(result r, const char **s) {
    WANT(s);
    *s = sim_error_name(r, 1) ? sim_error_text(r) : NULL;
    return *s ? SIM_OK : SIM_INVALID_VALUE;
}
API result cuProfilerStart(void) { return SIM_OK; }
API result cuProfilerStop(void) { return SIM_OK; }

API result cuGetExportTable(const void **table, const void *id) {
    (void)id;
    if (table) *table = NULL;
    simSay(
        "cuGetExportTable: the program has the CUDA runtime linked into it, which needs NVIDIA's own driver; "
        "build it with nvcc -cudart shared");
    return SIM_NOT_SUPPORTED;
}

static const char *const renamed[][2] = {
#define STUB(name)
#define ALIAS(name, to)
#define RENAMED(name, to) {#name, #to},
#include "cuda.symbols.h"
#undef STUB
#undef ALIAS
#undef RENAMED
};

// The symbol that a name of the API stood for in a version of CUDA.
static const char *symbol_of(const char *name, int version) {
    static const struct {
        const char *name;
        int since;
        const char *before;
    } changed[] = {
        {"cuCtxCreate", 13000, "cuCtxCreate_v2"},
        {"cuMemPrefetchAsync", 13000, "cuMemPrefetchAsync"},
        {"cuMemAdvise", 13000, "cuMemAdvise"},
        {"cuGetProcAddress", 12000, "cuGetProcAddress"},
    };
    for (size_t i = 0; i < sizeof changed / sizeof *changed; i++)
        if (!strcmp(changed[i].name, name) && version < changed[i].since) return changed[i].before;
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++)
        if (!strcmp(renamed[i][0], name)) return renamed[i][1];
    return name;
}

API result cuGetProcAddress_v2(const char *name, void **f, int version, uint64_t flags, int *status) {
    (void)flags;
    WANT(name && f);
    Dl_info self;
    void *lib = dladdr((void *)cuInit, &self) ? dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD) : NULL;
    *f = lib ? dlsym(lib, symbol_of(name, version)) : NULL;
    if (status) *status = *f ? 0 : 1;
    return *f ? SIM_OK : SIM_NOT_FOUND;
}
API result cuGetProcAddress(const char *name, void **f, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, f, version, flags, NULL);
}

// ---- The device: there is one

#define DEVICE(d)                                         \
    do {                                                  \
        if (!sim_initialized) return SIM_NOT_INITIALIZED; \
        if (d) return SIM_INVALID_DEVICE;                 \
    } while (0)

API result cuDeviceGetCount(int *n) {
    DEVICE(0);
    WANT(n);
    *n = 1;
    return SIM_OK;
}
API result cuDeviceGet(int *d, int ordinal) {
    DEVICE(ordinal);
    WANT(d);
    *d = 0;
    return SIM_OK;
}
API result cuDeviceGetName(char *name, int n, int d) {
    DEVICE(d);
    WANT(name && n > 0);
    snprintf(name, (size_t)n, "%s", simDeviceName());
    return SIM_OK;
}
API result cuDeviceGetUuid_v2(char *uuid, int d) {
    DEVICE(d);
    WANT(uuid);
    memcpy(uuid, "stylize ptxsim\0", 16);
    return SIM_OK;
}
API result cuDeviceGetUuid(char *uuid, int d) { return cuDeviceGetUuid_v2(uuid, d); }
API result cuDeviceTotalMem_v2(size_t *n, int d) {
    DEVICE(d);
    WANT(n);
    size_t free;
    simMemInfo(&free, n);
    return SIM_OK;
}
API result cuDeviceGetAttribute(int *v, int what, int d) {
    DEVICE(d);
    WANT(v);
    return simAttribute(what, v);
}
API result cuDeviceComputeCapability(int *major, int *minor, int d) {
    DEVICE(d);
    WANT(major && minor);
    simAttribute(75, major);
    return simAttribute(76, minor);
}
API result cuDeviceCanAccessPeer(int *can, int a, int b) {
    DEVICE(a || b);
    WANT(can);
    *can = 0;
    return SIM_OK;
}

// ---- Contexts. All share the device's memory.

static unsigned primary_flags;

API result cuDevicePrimaryCtxRetain(void **c, int d) {
    DEVICE(d);
    WANT(c);
    *c = &sim_primary_context;
    return SIM_OK;
}
API result cuDevicePrimaryCtxRelease_v2(int d) {
    DEVICE(d);
    return SIM_OK;
}
API result cuDevicePrimaryCtxReset_v2(int d) {
    DEVICE(d);
    return SIM_OK;
}
API result cuDevicePrimaryCtxSetFlags_v2(int d, unsigned flags) {
    DEVICE(d);
    primary_flags = flags;
    return SIM_OK;
}
API result cuDevicePrimaryCtxGetState(int d, unsigned *flags, int *active) {
    DEVICE(d);
    WANT(flags && active);
    *flags = primary_flags, *active = 1;
    return SIM_OK;
}
API result cuCtxCreate_v2(void **c, unsigned flags, int d) {
    (void)flags;
    DEVICE(d);
    WANT(c);
    *c = malloc(1);
    return sim_context_push(*c);
}
API result cuCtxCreate_v3(void **c, void *affinity, int n, unsigned flags, int d) {
    (void)affinity, (void)n;
    return cuCtxCreate_v2(c, flags, d);
}
API result cuCtxCreate_v4(void **c, void *params, unsigned flags, int d) {
    (void)params;
    return cuCtxCreate_v2(c, flags, d);
}
API result cuCtxDestroy_v2(void *c) {
    WANT(c);
    if (c == sim_context()) sim_context_pop(NULL);
    return SIM_OK;  // the handle is not given to another context
}
API result cuCtxPushCurrent_v2(void *c) {
    WANT(c);
    return sim_context_push(c);
}
API result cuCtxPopCurrent_v2(void **c) { return sim_context_pop(c); }
API result cuCtxSetCurrent(void *c) {
    DEVICE(0);
    sim_context_set(c);
    return SIM_OK;
}
API result cuCtxGetCurrent(void **c) {
    DEVICE(0);
    WANT(c);
    *c = sim_context();
    return SIM_OK;
}
API result cuCtxGetDevice(int *d) {
    READY();
    WANT(d);
    *d = 0;
    return SIM_OK;
}
API result cuCtxGetDevice_v2(int *d, void *c) {
    WANT(d && c);
    *d = 0;
    return SIM_OK;
}
API result cuCtxGetFlags(unsigned *flags) {
    READY();
    WANT(flags);
    *flags = primary_flags;
    return SIM_OK;
}
API result cuCtxGetApiVersion(void *c, unsigned *v) {
    (void)c;
    WANT(v);
    *v = 3020;
    return SIM_OK;
}
API result cuCtxSynchronize(void) {
    READY();
    return answer(SIM_OK);
}
static size_t limits[8] = {1024, 1 << 20, 8 << 20, 2, 2048, 32, 0, 0};
API result cuCtxSetLimit(int limit, size_t value) {
    READY();
    WANT(limit >= 0 && limit <= 7);
    limits[limit] = value;
    return SIM_OK;
}
API result cuCtxGetLimit(size_t *value, int limit) {
    READY();
    WANT(value && limit >= 0 && limit <= 7);
    *value = limits[limit];
    return SIM_OK;
}
API result cuCtxSetCacheConfig(int c) {
    (void)c;
    return ready();
}
API result cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    READY();
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return SIM_OK;
}

// ---- Modules and functions. A library and its kernels are the same here.

static result load(char *call, void *image, void **module, char *log, size_t log_bytes) {
    READY();
    WANT(image && module);
    uint64_t h = 0;
    result r = simLoad(call, image, &h, log, log_bytes);
    *module = (void *)h;
    return answer(r);
}
API result cuModuleLoadData(void **module, void *image) { return load(NAME, image, module, NULL, 0); }
API result cuModuleLoadFatBinary(void **module, void *image) { return load(NAME, image, module, NULL, 0); }
API result cuModuleLoadDataEx(void **module, void *image, unsigned n, int *options, void **values) {
    enum { ERROR_LOG = 5, ERROR_LOG_BYTES = 6 };
    char *log = NULL;
    size_t bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        if (options[i] == ERROR_LOG) log = values[i];
        if (options[i] == ERROR_LOG_BYTES) bytes = (unsigned)(uintptr_t)values[i];
    }
    if (log && bytes) *log = 0;
    return load(NAME, image, module, log, bytes);
}
// The file's bytes stay: a module refers to its image until it is first used.
API result cuModuleLoad(void **module, const char *file) {
    enum { FILE_NOT_FOUND = 301 };
    READY();
    WANT(module && file);
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return FILE_NOT_FOUND;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return FILE_NOT_FOUND;
    }
    size_t n = (size_t)st.st_size;
    char *image = calloc(n + 64, 1);  // a text ends with zeros
    for (size_t at = 0; image && at < n;) {
        ssize_t k = read(fd, image + at, n - at);
        if (k <= 0) break;
        at += (size_t)k;
    }
    close(fd);
    return image ? load(NAME, image, module, NULL, 0) : SIM_OUT_OF_MEMORY;
}
API result cuModuleUnload(void *module) {
    READY();
    return answer(simUnload(ADDRESS(module)));
}
API result cuModuleGetFunction(void **f, void *module, const char *name) {
    READY();
    WANT(f && name);
    uint64_t h = 0;
    result r = simFunction(ADDRESS(module), (char *)name, &h);
    *f = (void *)h;
    return r;
}
API result cuModuleGetGlobal_v2(device_ptr *p, size_t *n, void *module, const char *name) {
    READY();
    WANT(name);
    uint64_t at = 0;
    size_t bytes = 0;
    result r = simGlobal(ADDRESS(module), (char *)name, &at, &bytes);
    if (p) *p = at;
    if (n) *n = bytes;
    return r;
}
API result cuModuleGetLoadingMode(int *mode) {
    *mode = 2;  // lazy
    return SIM_OK;
}
API result cuLibraryLoadData(void **library, void *code, int *jit, void **jit_values, unsigned jits,
                             int *options, void **values, unsigned n) {
    (void)jit, (void)jit_values, (void)jits, (void)options, (void)values, (void)n;
    return load(NAME, code, library, NULL, 0);
}
API result cuLibraryUnload(void *library) { return cuModuleUnload(library); }
API result cuLibraryGetModule(void **module, void *library) {
    WANT(module);
    *module = library;
    return SIM_OK;
}
API result cuLibraryGetKernel(void **kernel, void *library, const char *name) {
    return cuModuleGetFunction(kernel, library, name);
}
API result cuKernelGetFunction(void **f, void *kernel) {
    WANT(f);
    *f = kernel;
    return SIM_OK;
}
API result cuLibraryGetGlobal(device_ptr *p, size_t *n, void *library, const char *name) {
    return cuModuleGetGlobal_v2(p, n, library, name);
}

API result cuFuncGetAttribute(int *value, int what, void *f) {
    READY();
    WANT(value);
    sim_attributes a;
    result r = simFunctionAttributes(ADDRESS(f), &a);
    if (r) return answer(r);
    const int values[] = {a.max_threads, (int)a.shared, 0, (int)a.local,  a.registers,
                          a.ptx,         a.capability,  0, a.max_dynamic, -1};
    WANT(what >= 0 && what <= 15);
    *value = what < 10 ? values[what] : 0;
    return SIM_OK;
}
API result cuFuncSetAttribute(void *f, int what, int value) {
    enum { MAX_DYNAMIC = 8 };
    READY();
    return what == MAX_DYNAMIC ? answer(simSetDynamic(ADDRESS(f), value)) : SIM_OK;
}
API result cuKernelSetAttribute(int what, int value, void *f, int d) {
    DEVICE(d);
    return cuFuncSetAttribute(f, what, value);
}
API result cuFuncSetCacheConfig(void *f, int c) {
    (void)f, (void)c;
    return ready();
}
API result cuFuncGetName(const char **name, void *f) {
    WANT(name);
    *name = simFunctionName(ADDRESS(f));
    return *name ? SIM_OK : SIM_INVALID_HANDLE;
}
API result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void *f, int threads, size_t shared) {
    READY();
    WANT(blocks);
    return answer(simOccupancy(ADDRESS(f), threads, shared, blocks));
}
API result cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, void *f, int threads,
                                                                size_t shared, unsigned flags) {
    (void)flags;
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, f, threads, shared);
}

// ---- Launches

static result launch(char *call, sim_launch *l, void *f, void **args, void **extra, void *stream) {
    enum { END = 0, POINTER = 1, SIZE = 2 };
    STREAM(stream);
    l->function = ADDRESS(f), l->args = args;
    for (size_t i = 0; extra && extra[i] != (void *)END; i += 2) {
        if (extra[i] == (void *)POINTER) l->packed = extra[i + 1];
        if (extra[i] == (void *)SIZE) l->packed_bytes = *(size_t *)extra[i + 1];
    }
    result r = simLaunch(call, l);
    return r == SIM_INVALID_CONFIGURATION ? SIM_INVALID_VALUE
           : r == SIM_INVALID_FUNCTION    ? SIM_INVALID_HANDLE
                                          : r;
}
API result cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                          unsigned bz, unsigned shared, void *stream, void **args, void **extra) {
    sim_launch l = {.grid = {gx, gy, gz}, .block = {bx, by, bz}, .shared = shared};
    return launch(NAME, &l, f, args, extra, stream);
}
API result cuLaunchCooperativeKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                     unsigned bz, unsigned shared, void *stream, void **args) {
    sim_launch l = {.grid = {gx, gy, gz}, .block = {bx, by, bz}, .shared = shared, .cooperative = 1};
    return launch(NAME, &l, f, args, NULL, stream);
}
struct config {
    unsigned grid[3], block[3], shared;
    void *stream;
    sim_launch_attribute *attributes;
    unsigned count;
};
API result cuLaunchKernelEx(const struct config *c, void *f, void **args, void **extra) {
    WANT(c);
    sim_launch l = {.shared = c->shared};
    memcpy(l.grid, c->grid, sizeof l.grid);
    memcpy(l.block, c->block, sizeof l.block);
    sim_launch_set(&l, c->attributes, c->count);
    return launch(NAME, &l, f, args, extra, c->stream);
}
API result cuLaunchHostFunc(void *stream, void (*f)(void *), void *data) {
    STREAM(stream);
    f(data);
    return answer(SIM_OK);
}

// ---- Memory

API result cuMemAlloc_v2(device_ptr *p, size_t n) {
    READY();
    WANT(p && n);
    return answer(simMalloc("cuMemAlloc", n, p));
}
API result cuMemAllocAsync(device_ptr *p, size_t n, void *stream) {
    STREAM(stream);
    return cuMemAlloc_v2(p, n);
}
API result cuMemAllocPitch_v2(device_ptr *p, size_t *pitch, size_t width, size_t height, unsigned element) {
    (void)element;
    WANT(pitch);
    *pitch = (width + 511) / 512 * 512;
    return cuMemAlloc_v2(p, *pitch * height);
}
API result cuMemFree_v2(device_ptr p) {
    READY();
    return answer(simFree("cuMemFree", p));
}
API result cuMemFreeAsync(device_ptr p, void *stream) {
    STREAM(stream);
    return cuMemFree_v2(p);
}
API result cuMemAllocManaged(device_ptr *p, size_t n, unsigned flags) {
    (void)flags;
    READY();
    WANT(p && n);
    return answer(simMallocShared("cuMemAllocManaged", n, p));
}
API result cuMemHostAlloc(void **p, size_t n, unsigned flags) {
    (void)flags;
    READY();
    WANT(p && n);
    uint64_t at = 0;
    result r = simMallocShared("cuMemHostAlloc", n, &at);
    *p = (void *)at;
    return answer(r);
}
API result cuMemAllocHost_v2(void **p, size_t n) { return cuMemHostAlloc(p, n, 0); }
API result cuMemFreeHost(void *p) {
    READY();
    return answer(simFree("cuMemFreeHost", ADDRESS(p)));
}
API result cuMemHostRegister_v2(void *p, size_t n, unsigned flags) {
    (void)flags;
    READY();
    return answer(simHostRegister(ADDRESS(p), n));
}
API result cuMemHostUnregister(void *p) {
    READY();
    return answer(simHostUnregister(ADDRESS(p)));
}
API result cuMemHostGetDevicePointer_v2(device_ptr *p, void *host, unsigned flags) {
    (void)flags;
    READY();
    WANT(p);
    *p = simDevicePointer(ADDRESS(host));
    return *p ? SIM_OK : SIM_INVALID_VALUE;
}
API result cuMemGetInfo_v2(size_t *free, size_t *total) {
    READY();
    WANT(free && total);
    simMemInfo(free, total);
    return SIM_OK;
}
API result cuMemGetAddressRange_v2(device_ptr *base, size_t *n, device_ptr p) {
    READY();
    uint64_t b;
    size_t bytes;
    int shared;
    result r = simRange(p, &b, &bytes, &shared);
    if (r) return r;
    if (base) *base = b;
    if (n) *n = bytes;
    return SIM_OK;
}
API result cuPointerGetAttribute(void *out, int what, device_ptr p) {
    enum {
        CONTEXT = 1,
        MEMORY_TYPE,
        DEVICE_POINTER,
        HOST_POINTER,
        IS_MANAGED = 8,
        ORDINAL = 9,
        RANGE_START = 11,
        RANGE_SIZE,
        MAPPED
    };
    READY();
    WANT(out);
    uint64_t base;
    size_t bytes;
    int shared;
    if (simRange(p, &base, &bytes, &shared)) return SIM_INVALID_VALUE;
    switch (what) {
        case CONTEXT:
            *(void **)out = &sim_primary_context;
            break;
        case MEMORY_TYPE:
            *(unsigned *)out = shared == 2 ? 1 : 2;
            break;
        case DEVICE_POINTER:
            *(device_ptr *)out = p;
            break;
        case HOST_POINTER:
            if (!shared) return SIM_INVALID_VALUE;
            *(void **)out = (void *)p;
            break;
        case IS_MANAGED:
            *(char *)out = shared == 1;
            break;
        case ORDINAL:
            *(int *)out = 0;
            break;
        case RANGE_START:
            *(device_ptr *)out = base;
            break;
        case RANGE_SIZE:
            *(size_t *)out = bytes;
            break;
        case MAPPED:
            *(char *)out = 1;
            break;
        default:
            return simUnsupported("cuPointerGetAttribute of this attribute");
    }
    return SIM_OK;
}
API result cuMemPrefetchAsync(void) { return ready(); }
API result cuMemPrefetchAsync_v2(void) { return ready(); }
API result cuMemAdvise(void) { return ready(); }
API result cuMemAdvise_v2(void) { return ready(); }

// ---- Copies. The kinds are those of cudaMemcpyKind.

enum { TO_DEVICE = 1, TO_HOST, ON_DEVICE, ANY };

static result copy(char *call, uint64_t dst, uint64_t src, size_t n, int kind) {
    READY();
    return answer(simCopy(call, dst, src, n, kind));
}
API result cuMemcpy(device_ptr d, device_ptr s, size_t n) { return copy(NAME, d, s, n, ANY); }
API result cuMemcpyHtoD_v2(device_ptr d, const void *s, size_t n) {
    return copy("cuMemcpyHtoD", d, ADDRESS(s), n, TO_DEVICE);
}
API result cuMemcpyDtoH_v2(void *d, device_ptr s, size_t n) {
    return copy("cuMemcpyDtoH", ADDRESS(d), s, n, TO_HOST);
}
API result cuMemcpyDtoD_v2(device_ptr d, device_ptr s, size_t n) {
    return copy("cuMemcpyDtoD", d, s, n, ON_DEVICE);
}
API result cuMemcpyAsync(device_ptr d, device_ptr s, size_t n, void *stream) {
    STREAM(stream);
    return copy(NAME, d, s, n, ANY);
}
API result cuMemcpyHtoDAsync_v2(device_ptr d, const void *s, size_t n, void *stream) {
    STREAM(stream);
    return copy("cuMemcpyHtoDAsync", d, ADDRESS(s), n, TO_DEVICE);
}
API result cuMemcpyDtoHAsync_v2(void *d, device_ptr s, size_t n, void *stream) {
    STREAM(stream);
    return copy("cuMemcpyDtoHAsync", ADDRESS(d), s, n, TO_HOST);
}
API result cuMemcpyDtoDAsync_v2(device_ptr d, device_ptr s, size_t n, void *stream) {
    STREAM(stream);
    return copy("cuMemcpyDtoDAsync", d, s, n, ON_DEVICE);
}

struct side {
    size_t x, y;
    int type;  // 1 host, 2 device, 3 array, 4 unified
    void *host;
    device_ptr device;
    void *array;
    size_t pitch;
};
struct copy2d {
    struct side src, dst;
    size_t width, height;
};
API result cuMemcpy2D_v2(const struct copy2d *c) {
    enum { HOST = 1, ARRAY = 3 };
    READY();
    WANT(c);
    if (c->src.type == ARRAY || c->dst.type == ARRAY) return simUnsupported("cuMemcpy2D of arrays");
    size_t sp = c->src.pitch ? c->src.pitch : c->width, dp = c->dst.pitch ? c->dst.pitch : c->width;
    uint64_t src = c->src.type == HOST ? ADDRESS(c->src.host) : c->src.device,
             dst = c->dst.type == HOST ? ADDRESS(c->dst.host) : c->dst.device;
    result r = SIM_OK;
    for (size_t y = 0; y < c->height && !r; y++)
        r = simCopy("cuMemcpy2D", dst + (c->dst.y + y) * dp + c->dst.x, src + (c->src.y + y) * sp + c->src.x,
                    c->width, ANY);
    return answer(r);
}
API result cuMemcpy2DUnaligned_v2(const struct copy2d *c) { return cuMemcpy2D_v2(c); }
API result cuMemcpy2DAsync_v2(const struct copy2d *c, void *stream) {
    STREAM(stream);
    return cuMemcpy2D_v2(c);
}

#define SET(bits, type)                                                                             \
    API result cuMemsetD##bits##_v2(device_ptr p, type value, size_t n) {                           \
        READY();                                                                                    \
        return answer(n ? simSet("cuMemsetD" #bits, p, value, bits / 8, n) : SIM_OK);               \
    }                                                                                               \
    API result cuMemsetD##bits##Async(device_ptr p, type value, size_t n, void *stream) {           \
        STREAM(stream);                                                                             \
        return cuMemsetD##bits##_v2(p, value, n);                                                   \
    }                                                                                               \
    API result cuMemsetD2D##bits##_v2(device_ptr p, size_t pitch, type value, size_t w, size_t h) { \
        READY();                                                                                    \
        result r = SIM_OK;                                                                          \
        for (size_t y = 0; w && y < h && !r; y++)                                                   \
            r = simSet("cuMemsetD2D" #bits, p + y * pitch, value, bits / 8, w);                     \
        return answer(r);                                                                           \
    }
SET(8, unsigned char)
SET(16, unsigned short)
SET(32, unsigned)

// ---- Streams and events

API result cuStreamCreate(void **s, unsigned flags) {
    READY();
    return sim_stream_create(s, flags, 0);
}
API result cuStreamCreateWithPriority(void **s, unsigned flags, int priority) {
    READY();
    return sim_stream_create(s, flags, priority);
}
API result cuStreamDestroy_v2(void *s) {
    READY();
    return answer(sim_stream_destroy(s));
}
API result cuStreamSynchronize(void *s) {
    STREAM(s);
    return answer(SIM_OK);
}
API result cuStreamQuery(void *s) {
    STREAM(s);
    return answer(SIM_OK);
}
API result cuStreamGetFlags(void *s, unsigned *flags) {
    READY();
    return sim_stream_get(s, flags, NULL);
}
API result cuStreamGetPriority(void *s, int *priority) {
    READY();
    return sim_stream_get(s, NULL, priority);
}
API result cuStreamGetCtx(void *s, void **c) {
    STREAM(s);
    WANT(c);
    *c = sim_context();
    return SIM_OK;
}
API result cuStreamWaitEvent(void *s, void *e, unsigned flags) {
    (void)flags;
    STREAM(s);
    return answer(sim_event_wait(e));
}
API result cuStreamIsCapturing(void *s, int *status) {
    STREAM(s);
    WANT(status);
    *status = 0;
    return SIM_OK;
}
API result cuStreamAddCallback(void *s, void (*f)(void *, result, void *), void *data, unsigned flags) {
    STREAM(s);
    WANT(!flags);
    f(s, SIM_OK, data);
    return answer(SIM_OK);
}
API result cuEventCreate(void **e, unsigned flags) {
    READY();
    return sim_event_create(e, flags);
}
API result cuEventDestroy_v2(void *e) {
    READY();
    return sim_event_destroy(e);
}
API result cuEventRecord(void *e, void *s) {
    STREAM(s);
    return answer(sim_event_record(e));
}
API result cuEventRecordWithFlags(void *e, void *s, unsigned flags) {
    (void)flags;
    return cuEventRecord(e, s);
}
API result cuEventQuery(void *e) {
    READY();
    return answer(sim_event_wait(e));
}
API result cuEventSynchronize(void *e) {
    READY();
    return answer(sim_event_wait(e));
}
API result cuEventElapsedTime(float *ms, void *a, void *b) {
    READY();
    return sim_event_elapsed(ms, a, b);
}
API result cuEventElapsedTime_v2(float *ms, void *a, void *b) { return cuEventElapsedTime(ms, a, b); }

// ---- Tensor maps

API result cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *base, const uint64_t *dims,
                                  const uint64_t *strides, const unsigned *box, const unsigned *steps,
                                  int interleave, int swizzle, int l2, int fill) {
    (void)l2;
    DEVICE(0);
    WANT(map);
    return simTensorMap(map, type, rank, ADDRESS(base), (uint64_t *)dims, (uint64_t *)strides,
                        (uint32_t *)box, (uint32_t *)steps, interleave, swizzle, fill);
}
