// wino.h - Winograd convolution F(TM x TM, 3x3) (Lavin and Gray, arXiv 1509.09308), forward and backward-data.
// Read once per instruction set and per TM (4 or 6); expects micro.h.
//
// Maths    Y = A^T [ (G g G^T) .* (B^T d B) ] A for each TM x TM tile of outputs, d the (TM+2) x (TM+2) patch of inputs.
//          Multiplications per output and channel pair: 9 direct, 2.25 for TM = 4, 1.78 for TM = 6.
// Shapes   C and K multiples of 64, any N, H, W >= 1; edge tiles gather a zero-filled patch.
// Layout   x, y NHWC. U [K/NR][xi][C][NR], transformed in double and rounded once.
//          V [C/64][panel of MR tiles][xi][MR][64]; M [panel of NR channels][tile][xi][NR].
// Block    T tiles go through all phases before the next T: V (input transform) and M (products) never leave the caches.
// Epilogue bias + ReLU + sign bits + 2x2 average or maximum, or accumulate + gate, while a tile's outputs are in registers.
// Prologue of the backward pass behind a pool: the pooled gradient is spread and gated while the patch is gathered; the
//          factor 1/4 of an average is in U. The full-size gradient never exists.
// Maximum  of a window: its bits are set only where the value is positive and the window's first maximum, so that the
//          same spreading and gating gives the gradient of pool and ReLU.
// Error    relative L2 against double: 1e-6 .. 4e-6 (TM 4), 2e-6 .. 9e-6 (TM 6), growing with C.
// Order    one chain over C for each product: the bits do not depend on blocks or threads.
#define TA (TM + 2)
#define NXI (TA * TA)
#if TM == 4
#define W_(x) x##_f4
static const double W_(gmat)[6][3] = {{1. / 4, 0, 0},          {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6},
                                      {1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}};
// B^T is applied to the columns in groups of rows that share terms: group g yields rows row0[g] and row1[g].
#define NGROUP 4
static const int W_(row0)[NGROUP] = {1, 3, 0, 5}, W_(row1)[NGROUP] = {2, 4, -1, -1};
INL void W_(bt_col)(const char *const *r, long at, const int g, vf *o0, vf *o1) {
#define D(i) (*(const vf *)(r[i] + at))
    if (g == 0) { vf e = D(4) - 4.f * D(2), o = D(3) - 4.f * D(1); *o0 = e + o; *o1 = e - o; }
    if (g == 1) { vf e = D(4) - D(2), o = D(3) - D(1); *o0 = e + 2.f * o; *o1 = e - 2.f * o; }
    if (g == 2) *o0 = 4.f * D(0) + (D(4) - 5.f * D(2));
    if (g == 3) *o0 = 4.f * D(1) + (D(5) - 5.f * D(3));
#undef D
}
INL void W_(bt_row)(const vf *d, vf *r) {
    vf e = d[4] - 4.f * d[2], o = d[3] - 4.f * d[1], f = d[4] - d[2], p = d[3] - d[1];
    r[0] = 4.f * d[0] + (d[4] - 5.f * d[2]);
    r[1] = e + o; r[2] = e - o; r[3] = f + 2.f * p; r[4] = f - 2.f * p;
    r[5] = 4.f * d[1] + (d[5] - 5.f * d[3]);
}
// A^T, in groups of output rows that fit the registers.
#define OGROUP 1
#define OROWS 4
#define OROW(g, i) (i)
INL void W_(at_col)(const float *m, long rs, const int g, vf *s) {
    (void)g;
#define D(i) (*(const vf *)(m + (i) * rs))
    vf a = D(1) + D(2), b = D(1) - D(2), c = D(3) + D(4), d = D(3) - D(4);
    s[0] = D(0) + a + c; s[1] = b + 2.f * d; s[2] = a + 4.f * c; s[3] = b + 8.f * d + D(5);
#undef D
}
INL void W_(at_row)(const vf *m, vf *s) {
    vf a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    s[0] = m[0] + a + c; s[1] = b + 2.f * d; s[2] = a + 4.f * c; s[3] = b + 8.f * d + m[5];
}
#else
#define W_(x) x##_f6
static const double W_(gmat)[8][3] = {{1, 0, 0},
                                      {-2. / 9, -2. / 9, -2. / 9}, {-2. / 9, 2. / 9, -2. / 9},
                                      {1. / 90, 1. / 45, 2. / 45}, {1. / 90, -1. / 45, 2. / 45},
                                      {32. / 45, 16. / 45, 8. / 45}, {32. / 45, -16. / 45, 8. / 45}, {0, 0, 1}};
