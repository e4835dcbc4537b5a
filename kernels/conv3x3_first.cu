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

// Convolves a line of a tile, of whose 16 pixels a has the products, with the 64 channels whose weights are w (64,32); adds biases,
// does the ReLU, and stages it. A warp does this.
template <class E, bool RELU>
__device__ __forceinline__ void first_line(const uint32_t (&a)[sizeof(typename Element<E>::Store)][4], const typename Element<E>::Store* w,
                                           const float* s_bias, unsigned char* s_tile, int line) {
    using T = typename Element<E>::Store;
    constexpr int kHalves = sizeof(T) / 2;   // of a thread's weights of a channel, two mmas each
    constexpr int kAhead = 8 / sizeof(T);    // groups of eight channels whose weights are loaded together
    int lane = threadIdx.x & 31, pixel = line * fprop::TW, col = (lane & 3) * 2;
    // Where the first channels of a pixel are staged; those of another eight are where the swizzle of j has them. With stmatrix it
    // is of the pixel whose row a lane gives, else of the one whose pairs it has.
#if __CUDA_ARCH__ >= 900
    uint32_t channels = shared_address(s_tile) + staged<f16>(pixel + (lane & 15), lane >> 4, 0);
#else
    uint32_t channels = shared_address(s_tile) + staged<f16>(pixel + (lane >> 2), 0, 0) + col * 2;
#endif
    const uint4* mine = (const uint4*)(w + (lane >> 2) * kPadded + (lane & 3) * 8);
    asm volatile("" : "+l"(mine));   // one address; the compiler would make one for each channel
    uint4 weights[kAhead][kHalves];
    uint32_t pairs[4];
#pragma unroll
    for (int j = 0; j < 8; j++) {
        // Eight channels at a time; a thread has the weights of channel 8 j + lane/4, straight from the caches, those of kAhead
        // j at once.
        if (j % kAhead == 0)
#pragma unroll
            for (int m = 0; m < kAhead; m++)
#pragma unroll
                for (int half = 0; half < kHalves; half++) weights[m][half] = mine[(j + m) * (8 * kPadded * sizeof(T) / 16) + half];
        float acc[4] = {};
#pragma unroll
        for (int half = 0; half < kHalves; half++) {
            uint4 b = weights[j % kAhead][half];
            mma(E{}, acc, a[half * 2], b.x, b.y);
            mma(E{}, acc, a[half * 2 + 1], b.z, b.w);
        }
        // Sums are two channels of pixel lane/4, and of the one 8 beyond.
        float2 bias = *(const float2*)(s_bias + j * 8 + col);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float u = acc[h * 2] + bias.x, v = acc[h * 2 + 1] + bias.y;
            if constexpr (sizeof(T) == 2) {
                pairs[j % 2 * 2 + h] = RELU ? relu2(E{}, u, v) : pack2(E{}, u, v);
            } else {
                if (RELU) u = max_nan(u, 0.f), v = max_nan(v, 0.f);
                stage2(E{}, s_tile, pixel + (lane >> 2) + h * 8, j * 8 + col, u, v);
            }
        }
        if constexpr (sizeof(T) == 2)
            if (j % 2) {
#if __CUDA_ARCH__ >= 900
                store_matrices(channels ^ (j - 1) << 4, pairs);
#else
#pragma unroll
                for (int q = 0; q < 4; q++)
                    *(uint32_t*)__cvta_shared_to_generic((channels ^ (j - 1 + (q >> 1)) << 4) + (q & 1) * (8 * 128)) = pairs[q];
#endif
            }
    }
}

