// bf16.h - convolutions, Gram matrices and their gradients in bf16 on matrix tiles, sums in fp32.
// Read once per instruction set; expects simd.h and tile.h.
//
// A map is (C/32, pixels, 32) in bf16, a pixel of 32 channels a cache line. Rows are W+1 pixels apart, the pad behind a row
// being the one before the next, with a row of pads above and below: so every tap of a convolution reads 16 pixels in a row
// from one address, and a tile is a kilobyte as it lies there. Pads are zero. Behind the last row there is room for what
// ragged tiles read and nobody uses.

INL long map_at(int W, int y, int x) { return ((long)(y + 1) * (W + 1) + x + 1) * 32; }
INL long map_block(int H, int W) { return cpu_map_pixels(H, W) * 32; } // between two blocks of 32 channels

// Zeroes the pads of the rows [y0,y1) of one block; with the first row those above, with the last those below.
INL void map_pads(bf16 *p, int H, int W, int y0, int y1) {
    const size_t line = 32 * sizeof *p;
    if (y0 == 0) memset(p, 0, (W + 1) * line);
    for (int y = y0; y < y1; y++) memset(p + map_at(W, y, -1), 0, line);
    if (y1 == H) memset(p + map_at(W, H, -1), 0, (W + 1 + MAP_TAIL) * line);
}

// ---- weights: [K/32][C/32][kx][ky][half][1 KB], a half being 16 of the 32 channels out, for fprop; for dgrad the same with
// the roles exchanged and the taps turned. Channels out that are not there are zero.
static void bf16_pack(const float *w, int Co, int Ci, int dgrad, bf16 *out, int block) {
    const int K = dgrad ? Ci : Co, C = dgrad ? Co : Ci;
    bf16 *o = out + (long)block * (C / 32) * 9 * 1024;
    for (int c = 0; c < C; c += 32)
        for (int tap = 0; tap < 9; tap++) {
            const int s = tap / 3, r = tap % 3; // kx, ky
            for (int half = 0; half < 2; half++)
                for (int k = 0; k < 16; k++)
                    for (int n = 0; n < 16; n++, o += 2) {
                        const int out_channel = block * 32 + half * 16 + n;
                        for (int e = 0; e < 2; e++) {
                            const int in = c + 2 * k + e;
                            float v = 0;
                            if (out_channel < K)
                                v = dgrad ? w[(((long)in * 3 + 2 - r) * 3 + 2 - s) * Ci + out_channel]
                                          : w[(((long)out_channel * 3 + r) * 3 + s) * Ci + in];
                            o[e] = v_to_bf16((vf){0} + v)[0];
                        }
                    }
        }
}
// The first layer's: 27 values of a pixel's window, row by row, and 5 zeros; four tiles of 16 channels, and four of what
// rounding leaves of them.
static void bf16_pack_first(const float *w, bf16 *o) {
    memset(o, 0, 2 * 64 * 32 * sizeof *o);
    for (int n = 0; n < 64; n++)
        for (int k = 0; k < 27; k++) {
            const vf v = (vf){0} + w[n * 27 + k];
            const vh high = v_to_bf16(v), low = v_to_bf16(v - v_from_bf16(high));
            bf16 *to = o + (n / 16 * 16 + k / 2) * 32 + n % 16 * 2 + k % 2;
            to[0] = high[0], to[64 * 32] = low[0];
        }
}
// (g + g^T) scale as the second factor of f G: [C/32][C/32][half][1 KB], the blocks of channels out [n0,n1).
static void bf16_pack_gram(const float *g, int C, float scale, bf16 *out, int n0, int n1) {
    bf16 *o = out + (long)n0 * (C / 32) * 1024;
    for (int n = n0 * 32; n < n1 * 32; n += 32)
        for (int c = 0; c < C; c += 32)
            for (int half = 0; half < 2; half++)
                for (int k = 0; k < 16; k++, o += 32) {
                    const int in = c + 2 * k, to = n + half * 16;
                    float two[2][16];
                    for (int e = 0; e < 2; e++)
                        for (int i = 0; i < 16; i++) two[e][i] = scale * (g[(long)(in + e) * C + to + i] + g[(long)(to + i) * C + in + e]);
                    for (int i = 0; i < 16; i += VL) {
                        const vh a = v_to_bf16(*(const vf *)(two[0] + i)), b = v_to_bf16(*(const vf *)(two[1] + i));
                        for (int l = 0; l < VL; l++) o[2 * (i + l)] = a[l], o[2 * (i + l) + 1] = b[l];
                    }
                }
}

