// conv3x3_wgmma: conv3x3_mma on Hopper: the same sums, the same epilogue.       implicit GEMM, TMA, wgmma, warp-specialised
// Maths    as conv3x3_mma: a = w (*) x + w2 x2, then the epilogue; tf32 operands are truncated by the tensor core, and were
//          rounded when they were stored
// Layout   x, x2, y NHWC, w (K,9,C), w2 (N,K,C2), in E's storage type, read through tensor maps with 128-byte swizzle.
//          gemm_m K: channels are the rows of wgmma and pixels its columns, so that 64 channels fill it
// Shapes   C and C2 multiples of 128 bytes, K of CH; any H, W, N: boxes end in zeros, stores are predicated
// Launch   384 threads = producer, two consumer warpgroups; clusters of CLUSTER blocks; persistent: grid any multiple of
//          CLUSTER, every cluster takes every (grid/CLUSTER)-th tile; with SPLIT one tile each
// Tile     CH channels by PX/16 x 16 pixels. CH 128: a warpgroup has 64 channels, both have all pixels; CH 64: all channels,
//          half of the pixels. A warpgroup's product is m64 n{PX or PX/2}, 128 or 256 wide
// Stage    one column of taps, dx: a box of (PX/16 + 2) x 16 pixels by 128 bytes of channels serves all three dy, since a
//          row of 16 pixels is 2048 bytes and so keeps the swizzle; with it three tiles of weights. Pixels are fetched 3 times
//          and a little instead of 9. The style gradient's stages have the same box and one tile of weights
// Cluster  multicast: two blocks, neighbouring tiles of pixels, each fetches half of every tile of weights for both.
//          split: SPLIT blocks share a tile, each sums its part of the stages; each then adds the others' sums of its share
//          of the pixels, read through distributed shared memory in the order of ranks
// Budget   a stage is (PX/16 + 2) * 2 KiB + CH * 384 B: 64x512 92 KiB, 2 stages; 128x256 84 KiB, 2; 128x128 68 KiB, 3;
//          64x256 60 KiB, 3; staged tiles 32 pixels a warpgroup, 8 or 16 KiB in all. Registers 40 producer, 232 consumers
// Banks    wgmma and TMA agree on the swizzle; staged tiles as in epilogue.cuh
// Hazards  full: the producer's arrival and the bytes. empty: every consumer warp of every block of the cluster, because
//          each fills the others' stages. A warp arrives when the wgmmas that read the stage have completed. No block ends
//          while another may still write to it or read from it. What launches before have written is read behind
//          griddepcontrol.wait, which every warp that touches it executes
// Order    stages ascending: channels, then dx, then dy, inside the tensor core's own order; splits by rank: results do
//          not depend on the grid
// Bound    compute. conv3_2 at 512x512: 19.3 GFLOP, 24.5 us at 790 TFLOP/s; into shared memory 6.7 B a KFLOP for 128x256
//          (11.4 with a box for each tap), 4.7 with multicast
// Oracle   as conv3x3_mma   Suite kerneltest
// ptx: sm_90a
// each: f16 bf16 tf32
#include "hopper.cuh"

constexpr int TW = 16, kRow = 128, kLine = TW * kRow;   // pixels of a line of a tile; bytes of a pixel's channels, of a line
constexpr int kPass = 32;                               // pixels staged at a time, two lines
constexpr int kThreads = 384, kConsumers = 2;
constexpr int kAlign = 1024;   // of the first stage, as the swizzle wants it

template <class E, int CH, int PX, int STAGES, int MULTICAST, int SPLIT>
struct Conv {
    using T = typename Element<E>::Store;
    static constexpr int BK = kRow / sizeof(T), N = CH == 64 ? PX / 2 : PX, TH = PX / TW, CLUSTER = MULTICAST * SPLIT;
    static constexpr int kPixels = (TH + 2) * kLine, kWeights = CH * kRow, kStage = kPixels + 3 * kWeights;
    static constexpr int kStaged = kPass * kChannels * sizeof(T), kPasses = N / kPass;
    static constexpr int kShared = STAGES * kStage + kConsumers * kStaged + kAlign;
    static_assert(N == 128 || N == 256, "a warpgroup's product");
    static_assert(MULTICAST == 1 || SPLIT == 1, "a cluster does one or the other");
    static_assert(kPasses % SPLIT == 0, "every block of a split finishes as many pixels");
    static_assert(SPLIT == 1 || STAGES * kStage >= kConsumers * 128 * N / 2 * 4, "the sums of a split must fit into the stages");

