package cpu

import (
	"fmt"
	"math"
	"slices"

	"github.com/stylize-gpu/stylize/gpu"
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
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
	for _, op := range p.Ops {
		if w, b := op.Filter(), op.Bias(); w != nil && w.Role != gpu.Const || b != nil && b.Role != gpu.Const {
			return nil, fmt.Errorf("cpu: %s: weights must be constants: %w", op, gpu.ErrUnsupported)
		}
	}
	l := &layout{steps: d.lower(p), offset: map[*gpu.Buffer]int64{}}
	n := len(l.steps)
	last := map[*gpu.Buffer]int{}
	for i, s := range l.steps {
		for _, b := range s.in {
			last[b] = i
		}
	}

	var pad int64
	if d.opt.Check {
		pad = fence
	}
	span := map[*gpu.Buffer]int{} // index of the span that holds a buffer
	add := func(name string, bytes int64, first, last int) int {
		l.spans = append(l.spans, gpu.Span{Name: name, Bytes: bytes + pad, First: first, Last: last})
		return len(l.spans) - 1
	}
	for _, b := range p.Buffers {
		if b.Role == gpu.Input || b.Role == gpu.State || b.Role == gpu.Output {
			span[b] = add(b.Name, b.Bytes(), 0, n-1)
		}
	}
	for _, s := range l.steps { // constants that are no weights lie with the rest
		for _, b := range s.in {
			if _, ok := span[b]; !ok && b.Role == gpu.Const && s.conv == nil {
				span[b] = add(b.Name, b.Bytes(), 0, n-1)
			}
		}
	}
	scratch := make([]int, n)
	for i, s := range l.steps {
		for j, b := range s.out {
			if _, ok := span[b]; ok {
				continue
			}
			if in := s.inPlace; j == 0 && in != nil && in.Role == gpu.Temp && last[in] == i && in.Shape == b.Shape {
				span[b] = span[in]
				l.spans[span[b]].Last = max(last[b], i)
				continue
			}
			span[b] = add(b.Name, b.Bytes(), i, max(last[b], i))
		}
		scratch[i] = -1
		if s.scratch > 0 {
			scratch[i] = add("workspace of "+s.op.String(), s.scratch, i, i)
		}
	}
	place, err := gpu.Place(l.spans)
	if err != nil {
		return nil, err
	}
	l.offsets = place.Offsets
	for b, i := range span {
		l.offset[b] = place.Offsets[i]
	}
	l.scratch = make([]int64, n)
	l.plan = &gpu.Plan{Arena: place.Bytes, FLOPs: p.FLOPs(), PeakStep: place.At}
	seen := map[packKey]bool{}
	for i, s := range l.steps {
		if scratch[i] >= 0 {
			l.scratch[i] = place.Offsets[scratch[i]]
		}
		l.plan.Steps = append(l.plan.Steps, gpu.PlanStep{Name: s.op.Name, How: s.how, FLOPs: s.flops})
		if key, n := d.weights(s); n > 0 && !seen[key] {
			seen[key] = true
			l.plan.Weights += 4 * int64(n)
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
	short := func(free string) error {
		return fmt.Errorf("cpu: the pictures need %s%s: %w", gpu.BytesText(l.plan.Arena), free, gpu.ErrOutOfMemory)
	}
	if free := memory().available; free > 0 && l.plan.Arena > free {
		return nil, short(", " + gpu.BytesText(free) + " are free")
	}
	r := &runner{dev: d, layout: l, arena: loops.Alloc(int(l.plan.Arena / 4)), calls: make([]func(), len(l.steps))}
	if r.arena == nil {
		return nil, short("")
	}
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
	for b := range l.offset {
		if b.Role == gpu.Const {
			copy(r.mem(b), b.Data)
		}
	}
	// Lanes compile one program at the same time. Each first packs what no other has begun, so that they share the work
	// instead of waiting for one of them.
	for _, wait := range []bool{false, true} {
		for i, s := range l.steps {
			if r.calls[i] != nil || d.begun(s) && !wait {
				continue
			}
			if r.calls[i], err = r.bind(i, s); err != nil {
				_ = r.Close()
				return nil, err
			}
		}
	}
	r.update = slices.IndexFunc(l.steps, func(s *step) bool {
		return slices.ContainsFunc(s.out, func(b *gpu.Buffer) bool { return b.Role == gpu.State })
	})
	if r.update < 0 {
		r.update = len(l.steps)
	}
	return r, nil
}
