// Compiled with NVIDIA's headers, of CUDA 12 or 13: what the stand-in writes into structs must
// be where the headers have it.
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <string.h>

static int failed;
#define SAME(field, attribute)                                                        \
    do {                                                                              \
        int v_ = -1;                                                                  \
        if (cudaDeviceGetAttribute(&v_, attribute, 0) || (long long)p.field != v_) {  \
            printf("%s is %lld, the attribute %d\n", #field, (long long)p.field, v_); \
            failed = 1;                                                               \
        }                                                                             \
    } while (0)

int main(void) {
    struct {
        struct cudaDeviceProp p;
        char fence[64];
    } all;
    memset(&all, 0x55, sizeof all);
    if (cudaGetDeviceProperties(&all.p, 0)) return 1;
    struct cudaDeviceProp p = all.p;
    for (int i = 0; i < 64; i++) failed |= all.fence[i] != 0x55;
    if (failed) printf("written behind the struct\n");
    SAME(sharedMemPerBlock, cudaDevAttrMaxSharedMemoryPerBlock);
    SAME(regsPerBlock, cudaDevAttrMaxRegistersPerBlock);
    SAME(warpSize, cudaDevAttrWarpSize);
    SAME(memPitch, cudaDevAttrMaxPitch);
    SAME(maxThreadsPerBlock, cudaDevAttrMaxThreadsPerBlock);
    SAME(maxThreadsDim[2], cudaDevAttrMaxBlockDimZ);
    SAME(maxGridSize[1], cudaDevAttrMaxGridDimY);
    SAME(totalConstMem, cudaDevAttrTotalConstantMemory);
    SAME(major, cudaDevAttrComputeCapabilityMajor);
    SAME(minor, cudaDevAttrComputeCapabilityMinor);
    SAME(textureAlignment, cudaDevAttrTextureAlignment);
    SAME(multiProcessorCount, cudaDevAttrMultiProcessorCount);
    SAME(canMapHostMemory, cudaDevAttrCanMapHostMemory);
    SAME(concurrentKernels, cudaDevAttrConcurrentKernels);
    SAME(asyncEngineCount, cudaDevAttrAsyncEngineCount);
    SAME(unifiedAddressing, cudaDevAttrUnifiedAddressing);
    SAME(memoryBusWidth, cudaDevAttrGlobalMemoryBusWidth);
    SAME(l2CacheSize, cudaDevAttrL2CacheSize);
    SAME(maxThreadsPerMultiProcessor, cudaDevAttrMaxThreadsPerMultiProcessor);
    SAME(streamPrioritiesSupported, cudaDevAttrStreamPrioritiesSupported);
    SAME(sharedMemPerMultiprocessor, cudaDevAttrMaxSharedMemoryPerMultiprocessor);
    SAME(regsPerMultiprocessor, cudaDevAttrMaxRegistersPerMultiprocessor);
    SAME(managedMemory, cudaDevAttrManagedMemory);
    SAME(concurrentManagedAccess, cudaDevAttrConcurrentManagedAccess);
    SAME(cooperativeLaunch, cudaDevAttrCooperativeLaunch);
    SAME(sharedMemPerBlockOptin, cudaDevAttrMaxSharedMemoryPerBlockOptin);
    SAME(maxBlocksPerMultiProcessor, cudaDevAttrMaxBlocksPerMultiprocessor);
    SAME(reservedSharedMemPerBlock, cudaDevAttrReservedSharedMemoryPerBlock);
    SAME(hostRegisterSupported, cudaDevAttrHostRegisterSupported);
    SAME(memoryPoolsSupported, cudaDevAttrMemoryPoolsSupported);
    SAME(clusterLaunch, cudaDevAttrClusterLaunch);
#if CUDART_VERSION < 13000
    SAME(clockRate, cudaDevAttrClockRate);
    SAME(memoryClockRate, cudaDevAttrMemoryClockRate);
    SAME(singleToDoublePrecisionPerfRatio, cudaDevAttrSingleToDoublePrecisionPerfRatio);
#endif
    int version = 0;
    cudaRuntimeGetVersion(&version);
    void *m = NULL;
    struct cudaPointerAttributes a;
    cudaMallocManaged(&m, 64, cudaMemAttachGlobal);
    if (cudaPointerGetAttributes(&a, m) || a.type != cudaMemoryTypeManaged || a.devicePointer != m ||
        a.hostPointer != m)
        failed = 1, printf("pointer\n");
    if (!failed) printf("%s, %d\n", p.name, version / 1000);
    return failed;
}
