// Programmatic dependent launch, on sm_90: a launch may begin before the one ahead of it has ended. On sm_80 it may not, and
// both functions do nothing.
#pragma once

// Waits until the launches ahead have ended and what they wrote can be read. Nothing that they write may be read before it, and
// nothing that they read may be written; tables and weights are constant and may be read at once.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Allows the next launch to begin, once every block has said so or ended.
__device__ __forceinline__ void start_next() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// __restrict__ lets the compiler read through the non-coherent cache, which does not see what a launch that still runs writes:
// RESTRICT is that only where launches do not overlap.
#if __CUDA_ARCH__ >= 900
#define RESTRICT
#else
#define RESTRICT __restrict__
#endif
