//go:build cgo

package host

/*
#cgo CFLAGS: -O3 -std=gnu11 -Wall -Wno-psabi
#cgo LDFLAGS: -lm
#include <stdlib.h>
#include "host.h"
*/
import "C"

import "unsafe"

// Loops is one instruction set's version of every loop.
type Loops struct {
	Name string // "avx512", "avx2", "base"
	isa  *C.host_isa
	nr   int // output channels of a weight panel
	mr   int // tiles of a panel of V
}

// HasWinograd says whether the build has the Winograd loops and those of the
// first layer; without them every convolution is direct.
const HasWinograd = true

// Names of the instruction sets, best first.
var names = []string{"avx512", "avx2", "base"}

// Sets returns the versions that this processor can run, the best first.
func Sets() []*Loops {
	var all []*Loops
	for _, name := range names {
		c := C.CString(name)
		if isa := C.host_isa_named(c); isa != nil {
			all = append(all, &Loops{Name: name, isa: isa, nr: int(isa.nr), mr: int(isa.mr)})
		}
		C.free(unsafe.Pointer(c))
	}
	return all
}

// Alloc returns n zeroed values outside Go's heap, aligned to a page or better,
// or nil when there is no memory. Free gives them back.
func Alloc(n int) []float32 {
	p := C.host_alloc(C.size_t(4 * n))
	if p == nil {
		return nil
	}
	return unsafe.Slice((*float32)(p), n)
}

// Free releases what Alloc returned; the slice must not be used afterwards.
func Free(s []float32) {
	if len(s) > 0 {
		C.host_free(unsafe.Pointer(&s[0]), C.size_t(4*len(s)))
	}
}

func ptr(s []float32) *C.float {
	if len(s) == 0 {
		return nil
	}
	return (*C.float)(unsafe.Pointer(&s[0]))
}

func boolInt(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// Normalize is y = (x - mean[c]) / std[c].
func (l *Loops) Normalize(y, x, mean, std []float32) {
	C.host_normalize(ptr(y), ptr(x), C.long(len(x)/len(mean)), C.int(len(mean)), ptr(mean), ptr(std))
}

// ReLU is y = max(x, 0).
func (l *Loops) ReLU(y, x []float32) { C.host_relu(ptr(y), ptr(x), C.long(len(x))) }

// ReLUGrad is dx = dy where y > 0, else 0.
func (l *Loops) ReLUGrad(dx, dy, y []float32) {
	C.host_relu_grad(ptr(dx), ptr(dy), ptr(y), C.long(len(y)))
}

// Add is y = a + b.
func (l *Loops) Add(y, a, b []float32) { C.host_add(ptr(y), ptr(a), ptr(b), C.long(len(a))) }

// AvgPool computes rows [row0,row1) of y from x, H x W x C.
func (l *Loops) AvgPool(y, x []float32, h, w, c, row0, row1 int) {
	C.host_avgpool(ptr(y), ptr(x), C.int(h), C.int(w), C.int(c), C.int(row0), C.int(row1))
}

// AvgPoolGrad computes rows [row0,row1) of dx, H x W x C.
func (l *Loops) AvgPoolGrad(dx, dy []float32, h, w, c, row0, row1 int) {
	C.host_avgpool_grad(ptr(dx), ptr(dy), C.int(h), C.int(w), C.int(c), C.int(row0), C.int(row1))
}

// SumSqDiff is sum (a-b)^2.
func (l *Loops) SumSqDiff(a, b []float32) float64 {
	return float64(C.host_sum_sqdiff(ptr(a), ptr(b), C.long(len(a))))
}

// ScaledDiff is y = k (a - b).
func (l *Loops) ScaledDiff(y, a, b []float32, k float32) {
	C.host_scaled_diff(ptr(y), ptr(a), ptr(b), C.float(k), C.long(len(a)))
}

// TV sums the absolute differences to the right and below of rows [row0,row1).
func (l *Loops) TV(x []float32, h, w, c, row0, row1 int) float64 {
	return float64(C.host_tv(ptr(x), C.int(h), C.int(w), C.int(c), C.int(row0), C.int(row1)))
}

// TVGrad computes rows [row0,row1) of dx = k * (sum of signs of differences).
func (l *Loops) TVGrad(dx, x []float32, h, w, c int, k float32, row0, row1 int) {
	C.host_tv_grad(ptr(dx), ptr(x), C.int(h), C.int(w), C.int(c), C.float(k), C.int(row0), C.int(row1))
}

// Adam takes one step on a range of values; see gpu.AdamParams for the formula.
func (l *Loops) Adam(x, m, v, g []float32, a AdamStep) {
	C.host_adam(ptr(x), ptr(m), ptr(v), ptr(g), C.long(len(x)), C.float(a.OneMinusBeta1), C.float(a.Beta2),
		C.float(a.OneMinusBeta2), C.float(a.StepSize), C.float(a.SqrtC2), C.float(a.Eps), C.int(a.Clamp))
}

// Stats adds sum x and sum (x-center)^2 to s and clears s[2] when the square
// of a value of g is not finite.
func (l *Loops) Stats(x, g []float32, center float64, s *[3]float64) {
	C.host_stats(ptr(x), ptr(g), C.long(len(x)), C.double(center), (*C.double)(unsafe.Pointer(&s[0])))
}
