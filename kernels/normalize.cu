// normalize_fwd, normalize_bwd: the network's input from a picture, and back.               streaming, fp32
// Maths    fwd  y = (x - mean[c]) / std[c]      bwd  dx = dy / std[c]      both divisions rounded to nearest
// Layout   NHWC, any C; mean, std (C)
// Shapes   N*H*W*C < 2^32 (a picture has 3 channels)
// Launch   256 threads; grid ceil(elems / 256)
// Bound    memory: 8 B an element
// Oracle   ref.Normalize, ref.NormalizeGrad   Suite kerneltest
// ptx: sm_80

extern "C" __global__ __launch_bounds__(256) void normalize_fwd_f32(float* __restrict__ y, const float* __restrict__ x,
                                                                    const float* __restrict__ mean,
                                                                    const float* __restrict__ std, unsigned c,
                                                                    unsigned elems) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= elems) return;
    unsigned ch = i % c;
    y[i] = (x[i] - mean[ch]) / std[ch];
}

extern "C" __global__ __launch_bounds__(256) void normalize_bwd_f32(float* __restrict__ dx,
                                                                    const float* __restrict__ dy,
                                                                    const float* __restrict__ std, unsigned c,
                                                                    unsigned elems) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < elems) dx[i] = dy[i] / std[i % c];
}
