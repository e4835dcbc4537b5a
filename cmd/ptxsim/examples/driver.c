// The driver API from plain C: PTX as a text, no compiler of NVIDIA's, no header.
//
//     gcc driver.c -o driver -L FOLDER -lcuda && ptxsim exec ./driver
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t CUdeviceptr;
int cuInit(unsigned);
int cuDeviceGet(int *, int);
int cuDeviceGetName(char *, int, int);
int cuDevicePrimaryCtxRetain(void **, int);
int cuCtxSetCurrent(void *);
int cuCtxSynchronize(void);
int cuModuleLoadData(void **, const void *);
int cuModuleGetFunction(void **, void *, const char *);
int cuMemAlloc_v2(CUdeviceptr *, size_t);
int cuMemFree_v2(CUdeviceptr);
int cuMemcpyHtoD_v2(CUdeviceptr, const void *, size_t);
int cuMemcpyDtoH_v2(void *, CUdeviceptr, size_t);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                   void **, void **);
int cuGetErrorName(int, const char **);

static const char ptx[] =
    ".version 7.0\n"
    ".target sm_80\n"
    ".address_size 64\n"
    ".visible .entry axpy(.param .u64 y, .param .u64 x, .param .f32 a) {\n"
    "  .reg .b32 %r; .reg .b64 %d<5>; .reg .f32 %f<4>;\n"
    "  mov.u32 %r, %tid.x;\n"
    "  mul.wide.u32 %d0, %r, 4;\n"
    "  ld.param.u64 %d1, [y]; ld.param.u64 %d2, [x]; ld.param.f32 %f0, [a];\n"
    "  add.u64 %d3, %d1, %d0; add.u64 %d4, %d2, %d0;\n"
    "  ld.global.f32 %f1, [%d3]; ld.global.f32 %f2, [%d4];\n"
    "  fma.rn.f32 %f3, %f0, %f2, %f1;\n"
    "  st.global.f32 [%d3], %f3;\n"
    "  ret;\n"
    "}\n";

#define CHECK(call)                                          \
    do {                                                     \
        int e_ = (call);                                     \
        if (e_) {                                            \
            const char *s_ = "?";                            \
            cuGetErrorName(e_, &s_);                         \
            fprintf(stderr, "%s: %s (%d)\n", #call, s_, e_); \
            return 3;                                        \
        }                                                    \
    } while (0)

// With an argument it launches more threads than the arrays have elements.
int main(int argc, char **argv) {
    enum { N = 64 };
    float x[N], y[N], a = 3;
    for (int i = 0; i < N; i++) x[i] = (float)i, y[i] = 1;
    char name[64];
    int device, threads = argc > 1 ? 2 * N : N;
    void *context, *module, *axpy;
    CUdeviceptr g_x, g_y;
    (void)argv;
    CHECK(cuInit(0));
    CHECK(cuDeviceGet(&device, 0));
    CHECK(cuDeviceGetName(name, sizeof name, device));
    CHECK(cuDevicePrimaryCtxRetain(&context, device));
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuModuleLoadData(&module, ptx));
    CHECK(cuModuleGetFunction(&axpy, module, "axpy"));
    CHECK(cuMemAlloc_v2(&g_x, sizeof x));
    CHECK(cuMemAlloc_v2(&g_y, sizeof y));
    CHECK(cuMemcpyHtoD_v2(g_x, x, sizeof x));
    CHECK(cuMemcpyHtoD_v2(g_y, y, sizeof y));
    void *args[] = {&g_y, &g_x, &a};
    CHECK(cuLaunchKernel(axpy, 1, 1, 1, (unsigned)threads, 1, 1, 0, NULL, args, NULL));
    CHECK(cuCtxSynchronize());
    CHECK(cuMemcpyDtoH_v2(y, g_y, sizeof y));
    CHECK(cuMemFree_v2(g_x));
    CHECK(cuMemFree_v2(g_y));
    for (int i = 0; i < N; i++)
        if (y[i] != 1 + 3 * (float)i) {
            printf("y[%d] is %g\n", i, y[i]);
            return 1;
        }
    printf("%s: right\n", name);
    return 0;
}
