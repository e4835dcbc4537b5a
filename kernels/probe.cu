// probe_copy, probe_mma: what a GPU can do at most, for shares of it.                         benchmarks
// Maths    copy  y = x      mma  y[t] = sum over rounds and 8 accumulators of a b, fp16 products, fp32 sums
// Layout   copy: elems fp32, a multiple of 4; mma: operands (a warp's fragments) 6 words for each of 32 lanes; y one value
//          per thread; clocks (cycles, nanoseconds) of block 0
// Launch   copy: 256 threads, 4 vectors of 16 bytes each, grid ceil(elems / 4096). mma: 128 threads, grid 8 blocks per
//          multiprocessor; 32768 FLOP per warp and round
// Bound    copy: memory. mma: tensor cores, operands in registers
// ptx: sm_80
#include "mma.cuh"

constexpr int kVectors = 4, kCopy = 256 * kVectors * 4;   // vectors per thread, elements per block

extern "C" __global__ __launch_bounds__(256) void probe_copy_f32(float* __restrict__ y, const float* __restrict__ x,
                                                                 unsigned long long elems) {
    unsigned long long i = ((unsigned long long)blockIdx.x * (kCopy / 4) + threadIdx.x) * 4;
    // Four vectors of a thread lie 4 KiB apart, and neighbouring threads read neighbouring ones. All loads are on their
    // way before the first store, which is what keeps memory busy.
    float4 v[kVectors];
#pragma unroll
    for (int j = 0; j < kVectors; j++)
        if (i + j * 1024 < elems) v[j] = *(const float4*)(x + i + j * 1024);
#pragma unroll
    for (int j = 0; j < kVectors; j++)
        if (i + j * 1024 < elems) *(float4*)(y + i + j * 1024) = v[j];
}

__device__ __forceinline__ unsigned long long cycles() {
    unsigned long long v;
    asm volatile("mov.u64 %0, %%clock64;" : "=l"(v)::"memory");
    return v;
}
__device__ __forceinline__ unsigned long long nanoseconds() {
    unsigned long long v;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(v)::"memory");
    return v;
}

extern "C" __global__ __launch_bounds__(128) void probe_mma_f16(float* __restrict__ y, const uint32_t* __restrict__ operands,
                                                                unsigned long long* __restrict__ clocks, int rounds) {
    int lane = threadIdx.x & 31;
    // Operands lie word by word, lane by lane; they stay in registers, so that nothing but the tensor cores is measured.
    uint32_t a[4], b[2];
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = operands[i * 32 + lane];
#pragma unroll
    for (int i = 0; i < 2; i++) b[i] = operands[(4 + i) * 32 + lane];
    // Eight sums that do not depend on one another, for products follow one another faster than one completes.
    float acc[8][4] = {};
    unsigned long long c = cycles(), t = nanoseconds();
    for (int r = 0; r < rounds; r++)
#pragma unroll
        for (int j = 0; j < 8; j++) mma(f16{}, acc[j], a, b[0], b[1]);
    c = cycles() - c, t = nanoseconds() - t;
    // The sum of everything is stored: no product can be left out.
    float sum = 0.f;
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) sum += acc[j][i];
    y[blockIdx.x * blockDim.x + threadIdx.x] = sum;
    if (blockIdx.x == 0 && threadIdx.x == 0) clocks[0] = c, clocks[1] = t;
}
