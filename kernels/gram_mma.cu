// gram_fwd_mma, gram_coef, gram_style: Gram matrices on tensor cores; style losses; the matrices of their gradients.   GEMM
// Maths    fwd    part[n,split,i,j] = sum_p f[n,p,i] f[n,p,j] over the split's pixels, fp32 sums
//          coef   w[n,i,j] = scale S (dg[n,i,j] + dg[n,j,i]): the style gradient is then sum_j w[i,j] f[j], a product of
//                 conv3x3_mma
//          style  g = norm sum of the splits; loss part = sum (g - target)^2;
//                 w[n,i,j] = scale S (2 g[i,j] - target[i,j] - target[j,i]): coef of the gradient of the mean square
// Layout   f (N,P,C) in E; part fp32; w (N,C,C) in E's storage type; target (N or 1,C,C) fp32; S the loss scale
// Shapes   C a multiple of 64
// Launch   fwd and style take the layers of a network together, so that they fill a GPU and wait once; a block looks its layer
//          up in a table. fwd: 128 threads = 4 warps as 2x2; a block for each picture, split and 64x64 tile on or above the
//          diagonal; the others' place in part is not written, readers mirror. style: 256 threads; C*C*G/256 blocks per
//          picture: 256/G elements, G threads for each, which add a share of the splits. coef: 256 threads; grid
//          (ceil(C*C/256), N)
// Tile     64x64 outputs, 32 pixels deep; warp 32x32; 4 stages, 3 in tf32; on the diagonal both operands are one tile
// Budget   shared 4 * 2 * 32 * 128 B = 32 KiB, 3 * 2 * 32 * 256 B = 48 KiB in tf32
// Banks    16-byte chunk ch of pixel p stands at ch ^ (p % 8): a row of 128 bytes is every bank once; in tf32, where four
//          pixels by eight channels are read, at ch ^ 2 (p % 4)
// Hazards  one barrier per step: after it the stage is there, and the one that is filled next was read a step ago; tables are
//          constants and may be read while the launch before still runs
// Order    splits of at most 1024 pixels, added in order in fp32: the tensor core's truncation stays below 1e-5
// Oracle   ref.GramFwd, ref.GramBwd   Suite kerneltest
// ptx: sm_80 sm_90
#include "gram.cuh"
#include "overlap.cuh"
#include "params.cuh"
#include "reduce.cuh"

constexpr int BT = 64, BP = 32, kThreads = 128;

// Where 16 bytes of a pixel's channels stand.
template <class T>
__device__ __forceinline__ uint32_t chunk(int pixel, int ch) {
    int swizzle = sizeof(T) == 2 ? pixel & 7 : (pixel & 3) << 1;
    return pixel * BT * sizeof(T) + ((ch ^ swizzle) << 4);
}

// A pointer out of a table: the compiler may take it for global memory.
template <class T>
__device__ __forceinline__ T* global(T* p) {
    __builtin_assume(__isGlobal(p));
    return p;
}

// A layer whose Gram matrix is wanted; first is the first of its blocks.
struct Layer {
    const void* f;
    float* part;
    int pixels, c, splits, first;
};

// The layer of this block: the last that begins at it or before.
template <class L>
__device__ __forceinline__ const L& layer_of_block(const L* layers, int count) {
    int i = count - 1;
    while (layers[i].first > (int)blockIdx.x) i--;
    return layers[i];
}

template <class E>
__device__ __forceinline__ void gram(const Layer* layers, int count, int pps) {
    using T = typename Element<E>::Store;
    constexpr int kRow = BT * sizeof(T), kTile = BP * kRow, kChunks = kRow / 16, kRows = kThreads / kChunks;
    constexpr int kStages = sizeof(T) == 2 ? 4 : 3;
    __shared__ __align__(128) unsigned char s_tiles[kStages * 2 * kTile];   // (stage, a or b, pixel, channel)
    int t = threadIdx.x, warp = t >> 5, wm = (warp >> 1) * 32, wn = (warp & 1) * 32;
    const Layer& l = layer_of_block(layers, count);
    // Blocks of a layer: pictures, in each its splits, in each its tiles on or above the diagonal.
    int pixels = l.pixels, c = l.c, side = c / BT, tiles = side * (side + 1) / 2, block = blockIdx.x - l.first;
    int share = block / tiles, tile = block - share * tiles, n = share / l.splits, split = share - n * l.splits, i0 = 0;
    for (; tile >= side - i0; i0++) tile -= side - i0;   // row by row, from the diagonal on
    int j0 = (i0 + tile) * BT;
    i0 *= BT;
    // Pixels [p0, p1), BP to a step.
    int p0 = split * pps, p1 = min(pixels, p0 + pps), steps = (p1 - p0 + BP - 1) / BP;
    const T* fn = (const T*)l.f + (size_t)n * pixels * c;
    uint32_t s = shared_address(s_tiles);
    int ch = t % kChunks, row = t / kChunks;   // copies: chunk ch of pixels row, row + kRows, ..., of both tiles
    bool diagonal = i0 == j0;   // a and b are one tile
    auto fill = [&](int step) {
        if (step < steps) {
            uint32_t tile = s + step % kStages * 2 * kTile;
#pragma unroll
            for (int r = row; r < BP; r += kRows) {
                int p = p0 + step * BP + r;
                // kChunks threads read the 64 channels of a pixel in a row; after the last pixel zeros are written, and
                // nothing is read.
                int bytes = p < p1 ? 16 : 0;
                const T* src = fn + (size_t)(p < p1 ? p : p0) * c + ch * (16 / sizeof(T));
                copy16(tile + chunk<T>(r, ch), src + i0, bytes);
                if (!diagonal) copy16(tile + kTile + chunk<T>(r, ch), src + j0, bytes);
            }
        }
        copy_commit();
    };
    wait_for_previous();
    start_next();
    // All stages but one are on their way before the first is needed; fill commits a group even where there is nothing to
    // fill, so that the number of groups tells which stage has come.
#pragma unroll
    for (int step = 0; step < kStages - 1; step++) fill(step);
    float acc[2][4][4] = {};
    for (int step = 0; step < steps; step++) {
        copy_wait<kStages - 2>();
        __syncthreads();   // the stage is there for all, and the one before is done with
        fill(step + kStages - 1);
        const unsigned char* s_a = s_tiles + step % kStages * 2 * kTile;
        // 32 bytes of pixels at a time.
#pragma unroll
        for (int kk = 0; kk < BP; kk += 32 / sizeof(T))
            gram_products(E{}, acc, s_a, diagonal ? s_a : s_a + kTile, wm, wn, kk,
                          [](int pixel, int ch) { return chunk<T>(pixel, ch * sizeof(T) / 16); });
    }
    // Every split has its matrix: the order in which they are added is not that in which they finish.
    gram_store(global(l.part) + (size_t)share * c * c + (size_t)(i0 + wm) * c + j0 + wn, acc, c);
}

