// adam, stats, record: the update of the pixels, and what the host wants to know of it.       streaming, fp32
// Maths    adam    m += (g - m)(1 - beta1); v = beta2 v + (1 - beta2) g g
//                  x -= lr/(1 - beta1^t) m / (sqrt(v)/sqrt(1 - beta2^t) + eps); t = step + 1, clamped to [0,1] before or after
//                  left alone where total[n].all, or an element's g*g, is not finite
//          stats   mean and squared deviations of a block's share of x, and whether every g*g is finite
//          record  ring[step % rows, n] = (total[n], mean, std (n-1), finite); then step += 1, and the loss scale S:
//                  a quarter where a gradient overflowed, else the power of two that puts max |g| S near 2^9
// Layout   x, m, v, g (N, elems); total (N,4); step (1); ring (rows, N, 7); parts (N, blocks, 5)
// Launch   adam: 256 threads, grid (ceil(elems/256), N). stats: 256 threads, grid (blocks, N). record: 32 threads, 1 block
// Hazards  adam: thread 0's corrections pass through shared memory, one barrier. record: one barrier before step is written
// Order    record merges the blocks' means in order (Chan, Golub, LeVeque 1979), in fp64
// Rounding beta^t by repeated squaring in fp64, as the host could: one thread a block
// Oracle   ref.Adam, ref.Record   Suite kerneltest
// ptx: sm_80
#include "reduce.cuh"

__device__ __forceinline__ double power(double b, unsigned t) {
    double r = 1.0;
    for (; t; t >>= 1) {
        if (t & 1) r *= b;
        b *= b;
    }
    return r;
}

__device__ __forceinline__ bool finite(float v) { return fabsf(v) <= 3.402823466e38f; }   // false for NaN

constexpr float kLeastScale = 0x1p-14f, kMostScale = 0x1p40f;

// The largest power of two that is not above v > 0.
__device__ __forceinline__ float exp2_floor(float v) { return __uint_as_float(__float_as_uint(v) & 0x7f800000u); }

enum { kClampAfter, kClampBefore, kClampNone };

extern "C" __global__ __launch_bounds__(256) void adam_f32(float* __restrict__ x, float* __restrict__ m,
                                                           float* __restrict__ v, const float* __restrict__ g,
                                                           const float* __restrict__ step,
                                                           const float* __restrict__ total,
                                                           const double* __restrict__ constants, int clamp,
                                                           unsigned elems) {
    __shared__ float s_rate, s_root;   // lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t)
    double beta1 = constants[1], beta2 = constants[2];
    if (threadIdx.x == 0) {
        unsigned t = (unsigned)step[0] + 1;
        s_rate = (float)(constants[0] / (1.0 - power(beta1, t)));
        s_root = (float)(1.0 / sqrt(1.0 - power(beta2, t)));
    }
    __syncthreads();
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= elems || !finite(total[4 * blockIdx.y + 3])) return;
    size_t at = (size_t)blockIdx.y * elems + i;
    float gi = g[at];
    if (!finite(gi * gi)) return;
    float one_beta1 = (float)(1.0 - beta1), b2 = (float)beta2, one_beta2 = (float)(1.0 - beta2);
    float xi = x[at];
    if (clamp == kClampBefore) xi = fminf(fmaxf(xi, 0.f), 1.f);
    float mi = fmaf(gi - m[at], one_beta1, m[at]);
    float vi = fmaf(one_beta2 * gi, gi, b2 * v[at]);
    xi -= s_rate * mi / fmaf(sqrtf(vi), s_root, (float)constants[3]);
    if (clamp == kClampAfter) xi = fminf(fmaxf(xi, 0.f), 1.f);
    x[at] = xi;
    m[at] = mi;
    v[at] = vi;
}

extern "C" __global__ __launch_bounds__(kReduceThreads) void stats_f32(float* __restrict__ parts,
                                                                       const float* __restrict__ x,
                                                                       const float* __restrict__ g, unsigned elems,
                                                                       unsigned share) {
    __shared__ float s_mean;
    size_t n = blockIdx.y;
    x += n * elems;
    g += n * elems;
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
    if (threadIdx.x == 0) s_mean = sum / count;
    __syncthreads();
    float mean = s_mean, dev = 0.f;
    for (unsigned i = from + threadIdx.x; i < to; i += blockDim.x) {
        float d = x[i] - mean;
        dev = fmaf(d, d, dev);
    }
    dev = block_sum(dev);
    if (threadIdx.x == 0) {
        float* p = parts + 5 * (n * gridDim.x + blockIdx.x);
        p[0] = mean;
        p[1] = dev;
        p[2] = count;
        p[3] = bad;
        p[4] = most;
    }
}

extern "C" __global__ __launch_bounds__(32) void record_f32(float* __restrict__ ring, float* __restrict__ step,
                                                            const float* __restrict__ total,
                                                            const float* __restrict__ parts, int pictures, int blocks,
                                                            unsigned rows, float* scale, int dynamic) {
    float done = step[0];
    float most = 0.f, overflows = 0.f;
    unsigned row = (unsigned)done % rows;
    for (int n = threadIdx.x; n < pictures; n += blockDim.x) {
        double mean = 0, dev = 0, count = 0;
        float bad = 0.f;
        for (int b = 0; b < blocks; b++) {
            const float* p = parts + 5 * ((size_t)n * blocks + b);
            double delta = p[0] - mean, all = count + p[2];
            dev += p[1] + delta * delta * count * p[2] / all;
            mean += delta * p[2] / all;
            count = all;
            bad += p[3];
            most = fmaxf(most, p[4]);
        }
        overflows += bad;
        const float* l = total + 4 * n;
        float* r = ring + 7 * ((size_t)row * pictures + n);
        for (int i = 0; i < 4; i++) r[i] = l[i];
        r[4] = (float)mean;
        r[5] = (float)sqrt(dev / (count > 1 ? count - 1 : 1));
        // With a scale to lower an overflow is no failure: those pixels were left alone.
        bool rescued = dynamic && *scale > kLeastScale;
        r[6] = (bad == 0.f || rescued) && finite(l[3]) ? 1.f : 0.f;
    }
    most = warp_max(most);
    overflows = warp_sum(overflows);
    __syncthreads();   // every lane has read step and scale
    if (threadIdx.x != 0) return;
    step[0] = done + 1.f;
    if (!dynamic) return;
    if (overflows > 0.f)
        *scale = fmaxf(*scale * 0.25f, kLeastScale);
    else if (most > 0.f)
        *scale = fminf(fmaxf(exp2_floor(512.f / most), kLeastScale), kMostScale);
}