#define NGROUP 5
static const int W_(row0)[NGROUP] = {1, 3, 5, 0, 7}, W_(row1)[NGROUP] = {2, 4, 6, -1, -1};
INL void W_(bt_col)(const char *const *r, long at, const int g, vf *o0, vf *o1) {
#define D(i) (*(const vf *)(r[i] + at))
    if (g == 0) { vf e = D(2) + D(6) - 4.25f * D(4), o = D(1) + D(5) - 4.25f * D(3); *o0 = e + o; *o1 = e - o; }
    if (g == 1) { vf e = D(6) + .25f * D(2) - 1.25f * D(4), o = .5f * D(1) - 2.5f * D(3) + 2.f * D(5); *o0 = e + o; *o1 = e - o; }
    if (g == 2) { vf e = D(6) + 4.f * D(2) - 5.f * D(4), o = 2.f * D(1) - 2.5f * D(3) + .5f * D(5); *o0 = e + o; *o1 = e - o; }
    if (g == 3) *o0 = D(0) - D(6) + 5.25f * (D(4) - D(2));
    if (g == 4) *o0 = D(7) - D(1) + 5.25f * (D(3) - D(5));
#undef D
}
INL void W_(bt_row)(const vf *d, vf *r) {
    vf e = d[2] + d[6] - 4.25f * d[4], o = d[1] + d[5] - 4.25f * d[3];
    r[1] = e + o; r[2] = e - o;
    e = d[6] + .25f * d[2] - 1.25f * d[4]; o = .5f * d[1] - 2.5f * d[3] + 2.f * d[5];
    r[3] = e + o; r[4] = e - o;
    e = d[6] + 4.f * d[2] - 5.f * d[4]; o = 2.f * d[1] - 2.5f * d[3] + .5f * d[5];
    r[5] = e + o; r[6] = e - o;
    r[0] = d[0] - d[6] + 5.25f * (d[4] - d[2]);
    r[7] = d[7] - d[1] + 5.25f * (d[3] - d[5]);
}
#define OGROUP 2
#define OROWS 3
#define OROW(g, i) (2 * (i) + (g)) // group 0: even rows, group 1: odd
INL void W_(at_col)(const float *m, long rs, const int g, vf *s) {
#define D(i) (*(const vf *)(m + (i) * rs))
    if (g == 0) {
        vf a = D(1) + D(2), c = D(3) + D(4), e = D(5) + D(6);
        s[0] = D(0) + a + c + e; s[1] = a + 4.f * c + .25f * e; s[2] = a + 16.f * c + .0625f * e;
    } else {
        vf b = D(1) - D(2), d = D(3) - D(4), f = D(5) - D(6);
        s[0] = b + 2.f * d + .5f * f; s[1] = b + 8.f * d + .125f * f; s[2] = b + 32.f * d + .03125f * f + D(7);
    }
#undef D
}
INL void W_(at_row)(const vf *m, vf *s) {
    vf a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4], e = m[5] + m[6], f = m[5] - m[6];
    s[0] = m[0] + a + c + e; s[1] = b + 2.f * d + .5f * f;
    s[2] = a + 4.f * c + .25f * e; s[3] = b + 8.f * d + .125f * f;
    s[4] = a + 16.f * c + .0625f * e; s[5] = b + 32.f * d + .03125f * f + m[7];
}
#endif
#define VS (MR * KC + 16)                  // floats from one xi of V to the next: an odd number of cache lines
#define VP (NXI * VS)                      // from one panel of tiles to the next
#define MS (NXI * NR + (TM == 6 ? NR : 0)) // from one tile of M to the next, padded so that tiles do not alias in the L1

