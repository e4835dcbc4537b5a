// The end of a convolution on tensor cores. The accumulators of 64 channels of a
// tile of pixels go to shared memory as they would be stored, pixel by pixel; then
// each thread takes 16 or 32 bytes, eight channels of a pixel, and does all that
// stands between this convolution and the next. Rounding before that keeps every
// fusion equal to the kernels that it replaces, bit for bit.
#pragma once
#include "mma.cuh"
#include "params.cuh"

constexpr int kChannels = 64;   // of a staged tile

// What an epilogue does; a null pointer leaves a step out. Arrays are NHWC.
template <class T>
struct Epilogue {
    T* y;                 // the result
    T* pooled;            // its mean over 2x2 windows, or its maximum (n, h/2, w/2, k)
    uint8_t* positive;    // a bit for each value of it above 0 (n, h, w, k/8); with max_pool only for that which pooled has
    const float* bias;    // (k), added first
    const T* add;         // added
    const T* target;      // target_k * weight[n] * scale[n] * (gate - target) is added: the gradient of a content loss
    const T* gate;        // the result is 0 where this is not above 0: the gradient of a ReLU with this output
    const uint8_t* bits;  // the same, a bit each
    const float* scale;   // the loss scale of each picture
    const float* weight;  // and its weight of the content loss, one in so many columns
    int columns;
    float target_k;
    flag relu;            // the result is 0 where it would be negative
    flag one_target;      // target holds one picture for all
    flag max_pool;        // pooling takes the largest
    int unpool_h, unpool_w;   // not 0: y, gate and bits have these extents, and the result is spread over 2x2 windows: a
                              // quarter each, or with max_pool all of it where bits has the maximum
};

// The parameters of a kernel that make one. R is __restrict__, or nothing where launches overlap: see RESTRICT in
// overlap.cuh.
#define EPILOGUE_PARAMS(T, R)                                                                                    \
    T *MAYBE_NULL R y, T *MAYBE_NULL R pooled, uint8_t *MAYBE_NULL R positive, const float *MAYBE_NULL R bias,   \
        const T *MAYBE_NULL R add, const T *MAYBE_NULL R target, const T *MAYBE_NULL R gate,                     \
        const uint8_t *MAYBE_NULL R bits, const float *MAYBE_NULL R scale, const float *MAYBE_NULL R weight,     \
        int columns, float target_k, flag relu, flag one_target, flag max_pool, int unpool_h, int unpool_w
#define EPILOGUE(T)                                                                                              \
    Epilogue<T> {                                                                                                \
        y, pooled, positive, bias, add, target, gate, bits, scale, weight, columns, target_k, relu, one_target,  \
            max_pool, unpool_h, unpool_w                                                                         \
    }

// Eight neighbouring values.
__device__ __forceinline__ void load8(float (&v)[8], const f32* p) {
    float4 a = *(const float4*)p, b = *(const float4*)(p + 4);
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}
__device__ __forceinline__ void load8(float (&v)[8], const f16* p) {
    uint4 r = *(const uint4*)p;
    uint32_t u[4] = {r.x, r.y, r.z, r.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float2 f = __half22float2(*(__half2*)&u[i]);
        v[2 * i] = f.x, v[2 * i + 1] = f.y;
    }
}
__device__ __forceinline__ void load8(float (&v)[8], const bf16* p) {
    uint4 r = *(const uint4*)p;
    uint32_t u[4] = {r.x, r.y, r.z, r.w};
#pragma unroll
    for (int i = 0; i < 4; i++) v[2 * i] = __uint_as_float(u[i] << 16), v[2 * i + 1] = __uint_as_float(u[i] & 0xffff0000u);
}

// Two values as operands of the next product.
__device__ __forceinline__ uint32_t pack2(f16, float a, float b) {
    __half2 h = __floats2half2_rn(a, b);
    return *(uint32_t*)&h;
}
__device__ __forceinline__ uint32_t pack2(bf16, float a, float b) {
    __nv_bfloat162 h = __floats2bfloat162_rn(a, b);
    return *(uint32_t*)&h;
}

