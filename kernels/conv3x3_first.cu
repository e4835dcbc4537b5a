// conv3x3_first: the first layer, whose input is a picture: normalisation and 3x3 convolution, and both backward.   tensor cores
// Maths    fprop  a[n,p,q,k] = sum_{tap,i} w[k,tap,i] u[n,p+r-1,q+s-1,i], u = (x - mean) / std inside, 0 outside; then the epilogue
//          dgrad  dx[n,p,q,i] = sum_{tap,k} w[i,tap,k] dy[n,p+r-1,q+s-1,k] / S / std[i], w rotated, S the loss scale of the picture
//          products of E in {fp16, bf16, tf32}, sums fp32
// Layout   x, dx (N,H,W,3) fp32; dy NHWC in E's storage type; fprop: w (K,32), which is (K,9,3) and zeros; dgrad: w (3,9,C)
// Shapes   fprop: K a multiple of 64; dgrad: C a multiple of 128 bytes; any H, W
// Launch   fprop: 256 threads, grid (ceil(tiles / each), K/64, N); dgrad: 256 threads, grid (ceil(H/8) ceil(W/32), 1, N)
// Tile     fprop: 8x16 pixels, 64 channels, gemm_k 27 padded to 32, gathered from a patch of 10x18 pixels; a block has each
//          tiles in a row, and where part is given (K = 64) sums their Gram matrix, of what it stores, as gram_mma does:
//          part[n,block,i,j] = sum_p a[n,p,i] a[n,p,j]
//          dgrad: z[q, 9 i + tap] = sum_k dy[q,k] w[i,tap,k] for the 10x34 pixels q around a tile of 8x32, one GEMM with gemm_n
//          27 padded to 32; then dx is nine shifted sums of z. An implicit GEMM would have 3 columns and read dy nine times
// Budget   fprop: shared the staged tile, 16 or 32 KiB, and 2 KiB; dgrad: 44 KiB, dy and then z
// Banks    dgrad: z is column by column, 340 apart: four columns of a fragment are 8 banks apart, and pixels are neighbours.
//          Gram in tf32: the four pixels of a fragment are two apart in the staged tile, which keeps them apart in banks
// Hazards  a barrier after every copy, and before z takes the place of dy; the barrier after a patch is also the one before
//          the staged tile is written again
// Order    a sum is two products of the tensor core, four in tf32; dgrad: taps ascending; tiles of a block ascending, at most
//          16, so that a sum of squares has no more than 2048 terms
// Bound    memory: at 512x512 in fp16 fprop writes 33.5 MB, dgrad reads as much
// Oracle   ref.NormalizeFwd, ref.Conv3x3Fprop, ref.GramFwd, and ref.Conv3x3Dgrad, ref.NormalizeBwd   Suite kerneltest
// ptx: sm_80 sm_90
#include "epilogue.cuh"
#include "gram.cuh"
#include "overlap.cuh"

constexpr int kIn = 3, kK = 9 * kIn, kPadded = 32;   // kK: products of an output, padded to whole ones of a tensor core

namespace fprop {
constexpr int kThreads = 256, TH = 8, TW = 16, kPatchW = TW + 2, kPatch = (TH + 2) * kPatchW * kIn;
constexpr int kFill = (kPatch + kThreads - 1) / kThreads;   // values of a patch that a thread reads
}

// Where product j of an output lies, counted from the first value of its patch; the padding reads the first: its weight is 0.
__device__ __forceinline__ int gather(int j) {
    int tap = j < kK ? j / kIn : 0, i = j < kK ? j - tap * kIn : 0;
    return (tap / 3 * fprop::kPatchW + tap % 3) * kIn + i;
}

// v, of which the compiler does not know that it stays the same: what is made of it is made again for each tile.
__device__ __forceinline__ int again(int v) {
    asm volatile("" : "+r"(v));
    return v;
}