// ---- a convolution of blocks of 2 rows x 16 pixels x 32 channels out (16 for three)

// A block that is computed and waits for its epilogue, which runs in four slices between the products of the next: the
// tile unit and the vector unit work side by side.
typedef struct {
    float t[2][2][16][16] __attribute__((aligned(64))); // half, row, pixel, channel
    int y, x, n, live;
} pending;

// The sums of a pixel.
INL void sums_load(const pending *e, int row, int i, vf *v) {
#pragma GCC unroll 4
    for (int q = 0; q < NQ; q++) v[q] = *(const vf *)(&e->t[q * VL / 16][row][i][q * VL % 16]);
}
INL void line_bits(uint32_t *p, const vf *v) {
#pragma GCC unroll 4
    for (int q = 0; q < NQ; q++) store_bits((uint8_t *)p + q * VL / 8, v_positive(v[q]));
}
INL void line_gate(const uint32_t *p, vf *v) {
#pragma GCC unroll 4
    for (int q = 0; q < NQ; q++) v[q] = v_gate(load_bits((const uint8_t *)p + q * VL / 8), v[q]);
}
INL void line_scale(float by, vf *v) {
#pragma GCC unroll 4
    for (int q = 0; q < NQ; q++) v[q] *= by;
}

// relu(sum + bias) of a pixel.
INL void fprop_line(const cpu_bf16_conv *k, const vf *bias, const pending *e, int row, int i, vf *v) {
    sums_load(e, row, i, v);
#pragma GCC unroll 4
    for (int q = 0; q < NQ; q++) {
        v[q] += bias[q];
        if (k->relu) v[q] = v_relu(v[q]);
    }
}
// Forward, pixels [i0,i1): y = relu(sum + bias), its signs, its pool.
INL void fprop_pixels(const cpu_bf16_conv *k, const pending *e, int i0, int i1) {
    const int H = k->H, W = k->W, n = e->n, rows = H - e->y < 2 ? H - e->y : 2;
    if (i1 > W - e->x) i1 = W - e->x;
    vf bias[NQ], v[NQ];
    for (int q = 0; q < NQ; q++) bias[q] = *(const vf *)(k->bias + n + q * VL);
    bf16 *y = k->y ? k->y + n / 32 * map_block(H, W) + map_at(W, e->y, e->x) : 0;
    uint32_t *bits = k->ybits && !k->maxpool ? k->ybits + ((long)(n / 32) * H + e->y) * W + e->x : 0;
    for (int r = 0; r < rows; r++)
        for (int i = i0; i < i1; i++) {
            if (!y && !bits) break;
            fprop_line(k, bias, e, r, i, v);
            if (bits) line_bits(bits + (long)r * W + i, v);
            if (y) line_store(y + ((long)r * (W + 1) + i) * 32, v, k->stream);
        }
    if (!k->ypool) return;
    const int PH = H / 2, PW = W / 2;
    bf16 *pool = k->ypool + n / 32 * map_block(PH, PW) + map_at(PW, e->y / 2, e->x / 2);
    for (int i = i0; i < i1; i += 2) {
        const int whole = rows == 2 && i + 1 < W - e->x;
        if (!whole && !(k->maxpool && k->ybits)) continue;
        vf w[4][NQ], p[NQ] = {{0}};
        for (int d = 0; d < 4; d++) {
            fprop_line(k, bias, e, d / 2, i + d % 2, w[d]);
#pragma GCC unroll 4
            for (int q = 0; q < NQ; q++) {
                if (k->maxpool) w[d][q] = v_from_bf16(v_to_bf16(w[d][q])); // the first maximum of what y has
                if (!d) p[q] = w[d][q];
                else if (k->maxpool) p[q] = v_pick((w[d][q] > p[q]) | (w[d][q] != w[d][q]), w[d][q], p[q]);
                else p[q] += w[d][q];
            }
        }
        if (k->maxpool && k->ybits) { // the first maximum of the window, if it is positive
            vi found[NQ];
            for (int q = 0; q < NQ; q++) found[q] = (vi){0};
            for (int d = 0; d < 4; d++) {
                if (e->y + d / 2 >= H || e->x + i + d % 2 >= W) continue;
                uint32_t *b = k->ybits + ((long)(n / 32) * H + e->y + d / 2) * W + e->x + i + d % 2;
#pragma GCC unroll 4
                for (int q = 0; q < NQ; q++) {
                    const vi here = (w[d][q] == p[q]) & (w[d][q] > (vf){0}) & ~found[q];
                    found[q] |= here;
                    store_bits((uint8_t *)b + q * VL / 8, whole ? v_lanes(here) : 0);
                }
            }
        }
        if (!whole) continue;
        if (!k->maxpool) line_scale(0.25f, p);
        line_store(pool + i / 2 * 32, p, k->stream);
    }
}

