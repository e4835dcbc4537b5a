// ptx: sm_90a
#include <cstdint>
#include <cuda.h>
#include <cuda_fp16.h>
// conv3x3 pad 1 NHWC fp16, implicit GEMM on sm_90a: TMA *tile* mode (the shifted box with OOB zero fill is the padding),
// 128B swizzle, 4-stage full/empty mbarrier ring, 1 producer + 2 consumer warpgroups, wgmma m64n128k16, stmatrix + TMA store.
#define STAGES 4
#define TW 16
#define TH 8
#define BN 128
#define BK 64
struct __align__(1024) Smem { __half a[STAGES][TH * TW * BK]; __half b[STAGES][BN * BK]; __half c[2][2][64 * 64]; uint64_t full[STAGES], empty[STAGES]; };
__device__ __forceinline__ uint32_t sptr(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void mb_init(uint32_t b, int n) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(b), "r"(n) : "memory"); }
__device__ __forceinline__ void mb_expect(uint32_t b, int n) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(b), "r"(n) : "memory"); }
__device__ __forceinline__ void mb_arrive(uint32_t b) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(b) : "memory"); }
__device__ __forceinline__ void mb_wait(uint32_t b, int ph) {
  asm volatile("{\n.reg .pred p;\nLW:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra LD;\nbra LW;\nLD:\n}" :: "r"(b), "r"(ph) : "memory");
}
__device__ __forceinline__ uint64_t desc(uint32_t a) { return (uint64_t)((a & 0x3FFFF) >> 4) | (1ull << 16) | (64ull << 32) | (1ull << 62); }
#define F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F16(i) F4(i), F4(i + 4), F4(i + 8), F4(i + 12)
__device__ __forceinline__ void wgmma(float* d, uint64_t da, uint64_t db, int acc) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
    "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
    "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
    "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63},"
    " %64, %65, p, 1, 1, 0, 0;\n}"
    : F16(0), F16(16), F16(32), F16(48) : "l"(da), "l"(db), "r"(acc));
}
extern "C" __global__ __launch_bounds__(384, 1) void conv3x3_wgmma(const __grid_constant__ CUtensorMap tx, const __grid_constant__ CUtensorMap tw,
    const __grid_constant__ CUtensorMap ty, const float* __restrict__ bias, int C, int relu) {
  extern __shared__ __align__(1024) unsigned char raw[];
  Smem& s = *reinterpret_cast<Smem*>(raw);
  int wg = threadIdx.x >> 7, t = threadIdx.x & 127;
  int w0 = blockIdx.x * TW, h0 = blockIdx.y * TH, n0 = blockIdx.z * BN;
  int kc = C / BK, kt = 9 * kc;
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) { mb_init(sptr(&s.full[i]), 1); mb_init(sptr(&s.empty[i]), 2); }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("prefetch.tensormap [%0];" :: "l"(&tx) : "memory");
  }
  __syncthreads();
  asm volatile("griddepcontrol.wait;" ::: "memory");
  if (wg == 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (t == 0) {
      for (int it = 0; it < kt; it++) {
        int st = it % STAGES, r = it / STAGES, tap = it / kc, c0 = (it - tap * kc) * BK;
        uint32_t fb = sptr(&s.full[st]);
        mb_wait(sptr(&s.empty[st]), (r & 1) ^ 1);
        mb_expect(fb, (TH * TW + BN) * BK * 2);
        asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];"
          :: "r"(sptr(s.a[st])), "l"(&tx), "r"(fb), "r"(c0), "r"(w0 + tap % 3 - 1), "r"(h0 + tap / 3 - 1), "r"(0) : "memory");
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
          :: "r"(sptr(s.b[st])), "l"(&tw), "r"(fb), "r"(tap * C + c0), "r"(n0) : "memory");
      }
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    int cw = wg - 1;
    float d[64];
#pragma unroll
    for (int i = 0; i < 64; i++) d[i] = 0.f;
    for (int it = 0; it < kt; it++) {
      int st = it % STAGES;
      mb_wait(sptr(&s.full[st]), (it / STAGES) & 1);
      uint64_t da = desc(sptr(&s.a[st][cw * 64 * BK])), db = desc(sptr(s.b[st]));
      asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
      for (int k = 0; k < 4; k++) wgmma(d, da + 2 * k, db + 2 * k, it + k);
      asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      if (t == 0) mb_arrive(sptr(&s.empty[st]));
    }
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    // epilogue: bias + relu -> half2 -> stmatrix into two 64x64 swizzled tiles -> TMA store
    int lane = t & 31, w = t >> 5;
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int j = 0; j < 4; j++) {     // 16 channels per step
        uint32_t r[4];
#pragma unroll
        for (int q = 0; q < 4; q++) {   // q&1: +8 rows, q>>1: +8 channels
          int e = h * 32 + j * 8 + (q >> 1) * 4 + (q & 1) * 2, n = n0 + h * 64 + j * 16 + (q >> 1) * 8 + (lane & 3) * 2;
          float u = d[e] + bias[n], v = d[e + 1] + bias[n + 1];
          if (relu) { u = fmaxf(u, 0.f); v = fmaxf(v, 0.f); }
          __half2 p = __floats2half2_rn(u, v); r[q] = *(uint32_t*)&p;
        }
        int row = w * 16 + (lane & 15), ch = j * 2 + (lane >> 4);
        uint32_t a = sptr(s.c[cw][h]) + row * 128 + ((ch ^ (row & 7)) << 4);
        asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" :: "r"(a), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
      }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    asm volatile("bar.sync %0, 128;" :: "r"(cw + 1) : "memory");
    if (t == 0) {
#pragma unroll
      for (int h = 0; h < 2; h++)
        asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];"
          :: "l"(&ty), "r"(sptr(s.c[cw][h])), "r"(n0 + h * 64), "r"(w0), "r"(h0 + cw * 4), "r"(0) : "memory");
      asm volatile("cp.async.bulk.commit_group;" ::: "memory");
      asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
    }
  }
}
// opcode sampler for clusters / DSMEM / multicast / im2col / bulk reduce
extern "C" __global__ __cluster_dims__(2, 1, 1) __launch_bounds__(128) void cluster_sampler(const __grid_constant__ CUtensorMap tx, float* out) {
  __shared__ __align__(1024) __half tile[128 * 64];
  __shared__ __align__(8) uint64_t bar;
  __shared__ float part;
  uint32_t rank; asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  if (threadIdx.x == 0) { mb_init(sptr(&bar), 1); asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
  if (threadIdx.x == 0) {
    mb_expect(sptr(&bar), sizeof(tile));
    if (rank == 0) asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8}, %9;"
      :: "r"(sptr(tile)), "l"(&tx), "r"(sptr(&bar)), "r"(0), "r"(-1), "r"(-1), "r"(0), "h"((short)1), "h"((short)2), "h"((short)3) : "memory");
  }
  mb_wait(sptr(&bar), 0);
  float s = 0; for (int i = threadIdx.x; i < 128 * 64; i += 128) s += __half2float(tile[i]);
  if (threadIdx.x == 0) part = 0; __syncthreads(); atomicAdd(&part, s);
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
  if (rank == 0 && threadIdx.x == 0) {
    uint32_t rem; float o; asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(rem) : "r"(sptr(&part)), "r"(1));
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(o) : "r"(rem));
    atomicAdd(out, part + o);
  }
  asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}
