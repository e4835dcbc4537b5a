// gram_fwd_mma, gram_coef, gram_style: Gram matrices on tensor cores; style losses; the matrices of their gradients.   GEMM
// Maths    fwd    part[n,split,i,j] = sum_p f[n,p,i] f[n,p,j] over the split's pixels, fp32 sums
//          coef   w[n,i,j] = scale S (dg[n,i,j] + dg[n,j,i]): the style gradient is then sum_j w[i,j] f[j], a product of
//                 conv3x3_mma
//          style  g = norm sum of the splits; loss part = sum (g - target)^2;
//                 w[n,i,j] = scale weight[n] S (2 g[i,j] - target[i,j] - target[j,i]): coef of the gradient of the mean square
// Layout   f (N,P,C) in E; part fp32; w (N,C,C) in E's storage type; target (N or 1,C,C) fp32; S the loss scale of a picture
// Shapes   C a multiple of 64
// Launch   fwd and style take the layers of a network together, so that they fill a GPU and wait once; a block looks its layer
//          up in a table. fwd: 128 threads = 4 warps as 2x2; a block for each picture, split and 64x64 tile on or above the
//          diagonal; the others' place in part is not written, readers mirror. style: 256 threads; 4 G blocks for each
//          such tile of a picture: 16/G of its rows, G threads for four elements, which add a share of the splits; coefficients
//          below the diagonal are those above, turned in shared memory. coef: 256 threads; grid (ceil(C*C/256), N)
// Tile     64x64 outputs, 32 pixels deep; warp 32x32; 4 stages, 3 in tf32; on the diagonal both operands are one tile
// Budget   shared 4 * 2 * 32 * 128 B = 32 KiB, 3 * 2 * 32 * 256 B = 48 KiB in tf32
// Banks    16-byte chunk ch of pixel p stands at ch ^ (p % 8): a row of 128 bytes is every bank once; in tf32, where four
//          pixels by eight channels are read, at ch ^ 2 (p % 4)
// Hazards  one barrier per step: after it the stage is there, and the one that is filled next was read a step ago; tables are
//          constants and may be read while the launch before still runs
// Order    splits of at most 1024 pixels, added in order in fp32: the tensor core's truncation stays below 1e-5
// Oracle   ref.GramFwd, ref.GramBwd   Suite kerneltest
// ptx: sm_80 sm_90
#include <type_traits>

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
    static_assert(BP % kRows == 0 && kRows % 8 == 0, "a thread's chunks are swizzled alike");
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
    bool diagonal = i0 == j0;   // a and b are one tile
    // Copies: a thread has chunk t % kChunks of pixels row, row + kRows, ... of both tiles, kChunks threads the 64 channels of a pixel
    // in a row. Places are counted on from step to step; after the last pixel zeros are written, and nothing is read.
    int row = t / kChunks, left = p1 - p0 - row, filled = 0;
    uint32_t place = chunk<T>(row, t % kChunks);
    const T* from = fn + (size_t)(p0 + row) * c + i0 + t % kChunks * (16 / sizeof(T));
    auto fill = [&] {
        if (filled < steps) {
            uint32_t to = s + filled % kStages * 2 * kTile + place;
#pragma unroll
            for (int r = 0; r < BP; r += kRows) {
                int bytes = r < left ? 16 : 0;
                const T* src = r < left ? from + r * c : fn;
                copy16(to + r * kRow, src, bytes);
                if (!diagonal) copy16(to + kTile + r * kRow, src + (j0 - i0), bytes);
            }
        }
        filled++, left -= BP, from += BP * c;
        copy_commit();
    };
    wait_for_previous();
    start_next();
    // All stages but one are on their way before the first is needed; fill commits a group even where there is nothing to
    // fill, so that the number of groups tells which stage has come.
#pragma unroll
    for (int step = 0; step < kStages - 1; step++) fill();
    float acc[2][4][4] = {};
    for (int step = 0; step < steps; step++) {
        copy_wait<kStages - 2>();
        __syncthreads();   // the stage is there for all, and the one before is done with
        fill();
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
        store_operand(w + n * c * c + e, scale * loss_scale[n] * (g[e] + g[j * c + i]));                           \
    }
FOR_EACH_TYPE(GRAM_COEF)

// The style loss of a layer; first is the first of its blocks.
struct Style {
    float* loss;   // (N, blocks)
    void* w;
    const float *part, *target, *weight;   // weight: that of the loss, of each picture one in so many columns
    float norm, scale;
    int c, splits;
    flag one_target;
    int groups, first;
};

// A block of gram_style has kStrip / groups rows of a tile; a thread has four elements of one, and kSplits of their splits under way.
constexpr int kStrip = 16, kSplits = 8;
static_assert(kStrip * BT == 4 * kReduceThreads, "a group of all threads has kStrip rows");
constexpr int kLogStrip = 4, kLogTile = 6, kLogThreads = 8;
static_assert(1 << kLogStrip == kStrip && 1 << kLogTile == BT && 1 << kLogThreads == kReduceThreads, "powers of two");

