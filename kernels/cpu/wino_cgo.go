//go:build cgo

package cpu

// #include "cpu.h"
import "C"

import "unsafe"

// Wino is a Winograd convolution F(tile x tile, 3x3) bound to its memory; see
// wino.h for the formulas. All slices must come from [Alloc].
type Wino struct {
	job   C.cpu_wino
	fns   *C.cpu_wino_fns
	tiles int
}

// WinoArgs are the operands. Channels are multiples of 64. Slices of bits hold
// one bit a value, eight channels a byte, in the storage of a []float32.
type WinoArgs struct {
	N, H, W, C, K int
	X             []float32 // (N,H,W,C), or with XBits the gradient behind a pool, (N,H/2,W/2,C)
	XBits         []float32 // YBits of the convolution before that pool
	U             []float32 // packed weights
	Bias          []float32 // forward only
	ReLU          bool
	Y             []float32 // (N,H,W,K), or nil
	YPool         []float32 // forward: 2x2 average, or with MaxPool the maximum, or nil
	MaxPool       bool
	YBits         []float32 // forward: which values of y are positive, and with MaxPool the first maximum of their window; or nil
	Gate          []float32 // backward: sign bits that gate y, or nil
	Accumulate    bool      // backward: add to y
}

func (l *Loops) fns(tile int) *C.cpu_wino_fns {
	if tile == 6 {
		return l.isa.f6
	}
	return l.isa.f4
}

// NewWino binds a convolution with tiles of 4 or 6.
func (l *Loops) NewWino(tile int, a WinoArgs) *Wino {
	bits := func(s []float32) *C.uint8_t { return (*C.uint8_t)(unsafe.Pointer(ptr(s))) }
	return &Wino{
		fns: l.fns(tile), tiles: WinoTiles(tile, a.N, a.H, a.W),
		job: C.cpu_wino{
			N: C.int(a.N), H: C.int(a.H), W: C.int(a.W), C: C.int(a.C), K: C.int(a.K), relu: boolInt(a.ReLU), accumulate: boolInt(a.Accumulate), maxpool: boolInt(a.MaxPool),
			x: ptr(a.X), xbits: bits(a.XBits), U: ptr(a.U), bias: ptr(a.Bias), y: ptr(a.Y), ypool: ptr(a.YPool), ybits: bits(a.YBits), gate: bits(a.Gate),
		},
	}
}

// WinoScratch is the length of V and M for a block of n tiles of c channels.
func (l *Loops) WinoScratch(tile, c, n int) (v, m int) {
	return int(C.cpu_wino_vsize(l.fns(tile), C.int(c), C.int(n))), int(C.cpu_wino_msize(l.fns(tile), C.int(n)))
}

// PackFirst packs the weights (64,3,3,3) of the first layer for both passes.
func (l *Loops) PackFirst(fprop, dgrad, w []float32) {
	C.cpu_first_pack(l.isa, ptr(w), ptr(fprop), ptr(dgrad))
}
