// maxpool2x2_fwd, maxpool2x2_bwd: maximum of 2x2 windows, stride 2, odd last row and column dropped.   streaming
// Maths    fwd  y[p,q,c] = max of x[2p,2q,c], x[2p,2q+1,c], x[2p+1,2q,c], x[2p+1,2q+1,c]; a NaN wins
//          bwd  dx = dy at the first maximum of each window in this order, 0 elsewhere and in a dropped row or column
// Layout   NHWC, T in {fp32, fp16, bf16}; h, w are those of x and dx
// Shapes   H, N <= 65535; W*C < 2^31
// Launch   256 threads over a row of the result; grid (ceil(W*C / 256), H, N) of the result
// Hazards  none: every thread owns its element
// Bound    memory: fwd 5 sizeof(T) per element of y, bwd 9; neighbouring threads read neighbouring channels
// Oracle   ref.MaxPool2x2Fwd, ref.MaxPool2x2Bwd   Suite kerneltest
// ptx: sm_80
#include "types.cuh"

// The first maximum of a window whose upper left value is at x, row elements above the lower left one: which of the four
// it is, and its value. A NaN counts as larger than any number.
template <class T>
__device__ __forceinline__ int first_max(const T* x, size_t row, int c, float& most) {
    const float v[4] = {load(x), load(x + c), load(x + row), load(x + row + c)};
    int where = 0;
    most = v[0];
#pragma unroll
    for (int i = 1; i < 4; i++)
        if (v[i] > most || v[i] != v[i]) where = i, most = v[i];
    return where;
}

// Thread i has element (q, ch) of row p of y. Threads walk along channels, so that each of the four loads coalesces.
#define MAXPOOL2X2_FWD(T)                                                                                        \
    extern "C" __global__ __launch_bounds__(256) void maxpool2x2_fwd_##T(T* __restrict__ y,                      \
                                                                         const T* __restrict__ x, int h, int w,  \
                                                                         int c) {                                \
        int i = blockIdx.x * blockDim.x + threadIdx.x, p = blockIdx.y, n = blockIdx.z;                           \
        int row = w / 2 * c; /* elements of a row of y */                                                        \
        if (i >= row) return;                                                                                    \
        int q = i / c, ch = i - q * c;                                                                           \
        float most;                                                                                              \
        first_max(x + (((size_t)n * h + 2 * p) * w + 2 * q) * c + ch, (size_t)w * c, c, most);                   \
        store(y + ((size_t)n * (h / 2) + p) * row + i, most);                                                    \
    }
FOR_EACH_TYPE(MAXPOOL2X2_FWD)

// Thread i has element (i / c, ch) of row y of dx. The four threads of a window read the same values, from the caches,
// and the one whose place the maximum is at takes the gradient.
#define MAXPOOL2X2_BWD(T)                                                                                        \
    extern "C" __global__ __launch_bounds__(256) void maxpool2x2_bwd_##T(                                        \
        T* __restrict__ dx, const T* __restrict__ dy, const T* __restrict__ x, int h, int w, int c) {            \
        int i = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y, n = blockIdx.z;                           \
        if (i >= w * c) return;                                                                                  \
        int column = i / c, ch = i - column * c, p = y / 2, q = column / 2;                                      \
        float g = 0.f, most;                                                                                     \
        if (p < h / 2 && q < w / 2) {                                                                            \
            const T* window = x + (((size_t)n * h + 2 * p) * w + 2 * q) * c + ch;                                \
            if (first_max(window, (size_t)w * c, c, most) == (y & 1) * 2 + (column & 1))                         \
                g = load(dy + (((size_t)n * (h / 2) + p) * (w / 2) + q) * c + ch);                               \
        }                                                                                                        \
        store(dx + ((size_t)n * h + y) * w * c + i, g);                                                          \
    }
FOR_EACH_TYPE(MAXPOOL2X2_BWD)