template <class T>
__device__ __forceinline__ void gram_style(const Style* styles, int count, const float* loss_scale, int columns) {
    __shared__ float4 s_sum[kReduceThreads];      // (group, four elements)
    __shared__ float s_turned[kStrip][BT + 1];    // the target, mirrored; then the coefficients; a column more, for the banks
    const Style& l = layer_of_block(styles, count);
    // groups is a power of two, and so is what is divided by it: shifts, for a thread would divide twelve times, with twenty
    // instructions each.
    int log_groups = __ffs(l.groups) - 1, log_per = kLogThreads - log_groups, log_rows = kLogStrip - log_groups;
    int c = l.c, splits = l.splits, groups = 1 << log_groups, per = 1 << log_per, rows = 1 << log_rows, strips = BT >> log_rows;
    // Blocks of a layer: pictures, in each its tiles on or above the diagonal, in each its strips.
    int side = c / BT, blocks = side * (side + 1) / 2 * strips, block = blockIdx.x - l.first, n = block / blocks, i0 = 0;
    block -= n * blocks;
    int strip = block & (strips - 1), tile = block >> (kLogTile - log_rows);
    for (; tile >= side - i0; i0++) tile -= side - i0;   // row by row, from the diagonal on
    int j0 = (i0 + tile) * BT;
    bool diagonal = tile == 0;
    i0 = i0 * BT + strip * rows;
    // Groups of threads share the splits: thread (group, quad) adds those of its group.
    int t = threadIdx.x, group = t >> log_per, quad = t & (per - 1), row = quad / (BT / 4), col = quad % (BT / 4) * 4;
    size_t cc = (size_t)c * c, e = (size_t)(i0 + row) * c + j0 + col;
    const float* p = global(l.part) + n * splits * cc + e;
    const float* a = global(l.target) + (l.one_target ? 0 : n * cc);
    T* w = global((T*)l.w) + n * cc;
    // The table may be read before the launch ahead has ended, what it points to only after.
    int each = (splits + groups - 1) >> log_groups, to = min(splits, (group + 1) * each);
    wait_for_previous();
    start_next();
    float by = l.scale * global(l.weight)[(size_t)n * columns] * loss_scale[n];
    float4 own = *(const float4*)(a + e), s = {};
    // Neighbouring threads read neighbours of a column of the strip, which are a row of the mirrored target.
    float turned[kStrip * BT / kReduceThreads];
#pragma unroll
    for (int q = 0; q < kStrip * BT / kReduceThreads; q++) {
        int i = t + q * kReduceThreads, j = i >> log_rows;
        if (i < rows * BT) turned[q] = a[(size_t)(j0 + j) * c + i0 + (i & (rows - 1))];
    }
    for (int k0 = group * each; k0 < to; k0 += kSplits) {
        float4 v[kSplits];
#pragma unroll
        for (int k = 0; k < kSplits; k++) v[k] = k0 + k < to ? *(const float4*)(p + (k0 + k) * cc) : float4{};
#pragma unroll
        for (int k = 0; k < kSplits; k++) s.x += v[k].x, s.y += v[k].y, s.z += v[k].z, s.w += v[k].w;
    }
    s_sum[t] = s;
#pragma unroll
    for (int q = 0; q < kStrip * BT / kReduceThreads; q++) {
        int i = t + q * kReduceThreads, j = i >> log_rows;
        if (i < rows * BT) s_turned[i & (rows - 1)][j] = turned[q];
    }
    __syncthreads();   // shares and mirrored targets are there
    float square = 0.f;
    // The shares in order, by the first group; it has the elements' whole sums then, and makes loss and coefficients of them.
    if (group == 0) {
        for (int k = 1; k < groups; k++) {
            float4 v = s_sum[k * per + quad];
            s.x += v.x, s.y += v.y, s.z += v.z, s.w += v.w;
        }
        float sums[4] = {s.x, s.y, s.z, s.w}, targets[4] = {own.x, own.y, own.z, own.w};
        __align__(16) T out[4];
#pragma unroll
        for (int q = 0; q < 4; q++) {
            float g = l.norm * sums[q], d = g - targets[q], mirrored = g - s_turned[row][col + q], v = by * (d + mirrored);
            square += d * d;
            // What lies below the diagonal is part of the loss too, and has the same coefficient.
            if (!diagonal) square += mirrored * mirrored;
            s_turned[row][col + q] = v;
            store_operand(out + q, v);
        }
        using Four = typename std::conditional<sizeof(T) == 2, uint2, uint4>::type;
        *(Four*)(w + e) = *(const Four*)out;
    }
    if (!diagonal) {
        __syncthreads();   // the coefficients are there
        for (int i = t; i < rows * BT; i += kReduceThreads) {
            int j = i >> log_rows, row = i & (rows - 1);
            store_operand(w + (size_t)(j0 + j) * c + i0 + row, s_turned[row][j]);
        }
    }
    square = block_sum(square);
    if (t == 0) global(l.loss)[n * blocks + block] = square;
}

#define GRAM_STYLE(T)                                                                                            \
    extern "C" __global__ __launch_bounds__(kReduceThreads, 5) void gram_style_##T(                              \
        const Style* styles, int count, const float* loss_scale, int columns) {                                  \
        gram_style<T>(styles, count, loss_scale, columns);                                                       \
    }
FOR_EACH_TYPE(GRAM_STYLE)
