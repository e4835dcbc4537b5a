// conv3x3_mma: 3x3 convolution, stride 1, zero padding; a style gradient; all that follows.   implicit GEMM, tensor cores
// Maths    a[n,p,q,k] = sum_{tap,c} w[k,tap,c] x[n,p+r-1,q+s-1,c] + sum_j w2[n,k,j] x2[n,p,q,j]; then the epilogue
//          either sum may be absent (c or c2 0); products of E in {fp16, bf16, tf32}, sums fp32; dgrad: x = dy, w rotated
// Layout   x, x2, y NHWC; w (K,9,C), w2 (N,K,C2); all in E's storage type. gemm_m pixels, gemm_n K, gemm_k 9 C + C2
//          part (block, split, value, thread) fp32: every thread finds its own accumulators
// Shapes   C and C2 multiples of 64 bytes, K of BN; any H, W. Residue: pixels only, by zero-filling copies and predicates
// Launch   128 threads = 4 warps as 2x2; grid (ceil(H/8) ceil(W/16), K / BN, N). Where those blocks are few, share: grid z
//          N * splits, each sums its part of the steps, and sum: the first grid, adds them in order and does the epilogue
// Tile     8x16 pixels (BM 128) by BN 64 or 128, BK 64 bytes (32 halves, 16 tf32); warp 64 by BN/2; mma m16n8 by 32 bytes;
//          3 stages. BN 128 reads 2/3 of the shared memory per FMA that BN 64 does; BN 64 for 64 channels and few tiles
// Budget   shared 3 * (128 + BN) * 64 B = 36 or 48 KiB; BN 64: <= 128 registers, 4 blocks per multiprocessor; BN 128: 2
// Banks    16-byte chunk ch of row r stands at ch ^ (r/2 % 4): ldmatrix and cp.async both touch every bank once
// Hazards  a stage is refilled one barrier after every warp has read it; a stage is read after wait_group and a barrier;
//          the staged tile of the epilogue takes the stages' place after one more
// Order    taps, then channels ascending inside the tensor core's own order; splits ascending
// Bound    compute: conv3_2 at 512x512 is 19.3 GFLOP
// Oracle   ref.Conv3x3Fprop, ref.Conv3x3Dgrad, ref.GramBwd and those of the epilogue   Suite kerneltest
// ptx: sm_80
#include "epilogue.cuh"

constexpr int TH = 8, TW = 16, BM = TH * TW, kRow = 64, kStages = 3, kThreads = 128;   // kRow: bytes of k in a tile

__device__ __forceinline__ uint32_t chunk(int row, int ch) { return row * kRow + ((ch ^ (row >> 1 & 3)) << 4); }

enum Part { kWhole, kShare, kSum };   // of the sums