static long W_(vchunk)(int T) { return (long)((T + MR - 1) / MR) * VP; } // from one chunk of channels to the next
static long W_(vsize)(int C, int T) { return W_(vchunk)(T) * (C / KC) + 4096; } // the tail is prefetched
static long W_(msize)(int T) { return (long)T * MS * (32 / NR); }

// ---- weights. w (Co,3,3,Ci). rot 0: forward, in Ci, out Co. rot 1: backward-data, in Co, out Ci, taps turned.
// Packs panels [n0,n1) of NR output channels.
static void W_(pack)(const float *w, int Co, int Ci, int rot, double scale, float *U, int n0, int n1) {
    enum { B = 8 }; // input channels at a time
    const int C = rot ? Co : Ci;
    for (int n = n0; n < n1; n++)
        for (int k = 0; k < NR; k++)
            for (int c = 0; c < C; c += B) {
                double g[3][3][B], t[TA][3][B];
                for (int s = 0; s < 9; s++)
                    for (int b = 0; b < B; b++) {
                        const long o = rot ? c + b : n * NR + k, i = rot ? n * NR + k : c + b;
                        const int at = rot ? 8 - s : s;
                        g[at / 3][at % 3][b] = w[(o * 9 + s) * Ci + i] * scale;
                    }
                for (int i = 0; i < TA; i++)
                    for (int j = 0; j < 3; j++)
                        for (int b = 0; b < B; b++)
                            t[i][j][b] = W_(gmat)[i][0] * g[0][j][b] + W_(gmat)[i][1] * g[1][j][b] + W_(gmat)[i][2] * g[2][j][b];
                for (int i = 0; i < TA; i++)
                    for (int j = 0; j < TA; j++) {
                        float *u = U + (((long)n * NXI + i * TA + j) * C + c) * NR + k;
                        for (int b = 0; b < B; b++)
                            u[b * NR] = (float)(W_(gmat)[j][0] * t[i][0][b] + W_(gmat)[j][1] * t[i][1][b] +
                                                W_(gmat)[j][2] * t[i][2][b]);
                    }
            }
}

// ---- input transform of one tile, 64 channels: rows point at the TA source rows, columns are cs bytes apart
NOINLINE void W_(in64)(const char *const *rows, long cs, float *v) {
    const char *r[TA];
#pragma GCC unroll 8
    for (int i = 0; i < TA; i++) r[i] = rows[i];
    long c1 = cs, c3 = 3 * cs, c5 = 5 * cs, c7 = 7 * cs;
    HIDE(c1); HIDE(c3); HIDE(c5);
    if (TA > 6) HIDE(c7);
    for (int k = 0; k < KC / VL; k++) {
#pragma GCC unroll 8
        for (int i = 0; i < TA; i++) HIDE(r[i]);
        HIDE(v);
#pragma GCC unroll 8
        for (int g = 0; g < NGROUP; g++) {
            vf a[TA], b[TA], q[TA];
#pragma GCC unroll 8
            for (int j = 0; j < TA; j++) {
                long o = j == 0 ? 0 : j == 1 ? c1 : j == 2 ? c1 * 2 : j == 3 ? c3 : j == 4 ? c1 * 4 : j == 5 ? c5 : j == 6 ? c3 * 2 : c7;
                W_(bt_col)(r, o, g, &a[j], &b[j]);
            }
            W_(bt_row)(a, q);
#pragma GCC unroll 8
            for (int j = 0; j < TA; j++) *(vf *)(v + (W_(row0)[g] * TA + j) * VS) = q[j];
            if (W_(row1)[g] >= 0) {
                W_(bt_row)(b, q);
#pragma GCC unroll 8
                for (int j = 0; j < TA; j++) *(vf *)(v + (W_(row1)[g] * TA + j) * VS) = q[j];
            }
        }
        v += VL;
#pragma GCC unroll 8
        for (int i = 0; i < TA; i++) r[i] += 4 * VL;
    }
}