    // A tile: its picture, its place, its channels.
    struct Tile {
        int n, y0, x0, ch0;
    };
    struct Tiles {
        int channels, across, pairs, pictures;   // how many; pairs are MULTICAST tiles of pixels of one picture
        __device__ Tiles(int k, int height, int width, int n)
            : channels(k / CH), across((width + TW - 1) / TW), pictures(n) {
            pairs = (across * ((height + TH - 1) / TH) + MULTICAST - 1) / MULTICAST;
        }
        __device__ int groups() const { return pairs * pictures * channels; }
        // The last tile of a picture's last pair may lie below it.
        __device__ Tile at(int group, int rank) const {
            int pair = group / channels, n = pair / pairs;
            int p = (pair - n * pairs) * MULTICAST + (MULTICAST > 1 ? rank : 0), line = p / across;
            return {n, line * TH, (p - line * across) * TW, group % channels * CH};
        }
    };

    // Stages of a tile: three for each 128 bytes of C, one for each of C2; with SPLIT a part of them.
    struct Span {
        int main, from, to;
        __device__ Span(int c, int c2, int rank) {
            main = c / BK * 3;
            int all = main + c2 / BK;
            from = SPLIT > 1 ? all * rank / SPLIT : 0;
            to = SPLIT > 1 ? all * (rank + 1) / SPLIT : all;
        }
    };

    static __device__ __forceinline__ void run(const CUtensorMap& x, const CUtensorMap& w, const CUtensorMap& x2,
                                               const CUtensorMap& w2, int height, int width, int c, int c2, int k,
                                               int pictures, const Epilogue<T>& e) {
        extern __shared__ unsigned char s_dynamic[];
        __shared__ __align__(8) uint64_t s_full[STAGES], s_empty[STAGES];
        uint32_t base = (shared_address(s_dynamic) + kAlign - 1) & ~(kAlign - 1);
        unsigned char* s_stages = s_dynamic + (base - shared_address(s_dynamic));
        uint32_t full = shared_address(s_full), empty = shared_address(s_empty);
        int wg = threadIdx.x >> 7, rank = CLUSTER > 1 ? cluster_rank() : 0;
        if (threadIdx.x == 0) {
            for (int i = 0; i < STAGES; i++) {
                barrier_init(full + 8 * i, 1);
                barrier_init(empty + 8 * i, kConsumers * 4 * MULTICAST);
            }
            barrier_init_done();
            if (c) prefetch_map(x), prefetch_map(w);
            if (c2) prefetch_map(x2), prefetch_map(w2);
        }
        if (CLUSTER > 1)
            cluster_sync();
        else
            __syncthreads();
        start_next();
        Tiles tiles(k, height, width, pictures);
        Span span(c, c2, rank);
        int first = blockIdx.x / CLUSTER, step = gridDim.x / CLUSTER;
        if (wg == 0) {
            give_registers<40>();
            if (threadIdx.x == 0) {
                int it = 0;
                for (int g = first; g < tiles.groups(); g += step) {
                    Tile t = tiles.at(g, rank);
                    for (int s = span.from; s < span.to; s++, it++) {
                        int slot = it % STAGES;
                        barrier_wait(empty + 8 * slot, (it / STAGES & 1) ^ 1);
                        fill(base + slot * kStage, full + 8 * slot, s, span.main, t, rank, it == 0, x, w, x2, w2, c, k);
                    }
                }
            }
            if (SPLIT > 1) cluster_sync();   // the sums are there
        } else {
            take_registers<232>();
            consume(wg - 1, rank, first, step, tiles, span, base, s_stages, full, empty, height, width, k, e);
        }
        if (CLUSTER > 1) cluster_sync();   // nobody writes to this block or reads from it any more
    }

