// Calls that fail, each with the error that CUDA has for it. With a number it ends with
// that; with another argument it reads the device's memory as if it were the host's.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cudaMalloc(void **, size_t), cudaFree(void *), cudaMemcpy(void *, const void *, size_t, int),
    cudaMemset(void *, int, size_t);
int cudaMemcpy2D(void *, size_t, const void *, size_t, size_t, size_t, int),
    cudaMallocPitch(void **, size_t *, size_t, size_t);
int cudaGraphCreate(void **, unsigned), cudaGetLastError(void), cudaPeekAtLastError(void), cudaSetDevice(int);
int cudaStreamCreate(void **), cudaStreamDestroy(void *), cudaStreamSynchronize(void *),
    cudaMallocManaged(void **, size_t, unsigned);
int cudaEventCreate(void **), cudaEventRecord(void *, void *), cudaEventElapsedTime(float *, void *, void *);
int cudaHostRegister(void *, size_t, unsigned), cudaHostGetDevicePointer(void **, void *, unsigned),
    cudaHostUnregister(void *);
int cudaMemGetInfo(size_t *, size_t *), cudaDeviceSynchronize(void), cudaHostAlloc(void **, size_t, unsigned),
    cudaFreeHost(void *);
int cudaGetDriverEntryPoint(const char *, void **, unsigned long long, int *);
const char *cudaGetErrorName(int);
int cuInit(unsigned), cuCtxGetCurrent(void **), cuCtxSetCurrent(void *), cuMemAlloc_v2(uint64_t *, size_t),
    cuTexRefCreate(void **);
int cuModuleLoadData(void **, const void *), cuModuleGetFunction(void **, void *, const char *),
    cuDevicePrimaryCtxRetain(void **, int);
int cuModuleLoadDataEx(void **, const void *, unsigned, int *, void **),
    cuModuleGetGlobal_v2(uint64_t *, size_t *, void *, const char *);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                   void **, void **);
int cuGetProcAddress_v2(const char *, void **, int, uint64_t, int *),
    cuMemsetD32_v2(uint64_t, unsigned, size_t);
int cuTensorMapEncodeTiled(void *, int, unsigned, void *, const uint64_t *, const uint64_t *,
                           const unsigned *, const unsigned *, int, int, int, int);
int cuModuleLoad(void **, const char *), cuModuleUnload(void *);

