// conv3x3_mma: 3x3 convolution (or 1x1), stride 1, zero padding, bias, optional ReLU.      implicit GEMM, tensor cores
// Maths    y[n,p,q,k] = b[k] + sum_{tap,c} w[k,tap,c] x[n,p+r-1,q+s-1,c]; taps 9, or 1: a plain GEMM (the style gradient).
//          Epilogue, each if given: + add; 0 where mask <= 0 (the gradient of a ReLU with that output); ReLU when relu != 0.
//          Products of E in {fp16, bf16, tf32}, sums fp32; dgrad: x = dy, w rotated (see simt)
// Layout   x, y NHWC, w (K, taps, C), all in E's storage type; bias fp32 or null. gemm_m pixels, gemm_n K, gemm_k taps*C
//          one weight matrix for all pictures, or one each (w_stride elements apart; then pixels of a block share one)
// Shapes   C a multiple of 64 bytes, K of 64; N*H*W < 2^31. Residue: pixels only, by zero-filling copies and predicates
// Launch   128 threads = 4 warps as 2x2; grid (ceil(pixels / BM), K / BN, pictures of weights)
// Tile     BM 128, BN 64, BK 64 bytes (32 halves, 16 tf32); warp 64x32; mma m16n8 by 32 bytes; 3 stages
// Budget   shared 3 * (128 + 64) * 64 B = 36 KiB; <= 128 registers: 4 blocks a multiprocessor
// Banks    16-byte chunk ch of row r stands at ch ^ (r/2 % 4): ldmatrix and cp.async both touch every bank once
// Hazards  a stage is refilled one barrier after every warp has read it; a stage is read after wait_group and a barrier
// Order    taps, then channels ascending inside the tensor core's own order; no split: results do not depend on the grid
// Bound    compute: conv3_2 at 512x512 is 19.3 GFLOP
// Oracle   ref.Conv3x3, ref.Conv3x3Dgrad, ref.GramGrad   Suite kerneltest
// ptx: sm_80
#include "mma.cuh"

constexpr int BM = 128, BN = 64, kRow = 64, kStages = 3, kThreads = 128;   // kRow: bytes of k in a tile
constexpr int kStageBytes = (BM + BN) * kRow;
static_assert(BM * kRow / 16 == 4 * kThreads && BN * kRow / 16 == 2 * kThreads, "4 + 2 copies a thread");

__device__ __forceinline__ uint32_t chunk(int row, int ch) { return row * kRow + ((ch ^ (row >> 1 & 3)) << 4); }

