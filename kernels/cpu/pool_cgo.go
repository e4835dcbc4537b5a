//go:build cgo

package cpu

// #cgo LDFLAGS: -lpthread
// #include <stdlib.h>
// #include "cpu.h"
import "C"

import (
	"runtime"
	"sync"
	"unsafe"
)

// Pool runs heavy steps, one at a time, on threads that it keeps (pool.c).
type Pool struct {
	l       *Loops
	threads int
	mu      sync.Mutex
	p       *C.cpu_pool
}

// CanPin says whether this system and build let a program keep a thread on a processor.
func CanPin() bool { return bool(C.cpu_can_pin()) }

// NewPool starts threads-1 threads; the caller of a step is the last. With first of 0 or
// more thread i stays on processor first + i of those that this process may use, round
// and round, if CanPin; with -1 threads run anywhere. It returns nil when there is no
// memory.
func (l *Loops) NewPool(threads, first int) *Pool {
	p := C.cpu_pool_new(C.int(threads), C.int(first))
	if p == nil {
		return nil
	}
	return &Pool{l: l, threads: threads, p: p}
}

// Close ends the threads.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	C.cpu_pool_free(p.p)
	p.p = nil
}

// do runs one step. A closed pool does nothing.
func (p *Pool) do(f func(p *C.cpu_pool)) {
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
	p.do(func(c *C.cpu_pool) {
		C.cpu_run_wino(c, p.l.isa, w.fns, &w.job, ptr(work), C.int(w.tiles), C.int(size), boolInt(shared))
	})
}

// PackWino transforms weights w (K,3,3,C) into u: for y = conv(x), or with dgrad
// for dx = conv^T(dy). scale multiplies them.
func (p *Pool) PackWino(tile int, u, w []float32, k, c int, dgrad bool, scale float64) {
	p.do(func(cp *C.cpu_pool) {
		C.cpu_run_pack(cp, p.l.isa, p.l.fns(tile), ptr(w), C.int(k), C.int(c), boolInt(dgrad), C.double(scale), ptr(u))
	})
}

// Conv3x3 computes y = conv3x3(x) (+ bias), then ReLU if relu, of n pictures h x
// w in blocks of size rows.
func (p *Pool) Conv3x3(y, x []float32, w *Weights, n, h, width int, relu bool, size int) {
	p.do(func(c *C.cpu_pool) {
		C.cpu_run_conv3x3(c, p.l.isa, ptr(x), ptr(w.data), ptr(w.bias), ptr(y), C.int(n), C.int(h), C.int(width), C.int(w.C), C.int(w.K), boolInt(relu), C.int(size))
	})
}

// FirstFprop computes y = relu(conv(x) + bias), 3 to 64 channels, and its sign
// bits if bits is not nil. work has FirstStrip values a thread.
func (p *Pool) FirstFprop(y, bits, x, u, bias []float32, n, h, w, size int, work []float32) {
	p.do(func(c *C.cpu_pool) {
		C.cpu_run_first(c, p.l.isa, 0, ptr(x), ptr(u), ptr(bias), ptr(y), (*C.uint8_t)(unsafe.Pointer(ptr(bits))), C.int(n), C.int(h), C.int(w), C.int(size), ptr(work), C.long(FirstStrip(w)))
	})
}

// FirstDgrad computes dx from dy, 64 to 3 channels. work has FirstRing values a thread.
func (p *Pool) FirstDgrad(dx, dy, u []float32, n, h, w, size int, work []float32) {
	p.do(func(c *C.cpu_pool) {
		C.cpu_run_first(c, p.l.isa, 1, ptr(dy), ptr(u), nil, ptr(dx), nil, C.int(n), C.int(h), C.int(w), C.int(size), ptr(work), C.long(FirstRing(w)))
	})
}

// GramFwd computes g = f^T f / (c pixels), c x c. work holds c*c values a slice.
func (p *Pool) GramFwd(g, f, work []float32, c, pixels, slices int) {
	p.do(func(cp *C.cpu_pool) {
		C.cpu_run_gram_fwd(cp, p.l.isa, ptr(f), ptr(g), ptr(work), C.int(c), C.long(pixels), C.int(slices))
	})
}