// Where a tile lies: its picture, and its first output row and column.
typedef struct { int n, y, x; } W_(tile);
INL W_(tile) W_(where)(const cpu_wino *J, int t) {
    const int TW = (J->W + TM - 1) / TM, TH = (J->H + TM - 1) / TM;
    return (W_(tile)){t / (TH * TW), t / TW % TH * TM, t % TW * TM};
}

NOINLINE void W_(in_tile)(const cpu_wino *J, int t, float *v, long vchunk) {
    const int H = J->H, W = J->W, C = J->C;
    const W_(tile) at = W_(where)(J, t);
    const int y0 = at.y - 1, x0 = at.x - 1;
    const char *rows[TA];
    if (!J->xbits && y0 >= 0 && x0 >= 0 && y0 + TA <= H && x0 + TA <= W) {
        for (int i = 0; i < TA; i++) rows[i] = (const char *)(J->x + (((long)at.n * H + y0 + i) * W + x0) * C);
        for (int c = 0; c < C; c += KC) {
            W_(in64)(rows, (long)C * 4, v + c / KC * vchunk);
            for (int i = 0; i < TA; i++) rows[i] += KC * 4;
        }
        return;
    }
    // The border, or a gradient behind a pool: gather the patch, 64 channels at a time.
    static const float zero[512];
    static const uint8_t zbits[64];
    const float *src[NXI];
    const uint8_t *bits[NXI];
    const int He = J->xbits ? H & ~1 : H, We = J->xbits ? W & ~1 : W; // a pool drops an odd last row and column
    for (int i = 0; i < NXI; i++) {
        const int y = y0 + i / TA, x = x0 + i % TA;
        src[i] = zero;
        bits[i] = zbits;
        if (y < 0 || x < 0 || y >= He || x >= We) continue;
        if (J->xbits) {
            src[i] = J->x + (((long)at.n * (H / 2) + y / 2) * (W / 2) + x / 2) * C;
            bits[i] = J->xbits + (((long)at.n * H + y) * W + x) * (C / 8);
        } else {
            src[i] = J->x + (((long)at.n * H + y) * W + x) * C;
        }
    }
    float patch[NXI * KC] __attribute__((aligned(64)));
    for (int i = 0; i < TA; i++) rows[i] = (const char *)(patch + i * TA * KC);
    for (int c = 0; c < C; c += KC) {
        for (int i = 0; i < NXI; i++) {
            const float *s = src[i] + (src[i] == zero ? 0 : c);
            float *d = patch + i * KC;
            HIDE(d);
            if (J->xbits) {
                const uint8_t *b = bits[i] + (bits[i] == zbits ? 0 : c / 8);
#pragma GCC unroll 8
                for (int k = 0; k < KC; k += VL) *(vf *)(d + k) = v_gate(load_bits(b + k / 8), *(const vf *)(s + k));
            } else {
#pragma GCC unroll 8
                for (int k = 0; k < KC; k += VL) *(vf *)(d + k) = *(const vf *)(s + k);
            }
        }
        W_(in64)(rows, KC * 4, v + c / KC * vchunk);
    }
}

// Tiles [t0,t0+T) in panels of at most MR, evenly filled; panels [p0,p1) are transformed.
static void W_(transform)(const cpu_wino *J, float *V, int t0, int T, int p0, int p1) {
    const int NP = (T + MR - 1) / MR, mr = (T + NP - 1) / NP;
    const long vchunk = W_(vchunk)(T);
    for (int p = p0; p < p1; p++)
        for (int r = 0; r < mr && p * mr + r < T; r++) W_(in_tile)(J, t0 + p * mr + r, V + p * VP + r * KC, vchunk);
}

