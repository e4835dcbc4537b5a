//go:build !cgo

package cpu

import (
	"sync"
	"sync/atomic"
)

// Pool runs heavy steps on goroutines.
type Pool struct {
	l       *Loops
	threads int
}

// NewPool says how many goroutines a step may use.
func (l *Loops) NewPool(threads int) *Pool { return &Pool{l: l, threads: threads} }

// Close does nothing here.
func (p *Pool) Close() {}

// Conv3x3 computes y = conv3x3(x) (+ bias), then ReLU if relu, of n pictures h x
// w in blocks of size rows.
func (p *Pool) Conv3x3(y, x []float32, w *Weights, n, h, width int, relu bool, size int) {
	blocks := (h + size - 1) / size
	p.each(n*blocks, func(i int) {
		pic, r := i/blocks*h*width, i%blocks*size
		p.l.conv3x3(y[pic*w.K:], x[pic*w.C:], w, h, width, relu, r, min(r+size, h))
	})
}

// Gram computes g = f^T f / (c pixels), c x c. work holds c*c values a slice.
func (p *Pool) Gram(g, f, work []float32, c, pixels, slices int) {
	bands, size := (c+63)/64, (pixels+slices-1)/slices
	slices = (pixels + size - 1) / size
	p.each(slices*bands, func(i int) {
		s, b := i/bands, i%bands*64
		p.l.gram(work[s*c*c:], f, c, b, min(b+64, c), s*size, min((s+1)*size, pixels))
	})
	scale := 1 / (float64(c) * float64(pixels))
	p.each(c, func(i int) {
		for j := i; j < c; j++ {
			var sum float64
			for s := range slices {
				sum += float64(work[(s*c+i)*c+j])
			}
			g[i*c+j], g[j*c+i] = float32(sum*scale), float32(sum*scale)
		}
	})
}

// GramGrad computes df = f (dg + dg^T) / (c pixels). work holds MatrixLen(c) values.
func (p *Pool) GramGrad(df, dg, f, work []float32, c, pixels int) {
	scale, nr := float32(1/(float64(c)*float64(pixels))), p.l.nr
	clear(work[:p.l.MatrixLen(c)])
	for i := range c {
		for j := range c {
			work[(i/nr*c+j)*nr+i%nr] = scale * (dg[i*c+j] + dg[j*c+i])
		}
	}
	const size = 96
	p.each((pixels+size-1)/size, func(i int) { p.l.gemm(df, f, work, c, i*size, min((i+1)*size, pixels)) })
}

const block = 1 << 15 // elements of a block

// ranges runs f on blocks of [0,n).
func (p *Pool) ranges(n, size int, f func(i, lo, hi int)) {
	size = max(size, 1)
	p.each((n+size-1)/size, func(i int) { f(i, i*size, min((i+1)*size, n)) })
}

// Normalize is y = (x - mean[c]) / std[c].
func (p *Pool) Normalize(y, x, mean, std []float32) {
	c := len(mean)
	p.ranges(len(x)/c, block/c, func(_, lo, hi int) { p.l.normalize(y[lo*c:hi*c], x[lo*c:hi*c], mean, std) })
}

// ReLU is y = max(x, 0).
func (p *Pool) ReLU(y, x []float32) {
	p.ranges(len(x), block, func(_, lo, hi int) { p.l.relu(y[lo:hi], x[lo:hi]) })
}

// ReLUGrad is dx = dy where y > 0, else 0.
func (p *Pool) ReLUGrad(dx, dy, y []float32) {
	p.ranges(len(y), block, func(_, lo, hi int) { p.l.reluGrad(dx[lo:hi], dy[lo:hi], y[lo:hi]) })
}

// Add is y = a + b.
func (p *Pool) Add(y, a, b []float32) {
	p.ranges(len(a), block, func(_, lo, hi int) { p.l.add(y[lo:hi], a[lo:hi], b[lo:hi]) })
}

// ScaledDiff is y = k (a - b).
func (p *Pool) ScaledDiff(y, a, b []float32, k float32) {
	p.ranges(len(a), block, func(_, lo, hi int) { p.l.scaledDiff(y[lo:hi], a[lo:hi], b[lo:hi], k) })
}

// AvgPool halves one picture x, h x w x c.
func (p *Pool) AvgPool(y, x []float32, h, w, c int) {
	p.ranges(h/2, block/(4*w*c), func(_, lo, hi int) { p.l.avgPool(y, x, h, w, c, lo, hi) })
}

// AvgPoolGrad spreads dy over one picture dx, h x w x c.
func (p *Pool) AvgPoolGrad(dx, dy []float32, h, w, c int) {
	p.ranges(h, block/(w*c), func(_, lo, hi int) { p.l.avgPoolGrad(dx, dy, h, w, c, lo, hi) })
}

// TVGrad is dx = k * (sum of signs of differences) of one picture.
func (p *Pool) TVGrad(dx, x []float32, h, w, c int, k float32) {
	p.ranges(h, block/(w*c), func(_, lo, hi int) { p.l.tvGrad(dx, x, h, w, c, k, lo, hi) })
}

// sum adds what f returns for each block, in order.
func (p *Pool) sum(n, size int, f func(lo, hi int) float64) (total float64) {
	sums := make([]float64, (n+max(size, 1)-1)/max(size, 1))
	p.ranges(n, size, func(i, lo, hi int) { sums[i] = f(lo, hi) })
	for _, s := range sums {
		total += s
	}
	return total
}

// SumSqDiff is sum (a-b)^2.
func (p *Pool) SumSqDiff(a, b []float32) float64 {
	return p.sum(len(a), block, func(lo, hi int) float64 { return p.l.sumSqDiff(a[lo:hi], b[lo:hi]) })
}

// TV sums the absolute differences of neighbours in one picture.
func (p *Pool) TV(x []float32, h, w, c int) float64 {
	return p.sum(h, block/(w*c), func(lo, hi int) float64 { return p.l.tv(x, h, w, c, lo, hi) })
}

// Adam takes one step on a picture; see gpu.AdamParams for the formula.
func (p *Pool) Adam(x, m, v, g []float32, a AdamStep) {
	p.ranges(len(x), block, func(_, lo, hi int) { p.l.adam(x[lo:hi], m[lo:hi], v[lo:hi], g[lo:hi], a) })
}

// Stats returns sum x, sum (x - 0.5)^2, and 1 if the square of every value of g
// is finite, else 0.
func (p *Pool) Stats(x, g []float32) [3]float64 {
	s := [3]float64{2: 1}
	p.l.stats(x, g, 0.5, &s)
	return s
}

// each calls f(0) .. f(n-1), in any order, on as many goroutines as the pool has
// threads. A goroutine takes the next index when it is done with the last.
func (p *Pool) each(n int, f func(i int)) {
	workers := min(p.threads, n)
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			f(i)
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}

// Peak runs independent multiply-adds and returns how many floating-point
// operations they were.
func (p *Pool) Peak(rounds int) float64 {
	sums := make([]float32, p.threads)
	p.each(p.threads, func(i int) {
		var s [8]float32
		for range rounds * 100 {
			for j := range s {
				s[j] = s[j]*1.0000001 + 1e-9
			}
		}
		sums[i] = s[0]
	})
	return float64(rounds) * 1600 * float64(p.threads)
}
