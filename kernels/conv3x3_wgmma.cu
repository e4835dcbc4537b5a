// conv3x3_wgmma: conv3x3_mma on Hopper: the same sums, the same epilogue.       implicit GEMM, TMA, wgmma, warp-specialised
// Maths    as conv3x3_mma: a = w (*) x + w2 x2, then the epilogue; tf32 operands are truncated by the tensor core, and were
//          rounded when they were stored
// Layout   x, x2, y NHWC, w (K,9,C), w2 (N,K,C2), in E's storage type, read through tensor maps with 128-byte swizzle.
//          gemm_m is K: channels are the rows of wgmma and pixels its columns, so that 64 channels fill it
// Shapes   C and C2 multiples of 128 bytes, K of CH; any H, W, N: boxes end in zeros, stores are predicated
// Launch   384 threads = a producer warpgroup and two consumer warpgroups; clusters of CLUSTER blocks; persistent: the grid is
//          any multiple of CLUSTER, a cluster takes every (grid/CLUSTER)-th tile; with SPLIT one tile per cluster
// Tile     CH channels by PX/16 x 16 pixels. CH 128: a warpgroup has 64 channels, both have all pixels; CH 64: all channels,
//          half of the pixels. A warpgroup's product is m64 n{PX or PX/2}, 128 or 256 wide. PINGPONG: a warpgroup has every
//          second tile of its block to itself, and finishes it while the other multiplies
// Stage    one column of taps, dx: a box of (PX/16 + 2) x 16 pixels by 128 bytes of channels serves all three dy, since a
//          line of 16 pixels is 2048 bytes and so keeps the swizzle; with it three tiles of weights. Pixels are fetched a little
//          more than 3 times instead of 9. The style gradient's stages have the same box and one tile of weights
// Cluster  multicast: two blocks with neighbouring tiles of pixels; each fetches half of every tile of weights for both.
//          split: SPLIT blocks share a tile and each sums its part of the stages; each then finishes its share of the pixels,
//          adding the sums of all blocks, read through distributed shared memory, in the order of ranks
// Budget   a stage is (PX/16 + 2) * 2 KiB + CH * 384 B: 64x512 92 KiB, 2 stages; 128x256 84 KiB, 2; 128x128 68 KiB, 3;
//          64x256 60 KiB, 3; staged tiles 64 pixels of 16 bits per warpgroup, else 32: 8 or 16 KiB in all. Registers 168, then 40
//          producer, 232 consumers
// Banks    wgmma and TMA agree on the swizzle; staged tiles as in epilogue.cuh
// Hazards  full: the producer's arrival and the bytes. empty: every consumer warp of every block of the cluster, because
//          each fills the others' stages; with PINGPONG those of the tile's warpgroup. A warp arrives when the wgmmas that
//          read the stage have completed. With PINGPONG a warpgroup waits for its turn before it waits for a stage. No block ends
//          while another may still write to it or read from it. What earlier launches wrote is touched only after
//          griddepcontrol.wait, which every warp that touches it executes, and behind a proxy fence by TMA
// Order    stages ascending: channels, then dx, then dy, inside the tensor core's own order; splits by rank: results do
//          not depend on the grid
// Bound    compute with many channels: conv3_2 at 512x512 is 19.3 GFLOP, 24.5 us at 790 TFLOP/s. With 64 or 128 the latency of
//          the epilogue's instructions, since a scheduler has one warp of each warpgroup: docs/conv3x3.md
// Oracle   as conv3x3_mma   Suite kerneltest
// ptx: sm_90a
// each: f16 bf16 tf32
// modules: one an entry, or compilers before 12.8 take half a minute for one
#include "hopper.cuh"

