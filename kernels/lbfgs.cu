// lbfgs_products, lbfgs_solve, lbfgs_direction, lbfgs_step: projected L-BFGS on the pixels.    streaming and products, fp32
// Maths    gpu.LBFGSParams has the algorithm. The direction is a combination of the vectors s, y and g, and the recursion asks
//          for nothing but their products on free values (Chen, Wang and Zhou, NIPS 2014):
//          products   the pair of the step just made, into slot `next`; P[i,j] = sum_e v[i,e] free[e] v[j,e], i over all s, y and
//                     g, j over all y and g; s.y and y.y of the new pair; how many g*g are not finite; max |g|
//          solve      accepts or refuses the evaluation, and recurs on coefficients
//          direction  a = x and ga = g if accepted; d = -free sum_i coef[i] v[i]; max |d|
//          step       x = clamp(a + by d, 0, 1), by = factor min(1, most / max|d|)
//          A picture whose step[n] is at its limit is left alone; first and most are multiplied by its rate.
// Layout   x, g, a, ga, d (N, elems); s, y (N, slots, elems); control (N, columns); step (N); knobs (N, knob_columns); total (N,4); parts (N, blocks, part_width);
//          coef (N, 2 slots + 2), the last value being what is to be done; longest (N, blocks)
// Shapes   slots to 33; elems < 2^31
// Launch   products: 256 threads, grid (blocks, N), each a share of the elements. solve: 1024 threads, grid N.
//          direction, step: 256 threads, grid (ceil(elems/1024), N), 4 elements per thread
// Tile     products: 128 elements of every vector in shared memory, or 64 or 32 of many vectors; 3 stages by cp.async.
//          A thread has 6x6 products of some quads of a tile, and 256/units threads share a unit
// Hazards  products: one barrier per tile; a thread turns its own copies of x, g, a and ga into the pair before it
// Order    products: elements ascending in a thread, threads of a unit; blocks in solve, four in fp32, then fp64: deterministic
// Bound    memory: s and y are read twice, 16 B per element and slot; 512x512 with 10 pairs: 138 MB
// Oracle   ref.LBFGS   Suite kerneltest
// ptx: sm_80 sm_90
#include "control.cuh"
#include "mma.cuh"
#include "overlap.cuh"
#include "params.cuh"
#include "reduce.cuh"

constexpr int kMaxSlots = 33;   // one more than the longest history
constexpr int kTile = 128;      // the most elements of a tile; of 64 or 32 with more vectors
constexpr int kStages = 3;      // tiles that are being loaded or worked on
constexpr int kUnit = 6;        // a thread has kUnit x kUnit products
constexpr int kBuffer = 9600;   // values of the stages: 25 vectors of kTile, 50 of half of it
static_assert(kBuffer >= kUnit * kUnit * (kReduceThreads + 1), "the sums of all threads go where the tiles were");
static_assert(kBuffer >= kStages * 32 * (2 * kMaxSlots + 7), "a tile of 32 elements fits with the most slots");

constexpr int kExtra = 4;       // values behind the products: s.y, y.y, how many squares are not finite, max |g|

// How many values a block of products leaves: the products, zeros to a multiple of 4, kExtra.
__host__ __device__ inline constexpr int part_width(int slots) { return ((2 * slots + 1) * (slots + 1) + 3) / 4 * 4 + kExtra; }

// What solve leaves to do.
enum { kLeave, kStay, kGo, kTurn, kAccept };   // nothing at all; no step; go along d; make d anew; accept x, and make d

constexpr float kShrink = 0.3f;        // of the step, by a refusal
constexpr int kRetries = 8;            // refusals in a row for a loss that rose

// 0 where a value is at its bound and would leave it.
__device__ __forceinline__ float is_free(float x, float g) {
    return (x <= 0.f && g > 0.f) || (x >= 1.f && g < 0.f) ? 0.f : 1.f;
}

