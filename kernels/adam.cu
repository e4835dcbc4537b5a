// adam, stats, update, record: the step of the pixels, and what the host wants to know of it.   streaming, fp32
// Maths    adam    m += (g - m)(1 - beta1); v = beta2 v + (1 - beta2) g g
//                  x -= lr/(1 - beta1^t) m / (sqrt(v)/sqrt(1 - beta2^t) + eps); t = step + 1, clamped to [0,1] before or after
//                  left alone where total[n].all, or an element's g*g, is not finite
//          stats   mean and squared deviations of a block's share of x, and whether every g*g is finite
//          update  g = dx + dtv (not kept if null), adam and stats in one pass
//          record  ring[step % rows, n] = (total[n], mean, std (n-1), finite, step, refused, terms[n]); then step += 1, and
//                  the loss scale S: a quarter where a gradient overflowed, else the power of two that puts max |g| S near 2^9
// Layout   x, m, v, g, dx, dtv (N, elems); total (N,4); step (1); ring (rows, N, 9 + terms); parts (N, blocks, 5); each (N, terms)
// Launch   adam: 256 threads, grid (ceil(elems/256), N). stats: 256 threads, grid (blocks, N).
//          update: 256 threads, grid (ceil(elems/1024), N), 4 elements per thread. record: 256 threads, 1 block, a warp for
//          each picture
// Hazards  adam, update: thread 0's corrections pass through shared memory, one barrier. record: one before step is written
// Order    record: a lane merges every 32nd block in order, then the lanes in a tree (Chan, Golub, LeVeque 1979), in fp64
// Rounding beta^t by repeated squaring in fp64, as the host could: one thread per block
// Bound    memory: update 32 B per element, 25 MB at 512x512
// Oracle   ref.Adam, ref.Record   Suite kerneltest
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

// The largest power of two that is not above v > 0.
// Keeps the exponent and clears the fraction.
__device__ __forceinline__ float exp2_floor(float v) { return __uint_as_float(__float_as_uint(v) & 0x7f800000u); }

enum { kClampAfter, kClampBefore, kClampNone };

// What stays the same from step to step; rates takes it as the four values in their order.
struct AdamConstants {
    double lr, beta1, beta2, eps;
};

