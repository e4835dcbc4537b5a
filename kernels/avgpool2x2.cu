// avgpool2x2_fwd, avgpool2x2_bwd: mean of 2x2 windows, stride 2, odd last row and column dropped.   streaming, fp32
// Maths    fwd  y[p,q,c] = (x[2p,2q] + x[2p,2q+1] + x[2p+1,2q] + x[2p+1,2q+1]) / 4
//          bwd  dx[h,w,c] = dy[h/2,w/2,c] / 4 inside the windows, 0 in a dropped row or column
// Layout   NHWC; h, w are those of x and dx
// Shapes   H, N <= 65535; W*C < 2^31
// Launch   256 threads over a row of the result; grid (ceil(W*C / 256), H, N) of the result
// Hazards  none: every thread owns its element
// Bound    memory: 20 B an element of y; neighbouring threads read neighbouring channels
// Oracle   ref.AvgPool2x2, ref.AvgPool2x2Grad   Suite kerneltest
// ptx: sm_80

extern "C" __global__ __launch_bounds__(256) void avgpool2x2_fwd_f32(float* __restrict__ y, const float* __restrict__ x,
                                                                     int h, int w, int c) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, p = blockIdx.y, n = blockIdx.z;
    int row = w / 2 * c;   // elements of a row of y
    if (i >= row) return;
    int q = i / c, ch = i - q * c;
    const float* a = x + ((size_t)n * h + 2 * p) * w * c + (size_t)2 * q * c + ch;
    const float* b = a + (size_t)w * c;
    y[((size_t)n * (h / 2) + p) * row + i] = (a[0] + a[c] + b[0] + b[c]) * 0.25f;
}

extern "C" __global__ __launch_bounds__(256) void avgpool2x2_bwd_f32(float* __restrict__ dx,
                                                                     const float* __restrict__ dy, int h, int w,
                                                                     int c) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y, n = blockIdx.z;
    if (i >= w * c) return;
    int q = i / c / 2, ch = i % c;
    float g = 0.f;
    if (y / 2 < h / 2 && q < w / 2) g = dy[(((size_t)n * (h / 2) + y / 2) * (w / 2) + q) * c + ch] * 0.25f;
    dx[((size_t)n * h + y) * w * c + i] = g;
}
