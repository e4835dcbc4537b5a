// The products of a Gram matrix on tensor cores: channels are gemm_m and gemm_n, pixels gemm_k. Tiles in shared memory hold
// pixel after pixel, as feature maps do, so that fragments are transposed on their way into registers.
#pragma once
#include "mma.cuh"

// acc += a^T b over 32 bytes of pixels from pixel kk on: a warp's products of 32 channels of tile a, from wm on, and NJ times
// eight channels of tile b, from wn on. at(pixel, ch) is where the 16 bytes that begin with channel ch of a pixel lie in a tile.
template <class E, int NJ, class At>
__device__ __forceinline__ void gram_products(E e, float (&acc)[2][NJ][4], const unsigned char* s_a, const unsigned char* s_b,
                                              int wm, int wn, int kk, At at) {
    int lane = threadIdx.x & 31;
    uint32_t a[2][4], b[NJ / 2][4];
    if constexpr (sizeof(typename Element<E>::Store) == 2) {
        // Lane l gives the address of eight channels: pixel l%8 + 8 (l/16) and channels from 8 (l/8%2) on for a; for b
        // pixel l%16 and channels from 8 (l/16) on.
#pragma unroll
        for (int i = 0; i < 2; i++)
            load_matrices_trans(a[i], shared_address(s_a) + at(kk + (lane & 7) + (lane >> 4) * 8, wm + i * 16 + (lane >> 3 & 1) * 8));
#pragma unroll
        for (int j = 0; j < NJ / 2; j++) load_matrices_trans(b[j], shared_address(s_b) + at(kk + (lane & 15), wn + j * 16 + (lane >> 4) * 8));
    } else {   // ldmatrix transposes 16-bit elements only: one by one
        auto load = [&](const unsigned char* s_tile, int pixel, int ch) {
            return *(const uint32_t*)(s_tile + at(pixel, ch & ~3) + (ch & 3) * 4);
        };
        // Register r of a: channel lane/4 + 8 (r%2), pixel lane%4 + 4 (r/2); of b, two groups of eight channels: pixel by
        // r%2, group by r/2.
#pragma unroll
        for (int r = 0; r < 4; r++) {
#pragma unroll
            for (int i = 0; i < 2; i++)
                a[i][r] = load(s_a, kk + (lane & 3) + (r >> 1) * 4, wm + i * 16 + (lane >> 2) + (r & 1) * 8);
#pragma unroll
            for (int j = 0; j < NJ / 2; j++)
                b[j][r] = load(s_b, kk + (lane & 3) + (r & 1) * 4, wn + j * 16 + (lane >> 2) + (r >> 1) * 8);
        }
#pragma unroll
        for (int i = 0; i < 2; i++) round_operand(e, a[i]);
#pragma unroll
        for (int j = 0; j < NJ / 2; j++) round_operand(e, b[j]);
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < NJ; j++) mma(e, acc[i][j], a[i], b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
}

// Writes a warp's products to their place in a matrix of c columns.
template <int NJ>
__device__ __forceinline__ void gram_store(float* out, const float (&acc)[2][NJ][4], int c) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < NJ; j++)
#pragma unroll
            for (int h = 0; h < 2; h++)
                // Rows lane/4 and lane/4 + 8, columns 2 (lane%4) and the next: four threads write 32 neighbouring bytes.
                *(float2*)&out[(size_t)(i * 16 + (lane >> 2) + h * 8) * c + j * 8 + (lane & 3) * 2] =
                    make_float2(acc[i][j][h * 2], acc[i][j][h * 2 + 1]);
}