// GramBwd computes df = f (dg + dg^T) / (c pixels). work holds MatrixLen(c) values.
func (p *Pool) GramBwd(df, dg, f, work []float32, c, pixels int) {
	p.do(func(cp *C.cpu_pool) {
		C.cpu_run_gram_bwd(cp, p.l.isa, ptr(f), ptr(dg), ptr(df), ptr(work), C.int(c), C.long(pixels))
	})
}

// cLoop is the C function of a loop.
type cLoop = C.cpu_loop_fn

func cLoopNamed(name string) cLoop {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return C.cpu_loop_named(c)
}

// loop runs the C function on blocks of size of the n units of each picture. The
// pointers in the arguments lead to C memory, except mean and std, which are
// pinned while it runs.
func (p *Pool) loop(l *Loop, pictures []Args, n, size int, sums []float64) {
	var pin runtime.Pinner
	defer pin.Unpin()
	args := make([]C.cpu_args, len(pictures))
	for i, a := range pictures {
		if len(a.Mean) > 0 {
			pin.Pin(&a.Mean[0])
		}
		if len(a.Std) > 0 {
			pin.Pin(&a.Std[0])
		}
		s := a.Adam
		args[i] = C.cpu_args{
			x: ptr(a.X), y: ptr(a.Y), dx: ptr(a.DX), dy: ptr(a.DY), a: ptr(a.A), b: ptr(a.B), target: ptr(a.Target), mask: ptr(a.Mask),
			gradient: ptr(a.Gradient), m: ptr(a.M), v: ptr(a.V), average: ptr(a.Average), mean: ptr(a.Mean), std: ptr(a.Std),
			H: C.int(a.H), W: C.int(a.W), C: C.int(a.C), pad: C.int(a.Pad), wrap: boolInt(a.Wrap), scale: C.float(a.Scale),
			adam: C.cpu_adam_step{
				one_minus_beta1: C.float(s.OneMinusBeta1), beta2: C.float(s.Beta2), one_minus_beta2: C.float(s.OneMinusBeta2),
				step_size: C.float(s.StepSize), sqrt_c2: C.float(s.SqrtC2), eps: C.float(s.Eps), clamp: C.int(s.Clamp),
			},
		}
	}
	p.do(func(c *C.cpu_pool) {
		C.cpu_run_loop(c, l.c, &args[0], C.long(len(args)), C.long(n), C.long(size), (*C.double)(unsafe.Pointer(unsafe.SliceData(sums))), C.int(l.sums))
	})
}

// lbfgs runs a pass in blocks of size values, with width sums of each in out.
func (p *Pool) lbfgs(l *LBFGS, pass lbfgsPass, size int, out []float64, width int) {
	var pin runtime.Pinner
	defer pin.Unpin()
	arg := C.cpu_lbfgs{
		x: ptr(l.X), g: ptr(l.G), a: ptr(l.A), ga: ptr(l.GA), d: ptr(l.D), s: ptr(l.S), y: ptr(l.Y), z: ptr(l.Z),
		n: C.long(len(l.X)), width: C.int(l.Width), smooth: C.float(l.smooth), slope: C.float(l.slope),
		slots: C.int(l.slots()), next: C.int(l.next), accept: boolInt(l.accept), by: C.float(l.by),
	}
	if len(l.coef) > 0 {
		pin.Pin(&l.coef[0])
		arg.coef = ptr(l.coef)
	}
	p.do(func(c *C.cpu_pool) {
		C.cpu_run_lbfgs(c, p.l.isa, C.cpu_lbfgs_pass(pass), &arg, C.long(size), (*C.double)(unsafe.Pointer(unsafe.SliceData(out))), C.int(width))
	})
}

// Peak runs independent multiply-adds on every thread and returns how many
// floating-point operations they were.
func (p *Pool) Peak(rounds int) (flops float64) {
	p.do(func(c *C.cpu_pool) { flops = float64(C.cpu_run_peak(c, p.l.isa, C.long(rounds))) })
	return flops
}