template <class E, int BN, Part PART>
__device__ __forceinline__ void conv(float* __restrict__ part, int splits, const typename Element<E>::Store* __restrict__ x,
                                     const typename Element<E>::Store* __restrict__ w,
                                     const typename Element<E>::Store* __restrict__ x2,
                                     const typename Element<E>::Store* __restrict__ w2, int height, int width, int c,
                                     int c2, int k, const Epilogue<typename Element<E>::Store>& e) {
    using T = typename Element<E>::Store;
    constexpr int BK = kRow / sizeof(T), kChunk = 16 / sizeof(T), kStageBytes = (BM + BN) * kRow, NJ = BN / 16;
    static_assert(BM * kRow / 16 == 4 * kThreads && BN * kRow / 16 % kThreads == 0, "4 copies of pixels a thread");
    static_assert(BM * kChannels * sizeof(T) <= kStages * kStageBytes, "the staged tile must fit");
    __shared__ __align__(128) unsigned char s_tiles[kStages * kStageBytes];
    // A warp has 64 pixels from wm on, which are four lines of the tile, and BN/2 channels from wn on.
    int t = threadIdx.x, lane = t & 31, warp = t >> 5, wm = (warp >> 1) * 64, wn = (warp & 1) * (BN / 2);
    int across = (width + TW - 1) / TW, ty = blockIdx.x / across;
    int y0 = ty * TH, x0 = (blockIdx.x - ty * across) * TW, n0 = blockIdx.y * BN;
    int n = PART == kShare ? blockIdx.z / splits : blockIdx.z, split = PART == kShare ? blockIdx.z - n * splits : 0;
    // Value v of thread t of a block and split: threads of a warp write, and read back, 128 neighbouring bytes.
    size_t block = ((size_t)n * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    float* mine = part + (block * splits + split) * BM * BN + t;
    uint32_t s_x = shared_address(s_tiles), s_w = s_x + BM * kRow;
    size_t picture = (size_t)n * height * width;
    w2 += (size_t)n * k * c2;

    // Copies: thread t brings chunk t%4 of pixels t/4 + 32 i and of weight rows t/4 + 32 i; four threads read 64 bytes.
    int ch = t & 3, row = t >> 2, py = y0 + row / TW, px = x0 + row % TW;   // pixel i is 2 i rows below
    int main_slabs = c / BK, main_steps = 9 * main_slabs, steps = main_steps + c2 / BK, first = 0;
    if (PART == kShare) {
        first = steps * split / splits;
        steps = steps * (split + 1) / splits - first;
    }
    // A step is a tap and BK of its channels, taps first; the steps of the second product come last, at the centre.
    auto fill = [&](int stage, int step) {
        step += first;
        int tap = step < main_steps ? step / main_slabs : 4;   // 4: the centre
        int dy = tap / 3 - 1, dx = tap % 3 - 1, channels = step < main_steps ? c : c2;
        int c0 = (step < main_steps ? step - tap * main_slabs : step - main_steps) * BK + ch * kChunk;
        const T* from = step < main_steps ? x : x2;
        const T* weights = step < main_steps ? w + tap * c + c0 : w2 + c0;
        size_t pitch = step < main_steps ? 9 * (size_t)c : c2;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            // Outside the picture nothing is read and zeros are written; the address stays a valid one.
            int yy = py + 2 * i + dy, xx = px + dx;
            bool in = (unsigned)yy < (unsigned)height && (unsigned)xx < (unsigned)width;
            const T* src = from + (in ? (picture + (size_t)yy * width + xx) * channels + c0 : 0);
            copy16(s_x + stage * kStageBytes + chunk(row + 32 * i, ch), src, in ? 16 : 0);
        }
#pragma unroll
        for (int i = 0; i < BN / 32; i++)
            copy16(s_w + stage * kStageBytes + chunk(row + 32 * i, ch), weights + (n0 + row + 32 * i) * pitch, 16);
    };
    // All stages but one are on their way before the first is needed. Where there is nothing to fill an empty group is
    // committed, so that the number of groups tells which stage has come.
    for (int s = 0; s < kStages - 1; s++) {
        if (s < steps) fill(s, s);
        copy_commit();
    }
    float acc[4][NJ][4] = {};   // (16 rows, 8 columns, fragment)
    for (int step = 0; step < steps; step++) {
        copy_wait<kStages - 2>();
        __syncthreads();   // this stage is there for all, and the one before is free
        int next = step + kStages - 1;
        if (next < steps) fill(next % kStages, next);
        copy_commit();
        uint32_t a0 = s_x + step % kStages * kStageBytes, b0 = s_w + step % kStages * kStageBytes;
#pragma unroll
        for (int kk = 0; kk < 2; kk++) {
            // Half of a stage, 32 bytes of k, from shared memory to registers: lane l gives the address of row l%16 and
            // chunk l/16 of 16 pixels, and row l%8 + 8 (l/16) and chunk l/8%2 of 16 channels.
            uint32_t a[4][4], b[NJ / 2][4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                load_matrices(a[i], a0 + chunk(wm + i * 16 + (lane & 15), kk * 2 + (lane >> 4)));
                round_operand(E{}, a[i]);
            }
#pragma unroll
            for (int j = 0; j < NJ / 2; j++)
                load_matrices(b[j], b0 + chunk(wn + j * 16 + (lane & 7) + (lane >> 4) * 8, kk * 2 + (lane >> 3 & 1)));
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < NJ; j++) mma(E{}, acc[i][j], a[i], b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
        }
    }
    if (PART == kShare) {
#pragma unroll
        for (int v = 0; v < 16 * NJ; v++) mine[v * kThreads] = acc[v / (4 * NJ)][v / 4 % NJ][v % 4];
        return;
    }
    // The sum of splits: every thread reads what its counterparts left; the first is taken as it is, not added to 0.
    if (PART == kSum)
        for (int p = 0; p < splits; p++, mine += BM * BN)
#pragma unroll
            for (int v = 0; v < 16 * NJ; v++) {
                float& a = acc[v / (4 * NJ)][v / 4 % NJ][v % 4];
                a = p ? a + mine[v * kThreads] : mine[v * kThreads];
            }
    // 64 channels at a time go through the staged tile, from the warps that have them to all threads.
    for (int half = 0; half < BN / kChannels; half++) {
        __syncthreads();   // the stages, or the half before, are done with
        if (wn / kChannels == half) {
#pragma unroll
            for (int j = 0; j < NJ; j++) {
                // A fragment is rows lane/4 and lane/4 + 8, columns 2 (lane%4) and the next: a thread has two
                // neighbouring channels of a pixel.
                int col = wn % kChannels + j * 8 + (lane & 3) * 2;
                float u = 0.f, v = 0.f;
                if (e.bias) u = e.bias[n0 + half * kChannels + col], v = e.bias[n0 + half * kChannels + col + 1];
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int h = 0; h < 2; h++) {
                        float a = acc[i][j][h * 2] + u, b = acc[i][j][h * 2 + 1] + v;
                        if (e.relu) a = a < 0.f ? 0.f : a, b = b < 0.f ? 0.f : b;
                        stage2(E{}, s_tiles, wm + i * 16 + (lane >> 2) + h * 8, col, a, b);
                    }
            }
        }
        __syncthreads();   // the tile is staged
        constexpr int kPart = kThreads / 2;   // pixels: four values of eight channels a thread
        Finish<E, kPart, TW, kThreads, 4> end(e, s_tiles, t, height, width, k);
        end.begin(n, y0, x0, n0 + half * kChannels);
#pragma unroll 1
        for (int part = 0; part < BM / kPart; part++, end.next(kPart * kChannels * sizeof(T))) {
            end.load_gates();
            end.finish();
        }
    }
}

