// normalize_fwd, normalize_bwd: the network's input from a picture, and back.               streaming
// Maths    fwd  y = (x - mean[c]) / std[c]      bwd  dx = dy / S / std[c]      divisions rounded to nearest
// Layout   NHWC, any C; the picture's side is fp32, the network's T; mean, std (C); S the loss scale of a picture, a power of two
// Shapes   N*H*W*C < 2^32 (a picture has 3 channels)
// Launch   256 threads; grid ceil(elems / 256); bwd: elems are a picture's, grid (ceil(elems / 256), N)
// Bound    memory: 4 + sizeof(T) B per element
// Oracle   ref.NormalizeFwd, ref.NormalizeBwd   Suite kerneltest
// ptx: sm_80
#include "types.cuh"

// Thread i has element i, whose channel is i % c: the innermost extent is the channels.
#define NORMALIZE_FWD(T)                                                                                         \
    extern "C" __global__ __launch_bounds__(256) void normalize_fwd_##T(                                         \
        T* __restrict__ y, const float* __restrict__ x, const float* __restrict__ mean,                          \
        const float* __restrict__ std, unsigned c, unsigned elems) {                                             \
        unsigned i = blockIdx.x * blockDim.x + threadIdx.x;                                                      \
        if (i >= elems) return;                                                                                  \
        unsigned ch = i % c;                                                                                     \
        store(y + i, (x[i] - mean[ch]) / std[ch]);                                                               \
    }
FOR_EACH_TYPE(NORMALIZE_FWD)

// The loss scale ends here: pixels have the gradient itself. S is a power of two, so that this division is exact.
#define NORMALIZE_BWD(T)                                                                                         \
    extern "C" __global__ __launch_bounds__(256) void normalize_bwd_##T(                                         \
        float* __restrict__ dx, const T* __restrict__ dy, const float* __restrict__ std,                         \
        const float* __restrict__ scale, unsigned c, unsigned elems) {                                           \
        unsigned i = blockIdx.x * blockDim.x + threadIdx.x;                                                      \
        size_t at = (size_t)blockIdx.y * elems + i;                                                              \
        if (i < elems) dx[at] = load(dy + at) / scale[blockIdx.y] / std[i % c];                                  \
    }
FOR_EACH_TYPE(NORMALIZE_BWD)