// What is the same for every tile is not restricted: it would be loaded before the first and held in forty registers.
template <class E>
__device__ __forceinline__ void first_fprop(const float* RESTRICT x, const float* mean, const float* std,
                                            const typename Element<E>::Store* w, float* RESTRICT part, int each, int height,
                                            int width, int k, const Epilogue<typename Element<E>::Store>& e) {
    using namespace fprop;
    using T = typename Element<E>::Store;
    constexpr int kStep = 32 / sizeof(T), kSteps = kPadded / kStep, kPair = 4 / sizeof(T);   // k of an mma; values of a register
    constexpr int kAhead = 8 / sizeof(T);   // groups of eight channels whose weights are loaded together
    __shared__ __align__(128) unsigned char s_tile[TH * TW * kChannels * sizeof(T)];
    __shared__ T s_patch[kPatch];   // (row, column, channel)
    __shared__ float s_mean[kIn], s_std[kIn], s_bias[kChannels];
    int t = threadIdx.x, lane = t & 31, warp = t >> 5, wm = (warp >> 2) * 32, wn = (warp & 3) * 16;
    int across = (width + TW - 1) / TW, tiles = across * ((height + TH - 1) / TH);
    int n0 = blockIdx.y * kChannels, n = blockIdx.z, first = blockIdx.x * each, last = min(first + each, tiles);
    // A thread's products are eight neighbours, for gemm_k may be in any order: its weights are 16 or 32 bytes.
    int at[8];
#pragma unroll
    for (int i = 0; i < 8; i++) at[i] = gather((lane & 3) * 8 + i);
    // Value i = t + m kThreads of a patch, m < kFill, is channel i % 3 of pixel i / 3: neighbouring threads read a line of it, 54
    // values, one after another. Values of the next tile are on their way while this one is computed.
    float next[kFill];
    auto fetch = [&](int y0, int x0) {
        int t = again(threadIdx.x);
#pragma unroll
        for (int m = 0; m < kFill; m++) {
            int i = t + m * kThreads, q = i / kIn, yy = y0 + q / kPatchW - 1, xx = x0 + q % kPatchW - 1;
            next[m] = s_mean[i % kIn];   // outside, so that it becomes 0
            if (i < kPatch && (unsigned)yy < (unsigned)height && (unsigned)xx < (unsigned)width)
                next[m] = x[(((size_t)n * height + yy) * width + xx) * kIn + i % kIn];
        }
    };
    float sums[2][2][4] = {};   // of the Gram matrix
    int y0 = first / across * TH, x0 = first % across * TW;
    if (t < kIn) s_mean[t] = mean[t], s_std[t] = std[t];
    if (t < kChannels) s_bias[t] = e.bias ? e.bias[n0 + t] : 0.f;
    __syncthreads();   // mean, deviation and bias are there
    wait_for_previous();
    start_next();
    fetch(y0, x0);
    for (int tile = first; tile < last; tile++) {
        int u = again(t);
#pragma unroll
        for (int m = 0; m < kFill; m++) {
            int i = u + m * kThreads;
            if (i < kPatch) store(&s_patch[i], rounded(E{}, (next[m] - s_mean[i % kIn]) / s_std[i % kIn]));
        }
        __syncthreads();   // the patch is there, the tile before is done with
        int y1 = x0 + TW < width ? y0 : y0 + TH, x1 = x0 + TW < width ? x0 + TW : 0;   // the next tile
        if (tile + 1 < last) fetch(y1, x1);
        // A warp has a row of the tile, 16 pixels.
        uint32_t a[kSteps][4];
        uint4 weights[kAhead][kSteps / 2];
#pragma unroll
        for (int s = 0; s < kSteps; s++)
#pragma unroll
            for (int r = 0; r < 4; r++) {
                // Register r of mma s: pixel lane/4, or the one 8 beyond for odd r; a thread's eight products go to the
                // mmas in their order.
                const T* pixel = s_patch + (warp * kPatchW + (lane >> 2) + (r & 1) * 8) * kIn;
                int i = (s * 2 + (r >> 1)) * kPair;
                if constexpr (kPair == 2)
                    a[s][r] = *(const uint16_t*)(pixel + at[i]) | (uint32_t) * (const uint16_t*)(pixel + at[i + 1]) << 16;
                else
                    a[s][r] = *(const uint32_t*)(pixel + at[i]);
            }
#pragma unroll
        for (int j = 0; j < 8; j++) {
            // Eight output channels at a time; a thread has the weights of channel 8 j + lane/4, straight from the caches, those of
            // kAhead j at once.
            if (j % kAhead == 0)
#pragma unroll
                for (int a = 0; a < kAhead; a++) {
                    const uint4* mine = (const uint4*)(w + (size_t)(n0 + (j + a) * 8 + (lane >> 2)) * kPadded + (lane & 3) * 8);
#pragma unroll
                    for (int half = 0; half < kSteps / 2; half++) weights[a][half] = mine[half];
                }
            float acc[4] = {};
#pragma unroll
            for (int half = 0; half < kSteps / 2; half++) {
                uint4 b = weights[j % kAhead][half];
                mma(E{}, acc, a[half * 2], b.x, b.y);
                mma(E{}, acc, a[half * 2 + 1], b.z, b.w);
            }
            int col = j * 8 + (lane & 3) * 2;
            float u = s_bias[col], v = s_bias[col + 1];
#pragma unroll
            for (int h = 0; h < 2; h++) {
                // Sums are two channels of pixel lane/4, and of the one 8 beyond. A pixel outside must not count in the
                // Gram matrix.
                int column = (lane >> 2) + h * 8;
                float p = acc[h * 2] + u, q = acc[h * 2 + 1] + v;
                if (e.relu) p = p < 0.f ? 0.f : p, q = q < 0.f ? 0.f : q;
                if (part && (y0 + warp >= height || x0 + column >= width)) p = q = 0.f;   // no pixel
                stage2(E{}, s_tile, warp * TW + column, col, p, q);
            }
        }
        __syncthreads();   // the tile is staged
        Finish<E, TH * TW, TW, kThreads> end(e, s_tile, t, height, width, k);
        end.begin(n, y0, x0, n0);
        end.finish();   // it has no gates
        // Gram: pixels are gemm_k, in any order; in tf32 fragments take them as 0 2 4 6 1 3 5 7.
        y0 = y1, x0 = x1;
        if (!part) continue;
#pragma unroll 2
        for (int kk = 0; kk < TH * TW; kk += kStep)
            gram_products(E{}, sums, s_tile, s_tile, wm, wn, kk, [](int pixel, int ch) {
                if constexpr (sizeof(T) == 4) pixel = (pixel & ~7) | (pixel & 3) << 1 | (pixel >> 2 & 1);
                return staged<T>(pixel, ch >> 3, ch >> 2 & 1);
            });
    }
    if (part) gram_store(part + ((size_t)n * gridDim.x + blockIdx.x) * kChannels * kChannels + wm * kChannels + wn, sums, kChannels);
}