// What is the same for every tile is not restricted: it would be loaded before the first and held in forty registers.
template <class E>
__device__ __forceinline__ void first_fprop(const float* RESTRICT x, const float* mean, const float* std,
                                            const typename Element<E>::Store* w, float* RESTRICT part, int each, int height,
                                            int width, int k, const Epilogue<typename Element<E>::Store>& e) {
    using namespace fprop;
    using T = typename Element<E>::Store;
    constexpr int kStep = 32 / sizeof(T), kSteps = kPadded / kStep, kPair = 4 / sizeof(T);   // k of an mma; values of a register
    constexpr int kPixel = kChannels * sizeof(T);   // bytes of one in the staged tile
    __shared__ __align__(128) unsigned char s_tile[TH * TW * kPixel];
    __shared__ T s_patch[kPatch];   // (row, column, channel)
    __shared__ float s_mean_std[2][kIn + kFill - 1];   // from the first channel on again behind the last
    __shared__ __align__(8) float s_bias[kChannels];
    int t = threadIdx.x, lane = t & 31, warp = t >> 5, wm = (warp >> 2) * 32, wn = (warp & 3) * 16;
    int across = (width + TW - 1) / TW, tiles = across * ((height + TH - 1) / TH);
    int n0 = blockIdx.y * kChannels, n = blockIdx.z, first = blockIdx.x * each, last = min(first + each, tiles);
    // A thread's products are eight neighbours, for gemm_k may be in any order: its weights are 16 or 32 bytes.
    int at[8];
#pragma unroll
    for (int i = 0; i < 8; i++) at[i] = gather((lane & 3) * 8 + i);
    // Value t + m kThreads of a patch, m < kFill, is channel (t + m) % 3 of a pixel: neighbouring threads read a line of it, 54
    // values, one after another. Values of the next tile are on their way while this one is computed.
    static_assert(kThreads % kIn == 1, "a thread's values are of one channel after another");
    auto in_patch = [&](int m) { return (m + 1) * kThreads <= kPatch || t < kPatch - m * kThreads; };
    const float* mine = s_mean_std[0] + t % kIn;   // the mean of a thread's first channel; the deviation is kIn + kFill - 1 further
    float next[kFill];
    auto fetch = [&](int y0, int x0) {
        const float* corner = x + (((ptrdiff_t)n * height + y0 - 1) * width + x0 - 1) * kIn;
        asm volatile("" : "+l"(corner));   // one address, as of the weights
        bool whole = y0 > 0 && x0 > 0 && y0 + TH < height && x0 + TW < width;
#pragma unroll
        for (int m = 0; m < kFill; m++) {
            constexpr int kLine = kPatchW * kIn;
            int i = again(t) + m * kThreads, line = i / kLine, in_line = i - line * kLine;
            bool there = in_patch(m);
            if (!whole) there = there && (unsigned)(y0 - 1 + line) < (unsigned)height && (unsigned)(x0 - 1 + in_line / kIn) < (unsigned)width;
            next[m] = there ? corner[line * width * kIn + in_line] : mine[m];   // outside it becomes 0
        }
    };
    float sums[2][2][4] = {};   // of the Gram matrix
    int y0 = first / across * TH, x0 = first % across * TW;
    if (t < kIn + kFill - 1) s_mean_std[0][t] = mean[t % kIn], s_mean_std[1][t] = std[t % kIn];
    if (t < kChannels) s_bias[t] = e.bias ? e.bias[n0 + t] : 0.f;
    __syncthreads();   // mean, deviation and bias are there
    wait_for_previous();
    start_next();
    fetch(y0, x0);
    for (int tile = first; tile < last; tile++) {
#pragma unroll
        for (int m = 0; m < kFill; m++) {
            if (!in_patch(m)) continue;
            float u = (next[m] - mine[m]) / mine[kIn + kFill - 1 + m];
            store(&s_patch[t + m * kThreads], sizeof(T) == 4 ? rounded(E{}, u) : u);   // 16 bits are rounded as they are stored
        }
        __syncthreads();   // the patch is there, the tile before is done with
        int y1 = x0 + TW < width ? y0 : y0 + TH, x1 = x0 + TW < width ? x0 + TW : 0;   // the next tile
        if (tile + 1 < last) fetch(y1, x1);
        // A warp has a line of the tile, 16 pixels.
        uint32_t a[kSteps][4];
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
        const T* weights = w + (size_t)n0 * kPadded;
        if (e.relu)
            first_line<E, true>(a, weights, s_bias, s_tile, warp);
        else
            first_line<E, false>(a, weights, s_bias, s_tile, warp);
        if (part && (y0 + TH > height || x0 + TW > width)) {   // pixels outside must not count in the Gram matrix
            __syncwarp();   // the line is staged
            int column = lane >> 1;   // half a pixel is a thread's
            uint4* half = (uint4*)(s_tile + (warp * TW + column) * kPixel + (lane & 1) * (kPixel / 2));
            if (y0 + warp >= height || x0 + column >= width)
#pragma unroll
                for (int i = 0; i < kPixel / 32; i++) half[i] = make_uint4(0, 0, 0, 0);
        }
        __syncthreads();   // the tile is staged
        Finish<E, TH * TW, TW, kThreads, 0> end(e, s_tile, t, height, width, k);
        end.begin(n, y0, x0, n0);
        end.finish();
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
    static_assert(kThreads == 32 * 8, "a thread copies a chunk of every 32nd pixel");
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
        // Chunk ch of pixel q of the halo, at ch ^ (q % 8): eight threads read 128 neighbouring bytes, and ldmatrix hits no bank
        // twice. A thread has one chunk of every 32nd pixel: a line of the halo less two further each time.
        int q = t >> 3, ch = t & 7, yy = y0 - 1 + q / kHaloW, xx = x0 - 1 + q % kHaloW, chunks = c / kChunk;
        int from = (yy * width + xx) * chunks + c0 / kChunk + ch;   // in the picture's chunks
        uint32_t to = s + q * kRow + ((ch ^ (q & 7)) << 4);
#pragma unroll 1   // more would hold addresses in registers, and copies do not wait
        for (; q < kFragments * 16; q += 32, to += 32 * kRow) {
            bool in = q < kHalo && (unsigned)yy < (unsigned)height && (unsigned)xx < (unsigned)width;
            copy16(to, dy + (in ? ((size_t)n * height * width * chunks + from) * kChunk : 0), in ? 16 : 0);
            from += 32 * chunks, xx += 32;
            if (xx >= x0 - 1 + kHaloW) xx -= kHaloW, yy++, from += (width - kHaloW) * chunks;
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
                if (((m + 1) * kWarps * 16 <= kHalo || q < kHalo) && col < kK) s_z[col * kHalo + q] = acc[m][j][r];
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
