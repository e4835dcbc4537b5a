// C = A*B, row-major, 64x64x16 tiles, 4x4 a thread: barriers and vector accesses of shared memory.
// ptx: sm_80
extern "C" __global__ __launch_bounds__(256) void sgemm(float* __restrict__ C, const float* __restrict__ A, const float* __restrict__ B, int M, int N, int K) {
  __shared__ __align__(16) float As[16][64 + 4];
  __shared__ __align__(16) float Bs[16][64];
  int tid = threadIdx.x, tx = tid & 15, ty = tid >> 4;
  int m0 = blockIdx.y * 64, n0 = blockIdx.x * 64;
  int ar = tid >> 2, ak = (tid & 3) * 4, bk = tid >> 4, bn = (tid & 15) * 4;
  float acc[4][4] = {};
  for (int k0 = 0; k0 < K; k0 += 16) {
    float4 a = *(const float4*)&A[(size_t)(m0 + ar) * K + k0 + ak];
    float4 b = *(const float4*)&B[(size_t)(k0 + bk) * N + n0 + bn];
    As[ak + 0][ar] = a.x; As[ak + 1][ar] = a.y; As[ak + 2][ar] = a.z; As[ak + 3][ar] = a.w;
    *(float4*)&Bs[bk][bn] = b;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 16; k++) {
      float4 u = *(const float4*)&As[k][ty * 4], v = *(const float4*)&Bs[k][tx * 4];
      float ua[4] = {u.x, u.y, u.z, u.w}, va[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) acc[i][j] = fmaf(ua[i], va[j], acc[i][j]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
    *(float4*)&C[(size_t)(m0 + ty * 4 + i) * N + n0 + tx * 4] = make_float4(acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
}
