package host

import (
	"fmt"
	"math"

	"github.com/stylize-gpu/stylize/gpu"
)

// layout is a lowered program with its memory.
type layout struct {
	steps   []*step
	offset  map[*gpu.Buffer]int64 // bytes into the arena
	scratch []int64               // offset of each step's workspace
	spans   []gpu.Span
	offsets []int64 // of the spans
	plan    *gpu.Plan
}

const fence = gpu.Align // bytes behind every buffer in Check mode

// layOut lowers p and places everything that is not a constant.
func (d *Device) layOut(p *gpu.Program) (*layout, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	l := &layout{steps: lower(p, d.loops.Name), offset: map[*gpu.Buffer]int64{}}
	n := len(l.steps)
	last := make([]int, len(p.Buffers))
	for i, s := range l.steps {
		for _, b := range s.in {
			last[b.ID] = i
		}
	}

	var pad int64
	if d.opt.Check {
		pad = fence
	}
	span := make([]int, len(p.Buffers)) // index of the span that holds a buffer
	for i := range span {
		span[i] = -1
	}
	add := func(b *gpu.Buffer, first, last int) {
		span[b.ID] = len(l.spans)
		l.spans = append(l.spans, gpu.Span{Name: b.Name, Bytes: b.Bytes() + pad, First: first, Last: last})
	}
	for _, b := range p.Buffers {
		if b.Role == gpu.Input || b.Role == gpu.State || b.Role == gpu.Output {
			add(b, 0, n-1)
		}
	}
	scratch := make([]int, n)
	for i, s := range l.steps {
		for j, b := range s.out {
			if span[b.ID] >= 0 {
				continue
			}
			if in := s.in[0]; j == 0 && s.inPlace && in.Role == gpu.Temp && last[in.ID] == i && in.Shape == b.Shape {
				span[b.ID] = span[in.ID]
				l.spans[span[b.ID]].Last = max(last[b.ID], i)
				continue
			}
			add(b, i, max(last[b.ID], i))
		}
		scratch[i] = -1
		if s.scratch > 0 {
			scratch[i] = len(l.spans)
			l.spans = append(l.spans, gpu.Span{Name: "workspace of " + s.op.String(), Bytes: s.scratch + pad, First: i, Last: i})
		}
	}
	place, err := gpu.Place(l.spans)
	if err != nil {
		return nil, err
	}
	l.offsets = place.Offsets
	for _, b := range p.Buffers {
		if i := span[b.ID]; i >= 0 {
			l.offset[b] = place.Offsets[i]
		}
	}
	l.scratch = make([]int64, n)
	l.plan = &gpu.Plan{Arena: place.Bytes, FLOPs: p.FLOPs(), PeakStep: place.At}
	seen := map[packKey]bool{}
	for i, s := range l.steps {
		if scratch[i] >= 0 {
			l.scratch[i] = place.Offsets[scratch[i]]
		}
		l.plan.Steps = append(l.plan.Steps, gpu.PlanStep{Name: s.op.Name, How: s.how, FLOPs: s.flops})
		if k := s.op.Kind; k == gpu.Conv3x3 || k == gpu.Conv3x3Dgrad {
			w := s.op.In[1]
			if w.Role != gpu.Const || (k == gpu.Conv3x3 && s.op.In[2].Role != gpu.Const) {
				return nil, fmt.Errorf("cpu: %s: weights must be constants: %w", s.op, gpu.ErrUnsupported)
			}
			if key := (packKey{&w.Data[0], k == gpu.Conv3x3Dgrad}); !seen[key] {
				seen[key] = true
				c, o := w.Shape.C, w.Shape.N
				if key.dgrad {
					c, o = o, c
				}
				l.plan.Weights += d.loops.PackedBytes(c, o, !key.dgrad)
			}
		}
	}
	return l, nil
}

// Plan says what Compile would take.
func (d *Device) Plan(p *gpu.Program) (*gpu.Plan, error) {
	l, err := d.layOut(p)
	if err != nil {
		return nil, err
	}
	return l.plan, nil
}

// Compile places the program in one fresh arena and packs its weights.
func (d *Device) Compile(p *gpu.Program) (gpu.Runner, error) {
	l, err := d.layOut(p)
	if err != nil {
		return nil, err
	}
	if free := memory().available; free > 0 && l.plan.Arena > free {
		return nil, fmt.Errorf("cpu: the pictures need %.2f GB, %.2f GB are free: %w",
			float64(l.plan.Arena)/1e9, float64(free)/1e9, gpu.ErrOutOfMemory)
	}
	r := &runner{dev: d, layout: l, arena: make([]float32, l.plan.Arena/4), calls: make([]func(), len(l.steps))}
	if d.opt.Check {
		nan := float32(math.NaN())
		for i := range r.arena {
			r.arena[i] = nan
		}
		for _, b := range p.Buffers { // the host may leave these untouched
			if b.Role == gpu.State || b.Role == gpu.Input {
				clear(r.mem(b))
			}
		}
	}
	for i, s := range l.steps {
		if r.calls[i], err = r.bind(i, s); err != nil {
			return nil, err
		}
	}
	return r, nil
}