// ---- output transform and epilogue of one tile, one vector of channels. fl is a constant in every instance.
enum { W_(FWD) = 1, W_(YST) = 2, W_(POOL) = 4, W_(GATE) = 8, W_(ACC) = 16, W_(MAX) = 32 };
INL void W_(out_vec)(const cpu_wino *J, const float *m, W_(tile) at, int k, const int fl) {
    const int H = J->H, W = J->W, K = J->K;
    const int full = at.y + TM <= H && at.x + TM <= W;
    vf bias = {0}, pool[TM / 2][TM / 2];
    vbits above[TM / 2][TM / 2][4]; // maximum: which channels of a window's values exceed those before, row by row
    if (fl & W_(FWD)) bias = *(const vf *)(J->bias + k);
#pragma GCC unroll 2
    for (int g = 0; g < OGROUP; g++) {
        vf q[OROWS][TA];
#pragma GCC unroll 8
        for (int j = 0; j < TA; j++) {
            vf s[OROWS];
            W_(at_col)(m + j * NR, TA * NR, g, s);
#pragma GCC unroll 8
            for (int i = 0; i < OROWS; i++) q[i][j] = s[i];
        }
#pragma GCC unroll 8
        for (int i = 0; i < OROWS; i++) {
            const int r = OROW(g, i);
            vf o[TM];
            W_(at_row)(q[i], o);
            const long px = ((long)at.n * H + at.y + r) * W + at.x;
#pragma GCC unroll 8
            for (int c = 0; c < TM; c++) {
                vf v = o[c];
                if (fl & W_(FWD)) {
                    v += bias;
                    if (J->relu) v = v_relu(v);
                }
                if (full || (at.y + r < H && at.x + c < W)) {
                    float *y = J->y + (px + c) * K + k;
                    const long b = (px + c) * (K / 8) + k / 8;
                    if ((fl & W_(FWD)) && !(fl & W_(MAX)) && J->ybits) store_bits(J->ybits + b, v_positive(v));
                    if (fl & W_(ACC)) v += *(const vf *)y;
                    if (fl & W_(GATE)) v = v_gate(load_bits(J->gate + b), v);
                    if (fl & W_(YST)) *(vf *)y = v;
                }
                if (fl & W_(POOL)) { // even rows come before odd rows in both tile sizes
                    if (!(r & 1) && !(c & 1)) {
                        pool[r / 2][c / 2] = v;
                    } else if (fl & W_(MAX)) { // a NaN exceeds any number
                        const vf most = pool[r / 2][c / 2];
                        const vi over = (v > most) | (v != v);
                        pool[r / 2][c / 2] = (vf)(((vi)v & over) | ((vi)most & ~over));
                        above[r / 2][c / 2][r % 2 * 2 + c % 2] = v_lanes(over);
                    } else {
                        pool[r / 2][c / 2] += v;
                    }
                }
            }
        }
    }
    if (fl & W_(POOL)) {
        const int Hp = H / 2, Wp = W / 2;
#pragma GCC unroll 8
        for (int r = 0; r < TM / 2; r++)
#pragma GCC unroll 8
            for (int c = 0; c < TM / 2; c++)
                if (full || (at.y / 2 + r < Hp && at.x / 2 + c < Wp))
                    *(vf *)(J->ypool + (((long)at.n * Hp + at.y / 2 + r) * Wp + at.x / 2 + c) * K + k) =
                        (fl & W_(MAX) ? 1.f : .25f) * pool[r][c];
        if ((fl & W_(MAX)) && J->ybits) {
#pragma GCC unroll 8
            for (int r = 0; r < TM / 2; r++)
#pragma GCC unroll 8
                for (int c = 0; c < TM / 2; c++) {
                    const int y = at.y + 2 * r, x = at.x + 2 * c;
                    vbits left = 0; // the channels whose maximum lies at this value or before; none in a window cut short
                    if (full || (y + 1 < H && x + 1 < W)) left = v_positive(pool[r][c]);
#pragma GCC unroll 4
                    for (int i = 3; i >= 0; i--) {
                        const vbits here = i ? left & above[r][c][i] : left;
                        left &= ~here;
                        if (full || (y + i / 2 < H && x + i % 2 < W))
                            store_bits(J->ybits + (((long)at.n * H + y + i / 2) * W + x + i % 2) * (K / 8) + k / 8, here);
                    }
                }
        }
    }
}
#define OUT(fl)                                                                                                   \
    NOINLINE void W_(out_##fl)(const cpu_wino *J, const float *M, int t0, int T, int k) {                        \
        for (int t = 0; t < T; t++) {                                                                             \
            const W_(tile) at = W_(where)(J, t0 + t);                                                             \
            for (int j = 0; j < NR; j += VL) W_(out_vec)(J, M + (long)t * MS + j, at, k + j, fl);                 \
        }                                                                                                         \
    }
