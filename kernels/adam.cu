// adam, stats, update, average, record: the step of the pixels, and what the host wants to know of it.   streaming, fp32
// Maths    adam    m += (g - m)(1 - beta1); v = beta2 v + (1 - beta2) g g
//                  x -= lr/(1 - beta1^t) m / (sqrt(v)/sqrt(1 - beta2^t) + eps); t = step[n] + 1, clamped to [0,1] before or after
//                  lr = rate (final + (1 - final) cos^2(pi/2 (step - from)/span)): gpu.Rate
//                  left alone where step[n] is at the picture's limit, or total[n].all, or an element's g*g, is not finite
//          stats   mean and squared deviations of a block's share of x, and whether every g*g is finite
//          update  g = dx + dtv (not kept if null), adam and stats in one pass
//          average avg += (x - avg) (1 - a)/(1 - a^t); a = decay, t = max(step[n] - begin, 0) + 1; avg = x where that share is 1;
//                  left alone where step[n] is at the picture's limit
//          record  ring[n, step[n] % rows] = (total[n], mean, std (n-1), finite, step, refused, terms[n]); then step[n] += 1, and
//                  the loss scale S[n]: a quarter where a gradient overflowed, and so its ceiling S[N+n]; else the ceiling grows
//                  by 2^(1/16), and S is the power of two that puts max |g| S near 2^9, or the largest below the ceiling;
//                  nothing of a picture that is at its limit
// Layout   x, m, v, g, dx, dtv, avg (N, elems); total (N,4); step (N); S (2,N), scales and their ceilings; knobs (N, columns); ring (N, rows, 9 + terms); parts (N, blocks, 5); each (N, terms)
// Launch   adam: 256 threads, grid (ceil(elems/256), N). stats: 256 threads, grid (blocks, N).
//          update, average: 256 threads, grid (ceil(elems/2048), N), 8 elements per thread. record: 256 threads, grid N
// Hazards  adam, update, average: corrections pass through shared memory, one barrier. record: one before the warps' sums are added
// Order    record: a thread adds every 256th block in order, then lanes in a tree, then warps in order; in fp64, of distances from
//          the first block's mean, so that it needs no division until the end and differences of squares stay exact
// Rounding beta^t and a^t by repeated squaring in fp64, as the host could: two threads per block, or one
// Bound    memory: update 32 B per element, 25 MB at 512x512; average 12 B
// Oracle   ref.Adam, ref.Average, ref.Record   Suite kerneltest
// ptx: sm_80 sm_90
#include "control.cuh"
#include "overlap.cuh"
#include "params.cuh"
#include "reduce.cuh"

// b^t by squaring, from the lowest bit of t.
__device__ __forceinline__ double power(double b, unsigned t) {
    double r = 1.0;
    for (; t; t >>= 1) {
        if (t & 1) r *= b;
        b *= b;
    }
    return r;
}

constexpr float kLeastScale = 0x1p-14f, kMostScale = 0x1p40f;
constexpr float kGrowth = 1.0442737f;   // of the ceiling, an iteration: 2^(1/16)

// The largest power of two that is not above v > 0.
// Keeps the exponent and clears the fraction.
__device__ __forceinline__ float exp2_floor(float v) { return __uint_as_float(__float_as_uint(v) & 0x7f800000u); }

enum { kClampAfter, kClampBefore, kClampNone };

// What is the same for all pictures and steps; rates takes it as the values in their order.
struct AdamConstants {
    double beta1, beta2, eps;
};

// cos^2(pi/2 u) for u in [0,1], to 1e-8: the cosine's series to the twelfth power.
__device__ __forceinline__ double half_cosine(double u) {
    double z = u * u * 2.4674011002723395;   // (pi/2)^2
    double c = 1.0 / 479001600;   // the series of cos, by Horner: 1/12!, -1/10!, ...
    c = fma(c, z, -1.0 / 3628800);
    c = fma(c, z, 1.0 / 40320);
    c = fma(c, z, -1.0 / 720);
    c = fma(c, z, 1.0 / 24);
    c = fma(c, z, -1.0 / 2);
    c = fma(c, z, 1.0);
    return c * c;
}

