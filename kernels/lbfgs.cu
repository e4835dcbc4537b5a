// lbfgs_products, lbfgs_solve, lbfgs_direction, lbfgs_step: projected L-BFGS on the pixels.    streaming and products, fp32
// Maths    gpu.LBFGSParams has the algorithm. The direction is a combination of the vectors s, y and g, and the recursion asks
//          for nothing but their products on free values (Chen, Wang and Zhou, NIPS 2014):
//          products   the pair of the step just made, into slot `next`; P[i,j] = sum_e v[i,e] free[e] v[j,e], i over all s, y and
//                     g, j over all y and g; s.y and y.y of the new pair; how many g*g are not finite; max |g|
//          solve      accepts or refuses the evaluation, and recurs on coefficients
//          direction  a = x and ga = g if accepted; d = -free sum_i coef[i] v[i]; max |d|
//          step       x = clamp(a + by d, 0, 1), by = factor min(1, most / max|d|)
// Layout   x, g, a, ga, d (N, elems); s, y (N, slots, elems); control (N, columns); total (N,4); parts (N, blocks, products + 4);
//          coef (N, 2 slots + 2), the last value being what is to be done; longest (N, blocks)
// Shapes   slots to 33; elems < 2^31
// Launch   products: 256 threads, grid (blocks, N), each a share of the elements. solve: 1024 threads, grid N.
//          direction, step: 256 threads, grid (ceil(elems/1024), N), 4 elements per thread
// Tile     products: 128 elements of every vector in shared memory, or 64 or 32 of many vectors; 3 stages by cp.async.
//          A thread has 6x6 products of some quads of a tile, and 256/units threads share a unit
// Hazards  products: one barrier per tile; a thread turns its own copies of x, g, a and ga into the pair before it
// Order    products: elements ascending in a thread, threads of a unit, blocks in solve, in fp64 there: deterministic
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
constexpr int kExtra = 4;       // sums behind the products: s.y, y.y, how many squares are not finite, max |g|

// What solve leaves to do.
enum { kStay, kGo, kTurn, kAccept };   // nothing; go along d; make d anew; accept x, and make d

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
    const float* RESTRICT ga, const float* RESTRICT control, int slots, int columns, unsigned elems, unsigned share) {
    __shared__ __align__(16) float s_v[kBuffer];   // (stage, quad, vector, 4): all s, all y, g, free; then (product, thread)
    wait_for_previous();
    start_next();
    int t = threadIdx.x, rows = 2 * slots + 1, cols = slots + 1;
    size_t n = blockIdx.y;
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
    float* out = parts + (n * gridDim.x + blockIdx.x) * (rows * cols + kExtra);
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
    if (t == 0) {
        out += rows * cols;
        out[0] = sy, out[1] = yy, out[2] = bad, out[3] = most;
    }
}

constexpr int kSolve = 1024;

// The sum over a warp, in every lane, in fp64; a shuffle moves 32 bits.
__device__ __forceinline__ double warp_sum(double v) {
#pragma unroll
    for (int o = 16; o; o >>= 1)
        v += __hiloint2double(__shfl_xor_sync(0xffffffffu, __double2hiint(v), o), __shfl_xor_sync(0xffffffffu, __double2loint(v), o));
    return v;
}

// What the recursion works on: products P, coefficients q of all s, y and g, and alpha of each pair.
struct Recursion {
    double p[(2 * kMaxSlots + 1) * (kMaxSlots + 1)], q[2 * kMaxSlots + 1], alpha[kMaxSlots];
};

