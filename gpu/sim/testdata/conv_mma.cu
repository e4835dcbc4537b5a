// ptx: sm_80
#include <cstdint>
#include <cuda_fp16.h>
// conv 3x3, pad 1, stride 1, NHWC fp16, implicit GEMM: M = H*W pixels, N = K output channels, Kdim = 9*C.
// weights [K][3][3][C]. C % 32 == 0, K % 64 == 0. BM=128, BN=64, BK=32, 4 warps (2x2) of 64x32, 3 cp.async stages.
// The same kernel serves dgrad: feed dY as x and the rotated/transposed weights.
#define BM 128
#define BN 64
#define BK 32
#define ST 3
__device__ __forceinline__ uint32_t sptr(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void cp16(uint32_t d, const void* s, int sz) { asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(d), "l"(s), "r"(sz) : "memory"); }
__device__ __forceinline__ void ldsm4(uint32_t* r, uint32_t a) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(a) : "memory");
}
__device__ __forceinline__ void mma(float* d, const uint32_t* a, const uint32_t* b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// 64-byte rows: chunk (16B) index xor ((row>>1)&3) -> conflict-free ldmatrix
__device__ __forceinline__ uint32_t swz(int row, int ch) { return row * 64 + ((ch ^ ((row >> 1) & 3)) << 4); }
extern "C" __global__ __launch_bounds__(128) void conv3x3_mma(__half* __restrict__ y, const __half* __restrict__ x, const __half* __restrict__ w,
    const float* __restrict__ bias, int H, int W, int C, int K, int relu) {
  __shared__ __align__(128) unsigned char sm[ST * (BM + BN) * BK * 2];
  int t = threadIdx.x, lane = t & 31, wid = t >> 5, wm = (wid >> 1) * 64, wn = (wid & 1) * 32;
  int m0 = blockIdx.x * BM, n0 = blockIdx.y * BN, P = H * W;
  uint32_t sA = sptr(sm), sB = sA + ST * BM * BK * 2;
  // each thread copies 4 A chunks (rows t/4 + 32*i) and 2 B chunks per stage
  int ch = t & 3, row = t >> 2, py[4], px[4];
#pragma unroll
  for (int i = 0; i < 4; i++) { int p = m0 + row + 32 * i; py[i] = p < P ? p / W : -100000; px[i] = p % W; }
  int kc = C / BK, kt = 9 * kc;
  auto load = [&](int s, int it) {
    int tap = it / kc, c0 = (it - tap * kc) * BK + ch * 8, dy = tap / 3 - 1, dx = tap % 3 - 1;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int yy = py[i] + dy, xx = px[i] + dx;
      bool ok = (unsigned)yy < (unsigned)H && (unsigned)xx < (unsigned)W;
      const __half* src = x + (ok ? ((size_t)yy * W + xx) * C + c0 : 0);
      cp16(sA + s * BM * BK * 2 + swz(row + 32 * i, ch), src, ok ? 16 : 0);
    }
#pragma unroll
    for (int i = 0; i < 2; i++) { int n = row + 32 * i; cp16(sB + s * BN * BK * 2 + swz(n, ch), w + ((size_t)(n0 + n) * 9 + tap) * C + c0, 16); }
  };
  float acc[4][4][4] = {};
  for (int s = 0; s < ST - 1; s++) { if (s < kt) load(s, s); asm volatile("cp.async.commit_group;" ::: "memory"); }
  for (int it = 0; it < kt; it++) {
    asm volatile("cp.async.wait_group %0;" :: "n"(ST - 2) : "memory");
    __syncthreads();
    int nx = it + ST - 1;
    if (nx < kt) load(nx % ST, nx);
    asm volatile("cp.async.commit_group;" ::: "memory");
    uint32_t a0 = sA + (it % ST) * BM * BK * 2, b0 = sB + (it % ST) * BN * BK * 2;
#pragma unroll
    for (int k = 0; k < 2; k++) {
      uint32_t a[4][4], b[2][4];
#pragma unroll
      for (int i = 0; i < 4; i++) ldsm4(a[i], a0 + swz(wm + i * 16 + (lane & 15), k * 2 + (lane >> 4)));
#pragma unroll
      for (int j = 0; j < 2; j++) ldsm4(b[j], b0 + swz(wn + j * 16 + (lane & 7) + ((lane >> 4) << 3), k * 2 + ((lane >> 3) & 1)));
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) mma(acc[i][j], a[i], &b[j >> 1][(j & 1) * 2]);
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        int p = m0 + wm + i * 16 + (lane >> 2) + h * 8, n = n0 + wn + j * 8 + (lane & 3) * 2;
        float u = acc[i][j][h * 2] + bias[n], v = acc[i][j][h * 2 + 1] + bias[n + 1];
        if (relu) { u = fmaxf(u, 0.f); v = fmaxf(v, 0.f); }
        if (p < P) *(__half2*)&y[(size_t)p * K + n] = __floats2half2_rn(u, v);
      }
}
