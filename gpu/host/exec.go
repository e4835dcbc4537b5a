package host

import (
	"context"
	"fmt"
	"math"

	"github.com/stylize-gpu/stylize/gpu"
	loops "github.com/stylize-gpu/stylize/kernels/host"
)

// runner is a program bound to its memory.
type runner struct {
	dev *Device
	*layout
	arena []float32
	calls []func() // one per step
}

func (r *runner) Plan() *gpu.Plan { return r.plan }

// Close drops the arena; the runner cannot be used afterwards.
func (r *runner) Close() error {
	loops.Free(r.arena)
	r.arena, r.calls = nil, nil
	return nil
}

func (r *runner) Write(b *gpu.Buffer, data []float32) error {
	if err := r.checkIO(b, len(data), true); err != nil {
		return err
	}
	copy(r.mem(b), data)
	return nil
}

func (r *runner) Read(b *gpu.Buffer, dst []float32) error {
	if err := r.checkIO(b, len(dst), false); err != nil {
		return err
	}
	copy(dst, r.mem(b))
	return nil
}

func (r *runner) checkIO(b *gpu.Buffer, n int, write bool) error {
	if r.arena == nil {
		return errClosed
	}
	if _, ok := r.offset[b]; !ok {
		return fmt.Errorf("cpu: buffer %s is not part of this program", b.Name)
	}
	return gpu.CheckIO(b, n, write)
}

// Run executes the program n times; ctx is looked at before every step.
func (r *runner) Run(ctx context.Context, n int) (int, error) {
	if r.arena == nil {
		return 0, errClosed
	}
	for i := range n {
		for j, call := range r.calls {
			if err := ctx.Err(); err != nil {
				return i, err
			}
			if r.dev.opt.Check {
				r.armFences(j)
			}
			call()
			if r.dev.opt.Check {
				if err := r.checkFences(j); err != nil {
					return i, err
				}
			}
		}
	}
	return n, nil
}

// mem is the memory of a buffer.
func (r *runner) mem(b *gpu.Buffer) []float32 {
	if b.Role == gpu.Const {
		return b.Data
	}
	o := r.offset[b] / 4
	n := int64(b.Shape.Elems())
	return r.arena[o : o+n : o+n]
}

// armFences fills the fences of the buffers that begin to live at a step: their
// place may have belonged to others before.
func (r *runner) armFences(at int) {
	for i, s := range r.spans {
		if s.First == at {
			end := (r.offsets[i] + s.Bytes) / 4
			for j := end - fence/4; j < end; j++ {
				r.arena[j] = float32(math.NaN())
			}
		}
	}
}

// checkFences verifies that no step wrote behind a buffer that is alive.
func (r *runner) checkFences(at int) error {
	for i, s := range r.spans {
		if at < s.First || at > s.Last {
			continue
		}
		end := (r.offsets[i] + s.Bytes) / 4
		for j := end - fence/4; j < end; j++ {
			if v := r.arena[j]; v == v {
				return fmt.Errorf("cpu: %s wrote behind %s", r.steps[at].op, s.Name)
			}
		}
	}
	return nil
}

// part is a cut of n items into equal blocks: block i is [i*size, min(n, (i+1)*size)).
type part struct{ n, size int }

func (p part) blocks() int           { return (p.n + p.size - 1) / p.size }
func (p part) at(i int) (lo, hi int) { return i * p.size, min(p.n, (i+1)*p.size) }

// chunk is the number of elements that one call of an elementwise loop takes:
// long enough to hide the call, short enough to share between threads.
const chunk = 1 << 15

