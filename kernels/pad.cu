// pad_fwd, pad_bwd: a picture continued beyond its border by p pixels on every side, and back.       streaming, fp32
// Maths    fwd  y[r,s,ch] = x[source(r - p, H), source(s - p, W), ch]; source(i, n) is i inside, outside
//               mirrored at the outermost row, -i or 2(n - 1) - i, or with wrap i + n or i - n
//          bwd  dx[h,w,ch] = sum of dy[r,s,ch] over the at most 3 x 3 places that read x[h,w,ch]
// Layout   NHWC; h, w are those of x and dx
// Shapes   H + 2p, N <= 65535; (W + 2p) C < 2^31; any C; p < H and p < W, with wrap p <= H and p <= W
// Launch   256 threads over a row of the result; grid (ceil(row / 256), rows, N) of the result
// Hazards  none: every thread owns its element of the result, and gathers what belongs to it
// Order    bwd: one chain of sums from 0, by rising r, then rising s
// Bound    memory: 8 B per element of y or dy; neighbouring threads read neighbouring channels, backwards where mirrored
// Oracle   ref.PadFwd, ref.PadBwd   Suite kerneltest
// ptx: sm_80
#include "params.cuh"

// Which of n rows or columns lies at i, from -p to n - 1 + p.
__device__ __forceinline__ int source(int i, int n, int wrap) {
    if (i < 0) return wrap ? i + n : -i;
    if (i >= n) return wrap ? i - n : 2 * (n - 1) - i;
    return i;
}

// Thread i has element (s, ch) of row r of y.
extern "C" __global__ __launch_bounds__(256) void pad_fwd_f32(float* __restrict__ y, const float* __restrict__ x, int h,
                                                              int w, int c, int p, flag wrap) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y, n = blockIdx.z;
    int row = (w + 2 * p) * c;   // elements of a row of y
    if (i >= row) return;
    int s = i / c, ch = i - s * c;
    const float* from = x + (((size_t)n * h + source(r - p, h, wrap)) * w + source(s - p, w, wrap)) * c;
    y[((size_t)n * (h + 2 * p) + r) * row + i] = from[ch];
}

// The rows or columns of y that read row or column i of n: one before the picture, its own, one behind it. -1 where there is
// none.
__device__ __forceinline__ void readers(int i, int n, int p, int wrap, int (&at)[3]) {
    int before = wrap ? i - n + p : p - i, behind = wrap ? i + n + p : 2 * (n - 1) - i + p;
    at[0] = before >= 0 && before < p ? before : -1;
    at[1] = i + p;
    at[2] = behind >= n + p && behind < n + 2 * p ? behind : -1;
}

// Thread i has element (column, ch) of row y of dx. Inside, it reads one value; in the border up to nine.
extern "C" __global__ __launch_bounds__(256) void pad_bwd_f32(float* __restrict__ dx, const float* __restrict__ dy, int h,
                                                              int w, int c, int p, flag wrap) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y, n = blockIdx.z;
    if (i >= w * c) return;
    int column = i / c, ch = i - column * c, r[3], s[3];
    readers(y, h, p, wrap, r);
    readers(column, w, p, wrap, s);
    float sum = 0.f;
#pragma unroll
    for (int a = 0; a < 3; a++) {
        if (r[a] < 0) continue;
        const float* row = dy + ((size_t)n * (h + 2 * p) + r[a]) * (w + 2 * p) * c;
#pragma unroll
        for (int b = 0; b < 3; b++)
            if (s[b] >= 0) sum += row[(size_t)s[b] * c + ch];
    }
    dx[((size_t)n * h + y) * w * c + i] = sum;
}
