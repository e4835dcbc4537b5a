// cpu.h - interface of the CPU's loops. All tensors are fp32, NHWC, one picture; callers cut the work into
// rows, pixels or elements and call from as many threads as they like: no function keeps state.
#ifndef STYLIZE_CPU_H
#define STYLIZE_CPU_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// One Winograd convolution, forward or backward-data (the same code: only the weights differ). See wino.h.
typedef struct {
    int N, H, W, C, K;     // pictures, extent of input and output, channels in and out (multiples of 64)
    int relu;              // forward: max(., 0)
    int maxpool;           // forward: ypool is the maximum, ybits where it lies
    int accumulate;        // backward: y += instead of y =
    const float *x;        // (N,H,W,C); with xbits: the gradient behind a 2x2 pool, (N,H/2,W/2,C)
    const uint8_t *xbits;  // ybits (N,H,W,C/8) of the convolution before that pool, or NULL
    const float *U;        // packed weights
    const float *bias;     // forward: (K); NULL: backward
    float *y;              // (N,H,W,K) or NULL
    float *ypool;          // forward: 2x2 average or maximum of y, (N,H/2,W/2,K), or NULL
    uint8_t *ybits;        // forward: which values of y are positive, with maxpool: and the first maximum of
                           // their window; (N,H,W,K/8), or NULL
    const uint8_t *gate;   // backward: sign bits that gate y, or NULL
} cpu_wino;

// The phases of F(tile x tile, 3x3); tiles count through all pictures. See wino.h.
typedef struct {
    int tile;
    void (*pack)(const float *w, int Co, int Ci, int rot, double scale, float *U, int n0, int n1);
    long (*vsize)(int C, int T); // floats of V for T tiles
    long (*msize)(int T);        // floats of M
    void (*transform)(const cpu_wino *J, float *V, int t0, int T, int p0, int p1);
    void (*multiply)(const cpu_wino *J, const float *V, float *M, int t0, int T, int n0, int n1);
} cpu_wino_fns;

// ---- bf16 on matrix tiles (bf16.h, tile.h). A map holds features: (C/32, pixels, 32) with pads; see bf16.h. Bits are 32 a word,
// (C/32, H, W).
enum { MAP_TAIL = 40 };
static inline long cpu_map_pixels(int H, int W) { return (long)(H + 3) * (W + 1) + MAP_TAIL + 1; }
enum { UNPOOL_NONE, UNPOOL_MEAN, UNPOOL_MAX }; // with UNPOOL_MAX the gate says where the maximum was
enum { MAX_ADDENDS = 4 };

// One convolution and what is fused with it; the pointers are those of the first picture.
//
//	fprop (bias)   y = relu(conv(x) + bias), ybits = y > 0, ypool = pool(y); each of the three where it is not NULL
//	dgrad          y = gate(unpool(conv(x) + f fw + addends)); C may be 0: no convolution
//	image          dgrad to three channels
typedef struct {
    int N, H, W, C, K; // pictures, extent of x and of the sums, channels in (multiple of 32) and out (multiple of 32, or 3)
    const uint16_t *x, *w;
    const float *bias;
    int relu, maxpool; // maxpool: of ypool, and of ybits, which say where the maximum is, if that is positive
    uint16_t *y, *ypool;
    uint32_t *ybits;
    const uint16_t *f, *fw; // features of the result and what they are multiplied with: the style gradient
    const uint16_t *addend[MAX_ADDENDS];
    int addends;
    int unpool, YH, YW; // extent of y with unpool
    const uint32_t *gate; // of y
    float *image; // (N,H,W,3)
    int stream;   // y is large and read much later: write around the caches
} cpu_bf16_conv;