constexpr int TW = 16, kRow = 128, kLine = TW * kRow;   // pixels of a line of a tile; bytes of a pixel's channels, of a line
constexpr int kThreads = 384, kConsumers = 2;
// Registers of a thread: setmaxnreg moves them between warpgroups, and waits for ever if the launch took fewer than kRegisters.
constexpr int kProducer = 40, kConsumer = 232, kRegisters = 168;
static_assert(kRegisters * (1 + kConsumers) == kProducer + kConsumers * kConsumer, "what the launch takes is what is moved");
constexpr int kAlign = 1024;   // of the first stage, as the swizzle wants it

// The operands of both products, and how many channels each sums over.
struct Operands {
    const CUtensorMap &x, &w, &x2, &w2;
    int c, c2;
};

// Extents of the result.
struct Extents {
    int n, h, w, k;
};

template <class E, int CH, int PX, int STAGES, int MULTICAST, int SPLIT, int PINGPONG>
struct Conv {
    using T = typename Element<E>::Store;
    static constexpr int BK = kRow / sizeof(T), N = CH == 64 && !PINGPONG ? PX / 2 : PX, TH = PX / TW, CLUSTER = MULTICAST * SPLIT;
    static constexpr int kPixels = (TH + 2) * kLine, kWeights = CH * kRow, kStage = kPixels + 3 * kWeights;
    static constexpr int kPass = sizeof(T) == 2 && SPLIT == 1 ? 64 : 32;   // pixels staged at a time, two or four lines
    static constexpr int kStaged = kPass * kChannels * sizeof(T), kPasses = N / kPass, kValues = kPass / 2;
    static constexpr int kShared = STAGES * kStage + kConsumers * kStaged + kAlign;
    static constexpr int kStagedTile = 1, kSums = 3, kTurn = 4;   // named barriers: + warpgroup; both warpgroups; + warpgroup
    static_assert(N == 128 || N == 256, "a warpgroup's product");
    static_assert(MULTICAST == 1 || SPLIT == 1, "a cluster does one or the other");
    static_assert(!PINGPONG || CH == 64 && CLUSTER == 1, "a warpgroup has all channels of its tile, and the block no peers");
    static_assert(kPasses >= SPLIT, "every block of a split finishes some pixels");
    static_assert(SPLIT == 1 || STAGES * kStage >= kConsumers * 128 * N / 2 * 4, "the sums of a split must fit into the stages");

    using End = Finish<E, kPass, TW, 128, PINGPONG ? 1 : N == 256 ? 2 : 4>;

    // What a block computes at a time: its picture, its first pixel, its first channel.
    struct Tile {
        int n, y0, x0, ch0;
    };

    // The walk over all tiles. A group is what a cluster computes at a time: MULTICAST neighbours in a picture, or one tile.
    // Consecutive groups, which run at the same time, have the same pixels and other channels.
    struct Walk {
        int channels, across, pairs, groups;   // tiles across K, across a line; groups of a picture for CH channels; in all
        __device__ Walk(const Extents& out) : channels(out.k / CH), across((out.w + TW - 1) / TW) {
            pairs = (across * ((out.h + TH - 1) / TH) + MULTICAST - 1) / MULTICAST;
            groups = pairs * out.n * channels;
        }
        static __device__ int first() { return blockIdx.x / CLUSTER; }
        static __device__ int step() { return gridDim.x / CLUSTER; }
        // The last tile of a picture's last pair may lie below it: then its loads are zeros and its stores none.
        __device__ Tile at(int group, int rank) const {
            int pair = group / channels, n = pair / pairs;
            int p = (pair - n * pairs) * MULTICAST + (MULTICAST > 1 ? rank : 0), line = p / across;
            return {n, line * TH, (p - line * across) * TW, group % channels * CH};
        }
    };

    // The stages of a tile: main of them, three for each 128 bytes of C, and then one for each 128 bytes of C2. This block
    // has [from, to) of them: all, or with SPLIT its part, which may be empty.
    struct Span {
        int main, from, to;
        __device__ Span(const Operands& in, int rank) {
            main = in.c / BK * 3;
            int all = main + in.c2 / BK;
            from = SPLIT > 1 ? all * rank / SPLIT : 0;
            to = SPLIT > 1 ? all * (rank + 1) / SPLIT : all;
        }
    };