// Backward: y = gate(unpool(sum + addends)).
INL void dgrad_pixels(const cpu_bf16_conv *k, const pending *e, int i0, int i1) {
    const int H = k->H, W = k->W, n = e->n, rows = H - e->y < 2 ? H - e->y : 2;
    if (i1 > W - e->x) i1 = W - e->x;
    vf v[NQ], a[NQ];
    for (int r = 0; r < rows; r++)
        for (int i = i0; i < i1; i++) {
            const long from = n / 32 * map_block(H, W) + map_at(W, e->y + r, e->x + i);
            sums_load(e, r, i, v);
            for (int j = 0; j < k->addends; j++) {
                line_load(k->addend[j] + from, a);
#pragma GCC unroll 4
                for (int q = 0; q < NQ; q++) v[q] += a[q];
            }
            if (!k->unpool) {
                if (k->gate) line_gate(k->gate + ((long)(n / 32) * H + e->y + r) * W + e->x + i, v);
                line_store(k->y + from, v, k->stream);
                continue;
            }
            if (k->unpool == UNPOOL_MEAN) line_scale(0.25f, v);
            for (int d = 0; d < 4; d++) {
                const int y = 2 * (e->y + r) + d / 2, x = 2 * (e->x + i) + d % 2;
                vf g[NQ];
                for (int q = 0; q < NQ; q++) g[q] = v[q];
                if (k->gate) line_gate(k->gate + ((long)(n / 32) * k->YH + y) * k->YW + x, g);
                line_store(k->y + n / 32 * map_block(k->YH, k->YW) + map_at(k->YW, y, x), g, k->stream);
            }
        }
}
// Backward into the picture, three channels of fp32.
INL void image_pixels(const cpu_bf16_conv *k, const pending *e, int i0, int i1) {
    const int H = k->H, W = k->W, rows = H - e->y < 2 ? H - e->y : 2;
    if (i1 > W - e->x) i1 = W - e->x;
    for (int r = 0; r < rows; r++)
        for (int i = i0; i < i1; i++) memcpy(k->image + ((long)(e->y + r) * W + e->x + i) * 3, e->t[0][r][i], 3 * sizeof(float));
}
NOINLINE void epilogue(const cpu_bf16_conv *k, const pending *e, int i0, int i1) {
    if (k->bias) fprop_pixels(k, e, i0, i1);
    else if (k->image) image_pixels(k, e, i0, i1);
    else dgrad_pixels(k, e, i0, i1);
}
#define SLICE \
    if (slice < 4) { \
        if (e->live) epilogue(k, e, slice * 4, slice * 4 + 4); \
        slice++; \
    }

