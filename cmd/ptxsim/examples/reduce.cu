// The sum of an array: grid-stride loop, shuffles within a warp, shared memory between
// warps, one atomic for each block. As many samples do it; clean under ptxsim exec.
#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(call)                                                                                    \
    do {                                                                                               \
        cudaError_t e_ = (call);                                                                       \
        if (e_ != cudaSuccess) {                                                                       \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, cudaGetErrorName(e_), cudaGetErrorString(e_)); \
            exit(1);                                                                                   \
        }                                                                                              \
    } while (0)

__constant__ int weight;
__device__ int total;

template <int kWarps>
__global__ void reduce(const int* x, int n) {
    __shared__ int s_sum[kWarps];
    int sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += weight * x[i];
    for (int d = 16; d > 0; d /= 2) sum += __shfl_down_sync(~0u, sum, d);
    if (threadIdx.x % 32 == 0) s_sum[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < kWarps ? s_sum[threadIdx.x] : 0;
        for (int d = 16; d > 0; d /= 2) sum += __shfl_down_sync(~0u, sum, d);
        if (threadIdx.x == 0) atomicAdd(&total, sum);
    }
}

int main() {
    const int n = 10000, w = 3, zero = 0;
    std::vector<int> x(n);
    int want = 0, got = 0;
    for (int i = 0; i < n; i++) want += w * (x[i] = i % 17 - 5);

    int *g_x, blocks;
    CHECK(cudaMalloc(&g_x, n * sizeof(int)));
    cudaStream_t stream;
    cudaEvent_t start, stop;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&stop));
    CHECK(cudaMemcpyToSymbol(weight, &w, sizeof w));
    CHECK(cudaMemcpyToSymbol(total, &zero, sizeof zero));
    CHECK(cudaMemcpyAsync(g_x, x.data(), n * sizeof(int), cudaMemcpyHostToDevice, stream));
    CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, reduce<4>, 128, 0));
    CHECK(cudaEventRecord(start, stream));
    reduce<4><<<8, 128, 0, stream>>>(g_x, n);
    CHECK(cudaGetLastError());
    CHECK(cudaEventRecord(stop, stream));
    CHECK(cudaStreamSynchronize(stream));
    float ms;
    CHECK(cudaEventElapsedTime(&ms, start, stop));
    CHECK(cudaMemcpyFromSymbol(&got, total, sizeof got));
    CHECK(cudaFree(g_x));
    printf("sum %d, want %d, %d blocks a multiprocessor\n", got, want, blocks);
    return got != want || ms < 0 || blocks < 1;
}