template <class E, class T>
__device__ __forceinline__ void store8(E e, T* p, const float (&v)[8]) {
    *(uint4*)p = make_uint4(pack2(e, v[0], v[1]), pack2(e, v[2], v[3]), pack2(e, v[4], v[5]), pack2(e, v[6], v[7]));
}
__device__ __forceinline__ void store8(tf32 e, f32* p, const float (&v)[8]) {
    *(float4*)p = make_float4(rounded(e, v[0]), rounded(e, v[1]), rounded(e, v[2]), rounded(e, v[3]));
    *(float4*)(p + 4) = make_float4(rounded(e, v[4]), rounded(e, v[5]), rounded(e, v[6]), rounded(e, v[7]));
}

// The staged tile: where eight channels of a pixel lie, in bytes; of fp32, their first or second half. Written pair by
// pair from mma fragments, matrix by matrix by stmatrix, and read chunk by chunk, no bank twice; but that pairs of fp32 from
// mma fragments are written in two wavefronts, for wgmma's single values have the better order.
template <class T>
__device__ __forceinline__ uint32_t staged(int pixel, int ch8, int half) {
    if constexpr (sizeof(T) == 2) return pixel * 128 + ((ch8 ^ (pixel & 7)) << 4);
    int at = ch8 ^ ((pixel >> 1 & 3) | (pixel & 1) << 2);
    return pixel * 256 + at * 32 + ((half ^ at >> 2) << 4);
}

// Two neighbouring channels of a pixel, from an mma fragment.
template <class E>
__device__ __forceinline__ void stage2(E e, unsigned char* s_tile, int pixel, int ch, float a, float b) {
    if constexpr (sizeof(typename Element<E>::Store) == 2)
        *(uint32_t*)(s_tile + staged<f16>(pixel, ch >> 3, 0) + (ch & 7) * 2) = pack2(e, a, b);
    else
        *(float2*)(s_tile + staged<f32>(pixel, ch >> 3, ch >> 2 & 1) + (ch & 3) * 4) = make_float2(rounded(e, a), rounded(e, b));
}

template <class T>
__device__ __forceinline__ void read_staged(float (&v)[8], const unsigned char* s_tile, int pixel, int ch8) {
    if constexpr (sizeof(T) == 2) {
        load8(v, (const T*)(s_tile + staged<T>(pixel, ch8, 0)));
    } else {
        float4 a = *(const float4*)(s_tile + staged<T>(pixel, ch8, 0)), b = *(const float4*)(s_tile + staged<T>(pixel, ch8, 1));
        v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
    }
}

// 0 where the ReLU that this gradient passes through was 0.
template <class T>
__device__ __forceinline__ void gate8(float (&v)[8], const Epilogue<T>& e, size_t at) {
    if (e.bits) {
        uint32_t bits = e.bits[at >> 3];
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = bits >> i & 1 ? v[i] : 0.f;
    } else if (e.gate) {
        float f[8];
        load8(f, e.gate + at);
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = f[i] > 0.f ? v[i] : 0.f;
    }
}

// Which of eight values of a staged pixel are the first maximum of their 2x2 window, a bit each: larger than those before
// it, row by row, and not smaller than those behind it. Windows begin at even rows and columns of the tile.
template <class T, int WIDTH>
__device__ __forceinline__ uint32_t first_max8(const float (&v)[8], const unsigned char* s_tile, int pixel, int ch8) {
    int corner = pixel / WIDTH / 2 * 2 * WIDTH + pixel % WIDTH / 2 * 2;
    uint32_t bits = 0xff;
#pragma unroll
    for (int q = 0; q < 4; q++) {
        int other = corner + (q >> 1) * WIDTH + (q & 1);
        if (other == pixel) continue;
        float f[8];
        read_staged<T>(f, s_tile, other, ch8);
#pragma unroll
        for (int j = 0; j < 8; j++)
            if (!(other < pixel ? v[j] > f[j] : v[j] >= f[j])) bits &= ~(1u << j);
    }
    return bits;
}

