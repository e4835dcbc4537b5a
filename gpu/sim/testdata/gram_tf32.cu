// G = F^T F over pixels, tf32 mma.sync, split over pixels by blockIdx.z with float atomics.
// ptx: sm_80
#include <cstdint>
__device__ __forceinline__ uint32_t tf32(float x) { uint32_t r; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x)); return r; }
__device__ __forceinline__ void mma(float* d, const uint32_t* a, const uint32_t* b) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
extern "C" __global__ __launch_bounds__(128) void gram_tf32(float* __restrict__ G, const float* __restrict__ F, int P, int C, int pps, float scale) {
  __shared__ __align__(16) float sa[16][64 + 8], sb[16][64 + 8];
  int t = threadIdx.x, lane = t & 31, wid = t >> 5, g = lane >> 2, q = lane & 3;
  int i0 = blockIdx.y * 64, j0 = blockIdx.x * 64, wm = (wid >> 1) * 32, wn = (wid & 1) * 32;
  int p0 = blockIdx.z * pps, p1 = min(P, p0 + pps);
  float acc[2][4][4] = {};
  for (int p = p0; p < p1; p += 16) {
#pragma unroll
    for (int k = 0; k < 2; k++) {
      int e = t + k * 128, r = e >> 4, c = (e & 15) * 4;
      float4 z = make_float4(0, 0, 0, 0), a = z, b = z;
      if (p + r < p1) { a = *(const float4*)&F[(size_t)(p + r) * C + i0 + c]; b = *(const float4*)&F[(size_t)(p + r) * C + j0 + c]; }
      *(float4*)&sa[r][c] = a; *(float4*)&sb[r][c] = b;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 16; k += 8) {
      uint32_t a[2][4], b[4][2];
#pragma unroll
      for (int i = 0; i < 2; i++) {
        int m = wm + i * 16 + g;
        a[i][0] = tf32(sa[k + q][m]); a[i][1] = tf32(sa[k + q][m + 8]); a[i][2] = tf32(sa[k + q + 4][m]); a[i][3] = tf32(sa[k + q + 4][m + 8]);
      }
#pragma unroll
      for (int j = 0; j < 4; j++) { int n = wn + j * 8 + g; b[j][0] = tf32(sb[k + q][n]); b[j][1] = tf32(sb[k + q + 4][n]); }
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) mma(acc[i][j], a[i], b[j]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 2; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) {
      float* o = &G[(size_t)(i0 + wm + i * 16 + g) * C + j0 + wn + j * 8 + q * 2];
      atomicAdd(o, acc[i][j][0] * scale); atomicAdd(o + 1, acc[i][j][1] * scale);
      atomicAdd(o + 8 * C, acc[i][j][2] * scale); atomicAdd(o + 8 * C + 1, acc[i][j][3] * scale);
    }
}
