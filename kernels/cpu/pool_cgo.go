//go:build cgo

package cpu

// #cgo LDFLAGS: -lpthread
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

// NewPool starts threads-1 threads; the caller of a step is the last. It
// returns nil when there is no memory.
func (l *Loops) NewPool(threads int) *Pool {
	p := C.cpu_pool_new(C.int(threads))
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

// FirstFwd computes y = relu(conv(x) + bias), 3 to 64 channels, and its sign
// bits if bits is not nil. work has FirstStrip values a thread.
func (p *Pool) FirstFwd(y, bits, x, u, bias []float32, n, h, w, size int, work []float32) {
	p.do(func(c *C.cpu_pool) {
		C.cpu_run_first(c, p.l.isa, 0, ptr(x), ptr(u), ptr(bias), ptr(y), (*C.uint8_t)(unsafe.Pointer(ptr(bits))), C.int(n), C.int(h), C.int(w), C.int(size), ptr(work), C.long(FirstStrip(w)))
	})
}

// FirstBwd computes dx from dy, 64 to 3 channels. work has FirstRing values a thread.
func (p *Pool) FirstBwd(dx, dy, u []float32, n, h, w, size int, work []float32) {
	p.do(func(c *C.cpu_pool) {
		C.cpu_run_first(c, p.l.isa, 1, ptr(dy), ptr(u), nil, ptr(dx), nil, C.int(n), C.int(h), C.int(w), C.int(size), ptr(work), C.long(FirstRing(w)))
	})
}

// Gram computes g = f^T f / (c pixels), c x c. work holds c*c values a slice.
func (p *Pool) Gram(g, f, work []float32, c, pixels, slices int) {
	p.do(func(cp *C.cpu_pool) {
		C.cpu_run_gram(cp, p.l.isa, ptr(f), ptr(g), ptr(work), C.int(c), C.long(pixels), C.int(slices))
	})
}

// GramGrad computes df = f (dg + dg^T) / (c pixels). work holds MatrixLen(c) values.
func (p *Pool) GramGrad(df, dg, f, work []float32, c, pixels int) {
	p.do(func(cp *C.cpu_pool) {
		C.cpu_run_gram_grad(cp, p.l.isa, ptr(f), ptr(dg), ptr(df), ptr(work), C.int(c), C.long(pixels))
	})
}

// loop runs a memory-bound loop on all threads. The pointers in it lead to C
// memory, except mean, std and sums, which are pinned while it runs.
func (p *Pool) loop(a C.cpu_loop, mean, std []float32, sums []float64) {
	var pin runtime.Pinner
	defer pin.Unpin()
	if len(mean) > 0 {
		pin.Pin(&mean[0])
		pin.Pin(&std[0])
		a.mean, a.std = ptr(mean), ptr(std)
	}
	if len(sums) > 0 {
		pin.Pin(&sums[0])
		a.sums = (*C.double)(unsafe.Pointer(&sums[0]))
	}
	p.do(func(c *C.cpu_pool) { C.cpu_run_loop(c, &a) })
}

// sums runs a loop that leaves width values a block, and adds them in order.
func (p *Pool) sums(a C.cpu_loop, width int) (total [3]float64) {
	s := make([]float64, width*int(C.cpu_loop_blocks(&a)))
	p.loop(a, nil, nil, s)
	for i, v := range s {
		if width == 3 && i%3 == 2 {
			if i == 2 || v == 0 {
				total[2] = v
			}
			continue
		}
		total[i%width] += v
	}
	return total
}

// Normalize is y = (x - mean[c]) / std[c].
func (p *Pool) Normalize(y, x, mean, std []float32) {
	c := len(mean)
	p.loop(C.cpu_loop{kind: C.CPU_NORMALIZE, y: ptr(y), a: ptr(x), n: C.long(len(x) / c), C: C.int(c)}, mean, std, nil)
}

// ReLU is y = max(x, 0).
func (p *Pool) ReLU(y, x []float32) {
	p.loop(C.cpu_loop{kind: C.CPU_RELU, y: ptr(y), a: ptr(x), n: C.long(len(x))}, nil, nil, nil)
}

// ReLUGrad is dx = dy where y > 0, else 0.
func (p *Pool) ReLUGrad(dx, dy, y []float32) {
	p.loop(C.cpu_loop{kind: C.CPU_RELU_GRAD, y: ptr(dx), a: ptr(dy), b: ptr(y), n: C.long(len(y))}, nil, nil, nil)
}

// Add is y = a + b.
func (p *Pool) Add(y, a, b []float32) {
	p.loop(C.cpu_loop{kind: C.CPU_ADD, y: ptr(y), a: ptr(a), b: ptr(b), n: C.long(len(a))}, nil, nil, nil)
}

// ScaledDiff is y = k (a - b).
func (p *Pool) ScaledDiff(y, a, b []float32, k float32) {
	p.loop(C.cpu_loop{kind: C.CPU_SCALED_DIFF, y: ptr(y), a: ptr(a), b: ptr(b), k: C.float(k), n: C.long(len(a))}, nil, nil, nil)
}

// AvgPool halves one picture x, h x w x c.
func (p *Pool) AvgPool(y, x []float32, h, w, c int) {
	p.loop(C.cpu_loop{kind: C.CPU_AVGPOOL, y: ptr(y), a: ptr(x), n: C.long(h / 2), H: C.int(h), W: C.int(w), C: C.int(c)}, nil, nil, nil)
}

// AvgPoolGrad spreads dy over one picture dx, h x w x c.
func (p *Pool) AvgPoolGrad(dx, dy []float32, h, w, c int) {
	p.loop(C.cpu_loop{kind: C.CPU_AVGPOOL_GRAD, y: ptr(dx), a: ptr(dy), n: C.long(h), H: C.int(h), W: C.int(w), C: C.int(c)}, nil, nil, nil)
}

// TVGrad is dx = k * (sum of signs of differences) of one picture.
func (p *Pool) TVGrad(dx, x []float32, h, w, c int, k float32) {
	p.loop(C.cpu_loop{kind: C.CPU_TV_GRAD, y: ptr(dx), a: ptr(x), n: C.long(h), H: C.int(h), W: C.int(w), C: C.int(c), k: C.float(k)}, nil, nil, nil)
}

// SumSqDiff is sum (a-b)^2.
func (p *Pool) SumSqDiff(a, b []float32) float64 {
	return p.sums(C.cpu_loop{kind: C.CPU_SUM_SQDIFF, a: ptr(a), b: ptr(b), n: C.long(len(a))}, 1)[0]
}

// TV sums the absolute differences of neighbours in one picture.
func (p *Pool) TV(x []float32, h, w, c int) float64 {
	return p.sums(C.cpu_loop{kind: C.CPU_TV, a: ptr(x), n: C.long(h), H: C.int(h), W: C.int(w), C: C.int(c)}, 1)[0]
}

// Adam takes one step on a picture; see gpu.AdamParams for the formula.
func (p *Pool) Adam(x, m, v, g []float32, a AdamStep) {
	p.loop(C.cpu_loop{
		kind: C.CPU_ADAM, y: ptr(x), m: ptr(m), v: ptr(v), a: ptr(g), n: C.long(len(x)),
		one_minus_b1: C.float(a.OneMinusBeta1), b2: C.float(a.Beta2), one_minus_b2: C.float(a.OneMinusBeta2),
		step_size: C.float(a.StepSize), sqrt_c2: C.float(a.SqrtC2), eps: C.float(a.Eps), clamp: C.int(a.Clamp),
	}, nil, nil, nil)
}

// Stats returns sum x, sum (x - 0.5)^2, and 1 if the square of every value of g
// is finite, else 0.
func (p *Pool) Stats(x, g []float32) [3]float64 {
	return p.sums(C.cpu_loop{kind: C.CPU_STATS, a: ptr(x), b: ptr(g), n: C.long(len(x))}, 3)
}

// Peak runs independent multiply-adds on every thread and returns how many
// floating-point operations they were.
func (p *Pool) Peak(rounds int) (flops float64) {
	p.do(func(c *C.cpu_pool) { flops = float64(C.cpu_run_peak(c, p.l.isa, C.long(rounds))) })
	return flops
}
