// mse_fwd, tv_fwd, tv_bwd, tv_fwd_bwd, sum_parts, total: the loss terms of each picture.      reductions
// Maths    mse_fwd  l[n] = weight[n] * sum (a-b)^2 / elements      tv_fwd  l[n] = weight[n] * sum |differences| / elements
//          tv_bwd   dx = k * weight[n] * sum of signs, k = 1 / elements, sign(0) = 0        tv_fwd_bwd  both in one pass
//          total    l[n] = (content, sum of styles, tv, all), each the sum of its parts times scale and weight; each[n] the terms
// Layout   NHWC, mse's operands in T; parts (N, blocks); losses (N); total (N,4), each (N, terms); a term is an address, a count, a scale and weights; weight[n] is one in so many columns
// Launch   mse_fwd, tv_fwd, tv_fwd_bwd: 256 threads, grid (blocks, N): grid-stride, one part per block; then sum_parts or
//          total: 256 threads, grid N. tv_bwd: 256 threads, grid (ceil(W*C/256), H, N)
// Hazards  block_sum's barriers; total: one before the parts of the warps are read, one before they are written again
// Order    strided in the block, then a tree, then the parts in a tree: deterministic
// Bound    memory: 8 B per element
// Oracle   ref.MSEFwd, ref.TVFwd, ref.TVBwd, ref.Total   Suite kerneltest
// ptx: sm_80 sm_90
#include "overlap.cuh"
#include "params.cuh"
#include "reduce.cuh"
#include "types.cuh"

constexpr int kBatch = 8;   // terms of mse_fwd that a thread has under way

template <class T>
__device__ __forceinline__ void mse_fwd(float* RESTRICT parts, const T* RESTRICT a, const T* RESTRICT b,
                                        unsigned long long elems, int one_target) {
    wait_for_previous();
    start_next();
    // Picture n; blocks of a picture share its elements, one grid's width of them after another.
    size_t n = blockIdx.y;
    a += n * elems;
    if (!one_target) b += n * elems;
    unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    float s = 0.f;
    // All loads of a batch before the first use.
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < elems; i += kBatch * stride) {
        float u[kBatch], v[kBatch];
#pragma unroll
        for (int j = 0; j < kBatch; j++) {
            bool in = i + j * stride < elems;
            u[j] = in ? load(a + i + j * stride) : 0.f;
            v[j] = in ? load(b + i + j * stride) : 0.f;
        }
#pragma unroll
        for (int j = 0; j < kBatch; j++) {
            float d = u[j] - v[j];
            s = fmaf(d, d, s);   // one rounding per term
        }
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
                                                                           const float* __restrict__ weight, int columns,
                                                                           float scale, int blocks) {
    // A thread adds every blockDim.x-th part in order, then threads in a tree.
    float s = 0.f;
    for (int i = threadIdx.x; i < blocks; i += blockDim.x) s += parts[(size_t)blockIdx.x * blocks + i];
    s = block_sum(s);
    if (threadIdx.x == 0) l[blockIdx.x] = s * (scale * weight[(size_t)blockIdx.x * columns]);
}

__device__ __forceinline__ float sign(float v) { return v > 0.f ? 1.f : v < 0.f ? -1.f : 0.f; }

extern "C" __global__ __launch_bounds__(256) void tv_bwd_f32(float* __restrict__ dx, const float* __restrict__ x,
                                                             const float* __restrict__ weight, int columns,
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
    dx[at] = k * weight[(size_t)blockIdx.z * columns] * s;
}

constexpr int kLine = 6;   // values of a row that a thread of tv_fwd_bwd has: a row of 512 pixels at once

