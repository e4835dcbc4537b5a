// What host code does around kernels: managed and pinned memory, streams that wait for each
// other, callbacks, a copy of a pitched picture, printf of the device.
#include <cstdio>
#include <cuda_runtime.h>

__managed__ int counter;

struct Affine {
    float scale;
    int shift;
};

// y = scale * x + shift, over a picture whose rows lie pitch bytes apart.
__global__ void affine(float* x, size_t pitch, int width, Affine a) {
    float* row = (float*)((char*)x + blockIdx.x * pitch);
    if (threadIdx.x < width) row[threadIdx.x] = a.scale * row[threadIdx.x] + a.shift;
    if (threadIdx.x == 0) atomicAdd(&counter, 1);
}

__global__ void show(const float* x) {
    if (threadIdx.x == 0 && blockIdx.x == 0) printf("block %d of %u sees %.2f\n", blockIdx.x, gridDim.x, x[1]);
}

static void CUDART_CB called(cudaStream_t, cudaError_t status, void* calls) { *(int*)calls += status == cudaSuccess; }
static void CUDART_CB host_function(void* calls) {
    int n;
    *(int*)calls += cudaGetDeviceCount(&n) == cudaSuccess && n == 1;
}

int main() {
    const int width = 20, height = 2;
    int calls = 0, bad = 0;
    float *pinned, *g_x;
    size_t pitch;
    cudaStream_t a, b;
    cudaEvent_t done;
    cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
    cudaStreamCreateWithPriority(&b, cudaStreamNonBlocking, -1);
    cudaEventCreateWithFlags(&done, cudaEventDisableTiming);
    cudaMallocHost(&pinned, width * height * sizeof(float));
    cudaMallocPitch(&g_x, &pitch, width * sizeof(float), height);
    for (int i = 0; i < width * height; i++) pinned[i] = i;

    cudaMemcpy2DAsync(g_x, pitch, pinned, width * sizeof(float), width * sizeof(float), height, cudaMemcpyHostToDevice, a);
    affine<<<height, 32, 0, a>>>(g_x, pitch, width, Affine{0.5f, 1});
    cudaStreamAddCallback(a, called, &calls, 0);
    cudaLaunchHostFunc(a, host_function, &calls);
    cudaEventRecord(done, a);
    cudaStreamWaitEvent(b, done, 0);
    cudaMemcpy2DAsync(pinned, width * sizeof(float), g_x, pitch, width * sizeof(float), height, cudaMemcpyDeviceToHost, b);
    show<<<2, 32, 0, b>>>(g_x);
    show<<<2, 32, 0, b>>>(pinned);  // host memory, at the same address
    cudaLaunchHostFunc(b, host_function, &calls);
    if (cudaError_t e = cudaDeviceSynchronize()) printf("%s\n", cudaGetErrorString(e)), bad++;

    for (int i = 0; i < width * height; i++) bad += pinned[i] != 0.5f * i + 1;
    printf("%d callbacks, counter %d, %d wrong\n", calls, counter, bad);
    cudaFreeHost(pinned);
    cudaFree(g_x);
    return bad || calls != 3 || counter != height;
}