// Four bytes from global to shared memory, asynchronously; zeros where bytes is 0.
__device__ __forceinline__ void copy4(uint32_t dst, const void* src, int bytes) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(dst), "l"(src), "r"(bytes) : "memory");
}

// Four values of a thread.
struct __align__(16) Quad {
    float v[4];
};

extern "C" __global__ __launch_bounds__(kReduceThreads, 2) void lbfgs_products_f32(
    float* RESTRICT parts, float* s, float* y, const float* RESTRICT x, const float* RESTRICT g, const float* RESTRICT a,
    const float* RESTRICT ga, const float* RESTRICT control, const float* RESTRICT step, const float* RESTRICT knobs, int slots,
    int columns, int knob_columns, unsigned elems, unsigned share) {
    __shared__ __align__(16) float s_v[kBuffer];   // (stage, quad, vector, 4): all s, all y, g, free; then (product, thread)
    wait_for_previous();
    start_next();
    int t = threadIdx.x, rows = 2 * slots + 1, cols = slots + 1;
    size_t n = blockIdx.y;
    if (!(step[n] < knobs[n * knob_columns + kLimit])) return;   // of all blocks of the picture; solve looks at no part of it
    x += n * elems, g += n * elems, a += n * elems, ga += n * elems;
    s += n * slots * elems, y += n * slots * elems;
    int next = (int)control[n * columns + kNext];
    bool aligned = elems % 4 == 0;
    // Units of kUnit x kUnit products cover the rows and columns, and look at rows beyond them that are 0 or no vectors: those
    // products are not used. An odd stride keeps quads of neighbours in different banks.
    int across = (cols + kUnit - 1) / kUnit, down = (rows + kUnit - 1) / kUnit, units = across * down;
    int stride = max(max(down * kUnit, slots + across * kUnit), rows + 1) | 1, quads = kTile / 4;
    while (kStages * 4 * quads * stride > kBuffer) quads /= 2;
    for (int i = t; i < kStages * quads * (stride - rows - 1); i += kReduceThreads)
        ((float4*)s_v)[i / (stride - rows - 1) * stride + rows + 1 + i % (stride - rows - 1)] = float4{};
    // Threads of one quad in all vectors load; the first `quads` have x, g, a and ga, of which they make the new pair and the mask.
    int quad = t % quads, loader = t / quads, loaders = kReduceThreads / quads;
    // A thread has one unit of some quads.
    int unit = t % units, group = t / units, groups = min(kReduceThreads / units, quads);
    unsigned from = blockIdx.x * share, to = min(elems, from + share);
    int count = (to - from + 4 * quads - 1) / (4 * quads);
    auto load = [&](int tile) {
        unsigned e = from + (tile * quads + quad) * 4;
        uint32_t at = (uint32_t)__cvta_generic_to_shared(s_v) + (tile % kStages * quads + quad) * stride * 16;
        auto vectors = [&](auto copy) {
            if (loader == 0) {
                copy(at + 16 * next, x + e);
                copy(at + 16 * (slots + next), ga + e);
                copy(at + 16 * (2 * slots), g + e);
                copy(at + 16 * rows, a + e);
            } else
                for (int v = loader - 1; v < slots; v += loaders - 1)
                    if (v != next) {
                        copy(at + 16 * v, s + (size_t)v * elems + e);
                        copy(at + 16 * (slots + v), y + (size_t)v * elems + e);
                    }
        };
        if (tile < count && aligned)
            vectors([&](uint32_t dst, const float* src) { copy16(dst, src, e < to ? 16 : 0); });
        else if (tile < count)
            vectors([&](uint32_t dst, const float* src) {
#pragma unroll
                for (int l = 0; l < 4; l++) copy4(dst + 4 * l, src + l, e + l < to ? 4 : 0);
            });
        copy_commit();
    };
    float sums[kUnit][kUnit] = {}, sy = 0.f, yy = 0.f, bad = 0.f, most = 0.f;
#pragma unroll
    for (int i = 0; i < kStages - 1; i++) load(i);
    for (int tile = 0; tile < count; tile++) {
        float* at = s_v + tile % kStages * quads * stride * 4;
        copy_wait<kStages - 2>();
        if (loader == 0) {
            // A thread sees its own copies without a barrier: x, ga, g and a become s, y, g and the mask.
            Quad* mine = (Quad*)at + quad * stride;
            Quad xe = mine[next], ye = mine[slots + next], ge = mine[2 * slots], se = mine[rows], mask;
            unsigned e = from + (tile * quads + quad) * 4;
#pragma unroll
            for (int l = 0; l < 4; l++) {
                se.v[l] = xe.v[l] - se.v[l];
                ye.v[l] = ge.v[l] - ye.v[l];
                mask.v[l] = is_free(xe.v[l], ge.v[l]);
                sy = fmaf(se.v[l], ye.v[l], sy);
                yy = fmaf(ye.v[l], ye.v[l], yy);
                if (finite(ge.v[l] * ge.v[l]))
                    most = fmaxf(most, fabsf(ge.v[l]));
                else
                    bad += 1.f;
            }
            mine[next] = se, mine[slots + next] = ye, mine[rows] = mask;
            float *to_s = s + (size_t)next * elems + e, *to_y = y + (size_t)next * elems + e;
            if (aligned && e < to)
                *(Quad*)to_s = se, *(Quad*)to_y = ye;
            else
#pragma unroll
                for (int l = 0; l < 4; l++)
                    if (e + l < to) to_s[l] = se.v[l], to_y[l] = ye.v[l];
        }
        __syncthreads();   // the tile is there, and the one before is done with
        load(tile + kStages - 1);
        if (group < groups)
            for (int q = group; q < quads; q += groups) {
                const float4* of = (const float4*)at + q * stride;
                const float4 *of_a = of + unit / across * kUnit, *of_b = of + slots + unit % across * kUnit;
                float4 f = of[rows], b[kUnit];
#pragma unroll
                for (int j = 0; j < kUnit; j++) {
                    b[j] = of_b[j];
                    b[j].x *= f.x, b[j].y *= f.y, b[j].z *= f.z, b[j].w *= f.w;
                }
#pragma unroll
                for (int i = 0; i < kUnit; i++) {
                    float4 v = of_a[i];
#pragma unroll
                    for (int j = 0; j < kUnit; j++) sums[i][j] = fmaf(v.x, b[j].x, sums[i][j]);
#pragma unroll
                    for (int j = 0; j < kUnit; j++) sums[i][j] = fmaf(v.y, b[j].y, sums[i][j]);
#pragma unroll
                    for (int j = 0; j < kUnit; j++) sums[i][j] = fmaf(v.z, b[j].z, sums[i][j]);
#pragma unroll
                    for (int j = 0; j < kUnit; j++) sums[i][j] = fmaf(v.w, b[j].w, sums[i][j]);
                }
            }
    }
    copy_wait<0>();
    __syncthreads();   // the last tile is done with
#pragma unroll
    for (int i = 0; i < kUnit * kUnit; i++) s_v[i * (kReduceThreads + 1) + t] = sums[i / kUnit][i % kUnit];
    __syncthreads();   // the sums of all groups are there
    float* out = parts + (n * gridDim.x + blockIdx.x) * part_width(slots);
    for (int i = t; i < rows * cols; i += kReduceThreads) {
        int row = i / cols, col = i % cols;
        const float* of = s_v + (row % kUnit * kUnit + col % kUnit) * (kReduceThreads + 1) + row / kUnit * across + col / kUnit;
        float sum = of[0];
#pragma unroll 8
        for (int k = 1; k < groups; k++) sum += of[k * units];
        out[i] = sum;
    }
    if (t >= 32) return;   // the first warp has all loaders of x and g
    sy = warp_sum(sy), yy = warp_sum(yy), bad = warp_sum(bad), most = warp_max(most);
    out += part_width(slots) - kExtra;
    if (t < part_width(slots) - kExtra - rows * cols) out[-1 - t] = 0.f;
    if (t == 0) *(float4*)out = float4{sy, yy, bad, most};
}