// Tiles 0 and 2 are the halves of row 0, 1 and 3 those of row 1. A row of pixels that is loaded for one tap serves the taps
// above it too: ten loads for twelve products.
INL void products(const cpu_bf16_conv *k, tile_file *f, pending *e, int y, int x, int n, const int halves) {
    const long row = (k->W + 1) * 32L, block = map_block(k->H, k->W);
    const bf16 *a = k->x + map_at(k->W, y - 1, x - 1), *b = k->w + (long)(n / 32) * (k->C / 32) * 9 * 1024;
    int slice = 0;
    tile_zero(f, 0); tile_zero(f, 1); tile_zero(f, 2); tile_zero(f, 3);
    for (int c = 0; c < k->C; c += 32, a += block)
        for (int kx = 0; kx < 3; kx++, b += 3072) {
            const bf16 *p = a + kx * 32;
            tile_load(f, 6, b, 64); tile_load(f, 4, p, 64); tile_load(f, 5, p + row, 64);
            tile_dot(f, 0, 4, 6); tile_dot(f, 1, 5, 6);
            if (halves == 2) { tile_load(f, 7, b + 512, 64); tile_dot(f, 2, 4, 7); tile_dot(f, 3, 5, 7); }
            tile_load(f, 6, b + 1024, 64); tile_load(f, 4, p + 2 * row, 64);
            tile_dot(f, 0, 5, 6); tile_dot(f, 1, 4, 6);
            if (halves == 2) { tile_load(f, 7, b + 1536, 64); tile_dot(f, 2, 5, 7); tile_dot(f, 3, 4, 7); }
            tile_load(f, 6, b + 2048, 64); tile_load(f, 5, p + 3 * row, 64);
            tile_dot(f, 0, 4, 6); tile_dot(f, 1, 5, 6);
            if (halves == 2) { tile_load(f, 7, b + 2560, 64); tile_dot(f, 2, 4, 7); tile_dot(f, 3, 5, 7); }
            SLICE
        }
    if (k->f) { // the style gradient f G: one more tap, in the middle, on the features of the result
        const bf16 *q = k->f + map_at(k->W, y, x), *g = k->fw + (long)(n / 32) * (k->K / 32) * 1024;
        for (int c = 0; c < k->K; c += 32, q += block, g += 1024) {
            tile_load(f, 6, g, 64); tile_load(f, 7, g + 512, 64); tile_load(f, 4, q, 64); tile_load(f, 5, q + row, 64);
            tile_dot(f, 0, 4, 6); tile_dot(f, 2, 4, 7); tile_dot(f, 1, 5, 6); tile_dot(f, 3, 5, 7);
            SLICE
        }
    }
    while (slice < 4) SLICE
    tile_store(f, 0, e->t[0][0], 64); tile_store(f, 1, e->t[0][1], 64);
    if (halves == 2) { tile_store(f, 2, e->t[1][0], 64); tile_store(f, 3, e->t[1][1], 64); }
}

// Rows [y0,y1) of the result's channels [n0,n1), y0 even: the strip of the input stays in the L2 while one block of weights
// after another passes. columns: pixels of a block of columns, a multiple of 16.
static void bf16_conv(const cpu_bf16_conv *k, int y0, int y1, int n0, int n1, int columns) {
    const int W = k->W, K = k->K;
    tile_file f;
    pending e;
    e.live = 0;
    tile_begin(&f);
    for (int xs = 0; xs < W; xs += columns)
        for (int n = n0; n < n1; n += 32) {
            const int xe = xs + columns < W ? xs + columns : W;
            for (int y = y0; y < y1; y += 2)
                for (int x = xs; x < xe; x += 16) {
                    if (K >= 32) products(k, &f, &e, y, x, n, 2);
                    else products(k, &f, &e, y, x, n, 1);
                    e.y = y, e.x = x, e.n = n, e.live = 1;
                }
        }
    tile_end(&f);
    if (e.live) epilogue(k, &e, 0, 16);
    for (int n = n0; n < n1 && !k->image; n += 32) {
        if (k->y && !k->unpool) map_pads(k->y + n / 32 * map_block(k->H, W), k->H, W, y0, y1);
        if (k->ypool) {
            const int PH = k->H / 2, PW = W / 2;
            map_pads(k->ypool + n / 32 * map_block(PH, PW), PH, PW, y0 / 2, y1 == k->H ? PH : y1 / 2);
        }
        if (k->y && k->unpool) { // and the row and the column that the pool has dropped
            const int H = k->YH, U = k->YW, last = y1 == k->H ? H : 2 * y1;
            bf16 *p = k->y + n / 32 * map_block(H, U);
            map_pads(p, H, U, 2 * y0, last);
            for (int y = 2 * y0; y < last && U > 2 * W; y++) memset(p + map_at(U, y, U - 1), 0, 64);
            if (last > 2 * y1) memset(p + map_at(U, H - 1, 0), 0, U * 64L);
        }
    }
    stream_end();
}

