// gram_fwd, gram_bwd: Gram matrix of a feature map, and its gradient.                          GEMM, SIMT
// Maths    fwd  g[n,i,j] = scale sum_p f[n,p,i] f[n,p,j]
//          bwd  df[n,p,i] = scale sum_j (dg[n,i,j] + dg[n,j,i]) f[n,p,j]      scale = 1 / (C H W) in both, times S in bwd
// Layout   f, df NHWC in T, P = H*W pixels; g, dg (N,C,C) fp32; S the loss scale of a picture
// Shapes   any; P < 2^31
// Launch   256 threads. fwd: grid (ceil(C/64), ceil(C/64), N*splits), each block sums pps pixels into part
//          (N,splits,C,C), those below the diagonal return at once and leave their tile of part alone; gram_sum adds the
//          splits in order, mirrored where they are missing: grid (ceil(C*C/256), N).
//          bwd: grid (ceil(P/64), ceil(C/64), N)
// Tile     64 x 64 outputs, 16 deep; thread 4x4
// Hazards  two barriers per step
// Order    pixels ascending within a split, splits ascending: deterministic; splits of 1024 pixels keep long sums exact
// Bound    fwd relu1_1 at 512x512: 2.1 GFLOP, 67 MB: memory. Later layers: compute
// Oracle   ref.GramFwd, ref.GramBwd   Suite kerneltest
// ptx: sm_80
#include "types.cuh"

constexpr int BT = 64, BK = 16, kThreads = 256, kPad = 4;

// One step of the 64x64 tile: acc += a^T b over BK rows.
// Thread (ty, tx) has rows 4 ty to + 3 and columns 4 tx to + 3: a warp reads two vectors of a, each for 16 threads, and
// 16 of b.
__device__ __forceinline__ void multiply(float (&acc)[4][4], const float (&s_a)[BK][BT + kPad],
                                         const float (&s_b)[BK][BT + kPad], int ty, int tx) {
#pragma unroll
    for (int kk = 0; kk < BK; kk++) {
        float4 a = *(const float4*)&s_a[kk][ty * 4], b = *(const float4*)&s_b[kk][tx * 4];
        float av[4] = {a.x, a.y, a.z, a.w}, bv[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) acc[i][j] = fmaf(av[i], bv[j], acc[i][j]);
    }
}

template <class T>
__device__ __forceinline__ void gram_fwd(float* __restrict__ part, const T* __restrict__ f, int pixels, int c,
                                         int splits, int pps) {
    __shared__ __align__(16) float s_a[BK][BT + kPad], s_b[BK][BT + kPad];   // (pixel, channel)
    int t = threadIdx.x, ty = t >> 4, tx = t & 15;
    // A tile of one picture: rows from i0, columns from j0, summed over the pixels of one split.
    int i0 = blockIdx.y * BT, j0 = blockIdx.x * BT, n = blockIdx.z / splits, split = blockIdx.z % splits;
    if (j0 < i0) return;   // symmetric
    int p0 = split * pps, p1 = min(pixels, p0 + pps);
    const T* fn = f + (size_t)n * pixels * c;
    int row = t >> 4, col = (t & 15) * 4;   // loads: channels col … +3 of pixel row
    float acc[4][4] = {};
    for (int p = p0; p < p1; p += BK) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            // 16 threads read 64 neighbouring channels of a pixel; zeros where the split or the channels end.
            bool in = p + row < p1;
            const T* src = fn + (size_t)(in ? p + row : p0) * c;
            s_a[row][col + e] = in && i0 + col + e < c ? load(src + i0 + col + e) : 0.f;
            s_b[row][col + e] = in && j0 + col + e < c ? load(src + j0 + col + e) : 0.f;
        }
        __syncthreads();   // 16 pixels are there
        multiply(acc, s_a, s_b, ty, tx);
        __syncthreads();   // and are done with
    }
    float* out = part + (size_t)blockIdx.z * c * c;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int r = i0 + ty * 4 + i, s = j0 + tx * 4 + j;
            if (r < c && s < c) out[(size_t)r * c + s] = acc[i][j];
        }
}

