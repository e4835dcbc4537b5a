// What L-BFGS decides by, a row of values for each picture; gpu.CtlAccepted and its like.
#pragma once

enum { kAccepted, kPairs, kNext, kLoss, kMost, kFactor, kRefusals, kStep, kLongest, kSmooth, kProducts };

// The knobs of a picture that an optimiser looks at; gpu.KnobLimit and its like. Weights of the loss follow.
enum { kLimit, kRate, kFinal, kFrom, kSpan, kDecay, kBegin };

constexpr int kGiveUp = 10;   // refusals in a row that are no failure

// False for infinities, and for NaN, with which every comparison is false.
__device__ __forceinline__ bool finite(float v) { return fabsf(v) <= 3.402823466e38f; }
