//go:build cgo

package cpu

// #include "cpu.h"
import "C"

import (
	"runtime"
	"unsafe"
)

type cTiles = *C.cpu_bf16

func tiles(c *C.cpu_bf16, amx bool) *Tiles {
	if c == nil {
		return nil
	}
	return &Tiles{Name: C.GoString(c.name), AMX: amx, c: c}
}

// Tiles returns the loops in bf16 on the twin, with the instructions of this set.
func (l *Loops) Tiles() *Tiles { return tiles(l.isa.bf16, false) }

// AMX returns the loops in bf16 on AMX, or nil where the processor, the kernel or the
// build lacks it.
func AMX() *Tiles { return tiles(C.cpu_bf16_amx(), true) }

func halves(s []float32) *C.uint16_t { return (*C.uint16_t)(unsafe.Pointer(ptr(s))) }

func words(s []float32) *C.uint32_t { return (*C.uint32_t)(unsafe.Pointer(ptr(s))) }

// TilesPack packs weights (co,3,3,ci) for fprop or dgrad.
func (p *Pool) TilesPack(t *Tiles, w []float32, co, ci int, dgrad bool, out []float32) {
	p.pinned(w, func(c *C.cpu_pool) {
		C.cpu_run_bf16_pack(c, t.c, ptr(w), C.int(co), C.int(ci), boolInt(dgrad), halves(out))
	})
}

// TilesPackFirst packs the weights (64,3,3,3) of the first layer for fprop.
func (p *Pool) TilesPackFirst(t *Tiles, w, out []float32) {
	p.pinned(w, func(*C.cpu_pool) { C.cpu_bf16_pack_first(t.c, ptr(w), halves(out)) })
}

// pinned runs a step whose operand may lie in Go's memory.
func (p *Pool) pinned(w []float32, f func(*C.cpu_pool)) {
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&w[0])
	p.do(f)
}

// TilesConv runs a convolution.
func (p *Pool) TilesConv(t *Tiles, a *TilesConv) {
	k := C.cpu_bf16_conv{
		N: C.int(a.N), H: C.int(a.H), W: C.int(a.W), C: C.int(a.C), K: C.int(a.K), x: halves(a.X), w: halves(a.Weights), bias: ptr(a.Bias),
		relu: boolInt(a.ReLU), maxpool: boolInt(a.MaxPool), y: halves(a.Y), ypool: halves(a.YPool), ybits: words(a.YBits),
		f: halves(a.F), fw: halves(a.Matrix), addends: C.int(len(a.Addends)),
		unpool: C.int(a.Unpool), YH: C.int(a.H), YW: C.int(a.W), gate: words(a.Gate), image: ptr(a.Image), stream: boolInt(a.Stream),
	}
	if a.Unpool != UnpoolNone {
		k.YH, k.YW = C.int(a.YH), C.int(a.YW)
	}
	for i, m := range a.Addends {
		k.addend[i] = halves(m)
	}
	p.do(func(c *C.cpu_pool) { C.cpu_run_bf16_conv(c, t.c, &k, C.int(a.Strip), C.int(a.Columns), C.int(a.Group)) })
}

// TilesFirst computes y = relu(conv(x) + bias) of pictures x (n,h,w,3) in fp32, 64
// channels out, and its bits if bits is not nil. work has TilesStrip values a thread.
func (p *Pool) TilesFirst(t *Tiles, y, bits, x, weights, bias []float32, n, h, w, strip int, work []float32) {
	p.do(func(c *C.cpu_pool) {
		C.cpu_run_bf16_first(c, t.c, ptr(x), halves(weights), ptr(bias), halves(y), words(bits), C.int(n), C.int(h), C.int(w), C.int(strip), halves(work))
	})
}

// TilesGram computes g = f^T f / (c h w) of a map f, in slices of the pixels. work has
// TilesGramLen values.
func (p *Pool) TilesGram(t *Tiles, g, m []float32, h, w, c, slices int, work []float32) {
	p.do(func(cp *C.cpu_pool) {
		C.cpu_run_bf16_gram_fwd(cp, t.c, halves(m), ptr(g), ptr(work), C.int(h), C.int(w), C.int(c), C.int(slices))
	})
}

// TilesMatrix makes of the gradient of a Gram matrix what the features are multiplied
// with: (g + g^T) / (c pixels).
func (p *Pool) TilesMatrix(t *Tiles, g []float32, c, pixels int, out []float32) {
	p.do(func(cp *C.cpu_pool) {
		C.cpu_run_bf16_pack_gram(cp, t.c, ptr(g), C.int(c), C.double(pixels), halves(out))
	})
}

// mapPass runs a pass over the features of a picture.
func (p *Pool) mapPass(t *Tiles, j C.cpu_map_job, h, w, c int) {
	j.H, j.W, j.C = C.int(h), C.int(w), C.int(c)
	p.do(func(cp *C.cpu_pool) { C.cpu_run_bf16_map(cp, t.c, &j) })
}

// TilesFromPlain rounds a tensor x (h,w,c) into a map.
func (p *Pool) TilesFromPlain(t *Tiles, m, x []float32, h, w, c int) {
	p.mapPass(t, C.cpu_map_job{pass: C.MAP_FROM_PLAIN, plain: ptr(x), y: halves(m)}, h, w, c)
}

// TilesToPlain reads a map into a tensor x (h,w,c).
func (p *Pool) TilesToPlain(t *Tiles, x, m []float32, h, w, c int) {
	p.mapPass(t, C.cpu_map_job{pass: C.MAP_TO_PLAIN, _map: halves(m), to_plain: ptr(x)}, h, w, c)
}

// TilesMSEFwd returns the sum of (m - target)^2, target being a tensor (h,w,c).
func (p *Pool) TilesMSEFwd(t *Tiles, m, target []float32, h, w, c int) (sum float64) {
	rows := int(C.cpu_map_strip(C.int(w), C.int(c)))
	sums := make([]float64, (h+rows-1)/rows)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&sums[0])
	p.mapPass(t, C.cpu_map_job{pass: C.MAP_MSE_FWD, _map: halves(m), plain: ptr(target), sums: (*C.double)(&sums[0])}, h, w, c)
	for _, s := range sums {
		sum += s
	}
	return sum
}

// TilesMSEBwd computes y = scale (m - target).
func (p *Pool) TilesMSEBwd(t *Tiles, y, m, target []float32, scale float32, h, w, c int) {
	p.mapPass(t, C.cpu_map_job{pass: C.MAP_MSE_BWD, _map: halves(m), plain: ptr(target), scale: C.float(scale), y: halves(y)}, h, w, c)
}

// TilesMul computes y = m mask, a mask being one value a pixel.
func (p *Pool) TilesMul(t *Tiles, y, m, mask []float32, h, w, c int) {
	p.mapPass(t, C.cpu_map_job{pass: C.MAP_MUL, _map: halves(m), plain: ptr(mask), y: halves(y)}, h, w, c)
}

// TilesPeak runs independent products of tiles on every thread and returns how many
// floating-point operations they were.
func (p *Pool) TilesPeak(t *Tiles, rounds int) (flops float64) {
	p.do(func(c *C.cpu_pool) { flops = float64(C.cpu_run_bf16_peak(c, t.c, C.long(rounds))) })
	return flops
}

// dot is one product of tiles: c (16x16) += a b, of 16 x 32 values of 16 bits each.
func (t *Tiles) dot(c []float32, a, b []uint16) {
	C.cpu_bf16_dot(t.c, ptr(c), (*C.uint16_t)(&a[0]), (*C.uint16_t)(&b[0]))
}
