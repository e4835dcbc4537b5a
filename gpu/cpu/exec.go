package cpu

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/stylize-gpu/stylize/gpu"
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
)

// runner is a program bound to its memory.
type runner struct {
	dev *Device
	*layout
	arena  []float32
	calls  []func() // one per step
	update int      // the first step that writes state
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

// WriteAt sets one picture.
func (r *runner) WriteAt(b *gpu.Buffer, n int, data []float32) error {
	if err := r.checkPart(b, n, len(data), true); err != nil {
		return err
	}
	copy(r.picture(b, n), data)
	return nil
}

// ReadAt copies one picture.
func (r *runner) ReadAt(b *gpu.Buffer, n int, dst []float32) error {
	if err := r.checkPart(b, n, len(dst), false); err != nil {
		return err
	}
	copy(dst, r.picture(b, n))
	return nil
}

// Reset clears the state of picture n.
func (r *runner) Reset(n int) error {
	for b := range r.offset {
		if b.Role != gpu.State {
			continue
		}
		if err := r.checkPart(b, n, perPicture(b), true); err != nil {
			return err
		}
		clear(r.picture(b, n))
	}
	return nil
}

func (r *runner) checkPart(b *gpu.Buffer, n, values int, write bool) error {
	if err := gpu.CheckPart(b, n, values); err != nil {
		return err
	}
	return r.checkIO(b, b.Shape.Elems(), write)
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

// Run executes the program n times. It looks at ctx before every step, up to the
// first that writes state: what follows is a matter of milliseconds, and half of
// an update would be none.
func (r *runner) Run(ctx context.Context, n int) (int, error) {
	if r.arena == nil {
		return 0, errClosed
	}
	for i := range n {
		for j, call := range r.calls {
			if err := ctx.Err(); err != nil && j <= r.update {
				return i, err
			}
			if r.dev.opt.Check {
				r.armFences(j)
				r.open(j)
			}
			call()
			if r.dev.opt.Check {
				loops.Fence(r.arena, false)
				if err := r.checkFences(j); err != nil {
					return i, err
				}
			}
		}
	}
	return n, nil
}

// mem is the memory of a buffer, nil for none.
func (r *runner) mem(b *gpu.Buffer) []float32 {
	if b == nil {
		return nil
	}
	o := r.offset[b] / 4
	n := int64(b.Shape.Elems())
	return r.arena[o : o+n : o+n]
}

// picture is the memory of picture n of a buffer.
func (r *runner) picture(b *gpu.Buffer, n int) []float32 {
	size := b.Shape.Elems() / b.Shape.N
	return r.mem(b)[n*size:][:size]
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

// open shuts the arena for a step but for the buffers that are alive. Where
// AddressSanitizer looks on, a loop that reads or writes beside them ends there.
func (r *runner) open(at int) {
	if !loops.Fences() {
		return
	}
	loops.Fence(r.arena, true)
	for i, s := range r.spans {
		if s.First <= at && at <= s.Last {
			loops.Fence(r.arena[r.offsets[i]/4:][:(s.Bytes-fence)/4], false)
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

// plain are the operations that one loop executes and nothing else.
var plain = map[gpu.Kind]*loops.Loop{
	gpu.NormalizeFwd:  loops.NormalizeFwd,
	gpu.NormalizeBwd:  loops.NormalizeBwd,
	gpu.ReLUFwd:       loops.ReLUFwd,
	gpu.ReLUBwd:       loops.ReLUBwd,
	gpu.Add:           loops.Add,
	gpu.Mul:           loops.Mul,
	gpu.PadFwd:        loops.PadFwd,
	gpu.PadBwd:        loops.PadBwd,
	gpu.AvgPool2x2Fwd: loops.AvgPool2x2Fwd,
	gpu.AvgPool2x2Bwd: loops.AvgPool2x2Bwd,
	gpu.MaxPool2x2Fwd: loops.MaxPool2x2Fwd,
	gpu.MaxPool2x2Bwd: loops.MaxPool2x2Bwd,
	gpu.MSEBwd:        loops.MSEBwd,
	gpu.TVBwd:         loops.TVBwd,
}

// bind returns the function that executes a step on its buffers.
func (r *runner) bind(index int, s *step) (func(), error) {
	work := r.arena[r.scratch[index]/4:][:s.scratch/4]
	if s.bind != nil {
		return s.bind(r, s, work)
	}
	if s.conv != nil {
		return r.bindConv(s.conv, work)
	}
	op, pool := s.op, r.dev.pool
	if l, ok := plain[op.Kind]; ok {
		args := r.args(op)
		if op.Knobs() == nil {
			return func() { pool.Loop(l, args...) }, nil
		}
		by := 1 / float64(perPicture(op.X())) // the gradient of a mean
		if op.Kind == gpu.MSEBwd {
			by *= 2
		}
		return func() {
			for n := range args {
				args[n].Scale = float32(r.knob(op, n, op.Column) * by)
			}
			pool.Loop(l, args...)
		}, nil
	}
	switch op.Kind {
	case gpu.GramFwd:
		f, args := op.X().Shape, r.args(op)
		slices := gramSlices(f.Pixels())
		return func() {
			for _, a := range args {
				pool.GramFwd(a.Y, a.X, work, f.C, f.Pixels(), slices)
			}
		}, nil
	case gpu.GramBwd:
		f, args := op.X().Shape, r.args(op)
		return func() {
			for _, a := range args {
				pool.GramBwd(a.DX, a.DY, a.X, work, f.C, f.Pixels())
			}
		}, nil
	case gpu.MSEFwd:
		return r.bindLoss(op, loops.MSEFwd), nil
	case gpu.TVFwd:
		return r.bindLoss(op, loops.TVFwd), nil
	case gpu.Total:
		return r.bindTotal(op), nil
	case gpu.Adam:
		return r.bindAdam(op), nil
	case gpu.LBFGS:
		return r.bindLBFGS(op), nil
	case gpu.Average:
		return r.bindAverage(op), nil
	case gpu.Record:
		return r.bindRecord(op), nil
	default: // convolutions are bound above
	}
	return nil, fmt.Errorf("cpu: %s: %w", op, gpu.ErrUnsupported)
}

// perPicture is the number of values of one picture.
func perPicture(b *gpu.Buffer) int { return b.Shape.Elems() / b.Shape.N }

// knob is a number of picture n.
func (r *runner) knob(op *gpu.Op, n, column int) float64 {
	return float64(r.picture(op.Knobs(), n)[column])
}

// working are the pictures of an optimiser that have steps to take.
func (r *runner) working(op *gpu.Op, each func(n int)) {
	step := r.mem(op.Step())
	for n, done := range step {
		if float64(done) < r.knob(op, n, gpu.KnobLimit) {
			each(n)
		}
	}
}

// args are the operands of each picture of an operation.
func (r *runner) args(op *gpu.Op) []loops.Args {
	x, y, dx := cmp.Or(op.X(), op.Picture()), op.Y(), op.DX()
	ext := cmp.Or(x, dx, y).Shape
	m, v := op.Moments()
	args := make([]loops.Args, ext.N)
	for n := range args {
		of := func(b *gpu.Buffer) []float32 {
			if b == nil {
				return nil
			}
			if b.Shape.N == 1 { // one for all pictures
				return r.mem(b)
			}
			return r.picture(b, n)
		}
		args[n] = loops.Args{
			X: of(x), Y: of(y), DX: of(dx), DY: of(op.DY()), A: of(op.A()), B: of(op.B()), Target: of(op.Target()), Mask: of(op.Mask()),
			Gradient: of(op.Gradient()), M: of(m), V: of(v), Average: of(op.Average()), Mean: op.Mean, Std: op.Std, H: ext.H, W: ext.W, C: ext.C,
			Pad: op.Pad.Pixels, Wrap: op.Pad.Mode == gpu.Wrap,
		}
	}
	return args
}

// bindLoss returns the function that computes a loss of each picture: the mean of
// a loop's sum, times the weight.
func (r *runner) bindLoss(op *gpu.Op, l *loops.Loop) func() {
	args, y := r.args(op), r.mem(op.Y())
	elems := perPicture(op.X())
	return func() {
		for n, sum := range r.dev.pool.Loop(l, args...) {
			y[n] = float32(r.knob(op, n, op.Column) * sum / float64(elems))
		}
	}
}

// bindTotal returns the function that adds the terms of each picture: content,
// style, tv, and their sum.
func (r *runner) bindTotal(op *gpu.Op) func() {
	mems := func(bs []*gpu.Buffer) [][]float32 {
		all := make([][]float32, len(bs))
		for i, b := range bs {
			all[i] = r.mem(b)
		}
		return all
	}
	content, style, smooth := op.Terms()
	contents, styles, tvs, y, each := mems(content), mems(style), r.mem(smooth), r.mem(op.Y()), r.mem(op.Each())
	terms := slices.Concat(contents, styles, [][]float32{tvs})
	return func() {
		for n, tv := range tvs {
			var c, s float64
			for _, t := range contents {
				c += float64(t[n])
			}
			for _, t := range styles {
				s += float64(t[n])
			}
			y[4*n], y[4*n+1], y[4*n+2], y[4*n+3] = float32(c), float32(s), tv, float32(c+s+float64(tv))
			for i, t := range terms {
				each[n*len(terms)+i] = t[n]
			}
		}
	}
}

// bindAdam returns the function that takes a step on every picture that has one to
// take and whose loss is finite; the others stay as they are.
func (r *runner) bindAdam(op *gpu.Op) func() {
	args, step, losses := r.args(op), r.mem(op.Step()), r.mem(op.Losses())
	moving, knobs := make([]loops.Args, 0, len(args)), make([]float64, gpu.KnobTerms)
	return func() {
		moving = moving[:0]
		r.working(op, func(n int) {
			if t := losses[4*n+3]; t-t != 0 {
				return
			}
			done := float64(step[n])
			for i := range knobs {
				knobs[i] = r.knob(op, n, i)
			}
			a := args[n]
			a.Adam = loops.NewAdamStep(gpu.Rate(knobs, done), op.Adam.Beta1, op.Adam.Beta2, op.Adam.Eps, int(done), int(op.Adam.Clamp))
			moving = append(moving, a)
		})
		r.dev.pool.Loop(loops.Adam, moving...)
	}
}

// bindLBFGS returns the function that takes a step of L-BFGS on every picture.
func (r *runner) bindLBFGS(op *gpu.Op) func() {
	l, losses := op.LBFGS, r.mem(op.Losses())
	a, ga := op.Accepted()
	s, y := op.Pairs()
	pictures := make([]loops.LBFGS, op.Picture().Shape.N)
	for n := range pictures {
		of := func(b *gpu.Buffer) []float32 { return r.picture(b, n) }
		pictures[n] = loops.LBFGS{
			X: of(op.Picture()), G: of(op.Gradient()), A: of(a), GA: of(ga), D: of(op.Direction()), S: of(s), Y: of(y), Z: of(op.Smoothed()), Control: of(op.Control()),
			Width: op.Picture().Shape.W, History: l.History, Rise: l.Rise,
		}
	}
	return func() {
		r.working(op, func(n int) {
			rate := r.knob(op, n, gpu.KnobRate)
			pictures[n].First, pictures[n].Most = l.First*rate, l.Most*rate
			r.dev.pool.LBFGS(&pictures[n], losses[4*n+3])
		})
	}
}

// bindAverage returns the function that takes every picture that took a step into its
// average, by the share (1 - a) / (1 - a^t).
func (r *runner) bindAverage(op *gpu.Op) func() {
	args, step := r.args(op), r.mem(op.Step())
	moving := make([]loops.Args, 0, len(args))
	return func() {
		moving = moving[:0]
		r.working(op, func(n int) {
			decay, t := r.knob(op, n, gpu.KnobDecay), max(float64(step[n])-r.knob(op, n, gpu.KnobBegin)+1, 1)
			a := args[n]
			a.Scale = float32((1 - decay) / (1 - math.Pow(decay, t)))
			moving = append(moving, a)
		})
		r.dev.pool.Loop(loops.Average, moving...)
	}
}

// bindRecord returns the function that writes a row of the ring for each picture
// that took a step, and counts it.
func (r *runner) bindRecord(op *gpu.Op) func() {
	args := r.args(op)
	step, losses, each := r.mem(op.Step()), r.mem(op.Losses()), r.mem(op.Each())
	rows, columns, terms := op.Ring().Shape.W, op.Ring().Shape.C, op.Each().Shape.C
	elems := float64(perPicture(op.Picture()))
	return func() {
		sums := r.dev.pool.Loop(loops.Record, args...)
		r.working(op, func(n int) {
			total := losses[4*n : 4*n+4]
			// Squares around the middle of the range: there the variance loses no digits.
			sum, squares, bad := sums[3*n], sums[3*n+1], sums[3*n+2]
			mean := sum / elems
			variance := max(squares-elems*(mean-0.5)*(mean-0.5), 0) / max(elems-1, 1)
			row := r.picture(op.Ring(), n)[int(step[n])%rows*columns:][:columns]
			copy(row, total)
			row[gpu.RecMean], row[gpu.RecStd], row[gpu.RecFinite] = float32(mean), float32(math.Sqrt(variance)), 1
			if t := total[3]; bad > 0 || t-t != 0 {
				row[gpu.RecFinite] = 0
			}
			row[gpu.RecStep], row[gpu.RecRefused] = 0, 0
			if op.Control() != nil {
				c := r.picture(op.Control(), n)
				refusals := c[gpu.CtlRefusals]
				row[gpu.RecStep], row[gpu.RecRefused] = c[gpu.CtlStep], min(refusals, 1)
				if c[gpu.CtlAccepted] > 0 && refusals < gpu.GiveUp {
					row[gpu.RecFinite] = 1
				}
			}
			copy(row[gpu.RecTerms:], each[n*terms:][:terms])
			step[n]++
		})
	}
}