typedef struct {
    const char *name; // "amx", or that of the twin
    double peak;      // what probe_peak's inner loop counts
    void (*pack)(const float *w, int Co, int Ci, int dgrad, uint16_t *out, int block);
    void (*pack_first)(const float *w, uint16_t *out);
    void (*pack_gram)(const float *g, int C, float scale, uint16_t *out, int n0, int n1);
    void (*conv)(const cpu_bf16_conv *k, int y0, int y1, int n0, int n1, int columns);
    void (*first)(const float *x, const uint16_t *w, const float *bias, uint16_t *y, uint32_t *bits, int H, int W, int y0, int y1,
                  uint16_t *strip);
    void (*gram)(const uint16_t *map, float *g, int H, int W, int C, long p0, long p1, uint16_t *work);
    void (*from_plain)(const float *x, uint16_t *map, int H, int W, int C, int y0, int y1);
    void (*to_plain)(const uint16_t *map, float *x, int H, int W, int C, int y0, int y1);
    double (*mse_fwd)(const uint16_t *map, const float *target, int H, int W, int C, int y0, int y1);
    void (*mse_bwd)(const uint16_t *map, const float *target, float scale, uint16_t *y, int H, int W, int C, int y0, int y1);
    void (*mul)(const uint16_t *map, const float *mask, uint16_t *y, int H, int W, int C, int y0, int y1);
    float (*probe_peak)(long rounds);
    void (*dot)(float *c, const uint16_t *a, const uint16_t *b); // one product of tiles
} cpu_bf16;

static inline void cpu_bf16_pack_first(const cpu_bf16 *f, const float *w, uint16_t *out) { f->pack_first(w, out); }
static inline void cpu_bf16_dot(const cpu_bf16 *f, float *c, const uint16_t *a, const uint16_t *b) { f->dot(c, a, b); }

// cpu_bf16_amx returns the loops that use AMX, or NULL where the processor, the kernel or the build lacks it.
const cpu_bf16 *cpu_bf16_amx(void);

// The convolutions and products, which do most of the arithmetic, exist once per instruction set.
typedef struct {
    const char *name;
    int nr;      // width of a weight panel: output channels that one register tile computes
    int mr;      // rows of the matrix microkernel: tiles of a panel of V
    double peak; // what probe_peak's inner loop counts: floating-point operations per call

    // Rows [row0,row1) of y = conv3x3(x, w) + bias, then max(.,0) if relu. x is H x W x C, y H x W x K;
    // w packed [ceil(K/nr)][tap][C][nr], zero-filled; bias padded to a multiple of nr.
    void (*conv3x3)(const float *x, const float *w, const float *bias, float *y, int H, int W, int C, int K,
                    int relu, int row0, int row1);
    // Rows [p0,p1) of y = f * s: f is P x C, y P x K; s packed [ceil(K/nr)][C][nr].
    void (*gemm)(const float *f, const float *s, float *y, int C, int K, long p0, long p1);
    // g[i][j] = sum over pixels [p0,p1) of f[p][i] * f[p][j], for i in [i0,i1), j in [i0,C). g is C x C.
    void (*gram)(const float *f, float *g, int C, int i0, int i1, long p0, long p1);

    const cpu_wino_fns *f4, *f6;

    // conv1_1: rows [row0,row1) of y = relu(conv(x) + bias) and its sign bits (may be NULL); and of dx from dy.
    void (*first_pack)(const float *w, float *fprop, float *dgrad); // 27*64 and 32*64 floats
    void (*first_fprop)(const float *x, const float *U, const float *bias, float *y, uint8_t *bits, int H, int W,
                      int row0, int row1, float *strip); // strip: 3*(W+2)*3 floats
    void (*first_dgrad)(const float *dy, const float *U, float *dx, int H, int W, int row0, int row1,
                      float *ring); // ring: 3*(W+2)*32 floats

    // sums[i * nb + j] += the product of a[i] and b[j], n values each.
    void (*dots)(const float *const *a, int na, const float *const *b, int nb, long n, double *sums);

    // Independent multiply-adds in registers, `rounds` times `peak` operations: the processor's limit.
    float (*probe_peak)(long rounds);

    const cpu_bf16 *bf16; // on the twin
} cpu_isa;

// cpu_isa_named returns the set ("avx512", "avx2", "base") or NULL when this processor or build lacks it.
const cpu_isa *cpu_isa_named(const char *name);