// Eight 16-bit values, as they are stored. Most epilogues never need them as numbers.
// Their bits, from the staged tile.
__device__ __forceinline__ uint4 read_raw8(const unsigned char* s_tile, int pixel, int ch8) {
    return *(const uint4*)(s_tile + staged<f16>(pixel, ch8, 0));
}
// Two bytes of the sign of byte LOW of v, and two of that of the byte above it.
template <int LOW>
__device__ __forceinline__ uint32_t signs(uint32_t v) {
    uint32_t r;
    asm("prmt.b32 %0, %1, 0, %2;" : "=r"(r) : "r"(v), "n"(LOW == 0 ? 0x9988 : 0xbbaa));
    return r;
}
// 0 where a bit is not set. Four bits become the signs of four bytes.
__device__ __forceinline__ uint4 gated8(uint4 v, uint32_t bits) {
    uint32_t lo = bits << 7 | bits << 14 | bits << 21 | bits << 28, up = bits >> 4, hi = up << 7 | up << 14 | up << 21 | up << 28;
    v.x &= signs<0>(lo), v.y &= signs<2>(lo), v.z &= signs<0>(hi), v.w &= signs<2>(hi);
    return v;
}
// A bit for each that is above 0.
__device__ __forceinline__ uint32_t above0(f16, uint32_t v) { return __hgt2_mask(*(__half2*)&v, __half2()); }
__device__ __forceinline__ uint32_t above0(bf16, uint32_t v) {
    return (__uint_as_float(v << 16) > 0.f ? 0xffffu : 0u) | (__uint_as_float(v & 0xffff0000u) > 0.f ? 0xffff0000u : 0u);
}
template <class E>
__device__ __forceinline__ uint32_t positive8(E e, uint4 v) {
    uint32_t m = (above0(e, v.x) & 0x00020001u) | (above0(e, v.y) & 0x00080004u) | (above0(e, v.z) & 0x00200010u) |
                 (above0(e, v.w) & 0x00800040u);
    return (m | m >> 16) & 0xffu;
}
// A quarter of each, rounded once.
__device__ __forceinline__ uint32_t quarter2(f16, uint32_t v) {
    __half2 h = __hmul2(*(__half2*)&v, __float2half2_rn(0.25f));
    return *(uint32_t*)&h;
}
__device__ __forceinline__ uint32_t quarter2(bf16 e, uint32_t v) {
    return pack2(e, __uint_as_float(v << 16) * 0.25f, __uint_as_float(v & 0xffff0000u) * 0.25f);
}

// The gates of a thread's values of a tile, a byte for eight values; four where a pooling is undone.
template <int PIXELS, int THREADS>
struct Gates {
    uint32_t bits[PIXELS * 8 / THREADS][4];
};

// Whether 16-bit values go through the epilogue as they are stored: nothing is added, and what gates them, if anything does, is
// bits. Where a pooling is undone, of windows that are all whole.
template <class T>
__device__ __forceinline__ bool is_raw(const Epilogue<T>& e, int h, int w) {
    if (sizeof(T) != 2 || e.add || e.target || (e.gate && !e.bits)) return false;
    return e.unpool_h ? e.unpool_h == 2 * h && e.unpool_w == 2 * w : !e.max_pool || !e.positive;
}

// Where a thread's values of a tile are: its first pixel, and as an index into y and bits; from there to the next line. SIDE is
// 2 where a pooling is undone, else 1.
template <int PIXELS, int WIDTH, int THREADS, int SIDE>
struct Values {
    static constexpr int kItems = PIXELS * 8 / THREADS, kDown = THREADS / 8 / WIDTH;   // lines from one item to the next
    static_assert(kDown * WIDTH * 8 == THREADS, "a thread's pixels are below each other");
    int py;
    bool in;
    size_t at, line;
    int k;
    __device__ Values(int t, int n, int y0, int x0, int ch0, int h, int w, int k) : k(k) {
        int pixel = t >> 3, px = x0 + pixel % WIDTH;
        py = y0 + pixel / WIDTH;
        in = px < w;
        line = (size_t)w * SIDE * k;
        at = ((size_t)n * h + py) * SIDE * line + (size_t)px * SIDE * k + ch0 + (t & 7) * 8;
    }
    // Value q of the window of item r.
    __device__ size_t of(int r, int q) const { return at + (r * kDown * SIDE + q / 2) * line + q % 2 * k; }
};