    // One stage: pixels and weights.
    static __device__ __forceinline__ void fill(uint32_t stage, uint32_t full, int s, int main, const Tile& t, int rank, bool first,
                                                const CUtensorMap& x, const CUtensorMap& w, const CUtensorMap& x2,
                                                const CUtensorMap& w2, int c, int k) {
        bool second = s >= main;
        int dx = second ? 1 : s % 3, c0 = (second ? s - main : s / 3) * BK, taps = second ? 1 : 3;
        barrier_expect(full, kPixels + taps * kWeights);
        if (first && second) wait_for_previous();   // w2 is computed, w is not
        for (int dy = 0; dy < taps; dy++) {
            uint32_t dst = stage + kPixels + dy * kWeights;
            int column = second ? c0 : (dy * 3 + dx) * c + c0, row = second ? t.n * k + t.ch0 : t.ch0;
            const CUtensorMap& map = second ? w2 : w;
            if (MULTICAST == 1) {
                copy_rows(dst, map, full, column, row);
            } else {
                constexpr int kPart = CH / MULTICAST;
                copy_rows_to(dst + rank * kPart * kRow, map, full, column, row + rank * kPart, (1 << MULTICAST) - 1);
            }
        }
        if (first && !second) wait_for_previous();
        copy_box(stage, second ? x2 : x, full, c0, t.x0 + dx - 1, t.y0 - 1, t.n);
    }

    static __device__ __forceinline__ void consume(int wg, int rank, int first, int step, const Tiles& tiles, const Span& span,
                                                   uint32_t base, unsigned char* s_stages, uint32_t full, uint32_t empty,
                                                   int height, int width, int k, const Epilogue<T>& e) {
        int t = threadIdx.x & 127, lane = t & 31, warp = t >> 5;
        unsigned char* s_staged = s_stages + STAGES * kStage + wg * kStaged;
        uint32_t staging = base + STAGES * kStage + wg * kStaged;
        int ch_of_wg = CH == 64 ? 0 : wg * 64, line_of_wg = CH == 64 ? wg * (TH / 2) : 0;
        auto release = [&](int slot) {   // to every block that fills it
            if (MULTICAST == 1) {
                if (lane == 0) barrier_arrive(empty + 8 * slot);
            } else if (lane < MULTICAST) {
                barrier_arrive_in(empty + 8 * slot, lane);
            }
        };
        wait_for_previous();
        int it = 0;
        for (int g = first; g < tiles.groups(); g += step) {
            Tile tile = tiles.at(g, rank);
            float d[N / 2];
            // One stage: taps() rows of taps, the first down() lines down. The stage before is released once this one is under way.
            auto multiply = [&](int s, auto taps, auto down) {
                int slot = it % STAGES;
                barrier_wait(full + 8 * slot, it / STAGES & 1);
                uint32_t stage = base + slot * kStage;
                uint64_t a = descriptor(stage + kPixels + ch_of_wg * kRow), b = descriptor(stage + (line_of_wg + down()) * kLine);
                wgmma_fence();
#pragma unroll
                for (int dy = 0; dy < taps(); dy++)
#pragma unroll
                    for (int kk = 0; kk < 4; kk++)
                        wgmma(E{}, d, a + (dy * kWeights + kk * 32 >> 4), b + (dy * kLine + kk * 32 >> 4), s > span.from || dy + kk);
                wgmma_commit();
                wgmma_wait<1>();
                if (s > span.from) release((it - 1) % STAGES);
                it++;
            };
            for (int s = span.from; s < min(span.to, span.main); s++) multiply(s, [] { return 3; }, [] { return 0; });
            for (int s = max(span.from, span.main); s < span.to; s++) multiply(s, [] { return 1; }, [] { return 1; });
            wgmma_wait<0>();
            if (span.to > span.from) release((it - 1) % STAGES);

            int row = warp * 16 + (lane >> 2), ch0 = tile.ch0 + ch_of_wg;
            float u = 0.f, v = 0.f;
            if (e.bias) u = e.bias[ch0 + row], v = e.bias[ch0 + row + 8];
            uint32_t sums = base + (wg * (N / 2) * 128 + t) * 4;   // (warpgroup, value, thread), in place of the stages
            if (SPLIT > 1) {
                named_barrier(3, kConsumers * 128);   // both warpgroups are done with the stages
#pragma unroll
                for (int i = 0; i < N / 2; i++) {
                    float sum = span.to > span.from ? d[i] : 0.f;
                    asm volatile("st.shared.f32 [%0], %1;" ::"r"(sums + i * 512), "f"(sum) : "memory");
                }
                cluster_sync();   // the sums are there
            }
            for (int pass = kPasses / SPLIT * (SPLIT > 1 ? rank : 0), end = pass + kPasses / SPLIT; pass < end; pass++) {
                float r[16];
                if (SPLIT > 1) {
#pragma unroll
                    for (int i = 0; i < 16; i++) {
                        r[i] = load_from(sums + (pass * 16 + i) * 512, 0);
#pragma unroll
                        for (int p = 1; p < SPLIT; p++) r[i] += load_from(sums + (pass * 16 + i) * 512, p);
                    }
                } else {
#pragma unroll
                    for (int q = 0; q < kPasses; q++)
                        if (q == pass)
#pragma unroll
                            for (int i = 0; i < 16; i++) r[i] = d[q * 16 + i];
                }
#pragma unroll
                for (int i = 0; i < 16; i++) {
                    r[i] += i & 2 ? v : u;
                    if (e.relu) r[i] = r[i] < 0.f ? 0.f : r[i];
                }
                named_barrier(1 + wg, 128);   // the pass before is finished
                stage(s_staged, staging, r, warp, lane);
                named_barrier(1 + wg, 128);   // the tile is staged
                int y0 = tile.y0 + line_of_wg + pass * (kPass / TW);
                finish<E, kPass, TW, 128>(e, s_staged, t, tile.n, y0, tile.x0, ch0, height, width, k);
            }
        }
    }

