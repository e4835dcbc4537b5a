// Package cpu holds the CPU's loops: the counterpart of the CUDA kernels. A
// [Pool] executes one step of a program at a time on all its threads; gpu/cpu
// decides which steps there are and where their memory lies.
//
// With cgo the loops are C with vector types, one source compiled for several
// instruction sets ([Sets]), and the threads are the pool's own (pool.c); without
// a C compiler they are plain Go, several times slower and equally correct.
//
//	direct.h       convolution over taps, matrix product, Gram matrix: any channels
//	micro.h        the matrix microkernel
//	wino.h         Winograd F(4x4,3x3) and F(6x6,3x3) with everything fused
//	first.h        conv1_1, three channels on one side
//	elementwise.c  loops that move more than they compute
//	lbfgs.c        the passes of L-BFGS over its vectors, with dots.h
//	steps.c        how each step is cut for the threads
//
// The convolutions and products have functions of their own; every other loop is a
// [Loop], a row in elementwise.go that says its name, how its work is cut and how many
// sums it leaves. To add one:
//
//	elementwise.c   the C function, and its line in the table at the end
//	elementwise.go  its row, and its twin in plain Go
//
// The tests walk the rows: a loop without its C function or without its twin
// fails, as one whose two functions disagree. A device that executes an operation
// by the loop alone names it in a line of its table (plain, in gpu/cpu/exec.go).
//
// Sums run in an order fixed by the arguments, so results do not depend on the
// number of threads. The package imports nothing.
package cpu

import "sync"

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
	l.panels(p, func(tap, in, out int) float32 { return w[(out*9+tap)*c+in] })
	return p
}

// PackDgrad packs the same w (K,3,3,C) for dx = conv3x3^T(dy): taps rotated by
// 180 degrees, channels in and out exchanged. The result has C = k, K = c.
func (l *Loops) PackDgrad(w []float32, c, k int) *Weights {
	p := l.newWeights(k, c)
	l.panels(p, func(tap, in, out int) float32 { return w[(in*9+8-tap)*c+out] })
	return p
}

// panels fills the packed weights from at(tap, channel in, channel out), several
// panels at a time.
func (l *Loops) panels(p *Weights, at func(tap, in, out int) float32) {
	var wg sync.WaitGroup
	size := 9 * p.C * l.nr
	for k0 := 0; k0 < p.K; k0 += l.nr {
		wg.Go(func() {
			d := p.data[k0/l.nr*size:][:size]
			lanes := min(l.nr, p.K-k0)
			for tap := range 9 {
				for in := range p.C {
					row := d[(tap*p.C+in)*l.nr:][:lanes]
					for i := range row {
						row[i] = at(tap, in, k0+i)
					}
				}
			}
		})
	}
	wg.Wait()
}

// MatrixLen is the length of the workspace of [Pool.GramBwd].
func (l *Loops) MatrixLen(c int) int { return (c + l.nr - 1) / l.nr * l.nr * c }

func (l *Loops) newWeights(c, k int) *Weights {
	return &Weights{C: c, K: k, data: make([]float32, (k+l.nr-1)/l.nr*l.nr*9*c)}
}
