// A reduction in shared memory that lacks a barrier in its loop. On a GPU it gives the right sum
// on most days. ptxsim exec reports the race; the program learns it as an error.
#include <cstdio>

__global__ void sum(const float* x, float* y) {
    __shared__ float s_x[128];
    s_x[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    for (int d = 64; d > 0; d /= 2) {
        if (threadIdx.x < d) s_x[threadIdx.x] += s_x[threadIdx.x + d];
        // __syncthreads() belongs here.
    }
    if (threadIdx.x == 0) *y = s_x[0];
}

int main() {
    float x[128], *g_x, *g_y;
    for (int i = 0; i < 128; i++) x[i] = 1;
    cudaMalloc(&g_x, sizeof x);
    cudaMalloc(&g_y, sizeof(float));
    cudaMemcpy(g_x, x, sizeof x, cudaMemcpyHostToDevice);
    for (int i = 0; i < 2; i++) sum<<<1, 128>>>(g_x, g_y);
    cudaError_t e = cudaDeviceSynchronize();
    printf("%s\n", cudaGetErrorName(e));
    return 0;
}
