// libcudart.so.12 and .13 (CUDART says which), over libptxsim. The types are those of
// cuda_runtime_api.h as far as a program can see them; no header of NVIDIA's is needed.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "../sim.h"

#define API __attribute__((visibility("default")))
#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))

typedef int error;
typedef void *stream;
typedef void *event;
typedef struct {
    unsigned x, y, z;
} dim3;

static __thread error last;

// Every call of the runtime makes the primary context current to a thread without one.
static void begin(void) {
    sim_initialized = 1;
    if (!sim_context()) sim_context_set(&sim_primary_context);
}

// answer notes an error for cudaGetLastError; what a kernel left comes with the next call.
static error answer(error e) {
    begin();
    if (!e) e = simDeferred();
    if (e) last = e;
    return e;
}

static error launched(error e) {
    begin();
    if (e) last = e;
    return e;
}

static error check_stream(stream s) { return sim_stream_get(s, NULL, NULL); }

// ---- Errors

API error cudaGetLastError(void) {
    error e = last ? last : simDeferred();
    last = 0;
    return e;
}
API error cudaPeekAtLastError(void) {
    if (!last) last = simDeferred();
    return last;
}
API const char *cudaGetErrorName(error e) {
    const char *s = sim_error_name(e, 0);
    return s ? s : "unrecognized error code";
}
API const char *cudaGetErrorString(error e) {
    const char *s = sim_error_text(e);
    return s ? s : "unrecognized error code";
}

// ---- What nvcc's code registers when the program starts

API void **__cudaRegisterFatBinary(void *image) { return (void **)(uintptr_t)simRegister(image); }
API void __cudaRegisterFatBinaryEnd(void **module) { (void)module; }
API void __cudaUnregisterFatBinary(void **module) { (void)module; }
API char __cudaInitModule(void **module) {
    simManaged(ADDRESS(module));
    return 1;
}
API void __cudaRegisterFunction(void **module, const char *host, char *device, const char *name, int threads,
                                void *tid, void *bid, void *block, void *grid, int *warp) {
    (void)device, (void)threads, (void)tid, (void)bid, (void)block, (void)grid, (void)warp;
    simRegisterFunction(ADDRESS(module), ADDRESS(host), (char *)name);
}
API void __cudaRegisterVar(void **module, char *host, char *device, const char *name, int ext, size_t bytes,
                           int constant, int global) {
    (void)device, (void)ext, (void)constant, (void)global;
    simRegisterVariable(ADDRESS(module), ADDRESS(host), (char *)name, bytes, NULL);
}
API void __cudaRegisterManagedVar(void **module, void **host, char *device, const char *name, int ext,
                                  size_t bytes, int constant, int global) {
    (void)device, (void)ext, (void)constant, (void)global;
    simRegisterVariable(ADDRESS(module), ADDRESS(host), (char *)name, bytes, host);
}

// ---- Launches

static __thread struct {
    dim3 grid, block;
    size_t shared;
    stream s;
} configured[16];
static __thread int depth;

API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, stream s) {
    if (depth == 16) return SIM_INVALID_CONFIGURATION;
    configured[depth].grid = grid, configured[depth].block = block;
    configured[depth].shared = shared, configured[depth++].s = s;
    return SIM_OK;
}
API error __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, stream *s) {
    if (!depth) return SIM_INVALID_CONFIGURATION;
    depth--;
    *grid = configured[depth].grid, *block = configured[depth].block;
    *shared = configured[depth].shared, *s = configured[depth].s;
    return SIM_OK;
}

static error launch(const char *call, const void *f, dim3 grid, dim3 block, void **args, size_t shared,
                    stream s, const sim_launch_attribute *attributes, unsigned count) {
    error e = check_stream(s);
    if (e) return launched(e);
    sim_launch l = {.function = ADDRESS(f),
                    .grid = {grid.x, grid.y, grid.z},
                    .block = {block.x, block.y, block.z},
                    .shared = shared,
                    .args = args};
    sim_launch_set(&l, attributes, count);
    return launched(simLaunch((char *)call, &l));
}