// What a step needs besides its element; all threads of a block call it, once.
struct Rates {
    float rate, root;   // lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t)
    float one_beta1, beta2, one_beta2, eps;
};
__device__ __forceinline__ Rates rates(float done, const float* knobs, const double* constants) {
    __shared__ float s_rate, s_root;
    double beta1 = constants[0], beta2 = constants[1];
    Rates r = {0.f, 0.f, (float)(1.0 - beta1), (float)beta2, (float)(1.0 - beta2), (float)constants[2]};
    // Two threads do the divisions and the root in fp64, of two warps, so that neither waits for the other; the barrier gives the
    // others their results.
    unsigned t = (unsigned)done + 1;
    if (threadIdx.x == 0) {
        double lr = knobs[kRate], final = knobs[kFinal];
        if (final != 1.0) lr *= final + (1.0 - final) * half_cosine(fmin(((double)done - knobs[kFrom]) / knobs[kSpan], 1.0));
        s_rate = (float)(lr / (1.0 - power(beta1, t)));
    }
    if (threadIdx.x == 32) s_root = (float)(1.0 / sqrt(1.0 - power(beta2, t)));
    __syncthreads();
    r.rate = s_rate, r.root = s_root;
    return r;
}

// One element's step; false if it is left alone.
__device__ __forceinline__ bool adam(float* x, float* m, float* v, float g, const Rates& r, int clamp) {
    if (!finite(g * g)) return false;
    float xi = *x;
    if (clamp == kClampBefore) xi = fminf(fmaxf(xi, 0.f), 1.f);
    float mi = fmaf(g - *m, r.one_beta1, *m);
    float vi = fmaf(r.one_beta2 * g, g, r.beta2 * *v);
    xi -= r.rate * mi / fmaf(sqrtf(vi), r.root, r.eps);   // x -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
    if (clamp == kClampAfter) xi = fminf(fmaxf(xi, 0.f), 1.f);
    *x = xi;
    *m = mi;
    *v = vi;
    return true;
}

extern "C" __global__ __launch_bounds__(256) void adam_f32(float* __restrict__ x, float* __restrict__ m,
                                                           float* __restrict__ v, const float* __restrict__ g,
                                                           const float* __restrict__ step,
                                                           const float* __restrict__ knobs,
                                                           const float* __restrict__ total,
                                                           const AdamConstants* __restrict__ constants, int clamp,
                                                           int columns, unsigned elems) {
    float done = step[blockIdx.y];
    knobs += (size_t)blockIdx.y * columns;
    if (!(done < knobs[kLimit])) return;   // all of the block: rates has a barrier
    Rates r = rates(done, knobs, &constants->beta1);
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= elems || !finite(total[4 * blockIdx.y + 3])) return;
    // Neighbouring threads touch neighbours in all four arrays.
    size_t at = (size_t)blockIdx.y * elems + i;
    adam(x + at, m + at, v + at, g[at], r, clamp);
}

// What a block has seen: the mean of count pixels and their squared deviations from it, whether a g*g was not finite, and
// the largest |g| of the others.
struct Seen {
    float mean, dev, count, bad, most;
};
constexpr int kSeen = 5;