    // 64 channels of 32 pixels: value 4 j + i of a thread is channel lane/4 + 8 (i/2), pixel 8 j + 2 (lane%4) + i%2.
    static __device__ __forceinline__ void stage(unsigned char* s_staged, uint32_t staging, const float (&r)[16], int warp, int lane) {
        if constexpr (sizeof(T) == 2) {
#pragma unroll
            for (int j = 0; j < 4; j += 2) {
                uint32_t m[4] = {pack2(E{}, r[4 * j], r[4 * j + 1]), pack2(E{}, r[4 * j + 2], r[4 * j + 3]),
                                 pack2(E{}, r[4 * j + 4], r[4 * j + 5]), pack2(E{}, r[4 * j + 6], r[4 * j + 7])};
                int pixel = (j + (lane >> 4)) * 8 + (lane & 7), ch8 = warp * 2 + (lane >> 3 & 1);
                store_matrices_trans(staging + staged<T>(pixel, ch8, 0), m);
            }
        } else {
#pragma unroll
            for (int i = 0; i < 16; i++) {
                int pixel = i / 4 * 8 + (lane & 3) * 2 + (i & 1), ch8 = warp * 2 + (i >> 1 & 1);
                *(float*)(s_staged + staged<T>(pixel, ch8, lane >> 4) + (lane >> 2 & 3) * 4) = rounded(E{}, r[i]);
            }
        }
    }
};

#define CONV3X3_WGMMA(E, ...) CONV3X3_WGMMA_ENTRY(E, __VA_ARGS__)   // E expanded first
#define CONV3X3_WGMMA_ENTRY(E, CH, PX, STAGES, MULTICAST, SPLIT, SUFFIX)                                         \
    extern "C" __global__ __cluster_dims__(MULTICAST* SPLIT, 1, 1) __launch_bounds__(kThreads, 1)                \
        void conv3x3_wgmma_##E##_nhwc_##CH##x##PX##SUFFIX(                                                       \
            const __grid_constant__ CUtensorMap MAYBE_NULL x, const __grid_constant__ CUtensorMap MAYBE_NULL w,  \
            const __grid_constant__ CUtensorMap MAYBE_NULL x2, const __grid_constant__ CUtensorMap MAYBE_NULL w2,\
            int height, int width, int c, int c2, int k, int pictures, EPILOGUE_PARAMS(Element<E>::Store, )) {   \
        Conv<E, CH, PX, STAGES, MULTICAST, SPLIT>::run(x, w, x2, w2, height, width, c, c2, k, pictures,          \
                                                       EPILOGUE(Element<E>::Store));                             \
    }
CONV3X3_WGMMA(EACH, 64, 512, 2, 1, 1, )
CONV3X3_WGMMA(EACH, 64, 256, 3, 1, 1, )
CONV3X3_WGMMA(EACH, 128, 256, 2, 1, 1, )
CONV3X3_WGMMA(EACH, 128, 256, 2, 2, 1, _multicast2)
CONV3X3_WGMMA(EACH, 128, 128, 3, 2, 1, _multicast2)
CONV3X3_WGMMA(EACH, 128, 128, 3, 1, 2, _split2)
CONV3X3_WGMMA(EACH, 128, 128, 3, 1, 4, _split4)