static int failed;
#define GIVES(code, call)                                                         \
    do {                                                                          \
        int e_ = (call);                                                          \
        if (e_ != (code)) {                                                       \
            printf("line %d: %s gives %d, want %d\n", __LINE__, #call, e_, code); \
            failed = 1;                                                           \
        }                                                                         \
    } while (0)
#define TRUE(what) GIVES(1, !!(what))

static const char ptx[] =
    ".version 7.0\n.target sm_80\n.address_size 64\n"
    ".global .u32 number = 7;\n"
    ".visible .entry good(.param .u64 p, .param .u32 v) { .reg .b64 %p; .reg .b32 %v; ld.param.u64 %p, [p]; "
    "ld.param.u32 %v, [v]; st.global.u32 [%p], %v; ret; }\n"
    ".visible .entry odd(.param .texref t) { ret; }\n";

int main(int argc, char **argv) {
    if (argc > 1 && atoi(argv[1])) return atoi(argv[1]);
    enum { TO_DEVICE = 1, TO_HOST, ON_DEVICE, DEFAULT };
    void *p, *q, *stream, *a, *b, *context, *module, *good, *odd, *f;
    uint64_t d;
    size_t n, total;
    char host[256] = "text", back[256];
    float ms;

    // The driver before it is ready.
    GIVES(3, cuMemAlloc_v2(&d, 64));
    GIVES(0, cuInit(0));
    GIVES(201, cuMemAlloc_v2(&d, 64));
    GIVES(0, cuDevicePrimaryCtxRetain(&context, 0));
    GIVES(0, cuCtxSetCurrent(context));
    GIVES(0, cuMemAlloc_v2(&d, 64));
    GIVES(0, cuMemsetD32_v2(d, 0x01020304, 16));
    GIVES(1, cuMemsetD32_v2(d + 2, 0, 1));

    // Memory and copies.
    GIVES(0, cudaMalloc(&p, 64));
    if (argc > 1) return *(volatile int *)p;
    GIVES(0, cudaMemcpy(p, host, 64, TO_DEVICE));
    GIVES(0, cudaMemcpy(back, p, 64, DEFAULT));
    TRUE(!memcmp(host, back, 64));
    GIVES(1, cudaMemcpy(p, host, 65, TO_DEVICE));
    GIVES(1, cudaPeekAtLastError());
    GIVES(1, cudaGetLastError());
    GIVES(0, cudaGetLastError());
    GIVES(1, cudaMemcpy(host, back, 4, TO_DEVICE));
    GIVES(1, cudaMemcpy(p, (void *)16, 4, TO_DEVICE));
    GIVES(1, cudaMemcpy(p, (void *)0x123450, 4, TO_DEVICE));
    GIVES(1, cudaMemcpy(back, host, 4, 9));
    GIVES(0, cudaMemset(p, 5, 64));
    GIVES(1, cudaMemset(p, 5, 65));
    GIVES(0, cudaMemcpy(back, p, 64, TO_HOST));
    TRUE(back[0] == 5 && back[63] == 5);
    GIVES(0, cudaMallocPitch(&q, &n, 100, 3));
    TRUE(n == 512);
    GIVES(0, cudaMemcpy2D(q, n, host, 80, 80, 3, TO_DEVICE));
    GIVES(0, cudaMemcpy2D(back, 80, q, n, 80, 3, TO_HOST));
    TRUE(!memcmp(host, back, 240));
    GIVES(12, cudaMemcpy2D(q, n, host, 79, 80, 3, TO_DEVICE));
    GIVES(0, cudaFree(q));
    GIVES(1, cudaFree(q));
    GIVES(1, cudaFree(host));
    GIVES(0, cudaFree(NULL));
    GIVES(2, cudaMalloc(&q, (size_t)1 << 40));
    GIVES(0, cudaMemGetInfo(&n, &total));
    TRUE(n == total - 128);
    GIVES(0, cudaHostRegister(host, sizeof host, 0));
    GIVES(0, cudaHostGetDevicePointer(&q, host, 0));
    GIVES(0, cudaMemset(q, 'x', 3));
    TRUE(!strncmp(host, "xxxt", 4));
    GIVES(0, cudaHostUnregister(host));
    GIVES(1, cudaHostUnregister(host));
    GIVES(0, cudaHostAlloc(&q, 5000, 0));
    memcpy(q, "pinned", 7);
    GIVES(0, cudaMemcpy(p, q, 7, TO_DEVICE));
    GIVES(0, cudaMemcpy(back, p, 7, TO_HOST));
    TRUE(!strcmp(back, "pinned"));
    GIVES(0, cudaFreeHost(q));

    // Streams, events, devices.
    GIVES(0, cudaStreamCreate(&stream));
    GIVES(0, cudaStreamSynchronize(stream));
    GIVES(0, cudaStreamDestroy(stream));
    GIVES(400, cudaStreamDestroy(NULL));
    GIVES(0, cudaEventCreate(&a));
    GIVES(0, cudaEventCreate(&b));
    GIVES(400, cudaEventElapsedTime(&ms, a, b));
    GIVES(0, cudaEventRecord(a, NULL));
    GIVES(0, cudaEventRecord(b, NULL));
    GIVES(0, cudaEventElapsedTime(&ms, a, b));
    TRUE(ms >= 0);
    GIVES(101, cudaSetDevice(1));
    cudaGetLastError();

    // Calls that are not there; entry points.
    GIVES(801, cudaGraphCreate(&q, 0));
    GIVES(801, cudaGraphCreate(&q, 0));
    GIVES(801, cuTexRefCreate(&q));
    TRUE(!strcmp(cudaGetErrorName(801), "cudaErrorNotSupported"));
    GIVES(0, cuGetProcAddress_v2("cuMemAlloc", &f, 12000, 0, NULL));
    TRUE(f == (void *)cuMemAlloc_v2);
    GIVES(500, cuGetProcAddress_v2("cuNothing", &f, 12000, 0, NULL));
    int status;
    GIVES(0, cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &f, 0, &status));
    TRUE(f == (void *)cuTensorMapEncodeTiled && status == 0);
    GIVES(0, cudaGetDriverEntryPoint("cuNothing", &f, 0, &status));
    TRUE(f == NULL && status == 1);
    uint64_t dims[] = {64, 8}, strides[] = {128};
    unsigned box[] = {64, 8}, steps[] = {1, 1};
    char map[128] __attribute__((aligned(64)));
    GIVES(0, cuTensorMapEncodeTiled(map, 6, 2, (void *)d, dims, strides, box, steps, 0, 3, 0, 0));
    strides[0] = 8;
    GIVES(1, cuTensorMapEncodeTiled(map, 6, 2, (void *)d, dims, strides, box, steps, 0, 3, 0, 0));

    // Modules: one kernel runs, one is refused; what cannot be read at all.
    GIVES(0, cuModuleLoadData(&module, "\x50\xed\x55\xba\x01\x00\x10\x00\0\0\0\0\0\0\0") == 209
                 ? 0
                 : 1);  // a fat binary with nothing in it
    char log[300] = "";
    int options[] = {5, 6};
    void *values[] = {log, (void *)sizeof log};
    GIVES(218,
          cuModuleLoadDataEx(&module, ".version 7.0\n.target sm_80\n.address_size 64\n.global nothing;\n", 2,
                             options, values));
    TRUE(strstr(log, "declaration without a type"));
    GIVES(301, cuModuleLoad(&module, "/nowhere.ptx"));
    GIVES(0, cuModuleLoadData(&module, ptx));
    GIVES(500, cuModuleGetFunction(&good, module, "better"));
    GIVES(0, cuModuleGetFunction(&good, module, "good"));
    GIVES(0, cuModuleGetFunction(&odd, module, "odd"));
    GIVES(0, cuModuleGetGlobal_v2(&d, &n, module, "number"));
    GIVES(0, cudaMemcpy(back, (void *)d, n, TO_HOST));
    TRUE(n == 4 && back[0] == 7);
    unsigned v = 42;
    void *args[] = {&p, &v};
    GIVES(0, cuLaunchKernel(good, 1, 1, 1, 1, 1, 1, 0, NULL, args, NULL));
    GIVES(0, cudaMemcpy(back, p, 4, TO_HOST));
    TRUE(back[0] == 42);
    struct {
        void *p;
        unsigned v;
    } packed = {p, 43};
    size_t bytes = sizeof packed;
    void *extra[] = {(void *)1, &packed, (void *)2, &bytes, NULL};
    GIVES(0, cuLaunchKernel(good, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra));
    GIVES(0, cudaMemcpy(back, p, 4, TO_HOST));
    TRUE(back[0] == 43);
    GIVES(1, cuLaunchKernel(good, 1, 1, 1, 2000, 1, 1, 0, NULL, args, NULL));
    GIVES(1, cuLaunchKernel(good, 0, 1, 1, 1, 1, 1, 0, NULL, args, NULL));
    GIVES(1, cuLaunchKernel(good, 1, 1, 1, 1, 1, 1, 50000, NULL, args, NULL));
    GIVES(400, cuLaunchKernel(host, 1, 1, 1, 1, 1, 1, 0, NULL, args, NULL));
    GIVES(801, cuLaunchKernel(odd, 1, 1, 1, 1, 1, 1, 0, NULL, args, NULL));
    GIVES(801, cuLaunchKernel(odd, 1, 1, 1, 1, 1, 1, 0, NULL, args, NULL));
    void *none = NULL;
    args[0] = &none;  // an error of the kernel comes with the next call
    GIVES(0, cuLaunchKernel(good, 1, 1, 1, 1, 1, 1, 0, NULL, args, NULL));
    GIVES(700, cudaDeviceSynchronize());
    GIVES(0, cudaDeviceSynchronize());
    GIVES(0, cuModuleUnload(module));
    GIVES(400, cuModuleUnload(module));
    if (!failed) printf("all as expected\n");
    return failed;
}
