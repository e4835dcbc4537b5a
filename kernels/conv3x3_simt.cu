// conv3x3: 3x3 convolution, stride 1, zero pad 1, bias, optional ReLU; fprop and dgrad.      implicit GEMM, SIMT
// Maths    y[n,p,q,k] = b[k] + sum_{r,s,c} w[r,s,c,k] x[n,p+r-1,q+s-1,c]; then in the epilogue, each if given:
//          + add[n,p,q,k]; 0 where mask[n,p,q,k] <= 0 (the gradient of a ReLU with that output); ReLU when relu != 0
//          dgrad is the same sum with x = dy and w'[r,s,k,c] = w[2-r,2-s,c,k]: the host packs both, weights are frozen
// Layout   x, y NHWC in T; w packed RSCK (k innermost), bias: fp32. As GEMM: gemm_m = N*H*W pixels, gemm_n = K, gemm_k = 9*C
// Use      fp32 always; 16-bit types where channels do not suit the tensor cores
// Shapes   any N, H, W, C, K >= 1; N*H*W < 2^31. Residue: predicated loads give 0, predicated stores
// Launch   256 threads; grid (ceil(N*H*W / BM), ceil(K / BN)); one output tile per block
// Tile     BM 64 pixels, BN 64 channels, BK 16; thread 4x4
// Budget   shared 2 * 16 * (64 + 4) * 4 B = 8.5 KiB
// Hazards  two barriers per step: the tile is refilled only after every thread has read it
// Order    taps, then channels ascending; one fma chain per output, bias added last: results do not depend on the grid
// Bound    compute from C = 32 on: conv3_2 at 512x512 is 19.3 GFLOP, floor 0.29 ms at 67 TFLOP/s
// Oracle   ref.Conv3x3Fprop, ref.Conv3x3Dgrad   Suite kerneltest
// ptx: sm_80
#include "params.cuh"
#include "types.cuh"

constexpr int BM = 64, BN = 64, BK = 16, TM = 4, TN = 4, kThreads = 256;
constexpr int kPad = 4;   // keeps 16-byte rows and spreads the banks of column-wise stores
static_assert(BM * BN == TM * TN * kThreads, "every thread owns TM x TN outputs");
static_assert(BM * BK == 4 * kThreads && BN * BK == 4 * kThreads, "every thread loads four elements of each tile");

template <class T>
__device__ __forceinline__ void conv3x3(T* __restrict__ y, const T* __restrict__ x, const float* __restrict__ w,
                                        const float* __restrict__ bias, const T* __restrict__ add,
                                        const T* __restrict__ mask, int pixels, int height, int width, int c, int k,
                                        int relu) {
    __shared__ __align__(16) float s_x[BK][BM + kPad];   // (channel, pixel)
    __shared__ __align__(16) float s_w[BK][BN + kPad];   // (channel, output channel)
    int t = threadIdx.x, m0 = blockIdx.x * BM, n0 = blockIdx.y * BN;

    // Loading x: thread t brings channels 4*(t%4) … +3 of pixel t/4, so that 4
    // threads read 64 consecutive bytes. Its pixel never changes.
    int xp = t >> 2, xc = (t & 3) * 4, pix = m0 + xp;
    int q = 0, p = -2, n = 0;   // p = -2 keeps every tap of a pixel beyond the end outside
    if (pix < pixels) {
        q = pix % width;
        int row = pix / width;
        p = row % height;
        n = row / height;
    }
    // Loading w: output channels 4*(t%16) … +3 of channel t/16.
    int wc = t >> 4, wk = (t & 15) * 4;
    // Computing: pixels 4*ty … +3, output channels 4*tx … +3.
    int ty = t >> 4, tx = t & 15;

    float acc[TM][TN] = {};
    for (int tap = 0; tap < 9; tap++) {
        // The pixel of this tap; a thread whose pixel is outside reads nothing, from a valid address.
        int yy = p + tap / 3 - 1, xx = q + tap % 3 - 1;
        bool inside = (unsigned)yy < (unsigned)height && (unsigned)xx < (unsigned)width;
        const T* xs = x + (((size_t)n * height + (inside ? yy : 0)) * width + (inside ? xx : 0)) * c;
        const float* ws = w + (size_t)tap * c * k;
        for (int c0 = 0; c0 < c; c0 += BK) {
            // Global to shared; zeros where the picture, the channels or the outputs end.
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int ch = c0 + xc + i, ko = n0 + wk + i;
                s_x[xc + i][xp] = inside && ch < c ? load(xs + ch) : 0.f;
                s_w[wc][wk + i] = c0 + wc < c && ko < k ? ws[(size_t)(c0 + wc) * k + ko] : 0.f;
            }
            __syncthreads();   // the tile is there
#pragma unroll
            for (int kk = 0; kk < BK; kk++) {
                // A column of pixels by a row of output channels: 16 threads read the same a, and 16 neighbours their
                // vectors of b.
                float4 a = *(const float4*)&s_x[kk][ty * 4], b = *(const float4*)&s_w[kk][tx * 4];
                float av[TM] = {a.x, a.y, a.z, a.w}, bv[TN] = {b.x, b.y, b.z, b.w};
#pragma unroll
                for (int i = 0; i < TM; i++)
#pragma unroll
                    for (int j = 0; j < TN; j++) acc[i][j] = fmaf(av[i], bv[j], acc[i][j]);
            }
            __syncthreads();   // every thread has read it
        }
    }
#pragma unroll
    for (int i = 0; i < TM; i++) {
        int m = m0 + ty * 4 + i;
#pragma unroll
        for (int j = 0; j < TN; j++) {
            int ko = n0 + tx * 4 + j;
            if (m >= pixels || ko >= k) continue;
            float v = acc[i][j] + (bias ? bias[ko] : 0.f);
            // A thread stores four neighbouring channels of four pixels, one by one: 16 threads cover 64 channels of a
            // pixel.
            size_t at = (size_t)m * k + ko;
            if (add) {   // rounded in between, as an addition of its own would find it
                T sum;
                store(&sum, v);
                v = load(&sum) + load(add + at);
            }
            if (mask && !(load(mask + at) > 0.f)) v = 0.f;
            store(y + at, relu && v < 0.f ? 0.f : v);
        }
    }
}

#define CONV3X3(T)                                                                                               \
    extern "C" __global__ __launch_bounds__(kThreads, 2) void conv3x3_##T##_nhwc_64x64x16(                       \
        T* __restrict__ y, const T* __restrict__ x, const float* __restrict__ w,                                 \
        const float* MAYBE_NULL __restrict__ bias, const T* MAYBE_NULL __restrict__ add,                         \
        const T* MAYBE_NULL __restrict__ mask, int pixels, int height, int width, int c, int k, flag relu) {     \
        conv3x3(y, x, w, bias, add, mask, pixels, height, width, c, k, relu);                                    \
    }
FOR_EACH_TYPE(CONV3X3)
