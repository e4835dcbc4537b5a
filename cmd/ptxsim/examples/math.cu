// Every mathematical function of CUDA C++, in float and double, against the host's in long
// double. The bounds are those of the CUDA C++ Programming Guide, appendix Mathematical
// Functions: units in the last place from the correctly rounded result.
#include <cfloat>
#include <cmath>
#include <cstdio>
#include <vector>

typedef long double real;

static real pi() { return acosl(-1.0L); }
static real inverse(real (*f)(real), real y, real lo, real hi) { // f rises
    for (int i = 0; i < 200; i++) {
        const real mid = (lo + hi) / 2;
        (f(mid) < y ? lo : hi) = mid;
    }
    return (lo + hi) / 2;
}
static real falling(real x) { return -erfcl(x); }
static real normal(real x) { return erfcl(-x / sqrtl(2)) / 2; }

// What the host has not.
static real r_rsqrt(real x) { return 1 / sqrtl(x); }
static real r_rcbrt(real x) { return 1 / cbrtl(x); }
static real r_exp10(real x) { return powl(10, x); }
static real r_sinpi(real x) { return sinl(pi() * remainderl(x, 2)); }
static real r_cospi(real x) { return cosl(pi() * remainderl(x, 2)); }
static real r_erfinv(real y) { return y < 0 ? -inverse(erfl, -y, 0, 8) : inverse(erfl, y, 0, 8); }
static real r_erfcinv(real y) { return inverse(falling, -y, -8, 30); }
static real r_erfcx(real x) { return expl(x * x) * erfcl(x); }
static real r_normcdfinv(real y) { return inverse(normal, y, -40, 40); }
static real r_rhypot(real x, real y) { return 1 / hypotl(x, y); }

// name, the host's, from, to, bound in float, bound in double
#define ONE(F)                                                                                    \
    F(sqrt, sqrtl, 1e-3, 1e4, 0, 0) F(rsqrt, r_rsqrt, 1e-3, 1e4, 2, 1)                             \
    F(cbrt, cbrtl, -1e3, 1e3, 1, 1) F(rcbrt, r_rcbrt, 1e-3, 1e3, 1, 1)                             \
    F(exp, expl, -80, 80, 2, 1) F(exp2, exp2l, -100, 100, 2, 1) F(exp10, r_exp10, -30, 30, 2, 1)   \
    F(expm1, expm1l, -5, 40, 1, 1)                                                                 \
    F(log, logl, 1e-4, 1e6, 1, 1) F(log2, log2l, 1e-4, 1e6, 1, 1) F(log10, log10l, 1e-4, 1e6, 2, 1) \
    F(log1p, log1pl, -0.9, 1e4, 1, 1)                                                              \
    F(sin, sinl, -1e6, 1e6, 2, 2) F(cos, cosl, -1e6, 1e6, 2, 2) F(tan, tanl, -1e4, 1e4, 4, 2)      \
    F(sinpi, r_sinpi, -9, 9, 2, 2) F(cospi, r_cospi, -9, 9, 2, 2)                                  \
    F(asin, asinl, -1, 1, 4, 2) F(acos, acosl, -1, 1, 3, 2) F(atan, atanl, -50, 50, 2, 2)          \
    F(sinh, sinhl, -80, 80, 3, 2) F(cosh, coshl, -80, 80, 2, 1) F(tanh, tanhl, -9, 9, 2, 1)        \
    F(asinh, asinhl, -1e5, 1e5, 3, 3) F(acosh, acoshl, 1, 1e5, 4, 3) F(atanh, atanhl, -0.99, 0.99, 3, 2) \
    F(erf, erfl, -4, 4, 2, 2) F(erfc, erfcl, -4, 9, 6, 5) F(erfinv, r_erfinv, -0.999, 0.999, 2, 5) \
    F(erfcinv, r_erfcinv, 1e-6, 1.9, 4, 6) F(erfcx, r_erfcx, -5, 30, 4, 4)                         \
    F(normcdf, normal, -9, 6, 5, 5) F(normcdfinv, r_normcdfinv, 1e-6, 0.999, 5, 8)                 \
    F(lgamma, lgammal, 0.1, 100, 6, 4) F(tgamma, tgammal, 0.1, 30, 11, 10)