    // The ring of stages between producer and consumers. Each counts for itself the stages that it has gone through: the next
    // is slot count % STAGES in lap count / STAGES, and the phase of its barriers has the parity of the lap.
    struct Ring {
        uint32_t stages, full, empty;   // in shared memory; a barrier of each kind for each stage
        int count = 0;
        __device__ Ring(const unsigned char* s_stages, const uint64_t* s_full, const uint64_t* s_empty)
            : stages(shared_address(s_stages)), full(shared_address(s_full)), empty(shared_address(s_empty)) {}
        __device__ void init() const {
            for (int i = 0; i < STAGES; i++) {
                barrier_init(full + 8 * i, 1);                             // the producer; its bytes are counted apart
                // The consumer warps of all blocks that it fills.
                barrier_init(empty + 8 * i, (PINGPONG ? 1 : kConsumers) * 4 * MULTICAST);
            }
            barrier_init_done();
        }
        __device__ int slot() const { return count % STAGES; }
        __device__ uint32_t stage() const { return stages + slot() * kStage; }
        __device__ uint32_t filled() const { return full + 8 * slot(); }   // the barrier that counts a stage's bytes
        // In the first lap nothing is to be waited for: the phase before a barrier's first counts as complete.
        __device__ void wait_empty() const { barrier_wait(empty + 8 * slot(), (count / STAGES & 1) ^ 1); }
        __device__ void wait_full() const { barrier_wait(filled(), count / STAGES & 1); }
        // A warp is done with the stage before this one, and says so to every block that fills it.
        __device__ void release_previous() const {
            int lane = threadIdx.x & 31;
            uint32_t bar = empty + 8 * ((count - 1) % STAGES);
            if (MULTICAST == 1) {
                if (lane == 0) barrier_arrive(bar);
            } else if (lane < MULTICAST) {
                barrier_arrive_in(bar, lane);
            }
        }
    };

    // A consumer warpgroup, and its part of a tile: 64 channels from ch on, N pixels from a line on.
    struct Warpgroup {
        int index, t, ch, line;    // 0 or 1; thread; the part's place in the tile
        int row;                   // the first of a thread's two channels, of the part's; the other is eight further
        unsigned char* s_staged;   // after the stages: 64 channels of kPass pixels
        // Where stmatrix has this thread's place of the first four matrices: two of eight channels by two of eight pixels. Lane l
        // gives the place of pixel l % 8 of matrix l / 8, which are (pixels 0, channels 0), (0, 8), (8, 0), (8, 8).
        uint32_t matrix;
        __device__ Warpgroup(unsigned char* s_stages) : index((threadIdx.x >> 7) - 1), t(threadIdx.x & 127) {
            ch = CH == 64 ? 0 : index * 64;
            line = CH == 64 && !PINGPONG ? index * (TH / 2) : 0;
            row = (t >> 5) * 16 + (t >> 2 & 7);
            // Without the asm the compiler finds these addresses again and again.
            uint32_t staged = shared_address(s_stages + STAGES * kStage + index * kStaged);
            matrix = staged + ::staged<f16>((t >> 4 & 1) * 8 + (t & 7), (t >> 5) * 2 + (t >> 3 & 1), 0);
            asm volatile("" : "+r"(staged), "+r"(matrix));
            s_staged = (unsigned char*)__cvta_shared_to_generic(staged);
        }
    };

