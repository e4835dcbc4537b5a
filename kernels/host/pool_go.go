//go:build !cgo

package host

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
	p.Each(n*blocks, func(i int) {
		pic, r := i/blocks*h*width, i%blocks*size
		p.l.conv3x3(y[pic*w.K:], x[pic*w.C:], w, h, width, relu, r, min(r+size, h))
	})
}

// Gemm computes y = f s for pixels x c, with s packed by PackMatrix, in blocks
// of size pixels.
func (p *Pool) Gemm(y, f, s []float32, c, pixels, size int) {
	p.Each((pixels+size-1)/size, func(i int) { p.l.gemm(y, f, s, c, i*size, min((i+1)*size, pixels)) })
}

// Gram computes for each slice of the pixels the upper triangle of f^T f, c x c
// values of work a slice.
func (p *Pool) Gram(work, f []float32, c, pixels, slices int) {
	bands, size := (c+63)/64, (pixels+slices-1)/slices
	p.Each((pixels+size-1)/size*bands, func(i int) {
		s, b := i/bands, i%bands*64
		p.l.gram(work[s*c*c:], f, c, b, min(b+64, c), s*size, min((s+1)*size, pixels))
	})
}

// Peak runs independent multiply-adds and returns how many floating-point
// operations they were.
func (p *Pool) Peak(rounds int) float64 {
	sums := make([]float32, p.threads)
	p.Each(p.threads, func(i int) {
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
