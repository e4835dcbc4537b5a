// mse_fwd, tv_fwd, tv_bwd, tv_fwd_bwd, sum_parts, total: the loss terms of each picture.      reductions
// Maths    mse_fwd  l[n] = scale * sum (a-b)^2 / elements      tv_fwd  l[n] = scale * sum |differences| / elements
//          tv_bwd   dx = k * sum of signs, k = scale / elements, sign(0) = 0        tv_fwd_bwd  both in one pass
//          total    l[n] = (content, sum of styles, tv, all), each the sum of its parts times its scale; each[n] the terms
// Layout   NHWC, mse's operands in T; parts (N, blocks); losses (N); total (N,4), each (N, terms); a term is an address, a count and a scale
// Launch   mse_fwd, tv_fwd, tv_fwd_bwd: 256 threads, grid (blocks, N): grid-stride, one part per block; then sum_parts or
//          total: 256 threads, grid N. tv_bwd: 256 threads, grid (ceil(W*C/256), H, N)
// Hazards  block_sum's barriers
// Order    strided in the block, then a tree, then the parts in a tree: deterministic
// Bound    memory: 8 B per element
// Oracle   ref.MSEFwd, ref.TVFwd, ref.TVBwd, ref.Total   Suite kerneltest
// ptx: sm_80 sm_90
#include "overlap.cuh"
#include "params.cuh"
#include "reduce.cuh"
#include "types.cuh"

template <class T>
__device__ __forceinline__ void mse_fwd(float* RESTRICT parts, const T* RESTRICT a, const T* RESTRICT b,
                                        unsigned long long elems, int one_target) {
    wait_for_previous();
    start_next();
    // Picture n; blocks of a picture share its elements, one grid's width of them after another.
    size_t n = blockIdx.y;
    a += n * elems;
    if (!one_target) b += n * elems;
    float s = 0.f;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < elems;
         i += (unsigned long long)gridDim.x * blockDim.x) {
        float d = load(a + i) - load(b + i);
        s = fmaf(d, d, s);   // one rounding per term
    }
    // A fixed tree: thread 0 has the part of the block, and parts are added by sum_parts or total.
    s = block_sum(s);
    if (threadIdx.x == 0) parts[n * gridDim.x + blockIdx.x] = s;
}

#define MSE_FWD(T)                                                                                               \
    extern "C" __global__ __launch_bounds__(kReduceThreads) void mse_fwd_##T(                                    \
        float* RESTRICT parts, const T* RESTRICT a, const T* RESTRICT b, unsigned long long elems,               \
        flag one_target) {                                                                                       \
        mse_fwd(parts, a, b, elems, one_target);                                                                 \
    }
FOR_EACH_TYPE(MSE_FWD)

extern "C" __global__ __launch_bounds__(kReduceThreads) void tv_fwd_f32(float* __restrict__ parts,
                                                                        const float* __restrict__ x, int h, int w,
                                                                        int c) {
    size_t n = blockIdx.y, row = (size_t)w * c;
    x += n * h * row;
    float s = 0.f;
    // A block has every gridDim.x-th row. Each difference is counted once, by its upper or left element; neighbouring
    // threads read neighbouring elements of this row and the next.
    for (int y = blockIdx.x; y < h; y += gridDim.x)
        for (int i = threadIdx.x; i < w * c; i += blockDim.x) {
            float v = x[y * row + i];
            if (y + 1 < h) s += fabsf(x[(y + 1) * row + i] - v);
            if (i + c < w * c) s += fabsf(x[y * row + i + c] - v);
        }
    s = block_sum(s);
    if (threadIdx.x == 0) parts[n * gridDim.x + blockIdx.x] = s;
}

extern "C" __global__ __launch_bounds__(kReduceThreads) void sum_parts_f32(float* __restrict__ l,
                                                                           const float* __restrict__ parts,
                                                                           float scale, int blocks) {
    // A thread adds every blockDim.x-th part in order, then threads in a tree.
    float s = 0.f;
    for (int i = threadIdx.x; i < blocks; i += blockDim.x) s += parts[(size_t)blockIdx.x * blocks + i];
    s = block_sum(s);
    if (threadIdx.x == 0) l[blockIdx.x] = s * scale;
}

__device__ __forceinline__ float sign(float v) { return v > 0.f ? 1.f : v < 0.f ? -1.f : 0.f; }

extern "C" __global__ __launch_bounds__(256) void tv_bwd_f32(float* __restrict__ dx, const float* __restrict__ x,
                                                             float k, int h, int w, int c) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (i >= w * c) return;
    size_t row = (size_t)w * c, at = ((size_t)blockIdx.z * h + y) * row + i;
    // An element is in up to four differences: with those above, below, left and right.
    float v = x[at], s = 0.f;
    if (y > 0) s += sign(v - x[at - row]);
    if (y + 1 < h) s += sign(v - x[at + row]);
    if (i >= c) s += sign(v - x[at - c]);
    if (i + c < w * c) s += sign(v - x[at + c]);
    dx[at] = k * s;
}

extern "C" __global__ __launch_bounds__(kReduceThreads) void tv_fwd_bwd_f32(float* RESTRICT parts, float* RESTRICT dx,
                                                                            const float* RESTRICT x, float k, int h,
                                                                            int w, int c) {
    wait_for_previous();
    start_next();
    // As tv_fwd walks; the differences below and to the right are those that tv_fwd sums, and all four make the gradient.
    size_t row = (size_t)w * c, picture = blockIdx.y * h * row;
    float sum = 0.f;
    for (int y = blockIdx.x; y < h; y += gridDim.x)
        for (int i = threadIdx.x; i < w * c; i += blockDim.x) {
            size_t at = picture + y * row + i;
            float v = x[at], s = 0.f;
            if (y > 0) s += sign(v - x[at - row]);
            if (y + 1 < h) {
                float d = v - x[at + row];
                s += sign(d);
                sum += fabsf(d);
            }
            if (i >= c) s += sign(v - x[at - c]);
            if (i + c < w * c) {
                float d = v - x[at + c];
                s += sign(d);
                sum += fabsf(d);
            }
            dx[at] = k * s;
        }
    sum = block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// A loss term: parts (N, count).
struct LossTerm {
    const float* parts;
    unsigned count;
    float scale;
};

extern "C" __global__ __launch_bounds__(kReduceThreads) void total_f32(float* RESTRICT l, float* RESTRICT each,
                                                                       const LossTerm* terms, int contents, int styles) {
    wait_for_previous();
    start_next();
    size_t n = blockIdx.x;
    float sums[3] = {};   // content, style, tv
    // Terms stand as contents, styles, then the one of TV; each is summed by the whole block, in the order of sum_parts.
    for (int i = 0; i <= contents + styles; i++) {
        float s = 0.f;
        for (unsigned j = threadIdx.x; j < terms[i].count; j += blockDim.x) s += terms[i].parts[n * terms[i].count + j];
        s = block_sum(s) * terms[i].scale;
        if (threadIdx.x == 0) each[n * (contents + styles + 1) + i] = s;
        if (i < contents)
            sums[0] += s;
        else if (i < contents + styles)
            sums[1] += s;
        else
            sums[2] = s;
    }
    // Thread 0 alone has the sums; their sum is in the order content, style, TV.
    if (threadIdx.x != 0) return;
    for (int i = 0; i < 3; i++) l[4 * n + i] = sums[i];
    l[4 * n + 3] = sums[0] + sums[1] + sums[2];
}
