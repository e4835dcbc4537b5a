// avgpool2x2_fwd, avgpool2x2_bwd: mean of 2x2 windows, stride 2, odd last row and column dropped.   streaming
// Maths    fwd  y[p,q,c] = (x[2p,2q] + x[2p,2q+1] + x[2p+1,2q] + x[2p+1,2q+1]) / 4
//          bwd  dx[h,w,c] = dy[h/2,w/2,c] / 4 inside the windows, 0 in a dropped row or column
// Layout   NHWC, T in {fp32, fp16, bf16}; h, w are those of x and dx
// Shapes   H, N <= 65535; W*C < 2^31
// Launch   256 threads over a row of the result; grid (ceil(W*C / 256), H, N) of the result
// Hazards  none: every thread owns its element
// Bound    memory: 5 sizeof(T) per element of y; neighbouring threads read neighbouring channels
// Oracle   ref.AvgPool2x2Fwd, ref.AvgPool2x2Bwd   Suite kerneltest
// ptx: sm_80
#include "types.cuh"

// Thread i has element (q, ch) of row p of y: a window is two neighbouring pixels of row 2p of x, at a, and those below,
// at b. Threads walk along channels, so that each of the four loads coalesces.
#define AVGPOOL2X2_FWD(T)                                                                                        \
    extern "C" __global__ __launch_bounds__(256) void avgpool2x2_fwd_##T(T* __restrict__ y,                      \
                                                                         const T* __restrict__ x, int h, int w,  \
                                                                         int c) {                                \
        int i = blockIdx.x * blockDim.x + threadIdx.x, p = blockIdx.y, n = blockIdx.z;                           \
        int row = w / 2 * c; /* elements of a row of y */                                                        \
        if (i >= row) return;                                                                                    \
        int q = i / c, ch = i - q * c;                                                                           \
        const T* a = x + ((size_t)n * h + 2 * p) * w * c + (size_t)2 * q * c + ch;                               \
        const T* b = a + (size_t)w * c;                                                                          \
        store(y + ((size_t)n * (h / 2) + p) * row + i, (load(a) + load(a + c) + load(b) + load(b + c)) * 0.25f); \
    }
FOR_EACH_TYPE(AVGPOOL2X2_FWD)

// Thread i has element (i / c, ch) of row y of dx. Four threads read the same element of dy, from the caches; in a
// dropped row or column there is none, and the gradient is 0.
#define AVGPOOL2X2_BWD(T)                                                                                        \
    extern "C" __global__ __launch_bounds__(256) void avgpool2x2_bwd_##T(T* __restrict__ dx,                     \
                                                                         const T* __restrict__ dy, int h, int w, \
                                                                         int c) {                                \
        int i = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y, n = blockIdx.z;                           \
        if (i >= w * c) return;                                                                                  \
        int q = i / c / 2, ch = i % c;                                                                           \
        float g = 0.f;                                                                                           \
        if (y / 2 < h / 2 && q < w / 2)                                                                          \
            g = load(dy + (((size_t)n * (h / 2) + y / 2) * (w / 2) + q) * c + ch) * 0.25f;                       \
        store(dx + ((size_t)n * h + y) * w * c + i, g);                                                          \
    }
FOR_EACH_TYPE(AVGPOOL2X2_BWD)
