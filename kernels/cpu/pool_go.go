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

// CanPin is false: goroutines run anywhere.
func CanPin() bool { return false }

// NewPool says how many goroutines a step may use; first is for builds with C.
func (l *Loops) NewPool(threads, _ int) *Pool { return &Pool{l: l, threads: threads} }

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

// GramFwd computes g = f^T f / (c pixels), c x c. work holds c*c values a slice.
func (p *Pool) GramFwd(g, f, work []float32, c, pixels, slices int) {
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

// GramBwd computes df = f (dg + dg^T) / (c pixels). work holds MatrixLen(c) values.
func (p *Pool) GramBwd(df, dg, f, work []float32, c, pixels int) {
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

// cLoop is the C function of a loop: not in this build.
type cLoop struct{}

func cLoopNamed(string) cLoop { return cLoop{} }

// loop runs the twin on blocks of size of the n units of each picture.
func (p *Pool) loop(l *Loop, pictures []Args, n, size int, sums []float64) {
	blocks := (n + size - 1) / size
	p.each(len(pictures)*blocks, func(i int) {
		i0 := i % blocks * size
		l.twin(&pictures[i/blocks], i0, min(i0+size, n), sums[i*l.sums:][:l.sums])
	})
}

// lbfgs runs a pass in blocks of size values, with width sums of each in out.
func (p *Pool) lbfgs(l *LBFGS, pass lbfgsPass, size int, out []float64, width int) {
	p.each((len(l.X)+size-1)/size, func(i int) {
		var sums []float64
		if width > 0 {
			sums = out[i*width:][:width]
		}
		l.pass(pass, i*size, min((i+1)*size, len(l.X)), sums)
	})
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
