package cpu

import (
	"context"
	"fmt"
	"math"

	"github.com/stylize-gpu/stylize/gpu"
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
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

// bind returns the function that executes a step on its buffers.
func (r *runner) bind(index int, s *step) (func(), error) {
	work := r.arena[r.scratch[index]/4:][:s.scratch/4]
	if s.conv != nil {
		return r.bindConv(s, work)
	}
	op, pool := s.op, r.dev.pool
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
	// pic is picture n of a buffer that holds one for each, or one for all.
	pic := func(v []float32, n, size int) []float32 {
		if len(v) == size {
			return v
		}
		return v[n*size : (n+1)*size]
	}

	switch op.Kind {
	case gpu.NormalizeFwd, gpu.NormalizeBwd:
		return func() { pool.Normalize(out[0], in[0], op.Mean, op.Std) }, nil
	case gpu.ReLUFwd:
		return func() { pool.ReLU(out[0], in[0]) }, nil
	case gpu.ReLUBwd:
		return func() { pool.ReLUGrad(out[0], in[0], in[1]) }, nil
	case gpu.Add:
		return func() { pool.Add(out[0], in[0], in[1]) }, nil
	case gpu.AvgPool2x2Fwd:
		return func() {
			for n := range x.N {
				pool.AvgPool(pic(out[0], n, ny), pic(in[0], n, nx), x.H, x.W, x.C)
			}
		}, nil
	case gpu.AvgPool2x2Bwd:
		return func() {
			for n := range x.N {
				pool.AvgPoolGrad(pic(out[0], n, ny), pic(in[0], n, nx), y.H, y.W, y.C)
			}
		}, nil
	case gpu.GramFwd:
		return func() {
			for n := range x.N {
				pool.Gram(pic(out[0], n, ny), pic(in[0], n, nx), work, x.C, x.Pixels(), gramSlices(x.Pixels()))
			}
		}, nil
	case gpu.GramBwd:
		return func() {
			for n := range y.N {
				pool.GramGrad(pic(out[0], n, ny), pic(in[0], n, nx), pic(in[1], n, ny), work, y.C, y.Pixels())
			}
		}, nil
	case gpu.MSEFwd:
		return func() {
			for n := range x.N {
				sum := pool.SumSqDiff(pic(in[0], n, nx), pic(in[1], n, nx))
				out[0][n] = float32(float64(op.Scale) * sum / float64(nx))
			}
		}, nil
	case gpu.MSEBwd:
		k := float32(2 * float64(op.Scale) / float64(nx))
		return func() {
			for n := range x.N {
				pool.ScaledDiff(pic(out[0], n, nx), pic(in[0], n, nx), pic(in[1], n, nx), k)
			}
		}, nil
	case gpu.TVFwd:
		return func() {
			for n := range x.N {
				out[0][n] = float32(float64(op.Scale) * pool.TV(pic(in[0], n, nx), x.H, x.W, x.C) / float64(nx))
			}
		}, nil
	case gpu.TVBwd:
		k := float32(float64(op.Scale) / float64(nx))
		return func() {
			for n := range x.N {
				pool.TVGrad(pic(out[0], n, nx), pic(in[0], n, nx), x.H, x.W, x.C, k)
			}
		}, nil
	case gpu.Total:
		return func() { total(out[0], in, op.NContent, op.NStyle) }, nil
	case gpu.Adam:
		g, image, m, v, step, tot := in[0], in[1], in[2], in[3], in[4], in[5]
		return func() {
			a := loops.NewAdamStep(op.Adam.LR, op.Adam.Beta1, op.Adam.Beta2, op.Adam.Eps, int(step[0]), int(op.Adam.Clamp))
			for n := range x.N {
				if t := tot[4*n+3]; t-t == 0 { // else not finite: keep the picture as it is
					pool.Adam(pic(image, n, nx), pic(m, n, nx), pic(v, n, nx), pic(g, n, nx), a)
				}
			}
		}, nil
	case gpu.Record:
		image, g, tot, step := in[0], in[1], in[2], in[3]
		return func() {
			for n := range x.N {
				st := pool.Stats(pic(image, n, nx), pic(g, n, nx))
				record(out[0], st, tot[4*n:4*n+4], n, x.N, nx, int(step[0])%y.N)
			}
			step[0]++
		}, nil
	case gpu.Conv3x3Fprop, gpu.Conv3x3Dgrad, gpu.NumKinds: // convolutions are bound above
	}
	return nil, fmt.Errorf("cpu: %s: %w", op, gpu.ErrUnsupported)
}

// total adds the terms of each picture: content, style, tv, and their sum.
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

// record writes one row of the ring. st holds the sum of a picture, its squares
// around the middle of the range, where the variance loses no digits, and
// whether the gradient was finite.
func record(ring []float32, st [3]float64, total []float32, n, pictures, elems, slot int) {
	e := float64(elems)
	mean := st[0] / e
	dev := max(st[1]-e*(mean-0.5)*(mean-0.5), 0) / max(e-1, 1)
	if total[3]-total[3] != 0 {
		st[2] = 0
	}
	row := ring[(slot*pictures+n)*gpu.RecColumns:][:gpu.RecColumns]
	copy(row, total)
	row[gpu.RecMean], row[gpu.RecStd], row[gpu.RecFinite] = float32(mean), float32(math.Sqrt(dev)), float32(st[2])
}
