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
__device__ __forceinline__ void unpack8(f16, float (&v)[8], uint4 r) {
    uint32_t u[4] = {r.x, r.y, r.z, r.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float2 f = __half22float2(*(__half2*)&u[i]);
        v[2 * i] = f.x, v[2 * i + 1] = f.y;
    }
}
__device__ __forceinline__ void unpack8(bf16, float (&v)[8], uint4 r) {
    uint32_t u[4] = {r.x, r.y, r.z, r.w};
#pragma unroll
    for (int i = 0; i < 4; i++) v[2 * i] = __uint_as_float(u[i] << 16), v[2 * i + 1] = __uint_as_float(u[i] & 0xffff0000u);
}
template <class T>
__device__ __forceinline__ void load8(float (&v)[8], const T* p) {
    unpack8(T{}, v, *(const uint4*)p);
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

// The ReLU of two values as operands of the next product; NaN where one is.
__device__ __forceinline__ uint32_t relu2(f16, float a, float b) {
    uint32_t r;
    asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(b), "f"(a));
    return r;
}
__device__ __forceinline__ uint32_t relu2(bf16, float a, float b) {
    uint32_t r;
    asm("cvt.rn.relu.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(b), "f"(a));
    return r;
}
// The larger; NaN where one is. One instruction, where a comparison and a selection are two.
__device__ __forceinline__ float max_nan(float a, float b) {
    float r;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
    return r;
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
__device__ __forceinline__ uint4 load_raw8(uint32_t address) {   // in shared memory
    return *(const uint4*)__cvta_shared_to_generic(address);
}
__device__ __forceinline__ void store_raw8(void* p, uint4 v) {   // in global memory; plain C++ comes apart into four stores
    asm volatile("st.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(__cvta_generic_to_global(p)), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
                 : "memory");
}
template <class E, class T>
__device__ __forceinline__ void store8(E e, T* p, const float (&v)[8]) {
    store_raw8(p, make_uint4(pack2(e, v[0], v[1]), pack2(e, v[2], v[3]), pack2(e, v[4], v[5]), pack2(e, v[6], v[7])));
}
template <class E>
__device__ __forceinline__ typename Element<E>::Pair pair(E, uint32_t v) {
    return *(typename Element<E>::Pair*)&v;
}
// All bits of each that is above 0.
template <class E>
__device__ __forceinline__ uint32_t above0(E e, uint32_t v) {
    return __hgt2_mask(pair(e, v), pair(e, 0u));
}
// A bit for each that is above 0: the masks are 0 or -1 for each, and are multiplied by minus the bits and added.
template <class E>
__device__ __forceinline__ uint32_t positive8(E e, uint4 v) {
    constexpr int kLow = 0xf8fcfeff, kHigh = 0x80c0e0f0;   // -1 -2 -4 -8, -16 -32 -64 -128
    int low = __dp2a_hi((int)above0(e, v.y), kLow, __dp2a_lo((int)above0(e, v.x), kLow, 0));
    return __dp2a_hi((int)above0(e, v.w), kHigh, __dp2a_lo((int)above0(e, v.z), kHigh, low));
}
template <class E>
__device__ __forceinline__ uint32_t add2(E e, uint32_t a, uint32_t b) {
    auto sum = __hadd2(pair(e, a), pair(e, b));
    return *(uint32_t*)&sum;
}
// A quarter of each, rounded once.
__device__ __forceinline__ uint32_t quarter2(f16, uint32_t v) {
    uint32_t quarter = 0x34003400;
    __half2 h = __hmul2(*(__half2*)&v, *(__half2*)&quarter);
    return *(uint32_t*)&h;
}
__device__ __forceinline__ uint32_t quarter2(bf16 e, uint32_t v) {
    return pack2(e, __uint_as_float(v << 16) * 0.25f, __uint_as_float(v & 0xffff0000u) * 0.25f);
}

// Four bytes of gates, a bit a value: s[i] has bit i of each byte as the byte's sign.
struct Signs {
    uint32_t s[8];
    __device__ __forceinline__ Signs(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
        uint32_t word = __byte_perm(__byte_perm(a, b, 0x40), __byte_perm(c, d, 0x40), 0x5410);
#pragma unroll
        for (int i = 0; i < 8; i++) s[i] = word << (7 - i);
    }
    // Sixteen signs of byte B of lo, and sixteen of that of hi.
    template <int B>
    static __device__ __forceinline__ uint32_t spread(uint32_t lo, uint32_t hi) {
        uint32_t r;
        asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(lo), "r"(hi), "n"((8 | B) * 0x11 | (12 | B) * 0x1100));
        return r;
    }
    template <int B>
    __device__ __forceinline__ uint4 gated8(uint4 v) const {
        return make_uint4(v.x & spread<B>(s[0], s[1]), v.y & spread<B>(s[2], s[3]), v.z & spread<B>(s[4], s[5]),
                          v.w & spread<B>(s[6], s[7]));
    }
    // 0 where the bit of byte b is not set.
    __device__ __forceinline__ uint4 gated8(uint4 v, int b) const {
        return b == 0 ? gated8<0>(v) : b == 1 ? gated8<1>(v) : b == 2 ? gated8<2>(v) : gated8<3>(v);
    }
};

// Pools four pixels into the first: their mean, or the largest, NaN where one is.
__device__ __forceinline__ void pool8(float (&v)[4][8], bool max_pool) {
    if (max_pool) {
#pragma unroll
        for (int i = 8; i < 32; i++) {
            float f = v[i / 8][i % 8];
            v[0][i % 8] = f > v[0][i % 8] || isnan(f) ? f : v[0][i % 8];
        }
    } else {
#pragma unroll
        for (int j = 0; j < 8; j++) v[0][j] = (v[0][j] + v[1][j] + v[2][j] + v[3][j]) * 0.25f;
    }
}

// What a thread finishes of a tile of WIDTH pixels a line, with THREADS threads, of which it is t: PIXELS at a time, which are
// staged in s_tile. h, w, k are the extents of the convolution. Eight threads have the 64 channels of a pixel, 128 or 256 bytes
// in a row. The values that a content loss compares are loaded for AHEAD pixels together, as many as registers allow; 0 says that
// nothing is added or gated, as on the way forward.
template <class E, int PIXELS, int WIDTH, int THREADS, int AHEAD>
struct Finish {
    using T = typename Element<E>::Store;
    static constexpr int kItems = PIXELS * 8 / THREADS, kDown = THREADS / 8 / WIDTH;   // lines from one item to the next
    static_assert(kItems <= 4 && kDown * WIDTH * 8 == THREADS && kDown * WIDTH % 8 == 0, "a thread's pixels are below each other");
    // What a launch asks for. All but kAny leave 16-bit values as they are stored, and compute with them in pairs.
    enum Kind {
        kAny,
        kStore,   // to y, to positive, or to both
        kPool,    // and pooled: a thread has the pixels of a window
        kContent, // to y with the gradient of a content loss, gated by the output that this compares
        kGate,    // by bits, to y
        kUnpool   // of windows that are all whole, and gated by bits
    };

    const Epilogue<T>& e;
    const unsigned char* s_tile;
    int t, h, w, k;
    int kind, down, across;   // down, across: where its first value is in a tile, or with kPool the first of its window
    uint32_t first;           // and where that is staged, an address in shared memory
    int line, step;           // in y, from a line to the next, and from PIXELS to the next
    // Of a tile: its picture, its first pixel and its first channel. Of its first value there: the lines from it to the end of
    // the picture, none if it lies beside it; its place as an index into y, and that of its window in pooled.
    int n, y0, x0, ch0, lines;
    size_t at, pooled_at;
    float target_k;
    uint32_t gates[kItems][4];   // a byte for eight values, or with kUnpool for four times eight

    __device__ __forceinline__ Finish(const Epilogue<T>& e, const unsigned char* s_tile, int t, int h, int w, int k)
        : e(e), s_tile(s_tile), t(t), h(h), w(w), k(k) {
        kind = kAny;
        bool only_y = e.y && !e.positive && !e.pooled;
        if (sizeof(T) == 2 && e.target)
            kind = !e.add && !e.bits && !e.unpool_h && only_y ? kContent : kAny;
        else if (sizeof(T) == 2 && !e.add && !(e.gate && !e.bits)) {
            if (e.unpool_h)
                kind = e.unpool_h == 2 * h && e.unpool_w == 2 * w ? kUnpool : kAny;
            else if (e.bits)
                kind = only_y ? kGate : kAny;
            else if (!(e.positive && e.max_pool))
                kind = e.pooled ? kPool : kStore;
        }
        int pixel = t >> 3;
        down = pixel / WIDTH, across = pixel % WIDTH;
        if (kind == kPool) down = pixel / (WIDTH / 2) * 2, across = pixel % (WIDTH / 2) * 2;
        first = shared_address(s_tile) + staged<f16>(down * WIDTH + across, t & 7, 0);
        asm volatile("" : "+r"(kind), "+r"(first));   // or the compiler finds them again in each use
        line = w * k * (e.unpool_h ? 2 : 1), step = line * (PIXELS / WIDTH) * (e.unpool_h ? 2 : 1);
    }
    // Goes to a tile, and from PIXELS to the next, which are staged so many bytes further.
    __device__ __forceinline__ void begin(int picture, int y, int x, int ch) {
        n = picture, y0 = y, x0 = x, ch0 = ch;
        target_k = e.target ? e.target_k * e.weight[(size_t)n * e.columns] * e.scale[n] : 0.f;
        int py = y0 + down, px = x0 + across, c = ch0 + (t & 7) * 8, side = e.unpool_h ? 2 : 1;
        lines = px < w ? h - py : 0;
        at = ((size_t)n * h + py) * side * line + (px * side * k + c);
        pooled_at = kind == kPool ? ((size_t)n * (h / 2) + py / 2) * (w / 2 * k) + (px / 2 * k + c) : 0;
        asm volatile("" : "+r"(lines), "+l"(at), "+l"(pooled_at));   // here, and not where they are used
    }
    __device__ __forceinline__ void next(int bytes) {
        s_tile += bytes, first += bytes;
        y0 += PIXELS / WIDTH, lines -= PIXELS / WIDTH, at += step, pooled_at += PIXELS / WIDTH / 2 * (w / 2 * k);
    }

    // Loads the gates that finish wants. All are under way at once, and before the tile is staged.
    __device__ __forceinline__ void load_gates() {
        if (kind < kGate) return;
        if (kind == kUnpool)
            load_gates<2>();
        else
            load_gates<1>();
    }
    template <int SIDE>
    __device__ __forceinline__ void load_gates() {
        const uint8_t* bits = e.bits + (at >> 3);
#pragma unroll
        for (int r = 0; r < kItems; r++, bits += kDown * SIDE * (line >> 3)) {
            const uint8_t* below = bits + (line >> 3);
#pragma unroll
            for (int q = 0; q < SIDE * SIDE; q++) gates[r][q] = 0xff;
            if (e.bits && r * kDown < lines)
#pragma unroll
                for (int q = 0; q < SIDE * SIDE; q++) gates[r][q] = (q < 2 ? bits : below)[q & 1 ? k >> 3 : 0];
        }
    }

    // Does the epilogue of the staged tile.
    __device__ __forceinline__ void finish() const {
        if constexpr (sizeof(T) == 2) {
            if constexpr (AHEAD > 0)
                if (kind >= kContent) return kind == kGate ? finish_gate() : kind == kUnpool ? finish_unpool() : finish_content();
            if (kind == kPool) return finish_pool();
            if (kind == kStore) return finish_store();
        }
        finish_any();
    }
    __device__ __forceinline__ void load_staged(uint4 (&v)[kItems]) const {
#pragma unroll
        for (int r = 0; r < kItems; r++) v[r] = load_raw8(first + r * (kDown * WIDTH * 128));
    }

    __device__ __forceinline__ void finish_store() const {
        uint4 v[kItems];
        load_staged(v);
        T* y = e.y + at;
        if (e.y)
#pragma unroll
            for (int r = 0; r < kItems; r++, y += kDown * line)
                if (r * kDown < lines) store_raw8(y, v[r]);
        uint8_t* positive = e.positive + (at >> 3);
        if (e.positive)
#pragma unroll
            for (int r = 0; r < kItems; r++, positive += kDown * (line >> 3)) {
                uint32_t bits = positive8(E{}, v[r]);
                if (r * kDown < lines) *positive = (uint8_t)bits;
            }
    }

    __device__ __forceinline__ void finish_gate() const {
        uint4 v[kItems];
        load_staged(v);
        T* y = e.y + at;
        Signs signs(gates[0][0], gates[1 % kItems][0], gates[2 % kItems][0], gates[3 % kItems][0]);
#pragma unroll
        for (int r = 0; r < kItems; r++, y += kDown * line) {
            uint4 z = signs.gated8(v[r], r);
            if (r * kDown < lines) store_raw8(y, z);
        }
    }

    // What is added is computed in fp32 and rounded; the sum of two 16-bit values is the same if it is rounded once.
    __device__ __forceinline__ void finish_content() const {
        const T *out = e.gate + at, *target = e.target + (e.one_target ? at - (size_t)n * h * line : at);
        T* y = e.y + at;
        uint4 o[AHEAD], g[AHEAD];
#pragma unroll
        for (int r = 0; r < kItems; r++, y += kDown * line) {
            if (r % AHEAD == 0)
#pragma unroll
                for (int i = 0; i < AHEAD && r + i < kItems; i++, out += kDown * line, target += kDown * line)
                    if ((r + i) * kDown < lines) o[i] = *(const uint4*)out, g[i] = *(const uint4*)target;
            if (r * kDown >= lines) return;
            float f[8], t[8];
            unpack8(T{}, f, o[r % AHEAD]), unpack8(T{}, t, g[r % AHEAD]);
#pragma unroll
            for (int j = 0; j < 8; j++) f[j] = target_k * (f[j] - t[j]);
            uint4 v = load_raw8(first + r * (kDown * WIDTH * 128)), u = o[r % AHEAD];
            auto pair = [&](uint32_t v, uint32_t u, int j) { return add2(E{}, v, pack2(E{}, f[j], f[j + 1])) & above0(E{}, u); };
            store_raw8(y, make_uint4(pair(v.x, u.x, 0), pair(v.y, u.y, 2), pair(v.z, u.z, 4), pair(v.w, u.w, 6)));
        }
    }

    __device__ __forceinline__ void finish_unpool() const {
        uint4 v[kItems];
        load_staged(v);
        T* y = e.y + at;
#pragma unroll
        for (int r = 0; r < kItems; r++, y += kDown * 2 * line) {
            if (r * kDown >= lines) return;
            uint4 z = v[r];
            if (!e.max_pool) z = make_uint4(quarter2(E{}, z.x), quarter2(E{}, z.y), quarter2(E{}, z.z), quarter2(E{}, z.w));
            Signs signs(gates[r][0], gates[r][1], gates[r][2], gates[r][3]);
            T* below = y + line;
#pragma unroll
            for (int q = 0; q < 4; q++) store_raw8((q < 2 ? y : below) + (q & 1 ? k : 0), signs.gated8(z, q));
        }
    }

    // Tiles begin at even rows and columns, so that no window is shared.
    __device__ __forceinline__ void finish_pool() const {
        if (PIXELS * 2 < THREADS && t >= PIXELS * 2) return;
        uint4 z[4];
#pragma unroll
        for (int q = 0; q < 4; q++)   // the pixel to the right has its chunks in pairs the other way round
            z[q] = load_raw8((q & 1 ? (first ^ 16) + 128 : first) + (q >> 1) * (WIDTH * 128));
        int right = x0 + across + 1 < w ? lines : 0;   // of the second column
        T* y = e.y + at;
        if (e.y)
#pragma unroll
            for (int q = 0; q < 4; q++)
                if (q >> 1 < (q & 1 ? right : lines)) store_raw8((q < 2 ? y : y + line) + (q & 1 ? k : 0), z[q]);
        uint8_t* positive = e.positive + (at >> 3);
        if (e.positive)
#pragma unroll
            for (int q = 0; q < 4; q++) {
                uint32_t bits = positive8(E{}, z[q]);
                if (q >> 1 < (q & 1 ? right : lines)) (q < 2 ? positive : positive + (line >> 3))[q & 1 ? k >> 3 : 0] = (uint8_t)bits;
            }
        float v[4][8];
#pragma unroll
        for (int q = 0; q < 4; q++) unpack8(E{}, v[q], z[q]);
        pool8(v, e.max_pool);
        if (1 < right) store8(E{}, e.pooled + pooled_at, v[0]);
    }

    // Any epilogue, in fp32.
    __device__ __forceinline__ void finish_any() const {
        for (int i = t; i < PIXELS * 8; i += THREADS) {
            // at: where y, add, gate and target have this value.
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
            // Pooling reads the staged tile again, rounded as y is: windows of four pixels, eight threads to each.
            int ch8 = i & 7, window = i >> 3, wy = window / (WIDTH / 2), wx = window % (WIDTH / 2);
            int py = y0 / 2 + wy, px = x0 / 2 + wx, pixel = 2 * wy * WIDTH + 2 * wx;
            if (py >= h / 2 || px >= w / 2) continue;
            float v[4][8];
#pragma unroll
            for (int q = 0; q < 4; q++) read_staged<T>(v[q], s_tile, pixel + (q >> 1) * WIDTH + (q & 1), ch8);
            pool8(v, e.max_pool);
            store8(E{}, e.pooled + (((size_t)n * (h / 2) + py) * (w / 2) + px) * k + ch0 + ch8 * 8, v[0]);
        }
    }
};