extern "C" __global__ __launch_bounds__(kReduceThreads) void tv_fwd_bwd_f32(float* RESTRICT parts, float* RESTRICT dx,
                                                                            const float* RESTRICT x,
                                                                            const float* RESTRICT weight, int columns,
                                                                            float k, int h, int w, int c) {
    wait_for_previous();
    start_next();
    float by = k * weight[(size_t)blockIdx.y * columns];
    // As tv_fwd walks; the differences below and to the right are those that tv_fwd sums, and all four make the gradient.
    size_t row = (size_t)w * c, picture = blockIdx.y * h * row;
    float sum = 0.f;
    for (int y = blockIdx.x; y < h; y += gridDim.x)
        for (int i0 = threadIdx.x; i0 < w * c; i0 += kLine * blockDim.x) {
            // kLine values of the row and all their neighbours are loaded before the first is used.
            float v[kLine], above[kLine], below[kLine], left[kLine], right[kLine];
#pragma unroll
            for (int j = 0; j < kLine; j++) {
                int i = i0 + j * kReduceThreads;
                bool in = i < w * c;
                const float* at = x + picture + y * row + i;
                v[j] = in ? *at : 0.f;
                above[j] = in && y > 0 ? *(at - row) : 0.f;
                below[j] = in && y + 1 < h ? at[row] : 0.f;
                left[j] = in && i >= c ? *(at - c) : 0.f;
                right[j] = i + c < w * c ? at[c] : 0.f;
            }
#pragma unroll
            for (int j = 0; j < kLine; j++) {
                int i = i0 + j * kReduceThreads;
                if (i >= w * c) continue;
                float s = 0.f;
                if (y > 0) s += sign(v[j] - above[j]);
                if (y + 1 < h) {
                    float d = v[j] - below[j];
                    s += sign(d);
                    sum += fabsf(d);
                }
                if (i >= c) s += sign(v[j] - left[j]);
                if (i + c < w * c) {
                    float d = v[j] - right[j];
                    s += sign(d);
                    sum += fabsf(d);
                }
                dx[picture + y * row + i] = by * s;
            }
        }
    sum = block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// A loss term: parts (N, count), and what their sum is multiplied by.
struct LossTerm {
    const float *parts, *weight;
    unsigned count;
    int columns;
    float scale;
};

// total takes kReduceWarps terms at a time: every thread loads kAtOnce parts of each before it adds the first.
constexpr int kAtOnce = 4;

extern "C" __global__ __launch_bounds__(kReduceThreads) void total_f32(float* RESTRICT l, float* RESTRICT each,
                                                                       const LossTerm* terms, int contents, int styles) {
    __shared__ LossTerm s_terms[kReduceThreads];
    __shared__ float s_part[kReduceWarps][kReduceWarps], s_sum[kReduceWarps];   // (term, warp), (term)
    int t = threadIdx.x, lane = t & 31, warp = t >> 5, count = contents + styles + 1;
    size_t n = blockIdx.x;
    // Terms stand as contents, styles, then the one of TV. The table is a constant, which may be read at once.
    if (t < count) s_terms[t] = terms[t];
    __syncthreads();   // the table is there
    wait_for_previous();
    start_next();
    float sums[3] = {};   // content, style, tv
    for (int first = 0; first < count; first += kReduceWarps) {
        // A term is summed by the whole block, in the order of sum_parts.
        float v[kReduceWarps][kAtOnce], s[kReduceWarps];
#pragma unroll
        for (int i = 0; i < kReduceWarps; i++) {
            LossTerm term = first + i < count ? s_terms[first + i] : LossTerm{};
#pragma unroll
            for (int j = 0; j < kAtOnce; j++) {
                unsigned at = t + j * kReduceThreads;
                v[i][j] = at < term.count ? term.parts[n * term.count + at] : 0.f;
            }
        }
#pragma unroll
        for (int i = 0; i < kReduceWarps; i++) {
            s[i] = 0.f;
#pragma unroll
            for (int j = 0; j < kAtOnce; j++) s[i] += v[i][j];
            LossTerm term = first + i < count ? s_terms[first + i] : LossTerm{};
            for (unsigned at = t + kAtOnce * kReduceThreads; at < term.count; at += kReduceThreads) s[i] += term.parts[n * term.count + at];
        }
#pragma unroll
        for (int i = 0; i < kReduceWarps; i++) {
            s[i] = warp_sum(s[i]);
            if (lane == 0) s_part[i][warp] = s[i];
        }
        __syncthreads();   // every warp's part of every term is there
        // Warp i ends term i as block_sum would.
        float sum = warp_sum(lane < kReduceWarps ? s_part[warp][lane] : 0.f);
        if (lane == 0 && first + warp < count) {
            const LossTerm& term = s_terms[first + warp];
            sum *= term.scale * term.weight[n * term.columns];
            s_sum[warp] = each[n * count + first + warp] = sum;
        }
        __syncthreads();   // the terms are there; s_part is done with
        if (t != 0) continue;
        for (int i = first; i < min(first + kReduceWarps, count); i++) {
            float term = s_sum[i - first];
            if (i < contents)
                sums[0] += term;
            else if (i < contents + styles)
                sums[1] += term;
            else
                sums[2] = term;
        }
    }
    // Thread 0 alone has the sums; their sum is in the order content, style, TV.
    if (t != 0) return;
    for (int i = 0; i < 3; i++) l[4 * n + i] = sums[i];
    l[4 * n + 3] = sums[0] + sums[1] + sums[2];
}