    static __device__ __forceinline__ void run(const Operands& in, const Extents& out, const Epilogue<T>& e) {
        extern __shared__ unsigned char s_dynamic[];
        __shared__ __align__(8) uint64_t s_full[STAGES], s_empty[STAGES];
        // The 128-byte swizzle repeats every 1024 bytes of address, and so every stage begins at a multiple of that.
        unsigned char* s_stages = s_dynamic + (-shared_address(s_dynamic) & (kAlign - 1));
        Ring ring(s_stages, s_full, s_empty);
        int rank = CLUSTER > 1 ? cluster_rank() : 0;
        if (threadIdx.x == 0) {
            ring.init();
            if (in.c) prefetch_map(in.x), prefetch_map(in.w);
            if (in.c2) prefetch_map(in.x2), prefetch_map(in.w2);
        }
        // The barriers must exist before anyone arrives at them, from this block or another.
        if (CLUSTER > 1)
            cluster_meet();
        else
            __syncthreads();
        start_next();
        Walk walk(out);
        Span span(in, rank);
        if (threadIdx.x < 128) {
            give_registers<kProducer>();
            if (threadIdx.x == 0) produce(in, out, walk, span, ring, rank);
            __syncwarp();   // the barriers of the cluster are for whole warps
            if (SPLIT > 1) cluster_come(), cluster_wait();   // as in share: all threads of the cluster are counted
            if (CLUSTER > 1) cluster_come();
        } else {
            take_registers<kConsumer>();
            consume(out, e, walk, span, ring, rank, Warpgroup(s_stages));
            if (MULTICAST > 1) cluster_come();
        }
        if (CLUSTER > 1) cluster_wait();   // nobody writes to this block or reads from it any more
    }

    // The producer, one thread: runs ahead of the consumers by as many stages as are empty, from one tile into the next.
    static __device__ __forceinline__ void produce(const Operands& in, const Extents& out, const Walk& walk, const Span& span,
                                                   Ring ring, int rank) {
        for (int g = walk.first(); g < walk.groups; g += walk.step()) {
            Tile tile = walk.at(g, rank);
            for (int s = span.from; s < span.to; s++, ring.count++) {
                ring.wait_empty();
                load(in, tile, s, span.main, out.k, ring, rank);
            }
        }
    }

    // The consumers: the sums of a tile in registers, then all that follows the convolution.
    static __device__ __forceinline__ void consume(const Extents& out, const Epilogue<T>& e, const Walk& walk, const Span& span,
                                                   Ring ring, int rank, const Warpgroup& wg) {
        wait_for_previous();   // the epilogue reads what earlier launches wrote, and writes what they read
        // A tile's first product ignores what is there. But compilers before 12.9 serialise wgmmas for want of a value.
        float d[N / 2] = {};
        End end(e, wg.s_staged, wg.t, out.h, out.w, out.k);
        int turn = 0;
        for (int g = walk.first(); g < walk.groups; g += walk.step(), turn ^= 1) {
            if (PINGPONG && turn != wg.index) {   // the other's tile
                ring.count += span.to - span.from;
                continue;
            }
            // Where the tile is, which takes divisions, and its biases are found ahead of the product, which hides that.
            Tile tile = walk.at(g, rank);
            int from = SPLIT > 1 ? kPasses * rank / SPLIT : 0, to = SPLIT > 1 ? kPasses * (rank + 1) / SPLIT : kPasses;
            end.begin(tile.n, tile.y0 + wg.line + from * (kPass / TW), tile.x0, tile.ch0 + wg.ch);
            float bias[2] = {};   // of a thread's channels
            if (e.bias) bias[0] = e.bias[end.ch0 + wg.row], bias[1] = e.bias[end.ch0 + wg.row + 8];
            // A wait by parity tells a phase from the one before it only: so a warpgroup waits for stages when the other has
            // seen all that come before them.
            if (PINGPONG && g != walk.first()) named_barrier(kTurn + wg.index, kConsumers * 128);
            multiply(d, span, ring, wg, g + walk.step() < walk.groups);
            finish(d, bias, end, from, to, ring, wg);
        }
    }

