package kerneltest

import (
	"fmt"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels/ref"
)

// Interp executes a program with the oracles of kernels/ref, one operation
// after the other, every buffer kept. With T = float64 it follows a whole
// network without rounding.
type Interp[T ref.Float] struct {
	Program *gpu.Program
	Values  map[*gpu.Buffer][]T

	spread bool // convolutions over all processors
}

// NewInterp allocates every buffer of p; constants are filled in.
func NewInterp[T ref.Float](p *gpu.Program) *Interp[T] {
	ip := &Interp[T]{Program: p, Values: map[*gpu.Buffer][]T{}}
	for _, b := range p.Buffers {
		v := make([]T, b.Shape.Elems())
		for i, d := range b.Data {
			v[i] = T(d)
		}
		ip.Values[b] = v
	}
	return ip
}

// Write sets an input or state.
func (ip *Interp[T]) Write(b *gpu.Buffer, data []float32) {
	for i, d := range data {
		ip.Values[b][i] = T(d)
	}
}

// Run executes the program once.
func (ip *Interp[T]) Run() error {
	for _, op := range ip.Program.Ops {
		if err := ip.exec(op); err != nil {
			return err
		}
	}
	return nil
}

func dim(s gpu.Shape) ref.Dim { return ref.Dim{N: s.N, H: s.H, W: s.W, C: s.C} }

