// Sums in a fixed order: the same bits in every run, whatever the grid's timing.
#pragma once

constexpr int kReduceThreads = 256, kReduceWarps = kReduceThreads / 32;

// The sum over a full warp, in every lane.
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
    return v;
}

// The same in fp64; a shuffle moves 32 bits, so that a double takes two.
__device__ __forceinline__ double warp_sum(double v) {
#pragma unroll
    for (int o = 16; o; o >>= 1)
        v += __hiloint2double(__shfl_xor_sync(0xffffffffu, __double2hiint(v), o), __shfl_xor_sync(0xffffffffu, __double2loint(v), o));
    return v;
}

// The largest over a full warp of values that are not negative, in every lane.
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
    return v;
}

// Warp's reduction over a block of kReduceThreads, in thread 0; 0 changes nothing
// in it. May be called again at once: the first barrier keeps a second call from
// overtaking the first.
template <float (*Warp)(float)>
__device__ __forceinline__ float block_reduce(float v) {
    __shared__ float s_part[kReduceWarps];   // (warp)
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    // Every warp leaves its result, and the first reduces those; its lanes beyond them, and the other warps, have 0.
    v = Warp(v);
    __syncthreads();
    if (lane == 0) s_part[warp] = v;
    __syncthreads();
    v = warp == 0 && lane < kReduceWarps ? s_part[lane] : 0.f;
    return Warp(v);
}

__device__ __forceinline__ float block_sum(float v) { return block_reduce<warp_sum>(v); }
__device__ __forceinline__ float block_max(float v) { return block_reduce<warp_max>(v); }
