#include "textflag.h"

// The bits of the canonical NaN, for eight lanes.
DATA nans<>+0(SB)/8, $0x7fffffff7fffffff
DATA nans<>+8(SB)/8, $0x7fffffff7fffffff
DATA nans<>+16(SB)/8, $0x7fffffff7fffffff
DATA nans<>+24(SB)/8, $0x7fffffff7fffffff
GLOBL nans<>(SB), RODATA|NOPTR, $32

// The lane-wise instructions of vectors (rows_amd64.go). A macro does one register
// of 32 lanes; OP takes its second operand first, as Go's assembler writes it.

#define TWO(OP, at) \
	VMOVDQU at(SI), Y0; \
	OP at(BX), Y0, Y0; \
	VMOVDQU Y0, at(DI)

// WORDS is d = a OP b for words of 32 bits, LONGS for 64.
#define WORDS(OP) \
	MOVQ d+0(FP), DI; \
	MOVQ a+8(FP), SI; \
	MOVQ b+16(FP), BX; \
	TWO(OP, 0); TWO(OP, 32); TWO(OP, 64); TWO(OP, 96); \
	VZEROUPPER; \
	RET

#define LONGS(OP) \
	MOVQ d+0(FP), DI; \
	MOVQ a+8(FP), SI; \
	MOVQ b+16(FP), BX; \
	TWO(OP, 0); TWO(OP, 32); TWO(OP, 64); TWO(OP, 96); \
	TWO(OP, 128); TWO(OP, 160); TWO(OP, 192); TWO(OP, 224); \
	VZEROUPPER; \
	RET

// FLOATS gives the canonical NaN where the result is one.
#define TWOFLOATS(OP, at) \
	VMOVUPS at(SI), Y0; \
	OP at(BX), Y0, Y0; \
	VCMPPS $3, Y0, Y0, Y2; \
	VBLENDVPS Y2, Y15, Y0, Y0; \
	VMOVUPS Y0, at(DI)

#define FLOATS(OP) \
	MOVQ d+0(FP), DI; \
	MOVQ a+8(FP), SI; \
	MOVQ b+16(FP), BX; \
	VMOVUPS nans<>(SB), Y15; \
	TWOFLOATS(OP, 0); TWOFLOATS(OP, 32); TWOFLOATS(OP, 64); TWOFLOATS(OP, 96); \
	VZEROUPPER; \
	RET

// WIDER is d = a OP b for words of which EXT makes 64 bits.
#define TWOWIDER(EXT, OP, from, to) \
	EXT from(SI), Y0; \
	EXT from(BX), Y1; \
	OP Y1, Y0, Y0; \
	VMOVDQU Y0, to(DI)

#define WIDER(EXT, OP) \
	MOVQ d+0(FP), DI; \
	MOVQ a+8(FP), SI; \
	MOVQ b+16(FP), BX; \
	TWOWIDER(EXT, OP, 0, 0); TWOWIDER(EXT, OP, 16, 32); TWOWIDER(EXT, OP, 32, 64); TWOWIDER(EXT, OP, 48, 96); \
	TWOWIDER(EXT, OP, 64, 128); TWOWIDER(EXT, OP, 80, 160); TWOWIDER(EXT, OP, 96, 192); TWOWIDER(EXT, OP, 112, 224); \
	VZEROUPPER; \
	RET

// SHIFTLONGS is d = a OP b for 64 bits by counts of 32.
#define ONESHIFT(OP, from, to) \
	VPMOVZXDQ from(BX), Y1; \
	VMOVDQU to(SI), Y0; \
	OP Y1, Y0, Y0; \
	VMOVDQU Y0, to(DI)

#define SHIFTLONGS(OP) \
	MOVQ d+0(FP), DI; \
	MOVQ a+8(FP), SI; \
	MOVQ b+16(FP), BX; \
	ONESHIFT(OP, 0, 0); ONESHIFT(OP, 16, 32); ONESHIFT(OP, 32, 64); ONESHIFT(OP, 48, 96); \
	ONESHIFT(OP, 64, 128); ONESHIFT(OP, 80, 160); ONESHIFT(OP, 96, 192); ONESHIFT(OP, 112, 224); \
	VZEROUPPER; \
	RET

