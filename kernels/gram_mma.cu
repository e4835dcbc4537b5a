// gram_fwd_mma, gram_coef: Gram matrix on tensor cores; the matrix of its gradient.          GEMM, 16-bit
// Maths    fwd   part[n,split,i,j] = sum_p f[n,p,i] f[n,p,j] over the split's pixels, fp32 sums
//          coef  w[n,i,j] = scale S (dg[n,i,j] + dg[n,j,i]): the style gradient is then f w^T, conv3x3_mma with one tap
// Layout   f (N,P,C) in E; part fp32; w (N,C,C) in E's storage type; S the loss scale
// Shapes   C a multiple of 64
// Launch   fwd: 128 threads = 4 warps as 2x2; grid (C/64, C/64, N*splits); gram_sum_f32 adds the splits in order.
//          coef: 256 threads; grid (ceil(C*C/256), N)
// Tile     64x64 outputs, 32 pixels deep; warp 32x32; 2 stages
// Budget   shared 2 * 2 * 32 * 128 B = 16 KiB
// Banks    16-byte chunk ch of pixel p stands at ch ^ (p % 8): a row of 128 bytes is every bank once
// Hazards  as conv3x3_mma
// Order    splits of 2048 pixels, added in order in fp32: the tensor core's truncation stays below 1e-5
// Oracle   ref.Gram, ref.GramGrad   Suite kerneltest
// ptx: sm_80
#include "mma.cuh"

constexpr int BT = 64, BP = 32, kThreads = 128, kRow = BT * 2, kTile = BP * kRow;

__device__ __forceinline__ uint32_t chunk(int pixel, int ch) { return pixel * kRow + ((ch ^ (pixel & 7)) << 4); }

template <class E>
__device__ __forceinline__ void gram(float* __restrict__ part, const E* __restrict__ f, int pixels, int c, int splits,
                                     int pps) {
    __shared__ __align__(128) unsigned char s_tiles[2 * 2 * kTile];   // (stage, a or b, pixel, channel)
    int t = threadIdx.x, lane = t & 31, warp = t >> 5, wm = (warp >> 1) * 32, wn = (warp & 1) * 32;
    int i0 = blockIdx.y * BT, j0 = blockIdx.x * BT, n = blockIdx.z / splits, split = blockIdx.z % splits;
    int p0 = split * pps, p1 = min(pixels, p0 + pps), steps = (p1 - p0 + BP - 1) / BP;
    const E* fn = f + (size_t)n * pixels * c;
    uint32_t s = shared_address(s_tiles);
    int ch = t & 7, row = t >> 3;   // copies: chunk ch of pixels row and row + 16, of both tiles
    auto fill = [&](int stage, int step) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int r = row + 16 * i, p = p0 + step * BP + r;
            int bytes = p < p1 ? 16 : 0;
            const E* src = fn + (size_t)(p < p1 ? p : p0) * c + ch * 8;
            copy16(s + stage * 2 * kTile + chunk(r, ch), src + i0, bytes);
            copy16(s + stage * 2 * kTile + kTile + chunk(r, ch), src + j0, bytes);
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
        uint32_t a0 = s + (step & 1) * 2 * kTile, b0 = a0 + kTile;
#pragma unroll
        for (int kk = 0; kk < BP; kk += 16) {
            uint32_t a[2][4], b[2][4];
            // Stored pixel by pixel, wanted channel by channel: transposed on the way.
#pragma unroll
            for (int i = 0; i < 2; i++)
                load_matrices_trans(a[i], a0 + chunk(kk + (lane & 7) + (lane >> 4) * 8, (wm + i * 16) / 8 + (lane >> 3 & 1)));
#pragma unroll
            for (int j = 0; j < 2; j++)
                load_matrices_trans(b[j], b0 + chunk(kk + (lane & 15), (wn + j * 16) / 8 + (lane >> 4)));
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
        float* __restrict__ part, const E* __restrict__ f, int pixels, int c, int splits, int pps) {             \
        gram(part, f, pixels, c, splits, pps);                                                                   \
    }
GRAM_MMA(f16)
GRAM_MMA(bf16)

// tf32 coefficients are rounded here, as weights are by the host.
__device__ __forceinline__ void store_operand(f16* p, float v) { store(p, v); }
__device__ __forceinline__ void store_operand(bf16* p, float v) { store(p, v); }
__device__ __forceinline__ void store_operand(f32* p, float v) {
    uint32_t r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(v));
    *p = __uint_as_float(r);
}

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
