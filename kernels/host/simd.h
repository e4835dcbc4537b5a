// simd.h - the vector type of an instruction set. Expects VL, the lanes of a vector.
// Unaligned access is allowed: tensors need no padding. No include guard: it is read once per instruction set.
typedef float vf __attribute__((vector_size(4 * VL), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * VL), aligned(4), may_alias));
#define INL static inline __attribute__((always_inline))
INL vf v_relu(vf v) {
    return (vf)((vi)v & ~(v < (vf){0})); // a NaN stays a NaN
}
#define NR (NV * VL)