extern "C" __global__ __launch_bounds__(kReduceThreads) void stats_f32(float* __restrict__ parts,
                                                                       const float* __restrict__ x,
                                                                       const float* __restrict__ g, unsigned elems,
                                                                       unsigned share) {
    __shared__ float s_mean;
    size_t n = blockIdx.y;
    x += n * elems;
    g += n * elems;
    // This block has [from, to) of the picture; neighbouring threads read neighbouring elements.
    unsigned from = blockIdx.x * share, to = min(elems, from + share);
    float sum = 0.f, bad = 0.f, most = 0.f;
    for (unsigned i = from + threadIdx.x; i < to; i += blockDim.x) {
        sum += x[i];
        if (finite(g[i] * g[i]))
            most = fmaxf(most, fabsf(g[i]));
        else
            bad = 1.f;
    }
    sum = block_sum(sum);
    bad = block_sum(bad);
    most = block_max(most);
    float count = (float)(to - from);
    // Sums are in thread 0 alone, and all threads need the mean. A second pass over the share is more exact than the
    // difference of two large sums.
    if (threadIdx.x == 0) s_mean = sum / count;
    __syncthreads();
    float mean = s_mean, dev = 0.f;
    for (unsigned i = from + threadIdx.x; i < to; i += blockDim.x) {
        float d = x[i] - mean;
        dev = fmaf(d, d, dev);
    }
    dev = block_sum(dev);
    if (threadIdx.x == 0) *(Seen*)(parts + kSeen * (n * gridDim.x + blockIdx.x)) = {mean, dev, count, bad, most};
}

constexpr int kUpdate = 8;   // elements per thread: at 512x512 three blocks a multiprocessor, which all run at once

extern "C" __global__ __launch_bounds__(kReduceThreads, 3) void update_f32(
    float* RESTRICT x, float* RESTRICT m, float* RESTRICT v, float* MAYBE_NULL RESTRICT g,
    const float* RESTRICT dx, const float* MAYBE_NULL RESTRICT dtv, const float* RESTRICT step,
    const float* RESTRICT knobs, const float* RESTRICT total, const AdamConstants* RESTRICT constants, float* RESTRICT parts,
    int clamp, int columns, unsigned elems) {
    __shared__ Seen s_warp[kReduceWarps];
    wait_for_previous();
    start_next();
    size_t n = blockIdx.y;
    // Element j of a thread lies kReduceThreads beyond the one before, so that every access of a warp is 128 neighbouring
    // bytes.
    unsigned from = blockIdx.x * (kUpdate * kReduceThreads) + threadIdx.x;
    float pixel[kUpdate], mi[kUpdate], vi[kUpdate], gi[kUpdate], tv[kUpdate];
    x += n * elems, m += n * elems, v += n * elems, dx += n * elems;
    if (g) g += n * elems;
    if (dtv) dtv += n * elems;
    const float* second = dtv ? dtv : dx;   // read in any case: a branch would wait for each pair
#pragma unroll
    for (int j = 0; j < kUpdate; j++) {   // all loads first, whatever the compiler knows of the arrays, and ahead of rates' barrier
        unsigned i = min(from + j * kReduceThreads, elems - 1);
        pixel[j] = x[i], mi[j] = m[i], vi[j] = v[i], gi[j] = dx[i], tv[j] = second[i];
    }
    float done = step[n];
    knobs += n * columns;
    bool go = done < knobs[kLimit] && finite(total[4 * n + 3]);
    Rates r = rates(done, knobs, &constants->beta1);
    float sum = 0.f, bad = 0.f, most = 0.f, count = 0.f;
#pragma unroll
    for (int j = 0; j < kUpdate; j++) {
        unsigned i = from + j * kReduceThreads;
        if (i >= elems) continue;
        if (dtv) gi[j] += tv[j];
        if (g) g[i] = gi[j];
        if (go && adam(&pixel[j], &mi[j], &vi[j], gi[j], r, clamp)) x[i] = pixel[j], m[i] = mi[j], v[i] = vi[j];
        sum += pixel[j];
        count += 1.f;
        if (finite(gi[j] * gi[j]))
            most = fmaxf(most, fabsf(gi[j]));
        else
            bad = 1.f;
    }
    // As stats does, but a warp has its own mean first, which needs no barrier and whose share is still in registers.
    Seen seen = {warp_sum(sum), 0.f, warp_sum(count), warp_sum(bad), warp_max(most)};
    seen.mean = seen.count > 0.f ? seen.mean / seen.count : 0.f;
#pragma unroll
    for (int j = 0; j < kUpdate; j++) {
        float d = pixel[j] - seen.mean;
        if (from + j * kReduceThreads < elems) seen.dev = fmaf(d, d, seen.dev);
    }
    seen.dev = warp_sum(seen.dev);
    if (threadIdx.x % 32 == 0) s_warp[threadIdx.x / 32] = seen;
    __syncthreads();   // the warps' shares are there; the first warp merges them, and its lanes beyond them have none
    if (threadIdx.x >= 32) return;
    seen = threadIdx.x < kReduceWarps ? s_warp[threadIdx.x] : Seen{0.f, 0.f, 0.f, 0.f, 0.f};
    count = warp_sum(seen.count);
    float mean = warp_sum(seen.mean * seen.count) / count, d = seen.mean - mean;
    seen = {mean, warp_sum(fmaf(seen.count * d, d, seen.dev)), count, warp_sum(seen.bad), warp_max(seen.most)};
    if (threadIdx.x == 0) *(Seen*)(parts + kSeen * (n * gridDim.x + blockIdx.x)) = seen;
}

