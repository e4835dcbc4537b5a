// ptx: sm_80
// divergence test-bed: nested ifs, short-circuit, loop with break/continue, switch, data-dependent trip counts
extern "C" __global__ void diverge(int* __restrict__ out, const int* __restrict__ in, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int v = in[i], acc = 0;
#pragma unroll 1
  for (int k = 0; k < (v & 31) + 3; k++) {
    int h = (v * 1103515245 + 12345 + k * 7919); h ^= h >> 13;
    if ((h & 7) == 0) continue;
    if ((h & 3) == 1 && (acc & 1 || (h & 64))) { acc += h; if (acc & 1024) break; }
    else if (h & 16) {
#pragma unroll 1
      for (int j = 0; j < (h >> 8 & 7); j++) { acc = acc * 33 + j; if ((acc & 63) == 7) goto out; }
    } else switch (h >> 5 & 3) { case 0: acc ^= h; break; case 1: acc += k * h; case 2: acc -= 5; break; default: if (acc > 0) { acc >>= 1; } else acc = -acc + h / 3; }
    v = v * 5 + acc;
  }
  acc += v;
out:
  out[i] = acc * 3 + v;
}
// naive intra-warp spin lock: needs forward progress for the lane that holds the lock
extern "C" __global__ void spin(int* lock, int* ctr) {
  while (atomicCAS(lock, 0, 1) != 0) { }
  *(volatile int*)ctr = *(volatile int*)ctr + 1;
  __threadfence();
  atomicExch(lock, 0);
}
