package plan

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels"
)

// Text writes the plan of p down: the program as it came in, then step by step
// the operations that were fused, the launches with their grids and arguments,
// and what each step leaves. Names of buffers stand for their addresses.
func (pl *Plan) Text(w io.Writer, p *gpu.Program) error {
	b := &strings.Builder{}
	t := pl.Target
	arch := "the kernels that any GPU has"
	if t.Hopper {
		arch = "Hopper's kernels"
	}
	fmt.Fprintf(b, "%v, %s, %d multiprocessors", t.Precision, arch, t.SMs)
	if t.Unfused {
		b.WriteString(", unfused")
	}
	launches := 0
	for _, s := range pl.Steps {
		launches += len(s.Launches)
	}
	fmt.Fprintf(b, "\n%d operations, %d steps, %d launches, %.3f GFLOP\n", len(p.Ops), len(pl.Steps), launches, float64(p.FLOPs())/1e9)
	fmt.Fprintf(b, "arena %d bytes, weights %d bytes, fullest at step %d\n", pl.Cost.Arena, pl.Cost.Weights, pl.Cost.PeakStep)

	b.WriteString("\nprogram\n")
	for i, op := range p.Ops {
		fmt.Fprintf(b, "%4d  %-14v %s -> %s\n", i, op.Kind, names(op.In), names(op.Out))
	}
	at := map[*gpu.Op]int{}
	for i, op := range p.Ops {
		at[op] = i
	}
	b.WriteString("\nsteps\n")
	for i, s := range pl.Steps {
		var ops []string
		for _, op := range s.Ops {
			ops = append(ops, fmt.Sprintf("%d %v", at[op], op.Kind))
		}
		fmt.Fprintf(b, "%4d  %s\n", i, strings.Join(ops, ", "))
		for _, la := range s.Launches {
			fmt.Fprintf(b, "      %s %dx%dx%d\n", la.Spec.Entry, la.Grid[0], la.Grid[1], la.Grid[2])
			for j, a := range la.Args {
				fmt.Fprintf(b, "          %-12s %s\n", la.Spec.Params[j].Name, argument(la.Spec.Params[j], a))
			}
		}
		for _, a := range s.Table.Addresses {
			fmt.Fprintf(b, "      table[%d] = %s\n", a.At, pointer(a.Of))
		}
		if v := s.Variants; v != nil {
			for _, la := range v.Launches[1:] {
				fmt.Fprintf(b, "      or %s %dx%dx%d\n", la.Spec.Entry, la.Grid[0], la.Grid[1], la.Grid[2])
			}
		}
		for _, r := range s.results {
			fmt.Fprintf(b, "      -> %s\n", r)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func names(bs []*gpu.Buffer) string {
	var all []string
	for _, b := range bs {
		all = append(all, b.Name)
	}
	return strings.Join(all, ", ")
}

func (r result) String() string {
	switch {
	case r.bits:
		return r.buf.Name
	case r.parts > 0:
		return fmt.Sprintf("%s in %d parts", r.buf.Name, r.parts)
	case r.coef:
		return r.buf.Name + " as a matrix of the style gradient"
	}
	return r.buf.Name
}

// argument is a launch's argument as a person reads it.
func argument(p kernels.Param, a kernels.Arg) string {
	switch p.Kind {
	case kernels.Pointer:
		return pointer(a.Ptr)
	case kernels.TensorMap:
		if a.Map.Of.Ref == nil {
			return "null"
		}
		return fmt.Sprintf("%s as %v in boxes of %v", pointer(a.Map.Of), a.Map.Dims, a.Map.Box)
	case kernels.Float32:
		return fmt.Sprint(math.Float32frombits(uint32(a.Bits)))
	default:
		return fmt.Sprint(a.Bits)
	}
}

func pointer(p kernels.Ptr) string {
	var name string
	switch of := p.Ref.(type) {
	case nil:
		return "null"
	case *gpu.Buffer:
		name = of.Name
	case *Weight:
		name = of.Name
	case Place:
		name = [...]string{Workspace: "workspace", Constants: "table", LossScale: "loss scale"}[of]
	}
	if p.Offset > 0 {
		name += fmt.Sprintf("+%d", p.Offset)
	}
	return name
}
