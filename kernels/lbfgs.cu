// lbfgs_pair, lbfgs_products, lbfgs_solve, lbfgs_direction, lbfgs_step: projected L-BFGS on the pixels.    streaming and products, fp32
// Maths    gpu.LBFGSParams has the algorithm, P and B. The direction is a combination of the vectors s, u = P y and z = P f g, and the
//          recursion asks for nothing but products (Chen, Wang and Zhou, NIPS 2014), of which a step makes those of its own y and g:
//          pair       s = x - a and u = P (g - ga) into slot `next`, and z; how many g*g are not finite; max |g|; fg.fg and fg.B fg
//          products   P[i,0] = sum_e v[i,e] y[e], P[i,1] = sum_e v[i,e] fg[e], i over all s and u; y = g - ga
//          solve      accepts or refuses the evaluation, keeps the products with y, and recurs on coefficients
//          direction  a = x and ga = g if accepted; d = -free (sum_i coef[i] v[i] + slope ga); max |d|
//          step       x = clamp(a + by d, 0, 1), by = factor min(1, most / max|d|)
//          A picture whose step[n] is at its limit is left alone; first and most are multiplied by its rate.
// Layout   x, g, a, ga, d, z (N, H, W, 3), elems a picture; s, u (N, slots, elems); control (N, columns); step (N);
//          knobs (N, knob_columns); total (N,4); seen (N, tiles, 4); parts (N, blocks, part_width);
//          coef (N, coefs), the last two values being the slope and what is to be done; longest (N, blocks of direction)
// Shapes   slots to 33; elems < 2^31
// Launch   pair: 256 threads, grid (tiles, N), a tile of 16 rows and 64 values. products: 256 threads, grid (blocks, N), each
//          kShare elements. solve: 1024 threads, grid N. direction, step: 256 threads, grid (ceil(elems/1024), N), 4 elements per thread
// Tile     pair: y and f g of a tile and a pixel around it in shared memory. products: y and f g of the block's elements in shared
//          memory; a warp has every eighth vector
// Order    products: a lane's elements ascending, lanes; blocks in solve, four in fp32, then fp64: deterministic
// Bound    memory: s and u are read twice, 16 B per element and slot; 512x512 with 8 pairs: 113 MB
// Oracle   ref.LBFGS   Suite kerneltest
// ptx: sm_80 sm_90
#include "control.cuh"
#include "overlap.cuh"
#include "params.cuh"
#include "reduce.cuh"

constexpr int kMaxSlots = 33;   // one more than the longest history
constexpr int kShare = 3072;    // elements of a block of products
constexpr int kExtra = 4;       // values behind the products: how many squares are not finite, fg.fg, fg.B fg, max |g|

// How many values a block of products leaves: two for every s and u, kExtra.
__host__ __device__ inline constexpr int part_width(int slots) { return 4 * slots + kExtra; }

// How many values solve leaves of a picture: a coefficient for every vector, the slope, what is to be done.
__host__ __device__ inline constexpr int coefs(int slots) { return 2 * slots + 3; }

// What solve leaves to do.
enum { kLeave, kStay, kGo, kTurn, kAccept };   // nothing at all; no step; go along d; make d anew; accept x, and make d

constexpr float kShrink = 0.3f;        // of the step, by a refusal
constexpr int kRetries = 8;            // refusals in a row for a loss that rose

// 0 where a value is at its bound and would leave it.
__device__ __forceinline__ float is_free(float x, float g) {
    return (x <= 0.f && g > 0.f) || (x >= 1.f && g < 0.f) ? 0.f : 1.f;
}

// Four values of a thread.
struct __align__(16) Quad {
    float v[4];
};

constexpr int kRows = 16, kWide = 64;                       // a tile of pair: rows, and values of a row
constexpr int kPadRows = kRows + 2, kPadWide = kWide + 6;   // and a pixel around it
constexpr int kOwnRows = kRows * kWide / kReduceThreads;    // values of a thread, one below the other