// bind returns the function that executes a step on its buffers.
func (r *runner) bind(index int, s *step) (func(), error) {
	op, l := s.op, r.dev.loops
	work := r.arena[r.scratch[index]/4:][:s.scratch/4]
	if s.conv != nil {
		return r.bindConv(s, work)
	}
	in := make([][]float32, len(s.in))
	for i, b := range s.in {
		in[i] = r.mem(b)
	}
	out := make([][]float32, len(s.out))
	for i, b := range s.out {
		out[i] = r.mem(b)
	}
	x, y := s.in[0].Shape, s.out[0].Shape
	nx, ny := x.Elems()/x.N, y.Elems()/y.N // elements of one picture

	// each runs f over chunks of all elements; rows over blocks of rows of each picture.
	each := func(n int, f func(lo, hi int)) func() {
		p := part{n, chunk}
		return func() { r.dev.pool.Each(p.blocks(), func(i int) { f(p.at(i)) }) }
	}
	rows := func(pictures, h, rowElems int, f func(n, lo, hi int)) func() {
		p := part{h, max(1, chunk/rowElems)}
		return func() {
			r.dev.pool.Each(pictures*p.blocks(), func(i int) {
				lo, hi := p.at(i % p.blocks())
				f(i/p.blocks(), lo, hi)
			})
		}
	}

	switch op.Kind {
	case gpu.Normalize, gpu.NormalizeGrad:
		p := part{x.N * x.Pixels(), chunk / 4}
		return func() {
			r.dev.pool.Each(p.blocks(), func(i int) {
				lo, hi := p.at(i)
				l.Normalize(out[0][lo*x.C:hi*x.C], in[0][lo*x.C:hi*x.C], op.Mean, op.Std)
			})
		}, nil
	case gpu.ReLU:
		return each(len(in[0]), func(lo, hi int) { l.ReLU(out[0][lo:hi], in[0][lo:hi]) }), nil
	case gpu.ReLUGrad:
		return each(len(in[0]), func(lo, hi int) { l.ReLUGrad(out[0][lo:hi], in[0][lo:hi], in[1][lo:hi]) }), nil
	case gpu.Add:
		return each(len(in[0]), func(lo, hi int) { l.Add(out[0][lo:hi], in[0][lo:hi], in[1][lo:hi]) }), nil
	case gpu.AvgPool2x2:
		return rows(y.N, y.H, 4*y.W*y.C, func(n, lo, hi int) {
			l.AvgPool(out[0][n*ny:(n+1)*ny], in[0][n*nx:(n+1)*nx], x.H, x.W, x.C, lo, hi)
		}), nil
	case gpu.AvgPool2x2Grad:
		return rows(y.N, y.H, y.W*y.C, func(n, lo, hi int) {
			l.AvgPoolGrad(out[0][n*ny:(n+1)*ny], in[0][n*nx:(n+1)*nx], y.H, y.W, y.C, lo, hi)
		}), nil
	case gpu.Gram:
		return r.bindGram(in[0], out[0], work, x), nil
	case gpu.GramGrad:
		f := s.in[1].Shape
		scale := 1 / (float32(f.C) * float32(f.Pixels()))
		mat := work[:l.MatrixLen(f.C)]
		pack, size := part{f.C, 64}, max(96, chunk/f.C/96*96)
		return func() {
			for n := range f.N {
				dg := in[0][n*f.C*f.C:][:f.C*f.C]
				clear(mat)
				r.dev.pool.Each(pack.blocks(), func(i int) {
					lo, hi := pack.at(i)
					l.PackMatrix(mat, dg, f.C, scale, lo, hi)
				})
				r.dev.pool.Gemm(out[0][n*ny:(n+1)*ny], in[1][n*ny:(n+1)*ny], mat, f.C, f.Pixels(), size)
			}
		}, nil
	case gpu.MSE:
		return r.bindSums(x.N, part{nx, chunk}, func(n, lo, hi int) float64 {
			b := in[1]
			if len(b) > nx {
				b = b[n*nx:]
			}
			return l.SumSqDiff(in[0][n*nx+lo:n*nx+hi], b[lo:hi])
		}, func(n int, sum float64) { out[0][n] = float32(float64(op.Scale) * sum / float64(nx)) }), nil
	case gpu.MSEGrad:
		k := float32(2 * float64(op.Scale) / float64(nx))
		p := part{nx, chunk}
		return func() {
			r.dev.pool.Each(x.N*p.blocks(), func(i int) {
				n := i / p.blocks()
				lo, hi := p.at(i % p.blocks())
				b := in[1]
				if len(b) > nx {
					b = b[n*nx:]
				}
				l.ScaledDiff(out[0][n*nx+lo:n*nx+hi], in[0][n*nx+lo:n*nx+hi], b[lo:hi], k)
			})
		}, nil
	case gpu.TV:
		return r.bindSums(x.N, part{x.H, max(1, chunk/(x.W*x.C))}, func(n, lo, hi int) float64 {
			return l.TV(in[0][n*nx:(n+1)*nx], x.H, x.W, x.C, lo, hi)
		}, func(n int, sum float64) { out[0][n] = float32(float64(op.Scale) * sum / float64(nx)) }), nil
	case gpu.TVGrad:
		k := float32(float64(op.Scale) / float64(nx))
		return rows(x.N, x.H, x.W*x.C, func(n, lo, hi int) {
			l.TVGrad(out[0][n*nx:(n+1)*nx], in[0][n*nx:(n+1)*nx], x.H, x.W, x.C, k, lo, hi)
		}), nil
	case gpu.Total:
		return func() { total(out[0], in, op.NContent, op.NStyle) }, nil
	case gpu.Adam:
		g, pic, m, v, step, tot := in[0], in[1], in[2], in[3], in[4], in[5]
		p := part{nx, chunk}
		return func() {
			a := loops.NewAdamStep(op.Adam.LR, op.Adam.Beta1, op.Adam.Beta2, op.Adam.Eps, int(step[0]), int(op.Adam.Clamp))
			r.dev.pool.Each(x.N*p.blocks(), func(i int) {
				n := i / p.blocks()
				if t := tot[4*n+3]; t-t != 0 { // not finite: keep the picture as it is
					return
				}
				lo, hi := p.at(i % p.blocks())
				lo, hi = n*nx+lo, n*nx+hi
				l.Adam(pic[lo:hi], m[lo:hi], v[lo:hi], g[lo:hi], a)
			})
		}, nil
	case gpu.Record:
		return r.bindRecord(in, out[0], s.out[0].Shape.N, x.N, nx), nil
	case gpu.Conv3x3, gpu.Conv3x3Dgrad, gpu.NumKinds: // convolutions are bound above
	}
	return nil, fmt.Errorf("cpu: %s: %w", op, gpu.ErrUnsupported)
}

