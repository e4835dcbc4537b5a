// Sums in a fixed order: the same bits in every run, whatever the grid's timing.
#pragma once

constexpr int kReduceThreads = 256;

// The sum over a full warp, in every lane.
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
    return v;
}

// The sum over a block of kReduceThreads, in thread 0. May be called again at
// once: the first barrier keeps a second call from overtaking the first.
__device__ __forceinline__ float block_sum(float v) {
    __shared__ float s_part[kReduceThreads / 32];   // (warp)
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    v = warp_sum(v);
    __syncthreads();
    if (lane == 0) s_part[warp] = v;
    __syncthreads();
    v = warp == 0 && lane < kReduceThreads / 32 ? s_part[lane] : 0.f;
    return warp_sum(v);
}

// The largest of values that are not negative, over a warp and over a block.
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
    return v;
}

__device__ __forceinline__ float block_max(float v) {
    __shared__ float s_part[kReduceThreads / 32];   // (warp)
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    v = warp_max(v);
    __syncthreads();
    if (lane == 0) s_part[warp] = v;
    __syncthreads();
    v = warp == 0 && lane < kReduceThreads / 32 ? s_part[lane] : 0.f;
    return warp_max(v);
}