// What a step needs besides its element; all threads of a block call it, once.
struct Rates {
    float rate, root;   // lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t)
    float one_beta1, beta2, one_beta2, eps;
};
__device__ __forceinline__ Rates rates(const float* step, const double* constants) {
    __shared__ float s_rate, s_root;
    double beta1 = constants[1], beta2 = constants[2];
    // One thread does the divisions and the root in fp64; the barrier gives the others its results.
    if (threadIdx.x == 0) {
        unsigned t = (unsigned)step[0] + 1;
        s_rate = (float)(constants[0] / (1.0 - power(beta1, t)));
        s_root = (float)(1.0 / sqrt(1.0 - power(beta2, t)));
    }
    __syncthreads();
    return {s_rate, s_root, (float)(1.0 - beta1), (float)beta2, (float)(1.0 - beta2), (float)constants[3]};
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
                                                           const float* __restrict__ total,
                                                           const AdamConstants* __restrict__ constants, int clamp,
                                                           unsigned elems) {
    Rates r = rates(step, &constants->lr);
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    // Only now may a thread leave: rates has a barrier.
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

constexpr int kUpdate = 4;   // elements per thread

extern "C" __global__ __launch_bounds__(kReduceThreads) void update_f32(
    float* RESTRICT x, float* RESTRICT m, float* RESTRICT v, float* MAYBE_NULL RESTRICT g,
    const float* RESTRICT dx, const float* MAYBE_NULL RESTRICT dtv, const float* RESTRICT step,
    const float* RESTRICT total, const AdamConstants* RESTRICT constants, float* RESTRICT parts, int clamp, unsigned elems) {
    __shared__ float s_mean;
    wait_for_previous();
    start_next();
    Rates r = rates(step, &constants->lr);
    size_t n = blockIdx.y;
    bool go = finite(total[4 * n + 3]);
    // Element j of a thread lies kReduceThreads beyond the one before, so that every access of a warp is 128 neighbouring
    // bytes.
    unsigned from = blockIdx.x * (kUpdate * kReduceThreads) + threadIdx.x;
    float pixel[kUpdate], mi[kUpdate], vi[kUpdate], gi[kUpdate], sum = 0.f, bad = 0.f, most = 0.f;
#pragma unroll
    for (int j = 0; j < kUpdate; j++) {   // all loads first, whatever the compiler knows of the arrays
        unsigned i = from + j * kReduceThreads;
        pixel[j] = 0.f;
        if (i >= elems) continue;
        size_t at = n * elems + i;
        pixel[j] = x[at], mi[j] = m[at], vi[j] = v[at], gi[j] = dtv ? dx[at] + dtv[at] : dx[at];
    }
#pragma unroll
    for (int j = 0; j < kUpdate; j++) {
        unsigned i = from + j * kReduceThreads;
        if (i >= elems) continue;
        size_t at = n * elems + i;
        if (g) g[at] = gi[j];
        if (go && adam(&pixel[j], &mi[j], &vi[j], gi[j], r, clamp)) x[at] = pixel[j], m[at] = mi[j], v[at] = vi[j];
        sum += pixel[j];
        if (finite(gi[j] * gi[j]))
            most = fmaxf(most, fabsf(gi[j]));
        else
            bad = 1.f;
    }
    sum = block_sum(sum);
    bad = block_sum(bad);
    most = block_max(most);
    float count = (float)min((unsigned)(kUpdate * kReduceThreads), elems - blockIdx.x * (kUpdate * kReduceThreads));
    // As stats does, but the share is still in registers.
    if (threadIdx.x == 0) s_mean = sum / count;
    __syncthreads();
    float mean = s_mean, dev = 0.f;
#pragma unroll
    for (int j = 0; j < kUpdate; j++) {
        float d = pixel[j] - mean;
        if (from + j * kReduceThreads < elems) dev = fmaf(d, d, dev);
    }
    dev = block_sum(dev);
    if (threadIdx.x == 0) *(Seen*)(parts + kSeen * (n * gridDim.x + blockIdx.x)) = {mean, dev, count, bad, most};
}

// Statistics of more and more blocks; add takes in the mean m and the squared deviations d of c further pixels.
struct Merged {
    double mean, dev, count;
    __device__ void add(double m, double d, double c) {
        double delta = m - mean, all = count + c;
        if (c == 0) return;
        dev += d + delta * delta * count * c / all;
        mean += delta * c / all;
        count = all;
    }
};

// v of the lane that many further on; a shuffle moves 32 bits, so that a double takes two.
__device__ __forceinline__ double down(double v, int by) {
    return __hiloint2double(__shfl_down_sync(0xffffffffu, __double2hiint(v), by),
                            __shfl_down_sync(0xffffffffu, __double2loint(v), by));
}

constexpr int kRow = 9;   // values of a row before the terms

extern "C" __global__ __launch_bounds__(kReduceThreads) void record_f32(
    float* RESTRICT ring, float* RESTRICT step, const float* RESTRICT total,
    const float* RESTRICT parts, const float* RESTRICT each, const float* MAYBE_NULL RESTRICT control, int pictures, int blocks,
    unsigned rows, int terms, int columns, float* scale, flag dynamic) {
    wait_for_previous();
    start_next();
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    // Steps are counted in fp32, exactly up to 2^24; the ring begins again after its last row.
    float done = step[0], most = 0.f, overflows = 0.f, was = *scale;
    unsigned row = (unsigned)done % rows;
    for (int n = warp; n < pictures; n += kReduceThreads / 32) {
        float* r = ring + (kRow + terms) * ((size_t)row * pictures + n);
        for (int i = lane; i < terms; i += 32) r[kRow + i] = each[(size_t)n * terms + i];
        Merged all = {0, 0, 0};
        float bad = 0.f;
        // Each lane merges every 32nd block, in order, and then the lanes merge in a tree: lane 0 has the whole picture.
        for (int b = lane; b < blocks; b += 32) {
            Seen p = *(const Seen*)(parts + kSeen * ((size_t)n * blocks + b));
            all.add(p.mean, p.dev, p.count);
            bad += p.bad;
            most = fmaxf(most, p.most);
        }
        for (int o = 16; o; o >>= 1) all.add(down(all.mean, o), down(all.dev, o), down(all.count, o));
        bad = warp_sum(bad);
        overflows += bad;
        if (lane) continue;
        const float* l = total + 4 * n;
        for (int i = 0; i < 4; i++) r[i] = l[i];
        r[4] = (float)all.mean;
        r[5] = (float)sqrt(all.dev / (all.count > 1 ? all.count - 1 : 1));
        // With a scale to lower an overflow is no failure: those pixels were left alone.
        bool rescued = dynamic && was > kLeastScale;
        bool fine = (bad == 0.f || rescued) && finite(l[3]);
        r[7] = r[8] = 0.f;
        // L-BFGS goes back to the point that it accepted last, if it has one, a number of times.
        if (control) {
            const float* c = control + (size_t)n * columns;
            fine |= c[kAccepted] > 0.f && c[kRefusals] < kGiveUp;
            r[7] = c[kStep];
            r[8] = c[kRefusals] > 0.f ? 1.f : 0.f;
        }
        r[6] = fine ? 1.f : 0.f;
    }
    most = block_max(most);
    overflows = block_sum(overflows);   // after its barriers every thread has read step and scale
    if (threadIdx.x != 0) return;
    step[0] = done + 1.f;
    if (!dynamic) return;
    // Quartered where a gradient overflowed; otherwise S times the largest gradient is put between 2^8 and 2^9.
    if (overflows > 0.f)
        *scale = fmaxf(was * 0.25f, kLeastScale);
    else if (most > 0.f)
        *scale = fminf(fmaxf(exp2_floor(512.f / most), kLeastScale), kMostScale);
}