template <class E>
__device__ __forceinline__ void conv(typename Element<E>::Store* __restrict__ y,
                                     const typename Element<E>::Store* __restrict__ x,
                                     const typename Element<E>::Store* __restrict__ w, const float* __restrict__ bias,
                                     const typename Element<E>::Store* __restrict__ add,
                                     const typename Element<E>::Store* __restrict__ mask, int pixels, int height,
                                     int width, int c, int k, int taps, long long w_stride, int relu) {
    using T = typename Element<E>::Store;
    constexpr int BK = kRow / sizeof(T), kChunk = 16 / sizeof(T);
    __shared__ __align__(128) unsigned char s_tiles[kStages * kStageBytes];
    int t = threadIdx.x, lane = t & 31, warp = t >> 5, wm = (warp >> 1) * 64, wn = (warp & 1) * 32;
    int m0 = blockIdx.x * BM, n0 = blockIdx.y * BN;
    size_t picture = blockIdx.z;   // 0 unless every picture has its weights
    x += picture * pixels * c;
    w += picture * w_stride;
    uint32_t s_x = shared_address(s_tiles), s_w = s_x + BM * kRow;

    // Copies: thread t brings chunk t%4 of pixels t/4 + 32 i and of weight rows t/4 + 32 i.
    int ch = t & 3, row = t >> 2, px[4], py[4], pn[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int p = m0 + row + 32 * i;
        int line = p / width;
        px[i] = p - line * width;
        pn[i] = line / height;
        py[i] = p < pixels ? line - pn[i] * height : -2;   // outside for every tap
    }
    int slabs = c / BK, steps = taps * slabs;
    auto fill = [&](int stage, int step) {
        int tap = step / slabs, c0 = (step - tap * slabs) * BK + ch * kChunk;
        int dy = taps == 1 ? 0 : tap / 3 - 1, dx = taps == 1 ? 0 : tap % 3 - 1;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int yy = py[i] + dy, xx = px[i] + dx;
            bool in = (unsigned)yy < (unsigned)height && (unsigned)xx < (unsigned)width;
            const T* src = x + (in ? (((size_t)pn[i] * height + yy) * width + xx) * c + c0 : 0);
            copy16(s_x + stage * kStageBytes + chunk(row + 32 * i, ch), src, in ? 16 : 0);
        }
#pragma unroll
        for (int i = 0; i < 2; i++)
            copy16(s_w + stage * kStageBytes + chunk(row + 32 * i, ch),
                   w + ((size_t)(n0 + row + 32 * i) * taps + tap) * c + c0, 16);
    };
    for (int s = 0; s < kStages - 1; s++) {
        if (s < steps) fill(s, s);
        copy_commit();
    }
    float acc[4][4][4] = {};   // (16 rows, 8 columns, fragment)
    for (int step = 0; step < steps; step++) {
        copy_wait<kStages - 2>();
        __syncthreads();   // this stage is there for all, and the one before is free
        int next = step + kStages - 1;
        if (next < steps) fill(next % kStages, next);
        copy_commit();
        uint32_t a0 = s_x + step % kStages * kStageBytes, b0 = s_w + step % kStages * kStageBytes;
#pragma unroll
        for (int kk = 0; kk < 2; kk++) {
            uint32_t a[4][4], b[2][4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                load_matrices(a[i], a0 + chunk(wm + i * 16 + (lane & 15), kk * 2 + (lane >> 4)));
                round_operand(E{}, a[i]);
            }
#pragma unroll
            for (int j = 0; j < 2; j++)
                load_matrices(b[j], b0 + chunk(wn + j * 16 + (lane & 7) + (lane >> 4) * 8, kk * 2 + (lane >> 3 & 1)));
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) mma(E{}, acc[i][j], a[i], b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
        }
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        int n = n0 + wn + j * 8 + (lane & 3) * 2;
        float u = bias ? bias[n] : 0.f, v = bias ? bias[n + 1] : 0.f;
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int p = m0 + wm + i * 16 + (lane >> 2) + h * 8;
                float a = acc[i][j][h * 2] + u, b = acc[i][j][h * 2 + 1] + v;
                if (p >= pixels) continue;
                size_t at = picture * pixels * k + (size_t)p * k + n;
                if (add) {
                    float2 s = load2(add + at);
                    a += s.x;
                    b += s.y;
                }
                if (mask) {
                    float2 s = load2(mask + at);
                    a = s.x > 0.f ? a : 0.f;
                    b = s.y > 0.f ? b : 0.f;
                }
                if (relu) {
                    a = a < 0.f ? 0.f : a;
                    b = b < 0.f ? 0.f : b;
                }
                store2(y + at, a, b);
            }
    }
}

#define CONV3X3_MMA(E)                                                                                           \
    extern "C" __global__ __launch_bounds__(kThreads, 4) void conv3x3_mma_##E##_nhwc_128x64(                     \
        Element<E>::Store* __restrict__ y, const Element<E>::Store* __restrict__ x,                              \
        const Element<E>::Store* __restrict__ w, const float* __restrict__ bias,                                 \
        const Element<E>::Store* __restrict__ add, const Element<E>::Store* __restrict__ mask, int pixels,       \
        int height, int width, int c, int k, int taps, long long w_stride, int relu) {                           \
        conv<E>(y, x, w, bias, add, mask, pixels, height, width, c, k, taps, w_stride, relu);                    \
    }
CONV3X3_MMA(f16)
CONV3X3_MMA(bf16)
CONV3X3_MMA(tf32)