// ---- the first layer: rows [y0,y1) of y = relu(conv(x) + bias) from a picture in fp32. A row of a tile is the window of a
// pixel. Picture and weights have 16 bits, as two numbers of 8: high high + low high + high low. The layer waits for
// memory, and the error of the whole gradient is halved (at 512 from 1.8e-2 to 0.8e-2). strip: both parts of (y1-y0+2) rows of
// (W+2) pixels.
NOINLINE void window_pixels(const cpu_bf16_conv *k, const pending *e) {
    const int n = k->W - e->x < 16 ? k->W - e->x : 16;
    bf16 *y = k->y + e->n / 32 * map_block(k->H, k->W) + map_at(k->W, e->y, e->x);
    uint32_t *bits = k->ybits ? k->ybits + ((long)(e->n / 32) * k->H + e->y) * k->W + e->x : 0;
    vf bias[NQ], v[NQ];
    for (int q = 0; q < NQ; q++) bias[q] = *(const vf *)(k->bias + e->n + q * VL);
    for (int i = 0; i < n; i++) {
        fprop_line(k, bias, e, 0, i, v);
        if (bits) line_bits(bits + i, v);
        line_store(y + i * 32, v, k->stream);
    }
}
static void bf16_first(const float *x, const bf16 *w, const float *bias, bf16 *y, uint32_t *bits, int H, int W, int y0, int y1,
                       bf16 *strip) {
    const long pitch = (W + 2) * 3, part = (y1 - y0 + 2) * pitch;
    for (int r = y0 - 1; r <= y1; r++) {
        bf16 *to = strip + (r - y0 + 1) * pitch;
        memset(to, 0, pitch * sizeof *to);
        memset(to + part, 0, pitch * sizeof *to);
        if (r < 0 || r >= H) continue;
        const float *from = x + (long)r * W * 3;
        for (long i = 0; i < W * 3L; i += VL) {
            vf v = {0};
            const int n = W * 3L - i < VL ? W * 3L - i : VL;
            memcpy(&v, from + i, n * sizeof *from);
            const vh high = v_to_bf16(v), low = v_to_bf16(v - v_from_bf16(high));
            memcpy(to + 3 + i, &high, n * sizeof *to);
            memcpy(to + part + 3 + i, &low, n * sizeof *to);
        }
    }
    cpu_bf16_conv k = {.H = H, .W = W, .K = 64, .bias = bias, .relu = 1, .y = y, .ybits = bits, .stream = cpu_map_pixels(H, W) >= 1 << 17};
    tile_file f;
    pending e[2]; // channels 0 to 31 and the rest; one row of pixels each
    bf16 a[2][16][32] __attribute__((aligned(64)));
    memset(a, 0, sizeof a);
    for (int half = 0; half < 2; half++) e[half].live = 0, e[half].n = 32 * half;
    tile_begin(&f);
    for (int r = y0; r < y1; r++)
        for (int c = 0; c < W; c += 16) {
            const int n = W - c < 16 ? W - c : 16;
            for (int i = 0; i < n; i++)
                for (int t = 0; t < 3; t++) {
                    const bf16 *p = strip + (r - y0 + t) * pitch + (c + i) * 3;
                    memcpy(a[0][i] + 9 * t, p, 18), memcpy(a[1][i] + 9 * t, p + part, 18);
                }
            tile_fence();
            tile_zero(&f, 0); tile_zero(&f, 1); tile_zero(&f, 2); tile_zero(&f, 3);
            tile_load(&f, 4, a[0], 64); tile_load(&f, 5, a[1], 64);
            tile_load(&f, 6, w, 64); tile_load(&f, 7, w + 512, 64);
            tile_dot(&f, 0, 4, 6); tile_dot(&f, 1, 4, 7); tile_dot(&f, 0, 5, 6); tile_dot(&f, 1, 5, 7);
            tile_load(&f, 6, w + 1024, 64); tile_load(&f, 7, w + 1536, 64);
            tile_dot(&f, 2, 4, 6); tile_dot(&f, 3, 4, 7); tile_dot(&f, 2, 5, 6); tile_dot(&f, 3, 5, 7);
            tile_load(&f, 6, w + 2048, 64); tile_load(&f, 7, w + 2560, 64);
            tile_dot(&f, 0, 4, 6); tile_dot(&f, 1, 4, 7);
            tile_load(&f, 6, w + 3072, 64); tile_load(&f, 7, w + 3584, 64);
            tile_dot(&f, 2, 4, 6); tile_dot(&f, 3, 4, 7);
            for (int half = 0; half < 2; half++)
                if (e[half].live) window_pixels(&k, e + half);
            tile_store(&f, 0, e[0].t[0][0], 64); tile_store(&f, 1, e[0].t[1][0], 64);
            tile_store(&f, 2, e[1].t[0][0], 64); tile_store(&f, 3, e[1].t[1][0], 64);
            for (int half = 0; half < 2; half++) e[half].y = r, e[half].x = c, e[half].live = 1;
        }
    tile_end(&f);
    for (int half = 0; half < 2; half++) {
        if (e[half].live) window_pixels(&k, e + half);
        map_pads(y + half * map_block(H, W), H, W, y0, y1);
    }
    stream_end();
}