// The two loops on coefficients, by one warp; false where there are no pairs or the result does not descend. A slot without
// a pair has coefficient 0 and products that may be anything: it is passed over.
__device__ __forceinline__ bool recursion(Recursion& r, const float* control, int slots) {
    int lane = threadIdx.x, cols = slots + 1, g = 2 * slots;
    int count = (int)control[kPairs], head = (int)control[kNext] - 1;
    if (count == 0) return false;
    for (int i = lane; i <= g; i += 32) r.q[i] = i == g ? 1.0 : 0.0;
    __syncwarp();
    for (int age = 0; age < count; age++) {   // from the newest
        int i = (head - age + 2 * slots) % slots;
        double sum = 0.0;   // s_i . q; q has no s yet
        for (int j = lane; j <= slots; j += 32) {
            double q = r.q[slots + j];
            if (q != 0.0) sum += q * r.p[i * cols + j];
        }
        double alpha = warp_sum(sum) / control[kCurvature + i];
        __syncwarp();
        if (lane == 0) r.alpha[age] = alpha, r.q[slots + i] -= alpha;
        __syncwarp();
    }
    int newest = (head + slots) % slots;
    double h = fmax(r.p[newest * cols + newest] / fmax(r.p[(slots + newest) * cols + newest], 1e-30), 1e-12);
    for (int i = lane; i <= g; i += 32) r.q[i] *= h;
    __syncwarp();
    for (int age = count - 1; age >= 0; age--) {   // from the oldest
        int i = (head - age + 2 * slots) % slots;
        double sum = 0.0;   // y_i . q: column i of all s and y, and y_i's product with g
        for (int j = lane; j < g; j += 32)
            if (r.q[j] != 0.0) sum += r.q[j] * r.p[j * cols + i];
        if (lane == 0) sum += r.q[g] * r.p[(slots + i) * cols + slots];
        double beta = warp_sum(sum) / control[kCurvature + i];
        __syncwarp();
        if (lane == 0) r.q[i] += r.alpha[age] - beta;
        __syncwarp();
    }
    double descent = 0.0;
    for (int j = lane; j <= g; j += 32)
        if (r.q[j] != 0.0) descent -= r.q[j] * r.p[j * cols + slots];
    return warp_sum(descent) < 0.0;
}

extern "C" __global__ __launch_bounds__(kSolve) void lbfgs_solve_f32(float* RESTRICT coef, float* RESTRICT control,
                                                                     const float* RESTRICT parts, const float* RESTRICT total,
                                                                     float first, float rise, int history, int columns, int blocks) {
    __shared__ Recursion r;
    __shared__ double s_some[kSolve], s_extra[kExtra];
    wait_for_previous();
    start_next();
    int t = threadIdx.x, slots = history + 1, products = (2 * slots + 1) * (slots + 1), width = products + kExtra;
    size_t n = blockIdx.x;
    parts += n * blocks * width;
    control += n * columns;
    coef += n * (2 * slots + 2);
    // A thread adds a run of the blocks' sums of one product; then the first of a product adds the runs in order.
    // Neighbouring threads have neighbouring products.
    int runs = max(kSolve / width, 1), length = (blocks + runs - 1) / runs;
    for (int base = 0; base < width; base += kSolve) {
        int i = base + t % (runs > 1 ? width : kSolve), run = runs > 1 ? t / width : 0;
        bool mine = i < width && run < runs, largest = i == width - 1;
        double sum = 0.0;
        if (mine)
            for (int b = run * length; b < min((run + 1) * length, blocks); b++) {
                double v = parts[(size_t)b * width + i];
                sum = largest ? fmax(sum, v) : sum + v;
            }
        s_some[t] = sum;
        __syncthreads();
        if (mine && run == 0) {
            for (int k = 1; k < runs; k++) sum = largest ? fmax(sum, s_some[k * width + t]) : sum + s_some[k * width + t];
            if (i < products)
                r.p[i] = sum;
            else
                s_extra[i - products] = sum;
        }
        __syncthreads();
    }
    if (t >= 32) return;
    // All lanes decide the same; lane 0 writes.
    float loss = total[4 * n + 3], was = control[kLoss], accepted = control[kAccepted], refusals = control[kRefusals];
    bool ok = s_extra[2] == 0.0 && finite(loss);
    bool rose = accepted > 0.f && refusals < kRetries && (double)loss > (double)was + (double)rise * fabs((double)was);
    bool accept = ok && !rose, descends = false;
    int todo = kAccept;
    __syncwarp();
    if (t == 0 && !accept) {
        control[kRefusals] = refusals + 1.f;
        control[kFactor] *= kShrink;
        if (refusals >= 1.f) control[kPairs] = 0.f;
    }
    if (t == 0 && accept) {
        int next = (int)control[kNext];
        if (accepted > 0.f && s_extra[0] > 1e-10 * s_extra[1]) {
            control[kCurvature + next] = (float)s_extra[0];
            control[kPairs] = fminf(control[kPairs] + 1.f, (float)history);
            control[kNext] = (float)((next + 1) % slots);
        }
        control[kAccepted] = accepted + 1.f;
        control[kLoss] = loss;
        control[kFactor] = 1.f;
        control[kRefusals] = 0.f;
        control[kMost] = (float)s_extra[3];
    }
    __syncwarp();
    if (accept)
        descends = recursion(r, control, slots);
    else
        todo = accepted == 0.f ? kStay : refusals >= 1.f ? kTurn : kGo;
    // Without a direction of its pairs it goes along the gradient.
    if (t == 0 && accept && !descends) control[kPairs] = 0.f;
    float most = control[kMost], along = most > 0.f ? first / most : 0.f;
    for (int i = t; i <= 2 * slots; i += 32) coef[i] = descends ? (float)r.q[i] : i == 2 * slots ? along : 0.f;
    if (t == 0) coef[2 * slots + 1] = (float)todo;
}

