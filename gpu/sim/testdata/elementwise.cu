// Element by element: the simulator's plain loads and stores, scalar, vector and half.
// ptx: sm_80
#include <cuda_fp16.h>

extern "C" __global__ void saxpy(float* __restrict__ y, const float* __restrict__ x, float a, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = fmaf(a, x[i], y[i]);
}

// 16 bytes at a time, grid-stride.
extern "C" __global__ void saxpy4(float4* __restrict__ y, const float4* __restrict__ x, float a, int n4) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n4; i += gridDim.x * blockDim.x) {
        float4 u = x[i], v = y[i];
        v.x = fmaf(a, u.x, v.x);
        v.y = fmaf(a, u.y, v.y);
        v.z = fmaf(a, u.z, v.z);
        v.w = fmaf(a, u.w, v.w);
        y[i] = v;
    }
}

// Scalar halves: neighbouring lanes share words.
extern "C" __global__ void halve(__half* __restrict__ y, const float* __restrict__ x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = __float2half_rn(0.5f * x[i]);
}

// 2x2 average pool, NHWC, two channels a thread; h, w of the output.
extern "C" __global__ void avgpool(__half2* __restrict__ y, const __half2* __restrict__ x, int h, int w, int c2) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= h * w * c2) return;
    int c = i % c2, p = i / c2, ox = p % w, oy = p / w;
    const __half2* b = x + ((size_t)(2 * oy) * (2 * w) + 2 * ox) * c2 + c;
    float2 s0 = __half22float2(b[0]), s1 = __half22float2(b[c2]);
    float2 s2 = __half22float2(b[2 * w * c2]), s3 = __half22float2(b[2 * w * c2 + c2]);
    y[i] = __floats2half2_rn(0.25f * (s0.x + s1.x + s2.x + s3.x), 0.25f * (s0.y + s1.y + s2.y + s3.y));
}