extern "C" __global__ __launch_bounds__(kReduceThreads) void lbfgs_pair_f32(
    float* RESTRICT seen, float* RESTRICT s, float* RESTRICT u, float* RESTRICT z, const float* RESTRICT x, const float* RESTRICT g,
    const float* RESTRICT a, const float* RESTRICT ga, const float* RESTRICT control, const float* RESTRICT step,
    const float* RESTRICT knobs, int slots, int columns, int knob_columns, int width, unsigned elems) {
    __shared__ float s_y[kPadRows][kPadWide], s_down[kPadRows][kPadWide];   // g - ga, f g
    wait_for_previous();
    start_next();
    size_t n = blockIdx.y;
    if (!(step[n] < knobs[n * knob_columns + kLimit])) return;   // of all blocks of the picture; solve looks at no part of it
    x += n * elems, g += n * elems, a += n * elems, ga += n * elems, z += n * elems;
    size_t slot = (n * slots + (int)control[n * columns + kNext]) * elems;
    s += slot, u += slot;
    float smooth = control[n * columns + kSmooth];
    int t = threadIdx.x, stride = 3 * width, height = elems / stride, across = (stride + kWide - 1) / kWide;
    int top = blockIdx.x / across * kRows, left = blockIdx.x % across * kWide;
    for (int i = t; i < kPadRows * kPadWide; i += kReduceThreads) {
        int row = top + i / kPadWide - 1, column = left + i % kPadWide - 3;
        bool inside = row >= 0 && row < height && column >= 0 && column < stride;
        unsigned e = inside ? (unsigned)row * stride + column : 0;
        float ge = g[e], ye = ge - ga[e], down = is_free(x[e], ge) * ge;
        s_y[i / kPadWide][i % kPadWide] = inside ? ye : 0.f;
        s_down[i / kPadWide][i % kPadWide] = inside ? down : 0.f;
    }
    __syncthreads();   // the tile is there
    // B at a place of the tile.
    auto blur = [](const float (*v)[kPadWide], int row, int column) {
        auto line = [&](int r) { return v[r][column] + 2.f * v[r][column + 3] + v[r][column + 6]; };
        return (line(row) + 2.f * line(row + 1) + line(row + 2)) * 0.0625f;
    };
    float bad = 0.f, most = 0.f, square = 0.f, product = 0.f;
#pragma unroll
    for (int i = 0; i < kOwnRows; i++) {
        int r = t / kWide * kOwnRows + i, c = t % kWide, row = top + r, column = left + c;
        if (row >= height || column >= stride) continue;
        unsigned e = (unsigned)row * stride + column;
        float ge = g[e], down = s_down[r + 1][c + 3], smoothed = blur(s_down, r, c);
        s[e] = x[e] - a[e];
        u[e] = fmaf(-smooth, blur(s_y, r, c), s_y[r + 1][c + 3]);
        z[e] = fmaf(-smooth, smoothed, down);
        if (finite(ge * ge))
            most = fmaxf(most, fabsf(ge));
        else
            bad += 1.f;
        square = fmaf(down, down, square);
        product = fmaf(down, smoothed, product);
    }
    bad = block_sum(bad), square = block_sum(square), product = block_sum(product), most = block_max(most);
    if (t == 0) ((float4*)seen)[n * gridDim.x + blockIdx.x] = float4{bad, square, product, most};
}