constexpr int kSolve = 1024;

// A value of one lane in all, in fp64; a shuffle moves 32 bits.
__device__ __forceinline__ double from_lane(double v, int lane) {
    return __hiloint2double(__shfl_sync(0xffffffffu, __double2hiint(v), lane), __shfl_sync(0xffffffffu, __double2loint(v), lane));
}

// The two loops on coefficients, by one warp, of `count` pairs of which the newest is in a slot; false where there are no pairs
// or the result does not descend, and then coef is left alone. A lane has the pair of its age. It keeps up to date the products
// of its s (sigma) and its y (eta) with the direction so far, so that a step waits for one value of another lane and for no sum.
// A slot without a pair has products that may be anything: it is not looked at.
__device__ __forceinline__ bool recursion(float* coef, const double* p, const float* curvature, int count, int newest, int slots) {
    if (count == 0) return false;
    int lane = threadIdx.x, cols = slots + 1;
    auto slot = [&](int age) { return newest < age ? newest - age + slots : newest - age; };
    int i = slot(min(lane, count - 1));
    const double *s_i = p + i * cols, *y_i = p + (slots + i) * cols;
    double rho = 1.0 / curvature[i], sigma = s_i[slots], eta = y_i[slots], alpha = 0.0, delta = 0.0;
    double h = fmax(p[newest * cols + newest] / fmax(p[(slots + newest) * cols + newest], 1e-30), 1e-12);
#pragma unroll 2
    for (int age = 0; age < count; age++) {   // from the newest
        int k = slot(age);
        double sy = s_i[k], yy = y_i[k], v = from_lane(rho * sigma, age);
        if (lane == age) alpha = v;
        sigma = fma(-v, sy, sigma);
        eta = fma(-v, yy, eta);
    }
    eta *= h;
#pragma unroll 2
    for (int age = count - 1; age >= 0; age--) {   // from the oldest
        double sy = p[slot(age) * cols + i], v = from_lane(alpha - rho * eta, age);
        if (lane == age) delta = v;
        eta = fma(v, sy, eta);
    }
    bool mine = lane < count;
    double descent = warp_sum(mine ? delta * s_i[slots] - h * alpha * y_i[slots] : 0.0) + h * p[2 * slots * cols + slots];
    if (!(descent > 0.0)) return false;
    if (mine) coef[i] = (float)delta, coef[slots + i] = (float)(-h * alpha);
    if (lane == 0) coef[2 * slots] = (float)h;
    return true;
}