#define CONV3X3_MMA(E, BN, BLOCKS)                                                                               \
    extern "C" __global__ __launch_bounds__(kThreads, BLOCKS) void conv3x3_mma_##E##_nhwc_128x##BN(              \
        const Element<E>::Store* MAYBE_NULL __restrict__ x, const Element<E>::Store* MAYBE_NULL __restrict__ w,  \
        const Element<E>::Store* MAYBE_NULL __restrict__ x2, const Element<E>::Store* MAYBE_NULL __restrict__ w2,\
        int height, int width, int c, int c2, int k, EPILOGUE_PARAMS(Element<E>::Store, __restrict__)) {         \
        conv<E, BN, kWhole>(nullptr, 0, x, w, x2, w2, height, width, c, c2, k, EPILOGUE(Element<E>::Store));     \
    }
#define CONV3X3_MMA_SPLIT(E)                                                                                     \
    extern "C" __global__ __launch_bounds__(kThreads, 4) void conv3x3_mma_##E##_nhwc_128x64_share(               \
        float* __restrict__ part, int splits, const Element<E>::Store* MAYBE_NULL __restrict__ x,                \
        const Element<E>::Store* MAYBE_NULL __restrict__ w, const Element<E>::Store* MAYBE_NULL __restrict__ x2, \
        const Element<E>::Store* MAYBE_NULL __restrict__ w2, int height, int width, int c, int c2, int k) {      \
        conv<E, 64, kShare>(part, splits, x, w, x2, w2, height, width, c, c2, k, {});                            \
    }                                                                                                            \
    extern "C" __global__ __launch_bounds__(kThreads, 4) void conv3x3_mma_##E##_nhwc_128x64_sum(                 \
        const float* __restrict__ part, int splits, int height, int width, int k,                                \
        EPILOGUE_PARAMS(Element<E>::Store, __restrict__)) {                                                      \
        conv<E, 64, kSum>((float*)part, splits, nullptr, nullptr, nullptr, nullptr, height, width, 0, 0, k,      \
                          EPILOGUE(Element<E>::Store));                                                          \
    }
CONV3X3_MMA(f16, 64, 4)
CONV3X3_MMA(bf16, 64, 4)
CONV3X3_MMA(tf32, 64, 4)
CONV3X3_MMA(f16, 128, 2)
CONV3X3_MMA(bf16, 128, 2)
CONV3X3_MMA(tf32, 128, 2)
CONV3X3_MMA_SPLIT(f16)
CONV3X3_MMA_SPLIT(bf16)
CONV3X3_MMA_SPLIT(tf32)