#define TWO(F)                                                                                    \
    F(hypot, hypotl, -1e4, 1e4, 3, 2) F(rhypot, r_rhypot, -1e4, 1e4, 2, 1)                         \
    F(atan2, atan2l, -1e3, 1e3, 3, 2) F(pow, powl, 0.01, 20, 9, 2)                                 \
    F(fmod, fmodl, -1e4, 1e4, 0, 0) F(remainder, remainderl, -1e4, 1e4, 0, 0)

#define K1(name, host, lo, hi, bf, bd)                                                                     \
    __global__ void k_##name(const float* x, const float*, float* r, int n) {                              \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                                            \
        if (i < n) r[i] = name##f(x[i]);                                                                   \
    }                                                                                                   \
    __global__ void k_##name(const double* x, const double*, double* r, int n) {                           \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                                            \
        if (i < n) r[i] = name(x[i]);                                                                      \
    }
#define K2(name, host, lo, hi, bf, bd)                                                                     \
    __global__ void k_##name(const float* x, const float* y, float* r, int n) {                            \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                                            \
        if (i < n) r[i] = name##f(x[i], y[i]);                                                             \
    }                                                                                                   \
    __global__ void k_##name(const double* x, const double* y, double* r, int n) {                         \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                                            \
        if (i < n) r[i] = name(x[i], y[i]);                                                                \
    }
ONE(K1)
TWO(K2)

static real gap(float x) { return (real)nextafterf(fabsf(x), INFINITY) - fabsf(x); }
static real gap(double x) { return (real)nextafter(fabs(x), (double)INFINITY) - fabs(x); }

static int functions, bad;

// worst runs a function on values that are spread over a range, dense around zero, and
// returns the largest distance from the rounded truth, in units in the last place.
template <typename T, typename Truth>
static real worst(void (*kernel)(const T*, const T*, T*, int), Truth truth, real lo, real hi) {
    const int n = 512;
    std::vector<T> x(n), y(n), r(n);
    unsigned s = 12345;
    auto next = [&] { return (real)((s = s * 1664525u + 1013904223u) >> 8) / (1 << 24); };
    for (int i = 0; i < n; i++) {
        const real u = i % 2 ? next() : next() * next() * next();
        x[i] = (T)(lo + (hi - lo) * next());
        y[i] = (T)(lo + (hi - lo) * next());
        if (lo < 0 && i % 2 == 0) x[i] = (T)((next() < 0.5L ? lo : hi) * u);
        if (lo > 0 && i % 2 == 0) x[i] = (T)(lo * powl(hi / lo, u));
        if (y[i] == 0) y[i] = 1;
    }
    T *dx, *dy, *dr;
    cudaMalloc(&dx, n * sizeof(T)), cudaMalloc(&dy, n * sizeof(T)), cudaMalloc(&dr, n * sizeof(T));
    cudaMemcpy(dx, x.data(), n * sizeof(T), cudaMemcpyHostToDevice);
    cudaMemcpy(dy, y.data(), n * sizeof(T), cudaMemcpyHostToDevice);
    kernel<<<(n + 127) / 128, 128>>>(dx, dy, dr, n);
    if (cudaMemcpy(r.data(), dr, n * sizeof(T), cudaMemcpyDeviceToHost) != cudaSuccess) return HUGE_VALL;
    cudaFree(dx), cudaFree(dy), cudaFree(dr);
    real most = 0;
    for (int i = 0; i < n; i++) {
        const T want = (T)truth(x[i], y[i]);
        const real d = fabsl((real)r[i] - want) / gap(want);
        if (!(d <= most)) most = d;
    }
    return most;
}

static void judge(const char* name, const char* type, real most, int bound) {
    functions++;
    const bool wrong = !(most <= bound);
    bad += wrong;
    printf("%-12s %-6s %5.2Lf of %d ulp%s\n", name, type, most, bound, wrong ? "  WRONG" : "");
}

int main() {
#define R1(name, host, lo, hi, bf, bd)                                                                        \
    judge(#name, "float", worst<float>(k_##name, [](real x, real) { return (real)host(x); }, lo, hi), bf);       \
    judge(#name, "double", worst<double>(k_##name, [](real x, real) { return (real)host(x); }, lo, hi), bd);
#define R2(name, host, lo, hi, bf, bd)                                                                        \
    judge(#name, "float", worst<float>(k_##name, [](real x, real y) { return (real)host(x, y); }, lo, hi), bf);  \
    judge(#name, "double", worst<double>(k_##name, [](real x, real y) { return (real)host(x, y); }, lo, hi), bd);
    ONE(R1)
    TWO(R2)
    printf("%d functions, %d wrong\n", functions, bad);
    return bad != 0;
}