API error cudaLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared, stream s) {
    return launch("cudaLaunchKernel", f, grid, block, args, shared, s, NULL, 0);
}
API error __cudaGetKernel(void **kernel, const void *f) {
    *kernel = (void *)f;  // the stub is the handle
    return SIM_OK;
}
API error __cudaLaunchKernel(void *f, dim3 grid, dim3 block, void **args, size_t shared, stream s) {
    return launch("cudaLaunchKernel", f, grid, block, args, shared, s, NULL, 0);
}
API error cudaLaunchCooperativeKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared,
                                      stream s) {
    const sim_launch_attribute cooperative = {.id = SIM_COOPERATIVE, .value.flag = 1};
    return launch("cudaLaunchCooperativeKernel", f, grid, block, args, shared, s, &cooperative, 1);
}

typedef struct {
    dim3 grid, block;
    size_t shared;
    stream s;
    sim_launch_attribute *attributes;
    unsigned count;
} config;

API error cudaLaunchKernelExC(const config *c, const void *f, void **args) {
    if (!c) return launched(SIM_INVALID_VALUE);
    return launch("cudaLaunchKernelExC", f, c->grid, c->block, args, c->shared, c->s, c->attributes,
                  c->count);
}

API error cudaLaunchHostFunc(stream s, void (*f)(void *), void *data) {
    error e = check_stream(s);
    if (!e) f(data);
    return answer(e);
}
API error cudaStreamAddCallback(stream s, void (*f)(stream, error, void *), void *data, unsigned flags) {
    error e = flags ? SIM_INVALID_VALUE : check_stream(s);
    if (!e) f(s, SIM_OK, data);
    return answer(e);
}

// ---- Functions

API error cudaFuncSetAttribute(const void *f, int what, int value) {
    enum { MAX_DYNAMIC = 8 };
    return answer(what == MAX_DYNAMIC ? simSetDynamic(ADDRESS(f), value) : SIM_OK);
}
API error cudaFuncSetCacheConfig(const void *f, int c) {
    (void)f, (void)c;
    return answer(SIM_OK);
}
API error cudaFuncSetSharedMemConfig(const void *f, int c) {
    (void)f, (void)c;
    return answer(SIM_OK);
}
struct func_attributes {
    size_t shared, constant, local;
    int max_threads, registers, ptx, binary, cache, max_dynamic, carveout;
};
API error cudaFuncGetAttributes(struct func_attributes *out, const void *f) {
    sim_attributes a;
    error e = simFunctionAttributes(ADDRESS(f), &a);
    if (!e)
        *out = (struct func_attributes){.shared = a.shared,
                                        .local = a.local,
                                        .max_threads = a.max_threads,
                                        .registers = a.registers,
                                        .ptx = a.ptx,
                                        .binary = a.capability,
                                        .max_dynamic = a.max_dynamic,
                                        .carveout = -1};
    return answer(e);
}
API error cudaFuncGetName(const char **name, const void *f) {
    *name = simFunctionName(ADDRESS(f));
    return answer(*name ? SIM_OK : SIM_INVALID_FUNCTION);
}
API error cudaGetFuncBySymbol(void **f, const void *symbol) {
    *f = (void *)symbol;
    return answer(simFunctionName(ADDRESS(symbol)) ? SIM_OK : SIM_INVALID_FUNCTION);
}
API error cudaGetKernel(void **kernel, const void *f) { return cudaGetFuncBySymbol(kernel, f); }
API error cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *f, int threads,
                                                                 size_t shared, unsigned flags) {
    (void)flags;
    return answer(simOccupancy(ADDRESS(f), threads, shared, blocks));
}
API error cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *f, int threads,
                                                        size_t shared) {
    return answer(simOccupancy(ADDRESS(f), threads, shared, blocks));
}

// ---- Memory

