#include "textflag.h"

// The bits of the canonical NaN, for eight lanes.
DATA nans<>+0(SB)/8, $0x7fffffff7fffffff
DATA nans<>+8(SB)/8, $0x7fffffff7fffffff
DATA nans<>+16(SB)/8, $0x7fffffff7fffffff
DATA nans<>+24(SB)/8, $0x7fffffff7fffffff
GLOBL nans<>(SB), RODATA|NOPTR, $32

// FMA8 is d = a*b + c for eight lanes; unordered with itself means NaN.
#define FMA8(at) \
	VMOVUPS at(SI), Y0; \
	VMOVUPS at(BX), Y1; \
	VFMADD213PS at(CX), Y1, Y0; \
	VCMPPS $3, Y0, Y0, Y2; \
	VBLENDVPS Y2, Y15, Y0, Y0; \
	VMOVUPS Y0, at(DI)

// func fmaAVX2(d, a, b, c *[32]uint32)
TEXT ·fmaAVX2(SB), NOSPLIT, $0-32
	MOVQ d+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), BX
	MOVQ c+24(FP), CX
	VMOVUPS nans<>(SB), Y15
	FMA8(0)
	FMA8(32)
	FMA8(64)
	FMA8(96)
	VZEROUPPER
	RET

// func productsAVX2(d *[16]float64, a *[16][16]float64, b *[16]float64, columns int)
//
// Two columns at a time: Y0-Y3 and Y4-Y7 sum their sixteen rows, k upward.
TEXT ·productsAVX2(SB), NOSPLIT, $0-32
	MOVQ d+0(FP), DI
	MOVQ b+16(FP), BX
	MOVQ columns+24(FP), CX
columns:
	MOVQ a+8(FP), SI
	VXORPD Y0, Y0, Y0
	VXORPD Y1, Y1, Y1
	VXORPD Y2, Y2, Y2
	VXORPD Y3, Y3, Y3
	VXORPD Y4, Y4, Y4
	VXORPD Y5, Y5, Y5
	VXORPD Y6, Y6, Y6
	VXORPD Y7, Y7, Y7
	MOVQ $16, DX
products:
	VMOVUPD 0(SI), Y8
	VMOVUPD 32(SI), Y9
	VMOVUPD 64(SI), Y10
	VMOVUPD 96(SI), Y11
	VBROADCASTSD 0(BX), Y12
	VBROADCASTSD 128(BX), Y13
	VFMADD231PD Y8, Y12, Y0
	VFMADD231PD Y9, Y12, Y1
	VFMADD231PD Y10, Y12, Y2
	VFMADD231PD Y11, Y12, Y3
	VFMADD231PD Y8, Y13, Y4
	VFMADD231PD Y9, Y13, Y5
	VFMADD231PD Y10, Y13, Y6
	VFMADD231PD Y11, Y13, Y7
	ADDQ $128, SI
	ADDQ $8, BX
	DECQ DX
	JNZ products
	VMOVUPD Y0, 0(DI)
	VMOVUPD Y1, 32(DI)
	VMOVUPD Y2, 64(DI)
	VMOVUPD Y3, 96(DI)
	VMOVUPD Y4, 128(DI)
	VMOVUPD Y5, 160(DI)
	VMOVUPD Y6, 192(DI)
	VMOVUPD Y7, 224(DI)
	ADDQ $128, BX
	ADDQ $256, DI
	SUBQ $2, CX
	JNZ columns
	VZEROUPPER
	RET

// WIDEN8 stores the eight floats in Y0 as doubles, and goes on to the next row.
#define WIDEN8 \
	VEXTRACTF128 $1, Y0, X1; \
	VCVTPS2PD X0, Y2; \
	VCVTPS2PD X1, Y3; \
	VMOVUPD Y2, 0(DI); \
	VMOVUPD Y3, 32(DI); \
	ADDQ $16, SI; \
	ADDQ $128, DI; \
	DECQ CX

// func widenF16AVX2(d *float64, src *uint32, rows int)
TEXT ·widenF16AVX2(SB), NOSPLIT, $0-24
	MOVQ d+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), CX
row:
	VCVTPH2PS 0(SI), Y0
	WIDEN8
	JNZ row
	VZEROUPPER
	RET

// func widenBF16AVX2(d *float64, src *uint32, rows int)
TEXT ·widenBF16AVX2(SB), NOSPLIT, $0-24
	MOVQ d+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), CX
row:
	VPMOVZXWD 0(SI), Y0
	VPSLLD $16, Y0, Y0
	WIDEN8
	JNZ row
	VZEROUPPER
	RET

