//go:build cuda

package cuda

import (
	"github.com/stylize-gpu/stylize/gpu"
)

// layout is a lowered program with its memory.
type layout struct {
	*lowering
	spans   []gpu.Span
	span    map[*gpu.Buffer]int // by buffer: index of its span
	scratch []int               // by step: index of its workspace, or -1
	tables  []int               // by step: index of its table, or -1
	scale   int                 // index of the loss scale
	place   gpu.Placement
	plan    *gpu.Plan
}

// layOut lowers p and places everything but weights in one arena.
func layOut(p *gpu.Program, t target) (*layout, error) {
	low, err := lower(p, t)
	if err != nil {
		return nil, err
	}
	l := &layout{lowering: low, span: map[*gpu.Buffer]int{}}
	end := len(low.steps) - 1
	add := func(name string, bytes int64, first, last int) int {
		l.spans = append(l.spans, gpu.Span{Name: name, Bytes: bytes, First: first, Last: last})
		return len(l.spans) - 1
	}
	last := map[*gpu.Buffer]int{}
	for i, s := range low.steps {
		for _, la := range s.launches {
			for _, a := range la.args {
				if a.where == inMap {
					a = a.tensor.of
				}
				if a.where == inBuffer {
					last[a.buf] = i
				}
			}
			for _, b := range la.also {
				last[b] = i
			}
		}
	}
	for _, b := range p.Buffers {
		if _, used := last[b]; b.Role != gpu.Temp && (used || b.Role != gpu.Const) {
			l.span[b] = add(b.Name, low.bytes(b), 0, end)
		}
	}
	for i, s := range low.steps {
		for _, b := range s.out {
			if _, ok := l.span[b]; !ok {
				l.span[b] = add(b.Name, low.bytes(b), i, max(i, last[b]))
			}
		}
		l.scratch, l.tables = append(l.scratch, -1), append(l.tables, -1)
		if s.scratch > 0 {
			l.scratch[i] = add("workspace of "+s.name(), s.scratch, i, i)
		}
		if len(s.table) > 0 {
			l.tables[i] = add("table of "+s.name(), int64(len(s.table)), 0, end)
		}
	}
	l.scale = add("loss scale", 4, 0, end)
	if l.place, err = gpu.Place(l.spans); err != nil {
		return nil, err
	}
	l.plan = &gpu.Plan{Arena: l.place.Bytes, FLOPs: p.FLOPs(), PeakStep: l.place.At}
	for _, s := range low.steps {
		l.plan.Steps = append(l.plan.Steps, gpu.PlanStep{Name: s.ops[0].Name, How: s.how, FLOPs: s.flops()})
	}
	for _, w := range low.order {
		l.plan.Weights += w.bytes
	}
	return l, nil
}
