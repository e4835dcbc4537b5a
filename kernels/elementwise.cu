// relu_fwd, relu_bwd, add, mse_bwd: one element a thread, any shape.                          streaming, fp32
// Maths    relu_fwd  y = x < 0 ? 0 : x (a NaN stays one)      relu_bwd  dx = y > 0 ? dy : 0
//          add       y = a + b                               mse_bwd   da[n] = k (a[n] - b[n]), k = 2 scale / elements
// Layout   dense; mse_bwd: b holds as many pictures as a (b_elems = elems) or one (b_elems = a picture)
// Launch   256 threads; grid ceil(elems / 256)
// Hazards  none: every thread owns its element
// Bound    memory: 8 to 12 B an element
// Oracle   ref.ReLU, ref.ReLUGrad, ref.Add, ref.MSEGrad   Suite kerneltest
// ptx: sm_80

__device__ __forceinline__ unsigned long long element() {
    return (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
}

extern "C" __global__ __launch_bounds__(256) void relu_fwd_f32(float* __restrict__ y, const float* __restrict__ x,
                                                               unsigned long long elems) {
    unsigned long long i = element();
    if (i < elems) y[i] = x[i] < 0.f ? 0.f : x[i];
}

extern "C" __global__ __launch_bounds__(256) void relu_bwd_f32(float* __restrict__ dx, const float* __restrict__ dy,
                                                               const float* __restrict__ y,
                                                               unsigned long long elems) {
    unsigned long long i = element();
    if (i < elems) dx[i] = y[i] > 0.f ? dy[i] : 0.f;
}

extern "C" __global__ __launch_bounds__(256) void add_f32(float* __restrict__ y, const float* __restrict__ a,
                                                          const float* __restrict__ b, unsigned long long elems) {
    unsigned long long i = element();
    if (i < elems) y[i] = a[i] + b[i];
}

extern "C" __global__ __launch_bounds__(256) void mse_bwd_f32(float* __restrict__ da, const float* __restrict__ a,
                                                              const float* __restrict__ b, float k,
                                                              unsigned long long elems,
                                                              unsigned long long b_elems) {
    unsigned long long i = element();
    if (i >= elems) return;
    unsigned long long j = b_elems == elems ? i : i % b_elems;
    da[i] = k * (a[i] - b[j]);
}