API error cudaMalloc(void **p, size_t n) {
    uint64_t at = 0;
    if (!p) return answer(SIM_INVALID_VALUE);
    error e = n ? simMalloc("cudaMalloc", n, &at) : SIM_OK;
    *p = (void *)at;
    return answer(e);
}
API error cudaMallocAsync(void **p, size_t n, stream s) {
    error e = check_stream(s);
    return e ? answer(e) : cudaMalloc(p, n);
}
API error cudaMallocFromPoolAsync(void **p, size_t n, void *pool, stream s) {
    (void)pool;
    return cudaMallocAsync(p, n, s);
}
API error cudaFree(void *p) { return answer(simFree("cudaFree", ADDRESS(p))); }
API error cudaFreeAsync(void *p, stream s) {
    error e = check_stream(s);
    return e ? answer(e) : cudaFree(p);
}
API error cudaMallocPitch(void **p, size_t *pitch, size_t width, size_t height) {
    *pitch = (width + 511) / 512 * 512;
    return cudaMalloc(p, *pitch * height);
}
typedef struct {
    void *ptr;
    size_t pitch, xsize, ysize;
} pitched;
typedef struct {
    size_t width, height, depth;
} extent;
API error cudaMalloc3D(pitched *p, extent x) {
    p->xsize = x.width, p->ysize = x.height;
    return cudaMallocPitch(&p->ptr, &p->pitch, x.width, x.height * x.depth);
}

static error shared(const char *call, void **p, size_t n) {
    uint64_t at = 0;
    if (!p) return answer(SIM_INVALID_VALUE);
    error e = n ? simMallocShared((char *)call, n, &at) : SIM_INVALID_VALUE;
    *p = (void *)at;
    return answer(e);
}
API error cudaMallocManaged(void **p, size_t n, unsigned flags) {
    (void)flags;
    return shared("cudaMallocManaged", p, n);
}
API error cudaHostAlloc(void **p, size_t n, unsigned flags) {
    (void)flags;
    return shared("cudaHostAlloc", p, n);
}
API error cudaMallocHost(void **p, size_t n) { return shared("cudaMallocHost", p, n); }
API error cudaFreeHost(void *p) { return answer(simFree("cudaFreeHost", ADDRESS(p))); }
API error cudaHostRegister(void *p, size_t n, unsigned flags) {
    (void)flags;
    return answer(simHostRegister(ADDRESS(p), n));
}
API error cudaHostUnregister(void *p) { return answer(simHostUnregister(ADDRESS(p))); }
API error cudaHostGetDevicePointer(void **device, void *host, unsigned flags) {
    (void)flags;
    *device = (void *)simDevicePointer(ADDRESS(host));
    return answer(*device ? SIM_OK : SIM_INVALID_VALUE);
}
API error cudaHostGetFlags(unsigned *flags, void *host) {
    *flags = 2;  // mapped
    return answer(simDevicePointer(ADDRESS(host)) ? SIM_OK : SIM_INVALID_VALUE);
}
API error cudaMemGetInfo(size_t *free, size_t *total) {
    simMemInfo(free, total);
    return answer(SIM_OK);
}
// Managed memory is in one place: where it is wanted does not matter.
API error cudaMemPrefetchAsync(void) { return answer(SIM_OK); }
API error cudaMemPrefetchAsync_v2(void) { return answer(SIM_OK); }
API error cudaMemAdvise(void) { return answer(SIM_OK); }
API error cudaMemAdvise_v2(void) { return answer(SIM_OK); }
API error cudaStreamAttachMemAsync(void) { return answer(SIM_OK); }
API error cudaDeviceGetDefaultMemPool(void **pool, int device) {
    static char the;
    *pool = &the;
    return answer(device ? SIM_INVALID_DEVICE : SIM_OK);
}
API error cudaDeviceGetMemPool(void **pool, int device) { return cudaDeviceGetDefaultMemPool(pool, device); }
API error cudaMemPoolSetAttribute(void) { return answer(SIM_OK); }
API error cudaMemPoolTrimTo(void) { return answer(SIM_OK); }

struct pointer_attributes {
    int type, device;
    void *on_device, *on_host;
};
API error cudaPointerGetAttributes(struct pointer_attributes *a, const void *p) {
    enum { UNREGISTERED, HOST, DEVICE, MANAGED };
    uint64_t base, alias = simDevicePointer(ADDRESS(p));
    size_t n;
    int shared;
    memset(a, 0, sizeof *a);
    if (!simRange(ADDRESS(p), &base, &n, &shared)) {
        a->type = shared == 0 ? DEVICE : shared == 1 ? MANAGED : HOST;
        a->on_device = (void *)p;
        a->on_host = shared ? (void *)p : NULL;
    } else if (alias) {
        *a = (struct pointer_attributes){HOST, 0, (void *)alias, (void *)p};
    } else {
        *a = (struct pointer_attributes){UNREGISTERED, -2, NULL, (void *)p};
    }
    return answer(SIM_OK);
}