    // Load: copies for one stage, pixels and weights. They complete on the stage's full barrier by the bytes they bring.
    static __device__ __forceinline__ void load(const Operands& in, const Tile& tile, int s, int main, int k, const Ring& ring,
                                                int rank) {
        // Stage s of the first product has channels from s / 3 * BK on, for column s % 3 of the taps; a stage of the second
        // has the centre alone.
        bool second = s >= main, first_of_all = ring.count == 0;
        int dx = second ? 1 : s % 3, c0 = (second ? s - main : s / 3) * BK, taps = second ? 1 : 3;
        uint32_t stage = ring.stage(), full = ring.filled();
        barrier_expect(full, kPixels + taps * kWeights);
        // Earlier launches compute x, x2 and w2, which have to wait for them; w is constant and may be fetched at once.
        if (first_of_all && second) wait_before_copies();
        for (int dy = 0; dy < taps; dy++) {
            // A tile of weights is CH rows of 128 bytes: w is K rows of (tap, channel), w2 is N K rows of channels.
            uint32_t dst = stage + kPixels + dy * kWeights;
            int column = second ? c0 : (dy * 3 + dx) * in.c + c0, row = second ? tile.n * k + tile.ch0 : tile.ch0;
            const CUtensorMap& map = second ? in.w2 : in.w;
            if (MULTICAST == 1) {
                copy_rows(dst, map, full, column, row);
            } else {
                // The blocks have the same channels: each fetches its part of the rows for all, and waits for all rows.
                constexpr int kPart = CH / MULTICAST;
                copy_rows_to(dst + rank * kPart * kRow, map, full, column, row + rank * kPart, (1 << MULTICAST) - 1);
            }
        }
        if (first_of_all && !second) wait_before_copies();
        // The box begins one line above the tile, for all three dy, and dx - 1 columns beside it; zeros outside the picture.
        copy_box(stage, second ? in.x2 : in.x, full, c0, tile.x0 + dx - 1, tile.y0 - 1, tile.n);
    }

    // Multiply: a warpgroup's sums of a tile over this block's stages. Value 4 j + i of a thread is channel
    // 16 warp + lane/4 + 8 (i/2), pixel 8 j + 2 (lane%4) + i%2.
    static __device__ __forceinline__ void multiply(float (&d)[N / 2], const Span& span, Ring& ring, const Warpgroup& wg, bool next) {
        for (int s = span.from; s < min(span.to, span.main); s++) multiply_stage<3, 0>(d, s > span.from, ring, wg);
        for (int s = max(span.from, span.main); s < span.to; s++) multiply_stage<1, 1>(d, s > span.from, ring, wg);
        if (PINGPONG && next) named_barrier_arrive(kTurn + (wg.index ^ 1), kConsumers * 128);   // the other's turn, with the next tile
        wgmma_wait<0>();
        if (span.to > span.from) ring.release_previous();
    }

    // One stage: TAPS lines of taps, the first of them DOWN lines below the top of the box. more: d holds sums to add to.
    template <int TAPS, int DOWN>
    static __device__ __forceinline__ void multiply_stage(float (&d)[N / 2], bool more, Ring& ring, const Warpgroup& wg) {
        ring.wait_full();
        // Tap dy is the next tile of weights, and the same box one line further down.
        uint64_t a = descriptor(ring.stage() + kPixels + wg.ch * kRow), b = descriptor(ring.stage() + (wg.line + DOWN) * kLine);
        wgmma_fence();
#pragma unroll
        for (int dy = 0; dy < TAPS; dy++)
#pragma unroll
            for (int kk = 0; kk < 4; kk++)   // 32 of the 128 bytes of channels; descriptors count in units of 16 bytes
                wgmma(E{}, d, a + (dy * kWeights + kk * 32 >> 4), b + (dy * kLine + kk * 32 >> 4), more || dy + kk);
        wgmma_commit();
        // At most this stage's products are still under way, so those of the stage before are complete and it can be refilled.
        wgmma_wait<1>();
        if (more) ring.release_previous();
        ring.count++;
    }

