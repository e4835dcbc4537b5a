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