extern "C" __global__ __launch_bounds__(kSolve) void lbfgs_solve_f32(float* RESTRICT coef, float* RESTRICT control,
                                                                     const float* RESTRICT parts, const float* RESTRICT step,
                                                                     const float* RESTRICT knobs, const float* RESTRICT total,
                                                                     float first, float rise, int history, int columns,
                                                                     int knob_columns, int blocks) {
    constexpr int kOwn = (part_width(kMaxSlots) + kSolve - 1) / kSolve, kReads = 8;
    __shared__ __align__(16) double s_p[4 * kSolve];   // (run, value); then (value)
    __shared__ float s_control[kCurvature + kMaxSlots], s_coef[2 * kMaxSlots + 1];
    wait_for_previous();
    start_next();
    int t = threadIdx.x, slots = history + 1, width = part_width(slots), quads = width / 4;
    size_t n = blockIdx.x;
    parts += n * blocks * width;
    control += n * columns;
    coef += n * (2 * slots + 2);
    knobs += n * knob_columns;
    if (!(step[n] < knobs[kLimit])) {
        if (t == 0) coef[2 * slots + 1] = (float)kLeave;
        return;
    }
    float loss = total[4 * n + 3];
    first *= knobs[kRate];
    if (t < kCurvature + slots) s_control[t] = control[t];
    if (t < 2 * slots + 1) s_coef[t] = 0.f;
    // A thread adds four values of a run of blocks, eight blocks on their way at a time, and four in fp32; then a thread adds the
    // runs of a value. The last value is not a sum but the largest.
    int quad = t % quads, run = t / quads, length = (blocks + kSolve / quads - 1) / (kSolve / quads);
    length = (length + 3) / 4 * 4;
    int runs = (blocks + length - 1) / length;
    if (run < runs) {
        double sum[4] = {};
        float most = 0.f;
        int to = min((run + 1) * length, blocks);
        for (int b = run * length; b < to; b += kReads) {
            float4 v[kReads];
#pragma unroll
            for (int k = 0; k < kReads; k++) v[k] = b + k < to ? ((const float4*)parts)[(size_t)(b + k) * quads + quad] : float4{};
#pragma unroll
            for (int k = 0; k < kReads; k += 4) {
                sum[0] += (v[k].x + v[k + 1].x) + (v[k + 2].x + v[k + 3].x);
                sum[1] += (v[k].y + v[k + 1].y) + (v[k + 2].y + v[k + 3].y);
                sum[2] += (v[k].z + v[k + 1].z) + (v[k + 2].z + v[k + 3].z);
                sum[3] += (v[k].w + v[k + 1].w) + (v[k + 2].w + v[k + 3].w);
                most = fmaxf(fmaxf(most, fmaxf(v[k].w, v[k + 1].w)), fmaxf(v[k + 2].w, v[k + 3].w));
            }
        }
        if (quad == quads - 1) sum[3] = most;
        double2* to_run = (double2*)(s_p + run * width + 4 * quad);
        to_run[0] = double2{sum[0], sum[1]}, to_run[1] = double2{sum[2], sum[3]};
    }
    __syncthreads();   // the runs are there
    double own[kOwn];
#pragma unroll
    for (int k = 0; k < kOwn; k++) {
        int i = t + k * kSolve;
        own[k] = 0.0;
        if (i < width)
#pragma unroll 4
            for (int r = 0; r < runs; r++) {
                double v = s_p[r * width + i];
                own[k] = i == width - 1 ? fmax(own[k], v) : own[k] + v;
            }
    }
    __syncthreads();   // and done with
#pragma unroll
    for (int k = 0; k < kOwn; k++)
        if (t + k * kSolve < width) s_p[t + k * kSolve] = own[k];
    __syncthreads();   // the products are there
    if (t >= 32) return;
    // All lanes decide the same; lane 0 writes.
    double sy = s_p[width - 4], yy = s_p[width - 3];
    float was = s_control[kLoss], accepted = s_control[kAccepted], refusals = s_control[kRefusals], most = s_control[kMost];
    float factor = s_control[kFactor];
    int pairs = (int)s_control[kPairs], next = (int)s_control[kNext], made = -1, todo = kAccept;
    bool ok = s_p[width - 2] == 0.0 && finite(loss);
    bool rose = accepted > 0.f && refusals < kRetries && (double)loss > (double)was + (double)rise * fabs((double)was);
    bool accept = ok && !rose, descends = false;
    if (accept) {
        if (accepted > 0.f && sy > 1e-10 * yy) {
            made = next;
            pairs = min(pairs + 1, history);
            next = (next + 1) % slots;
        }
        accepted += 1.f, was = loss, factor = 1.f, refusals = 0.f, most = (float)s_p[width - 1];
        if (made >= 0 && t == 0) s_control[kCurvature + made] = (float)sy;
        __syncwarp();
        descends = recursion(s_coef, s_p, s_control + kCurvature, pairs, next == 0 ? slots - 1 : next - 1, slots);
        if (!descends) pairs = 0;   // without a direction of its pairs it goes along the gradient
    } else {
        todo = accepted == 0.f ? kStay : refusals >= 1.f ? kTurn : kGo;
        if (refusals >= 1.f) pairs = 0;
        refusals += 1.f, factor *= kShrink;
    }
    if (t == 0) {
        control[kAccepted] = accepted, control[kLoss] = was, control[kFactor] = factor, control[kRefusals] = refusals;
        control[kMost] = most, control[kPairs] = (float)pairs, control[kNext] = (float)next;
        if (made >= 0) control[kCurvature + made] = (float)sy;
        coef[2 * slots + 1] = (float)todo;
        if (!descends) s_coef[2 * slots] = most > 0.f ? first / most : 0.f;
    }
    __syncwarp();
    for (int i = t; i <= 2 * slots; i += 32) coef[i] = s_coef[i];
}