extern "C" __global__ __launch_bounds__(256) void gram_sum_f32(float* __restrict__ g, const float* __restrict__ part,
                                                               float scale, int c, int splits) {
    int e = blockIdx.x * blockDim.x + threadIdx.x, i = e / c, j = e - i * c;
    size_t cc = (size_t)c * c;
    if (e >= cc) return;
    // Tiles below the diagonal were never written: their elements are those mirrored, whose threads read a column.
    const float* p = part + blockIdx.y * splits * cc + (j / BT < i / BT ? j * c + i : e);
    float s = 0.f;
    for (int k = 0; k < splits; k++) s += p[k * cc];
    g[blockIdx.y * cc + e] = s * scale;
}

template <class T>
__device__ __forceinline__ void gram_bwd(T* __restrict__ df, const float* __restrict__ dg, const T* __restrict__ f,
                                         float scale, int pixels, int c) {
    __shared__ __align__(16) float s_f[BK][BT + kPad];   // (j, pixel)
    __shared__ __align__(16) float s_g[BK][BT + kPad];   // (j, i)
    int t = threadIdx.x, ty = t >> 4, tx = t & 15;
    int p0 = blockIdx.x * BT, i0 = blockIdx.y * BT;
    size_t n = blockIdx.z;
    // A tile of the result: pixels from p0, channels from i0; gemm_k is the channel j.
    const T* fn = f + n * pixels * c;
    const float* gn = dg + n * c * c;
    int fp = t >> 2, fj = (t & 3) * 4;    // loads of f: channels fj … +3 of pixel fp
    int gj = t >> 4, gi = (t & 15) * 4;   // loads of g: columns gi … +3 of row gj
    float acc[4][4] = {};
    for (int j0 = 0; j0 < c; j0 += BK) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int j = j0 + fj + e, i = i0 + gi + e;
            // Four threads read 16 neighbouring channels of a pixel. dg is made symmetric on its way: of its two elements
            // one is read along a row, by 16 threads, and one down a column.
            s_f[fj + e][fp] = p0 + fp < pixels && j < c ? load(fn + (size_t)(p0 + fp) * c + j) : 0.f;
            bool in = j0 + gj < c && i < c;
            s_g[gj][gi + e] = in ? gn[(size_t)i * c + j0 + gj] + gn[(size_t)(j0 + gj) * c + i] : 0.f;
        }
        __syncthreads();   // 16 channels j are there
        multiply(acc, s_f, s_g, ty, tx);
        __syncthreads();   // and are done with
    }
#pragma unroll
    for (int a = 0; a < 4; a++)
#pragma unroll
        for (int b = 0; b < 4; b++) {
            int p = p0 + ty * 4 + a, i = i0 + tx * 4 + b;
            if (p < pixels && i < c) store(df + (n * pixels + p) * c + i, acc[a][b] * scale);
        }
}

#define GRAM(T)                                                                                                  \
    extern "C" __global__ __launch_bounds__(kThreads, 2) void gram_fwd_##T##_64x64x16(                           \
        float* __restrict__ part, const T* __restrict__ f, int pixels, int c, int splits, int pps) {             \
        gram_fwd(part, f, pixels, c, splits, pps);                                                               \
    }                                                                                                            \
    extern "C" __global__ __launch_bounds__(kThreads, 2) void gram_bwd_##T##_64x64x16(                           \
        T* __restrict__ df, const float* __restrict__ dg, const T* __restrict__ f,                               \
        const float* __restrict__ loss_scale, float scale, int pixels, int c) {                                  \
        gram_bwd(df, dg, f, scale * loss_scale[blockIdx.z], pixels, c);                                                     \
    }
FOR_EACH_TYPE(GRAM)