// ---- Gram: triangle blocks of the sum over pixels of f[p][i] f[p][j], for PANEL pixels at a time: the second factor is two
// pixels interleaved, the first its transpose in pairs. Pads count as pixels and add nothing.
enum { PANEL = 512 };
#if VL == 16
INL void transpose_pairs(const __m512i *r, bf16 *o) { // 16 x 16 of 32 bits
    __m512i t[16], u[16];
    for (int i = 0; i < 16; i += 2) t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]), t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    for (int i = 0; i < 16; i += 4) {
        u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]), u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]), u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        const __m512i a = _mm512_shuffle_i32x4(u[i], u[4 + i], 0x88), b = _mm512_shuffle_i32x4(u[8 + i], u[12 + i], 0x88);
        const __m512i c = _mm512_shuffle_i32x4(u[i], u[4 + i], 0xdd), d = _mm512_shuffle_i32x4(u[8 + i], u[12 + i], 0xdd);
        _mm512_storeu_si512(o + 32 * i, _mm512_shuffle_i32x4(a, b, 0x88));
        _mm512_storeu_si512(o + 32 * (4 + i), _mm512_shuffle_i32x4(c, d, 0x88));
        _mm512_storeu_si512(o + 32 * (8 + i), _mm512_shuffle_i32x4(a, b, 0xdd));
        _mm512_storeu_si512(o + 32 * (12 + i), _mm512_shuffle_i32x4(c, d, 0xdd));
    }
}
INL void gram_pairs(const bf16 *p, bf16 *a, bf16 *b) { // 32 pixels of 16 channels
    uint16_t order[32];
    for (int i = 0; i < 16; i++) order[2 * i] = i, order[2 * i + 1] = 16 + i;
    const __m512i both = _mm512_loadu_si512(order);
    __m512i r[16];
    for (int k = 0; k < 16; k++) {
        const __m256i even = _mm256_loadu_si256((const void *)(p + 64 * k)), odd = _mm256_loadu_si256((const void *)(p + 64 * k + 32));
        r[k] = _mm512_permutexvar_epi16(both, _mm512_inserti64x4(_mm512_castsi256_si512(even), odd, 1));
        _mm512_storeu_si512(b + 32 * k, r[k]);
    }
    transpose_pairs(r, a);
}
#else
INL void gram_pairs(const bf16 *p, bf16 *a, bf16 *b) { // 32 pixels of 16 channels
    for (int k = 0; k < 16; k++)
        for (int n = 0; n < 16; n++) a[32 * n + 2 * k] = b[32 * k + 2 * n] = p[64 * k + n], a[32 * n + 2 * k + 1] = b[32 * k + 2 * n + 1] = p[64 * k + 32 + n];
}
#endif
INL void gram_pack(const bf16 *p, int pixels, bf16 *a, bf16 *b) { // of 32 channels: a and b are [half][pixels/32][16][32]
    const long half = pixels * 16L;
    for (int k = 0; k < pixels; k += 32, a += 512, b += 512)
        for (int h = 0; h < 2; h++) gram_pairs(p + k * 32L + h * 16, a + h * half, b + h * half);
}
static void bf16_gram(const bf16 *map, float *g, int H, int W, int C, long p0, long p1, bf16 *work) {
    const long block = map_block(H, W);
    const bf16 *first = map + map_at(W, 0, 0);
    tile_file f;
    for (int i = 0; i < C; i++) memset(g + (long)i * C + i / 32 * 32, 0, (C - i / 32 * 32) * sizeof *g);
    tile_begin(&f);
    for (long p = p0; p < p1; p += PANEL) {
        const int n = p1 - p < PANEL ? (p1 - p + 31) / 32 * 32 : PANEL;
        const long size = n * 32L, half = size / 2; // of a packed block
        bf16 *a = work, *b = work + (long)PANEL * C;
        for (int c = 0; c < C / 32; c++) gram_pack(first + c * block + p * 32, n, a + c * size, b + c * size);
        tile_fence();
        for (int i = 0; i < C / 32; i++)
            for (int j = i; j < C / 32; j++) {
                float *q = g + (long)i * 32 * C + j * 32;
                const size_t row = C * sizeof *g;
                const bf16 *x = a + i * size, *y = b + j * size;
                tile_load(&f, 0, q, row); tile_load(&f, 1, q + 16, row);
                tile_load(&f, 2, q + 16L * C, row); tile_load(&f, 3, q + 16L * C + 16, row);
                for (int k = 0; k < n; k += 32, x += 512, y += 512) {
                    tile_load(&f, 4, x, 64); tile_load(&f, 6, y, 64); tile_load(&f, 5, x + half, 64); tile_load(&f, 7, y + half, 64);
                    tile_dot(&f, 0, 4, 6); tile_dot(&f, 2, 5, 6); tile_dot(&f, 1, 4, 7); tile_dot(&f, 3, 5, 7);
                }
                tile_store(&f, 0, q, row); tile_store(&f, 1, q + 16, row);
                tile_store(&f, 2, q + 16L * C, row); tile_store(&f, 3, q + 16L * C + 16, row);
            }
    }
    tile_end(&f);
}