extern "C" __global__ __launch_bounds__(kReduceThreads, 4) void lbfgs_products_f32(
    float* RESTRICT parts, const float* RESTRICT s, const float* RESTRICT u, const float* RESTRICT x, const float* RESTRICT g,
    const float* RESTRICT ga, const float* RESTRICT seen, const float* RESTRICT step, const float* RESTRICT knobs, int slots,
    int knob_columns, int tiles, unsigned elems) {
    __shared__ __align__(16) float s_y[kShare], s_down[kShare];
    wait_for_previous();
    start_next();
    size_t n = blockIdx.y;
    if (!(step[n] < knobs[n * knob_columns + kLimit])) return;
    x += n * elems, g += n * elems, ga += n * elems, s += n * slots * elems, u += n * slots * elems;
    float* out = parts + (n * gridDim.x + blockIdx.x) * part_width(slots);
    int t = threadIdx.x, lane = t % 32;
    unsigned from = blockIdx.x * kShare, count = min(elems - from, (unsigned)kShare);
    for (unsigned i = t; i < kShare; i += kReduceThreads) {
        float ge = i < count ? g[from + i] : 0.f;
        s_y[i] = i < count ? ge - ga[from + i] : 0.f;
        s_down[i] = i < count ? is_free(x[from + i], ge) * ge : 0.f;
    }
    __syncthreads();   // y and f g are there
    for (int row = t / 32; row < 2 * slots; row += kReduceWarps) {
        const float* v = (row < slots ? s + (size_t)row * elems : u + (size_t)(row - slots) * elems) + from;
        float with_y = 0.f, with_g = 0.f;
        if (elems % 4 == 0)
#pragma unroll 8
            for (unsigned i = 4 * lane; i < kShare; i += 128) {
                if (i >= count) break;
                float4 e = *(const float4*)(v + i), y = *(const float4*)(s_y + i), down = *(const float4*)(s_down + i);
                with_y = fmaf(e.x, y.x, fmaf(e.y, y.y, fmaf(e.z, y.z, fmaf(e.w, y.w, with_y))));
                with_g = fmaf(e.x, down.x, fmaf(e.y, down.y, fmaf(e.z, down.z, fmaf(e.w, down.w, with_g))));
            }
        else
#pragma unroll 8
            for (unsigned i = lane; i < count; i += 32) with_y = fmaf(v[i], s_y[i], with_y), with_g = fmaf(v[i], s_down[i], with_g);
        with_y = warp_sum(with_y), with_g = warp_sum(with_g);
        if (lane == 0) out[2 * row] = with_y, out[2 * row + 1] = with_g;
    }
    // Some tiles that pair has seen are this block's to add up.
    if (t < kExtra) {
        float sum = 0.f;
        for (int i = blockIdx.x; i < tiles; i += gridDim.x) {
            float v = seen[(n * tiles + i) * kExtra + t];
            sum = t == kExtra - 1 ? fmaxf(sum, v) : sum + v;
        }
        out[4 * slots + t] = sum;
    }
}

constexpr int kSolve = 1024;

// A value of one lane in all, in fp64; a shuffle moves 32 bits.
__device__ __forceinline__ double from_lane(double v, int lane) {
    return __hiloint2double(__shfl_sync(0xffffffffu, __double2hiint(v), lane), __shfl_sync(0xffffffffu, __double2loint(v), lane));
}

