// Tensor cores of sm_80 and the instructions that feed them: cp.async, ldmatrix, mma.sync.
#pragma once
#include <cstdint>

#include "types.cuh"

struct tf32 {};   // fp32 in memory, ten bits of fraction in the multiplier

// Storage and shape of an element type: one mma is m16 n8 by 32 bytes of k.
template <class E>
struct Element;
template <>
struct Element<f16> {
    using Store = f16;
    using Pair = __half2;   // two in a register
};
template <>
struct Element<bf16> {
    using Store = bf16;
    using Pair = __nv_bfloat162;
};
template <>
struct Element<tf32> {
    using Store = f32;
};

__device__ __forceinline__ uint32_t shared_address(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }

// 16 bytes from global to shared memory, asynchronously; zeros where bytes is 0.
__device__ __forceinline__ void copy16(uint32_t dst, const void* src, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(dst), "l"(src), "r"(bytes) : "memory");
}
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
__device__ __forceinline__ void copy_wait() {   // until at most N groups are on their way
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four 8x8 matrices of 16-bit elements (or 8x4 of 32 bits): lane l gives the row l%8 of matrix l/8.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
__device__ __forceinline__ void load_matrices_trans(uint32_t (&r)[4], uint32_t address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

// Four 8x8 matrices of 16-bit elements back to shared memory, lane by lane as load_matrices takes them. sm_80 has no such instruction.
__device__ __forceinline__ void store_matrices(uint32_t address, const uint32_t (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
}

#define MMA(SHAPE, TYPE)                                                                                       \
    asm volatile("mma.sync.aligned." SHAPE ".row.col.f32." TYPE "." TYPE                                       \
                 ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                  \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                              \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))

// d += a b for a 16x8 tile, 32 bytes of k.
__device__ __forceinline__ void mma(f16, float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    MMA("m16n8k16", "f16");
}
__device__ __forceinline__ void mma(bf16, float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    MMA("m16n8k16", "bf16");
}
__device__ __forceinline__ void mma(tf32, float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    MMA("m16n8k8", "tf32");
}
#undef MMA

// A value as an operand keeps it: 16 bits, or the ten bits of fraction of tf32.
__device__ __forceinline__ float rounded(f16, float v) { return __half2float(__float2half_rn(v)); }
__device__ __forceinline__ float rounded(bf16, float v) { return __bfloat162float(__float2bfloat16_rn(v)); }
__device__ __forceinline__ float rounded(tf32, float v) {
    uint32_t r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(v));
    return __uint_as_float(r);
}

// tf32 operands are rounded, not truncated; the 16-bit types are what they are.
__device__ __forceinline__ void round_operand(f16, uint32_t (&)[4]) {}
__device__ __forceinline__ void round_operand(bf16, uint32_t (&)[4]) {}
__device__ __forceinline__ void round_operand(tf32 e, uint32_t (&r)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) r[i] = __float_as_uint(rounded(e, __uint_as_float(r[i])));
}
