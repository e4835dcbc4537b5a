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
// the tables that they read, and what each step leaves; and where everything lies
// in the arena. Names of buffers stand for their addresses. The same plan gives
// the same text.
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

	b.WriteString("\nprogram: operation, what it reads -> what it writes\n")
	at := map[*gpu.Op]int{}
	for i, op := range p.Ops {
		at[op] = i
		fmt.Fprintf(b, "%4d  %-14v %s -> %s\n", i, op.Kind, names(op.In), names(op.Out))
	}
	b.WriteString("\nsteps: operations together, their launches, what they leave\n")
	for i, s := range pl.Steps {
		var ops []string
		for _, op := range s.Ops {
			ops = append(ops, fmt.Sprintf("%d %v", at[op], op.Kind))
		}
		s.text(b, i, ops)
	}
	b.WriteString("\narena: offset, bytes, steps from first to last, what lies there\n")
	for i, s := range pl.Spans {
		fmt.Fprintf(b, "%10d %10d  %2d..%-2d  %s\n", pl.Placement.Offsets[i], s.Bytes, s.First, s.Last, s.Name)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// text writes a step.
func (s *Step) text(b *strings.Builder, i int, ops []string) {
	wrap(b, fmt.Sprintf("%4d  ", i), ops)
	for _, la := range s.Launches {
		fmt.Fprintf(b, "      %s %dx%dx%d\n", la.Spec.Entry, la.Grid[0], la.Grid[1], la.Grid[2])
		wrap(b, "          ", arguments(la.Spec.Params, la.Args))
	}
	for _, t := range s.tables {
		name := pointer(kernels.Ptr{Ref: Constants, Offset: int64(t.at)})
		if t.Rows == nil {
			v := make([]float32, len(t.Bytes)/4)
			FP32.Unpack(v, t.Bytes, 1)
			fmt.Fprintf(b, "      %s: %v\n", name, v)
			continue
		}
		fmt.Fprintf(b, "      %s: %s\n", name, t.Elem)
		for _, row := range t.Rows {
			wrap(b, "          ", arguments(t.Fields, row))
		}
	}
	if v := s.Variants; v != nil {
		for _, la := range v.Launches[1:] {
			fmt.Fprintf(b, "      or %s %dx%dx%d\n", la.Spec.Entry, la.Grid[0], la.Grid[1], la.Grid[2])
		}
	}
	var left []string
	for _, r := range s.results {
		left = append(left, r.String())
	}
	wrap(b, "      -> ", left)
}

// wrap writes items with commas between, in lines of at most 100 columns where no
// item alone is longer.
func wrap(b *strings.Builder, head string, items []string) {
	b.WriteString(head)
	column := len(head)
	for i, it := range items {
		if i < len(items)-1 {
			it += ","
		}
		switch {
		case i == 0:
		case column+1+len(it) > 100:
			column = len(head)
			b.WriteString("\n" + strings.Repeat(" ", column))
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(it)
		column += len(it)
	}
	b.WriteByte('\n')
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

// arguments are those of a launch or of a table's row as a person reads them, in
// their order; the names of null pointers come last.
func arguments(params []kernels.Param, args []kernels.Arg) []string {
	var all, null []string
	for i, p := range params {
		a := args[i]
		v := ""
		switch p.Kind {
		case kernels.Pointer:
			v = pointer(a.Ptr)
		case kernels.TensorMap:
			if v = pointer(a.Map.Of); v != "" {
				v += fmt.Sprintf(" as %v in boxes of %v", a.Map.Dims, a.Map.Box)
			}
		case kernels.Float32:
			v = fmt.Sprint(math.Float32frombits(uint32(a.Bits)))
		case kernels.Float64:
			v = fmt.Sprint(math.Float64frombits(a.Bits))
		case kernels.Int32, kernels.Uint32, kernels.Uint64, kernels.Flag:
			v = fmt.Sprint(a.Bits)
		}
		if v == "" {
			null = append(null, p.Name)
		} else {
			all = append(all, p.Name+"="+v)
		}
	}
	if null != nil {
		all = append(all, "null: "+strings.Join(null, " "))
	}
	return all
}

// pointer is what stands for an address; empty for null.
func pointer(p kernels.Ptr) string {
	var name string
	switch of := p.Ref.(type) {
	case nil:
		return ""
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
