// probe_wgmma: what Hopper's tensor cores can do at most, for shares of it.                    benchmarks
// Maths    y[t] = sum over rounds of a thread's part of a b, fp16 products, fp32 sums
// Layout   operands 48 KiB, which become two tiles of A and one of B in shared memory, K-major with 128-byte swizzle;
//          y one value per thread
// Launch   256 threads = 2 warpgroups, grid one block per multiprocessor; 4 wgmmas m64n256k16 per warpgroup and round:
//          4194304 FLOP per block and round
// Bound    tensor cores: a round is waited for only when the next has been issued
// ptx: sm_90a
#include "hopper.cuh"

constexpr int kOperands = 48 << 10, kAlign = 1024, kShared = kOperands + kAlign;
static_assert(kShared <= 227 << 10, "a block's shared memory");

extern "C" __global__ __launch_bounds__(256, 1) void probe_wgmma_f16(float* __restrict__ y, const uint4* __restrict__ operands,
                                                                     int rounds) {
    extern __shared__ unsigned char s_dynamic[];
    uint32_t base = (shared_address(s_dynamic) + kAlign - 1) & ~(kAlign - 1);   // the swizzle repeats every kAlign bytes
    // 16 bytes at a time, neighbours by neighbouring threads. Any order would do, as the values are only multiplied.
    for (int i = threadIdx.x; i < kOperands / 16; i += 256) {
        uint4 v = operands[i];
        asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(base + i * 16), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");   // wgmma reads what threads have written
    __syncthreads();   // and reads what all of them have
    // A warpgroup has 64 rows of A, 8 KiB, of its own; both share the 256 rows of B, 32 KiB, that follow.
    uint64_t a = descriptor(base + (threadIdx.x >> 7) * 8192), b = descriptor(base + 16384);
    // Without zeros compilers before 12.9 serialise the wgmmas, for want of a value; that of 12.0 does too where the first round
    // is in the loop. The empty asm keeps the zeros ahead of the fence.
    float d[128] = {};
#pragma unroll
    for (int i = 0; i < 128; i++) asm volatile("" : "+f"(d[i]));
    auto round = [&](bool more) {
        wgmma_fence();
        // 32 of the 128 bytes of a row at a time, two units of a descriptor.
#pragma unroll
        for (int kk = 0; kk < 4; kk++) wgmma(f16{}, d, a + 2 * kk, b + 2 * kk, more || kk);
        wgmma_commit();
    };
    round(false);
    for (int r = 1; r < rounds; r++) {
        round(true);
        wgmma_wait<1>();   // this round stays under way while the next is issued
    }
    wgmma_wait<0>();
    float sum = 0.f;   // of all values, so that none can be left out by the compiler
#pragma unroll
    for (int i = 0; i < 128; i++) sum += d[i];
    y[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