constexpr int kElements = 4;   // of a thread

// Where four values of a thread are: neighbours where that is aligned, else a block apart, so that a warp reads neighbouring bytes.
// Beyond the end it reads the last ones again, and writes nothing.
template <bool Aligned>
struct Four {
    unsigned from, elems;
    __device__ __forceinline__ explicit Four(unsigned n)
        : from(blockIdx.x * (kElements * kReduceThreads) + threadIdx.x * (Aligned ? kElements : 1)), elems(n) {}
    __device__ __forceinline__ Quad load(const float* src) const {
        Quad q;
        if (Aligned)
            q = *(const Quad*)(src + min(from, elems - kElements));
        else
#pragma unroll
            for (int j = 0; j < kElements; j++) q.v[j] = src[min(from + j * kReduceThreads, elems - 1)];
        return q;
    }
    __device__ __forceinline__ void store(float* dst, const Quad& q) const {
        if (Aligned) {
            if (from < elems) *(Quad*)(dst + from) = q;
        } else
#pragma unroll
            for (int j = 0; j < kElements; j++)
                if (from + j * kReduceThreads < elems) dst[from + j * kReduceThreads] = q.v[j];
    }
};

constexpr int kAhead = 5;   // pairs that are on their way

// A pair that has coefficients, and where it is.
struct __align__(16) Term {
    float s, y;
    size_t offset;
};