    // Finish: bias, ReLU, rounding and the epilogue, kPass pixels at a time. With SPLIT the blocks exchange their sums first, and
    // then each finishes its share of the passes.
    static __device__ __forceinline__ void finish(const float (&d)[N / 2], const float (&bias)[2], End& end, int from, int to,
                                                  const Ring& ring, const Warpgroup& wg) {
        // Sums to share are (warpgroup, four values, thread), in place of the stages.
        uint32_t sums = ring.stages + (wg.index * (N / 8) * 128 + wg.t) * 16;
        if (SPLIT > 1) share(d, sums);
        for (int pass = from; pass < to; pass++, end.next(0)) {
            end.load_gates();   // on their way while the pass is staged
            named_barrier(kStagedTile + wg.index, 128);   // the pass before has been read
            if (SPLIT > 1) {
                float r[kValues];
                gather(r, sums, pass);
                if (pass + 1 == to) cluster_come();   // this warp reads no other block any more; the rest is its own
                stage(wg, r, bias, end.e);
            } else {
                stage_pass(wg, d, pass, bias, end.e);
            }
            named_barrier(kStagedTile + wg.index, 128);   // the tile is staged
            end.finish();
        }
    }

    // Stages the values of one pass. Registers have no index: the code of every pass is there, and one is executed. The empty
    // asm keeps the compiler from doing the work of all passes ahead of the branch, and selecting (2,000 instructions a tile).
    static __device__ __forceinline__ void stage_pass(const Warpgroup& wg, const float (&d)[N / 2], int pass, const float (&bias)[2],
                                                      const Epilogue<T>& e) {
#pragma unroll
        for (int q = 0; q < kPasses; q++)
            if (q == pass) {
                float r[kValues];
#pragma unroll
                for (int i = 0; i < kValues; i++) {
                    r[i] = d[q * kValues + i];
                    asm volatile("" : "+f"(r[i]));
                }
                stage(wg, r, bias, e);
            }
    }

    // Puts this block's sums where the others can read them; those of a block whose span is empty are still 0. Threads of a warp
    // are neighbours: no two share a bank.
    static __device__ __forceinline__ void share(const float (&d)[N / 2], uint32_t sums) {
        named_barrier(kSums, kConsumers * 128);   // both warpgroups are done with the stages
#pragma unroll
        for (int i = 0; i < N / 2; i += 4)
            store4(sums + i * 512, d[i], d[i + 1], d[i + 2], d[i + 3]);
        cluster_come(), cluster_wait();   // the sums of all blocks are there
    }

    // The values of one pass, each the sum of all blocks' sums in the order of ranks. The next rank's are under way while one
    // rank's are added: a load from another block takes as long as one from the second-level cache.
    static __device__ __forceinline__ void gather(float (&r)[kValues], uint32_t sums, int pass) {
        float4 next[kValues / 4];
        load_sums(next, sums, pass, 0);
#pragma unroll
        for (int p = 0; p < SPLIT; p++) {
            float4 v[kValues / 4];
#pragma unroll
            for (int i = 0; i < kValues / 4; i++) v[i] = next[i];
            if (p + 1 < SPLIT) load_sums(next, sums, pass, p + 1);
#pragma unroll
            for (int i = 0; i < kValues; i++) {
                float add = i % 4 == 0 ? v[i / 4].x : i % 4 == 1 ? v[i / 4].y : i % 4 == 2 ? v[i / 4].z : v[i / 4].w;
                r[i] = p ? r[i] + add : add;
            }
        }
    }
    static __device__ __forceinline__ void load_sums(float4 (&v)[kValues / 4], uint32_t sums, int pass, int rank) {
#pragma unroll
        for (int i = 0; i < kValues / 4; i++) v[i] = load4_from(sums + (pass * kValues / 4 + i) * 2048, rank);
    }

