// What sm_90a adds: mbarriers, bulk copies by tensor map (TMA), wgmma, clusters, and registers that move between warpgroups.
// Thin wrappers, an instruction or two each. Addresses and barriers are given as addresses in shared memory.
#pragma once
#include <cstdint>
#include <cuda.h>

#include "epilogue.cuh"
#include "overlap.cuh"

// An mbarrier's phase is complete when its arrivals have come and all bytes it was told to expect; the next begins at once.
__device__ __forceinline__ void barrier_init(uint32_t bar, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void barrier_init_done() {   // visible to the cluster and to copies
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// One arrival, and so many bytes more that this phase waits for.
__device__ __forceinline__ void barrier_expect(uint32_t bar, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}
__device__ __forceinline__ void barrier_arrive(uint32_t bar) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}
__device__ __forceinline__ void barrier_arrive_in(uint32_t bar, int rank) {   // the same barrier of another block of the cluster
    asm volatile(
        "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
        "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(bar),
        "r"(rank)
        : "memory");
}
// Until the phase of this parity is complete. Phases count from 0; the one before the first passes for complete.
__device__ __forceinline__ void barrier_wait(uint32_t bar, int parity) {
    asm volatile(
        "{\n.reg .pred done;\nWAIT:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra DONE;\nbra WAIT;\nDONE:\n}" ::"r"(bar),
        "r"(parity)
        : "memory");
}

// Copies by tensor map, issued by one thread; the bytes count towards bar when they are there. The map says how large a box is,
// and a box that reaches outside the tensor is filled with zeros there: it always brings all its bytes.
// A box of a feature map, whose first element is (channel, x, y, picture).
__device__ __forceinline__ void copy_box(uint32_t dst, const CUtensorMap& map, uint32_t bar, int c, int x, int y, int n) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(dst),
        "l"(&map), "r"(bar), "r"(c), "r"(x), "r"(y), "r"(n)
        : "memory");
}
// Rows of a matrix, from (column, row) on.
__device__ __forceinline__ void copy_rows(uint32_t dst, const CUtensorMap& map, uint32_t bar, int column, int row) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(dst),
        "l"(&map), "r"(bar), "r"(column), "r"(row)
        : "memory");
}
// The same, to the same place and the same barrier of every block of the cluster whose rank's bit is in mask.
__device__ __forceinline__ void copy_rows_to(uint32_t dst, const CUtensorMap& map, uint32_t bar, int column, int row, int mask) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(
            dst),
        "l"(&map), "r"(bar), "r"(column), "r"(row), "h"((short)mask)
        : "memory");
}
// Waits for the launches ahead, in a thread that then copies what they wrote. Copies go another way to memory than the stores
// of threads (the async proxy): the wait orders the one, the fence the other.
__device__ __forceinline__ void wait_before_copies() {
    wait_for_previous();
    asm volatile("fence.proxy.async.global;" ::: "memory");
}
__device__ __forceinline__ void prefetch_map(const CUtensorMap& map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// A K-major operand in shared memory: rows of 128 bytes in groups of eight, 1024 bytes apart, swizzled as TMA does it. Fields in
// units of 16 bytes: the address (bits 0 to 13), the distance of columns, which this swizzle ignores (16 on), the distance of
// groups, 64 (32 on); then 1 for the swizzle of 128 bytes (62 on). Adding n to a descriptor moves its operand by 16 n bytes.
__device__ __forceinline__ uint64_t descriptor(uint32_t address) {
    return (uint64_t)((address & 0x3FFFF) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// Products run while the program goes on. fence: products that follow see what the registers of d hold; commit: the products since
// the last commit are a group; wait: until at most N groups are under way, and only then may d or their operands be touched.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

#define F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F16(i) F4(i), F4(i + 4), F4(i + 8), F4(i + 12)
#define WGMMA_N128(SHAPE, TYPE, TAIL)                                                                            \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"                                                    \
                 "wgmma.mma_async.sync.aligned." SHAPE ".f32." TYPE "." TYPE                                     \
                 " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,"  \
                 "%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"  \
                 "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, %64, %65, p, 1, 1" TAIL ";\n}" \
                 : F16(0), F16(16), F16(32), F16(48)                                                             \
                 : "l"(a), "l"(b), "r"(accumulate))
#define WGMMA_N256(SHAPE, TYPE, TAIL)                                                                            \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"                                                   \
                 "wgmma.mma_async.sync.aligned." SHAPE ".f32." TYPE "." TYPE                                     \
                 " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,"  \
                 "%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"  \
                 "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,%64,%65,%66,%67,%68,%69,%70,"  \
                 "%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,"  \
                 "%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,"     \
                 "%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}, %128, %129, p, "  \
                 "1, 1" TAIL ";\n}"                                                                              \
                 : F16(0), F16(16), F16(32), F16(48), F16(64), F16(80), F16(96), F16(112)                        \
                 : "l"(a), "l"(b), "r"(accumulate))

// d = a b, or with accumulate d += a b: 64 rows of a by n = 128 or 256 rows of b, 32 bytes of k, both K-major; d is n/2 values
// per thread of the warpgroup: value 4 j + i is row 16 warp + lane/4 + 8 (i/2), column 8 j + 2 (lane%4) + i%2.
__device__ __forceinline__ void wgmma(f16, float (&d)[64], uint64_t a, uint64_t b, int accumulate) {
    WGMMA_N128("m64n128k16", "f16", ", 0, 0");
}
__device__ __forceinline__ void wgmma(bf16, float (&d)[64], uint64_t a, uint64_t b, int accumulate) {
    WGMMA_N128("m64n128k16", "bf16", ", 0, 0");
}
__device__ __forceinline__ void wgmma(tf32, float (&d)[64], uint64_t a, uint64_t b, int accumulate) {
    WGMMA_N128("m64n128k8", "tf32", "");
}
__device__ __forceinline__ void wgmma(f16, float (&d)[128], uint64_t a, uint64_t b, int accumulate) {
    WGMMA_N256("m64n256k16", "f16", ", 0, 0");
}
__device__ __forceinline__ void wgmma(bf16, float (&d)[128], uint64_t a, uint64_t b, int accumulate) {
    WGMMA_N256("m64n256k16", "bf16", ", 0, 0");
}
__device__ __forceinline__ void wgmma(tf32, float (&d)[128], uint64_t a, uint64_t b, int accumulate) {
    WGMMA_N256("m64n256k8", "tf32", "");
}
#undef WGMMA_N256
#undef WGMMA_N128
#undef F16
#undef F4

// Four 8x8 matrices of 16-bit elements, transposed: lane l gives where column l%8 of matrix l/8 goes.
__device__ __forceinline__ void store_matrices_trans(uint32_t address, const uint32_t (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(r[0]), "r"(r[1]),
                 "r"(r[2]), "r"(r[3])
                 : "memory");
}

// A barrier of some of a block's warps; id 0 is __syncthreads.
__device__ __forceinline__ void named_barrier(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void named_barrier_arrive(int id, int threads) {   // without waiting for the others
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ uint32_t cluster_rank() {
    uint32_t r;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}
// All threads of all blocks of the cluster have come; what fence.mbarrier_init published, and nothing else, is seen after it.
__device__ __forceinline__ void cluster_meet() {
    asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// The same in two halves. What a thread wrote to shared memory, or read from that of others, before it came, is done when the others
// have waited.
__device__ __forceinline__ void cluster_come() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// Four values to shared memory, and four from this address in that of the block with this rank.
__device__ __forceinline__ void store4(uint32_t address, float a, float b, float c, float d) {
    asm volatile("st.shared.v4.f32 [%0], {%1,%2,%3,%4};" ::"r"(address), "f"(a), "f"(b), "f"(c), "f"(d) : "memory");
}
__device__ __forceinline__ float4 load4_from(uint32_t address, int rank) {
    float4 v;
    asm volatile(
        "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %4, %5;\nld.shared::cluster.v4.f32 {%0,%1,%2,%3}, [remote];\n}"
        : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
        : "r"(address), "r"(rank)
        : "memory");
    return v;
}
// Every warp of a warpgroup gives registers back until it has N per thread, or waits until it can have N.
template <int N>
__device__ __forceinline__ void give_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N>
__device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