// ---- Copies

static error copy(const char *call, void *dst, const void *src, size_t n, int kind) {
    return answer(simCopy((char *)call, ADDRESS(dst), ADDRESS(src), n, kind));
}
static error copy2d(const char *call, void *dst, size_t dpitch, const void *src, size_t spitch, size_t width,
                    size_t height, int kind) {
    if (width > dpitch || width > spitch) return answer(12);  // cudaErrorInvalidPitchValue
    error e = SIM_OK;
    for (size_t y = 0; y < height && !e; y++)
        e = simCopy((char *)call, ADDRESS(dst) + y * dpitch, ADDRESS(src) + y * spitch, width, kind);
    return answer(e);
}
API error cudaMemcpy(void *dst, const void *src, size_t n, int kind) {
    return copy("cudaMemcpy", dst, src, n, kind);
}
API error cudaMemcpyAsync(void *dst, const void *src, size_t n, int kind, stream s) {
    error e = check_stream(s);
    return e ? answer(e) : copy("cudaMemcpyAsync", dst, src, n, kind);
}
API error cudaMemcpyPeer(void *dst, int to, const void *src, int from, size_t n) {
    return to || from ? answer(SIM_INVALID_DEVICE) : copy("cudaMemcpyPeer", dst, src, n, 3);
}
API error cudaMemcpy2D(void *dst, size_t dp, const void *src, size_t sp, size_t w, size_t h, int kind) {
    return copy2d("cudaMemcpy2D", dst, dp, src, sp, w, h, kind);
}
API error cudaMemcpy2DAsync(void *dst, size_t dp, const void *src, size_t sp, size_t w, size_t h, int kind,
                            stream s) {
    error e = check_stream(s);
    return e ? answer(e) : copy2d("cudaMemcpy2DAsync", dst, dp, src, sp, w, h, kind);
}
struct copy3d {
    void *src_array;
    size_t src_pos[3];
    pitched src;
    void *dst_array;
    size_t dst_pos[3];
    pitched dst;
    extent size;
    int kind;
};
API error cudaMemcpy3D(const struct copy3d *c) {
    if (c->src_array || c->dst_array) return answer(simUnsupported("cudaMemcpy3D of arrays"));
    error e = SIM_OK;
    for (size_t z = 0; z < c->size.depth && !e; z++)
        for (size_t y = 0; y < c->size.height && !e; y++)
            e = simCopy(
                "cudaMemcpy3D",
                ADDRESS(c->dst.ptr) +
                    ((z + c->dst_pos[2]) * c->dst.ysize + y + c->dst_pos[1]) * c->dst.pitch + c->dst_pos[0],
                ADDRESS(c->src.ptr) +
                    ((z + c->src_pos[2]) * c->src.ysize + y + c->src_pos[1]) * c->src.pitch + c->src_pos[0],
                c->size.width, c->kind);
    return answer(e);
}
API error cudaMemcpy3DAsync(const struct copy3d *c, stream s) {
    error e = check_stream(s);
    return e ? answer(e) : cudaMemcpy3D(c);
}
API error cudaMemset(void *p, int value, size_t n) {
    return answer(n ? simSet("cudaMemset", ADDRESS(p), (uint8_t)value, 1, n) : 0);
}
API error cudaMemsetAsync(void *p, int value, size_t n, stream s) {
    error e = check_stream(s);
    return e ? answer(e) : cudaMemset(p, value, n);
}
API error cudaMemset2D(void *p, size_t pitch, int value, size_t width, size_t height) {
    error e = width > pitch ? SIM_INVALID_VALUE : SIM_OK;
    for (size_t y = 0; y < height && width && !e; y++)
        e = simSet("cudaMemset2D", ADDRESS(p) + y * pitch, (uint8_t)value, 1, width);
    return answer(e);
}
API error cudaMemset2DAsync(void *p, size_t pitch, int value, size_t width, size_t height, stream s) {
    error e = check_stream(s);
    return e ? answer(e) : cudaMemset2D(p, pitch, value, width, height);
}
API error cudaMemset3D(pitched p, int value, extent x) {
    error e = SIM_OK;
    for (size_t z = 0; z < x.depth && !e; z++)
        e = cudaMemset2D((char *)p.ptr + z * p.ysize * p.pitch, p.pitch, value, x.width, x.height);
    return e;
}