// Loads the gates that finish_raw wants. All loads of a tile are under way at once, and before the tile is staged.
template <int PIXELS, int WIDTH, int THREADS, int SIDE, class T>
__device__ __forceinline__ void load_gates(Gates<PIXELS, THREADS>& gates, const Epilogue<T>& e, int t, int n, int y0, int x0, int ch0,
                                           int h, int w, int k) {
    Values<PIXELS, WIDTH, THREADS, SIDE> v(t, n, y0, x0, ch0, h, w, k);
#pragma unroll
    for (int r = 0; r < v.kItems; r++)
#pragma unroll
        for (int q = 0; q < SIDE * SIDE; q++) gates.bits[r][q] = v.in && v.py + r * v.kDown < h ? e.bits[v.of(r, q) >> 3] : 0u;
}
template <int PIXELS, int WIDTH, int THREADS, class T>
__device__ __forceinline__ void load_gates(Gates<PIXELS, THREADS>& gates, const Epilogue<T>& e, int t, int n, int y0, int x0, int ch0,
                                           int h, int w, int k) {
    if (!e.bits || !is_raw(e, h, w)) return;
    if (e.unpool_h)
        load_gates<PIXELS, WIDTH, THREADS, 2>(gates, e, t, n, y0, x0, ch0, h, w, k);
    else
        load_gates<PIXELS, WIDTH, THREADS, 1>(gates, e, t, n, y0, x0, ch0, h, w, k);
}

// finish_raw is what finish does where is_raw says so.
template <class E, int PIXELS, int WIDTH, int THREADS, int SIDE>
__device__ __forceinline__ void finish_raw(const Epilogue<typename Element<E>::Store>& e, const Gates<PIXELS, THREADS>& gates,
                                           const unsigned char* s_tile, int t, int n, int y0, int x0, int ch0, int h, int w, int k) {
    Values<PIXELS, WIDTH, THREADS, SIDE> at(t, n, y0, x0, ch0, h, w, k);
    if (!at.in) return;
#pragma unroll
    for (int r = 0; r < at.kItems; r++) {
        if (at.py + r * at.kDown >= h) return;
        uint4 v = read_raw8(s_tile, (t >> 3) + r * at.kDown * WIDTH, t & 7);
        if (SIDE == 2 && !e.max_pool) v = make_uint4(quarter2(E{}, v.x), quarter2(E{}, v.y), quarter2(E{}, v.z), quarter2(E{}, v.w));
#pragma unroll
        for (int q = 0; q < SIDE * SIDE; q++) {
            uint4 z = e.bits ? gated8(v, gates.bits[r][q]) : v;
            if (e.y) *(uint4*)(e.y + at.of(r, q)) = z;
            if (SIDE == 1 && e.positive) e.positive[at.of(r, q) >> 3] = (uint8_t)positive8(E{}, z);
        }
    }
}