// bindSums adds f over the blocks of each picture, in order, and hands the sum on.
func (r *runner) bindSums(pictures int, p part, f func(n, lo, hi int) float64, done func(n int, sum float64)) func() {
	sums := make([]float64, pictures*p.blocks())
	return func() {
		r.dev.pool.Each(len(sums), func(i int) {
			lo, hi := p.at(i % p.blocks())
			sums[i] = f(i/p.blocks(), lo, hi)
		})
		for n := range pictures {
			var sum float64
			for _, s := range sums[n*p.blocks() : (n+1)*p.blocks()] {
				sum += s
			}
			done(n, sum)
		}
	}
}

// bindGram sums slices of the pixels into triangles of their own, then adds
// those in order and mirrors.
func (r *runner) bindGram(f, g, work []float32, x gpu.Shape) func() {
	c, slices := x.C, gramSlices(x.Pixels())
	pix := part{x.Pixels(), (x.Pixels() + slices - 1) / slices}
	band := part{c, 64}
	scale := 1 / (float64(c) * float64(x.Pixels()))
	return func() {
		for n := range x.N {
			fn, gn := f[n*x.Pixels()*c:][:x.Pixels()*c], g[n*c*c:][:c*c]
			r.dev.pool.Gram(work, fn, c, x.Pixels(), slices)
			r.dev.pool.Each(band.blocks(), func(b int) {
				i0, i1 := band.at(b)
				for i := i0; i < i1; i++ {
					for j := i; j < c; j++ {
						var sum float64
						for s := range pix.blocks() {
							sum += float64(work[(s*c+i)*c+j])
						}
						v := float32(sum * scale)
						gn[i*c+j], gn[j*c+i] = v, v
					}
				}
			})
		}
	}
}

func total(out []float32, in [][]float32, contents, styles int) {
	for n := range in[0] {
		var c, s float64
		for _, t := range in[:contents] {
			c += float64(t[n])
		}
		for _, t := range in[contents : contents+styles] {
			s += float64(t[n])
		}
		tv := in[contents+styles][n]
		out[4*n], out[4*n+1], out[4*n+2], out[4*n+3] = float32(c), float32(s), tv, float32(c+s+float64(tv))
	}
}

// bindRecord writes one row of the ring a picture and counts the step.
func (r *runner) bindRecord(in [][]float32, ring []float32, ringRows, pictures, nx int) func() {
	l, x, g, tot, step := r.dev.loops, in[0], in[1], in[2], in[3]
	p := part{nx, chunk}
	sums := make([][3]float64, pictures*p.blocks())
	const center = 0.5 // the middle of a picture's range: the variance loses no digits
	return func() {
		r.dev.pool.Each(len(sums), func(i int) {
			n := i / p.blocks()
			lo, hi := p.at(i % p.blocks())
			sums[i] = [3]float64{2: 1}
			l.Stats(x[n*nx+lo:n*nx+hi], g[n*nx+lo:n*nx+hi], center, &sums[i])
		})
		for n := range pictures {
			var s [3]float64
			s[2] = 1
			for _, v := range sums[n*p.blocks() : (n+1)*p.blocks()] {
				s[0], s[1], s[2] = s[0]+v[0], s[1]+v[1], min(s[2], v[2])
			}
			e := float64(nx)
			mean := s[0] / e
			dev := max(s[1]-e*(mean-center)*(mean-center), 0) / max(e-1, 1)
			t := tot[4*n : 4*n+4]
			if t[3]-t[3] != 0 {
				s[2] = 0
			}
			row := ring[(int(step[0])%ringRows*pictures+n)*gpu.RecColumns:][:gpu.RecColumns]
			copy(row, t)
			row[gpu.RecMean], row[gpu.RecStd], row[gpu.RecFinite] = float32(mean), float32(math.Sqrt(dev)), float32(s[2])
		}
		step[0]++
	}
}