// The direction of a thread's elements from whole steps of kAhead pairs, and its largest |d|.
template <bool Aligned>
__device__ __forceinline__ float direction(float* d, float* a, float* ga, const float* x, const float* g, const float* s,
                                           const float* y, const Term* terms, int count, float slope, bool accept, unsigned elems) {
    Four<Aligned> at(elems);
    Quad xe = at.load(accept ? x : a), ge = at.load(accept ? g : ga), sum = {};
    for (int i = 0; i < count; i += kAhead) {
        Quad se[kAhead], ye[kAhead];
#pragma unroll
        for (int k = 0; k < kAhead; k++) {
            size_t offset = terms[i + k].offset;
            se[k] = at.load(s + offset), ye[k] = at.load(y + offset);
        }
#pragma unroll
        for (int k = 0; k < kAhead; k++) {
            float cs = terms[i + k].s, cy = terms[i + k].y;
#pragma unroll
            for (int j = 0; j < kElements; j++) sum.v[j] = fmaf(cy, ye[k].v[j], fmaf(cs, se[k].v[j], sum.v[j]));
        }
    }
    Quad de;
    float most = 0.f;
#pragma unroll
    for (int j = 0; j < kElements; j++) {
        de.v[j] = -is_free(xe.v[j], ge.v[j]) * fmaf(slope, ge.v[j], sum.v[j]);
        most = fmaxf(most, fabsf(de.v[j]));
    }
    at.store(d, de);
    if (accept) at.store(a, xe), at.store(ga, ge);
    return most;
}

