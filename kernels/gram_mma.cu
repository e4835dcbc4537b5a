// gram_fwd_mma, gram_coef, gram_style: Gram matrix on tensor cores; style loss; the matrix of its gradient.   GEMM
// Maths    fwd    part[n,split,i,j] = sum_p f[n,p,i] f[n,p,j] over the split's pixels, fp32 sums
//          coef   w[n,i,j] = scale S (dg[n,i,j] + dg[n,j,i]): the style gradient is then sum_j w[i,j] f[j], a product of
//                 conv3x3_mma
//          style  g = norm sum of the splits; loss part = sum (g - target)^2;
//                 w[n,i,j] = scale S (2 g[i,j] - target[i,j] - target[j,i]): coef of the gradient of the mean square
// Layout   f (N,P,C) in E; part fp32; w (N,C,C) in E's storage type; target (N or 1,C,C) fp32; S the loss scale
// Shapes   C a multiple of 64
// Launch   fwd: 128 threads = 4 warps as 2x2; grid (C/64, C/64, N*splits), blocks below the diagonal return at once and
//          leave their tile of part alone; gram_sum_f32 or style adds the splits in order, mirrored where they are missing.
//          coef: 256 threads; grid (ceil(C*C/256), N). style: 256 threads, grid (C*C*G/256, N): 256/G elements, G
//          threads for each, which add a share of the splits: 4 where there are many, else 1
// Tile     64x64 outputs, 32 pixels deep; warp 32x32; 2 stages
// Budget   shared 2 * 2 * 32 * 128 B = 16 KiB, twice that in tf32
// Banks    16-byte chunk ch of pixel p stands at ch ^ (p % 8): a row of 128 bytes is every bank once; in tf32, where four
//          pixels by eight channels are read, at ch ^ 2 (p % 4)
// Hazards  as conv3x3_mma
// Order    splits of 2048 pixels, added in order in fp32: the tensor core's truncation stays below 1e-5
// Oracle   ref.Gram, ref.GramGrad   Suite kerneltest
// ptx: sm_80
#include "mma.cuh"
#include "reduce.cuh"

constexpr int BT = 64, BP = 32, kThreads = 128;

// Where 16 bytes of a pixel's channels stand.
template <class T>
__device__ __forceinline__ uint32_t chunk(int pixel, int ch) {
    int swizzle = sizeof(T) == 2 ? pixel & 7 : (pixel & 3) << 1;
    return pixel * BT * sizeof(T) + ((ch ^ swizzle) << 4);
}

// Fragments of channels ch … +15 of A and of B, two n8 wide, by pixels kk …, which lie pixel by pixel: 16-bit matrices are
// transposed on the way, values of 32 bits are read one by one.
template <class T>
__device__ __forceinline__ void load_a(uint32_t (&a)[4], const unsigned char*, uint32_t tile, int ch, int kk) {
    int lane = threadIdx.x & 31;
    load_matrices_trans(a, tile + chunk<T>(kk + (lane & 7) + (lane >> 4) * 8, ch / 8 + (lane >> 3 & 1)));
}
template <class T>
__device__ __forceinline__ void load_b(uint32_t (&b)[4], const unsigned char*, uint32_t tile, int ch, int kk) {
    int lane = threadIdx.x & 31;
    load_matrices_trans(b, tile + chunk<T>(kk + (lane & 15), ch / 8 + (lane >> 4)));
}
__device__ __forceinline__ uint32_t load_one(const unsigned char* s_tile, int ch, int pixel) {
    return *(const uint32_t*)(s_tile + chunk<f32>(pixel, ch >> 2) + (ch & 3) * 4);
}
template <>
__device__ __forceinline__ void load_a<f32>(uint32_t (&a)[4], const unsigned char* s_tile, uint32_t, int ch, int kk) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int r = 0; r < 4; r++) a[r] = load_one(s_tile, ch + (lane >> 2) + (r & 1) * 8, kk + (lane & 3) + (r >> 1) * 4);
    round_operand(tf32{}, a);
}
template <>
__device__ __forceinline__ void load_b<f32>(uint32_t (&b)[4], const unsigned char* s_tile, uint32_t, int ch, int kk) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int r = 0; r < 4; r++) b[r] = load_one(s_tile, ch + (lane >> 2) + (r >> 1) * 8, kk + (lane & 3) + (r & 1) * 4);
    round_operand(tf32{}, b);
}