// func widenTF32AVX2(d *float64, src *uint32, rows int)
TEXT ·widenTF32AVX2(SB), NOSPLIT, $0-24
	MOVQ d+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), CX
row:
	VMOVUPS 0(SI), X0
	VPSRLD $13, X0, X0
	VPSLLD $13, X0, X0
	VCVTPS2PD X0, Y2
	VMOVUPD Y2, 0(DI)
	ADDQ $16, SI
	ADDQ $128, DI
	DECQ CX
	JNZ row
	VZEROUPPER
	RET

// AT8 is WIDEN8 for rows that stand at the addresses in BX.
#define AT8 \
	VEXTRACTF128 $1, Y0, X1; \
	VCVTPS2PD X0, Y2; \
	VCVTPS2PD X1, Y3; \
	VMOVUPD Y2, 0(DI); \
	VMOVUPD Y3, 32(DI); \
	ADDQ $4, BX; \
	ADDQ $128, DI; \
	DECQ CX

// func widenAtF16AVX2(d *float64, mem *byte, at *uint32, rows int)
TEXT ·widenAtF16AVX2(SB), NOSPLIT, $0-32
	MOVQ d+0(FP), DI
	MOVQ mem+8(FP), SI
	MOVQ at+16(FP), BX
	MOVQ rows+24(FP), CX
row:
	MOVL (BX), AX
	VCVTPH2PS (SI)(AX*1), Y0
	AT8
	JNZ row
	VZEROUPPER
	RET

// func widenAtBF16AVX2(d *float64, mem *byte, at *uint32, rows int)
TEXT ·widenAtBF16AVX2(SB), NOSPLIT, $0-32
	MOVQ d+0(FP), DI
	MOVQ mem+8(FP), SI
	MOVQ at+16(FP), BX
	MOVQ rows+24(FP), CX
row:
	MOVL (BX), AX
	VPMOVZXWD (SI)(AX*1), Y0
	VPSLLD $16, Y0, Y0
	AT8
	JNZ row
	VZEROUPPER
	RET

// func widenAtTF32AVX2(d *float64, mem *byte, at *uint32, rows int)
TEXT ·widenAtTF32AVX2(SB), NOSPLIT, $0-32
	MOVQ d+0(FP), DI
	MOVQ mem+8(FP), SI
	MOVQ at+16(FP), BX
	MOVQ rows+24(FP), CX
row:
	MOVL (BX), AX
	VMOVUPS (SI)(AX*1), X0
	VPSRLD $13, X0, X0
	VPSLLD $13, X0, X0
	VCVTPS2PD X0, Y2
	VMOVUPD Y2, 0(DI)
	ADDQ $4, BX
	ADDQ $128, DI
	DECQ CX
	JNZ row
	VZEROUPPER
	RET

// func spanAVX2(at, a *[32]uint32, offset uint32) (first, last, all uint32)
//
// at = a + offset; its least and greatest, and the or of all.
TEXT ·spanAVX2(SB), NOSPLIT, $0-36
	MOVQ at+0(FP), DI
	MOVQ a+8(FP), SI
	MOVL offset+16(FP), AX
	VMOVD AX, X4
	VPBROADCASTD X4, Y4
	VPADDD 0(SI), Y4, Y0
	VPADDD 32(SI), Y4, Y1
	VPADDD 64(SI), Y4, Y2
	VPADDD 96(SI), Y4, Y3
	VMOVDQU Y0, 0(DI)
	VMOVDQU Y1, 32(DI)
	VMOVDQU Y2, 64(DI)
	VMOVDQU Y3, 96(DI)
	VPMINUD Y0, Y1, Y5
	VPMINUD Y2, Y3, Y6
	VPMINUD Y5, Y6, Y5
	VPMAXUD Y0, Y1, Y7
	VPMAXUD Y2, Y3, Y8
	VPMAXUD Y7, Y8, Y7
	VPOR Y0, Y1, Y9
	VPOR Y2, Y3, Y10
	VPOR Y9, Y10, Y9
	VEXTRACTI128 $1, Y5, X6
	VPMINUD X5, X6, X5
	VEXTRACTI128 $1, Y7, X8
	VPMAXUD X7, X8, X7
	VEXTRACTI128 $1, Y9, X10
	VPOR X9, X10, X9
	VPSHUFD $0x4e, X5, X6
	VPMINUD X5, X6, X5
	VPSHUFD $0x4e, X7, X8
	VPMAXUD X7, X8, X7
	VPSHUFD $0x4e, X9, X10
	VPOR X9, X10, X9
	VPSHUFD $0xb1, X5, X6
	VPMINUD X5, X6, X5
	VPSHUFD $0xb1, X7, X8
	VPMAXUD X7, X8, X7
	VPSHUFD $0xb1, X9, X10
	VPOR X9, X10, X9
	VMOVD X5, AX
	MOVL AX, first+24(FP)
	VMOVD X7, AX
	MOVL AX, last+28(FP)
	VMOVD X9, AX
	MOVL AX, all+32(FP)
	VZEROUPPER
	RET