constexpr int kElements = 4;   // of a thread

extern "C" __global__ __launch_bounds__(kReduceThreads) void lbfgs_direction_f32(
    float* RESTRICT longest, float* RESTRICT d, float* RESTRICT a, float* RESTRICT ga, const float* RESTRICT x,
    const float* RESTRICT g, const float* RESTRICT s, const float* RESTRICT y, const float* RESTRICT coef, int slots,
    unsigned elems) {
    __shared__ float s_coef[2 * kMaxSlots + 2];
    wait_for_previous();
    start_next();
    size_t n = blockIdx.y;
    for (int i = threadIdx.x; i < 2 * slots + 2; i += kReduceThreads) s_coef[i] = coef[n * (2 * slots + 2) + i];
    __syncthreads();
    int todo = (int)s_coef[2 * slots + 1];
    if (todo < kTurn) return;
    // Element j of a thread lies kReduceThreads beyond the one before: a warp reads 128 neighbouring bytes.
    unsigned from = blockIdx.x * (kElements * kReduceThreads) + threadIdx.x;
    float xe[kElements], ge[kElements], sum[kElements], most = 0.f;
    const float *base = todo == kAccept ? x : a, *slope = todo == kAccept ? g : ga;
#pragma unroll
    for (int j = 0; j < kElements; j++) {
        unsigned i = from + j * kReduceThreads;
        bool in = i < elems;
        xe[j] = in ? base[n * elems + i] : 0.f;
        ge[j] = in ? slope[n * elems + i] : 0.f;
        sum[j] = s_coef[2 * slots] * ge[j];
    }
    for (int v = 0; v < 2 * slots; v++) {
        float c = s_coef[v];
        if (c == 0.f) continue;   // a slot without a pair may hold anything
        const float* row = v < slots ? s + (n * slots + v) * elems : y + (n * slots + v - slots) * elems;
#pragma unroll
        for (int j = 0; j < kElements; j++) {
            unsigned i = from + j * kReduceThreads;
            if (i < elems) sum[j] = fmaf(c, row[i], sum[j]);
        }
    }
#pragma unroll
    for (int j = 0; j < kElements; j++) {
        unsigned i = from + j * kReduceThreads;
        if (i >= elems) continue;
        size_t at = n * elems + i;
        if (todo == kAccept) a[at] = xe[j], ga[at] = ge[j];
        float de = -is_free(xe[j], ge[j]) * sum[j];
        d[at] = de;
        most = fmaxf(most, fabsf(de));
    }
    most = block_max(most);
    if (threadIdx.x == 0) longest[n * gridDim.x + blockIdx.x] = most;
}

extern "C" __global__ __launch_bounds__(kReduceThreads) void lbfgs_step_f32(
    float* RESTRICT x, float* control, const float* RESTRICT a, const float* RESTRICT d, const float* RESTRICT longest,
    const float* RESTRICT coef, float most, int slots, int columns, unsigned elems) {
    __shared__ float s_longest;
    wait_for_previous();
    start_next();
    size_t n = blockIdx.y;
    control += n * columns;
    int todo = (int)coef[n * (2 * slots + 2) + 2 * slots + 1];
    float length = 0.f;
    if (todo >= kTurn)   // direction has made it anew
        for (int b = threadIdx.x; b < gridDim.x; b += kReduceThreads) length = fmaxf(length, longest[n * gridDim.x + b]);
    length = block_max(length);
    if (threadIdx.x == 0) s_longest = todo == kGo ? control[kLongest] : length;
    __syncthreads();
    length = s_longest;
    float by = todo == kStay ? 0.f : control[kFactor];
    if (length > most) by *= most / length;
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        control[kStep] = by * length;
        if (todo >= kTurn) control[kLongest] = length;
    }
    if (todo == kStay) return;
    unsigned from = blockIdx.x * (kElements * kReduceThreads) + threadIdx.x;
#pragma unroll
    for (int j = 0; j < kElements; j++) {
        unsigned i = from + j * kReduceThreads;
        if (i >= elems) continue;
        size_t at = n * elems + i;
        x[at] = fminf(fmaxf(fmaf(by, d[at], a[at]), 0.f), 1.f);
    }
}
