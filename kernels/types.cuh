// Storage types: fp32, fp16 and bfloat16. Arithmetic is fp32 everywhere.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

using f32 = float;
using f16 = __half;
using bf16 = __nv_bfloat16;

__device__ __forceinline__ float load(const f32* p) { return *p; }
__device__ __forceinline__ float load(const f16* p) { return __half2float(*p); }
__device__ __forceinline__ float load(const bf16* p) { return __bfloat162float(*p); }

// Stores round to nearest even.
__device__ __forceinline__ void store(f32* p, float v) { *p = v; }
__device__ __forceinline__ void store(f16* p, float v) { *p = __float2half_rn(v); }
__device__ __forceinline__ void store(bf16* p, float v) { *p = __float2bfloat16_rn(v); }

// One entry for each storage type, as KERNEL(T) defines it.
#define FOR_EACH_TYPE(KERNEL) KERNEL(f32) KERNEL(f16) KERNEL(bf16)