// TRANSPOSE makes rows of columns: 4x4 words in each half of Y0 to Y3, by way of Y4 to Y7.
#define TRANSPOSE \
	VPUNPCKLDQ Y1, Y0, Y4; \
	VPUNPCKHDQ Y1, Y0, Y5; \
	VPUNPCKLDQ Y3, Y2, Y6; \
	VPUNPCKHDQ Y3, Y2, Y7; \
	VPUNPCKLQDQ Y6, Y4, Y0; \
	VPUNPCKHQDQ Y6, Y4, Y1; \
	VPUNPCKLQDQ Y7, Y5, Y2; \
	VPUNPCKHQDQ Y7, Y5, Y3

// func loadQuadsAVX2(d0, d1, d2, d3 *[32]uint32, mem *byte, at *[32]uint32)
//
// Four words for each lane: rows of eight lanes become columns.
TEXT ·loadQuadsAVX2(SB), NOSPLIT, $0-48
	MOVQ d0+0(FP), R8
	MOVQ d1+8(FP), R9
	MOVQ d2+16(FP), R10
	MOVQ d3+24(FP), R11
	MOVQ mem+32(FP), SI
	MOVQ at+40(FP), BX
	MOVQ $4, CX
lanes:
	MOVL 0(BX), AX
	MOVL 16(BX), DX
	VMOVDQU (SI)(AX*1), X0
	VINSERTI128 $1, (SI)(DX*1), Y0, Y0
	MOVL 4(BX), AX
	MOVL 20(BX), DX
	VMOVDQU (SI)(AX*1), X1
	VINSERTI128 $1, (SI)(DX*1), Y1, Y1
	MOVL 8(BX), AX
	MOVL 24(BX), DX
	VMOVDQU (SI)(AX*1), X2
	VINSERTI128 $1, (SI)(DX*1), Y2, Y2
	MOVL 12(BX), AX
	MOVL 28(BX), DX
	VMOVDQU (SI)(AX*1), X3
	VINSERTI128 $1, (SI)(DX*1), Y3, Y3
	TRANSPOSE
	VMOVDQU Y0, (R8)
	VMOVDQU Y1, (R9)
	VMOVDQU Y2, (R10)
	VMOVDQU Y3, (R11)
	ADDQ $32, BX
	ADDQ $32, R8
	ADDQ $32, R9
	ADDQ $32, R10
	ADDQ $32, R11
	DECQ CX
	JNZ lanes
	VZEROUPPER
	RET

// func sumAVX2(d, c *[32]uint32, products *float64)
//
// Four lanes at a time, from one row of four columns that are two apart.
TEXT ·sumAVX2(SB), NOSPLIT, $0-24
	MOVQ d+0(FP), DI
	MOVQ c+8(FP), SI
	MOVQ products+16(FP), BX
	VMOVUPS nans<>(SB), Y15
	MOVQ $8, CX
rows:
	VMOVSD 0(BX), X0
	VMOVHPD 256(BX), X0, X0
	VMOVSD 512(BX), X1
	VMOVHPD 768(BX), X1, X1
	VINSERTF128 $1, X1, Y0, Y0
	VCVTPS2PD (SI), Y1
	VADDPD Y1, Y0, Y0
	VCVTPD2PSY Y0, X0
	VCMPPS $3, X0, X0, X2
	VBLENDVPS X2, X15, X0, X0
	VMOVUPS X0, (DI)
	ADDQ $8, BX
	ADDQ $16, SI
	ADDQ $16, DI
	DECQ CX
	JNZ rows
	VZEROUPPER
	RET

// func joinAVX2(dst, src *uint32, n int)
TEXT ·joinAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
eight:
	VMOVDQU (SI), Y0
	VPMAXUD (DI), Y0, Y0
	VMOVDQU Y0, (DI)
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $8, CX
	JNZ eight
	VZEROUPPER
	RET

// func storeQuadsAVX2(mem *byte, at, s0, s1, s2, s3 *[32]uint32)
//
// The inverse of loadQuadsAVX2: columns of eight lanes become rows.
TEXT ·storeQuadsAVX2(SB), NOSPLIT, $0-48
	MOVQ mem+0(FP), DI
	MOVQ at+8(FP), BX
	MOVQ s0+16(FP), R8
	MOVQ s1+24(FP), R9
	MOVQ s2+32(FP), R10
	MOVQ s3+40(FP), R11
	MOVQ $4, CX