func (ip *Interp[T]) exec(op *gpu.Op) error {
	in := make([][]T, len(op.In))
	for i, b := range op.In {
		in[i] = ip.Values[b]
	}
	out := make([][]T, len(op.Out))
	for i, b := range op.Out {
		out[i] = ip.Values[b]
	}
	d, o := dim(op.In[0].Shape), dim(op.Out[0].Shape)
	knob := func(n, column int) float64 { return float64(picture(ip.Values[op.Knobs()], d.N, n)[column]) }
	var weights []float64 // of the term of each picture
	if k := op.Knobs(); k != nil {
		for n := range d.N {
			weights = append(weights, knob(n, op.Column))
		}
	}
	// Pictures that have a step to take.
	working := func(each func(n, done int)) {
		for n, done := range ip.Values[op.Step()] {
			if float64(done) < knob(n, gpu.KnobLimit) {
				each(n, int(done))
			}
		}
	}
	switch op.Kind {
	case gpu.NormalizeFwd:
		ref.NormalizeFwd(out[0], in[0], d, op.Mean, op.Std)
	case gpu.NormalizeBwd:
		ref.NormalizeBwd(out[0], in[0], d, op.Std)
	case gpu.Conv3x3Fprop:
		f := func(y, x []T, d ref.Dim) { ref.Conv3x3Fprop(y, x, in[1], in[2], d, o.C) }
		ip.conv(out[0], in[0], d, o.C, f)
	case gpu.Conv3x3Dgrad:
		f := func(dx, dy []T, e ref.Dim) {
			ref.Conv3x3Dgrad(dx, dy, in[1], ref.Dim{N: e.N, H: e.H, W: e.W, C: o.C}, e.C)
		}
		ip.conv(out[0], in[0], d, o.C, f)
	case gpu.ReLUFwd:
		ref.ReLUFwd(out[0], in[0])
	case gpu.ReLUBwd:
		ref.ReLUBwd(out[0], in[0], in[1])
	case gpu.AvgPool2x2Fwd:
		ref.AvgPool2x2Fwd(out[0], in[0], d)
	case gpu.AvgPool2x2Bwd:
		ref.AvgPool2x2Bwd(out[0], in[0], o)
	case gpu.MaxPool2x2Fwd:
		ref.MaxPool2x2Fwd(out[0], in[0], d)
	case gpu.MaxPool2x2Bwd:
		ref.MaxPool2x2Bwd(out[0], in[0], in[1], o)
	case gpu.GramFwd:
		ref.GramFwd(out[0], in[0], d)
	case gpu.GramBwd:
		ref.GramBwd(out[0], in[0], in[1], o)
	case gpu.MSEFwd:
		ref.MSEFwd(out[0], in[0], in[1], weights)
	case gpu.MSEBwd:
		ref.MSEBwd(out[0], in[0], in[1], weights)
	case gpu.TVFwd:
		ref.TVFwd(out[0], in[0], d, weights)
	case gpu.TVBwd:
		ref.TVBwd(out[0], in[0], d, weights)
	case gpu.Add:
		ref.Add(out[0], in[0], in[1])
	case gpu.Mul:
		ref.Mul(out[0], in[0], in[1])
	case gpu.PadFwd:
		ref.PadFwd(out[0], in[0], d, op.Pad.Pixels, op.Pad.Mode == gpu.Wrap)
	case gpu.PadBwd:
		ref.PadBwd(out[0], in[0], o, op.Pad.Pixels, op.Pad.Mode == gpu.Wrap)
	case gpu.Total:
		c, s := in[:op.NContent], in[op.NContent:op.NContent+op.NStyle]
		ref.Total(out[0], out[1], c, s, in[op.NContent+op.NStyle])
	case gpu.Adam:
		a := ref.AdamParams{Beta1: op.Adam.Beta1, Beta2: op.Adam.Beta2, Eps: op.Adam.Eps, Clamp: int(op.Adam.Clamp)}
		losses := ip.Values[op.Losses()]
		working(func(n, done int) {
			of := func(i int) []T { return picture(in[i], d.N, n) }
			var knobs []float64
			for _, v := range picture(ip.Values[op.Knobs()], d.N, n) {
				knobs = append(knobs, float64(v))
			}
			a.LR = gpu.Rate(knobs, float64(done))
			ref.Adam(of(1), of(2), of(3), of(0), done, losses[4*n+3], a)
		})
	case gpu.LBFGS:
		losses := ip.Values[op.Losses()]
		working(func(n, _ int) {
			of := func(i int) []T { return picture(in[i], d.N, n) }
			rate := knob(n, gpu.KnobRate)
			l := ref.LBFGSParams{Width: d.W, History: op.LBFGS.History, First: op.LBFGS.First * rate, Most: op.LBFGS.Most * rate, Rise: op.LBFGS.Rise}
			ref.LBFGS(of(1), of(0), losses[4*n+3], ref.LBFGSMemory[T]{A: of(2), GA: of(3), D: of(4), S: of(5), Y: of(6), Control: of(7)}, l)
		})
	case gpu.Average:
		working(func(n, done int) {
			t := max(done-int(knob(n, gpu.KnobBegin))+1, 1)
			ref.Average(picture(out[0], d.N, n), picture(in[0], d.N, n), knob(n, gpu.KnobDecay), t)
		})
	case gpu.Record:
		ring := op.Ring().Shape
		working(func(n, done int) {
			of := func(b *gpu.Buffer) []T {
				if b == nil {
					return nil
				}
				return picture(ip.Values[b], d.N, n)
			}
			row := of(op.Ring())[done%ring.W*ring.C:][:ring.C]
			ref.Record(row, of(op.Picture()), of(op.Gradient()), of(op.Losses()), of(op.Each()), of(op.Control()))
			of(op.Step())[0]++
		})
	case gpu.NumKinds:
		return fmt.Errorf("interp: %v is not an operation", op.Kind)
	default:
		return fmt.Errorf("interp: no oracle for %v", op.Kind)
	}
	return nil
}

func (ip *Interp[T]) conv(y, x []T, d ref.Dim, k int, f func(y, x []T, d ref.Dim)) {
	if ip.spread {
		inBands(y, x, d, k, f)
	} else {
		f(y, x, d)
	}
}

// picture is what belongs to picture i of n.
func picture[T any](v []T, n, i int) []T {
	e := len(v) / n
	return v[i*e:][:e]
}
