// isa.h - all loops of one instruction set, and their table. Expects VL, NV, MR, DR and LABEL, ISA.
#include "cpu.h"
#include "simd.h"
#include "micro.h"
#define TM 4
#include "wino.h"
#define TM 6
#include "wino.h"
#include "first.h"
#include "direct.h"
#include "dots.h"
#include "tile.h"
#define BF16 twin_bf16
#include "bf16.h"

enum { PEAK_CHAINS = 12, PEAK_STEPS = 64 };
static float probe_peak(long rounds) {
    volatile float one = 1.0f, tiny = 1e-9f; // unknown to the compiler
    vf acc[PEAK_CHAINS], a = (vf){0} + one, b = (vf){0} + tiny;
#pragma GCC unroll 12
    for (int i = 0; i < PEAK_CHAINS; i++) acc[i] = (vf){0} + (float)i;
    for (long r = 0; r < rounds * PEAK_STEPS; r++) {
#pragma GCC unroll 16
        for (int i = 0; i < PEAK_CHAINS; i++) {
            acc[i] = acc[i] * a + b;
        }
    }
    vf s = acc[0];
    for (int i = 1; i < PEAK_CHAINS; i++) s += acc[i];
    return s[0];
}

const cpu_isa ISA = {LABEL, NR, MR, 2.0 * VL * PEAK_CHAINS * PEAK_STEPS, conv3x3, gemm, gram, &wino_f4, &wino_f6,
                      first_pack, first_fprop, first_dgrad, dots, probe_peak, &twin_bf16};