// ---- Variables of the device

static error symbol(const void *v, size_t n, size_t offset, uint64_t *at) {
    size_t bytes;
    error e = simSymbol(ADDRESS(v), at, &bytes);
    if (!e && (offset > bytes || n > bytes - offset)) e = SIM_INVALID_VALUE;
    *at += offset;
    return e;
}
API error cudaMemcpyToSymbol(const void *v, const void *src, size_t n, size_t offset, int kind) {
    uint64_t at;
    error e = symbol(v, n, offset, &at);
    return e ? answer(e) : copy("cudaMemcpyToSymbol", (void *)at, src, n, kind);
}
API error cudaMemcpyFromSymbol(void *dst, const void *v, size_t n, size_t offset, int kind) {
    uint64_t at;
    error e = symbol(v, n, offset, &at);
    return e ? answer(e) : copy("cudaMemcpyFromSymbol", dst, (void *)at, n, kind);
}
API error cudaMemcpyToSymbolAsync(const void *v, const void *src, size_t n, size_t offset, int kind,
                                  stream s) {
    error e = check_stream(s);
    return e ? answer(e) : cudaMemcpyToSymbol(v, src, n, offset, kind);
}
API error cudaMemcpyFromSymbolAsync(void *dst, const void *v, size_t n, size_t offset, int kind, stream s) {
    error e = check_stream(s);
    return e ? answer(e) : cudaMemcpyFromSymbol(dst, v, n, offset, kind);
}
API error cudaGetSymbolAddress(void **p, const void *v) {
    uint64_t at;
    error e = symbol(v, 0, 0, &at);
    if (!e) *p = (void *)at;
    return answer(e);
}
API error cudaGetSymbolSize(size_t *n, const void *v) {
    uint64_t at;
    return answer(simSymbol(ADDRESS(v), &at, n));
}

// ---- Streams and events

API error cudaStreamCreateWithPriority(stream *s, unsigned flags, int priority) {
    return answer(sim_stream_create(s, flags, priority));
}
API error cudaStreamCreateWithFlags(stream *s, unsigned flags) {
    return answer(sim_stream_create(s, flags, 0));
}
API error cudaStreamCreate(stream *s) { return answer(sim_stream_create(s, 0, 0)); }
API error cudaStreamDestroy(stream s) { return answer(sim_stream_destroy(s)); }
API error cudaStreamSynchronize(stream s) { return answer(check_stream(s)); }
API error cudaStreamQuery(stream s) { return answer(check_stream(s)); }
API error cudaStreamGetFlags(stream s, unsigned *flags) { return answer(sim_stream_get(s, flags, NULL)); }
API error cudaStreamGetPriority(stream s, int *priority) { return answer(sim_stream_get(s, NULL, priority)); }
API error cudaStreamWaitEvent(stream s, event e, unsigned flags) {
    (void)flags;
    error r = check_stream(s);
    return answer(r ? r : sim_event_wait(e));
}
API error cudaStreamIsCapturing(stream s, int *status) {
    *status = 0;
    return answer(check_stream(s));
}
API error cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return answer(SIM_OK);
}
API error cudaEventCreateWithFlags(event *e, unsigned flags) { return answer(sim_event_create(e, flags)); }
API error cudaEventCreate(event *e) { return answer(sim_event_create(e, 0)); }
API error cudaEventDestroy(event e) { return answer(sim_event_destroy(e)); }
API error cudaEventRecord(event e, stream s) {
    error r = check_stream(s);
    return answer(r ? r : sim_event_record(e));
}
API error cudaEventRecordWithFlags(event e, stream s, unsigned flags) {
    (void)flags;
    return cudaEventRecord(e, s);
}
API error cudaEventQuery(event e) { return answer(sim_event_wait(e)); }
API error cudaEventSynchronize(event e) { return answer(sim_event_wait(e)); }
API error cudaEventElapsedTime(float *ms, event a, event b) { return answer(sim_event_elapsed(ms, a, b)); }
API error cudaEventElapsedTime_v2(float *ms, event a, event b) { return answer(sim_event_elapsed(ms, a, b)); }

