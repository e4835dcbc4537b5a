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
		ref.MSEFwd(out[0], in[0], in[1], d.N, op.Scale)
	case gpu.MSEBwd:
		ref.MSEBwd(out[0], in[0], in[1], d.N, op.Scale)
	case gpu.TVFwd:
		ref.TVFwd(out[0], in[0], d, op.Scale)
	case gpu.TVBwd:
		ref.TVBwd(out[0], in[0], d, op.Scale)
	case gpu.Add:
		ref.Add(out[0], in[0], in[1])
	case gpu.Total:
		c, s := in[:op.NContent], in[op.NContent:op.NContent+op.NStyle]
		ref.Total(out[0], out[1], c, s, in[op.NContent+op.NStyle])
	case gpu.Adam:
		a := ref.AdamParams{LR: op.Adam.LR, Beta1: op.Adam.Beta1, Beta2: op.Adam.Beta2, Eps: op.Adam.Eps, Clamp: int(op.Adam.Clamp)}
		e := len(in[0]) / d.N
		for n := range d.N {
			f, t := n*e, (n+1)*e
			ref.Adam(in[1][f:t], in[2][f:t], in[3][f:t], in[0][f:t], int(in[4][0]), in[5][4*n+3], a)
		}
	case gpu.LBFGS:
		l := ref.LBFGSParams{History: op.LBFGS.History, First: op.LBFGS.First, Most: op.LBFGS.Most, Rise: op.LBFGS.Rise}
		for n := range d.N {
			of := func(i int) []T { return picture(in[i], d.N, n) }
			ref.LBFGS(of(1), of(0), in[8][4*n+3], ref.LBFGSMemory[T]{A: of(2), GA: of(3), D: of(4), S: of(5), Y: of(6), Control: of(7)}, l)
		}
	case gpu.Record:
		ring, step := op.Ring().Shape, in[4]
		for n := range d.N {
			row := out[0][(int(step[0])%ring.N*d.N+n)*ring.C:][:ring.C]
			var control []T
			if len(in) > 5 {
				control = picture(in[5], d.N, n)
			}
			ref.Record(row, picture(in[0], d.N, n), picture(in[1], d.N, n), picture(in[2], d.N, n), picture(in[3], d.N, n), control)
		}
		step[0]++
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
