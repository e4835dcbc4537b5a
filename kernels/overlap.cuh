// Programmatic dependent launch, on sm_90: a launch may begin before the one ahead has ended. On sm_80 launches follow one
// another, and both do nothing.
#pragma once

// What the launches before wrote is there; nothing that they touch may be touched ahead of it, tables and weights excepted.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The launch behind may begin, once every block has said so.
__device__ __forceinline__ void start_next() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// What is restricted may be read through the non-coherent cache, which must not be while the launch ahead still writes it.
#if __CUDA_ARCH__ >= 900
#define RESTRICT
#else
#define RESTRICT __restrict__
#endif