// EXTEND is d = EXT a.
#define ONEEXT(EXT, from, to) \
	EXT from(SI), Y0; \
	VMOVDQU Y0, to(DI)

#define EXTEND(EXT) \
	MOVQ d+0(FP), DI; \
	MOVQ a+8(FP), SI; \
	ONEEXT(EXT, 0, 0); ONEEXT(EXT, 16, 32); ONEEXT(EXT, 32, 64); ONEEXT(EXT, 48, 96); \
	ONEEXT(EXT, 64, 128); ONEEXT(EXT, 80, 160); ONEEXT(EXT, 96, 192); ONEEXT(EXT, 112, 224); \
	VZEROUPPER; \
	RET

// SIGNED compares words: a bit for each lane where SECOND OP FIRST; FLOATCMP does
// so for fp32 with a predicate of VCMPPS.
#define ONESIGNED(OP, FIRST, SECOND, at) \
	VMOVDQU at(SECOND), Y0; \
	OP at(FIRST), Y0, Y0; \
	VMOVMSKPS Y0, DX; \
	SHLQ $at/4, DX; \
	ORQ DX, AX

#define SIGNED(OP, FIRST, SECOND, FLIP) \
	MOVQ a+0(FP), SI; \
	MOVQ b+8(FP), BX; \
	XORQ AX, AX; \
	ONESIGNED(OP, FIRST, SECOND, 0); ONESIGNED(OP, FIRST, SECOND, 32); \
	ONESIGNED(OP, FIRST, SECOND, 64); ONESIGNED(OP, FIRST, SECOND, 96); \
	XORL $FLIP, AX; \
	MOVL AX, lanes+16(FP); \
	VZEROUPPER; \
	RET

#define ONEFLOATCMP(PRED, at) \
	VMOVUPS at(SI), Y0; \
	VCMPPS $PRED, at(BX), Y0, Y0; \
	VMOVMSKPS Y0, DX; \
	SHLQ $at/4, DX; \
	ORQ DX, AX

#define FLOATCMP(PRED) \
	MOVQ a+0(FP), SI; \
	MOVQ b+8(FP), BX; \
	XORQ AX, AX; \
	ONEFLOATCMP(PRED, 0); ONEFLOATCMP(PRED, 32); ONEFLOATCMP(PRED, 64); ONEFLOATCMP(PRED, 96); \
	MOVL AX, lanes+16(FP); \
	VZEROUPPER; \
	RET

// COPY is half of 32 words, or a quarter of 32 longs.
#define COPY(at) \
	VMOVDQU at(SI), Y0; \
	VMOVDQU at+32(SI), Y1; \
	VMOVDQU Y0, at(DI); \
	VMOVDQU Y1, at+32(DI)

// func copyWords(d, a *[32]uint32)
TEXT ·copyWords(SB), NOSPLIT, $0-16
	MOVQ d+0(FP), DI
	MOVQ a+8(FP), SI
	COPY(0)
	COPY(64)
	VZEROUPPER
	RET

// func copyLongs(d, a *[32]uint64)
TEXT ·copyLongs(SB), NOSPLIT, $0-16
	MOVQ d+0(FP), DI
	MOVQ a+8(FP), SI
	COPY(0)
	COPY(64)
	COPY(128)
	COPY(192)
	VZEROUPPER
	RET

// func addWords(d, a, b *[32]uint32)
TEXT ·addWords(SB), NOSPLIT, $0-24
	WORDS(VPADDD)

// func subWords(d, a, b *[32]uint32)
TEXT ·subWords(SB), NOSPLIT, $0-24
	WORDS(VPSUBD)