// The average of the iterates. It stands between update and record, which counts the step.
extern "C" __global__ __launch_bounds__(kReduceThreads) void average_f32(float* RESTRICT avg, const float* RESTRICT x,
                                                                         const float* RESTRICT step,
                                                                         const float* RESTRICT knobs, int columns,
                                                                         unsigned elems) {
    __shared__ float s_share;
    wait_for_previous();
    start_next();
    size_t n = blockIdx.y;
    // As in update: element j lies kReduceThreads beyond the one before, and all loads come ahead of the barrier.
    unsigned from = blockIdx.x * (kUpdate * kReduceThreads) + threadIdx.x;
    float pixel[kUpdate], mean[kUpdate];
    x += n * elems, avg += n * elems;
#pragma unroll
    for (int j = 0; j < kUpdate; j++) {
        unsigned i = min(from + j * kReduceThreads, elems - 1);
        pixel[j] = x[i], mean[j] = avg[i];
    }
    float done = step[n];
    knobs += n * columns;
    if (!(done < knobs[kLimit])) return;   // all of the block
    if (threadIdx.x == 0) {
        double a = knobs[kDecay];
        s_share = (float)((1.0 - a) / (1.0 - power(a, (unsigned)fmaxf(done - knobs[kBegin], 0.f) + 1)));
    }
    __syncthreads();   // the share is there
    float share = s_share;
#pragma unroll
    for (int j = 0; j < kUpdate; j++) {
        unsigned i = from + j * kReduceThreads;
        // A share of 1 takes the pixel itself: avg may be anything then.
        if (i < elems) avg[i] = share == 1.f ? pixel[j] : fmaf(pixel[j] - mean[j], share, mean[j]);
    }
}

// What a share of a picture's blocks has seen: of count pixels the sum and the squares of their distances from a value near them
// all, which keeps both small.
struct Sums {
    double sum, square, count;
    float bad, most;
};

constexpr int kAtOnce = 4;   // parts that a thread of record loads before it needs the first
constexpr int kRow = 9;   // values of a row before the terms