// ---- The device

API error cudaGetDeviceCount(int *n) {
    *n = 1;
    return answer(SIM_OK);
}
API error cudaSetDevice(int d) { return answer(d ? SIM_INVALID_DEVICE : SIM_OK); }
API error cudaInitDevice(int d, unsigned flags, unsigned more) {
    (void)flags, (void)more;
    return cudaSetDevice(d);
}
API error cudaGetDevice(int *d) {
    *d = 0;
    return answer(SIM_OK);
}
API error cudaSetDeviceFlags(unsigned flags) {
    (void)flags;
    return answer(SIM_OK);
}
API error cudaGetDeviceFlags(unsigned *flags) {
    *flags = 0;
    return answer(SIM_OK);
}
API error cudaDeviceSynchronize(void) { return answer(SIM_OK); }
API error cudaThreadSynchronize(void) { return answer(SIM_OK); }
API error cudaDeviceReset(void) { return answer(SIM_OK); }
API error cudaThreadExit(void) { return answer(SIM_OK); }
API error cudaDeviceCanAccessPeer(int *can, int a, int b) {
    *can = 0;
    return answer(a || b ? SIM_INVALID_DEVICE : SIM_OK);
}
API error cudaDriverGetVersion(int *v) {
    *v = CUDART * 1000;
    return answer(SIM_OK);
}
API error cudaRuntimeGetVersion(int *v) {
    *v = CUDART * 1000;
    return answer(SIM_OK);
}
static size_t limits[8] = {1024, 1 << 20, 8 << 20, 2, 2048, 32, 0, 0};  // stack, printf, heap, …
API error cudaDeviceSetLimit(int limit, size_t value) {
    if (limit < 0 || limit > 7) return answer(SIM_INVALID_VALUE);
    limits[limit] = value;
    return answer(SIM_OK);
}
API error cudaDeviceGetLimit(size_t *value, int limit) {
    if (limit < 0 || limit > 7) return answer(SIM_INVALID_VALUE);
    *value = limits[limit];
    return answer(SIM_OK);
}
API error cudaDeviceSetCacheConfig(int c) {
    (void)c;
    return answer(SIM_OK);
}
API error cudaDeviceGetCacheConfig(int *c) {
    *c = 0;
    return answer(SIM_OK);
}
API error cudaDeviceSetSharedMemConfig(int c) {
    (void)c;
    return answer(SIM_OK);
}
API error cudaDeviceGetPCIBusId(char *id, int n, int device) {
    if (device || n < 13) return answer(device ? SIM_INVALID_DEVICE : SIM_INVALID_VALUE);
    strcpy(id, "0000:00:00.0");
    return answer(SIM_OK);
}
API error cudaProfilerStart(void) { return answer(SIM_OK); }
API error cudaProfilerStop(void) { return answer(SIM_OK); }

API error cudaDeviceGetAttribute(int *value, int what, int device) {
    return answer(device ? SIM_INVALID_DEVICE : simAttribute(what, value));
}

#if CUDART == 12
#define ONLY12(field) field
#else
#define ONLY12(field)
#endif

// cudaDeviceProp; what is named here is filled in.
struct properties {
    char name[256], uuid[16], luid[8];
    unsigned luid_mask;
    size_t total_global, shared_per_block;
    int registers_per_block, warp;
    size_t pitch;
    int threads_per_block, threads_dim[3], grid[3];
    ONLY12(int clock_rate;)
    size_t constant;
    int major, minor;
    size_t texture_alignment, texture_pitch;
    ONLY12(int overlap;)
    int multiprocessors;
    ONLY12(int timeout;)
    int integrated, map_host;
    ONLY12(int compute_mode;)
    int texture1d[2];
    ONLY12(int texture1d_linear;)
    int textures[23], surfaces[14];
    size_t surface_alignment;
    int concurrent, ecc, bus, pci, domain, tcc, engines, unified;
    ONLY12(int memory_clock;)
    int bus_width, l2, persisting, threads_per_multiprocessor, priorities, l1_global, l1_local;
    size_t shared_per_multiprocessor;
    int registers_per_multiprocessor, managed, multi_board, board_group, native_atomics;
    ONLY12(int ratio;)
    int pageable, concurrent_managed, preemption, host_pointer, cooperative;
    ONLY12(int cooperative_multi;)
    size_t shared_optin;
    int page_tables, direct_managed, blocks_per_multiprocessor, window;
    size_t reserved_shared;
    int host_register, sparse, register_read_only, timeline, pools, rdma;
    unsigned rdma_flush;
    int rdma_order;
    unsigned pool_handles;
    int deferred_arrays, ipc, cluster, unified_functions;
#if CUDART == 12
    int reserved[63];
#else
    int numa[4];
    unsigned pci_id[2];
    int multinode, reserved[56];
#endif
};