template <class E>
__device__ __forceinline__ void gram(float* __restrict__ part, const typename Element<E>::Store* __restrict__ f,
                                     int pixels, int c, int splits, int pps) {
    using T = typename Element<E>::Store;
    constexpr int kRow = BT * sizeof(T), kTile = BP * kRow, kChunks = kRow / 16, kRows = kThreads / kChunks;
    __shared__ __align__(128) unsigned char s_tiles[2 * 2 * kTile];   // (stage, a or b, pixel, channel)
    int t = threadIdx.x, lane = t & 31, warp = t >> 5, wm = (warp >> 1) * 32, wn = (warp & 1) * 32;
    int i0 = blockIdx.y * BT, j0 = blockIdx.x * BT, n = blockIdx.z / splits, split = blockIdx.z % splits;
    if (j0 < i0) return;   // symmetric
    int p0 = split * pps, p1 = min(pixels, p0 + pps), steps = (p1 - p0 + BP - 1) / BP;
    const T* fn = f + (size_t)n * pixels * c;
    uint32_t s = shared_address(s_tiles);
    int ch = t % kChunks, row = t / kChunks;   // copies: chunk ch of pixels row, row + kRows, ..., of both tiles
    auto fill = [&](int stage, int step) {
#pragma unroll
        for (int r = row; r < BP; r += kRows) {
            int p = p0 + step * BP + r;
            int bytes = p < p1 ? 16 : 0;
            const T* src = fn + (size_t)(p < p1 ? p : p0) * c + ch * (16 / sizeof(T));
            copy16(s + stage * 2 * kTile + chunk<T>(r, ch), src + i0, bytes);
            copy16(s + stage * 2 * kTile + kTile + chunk<T>(r, ch), src + j0, bytes);
        }
    };
    fill(0, 0);
    copy_commit();
    float acc[2][4][4] = {};
    for (int step = 0; step < steps; step++) {
        if (step + 1 < steps) fill((step + 1) & 1, step + 1);
        copy_commit();
        copy_wait<1>();
        __syncthreads();   // the stage is there for all
        uint32_t stage = (step & 1) * 2 * kTile;
        const unsigned char* s_a = s_tiles + stage;
#pragma unroll
        for (int kk = 0; kk < BP; kk += 32 / sizeof(T)) {
            uint32_t a[2][4], b[2][4];
#pragma unroll
            for (int i = 0; i < 2; i++) load_a<T>(a[i], s_a, s + stage, wm + i * 16, kk);
#pragma unroll
            for (int j = 0; j < 2; j++) load_b<T>(b[j], s_a + kTile, s + stage + kTile, wn + j * 16, kk);
#pragma unroll
            for (int i = 0; i < 2; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) mma(E{}, acc[i][j], a[i], b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
        }
        __syncthreads();   // every warp has read the stage that is filled next
    }
    float* out = part + (size_t)blockIdx.z * c * c;
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int r = i0 + wm + i * 16 + (lane >> 2) + h * 8, q = j0 + wn + j * 8 + (lane & 3) * 2;
                *(float2*)&out[(size_t)r * c + q] = make_float2(acc[i][j][h * 2], acc[i][j][h * 2 + 1]);
            }
}

#define GRAM_MMA(E)                                                                                              \
    extern "C" __global__ __launch_bounds__(kThreads) void gram_fwd_mma_##E##_64x64x32(                          \
        float* __restrict__ part, const Element<E>::Store* __restrict__ f, int pixels, int c, int splits,        \
        int pps) {                                                                                               \
        gram<E>(part, f, pixels, c, splits, pps);                                                                \
    }
GRAM_MMA(f16)
GRAM_MMA(bf16)
GRAM_MMA(tf32)

// tf32 coefficients are rounded here, as weights are by the host.
__device__ __forceinline__ void store_operand(f16* p, float v) { store(p, v); }
__device__ __forceinline__ void store_operand(bf16* p, float v) { store(p, v); }
__device__ __forceinline__ void store_operand(f32* p, float v) { *p = rounded(tf32{}, v); }

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

template <class T>
__device__ __forceinline__ void gram_style(float* __restrict__ loss, T* __restrict__ w, const float* __restrict__ part,
                                           const float* __restrict__ target, const float* __restrict__ loss_scale,
                                           float norm, float scale, int c, int splits, int one_target, int groups) {
    __shared__ float s_sum[kReduceThreads];   // (group, element)
    size_t n = blockIdx.y;
    int per = kReduceThreads / groups, group = threadIdx.x / per, element = threadIdx.x - group * per;
    int e = blockIdx.x * per + element, i = e / c, j = e - i * c;
    int mirrored = j * c + i;
    size_t cc = (size_t)c * c;
    const float* p = part + n * splits * cc + (j / BT < i / BT ? mirrored : e);
    int each = (splits + groups - 1) / groups, to = min(splits, (group + 1) * each);
    float s = 0.f;
#pragma unroll 8
    for (int k = group * each; k < to; k++) s += p[k * cc];
    s_sum[threadIdx.x] = s;
    __syncthreads();
    float square = 0.f;
    if (group == 0) {
        const float* a = target + (one_target ? 0 : n * cc);
        for (int k = 1; k < groups; k++) s += s_sum[k * per + element];
        float g = norm * s;
        float d = g - a[e];
        square = d * d;
        store_operand(w + n * cc + e, scale * *loss_scale * (d + (g - a[mirrored])));
    }
    square = block_sum(square);
    if (threadIdx.x == 0) loss[n * gridDim.x + blockIdx.x] = square;
}

#define GRAM_STYLE(T)                                                                                            \
    extern "C" __global__ __launch_bounds__(kReduceThreads) void gram_style_##T(                                 \
        float* __restrict__ loss, T* __restrict__ w, const float* __restrict__ part,                             \
        const float* __restrict__ target, const float* __restrict__ loss_scale, float norm, float scale, int c,  \
        int splits, int one_target, int groups) {                                                                \
        gram_style(loss, w, part, target, loss_scale, norm, scale, c, splits, one_target, groups);               \
    }
FOR_EACH_TYPE(GRAM_STYLE)