// The two loops on coefficients, by one warp, of `count` pairs of which the newest is in a slot; false where there are no pairs
// or the result does not descend, and then coef is left alone. A lane has the pair of its age. It keeps up to date the products
// of its s (sigma) with what is left of the gradient, and of its y (eta) with the direction, so that a step waits for one value of
// another lane and for no sum. p: the products of every s and u with y and f g; kept: those of every s, then u, with every y,
// rounded, which for s are there where y is not older. made: the slot whose y those in p are of, or -1. gz: f g . z.
__device__ __forceinline__ bool recursion(float* coef, const double* p, const float* kept, int made, double gz, int count, int newest,
                                          int slots) {
    if (count == 0) return false;
    int lane = threadIdx.x;
    auto slot = [&](int age) { return newest < age ? newest - age + slots : newest - age; };
    int i = slot(min(lane, count - 1));
    auto with = [&](int row, int y) { return y == made ? p[2 * row] : (double)kept[row * slots + y]; };
    auto u_with = [&](int u, int y) { return u == made ? with(slots + y, u) : with(slots + u, y); };
    double own_s = p[2 * i + 1], own_u = p[2 * (slots + i) + 1];
    double rho = 1.0 / with(i, i), sigma = own_s, eta = own_u, alpha = 0.0, delta = 0.0;
    double h = fmax(with(newest, newest) / fmax(u_with(newest, newest), 1e-30), 1e-12);
#pragma unroll 2
    for (int age = 0; age < count; age++) {   // from the newest
        int k = slot(age);
        double v = from_lane(rho * sigma, age);
        if (lane == age) alpha = v;
        sigma = fma(-v, with(i, k), sigma);   // of lanes that are done it may become anything
        eta = fma(-v, u_with(i, k), eta);
    }
    eta *= h;
#pragma unroll 2
    for (int age = count - 1; age >= 0; age--) {   // from the oldest
        double v = from_lane(alpha - rho * eta, age);
        if (lane == age) delta = v;
        eta = fma(v, with(slot(age), i), eta);
    }
    bool mine = lane < count;
    double descent = warp_sum(mine ? delta * own_s - h * alpha * own_u : 0.0) + h * gz;
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
    __shared__ float s_control[kProducts + 2 * kMaxSlots * kMaxSlots], s_coef[2 * kMaxSlots + 1];
    wait_for_previous();
    start_next();
    int t = threadIdx.x, slots = history + 1, width = part_width(slots), quads = width / 4;
    size_t n = blockIdx.x;
    parts += n * blocks * width;
    control += n * columns;
    coef += n * coefs(slots);
    knobs += n * knob_columns;
    if (!(step[n] < knobs[kLimit])) {
        if (t == 0) coef[2 * slots + 2] = (float)kLeave;
        return;
    }
    float loss = total[4 * n + 3];
    first *= knobs[kRate];
    for (int i = t; i < columns; i += kSolve) s_control[i] = control[i];
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
    const double* seen = s_p + width - kExtra;
    float was = s_control[kLoss], accepted = s_control[kAccepted], refusals = s_control[kRefusals], most = s_control[kMost];
    float factor = s_control[kFactor], smooth = s_control[kSmooth], *kept = s_control + kProducts;
    int pairs = (int)s_control[kPairs], next = (int)s_control[kNext], made = -1, todo = kAccept;
    double sy = s_p[2 * next], yy = s_p[2 * (slots + next)];
    bool ok = seen[0] == 0.0 && finite(loss);
    bool rose = accepted > 0.f && refusals < kRetries && (double)loss > (double)was + (double)rise * fabs((double)was);
    bool accept = ok && !rose, descends = false;
    if (accept) {
        if (accepted > 0.f && sy > 1e-10 * yy) {
            made = next;
            pairs = min(pairs + 1, history);
            next = (next + 1) % slots;
            // The products with y are a column, and for u, which is symmetric, a row too.
            for (int i = t; i < 2 * slots; i += 32) {
                float v = (float)s_p[2 * i];
                control[kProducts + i * slots + made] = kept[i * slots + made] = v;
                if (i >= slots) control[kProducts + (slots + made) * slots + i - slots] = kept[(slots + made) * slots + i - slots] = v;
            }
        }
        accepted += 1.f, was = loss, factor = 1.f, refusals = 0.f, most = (float)seen[3];
        __syncwarp();
        descends = recursion(s_coef, s_p, kept, made, seen[1] - smooth * seen[2], pairs, next == 0 ? slots - 1 : next - 1, slots);
        if (!descends) {   // without a direction of its pairs it goes along the gradient
            float r = (float)(seen[2] / seen[1]);
            pairs = 0, smooth = r > 0.f ? fminf(fmaxf((4.f * r - 1.f) / 3.f, 0.f), 0.9f) : 0.f;
        }
    } else {
        todo = accepted == 0.f ? kStay : refusals >= 1.f ? kTurn : kGo;
        if (refusals >= 1.f) pairs = 0;
        refusals += 1.f, factor *= kShrink;
    }
    if (t == 0) {
        control[kAccepted] = accepted, control[kLoss] = was, control[kFactor] = factor, control[kRefusals] = refusals;
        control[kMost] = most, control[kPairs] = (float)pairs, control[kNext] = (float)next, control[kSmooth] = smooth;
        coef[2 * slots + 1] = !descends && most > 0.f ? first / most : 0.f;
        coef[2 * slots + 2] = (float)todo;
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
    float s, u;
    size_t offset;
};

// The direction of a thread's elements from whole steps of kAhead pairs, and its largest |d|.
template <bool Aligned>
__device__ __forceinline__ float direction(float* d, float* a, float* ga, const float* x, const float* g, const float* s,
                                           const float* u, const float* z, const Term* terms, int count, float of_z, float slope,
                                           bool accept, unsigned elems) {
    Four<Aligned> at(elems);
    Quad xe = at.load(accept ? x : a), ge = at.load(accept ? g : ga), sum = {};
    if (of_z != 0.f) {   // else it may hold anything
        sum = at.load(z);
#pragma unroll
        for (int j = 0; j < kElements; j++) sum.v[j] *= of_z;
    }
    for (int i = 0; i < count; i += kAhead) {
        Quad se[kAhead], ue[kAhead];
#pragma unroll
        for (int k = 0; k < kAhead; k++) {
            size_t offset = terms[i + k].offset;
            se[k] = at.load(s + offset), ue[k] = at.load(u + offset);
        }
#pragma unroll
        for (int k = 0; k < kAhead; k++) {
            float cs = terms[i + k].s, cu = terms[i + k].u;
#pragma unroll
            for (int j = 0; j < kElements; j++) sum.v[j] = fmaf(cu, ue[k].v[j], fmaf(cs, se[k].v[j], sum.v[j]));
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
    const float* RESTRICT g, const float* RESTRICT s, const float* RESTRICT u, const float* RESTRICT z, const float* RESTRICT coef,
    int slots, unsigned elems) {
    __shared__ Term s_terms[kMaxSlots + kAhead];
    __shared__ int s_count;
    wait_for_previous();
    start_next();
    size_t n = blockIdx.y;
    coef += n * coefs(slots);
    int todo = (int)coef[2 * slots + 2];
    float of_z = coef[2 * slots], slope = coef[2 * slots + 1];
    if (todo < kTurn) return;
    // The first warp lists the pairs: a slot without one may hold anything, and is not looked at. Whole steps are filled up with
    // a pair times 0.
    if (threadIdx.x < 32) {
        int lane = threadIdx.x, count = 0;
        for (int base = 0; base < slots; base += 32) {
            int i = base + lane;
            float cs = i < slots ? coef[i] : 0.f, cu = i < slots ? coef[slots + i] : 0.f;
            unsigned has = __ballot_sync(0xffffffffu, cs != 0.f || cu != 0.f);
            if (has >> lane & 1) s_terms[count + __popc(has & ((1u << lane) - 1))] = Term{cs, cu, (size_t)i * elems};
            count += __popc(has);
        }
        __syncwarp();
        if (count > 0 && lane < kAhead) s_terms[count + lane] = Term{0.f, 0.f, s_terms[0].offset};
        if (lane == 0) s_count = count;
    }
    __syncthreads();
    d += n * elems, a += n * elems, ga += n * elems, x += n * elems, g += n * elems, z += n * elems;
    s += n * slots * elems, u += n * slots * elems;
    bool accept = todo == kAccept;
    float most = elems % 4 == 0 ? direction<true>(d, a, ga, x, g, s, u, z, s_terms, s_count, of_z, slope, accept, elems)
                                : direction<false>(d, a, ga, x, g, s, u, z, s_terms, s_count, of_z, slope, accept, elems);
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
    int todo = (int)coef[n * coefs(slots) + 2 * slots + 2];
    most *= knobs[n * knob_columns + kRate];
    if (todo == kLeave) return;
    if (todo == kStay) {
        if (blockIdx.x == 0 && threadIdx.x == 0) control[kStep] = 0.f;
    } else if (elems % 4 == 0)
        take_step<true>(x, a, d, control, longest, todo, most, elems);
    else
        take_step<false>(x, a, d, control, longest, todo, most, elems);
}
