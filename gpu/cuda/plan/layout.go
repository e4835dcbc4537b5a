package plan

import "github.com/stylize-gpu/stylize/gpu"

// layOut places everything but weights in one arena: buffers of the host for the
// whole program, others while a step still wants them; workspaces for their step;
// tables, which are constants, throughout.
func (p *Plan) layOut(prog *gpu.Program) error {
	end := len(p.Steps) - 1
	add := func(name string, bytes int64, first, last int) int {
		p.Spans = append(p.Spans, gpu.Span{Name: name, Bytes: bytes, First: first, Last: last})
		return len(p.Spans) - 1
	}
	last := map[*gpu.Buffer]int{}
	for i, s := range p.Steps {
		for b := range s.touches() {
			last[b] = i
		}
	}
	for _, b := range prog.Buffers {
		if _, used := last[b]; b.Role != gpu.Temp && (used || b.Role != gpu.Const) {
			p.span[b] = add(b.Name, p.Bytes(b), 0, end)
		}
	}
	for i, s := range p.Steps {
		for _, r := range s.results {
			if _, ok := p.span[r.buf]; !ok {
				p.span[r.buf] = add(r.buf.Name, p.types.bytes(r), i, max(i, last[r.buf]))
			}
		}
		s.ScratchSpan, s.TableSpan = -1, -1
		if s.Scratch > 0 {
			s.ScratchSpan = add("workspace of "+s.Name, s.Scratch, i, i)
		}
		if len(s.Table.Bytes) > 0 {
			s.TableSpan = add("table of "+s.Name, int64(len(s.Table.Bytes)), 0, end)
		}
	}
	p.ScaleSpan = add("loss scale", 2*4*int64(prog.Pictures()), 0, end)
	var err error
	if p.Placement, err = gpu.Place(p.Spans); err != nil {
		return err
	}
	p.Cost = &gpu.Plan{Arena: p.Placement.Bytes, FLOPs: prog.FLOPs(), PeakStep: p.Placement.At}
	for _, s := range p.Steps {
		p.Cost.Steps = append(p.Cost.Steps, gpu.PlanStep{Name: s.Ops[0].Name, How: s.How(), FLOPs: s.FLOPs})
	}
	for _, w := range p.Weights {
		p.Cost.Weights += w.Bytes
	}
	return nil
}