static inline long cpu_wino_vsize(const cpu_wino_fns *f, int C, int T) { return f->vsize(C, T); }
static inline long cpu_wino_msize(const cpu_wino_fns *f, int T) { return f->msize(T); }
static inline void cpu_first_pack(const cpu_isa *isa, const float *w, float *fprop, float *dgrad) {
    isa->first_pack(w, fprop, dgrad);
}

// ---- threads, and each heavy step cut for them (pool.c). A pool runs one step at a time.
typedef struct cpu_pool cpu_pool;
// NULL without memory. Thread i stays on processor first + i of those that this process may use, round and round;
// with first < 0 threads run wherever the system puts them, and so they do where cpu_can_pin is false.
cpu_pool *cpu_pool_new(int threads, int first);
bool cpu_can_pin(void);
void cpu_pool_free(cpu_pool *p);
// Blocks of `size` tiles, work holding V and M a thread; or, shared, one V and M a thread.
void cpu_run_wino(cpu_pool *p, const cpu_isa *isa, const cpu_wino_fns *fns, const cpu_wino *job, float *work,
                   int tiles, int size, int shared);
void cpu_run_pack(cpu_pool *p, const cpu_isa *isa, const cpu_wino_fns *fns, const float *w, int Co, int Ci, int rot,
                   double scale, float *U);
// Blocks of `size` rows of N pictures.
void cpu_run_conv3x3(cpu_pool *p, const cpu_isa *isa, const float *x, const float *w, const float *bias, float *y,
                      int N, int H, int W, int C, int K, int relu, int size);
void cpu_run_first(cpu_pool *p, const cpu_isa *isa, int dgrad, const float *x, const float *w, const float *bias,
                    float *y, uint8_t *bits, int N, int H, int W, int size, float *work, long worklen);
// g = f^T f / (C pixels), in slices of the pixels with a C x C triangle of work each.
void cpu_run_gram_fwd(cpu_pool *p, const cpu_isa *isa, const float *f, float *g, float *work, int C, long pixels,
                   int slices);
// y = f (g + g^T) / (C pixels); work holds the packed matrix: C rounded up to nr, times C.
void cpu_run_gram_bwd(cpu_pool *p, const cpu_isa *isa, const float *f, const float *g, float *y, float *work, int C,
                        long pixels);

// ---- bf16 (bf16.c): fns are a set's own or those of AMX
// Strips of `strip` rows, even; blocks of `columns` pixels, a multiple of 16; groups of `group` channels out, a multiple of 32.
void cpu_run_bf16_conv(cpu_pool *p, const cpu_bf16 *fns, const cpu_bf16_conv *k, int strip, int columns, int group);
// work: cpu_bf16_strip values a thread.
void cpu_run_bf16_first(cpu_pool *p, const cpu_bf16 *fns, const float *x, const uint16_t *w, const float *bias, uint16_t *y,
                        uint32_t *bits, int N, int H, int W, int strip, uint16_t *work);
static inline long cpu_bf16_strip(int W, int strip) { return (2 * (strip + 2) * (W + 2) * 3L + 63) / 64 * 64; }
// Of one picture. work: slices x C x C floats, and behind them 1024 C bf16 a thread.
void cpu_run_bf16_gram_fwd(cpu_pool *p, const cpu_bf16 *fns, const uint16_t *map, float *g, float *work, int H, int W, int C,
                           int slices);