// func mulWords(d, a, b *[32]uint32)
TEXT ·mulWords(SB), NOSPLIT, $0-24
	WORDS(VPMULLD)

// func andWords(d, a, b *[32]uint32)
TEXT ·andWords(SB), NOSPLIT, $0-24
	WORDS(VPAND)

// func orWords(d, a, b *[32]uint32)
TEXT ·orWords(SB), NOSPLIT, $0-24
	WORDS(VPOR)

// func xorWords(d, a, b *[32]uint32)
TEXT ·xorWords(SB), NOSPLIT, $0-24
	WORDS(VPXOR)

// func shlWords(d, a, b *[32]uint32)
TEXT ·shlWords(SB), NOSPLIT, $0-24
	WORDS(VPSLLVD)

// func shrWords(d, a, b *[32]uint32)
TEXT ·shrWords(SB), NOSPLIT, $0-24
	WORDS(VPSRLVD)

// func sarWords(d, a, b *[32]uint32)
TEXT ·sarWords(SB), NOSPLIT, $0-24
	WORDS(VPSRAVD)

// func minSigned(d, a, b *[32]uint32)
TEXT ·minSigned(SB), NOSPLIT, $0-24
	WORDS(VPMINSD)

// func maxSigned(d, a, b *[32]uint32)
TEXT ·maxSigned(SB), NOSPLIT, $0-24
	WORDS(VPMAXSD)

// func minUnsigned(d, a, b *[32]uint32)
TEXT ·minUnsigned(SB), NOSPLIT, $0-24
	WORDS(VPMINUD)

// func maxUnsigned(d, a, b *[32]uint32)
TEXT ·maxUnsigned(SB), NOSPLIT, $0-24
	WORDS(VPMAXUD)

// func addFloats(d, a, b *[32]uint32)
TEXT ·addFloats(SB), NOSPLIT, $0-24
	FLOATS(VADDPS)

// func subFloats(d, a, b *[32]uint32)
TEXT ·subFloats(SB), NOSPLIT, $0-24
	FLOATS(VSUBPS)

// func mulFloats(d, a, b *[32]uint32)
TEXT ·mulFloats(SB), NOSPLIT, $0-24
	FLOATS(VMULPS)

// func addLongs(d, a, b *[32]uint64)
TEXT ·addLongs(SB), NOSPLIT, $0-24
	LONGS(VPADDQ)

// func subLongs(d, a, b *[32]uint64)
TEXT ·subLongs(SB), NOSPLIT, $0-24
	LONGS(VPSUBQ)

// func andLongs(d, a, b *[32]uint64)
TEXT ·andLongs(SB), NOSPLIT, $0-24
	LONGS(VPAND)

// func orLongs(d, a, b *[32]uint64)
TEXT ·orLongs(SB), NOSPLIT, $0-24
	LONGS(VPOR)

// func xorLongs(d, a, b *[32]uint64)
TEXT ·xorLongs(SB), NOSPLIT, $0-24
	LONGS(VPXOR)

// func mulWideSigned(d *[32]uint64, a, b *[32]uint32)
TEXT ·mulWideSigned(SB), NOSPLIT, $0-24
	WIDER(VPMOVSXDQ, VPMULDQ)

// func mulWideUnsigned(d *[32]uint64, a, b *[32]uint32)
TEXT ·mulWideUnsigned(SB), NOSPLIT, $0-24
	WIDER(VPMOVZXDQ, VPMULUDQ)

// func shlLongs(d, a *[32]uint64, b *[32]uint32)
TEXT ·shlLongs(SB), NOSPLIT, $0-24
	SHIFTLONGS(VPSLLVQ)

// func shrLongs(d, a *[32]uint64, b *[32]uint32)
TEXT ·shrLongs(SB), NOSPLIT, $0-24
	SHIFTLONGS(VPSRLVQ)

// func signExtend(d *[32]uint64, a *[32]uint32)
TEXT ·signExtend(SB), NOSPLIT, $0-16
	EXTEND(VPMOVSXDQ)