#define GRAM_MMA(E)                                                                                              \
    extern "C" __global__ __launch_bounds__(kThreads) void gram_fwd_mma_##E##_64x64x32(                          \
        const Layer* layers, int count, int pps) {                                                               \
        gram<E>(layers, count, pps);                                                                             \
    }
GRAM_MMA(f16)
GRAM_MMA(bf16)
GRAM_MMA(tf32)

// tf32 coefficients are rounded here, as weights are by the host.
__device__ __forceinline__ void store_operand(f16* p, float v) { store(p, v); }
__device__ __forceinline__ void store_operand(bf16* p, float v) { store(p, v); }
__device__ __forceinline__ void store_operand(f32* p, float v) { *p = rounded(tf32{}, v); }

// Thread e has element (i, j); of the two that it adds one is read along a row, the other down a column.
#define GRAM_COEF(T)                                                                                             \
    extern "C" __global__ __launch_bounds__(256) void gram_coef_##T(                                             \
        T* __restrict__ w, const float* __restrict__ dg, const float* __restrict__ loss_scale, float scale,      \
        int c) {                                                                                                 \
        int e = blockIdx.x * blockDim.x + threadIdx.x;                                                           \
        if (e >= c * c) return;                                                                                  \
        size_t n = blockIdx.y;                                                                                   \
        int i = e / c, j = e - i * c;                                                                            \
        const float* g = dg + n * c * c;                                                                         \
        store_operand(w + n * c * c + e, scale * *loss_scale * (g[e] + g[j * c + i]));                           \
    }
FOR_EACH_TYPE(GRAM_COEF)

// The style loss of a layer; first is the first of its blocks.
struct Style {
    float* loss;   // (N, blocks)
    void* w;
    const float *part, *target;
    float norm, scale;
    int c, splits;
    flag one_target;
    int groups, first;
};

template <class T>
__device__ __forceinline__ void gram_style(const Style* styles, int count, const float* loss_scale) {
    __shared__ float s_sum[kReduceThreads];   // (group, element)
    const Style& l = layer_of_block(styles, count);
    int c = l.c, splits = l.splits, groups = l.groups, per = kReduceThreads / groups, blocks = c * c / per;
    int n = (blockIdx.x - l.first) / blocks, block = blockIdx.x - l.first - n * blocks;
    // A block has per elements, and groups threads for each: thread (group, element) adds a share of the splits.
    int group = threadIdx.x / per, element = threadIdx.x - group * per;
    int e = block * per + element, i = e / c, j = e - i * c;
    int mirrored = j * c + i;
    size_t cc = (size_t)c * c;
    // Tiles below the diagonal were never written: their elements are those mirrored.
    const float* p = global(l.part) + n * splits * cc + (j / BT < i / BT ? mirrored : e);
    const float* a = global(l.target) + (l.one_target ? 0 : n * cc);
    // The table may be read before the launch ahead has ended, what it points to only after.
    int each = (splits + groups - 1) / groups, to = min(splits, (group + 1) * each);
    wait_for_previous();
    start_next();
    float s = 0.f;
#pragma unroll 8
    for (int k = group * each; k < to; k++) s += p[k * cc];
    s_sum[threadIdx.x] = s;
    __syncthreads();
    float square = 0.f;
    // The shares in order, by the first group; it has the element's whole sum then, and makes loss and coefficient of it.
    if (group == 0) {
        for (int k = 1; k < groups; k++) s += s_sum[k * per + element];
        float g = l.norm * s;
        float d = g - a[e];
        square = d * d;
        store_operand(global((T*)l.w) + n * cc + e, l.scale * *loss_scale * (d + (g - a[mirrored])));
    }
    square = block_sum(square);
    if (threadIdx.x == 0) global(l.loss)[n * blocks + block] = square;
}

#define GRAM_STYLE(T)                                                                                            \
    extern "C" __global__ __launch_bounds__(kReduceThreads) void gram_style_##T(                                 \
        const Style* styles, int count, const float* loss_scale) {                                               \
        gram_style<T>(styles, count, loss_scale);                                                                \
    }
FOR_EACH_TYPE(GRAM_STYLE)
