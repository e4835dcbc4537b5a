//go:build cgo

package host

// #cgo LDFLAGS: -lpthread
// #include "host.h"
import "C"

import (
	"sync"
	"unsafe"
)

// Pool runs heavy steps, one at a time, on threads that it keeps (pool.c).
type Pool struct {
	l       *Loops
	threads int
	mu      sync.Mutex
	p       *C.host_pool
}

// NewPool starts threads-1 threads; the caller of a step is the last. It
// returns nil when there is no memory.
func (l *Loops) NewPool(threads int) *Pool {
	p := C.host_pool_new(C.int(threads))
	if p == nil {
		return nil
	}
	return &Pool{l: l, threads: threads, p: p}
}

// Close ends the threads.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	C.host_pool_free(p.p)
	p.p = nil
}

// do runs one step. A closed pool does nothing.
func (p *Pool) do(f func(p *C.host_pool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.p != nil {
		f(p.p)
	}
}

// Wino computes the convolution in blocks of size tiles, work holding V and M
// (WinoScratch) for each thread; or, shared, one V for all tiles and M for each
// thread, who divide the channels.
func (p *Pool) Wino(w *Wino, size int, shared bool, work []float32) {
	p.do(func(c *C.host_pool) {
		C.host_run_wino(c, p.l.isa, w.fns, &w.job, ptr(work), C.int(w.tiles), C.int(size), boolInt(shared))
	})
}

// PackWino transforms weights w (K,3,3,C) into u: for y = conv(x), or with dgrad
// for dx = conv^T(dy). scale multiplies them.
func (p *Pool) PackWino(tile int, u, w []float32, k, c int, dgrad bool, scale float64) {
	p.do(func(cp *C.host_pool) {
		C.host_run_pack(cp, p.l.isa, p.l.fns(tile), ptr(w), C.int(k), C.int(c), boolInt(dgrad), C.double(scale), ptr(u))
	})
}

// Conv3x3 computes y = conv3x3(x) (+ bias), then ReLU if relu, of n pictures h x
// w in blocks of size rows.
func (p *Pool) Conv3x3(y, x []float32, w *Weights, n, h, width int, relu bool, size int) {
	p.do(func(c *C.host_pool) {
		C.host_run_conv3x3(c, p.l.isa, ptr(x), ptr(w.data), ptr(w.bias), ptr(y), C.int(n), C.int(h), C.int(width), C.int(w.C), C.int(w.K), boolInt(relu), C.int(size))
	})
}

// FirstFwd computes y = relu(conv(x) + bias), 3 to 64 channels, and its sign
// bits if bits is not nil. work has FirstStrip values a thread.
func (p *Pool) FirstFwd(y, bits, x, u, bias []float32, n, h, w, size int, work []float32) {
	p.do(func(c *C.host_pool) {
		C.host_run_first(c, p.l.isa, 0, ptr(x), ptr(u), ptr(bias), ptr(y), (*C.uint8_t)(unsafe.Pointer(ptr(bits))), C.int(n), C.int(h), C.int(w), C.int(size), ptr(work), C.long(FirstStrip(w)))
	})
}

// FirstBwd computes dx from dy, 64 to 3 channels. work has FirstRing values a thread.
func (p *Pool) FirstBwd(dx, dy, u []float32, n, h, w, size int, work []float32) {
	p.do(func(c *C.host_pool) {
		C.host_run_first(c, p.l.isa, 1, ptr(dy), ptr(u), nil, ptr(dx), nil, C.int(n), C.int(h), C.int(w), C.int(size), ptr(work), C.long(FirstRing(w)))
	})
}

// Gemm computes y = f s for pixels x c, with s packed by PackMatrix, in blocks
// of size pixels.
func (p *Pool) Gemm(y, f, s []float32, c, pixels, size int) {
	p.do(func(cp *C.host_pool) {
		C.host_run_gemm(cp, p.l.isa, ptr(f), ptr(s), ptr(y), C.int(c), C.long(pixels), C.long(size))
	})
}

// Gram computes for each slice of the pixels the upper triangle of f^T f, c x c
// values of work a slice.
func (p *Pool) Gram(work, f []float32, c, pixels, slices int) {
	p.do(func(cp *C.host_pool) {
		C.host_run_gram(cp, p.l.isa, ptr(f), ptr(work), C.int(c), C.long(pixels), C.int(slices))
	})
}

// Peak runs independent multiply-adds on every thread and returns how many
// floating-point operations they were.
func (p *Pool) Peak(rounds int) (flops float64) {
	p.do(func(c *C.host_pool) { flops = float64(C.host_run_peak(c, p.l.isa, C.long(rounds))) })
	return flops
}
