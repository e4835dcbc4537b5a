// relu_fwd, relu_bwd, add, mul, mse_bwd: one element per thread, any shape.                         streaming
// Maths    relu_fwd  y = x < 0 ? 0 : x (a NaN stays one)      relu_bwd  dx = y > 0 ? dy : 0
//          add       y = a + b                               mse_bwd   da[n] = k weight[n] S[n] (a[n] - b[n]), k = 2 / elements
//          mul       y = x mask, of which a pixel of c channels has one
// Layout   dense, T in {fp32, fp16, bf16}; mse_bwd: elems are a picture's, and b may hold one picture for all;
//          S is the loss scale of a picture, weight[n] one in so many columns
// Launch   256 threads; grid ceil(elems / 256); mse_bwd: (ceil(elems / 256), N)
// Hazards  none: every thread owns its element
// Bound    memory: 2 to 3 sizeof(T) per element
// Oracle   ref.ReLUFwd, ref.ReLUBwd, ref.Add, ref.Mul, ref.MSEBwd   Suite kerneltest
// ptx: sm_80
#include "params.cuh"
#include "types.cuh"

// Neighbouring threads have neighbouring elements: every access coalesces. A batch of feature maps may pass 2^32.
__device__ __forceinline__ unsigned long long element() {
    return (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
}

// A NaN is not below 0, and stays.
#define RELU_FWD(T)                                                                                              \
    extern "C" __global__ __launch_bounds__(256) void relu_fwd_##T(T* __restrict__ y, const T* __restrict__ x,   \
                                                                   unsigned long long elems) {                   \
        unsigned long long i = element();                                                                        \
        if (i >= elems) return;                                                                                  \
        float v = load(x + i);                                                                                   \
        store(y + i, v < 0.f ? 0.f : v);                                                                         \
    }
FOR_EACH_TYPE(RELU_FWD)

#define RELU_BWD(T)                                                                                              \
    extern "C" __global__ __launch_bounds__(256) void relu_bwd_##T(T* __restrict__ dx, const T* __restrict__ dy, \
                                                                   const T* __restrict__ y,                      \
                                                                   unsigned long long elems) {                   \
        unsigned long long i = element();                                                                        \
        if (i < elems) store(dx + i, load(y + i) > 0.f ? load(dy + i) : 0.f);                                    \
    }
FOR_EACH_TYPE(RELU_BWD)

#define ADD(T)                                                                                                   \
    extern "C" __global__ __launch_bounds__(256) void add_##T(T* __restrict__ y, const T* __restrict__ a,        \
                                                              const T* __restrict__ b, unsigned long long elems) { \
        unsigned long long i = element();                                                                        \
        if (i < elems) store(y + i, load(a + i) + load(b + i));                                                  \
    }
FOR_EACH_TYPE(ADD)

#define MUL(T)                                                                                                   \
    extern "C" __global__ __launch_bounds__(256) void mul_##T(T* __restrict__ y, const T* __restrict__ x,        \
                                                              const float* __restrict__ mask, unsigned c,        \
                                                              unsigned long long elems) {                        \
        unsigned long long i = element();                                                                        \
        if (i < elems) store(y + i, load(x + i) * mask[i / c]);                                                  \
    }
FOR_EACH_TYPE(MUL)

#define MSE_BWD(T)                                                                                               \
    extern "C" __global__ __launch_bounds__(256) void mse_bwd_##T(                                               \
        T* __restrict__ da, const T* __restrict__ a, const T* __restrict__ b, const float* __restrict__ scale,   \
        const float* __restrict__ weight, int columns, float k, unsigned long long elems, flag one_target) {     \
        unsigned long long i = element(), n = blockIdx.y, at = n * elems + i;                                    \
        if (i >= elems) return;                                                                                  \
        float by = k * weight[n * columns] * scale[n];                                                           \
        store(da + at, by * (load(a + at) - load(b + (one_target ? i : at))));                                   \
    }
FOR_EACH_TYPE(MSE_BWD)