OUT(2) OUT(3) OUT(5) OUT(7) OUT(10) OUT(18) OUT(26) OUT(37) OUT(39)
static void W_(output)(const cpu_wino *J, const float *M, int t0, int T, int k) {
    const int fl = (J->bias ? 1 : 0) | (J->y ? 2 : 0) | (J->ypool ? 4 : 0) | (J->gate ? 8 : 0) | (J->accumulate ? 16 : 0) |
                   (J->maxpool ? 32 : 0);
    switch (fl) {
    case 2: W_(out_2)(J, M, t0, T, k); break;
    case 3: W_(out_3)(J, M, t0, T, k); break;
    case 5: W_(out_5)(J, M, t0, T, k); break;
    case 7: W_(out_7)(J, M, t0, T, k); break;
    case 10: W_(out_10)(J, M, t0, T, k); break;
    case 18: W_(out_18)(J, M, t0, T, k); break;
    case 26: W_(out_26)(J, M, t0, T, k); break;
    case 37: W_(out_37)(J, M, t0, T, k); break;
    case 39: W_(out_39)(J, M, t0, T, k); break;
    }
}

// ---- products and outputs of panels [n0,n1) of NR output channels for tiles [t0,t0+T). Panels go in groups of 32
// channels, so that one slice of V, in the L1, meets all of a group.
#define NB (32 / NR)
static void W_(multiply)(const cpu_wino *J, const float *V, float *M, int t0, int T, int n0, int n1) {
    const int C = J->C, nk = C / KC, NP = (T + MR - 1) / MR, mr = (T + NP - 1) / NP;
    const long up = (long)C * NR, vchunk = W_(vchunk)(T);
    int off[8];
    for (int q = 0; q < nk; q++) off[q] = q * vchunk;
    for (int g0 = n0; g0 < n1; g0 += NB) {
        const int g1 = g0 + NB < n1 ? g0 + NB : n1;
        for (int xi = 0; xi < NXI; xi++)
            for (int n = g0; n < g1; n++) {
                const float *B = J->U + ((long)n * NXI + xi) * up;
                const float *next = n + 1 < g1 ? B + NXI * up : B - (long)(n - g0) * NXI * up + up;
                float *Mn = M + (long)(n - g0) * T * MS + xi * NR;
                for (int p = 0; p < NP; p++) {
                    const float *A = V + xi * VS + p * VP;
                    const float *na = p + 1 < NP ? A + VP : n + 1 < g1 ? V + xi * VS : V + (xi + 1 < NXI ? xi + 1 : 0) * VS;
                    const int r = T - p * mr < mr ? T - p * mr : mr;
                    // a call prefetches half of a weight panel: the first two panels of tiles fetch all of the next
                    micros[r](A, off, nk, B, Mn + (long)p * mr * MS, MS, (const char *)na,
                              (const char *)(p < 2 ? next + p * up / 2 : B));
                }
            }
        for (int n = g0; n < g1; n++) W_(output)(J, M + (long)(n - g0) * T * MS, t0, T, n * NR);
    }
}

static const cpu_wino_fns W_(wino) = {TM, W_(pack), W_(vsize), W_(msize), W_(transform), W_(multiply)};

#undef NB
#undef TA
#undef NXI
#undef W_
#undef NGROUP
#undef OGROUP
#undef OROWS
#undef OROW
#undef VS
#undef VP
#undef MS
#undef OUT
#undef TM