namespace dgrad {
constexpr int kThreads = 256, kWarps = kThreads / 32, TH = 8, TW = 32, kRow = 128;
constexpr int kHaloW = TW + 2, kHalo = (TH + 2) * kHaloW, kFragments = (kHalo + 15) / 16;
}

template <class E>
__device__ __forceinline__ void first_dgrad(float* RESTRICT dx, const typename Element<E>::Store* RESTRICT dy,
                                            const typename Element<E>::Store* RESTRICT w, const float* RESTRICT std,
                                            const float* RESTRICT scale, int height, int width, int c) {
    using namespace dgrad;
    using T = typename Element<E>::Store;
    constexpr int BK = kRow / sizeof(T), kChunk = 16 / sizeof(T), kStep = 32 / sizeof(T), kPair = 4 / sizeof(T);
    constexpr int kMine = (kFragments + kWarps - 1) / kWarps;   // fragments of a warp: warp, warp + kWarps, ...
    static_assert(kHalo % 8 == 4 && kThreads == TH * TW, "columns of z are 8 banks apart; a thread is a pixel");
    static_assert(kK * kHalo * 4 <= kFragments * 16 * kRow, "z must fit where dy was");
    __shared__ __align__(128) unsigned char s_dy[kFragments * 16 * kRow];
    float* s_z = (float*)s_dy;   // (column, pixel)
    int t = threadIdx.x, lane = t & 31, warp = t >> 5;
    int across = (width + TW - 1) / TW, ty = blockIdx.x / across;
    int y0 = ty * TH, x0 = (blockIdx.x - ty * across) * TW, n = blockIdx.z;
    uint32_t s = shared_address(s_dy);
    wait_for_previous();
    start_next();
    float acc[kMine][4][4] = {};
    for (int c0 = 0; c0 < c; c0 += BK) {
#pragma unroll 2   // more would hold addresses in registers, and copies do not wait
        for (int i = t; i < kFragments * 16 * 8; i += kThreads) {
            // Chunk ch of pixel q of the halo, at ch ^ (q % 8): eight threads read 128 neighbouring bytes, and ldmatrix
            // hits no bank twice.
            int q = i >> 3, ch = i & 7, yy = y0 + q / kHaloW - 1, xx = x0 + q % kHaloW - 1;
            bool in = q < kHalo && (unsigned)yy < (unsigned)height && (unsigned)xx < (unsigned)width;
            copy16(s + q * kRow + ((ch ^ (q & 7)) << 4),
                   dy + (in ? (((size_t)n * height + yy) * width + xx) * c + c0 + ch * kChunk : 0), in ? 16 : 0);
        }
        copy_commit();
        copy_wait<0>();
        __syncthreads();   // these channels are there
#pragma unroll
        for (int kk = 0; kk < 4; kk++) {
            // Weights from the caches: column 9 i + tap of z is row 9 i + tap of w, and columns from 27 on are zeros.
            uint32_t b[4][2];
#pragma unroll
            for (int j = 0; j < 4; j++)
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    int col = j * 8 + (lane >> 2), at = c0 + kk * kStep + (lane & 3) * kPair + r * kStep / 2;
                    b[j][r] = col < kK ? *(const uint32_t*)(w + (size_t)col * c + at) : 0;
                }
#pragma unroll
            for (int m = 0; m < kMine; m++) {
                // Lane l gives the address of row l%16, chunk l/16, of 16 pixels of the halo.
                int q = (warp + kWarps * m) * 16 + (lane & 15);
                if (warp + kWarps * m >= kFragments) continue;
                uint32_t a[4];
                load_matrices(a, s + q * kRow + (((kk * 2 + (lane >> 4)) ^ (q & 7)) << 4));
                round_operand(E{}, a);
#pragma unroll
                for (int j = 0; j < 4; j++) mma(E{}, acc[m][j], a, b[j][0], b[j][1]);
            }
        }
        __syncthreads();   // these channels are done with
    }
    float by = scale[n], deviation[kIn] = {std[0], std[1], std[2]};   // under way while z is written
