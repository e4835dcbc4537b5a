// A grid that synchronises: each block adds what all blocks have written before.
#include <cooperative_groups.h>
#include <cstdio>

namespace cg = cooperative_groups;

__global__ void gather(int* x, int* y) {
    cg::grid_group grid = cg::this_grid();
    if (threadIdx.x == 0) x[blockIdx.x] = blockIdx.x + 1;
    grid.sync();
    int sum = 0;
    for (int i = threadIdx.x; i < gridDim.x; i += 32) sum += x[i];
    for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
    if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

int main() {
    const int n = 8;
    int *x, *y, bad = 0, one_too_many = 100000;
    cudaMallocManaged(&x, n * sizeof(int));
    cudaMallocManaged(&y, n * sizeof(int));
    void* args[] = {&x, &y};
    bad += cudaLaunchCooperativeKernel(gather, one_too_many, 32, args, 0, nullptr) == cudaSuccess;
    cudaGetLastError();
    for (int run = 0; run < 2; run++) {
        cudaError_t e = cudaLaunchCooperativeKernel(gather, n, 32, args, 0, nullptr);
        if (!e) e = cudaDeviceSynchronize();
        for (int i = 0; i < n; i++) bad += y[i] != n * (n + 1) / 2;
        printf("%s, %d wrong\n", cudaGetErrorName(e), bad);
    }
    return bad != 0;
}