// (g + g^T) / (C pixels) as the second factor of f G.
void cpu_run_bf16_pack_gram(cpu_pool *p, const cpu_bf16 *fns, const float *g, int C, double pixels, uint16_t *out);
void cpu_run_bf16_pack(cpu_pool *p, const cpu_bf16 *fns, const float *w, int Co, int Ci, int dgrad, uint16_t *out);
// The passes over features, in strips of MAP_STRIP values: between a map and a plain tensor, the sum of squares and the gradient
// of a loss against a plain target, a product with a mask of one value a pixel.
typedef enum { MAP_FROM_PLAIN, MAP_TO_PLAIN, MAP_MSE_FWD, MAP_MSE_BWD, MAP_MUL } cpu_map_pass;
typedef struct {
    cpu_map_pass pass;
    int H, W, C; // of one picture
    const uint16_t *map;
    const float *plain; // from_plain: the source; mse: the target; mul: the mask
    uint16_t *y;
    float *to_plain;
    float scale;
    double *sums; // mse_fwd: one a strip
} cpu_map_job;
enum { MAP_STRIP = 1 << 15 };
static inline int cpu_map_strip(int W, int C) { return 1 + MAP_STRIP / (W * C); } // rows
void cpu_run_bf16_map(cpu_pool *p, const cpu_bf16 *fns, const cpu_map_job *job);
double cpu_run_bf16_peak(cpu_pool *p, const cpu_bf16 *fns, long rounds);

// ---- loops over values, pixels or rows (elementwise.c)
// One Adam step's constants: step_size = lr/(1-beta1^t), sqrt_c2 = sqrt(1-beta2^t); clamp 0 after, 1 before, 2 never.
typedef struct {
    float one_minus_beta1, beta2, one_minus_beta2, step_size, sqrt_c2, eps;
    int clamp;
} cpu_adam_step;
// The operands of a loop on one picture, under the names that they have in an operation; NULL where it has none.
typedef struct {
    float *x, *y, *dx, *dy;
    const float *a, *b, *target, *mask, *gradient;
    float *m, *v, *average;
    const float *mean, *std; // a value a channel
    int H, W, C;             // of x and dx
    int pad, wrap;           // how far y or dy goes beyond every border; mirrored, or with wrap a tile
    float scale;
    cpu_adam_step adam;
} cpu_args;
typedef void (*cpu_loop_fn)(const cpu_args *arg, long i0, long i1, double *sums);
cpu_loop_fn cpu_loop_named(const char *name); // "relu_fwd"; NULL when there is none
// The loop on n units of each picture, in blocks of `size`; sums: `width` values a block, the blocks of a picture together.
void cpu_run_loop(cpu_pool *p, cpu_loop_fn fn, const cpu_args *args, long pictures, long n, long size, double *sums,
                   int width);

// ---- projected L-BFGS (lbfgs.c): the vectors of one picture, n values each, and what the recursion has decided
typedef struct {
    float *x;              // where g was evaluated; step: where the next evaluation is to be
    const float *g;
    float *a, *ga, *d;     // the last point accepted, its gradient, the direction
    float *s, *y, *z;      // slots of s and Py; P f g
    const float *coef;     // direction: of all s, all Py and z
    float smooth, slope;   // P = 1 - smooth B; direction: of ga
    long n;
    int width;             // pixels of a row
    int slots, next;       // next: the slot that the products write the new pair to
    int accept;            // direction: a = x and ga = g first
    float by;              // step: how far along d
} cpu_lbfgs;
typedef enum { LBFGS_PRODUCTS, LBFGS_DIRECTION, LBFGS_STEP } cpu_lbfgs_pass;
// Blocks of `size` values, whole rows; out: `width` values a block, zero before.
void cpu_run_lbfgs(cpu_pool *p, const cpu_isa *isa, cpu_lbfgs_pass pass, const cpu_lbfgs *l, long size, double *out, int width);

// Independent multiply-adds on every thread; returns how many floating-point operations.
double cpu_run_peak(cpu_pool *p, const cpu_isa *isa, long rounds);

// ---- memory outside Go's heap: zeroed, aligned to 2 MB and advised to use huge pages when large; NULL when there is none
void *cpu_alloc(size_t bytes);
void cpu_free(void *p, size_t bytes);

// Memory that nothing may touch for now, and memory that may be touched again. Only a build with
// -fsanitize=address enforces it, by ending the program at the access; cpu_fences says whether this is one.
void cpu_fence(const void *p, size_t bytes, bool shut);
bool cpu_fences(void);
#endif