    // Adds the biases of a thread's channels, does the ReLU, and stages 64 channels of kPass pixels, pixel by pixel,
    // as finish reads them; the index map is that of multiply.
    static __device__ __forceinline__ void stage(const Warpgroup& wg, float (&r)[kValues], const float (&bias)[2],
                                                 const Epilogue<T>& e) {
        if (e.bias)
#pragma unroll
            for (int i = 0; i < kValues; i++) r[i] += bias[i >> 1 & 1];
        if constexpr (sizeof(T) == 2) {
            uint32_t m[kValues / 8][4];
            if (e.relu)
#pragma unroll
                for (int i = 0; i < kValues; i += 2) m[i / 8][i / 2 % 4] = relu2(E{}, r[i], r[i + 1]);
            else
#pragma unroll
                for (int i = 0; i < kValues; i += 2) m[i / 8][i / 2 % 4] = pack2(E{}, r[i], r[i + 1]);
#pragma unroll
            for (int j = 0; j < kValues / 8; j++) store_matrices_trans(wg.matrix + j * 16 * 128, m[j]);
        } else {
            // stmatrix moves 16-bit elements only: one by one.
            int lane = wg.t & 31, warp = wg.t >> 5;
#pragma unroll
            for (int i = 0; i < kValues; i++) {
                int pixel = i / 4 * 8 + (lane & 3) * 2 + (i & 1), ch8 = warp * 2 + (i >> 1 & 1);
                if (e.relu) r[i] = max_nan(r[i], 0.f);
                *(float*)(wg.s_staged + staged<T>(pixel, ch8, lane >> 4) + (lane >> 2 & 3) * 4) = rounded(E{}, r[i]);
            }
        }
    }
};

#define CONV3X3_WGMMA(E, ...) CONV3X3_WGMMA_ENTRY(E, __VA_ARGS__)   // E expanded first
#define CONV3X3_WGMMA_ENTRY(E, CH, PX, STAGES, MULTICAST, SPLIT, PINGPONG, SUFFIX)                               \
    extern "C" __global__ __cluster_dims__(MULTICAST* SPLIT, 1, 1) __launch_bounds__(kThreads, 1)                \
        void conv3x3_wgmma_##E##_nhwc_##CH##x##PX##SUFFIX(                                                       \
            const __grid_constant__ CUtensorMap MAYBE_NULL x, const __grid_constant__ CUtensorMap MAYBE_NULL w,  \
            const __grid_constant__ CUtensorMap MAYBE_NULL x2, const __grid_constant__ CUtensorMap MAYBE_NULL w2,\
            int height, int width, int c, int c2, int k, int pictures, EPILOGUE_PARAMS(Element<E>::Store, )) {   \
        Conv<E, CH, PX, STAGES, MULTICAST, SPLIT, PINGPONG>::run({x, w, x2, w2, c, c2}, {pictures, height, width, k}, \
                                                                 EPILOGUE(Element<E>::Store));                   \
    }
CONV3X3_WGMMA(EACH, 64, 512, 2, 1, 1, 0, )
CONV3X3_WGMMA(EACH, 64, 256, 3, 1, 1, 0, )
CONV3X3_WGMMA(EACH, 64, 256, 3, 1, 1, 1, _pingpong)
CONV3X3_WGMMA(EACH, 128, 256, 2, 1, 1, 0, )
CONV3X3_WGMMA(EACH, 128, 256, 2, 2, 1, 0, _multicast2)
CONV3X3_WGMMA(EACH, 128, 128, 3, 2, 1, 0, _multicast2)
CONV3X3_WGMMA(EACH, 128, 128, 3, 1, 2, 0, _split2)
CONV3X3_WGMMA(EACH, 128, 128, 3, 1, 3, 0, _split3)
CONV3X3_WGMMA(EACH, 128, 128, 3, 1, 4, 0, _split4)