// ---- between maps and plain tensors (H,W,C) in fp32, rows [y0,y1)
static void bf16_from_plain(const float *x, bf16 *map, int H, int W, int C, int y0, int y1) {
    for (int c = 0; c < C; c += 32) {
        bf16 *to = map + c / 32 * map_block(H, W);
        for (int y = y0; y < y1; y++)
            for (int i = 0; i < W; i++) line_store(to + map_at(W, y, i), (const vf *)(x + ((long)y * W + i) * C + c), 0);
        map_pads(to, H, W, y0, y1);
    }
}
static void bf16_to_plain(const bf16 *map, float *x, int H, int W, int C, int y0, int y1) {
    for (int y = y0; y < y1; y++)
        for (int i = 0; i < W; i++)
            for (int c = 0; c < C; c += 32) line_load(map + c / 32 * map_block(H, W) + map_at(W, y, i), (vf *)(x + ((long)y * W + i) * C + c));
}

// ---- losses of features, and masks: rows [y0,y1)
// Returns the sum of (map - target)^2, target being plain; a lane sums in float along a row, rows and lanes are added in double.
static double bf16_mse_fwd(const bf16 *map, const float *target, int H, int W, int C, int y0, int y1) {
    double total = 0;
    for (int y = y0; y < y1; y++) {
        vf sum[NQ] = {{0}}, v[NQ];
        for (int i = 0; i < W; i++)
            for (int c = 0; c < C; c += 32) {
                line_load(map + c / 32 * map_block(H, W) + map_at(W, y, i), v);
#pragma GCC unroll 4
                for (int q = 0; q < NQ; q++) {
                    const vf d = v[q] - *(const vf *)(target + ((long)y * W + i) * C + c + q * VL);
                    sum[q] += d * d;
                }
            }
        for (int q = 0; q < NQ; q++)
            for (int l = 0; l < VL; l++) total += sum[q][l];
    }
    return total;
}
// y = scale (map - target).
static void bf16_mse_bwd(const bf16 *map, const float *target, float scale, bf16 *y, int H, int W, int C, int y0, int y1) {
    for (int c = 0; c < C; c += 32) {
        const bf16 *from = map + c / 32 * map_block(H, W);
        bf16 *to = y + c / 32 * map_block(H, W);
        for (int r = y0; r < y1; r++)
            for (int i = 0; i < W; i++) {
                vf v[NQ];
                line_load(from + map_at(W, r, i), v);
#pragma GCC unroll 4
                for (int q = 0; q < NQ; q++) v[q] = scale * (v[q] - *(const vf *)(target + ((long)r * W + i) * C + c + q * VL));
                line_store(to + map_at(W, r, i), v, 0);
            }
        map_pads(to, H, W, y0, y1);
    }
}
// y = map mask, one value a pixel.
static void bf16_mul(const bf16 *map, const float *mask, bf16 *y, int H, int W, int C, int y0, int y1) {
    for (int c = 0; c < C; c += 32) {
        const bf16 *from = map + c / 32 * map_block(H, W);
        bf16 *to = y + c / 32 * map_block(H, W);
        for (int r = y0; r < y1; r++)
            for (int i = 0; i < W; i++) {
                vf v[NQ];
                line_load(from + map_at(W, r, i), v);
                line_scale(mask[(long)r * W + i], v);
                line_store(to + map_at(W, r, i), v, 0);
            }
        map_pads(to, H, W, y0, y1);
    }
}