#pragma unroll
    for (int m = 0; m < kMine; m++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int r = 0; r < 4; r++) {
                // A fragment is rows lane/4 and lane/4 + 8, columns 2 (lane%4) and the next.
                int q = (warp + kWarps * m) * 16 + (lane >> 2) + (r >> 1) * 8, col = j * 8 + (lane & 3) * 2 + (r & 1);
                if (q < kHalo && col < kK) s_z[col * kHalo + q] = acc[m][j][r];
            }
    __syncthreads();   // z is there
    // Each thread has a pixel, each warp a line of the tile. Pixel (py, px) finds tap (r, s) at (py + r, px + s) of the
    // halo; threads of a warp read neighbours in every column of z.
    int py = t / TW, px = t % TW;
    if (y0 + py >= height || x0 + px >= width) return;
#pragma unroll
    for (int i = 0; i < kIn; i++) {
        float v = 0.f;
#pragma unroll
        for (int tap = 0; tap < 9; tap++) v += s_z[(i * 9 + tap) * kHalo + (py + tap / 3) * kHaloW + px + tap % 3];
        dx[(((size_t)n * height + y0 + py) * width + x0 + px) * kIn + i] = v / by / deviation[i];
    }
}

#define CONV3X3_FIRST(E)                                                                                         \
    extern "C" __global__ __launch_bounds__(fprop::kThreads, sizeof(Element<E>::Store) == 2 ? 3 : 2)             \
        void conv3x3_first_fprop_##E##_nhwc_128x64(                                                              \
        const float* RESTRICT x, const float* mean, const float* std, const Element<E>::Store* w,                \
        const float* MAYBE_NULL bias, Element<E>::Store* MAYBE_NULL RESTRICT y,                                  \
        Element<E>::Store* MAYBE_NULL RESTRICT pooled, uint8_t* MAYBE_NULL RESTRICT positive,                    \
        float* MAYBE_NULL RESTRICT part, int each, int height, int width, int k, flag relu) {                    \
        Epilogue<Element<E>::Store> e = {y, pooled, positive, bias};                                             \
        e.relu = relu;                                                                                           \
        first_fprop<E>(x, mean, std, w, part, each, height, width, k, e);                                        \
    }                                                                                                            \
    extern "C" __global__ __launch_bounds__(dgrad::kThreads, 3) void conv3x3_first_dgrad_##E##_nhwc_256x3(       \
        float* RESTRICT dx, const Element<E>::Store* RESTRICT dy, const Element<E>::Store* RESTRICT w,           \
        const float* RESTRICT std, const float* RESTRICT scale, int height, int width, int c) {                  \
        first_dgrad<E>(dx, dy, w, std, scale, height, width, c);                                                 \
    }
CONV3X3_FIRST(f16)
CONV3X3_FIRST(bf16)
CONV3X3_FIRST(tf32)
