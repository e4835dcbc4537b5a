// A blur in two passes, for docs/ptxsim.md: what `ptxsim script docs/ptxsim-blur.script` runs.
// Compiled with: nvcc -ptx -arch=compute_80 (CUDA 13.0).

namespace picture {

__constant__ float weights[5] = {0, 0, 1, 0, 0}; // blurs nothing
__device__ unsigned int pixels;                  // how many were written

struct Pass {
    const float* from;
    float* to;
    int width, height;
    float gain;
};

// One block is one line of the picture: a row, or a column.
template <bool kColumns>
__global__ void blur(Pass p) {
    extern __shared__ float line[];
    const int n = kColumns ? p.height : p.width;
    const int step = kColumns ? p.width : 1;
    const int first = blockIdx.x * (kColumns ? 1 : p.width);
    const int i = threadIdx.x;
    if (i < n) line[i] = p.from[first + i * step];
    __syncthreads();
    if (i >= n) return;
    float sum = 0;
    for (int k = 0; k < 5; k++) {
        const int j = i + k - 2;
        if (j >= 0 && j < n) sum = fmaf(weights[k], line[j], sum);
    }
    p.to[first + i * step] = sum * p.gain;
    atomicAdd(&pixels, 1);
}

template __global__ void blur<false>(Pass);
template __global__ void blur<true>(Pass);

} // namespace picture