extern "C" __global__ __launch_bounds__(kReduceThreads) void record_f32(
    float* RESTRICT ring, float* RESTRICT step, const float* RESTRICT knobs, const float* RESTRICT total,
    const float* RESTRICT parts, const float* RESTRICT each, const float* MAYBE_NULL RESTRICT control, int blocks,
    unsigned rows, int terms, int columns, int knob_columns, float* scale, flag dynamic) {
    __shared__ Sums s_warp[kReduceWarps];
    wait_for_previous();
    start_next();
    int t = threadIdx.x, lane = t & 31, warp = t >> 5, n = blockIdx.x;
    // Steps are counted in fp32, exactly up to 2^24; the ring begins again after its last row.
    float done = step[n], was = scale[n], ceiling = scale[gridDim.x + n];
    if (!(done < knobs[(size_t)n * knob_columns + kLimit])) return;
    float* r = ring + (kRow + terms) * ((size_t)n * rows + (unsigned)done % rows);
    const float *l = total + 4 * n, *c = control ? control + (size_t)n * columns : nullptr;
    const Seen* p = (const Seen*)parts + (size_t)n * blocks;
    // All loads before the first use, also those of thread 0 for the end.
    float losses[4], accepted = 0.f, refusals = 0.f, length = 0.f, near = p->mean;
#pragma unroll
    for (int i = 0; i < 4; i++) losses[i] = l[i];
    if (c) accepted = c[kAccepted], refusals = c[kRefusals], length = c[kStep];
    Sums all = {0, 0, 0, 0.f, 0.f};
    for (int b0 = t; b0 < blocks; b0 += kAtOnce * kReduceThreads) {
        Seen s[kAtOnce];
#pragma unroll
        for (int j = 0; j < kAtOnce; j++) {
            int b = b0 + j * kReduceThreads;
            s[j] = b < blocks ? p[b] : Seen{near, 0.f, 0.f, 0.f, 0.f};   // which changes no sum
        }
#pragma unroll
        for (int j = 0; j < kAtOnce; j++) {
            double d = (double)s[j].mean - near, cd = s[j].count * d;
            all.sum += cd;
            all.square += s[j].dev + cd * d;
            all.count += s[j].count;
            all.bad += s[j].bad;
            all.most = fmaxf(all.most, s[j].most);
        }
    }
    all = {warp_sum(all.sum), warp_sum(all.square), warp_sum(all.count), warp_sum(all.bad), warp_max(all.most)};
    if (lane == 0) s_warp[warp] = all;
    for (int i = t; i < terms; i += kReduceThreads) r[kRow + i] = each[(size_t)n * terms + i];
    __syncthreads();   // the warps' sums are there, and all have read step and scale
    if (t != 0) return;
#pragma unroll
    for (int w = 1; w < kReduceWarps; w++) {
        all.sum += s_warp[w].sum, all.square += s_warp[w].square, all.count += s_warp[w].count;
        all.bad += s_warp[w].bad, all.most = fmaxf(all.most, s_warp[w].most);
    }
    double from = all.sum / all.count, dev = all.square - all.sum * from;
    if (dev < 0) dev = 0;   // rounding of a picture of one colour
#pragma unroll
    for (int i = 0; i < 4; i++) r[i] = losses[i];
    r[4] = (float)(near + from);
    r[5] = (float)sqrt(dev / (all.count > 1 ? all.count - 1 : 1));
    // With a scale to lower an overflow is no failure: those pixels were left alone.
    bool rescued = dynamic && was > kLeastScale;
    bool fine = (all.bad == 0.f || rescued) && finite(losses[3]);
    // L-BFGS goes back to the point that it accepted last, if it has one, a number of times.
    if (c) fine |= accepted > 0.f && refusals < kGiveUp;
    r[6] = fine ? 1.f : 0.f;
    r[7] = length;
    r[8] = refusals > 0.f ? 1.f : 0.f;
    step[n] = done + 1.f;
    if (!dynamic) return;
    // Quartered where a gradient overflowed; otherwise S times the largest gradient of the picture is put between 2^8 and 2^9.
    // One further down may be so much larger that it overflows there: without the ceiling every second iteration would.
    if (all.bad > 0.f) {
        scale[n] = scale[gridDim.x + n] = fmaxf(was * 0.25f, kLeastScale);
    } else if (all.most > 0.f) {
        ceiling = fminf(ceiling * kGrowth, kMostScale);
        scale[gridDim.x + n] = ceiling;
        scale[n] = fmaxf(exp2_floor(fminf(512.f / all.most, ceiling)), kLeastScale);
    }
}
