// make ptx refuses local memory; calls.ptx is of: nvcc -arch=sm_80 -ptx calls.cu (CUDA 13.0), with .version lowered to 7.0
// device functions that nvcc does not inline: ordinary, with a struct, recursive; printf and assert; a table of labels
#include <cassert>
#include <cstdio>

__noinline__ __device__ float mix(float a, float b, int n) {
  for (int i = 0; i < n; i++) a = fmaf(a, 0.5f, b);
  return a;
}

__device__ int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

struct Pair { int a; double b; };

__noinline__ __device__ Pair pair(int a, double b) {
  Pair p;
  p.a = a + 1;
  p.b = b * 2;
  return p;
}

extern "C" __global__ void calls(float* out, int* ints, double* doubles) {
  int t = threadIdx.x;
  out[t] = t % 3 ? mix(t, 1, t & 7) : mix(2, t, 3);
  ints[t] = fib(t & 7);
  Pair p = pair(t, t * 0.25);
  doubles[t] = p.a + p.b;
}

__device__ int depth(int n) { return n > 0 ? depth(n - 1) + depth(n - 2) + 1 : n; }

extern "C" __global__ void endless(int* out) { out[0] = depth(1 << 30); }

extern "C" __global__ void says(int n) {
  printf("%d of %u: %5.2f %-4s|%c|%% %lld %x %g\n", threadIdx.x, blockDim.x, threadIdx.x * 1.5, "ok", 'c', -5ll, 255u, 0.1);
  assert(threadIdx.x < n);
}