lanes:
	VMOVDQU (R8), Y0
	VMOVDQU (R9), Y1
	VMOVDQU (R10), Y2
	VMOVDQU (R11), Y3
	TRANSPOSE
	MOVL 0(BX), AX
	VMOVDQU X0, (DI)(AX*1)
	MOVL 4(BX), AX
	VMOVDQU X1, (DI)(AX*1)
	MOVL 8(BX), AX
	VMOVDQU X2, (DI)(AX*1)
	MOVL 12(BX), AX
	VMOVDQU X3, (DI)(AX*1)
	MOVL 16(BX), AX
	VEXTRACTI128 $1, Y0, (DI)(AX*1)
	MOVL 20(BX), AX
	VEXTRACTI128 $1, Y1, (DI)(AX*1)
	MOVL 24(BX), AX
	VEXTRACTI128 $1, Y2, (DI)(AX*1)
	MOVL 28(BX), AX
	VEXTRACTI128 $1, Y3, (DI)(AX*1)
	ADDQ $32, BX
	ADDQ $32, R8
	ADDQ $32, R9
	ADDQ $32, R10
	ADDQ $32, R11
	DECQ CX
	JNZ lanes
	VZEROUPPER
	RET

// func broadcastWordsAVX2(d *[32]uint32, v uint32)
TEXT ·broadcastWordsAVX2(SB), NOSPLIT, $0-12
	MOVQ d+0(FP), DI
	MOVL v+8(FP), AX
	VMOVD AX, X0
	VPBROADCASTD X0, Y0
	VMOVDQU Y0, 0(DI)
	VMOVDQU Y0, 32(DI)
	VMOVDQU Y0, 64(DI)
	VMOVDQU Y0, 96(DI)
	VZEROUPPER
	RET

// func broadcastLongsAVX2(d *[32]uint64, v uint64)
TEXT ·broadcastLongsAVX2(SB), NOSPLIT, $0-16
	MOVQ d+0(FP), DI
	VPBROADCASTQ v+8(FP), Y0
	VMOVDQU Y0, 0(DI)
	VMOVDQU Y0, 32(DI)
	VMOVDQU Y0, 64(DI)
	VMOVDQU Y0, 96(DI)
	VMOVDQU Y0, 128(DI)
	VMOVDQU Y0, 160(DI)
	VMOVDQU Y0, 192(DI)
	VMOVDQU Y0, 224(DI)
	VZEROUPPER
	RET

// STEP4 clears the lanes of Y0 where four values differ from those before them by
// other than Y1.
#define STEP4(at) \
	VMOVDQU at+8(SI), Y2; \
	VPSUBQ at(SI), Y2, Y2; \
	VPCMPEQQ Y1, Y2, Y2; \
	VPAND Y2, Y0, Y0

// func stridedAVX2(a *[32]uint64, n uint64) bool
TEXT ·stridedAVX2(SB), NOSPLIT, $0-17
	MOVQ a+0(FP), SI
	VPBROADCASTQ n+8(FP), Y1
	VPCMPEQQ Y0, Y0, Y0
	STEP4(0)
	STEP4(32)
	STEP4(64)
	STEP4(96)
	STEP4(128)
	STEP4(160)
	STEP4(192)
	STEP4(216)
	VMOVMSKPD Y0, AX
	CMPQ AX, $15
	SETEQ ret+16(FP)
	VZEROUPPER
	RET

// func samePatternAVX2(at, from *[32]uint32) bool
TEXT ·samePatternAVX2(SB), NOSPLIT, $0-17
	MOVQ at+0(FP), SI
	MOVQ from+8(FP), BX
	VPBROADCASTD (SI), Y4
	VMOVDQU 0(SI), Y0
	VMOVDQU 32(SI), Y1
	VMOVDQU 64(SI), Y2
	VMOVDQU 96(SI), Y3
	VPSUBD Y4, Y0, Y0
	VPSUBD Y4, Y1, Y1
	VPSUBD Y4, Y2, Y2
	VPSUBD Y4, Y3, Y3
	VPXOR 0(BX), Y0, Y0
	VPXOR 32(BX), Y1, Y1
	VPXOR 64(BX), Y2, Y2
	VPXOR 96(BX), Y3, Y3
	VPOR Y1, Y0, Y0
	VPOR Y3, Y2, Y2
	VPOR Y2, Y0, Y0
	VPTEST Y0, Y0
	SETEQ ret+16(FP)
	VZEROUPPER
	RET