static int fact(int attribute) {
    int v = 0;
    simAttribute(attribute, &v);
    return v;
}

#if CUDART == 12
API error cudaGetDeviceProperties_v2(struct properties *p, int device) {
#else
API error cudaGetDeviceProperties(struct properties *p, int device) {
#endif
    if (device) return answer(SIM_INVALID_DEVICE);
    size_t free;
    memset(p, 0, sizeof *p);
    strncpy(p->name, simDeviceName(), sizeof p->name - 1);
    memcpy(p->uuid, "stylize ptxsim", 15);
    simMemInfo(&free, &p->total_global);
    p->threads_per_block = fact(1);
    for (int i = 0; i < 3; i++) p->threads_dim[i] = fact(2 + i), p->grid[i] = fact(5 + i);
    p->shared_per_block = (size_t)fact(8), p->constant = (size_t)fact(9), p->warp = fact(10),
    p->pitch = (size_t)fact(11);
    p->registers_per_block = fact(12), p->texture_alignment = (size_t)fact(14),
    p->texture_pitch = (size_t)fact(51);
    p->surface_alignment = 512;
    ONLY12(p->clock_rate = fact(13); p->overlap = fact(15); p->memory_clock = fact(36); p->ratio = fact(87);)
    p->multiprocessors = fact(16), p->map_host = fact(19), p->concurrent = fact(31), p->bus_width = fact(37),
    p->l2 = fact(38);
    p->threads_per_multiprocessor = fact(39), p->engines = fact(40), p->unified = fact(41),
    p->major = fact(75), p->minor = fact(76);
    p->priorities = fact(78), p->l1_global = fact(79), p->l1_local = fact(80),
    p->shared_per_multiprocessor = (size_t)fact(81);
    p->registers_per_multiprocessor = fact(82), p->managed = fact(83), p->concurrent_managed = fact(89),
    p->cooperative = fact(95);
    p->shared_optin = (size_t)fact(97), p->host_register = fact(99), p->blocks_per_multiprocessor = fact(106);
    p->reserved_shared = (size_t)fact(111), p->pools = fact(115), p->cluster = fact(120);
    return answer(SIM_OK);
}

// What it returns is a struct, so a stub would not do, though there are no textures.
struct channel {
    int x, y, z, w, kind;
};
API struct channel cudaCreateChannelDesc(int x, int y, int z, int w, int kind) {
    return (struct channel){x, y, z, w, kind};
}

API error cudaChooseDevice(int *device, const void *wanted) {
    (void)wanted;
    *device = 0;
    return answer(SIM_OK);
}

// ---- The driver's functions, from libcuda

API error cudaGetDriverEntryPointByVersion(const char *name, void **f, unsigned version,
                                           unsigned long long flags, int *status) {
    int (*find)(const char *, void **, int, uint64_t, int *) = NULL;
    void *lib = dlopen("libcuda.so.1", RTLD_NOW);
    *f = NULL;
    if (lib) *(void **)&find = dlsym(lib, "cuGetProcAddress_v2");
    if (!find || find(name, f, (int)version, flags, NULL)) *f = NULL;
    if (status) *status = *f ? 0 : 1;
    return answer(*f || status ? SIM_OK : SIM_NOT_FOUND);
}
API error cudaGetDriverEntryPoint(const char *name, void **f, unsigned long long flags, int *status) {
    return cudaGetDriverEntryPointByVersion(name, f, CUDART * 1000, flags, status);
}