// finish does the epilogue of a staged tile of PIXELS pixels, WIDTH in a row, whose first is (y0, x0) of picture n and
// whose channels begin at ch0, with THREADS threads, of which this is t. h, w, k are the extents of the convolution; gates is
// what load_gates gave.
template <class E, int PIXELS, int WIDTH, int THREADS>
__device__ __forceinline__ void finish(const Epilogue<typename Element<E>::Store>& e, const Gates<PIXELS, THREADS>& gates,
                                       const unsigned char* s_tile, int t, int n, int y0, int x0, int ch0, int h, int w, int k) {
    using T = typename Element<E>::Store;
    float target_k = e.target ? e.target_k * e.weight[(size_t)n * e.columns] * e.scale[n] : 0.f;
    bool raw = is_raw(e, h, w);   // the same for all of a launch
    if constexpr (sizeof(T) == 2) {
        if (raw && e.unpool_h)
            finish_raw<E, PIXELS, WIDTH, THREADS, 2>(e, gates, s_tile, t, n, y0, x0, ch0, h, w, k);
        else if (raw)
            finish_raw<E, PIXELS, WIDTH, THREADS, 1>(e, gates, s_tile, t, n, y0, x0, ch0, h, w, k);
    }
    for (int i = t; i < PIXELS * 8 && !raw; i += THREADS) {
        // Eight threads have the 64 channels of a pixel, 128 or 256 bytes in a row. at: where y, add, gate and target
        // have this value.
        int ch8 = i & 7, pixel = i >> 3, py = y0 + pixel / WIDTH, px = x0 + pixel % WIDTH;
        if (py >= h || px >= w) continue;
        float v[8], f[8];
        read_staged<T>(v, s_tile, pixel, ch8);
        int ch = ch0 + ch8 * 8;
        size_t in_picture = ((size_t)py * w + px) * k + ch, at = (size_t)n * h * w * k + in_picture;
        if (e.add) {
            load8(f, e.add + at);
#pragma unroll
            for (int j = 0; j < 8; j++) v[j] += f[j];
        }
        if (e.target) {
            // gate is the output of the layer, which the content loss compares with its target.
            float g[8];
            load8(f, e.gate + at);
            load8(g, e.target + (e.one_target ? in_picture : at));
#pragma unroll
            for (int j = 0; j < 8; j++) v[j] += rounded(E{}, target_k * (f[j] - g[j]));
        }
        // Unless pooling is undone the value ends here: gated, stored, and a bit for each above 0.
        if (e.unpool_h == 0) {
            gate8(v, e, at);
            if (e.y) store8(E{}, e.y + at, v);
            if (e.positive) {
                uint32_t bits = 0;
#pragma unroll
                for (int j = 0; j < 8; j++) bits |= (v[j] > 0.f ? 1u : 0u) << j;
                if (e.max_pool) bits &= py / 2 < h / 2 && px / 2 < w / 2 ? first_max8<T, WIDTH>(v, s_tile, pixel, ch8) : 0u;
                e.positive[at >> 3] = (uint8_t)bits;
            }
            continue;
        }
        // Pooling undone: a quarter of the value for each pixel of its window, or all of it for the one whose bit is set; the
        // last windows also zero what pooling dropped.
        int rows = py == h - 1 ? e.unpool_h - 2 * py : 2, cols = px == w - 1 ? e.unpool_w - 2 * px : 2;
        for (int q = 0; q < rows * cols; q++) {
            int r = q / cols, yy = 2 * py + r, xx = 2 * px + q - r * cols;
            size_t to = (((size_t)n * e.unpool_h + yy) * e.unpool_w + xx) * k + ch;
            float by = yy < 2 * h && xx < 2 * w ? e.max_pool ? 1.f : 0.25f : 0.f;
#pragma unroll
            for (int j = 0; j < 8; j++) f[j] = v[j] * by;
            gate8(f, e, to);
            store8(E{}, e.y + to, f);
        }
    }
    if (!e.pooled) return;
    for (int i = t; i < PIXELS * 2; i += THREADS) {
        // Pooling reads the staged tile again, rounded as y is: windows of four pixels, eight threads to each. Tiles
        // begin at even rows and columns, so that no window is shared.
        int ch8 = i & 7, window = i >> 3, wy = window / (WIDTH / 2), wx = window % (WIDTH / 2);
        int py = y0 / 2 + wy, px = x0 / 2 + wx, pixel = 2 * wy * WIDTH + 2 * wx;
        if (py >= h / 2 || px >= w / 2) continue;
        float v[8], f[8];
        read_staged<T>(v, s_tile, pixel, ch8);
#pragma unroll
        for (int q = 1; q < 4; q++) {
            read_staged<T>(f, s_tile, pixel + (q >> 1) * WIDTH + (q & 1), ch8);
#pragma unroll
            for (int j = 0; j < 8; j++) v[j] = !e.max_pool ? v[j] + f[j] : f[j] > v[j] || f[j] != f[j] ? f[j] : v[j];
        }
#pragma unroll
        for (int j = 0; j < 8; j++) v[j] *= e.max_pool ? 1.f : 0.25f;
        store8(E{}, e.pooled + (((size_t)n * (h / 2) + py) * (w / 2) + px) * k + ch0 + ch8 * 8, v);
    }
}
