// Package host holds the CPU's loops: the counterpart of the CUDA kernels. Each
// function computes a part of one operation (rows, pixels or elements) of one
// picture on the calling goroutine; gpu/host cuts the work and runs the parts.
//
// With cgo the loops are C with vector types, one source compiled for several
// instruction sets ([Sets], [Use]); without a C compiler they are plain Go,
// several times slower and equally correct. The package imports nothing.
//
// Sums run in an order fixed by the arguments, so results do not depend on the
// number of threads.
package host

// Weights is a convolution's weights packed for the register tile of one
// instruction set: panels of NR output channels, [panel][tap][C][NR].
type Weights struct {
	C, K int // channels in, channels out of the convolution that these weights perform
	data []float32
	bias []float32 // padded to whole panels; nil for none
}

// Bytes is the memory that the packed weights take.
func (w *Weights) Bytes() int64 { return 4 * int64(len(w.data)+len(w.bias)) }

// PackedBytes is what [Pack] with these channel counts will take.
func (l *Loops) PackedBytes(c, k int, bias bool) int64 {
	kp := (k + l.nr - 1) / l.nr * l.nr
	n := kp * 9 * c
	if bias {
		n += kp
	}
	return 4 * int64(n)
}

// PackFprop packs w (K,3,3,C) for y = conv3x3(x) + bias.
func (l *Loops) PackFprop(w, bias []float32, c, k int) *Weights {
	p := l.newWeights(c, k)
	p.bias = make([]float32, len(p.data)/(9*c))
	copy(p.bias, bias)
	for o := range k {
		for t := range 9 {
			for i := range c {
				p.data[l.index(c, o, t, i)] = w[(o*9+t)*c+i]
			}
		}
	}
	return p
}

// PackDgrad packs the same w (K,3,3,C) for dx = conv3x3^T(dy): taps rotated by
// 180 degrees, channels in and out exchanged. The result has C = k, K = c.
func (l *Loops) PackDgrad(w []float32, c, k int) *Weights {
	p := l.newWeights(k, c)
	for o := range k {
		for t := range 9 {
			for i := range c {
				p.data[l.index(k, i, 8-t, o)] = w[(o*9+t)*c+i]
			}
		}
	}
	return p
}

// PackMatrix packs a symmetric product for [Loops.Gemm]: s[j][i] = scale * (g[i][j] + g[j][i]), g of c x c.
func (l *Loops) PackMatrix(s, g []float32, c int, scale float32, j0, j1 int) {
	for j := j0; j < j1; j++ {
		for i := range c {
			s[(i/l.nr*c+j)*l.nr+i%l.nr] = scale * (g[i*c+j] + g[j*c+i])
		}
	}
}

// MatrixLen is the length of the packed matrix of [Loops.PackMatrix].
func (l *Loops) MatrixLen(c int) int { return (c + l.nr - 1) / l.nr * l.nr * c }

func (l *Loops) newWeights(c, k int) *Weights {
	return &Weights{C: c, K: k, data: make([]float32, (k+l.nr-1)/l.nr*l.nr*9*c)}
}

func (l *Loops) index(c, k, tap, i int) int { return ((k/l.nr*9+tap)*c+i)*l.nr + k%l.nr }