// func zeroExtend(d *[32]uint64, a *[32]uint32)
TEXT ·zeroExtend(SB), NOSPLIT, $0-16
	EXTEND(VPMOVZXDQ)

// func equal(a, b *[32]uint32) (lanes uint32)
TEXT ·equal(SB), NOSPLIT, $0-20
	SIGNED(VPCMPEQD, BX, SI, 0)

// func notEqual(a, b *[32]uint32) (lanes uint32)
TEXT ·notEqual(SB), NOSPLIT, $0-20
	SIGNED(VPCMPEQD, BX, SI, 0xffffffff)

// func greaterSigned(a, b *[32]uint32) (lanes uint32)
TEXT ·greaterSigned(SB), NOSPLIT, $0-20
	SIGNED(VPCMPGTD, BX, SI, 0)

// func lessEqualSigned(a, b *[32]uint32) (lanes uint32)
TEXT ·lessEqualSigned(SB), NOSPLIT, $0-20
	SIGNED(VPCMPGTD, BX, SI, 0xffffffff)

// func lessSigned(a, b *[32]uint32) (lanes uint32)
TEXT ·lessSigned(SB), NOSPLIT, $0-20
	SIGNED(VPCMPGTD, SI, BX, 0)

// func greaterEqualSigned(a, b *[32]uint32) (lanes uint32)
TEXT ·greaterEqualSigned(SB), NOSPLIT, $0-20
	SIGNED(VPCMPGTD, SI, BX, 0xffffffff)

// func lessFloat(a, b *[32]uint32) (lanes uint32)
TEXT ·lessFloat(SB), NOSPLIT, $0-20
	FLOATCMP(17)

// func lessEqualFloat(a, b *[32]uint32) (lanes uint32)
TEXT ·lessEqualFloat(SB), NOSPLIT, $0-20
	FLOATCMP(18)

// func greaterFloat(a, b *[32]uint32) (lanes uint32)
TEXT ·greaterFloat(SB), NOSPLIT, $0-20
	FLOATCMP(30)

// func greaterEqualFloat(a, b *[32]uint32) (lanes uint32)
TEXT ·greaterEqualFloat(SB), NOSPLIT, $0-20
	FLOATCMP(29)

// func equalFloat(a, b *[32]uint32) (lanes uint32)
TEXT ·equalFloat(SB), NOSPLIT, $0-20
	FLOATCMP(0)

// func notEqualUnordered(a, b *[32]uint32) (lanes uint32)
TEXT ·notEqualUnordered(SB), NOSPLIT, $0-20
	FLOATCMP(4)

// func madWords(d, a, b, c *[32]uint32)
TEXT ·madWords(SB), NOSPLIT, $0-32
	MOVQ d+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), BX
	MOVQ c+24(FP), CX
	XORQ AX, AX
lanes:
	VMOVDQU (SI)(AX*1), Y0
	VPMULLD (BX)(AX*1), Y0, Y0
	VPADDD (CX)(AX*1), Y0, Y0
	VMOVDQU Y0, (DI)(AX*1)
	ADDQ $32, AX
	CMPQ AX, $128
	JNE lanes
	VZEROUPPER
	RET

// func floatsOfHalves(d, a *[32]uint32)
TEXT ·floatsOfHalves(SB), NOSPLIT, $0-16
	MOVQ d+0(FP), DI
	MOVQ a+8(FP), SI
	VMOVUPS nans<>(SB), Y15
	XORQ AX, AX
lanes:
	VMOVDQU (SI)(AX*1), Y0
	VPSLLD $16, Y0, Y0
	VPSRLD $16, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPACKUSDW X1, X0, X0
	VCVTPH2PS X0, Y0
	VCMPPS $3, Y0, Y0, Y2
	VBLENDVPS Y2, Y15, Y0, Y0
	VMOVUPS Y0, (DI)(AX*1)
	ADDQ $32, AX
	CMPQ AX, $128
	JNE lanes
	VZEROUPPER
	RET