// One product of tiles, for tests.
static void tile_dot_once(float *c, const bf16 *a, const bf16 *b) {
    tile_file f;
    tile_begin(&f);
    tile_fence();
    tile_load(&f, 0, c, 64); tile_load(&f, 1, a, 64); tile_load(&f, 2, b, 64);
    tile_dot(&f, 0, 1, 2);
    tile_store(&f, 0, c, 64);
    tile_end(&f);
}

// The unit's limit: independent products in four tiles, `rounds` times PEAK_DOTS, on numbers as a network has them; zeros run
// at a higher clock.
enum { PEAK_DOTS = 256 };
static float bf16_peak(long rounds) {
    bf16 m[2][16][32] __attribute__((aligned(64)));
    float s[16][16];
    uint32_t r = 1;
    for (int i = 0; i < 1024; i++) {
        r = r * 1664525 + 1013904223;
        (&m[0][0][0])[i] = v_to_bf16((vf){0} + ((r >> 8) / 16777216.f - 0.5f))[0];
    }
    tile_file f;
    tile_begin(&f);
    tile_fence();
    tile_zero(&f, 0); tile_zero(&f, 1); tile_zero(&f, 2); tile_zero(&f, 3);
    tile_load(&f, 4, m[0], 64); tile_load(&f, 5, m[0], 64); tile_load(&f, 6, m[1], 64); tile_load(&f, 7, m[1], 64);
    for (long i = 0; i < rounds * PEAK_DOTS / 4; i++) { tile_dot(&f, 0, 4, 6); tile_dot(&f, 1, 5, 6); tile_dot(&f, 2, 4, 7); tile_dot(&f, 3, 5, 7); }
    tile_store(&f, 0, s, 64);
    tile_end(&f);
    return s[0][0];
}

#if defined(TILE_AMX)
#define TILES "amx"
#define BF16_LINKAGE
#else
#define TILES "twin of amx"
#define BF16_LINKAGE static
#endif
BF16_LINKAGE const cpu_bf16 BF16 = {TILES, 2.0 * 16 * 16 * 32 * PEAK_DOTS, bf16_pack, bf16_pack_first, bf16_pack_gram, bf16_conv, bf16_first, bf16_gram,
                       bf16_from_plain, bf16_to_plain, bf16_mse_fwd, bf16_mse_bwd, bf16_mul, bf16_peak, tile_dot_once};
