// Launches with attributes: clusters whose blocks read each other's shared memory, more of
// it than a kernel has without asking, and a kernel that begins before the one before it ends.
#include <cooperative_groups.h>
#include <cstdio>

namespace cg = cooperative_groups;

// Each block of a cluster gets the number of its neighbour.
__global__ void neighbour(int* y) {
    extern __shared__ int s_mine[];
    cg::cluster_group cluster = cg::this_cluster();
    if (threadIdx.x == 0) s_mine[0] = 100 + blockIdx.x;
    cluster.sync();
    int other = (cluster.block_rank() + 1) % cluster.num_blocks();
    if (threadIdx.x == 0) y[blockIdx.x] = *cluster.map_shared_rank(s_mine, other);
    cluster.sync();
}

__global__ void twice(const int* x, int* y) {
    cudaGridDependencySynchronize();
    y[threadIdx.x] = 2 * x[threadIdx.x];
}

int main() {
    const int n = 8;
    int *y, *z, bad = 0;
    cudaMallocManaged(&y, n * sizeof(int));
    cudaMallocManaged(&z, n * sizeof(int));

    cudaLaunchAttribute attribute[1];
    attribute[0].id = cudaLaunchAttributeClusterDimension;
    attribute[0].val.clusterDim.x = 4;
    attribute[0].val.clusterDim.y = attribute[0].val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = n;
    config.blockDim = 32;
    config.dynamicSmemBytes = 100000;
    config.attrs = attribute;
    config.numAttrs = 1;
    cudaError_t e = cudaLaunchKernelEx(&config, neighbour, y);  // more shared memory than it may have
    printf("neighbour: %s\n", cudaGetErrorName(e));
    bad += e != cudaErrorInvalidValue;
    cudaGetLastError();
    cudaFuncSetAttribute(neighbour, cudaFuncAttributeMaxDynamicSharedMemorySize, 100000);
    e = cudaLaunchKernelEx(&config, neighbour, y);
    if (!e) e = cudaDeviceSynchronize();
    for (int i = 0; i < n; i++) bad += y[i] != 100 + i / 4 * 4 + (i + 1) % 4;
    printf("neighbour: %s, %d wrong\n", cudaGetErrorName(e), bad);

    attribute[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute[0].val.programmaticStreamSerializationAllowed = 1;
    config.gridDim = 1;
    config.blockDim = n;
    config.dynamicSmemBytes = 0;
    e = cudaLaunchKernelEx(&config, twice, (const int*)y, z);
    if (!e) e = cudaDeviceSynchronize();
    for (int i = 0; i < n; i++) bad += z[i] != 2 * y[i];
    printf("twice: %s, %d wrong\n", cudaGetErrorName(e), bad);
    return bad != 0;
}