extern "C" __global__ __launch_bounds__(kReduceThreads, 3) void lbfgs_direction_f32(
    float* RESTRICT longest, float* RESTRICT d, float* RESTRICT a, float* RESTRICT ga, const float* RESTRICT x,
    const float* RESTRICT g, const float* RESTRICT s, const float* RESTRICT y, const float* RESTRICT coef, int slots,
    unsigned elems) {
    __shared__ Term s_terms[kMaxSlots + kAhead];
    __shared__ int s_count;
    wait_for_previous();
    start_next();
    size_t n = blockIdx.y;
    coef += n * (2 * slots + 2);
    int todo = (int)coef[2 * slots + 1];
    float slope = coef[2 * slots];
    if (todo < kTurn) return;
    // The first warp lists the pairs: a slot without one may hold anything, and is not looked at. Whole steps are filled up with
    // a pair times 0.
    if (threadIdx.x < 32) {
        int lane = threadIdx.x, count = 0;
        for (int base = 0; base < slots; base += 32) {
            int i = base + lane;
            float cs = i < slots ? coef[i] : 0.f, cy = i < slots ? coef[slots + i] : 0.f;
            unsigned has = __ballot_sync(0xffffffffu, cs != 0.f || cy != 0.f);
            if (has >> lane & 1) s_terms[count + __popc(has & ((1u << lane) - 1))] = Term{cs, cy, (size_t)i * elems};
            count += __popc(has);
        }
        __syncwarp();
        if (count > 0 && lane < kAhead) s_terms[count + lane] = Term{0.f, 0.f, s_terms[0].offset};
        if (lane == 0) s_count = count;
    }
    __syncthreads();
    d += n * elems, a += n * elems, ga += n * elems, x += n * elems, g += n * elems;
    s += n * slots * elems, y += n * slots * elems;
    float most = elems % 4 == 0 ? direction<true>(d, a, ga, x, g, s, y, s_terms, s_count, slope, todo == kAccept, elems)
                                : direction<false>(d, a, ga, x, g, s, y, s_terms, s_count, slope, todo == kAccept, elems);
    most = block_max(most);
    if (threadIdx.x == 0) longest[n * gridDim.x + blockIdx.x] = most;
}

// x = clamp(a + by d, 0, 1) of a thread's elements, where the step is known only once they are on their way.
template <bool Aligned>
__device__ __forceinline__ void take_step(float* x, const float* a, const float* d, float* control, const float* longest, int todo,
                                          float most, unsigned elems) {
    __shared__ float s_longest;
    Four<Aligned> at(elems);
    Quad ae = at.load(a), de = at.load(d);
    float by = control[kFactor], length = 0.f;
    if (todo >= kTurn)   // direction has made it anew
        for (int b = threadIdx.x; b < gridDim.x; b += kReduceThreads) length = fmaxf(length, longest[b]);
    length = block_max(length);
    if (threadIdx.x == 0) s_longest = todo >= kTurn ? length : control[kLongest];
    __syncthreads();
    length = s_longest;
    if (length > most) by *= most / length;
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        control[kStep] = by * length;
        if (todo >= kTurn) control[kLongest] = length;
    }
#pragma unroll
    for (int j = 0; j < kElements; j++) ae.v[j] = fminf(fmaxf(fmaf(by, de.v[j], ae.v[j]), 0.f), 1.f);
    at.store(x, ae);
}

extern "C" __global__ __launch_bounds__(kReduceThreads) void lbfgs_step_f32(
    float* RESTRICT x, float* control, const float* RESTRICT a, const float* RESTRICT d, const float* RESTRICT longest,
    const float* RESTRICT coef, const float* RESTRICT knobs, float most, int slots, int columns, int knob_columns, unsigned elems) {
    wait_for_previous();
    start_next();
    size_t n = blockIdx.y;
    control += n * columns;
    x += n * elems, a += n * elems, d += n * elems, longest += n * gridDim.x;
    int todo = (int)coef[n * (2 * slots + 2) + 2 * slots + 1];
    most *= knobs[n * knob_columns + kRate];
    if (todo == kLeave) return;
    if (todo == kStay) {
        if (blockIdx.x == 0 && threadIdx.x == 0) control[kStep] = 0.f;
    } else if (elems % 4 == 0)
        take_step<true>(x, a, d, control, longest, todo, most, elems);
    else
        take_step<false>(x, a, d, control, longest, todo, most, elems);
}
