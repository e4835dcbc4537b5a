package plan

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels"
)

// Plan is what a device executes for one iteration of a program, and where
// everything lies. Pointers in launches are names ([kernels.Ptr].Ref): a
// *gpu.Buffer, a *Weight, or one of the places [Workspace], [Constants] and
// [LossScale].
type Plan struct {
	Target    Target
	Steps     []*Step
	Weights   []*Weight
	Spans     []gpu.Span // of the arena
	Placement gpu.Placement
	ScaleSpan int // the loss scale of each picture, then the ceiling of each, fp32
	Cost      *gpu.Plan

	types *types
	span  map[*gpu.Buffer]int
}

// Step is operations that the device executes together.
type Step struct {
	Name        string
	Ops         []*gpu.Op // the first names it
	FLOPs       int64
	Launches    []kernels.Launch
	Variants    *Variants     // other kernels for one of the launches; nil without
	Scratch     int64         // bytes of its workspace
	Table       kernels.Table // constants of its launches
	ScratchSpan int           // index into Spans, or -1
	TableSpan   int

	results []result
	tables  []tableAt // that Table is made of
}

// tableAt is a table at an offset of the step's.
type tableAt struct {
	at int
	kernels.Table
}

// Weight is a constant as the kernels want it: packed, once for all programs.
type Weight struct {
	Key   WeightKey
	Name  string
	Bytes int64
	Pack  func() []byte
}

// WeightKey tells constants apart: the values, and the form for a pass, a kernel
// and a type.
type WeightKey struct {
	data *float32 // where the values lie
	form string
}

// Variants are the kernels that a step may use for its product. All give the same
// bits: they add in the same order, and differ in tiles.
type Variants struct {
	Layer    string           // what a choice holds for
	Launches []kernels.Launch // the first is the choice before any measurement
	At       int              // index into the step's launches
}

// Place is memory of a step, or of all, that is no buffer of the program.
type Place uint8

// The places that a [kernels.Ptr] may name.
const (
	Workspace Place = iota // the step's workspace
	Constants              // the step's table
	LossScale              // the scale that gradients carry, of each picture; then their ceilings
)

// New plans a program for a target.
func New(p *gpu.Program, target Target) (*Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	pl := &Plan{Target: target, types: infer(p, target.Precision), span: map[*gpu.Buffer]int{}}
	l := &lowering{target: target, types: pl.types, weights: map[WeightKey]*Weight{}}
	for _, s := range fuse(p, target, pl.types) {
		lowered, err := l.step(s)
		if err != nil {
			return nil, fmt.Errorf("cuda: %s: %w", stepName(s.ops()), err)
		}
		pl.Steps = append(pl.Steps, lowered)
	}
	pl.Weights = l.order
	if err := pl.layOut(p); err != nil {
		return nil, err
	}
	return pl, nil
}

// stepName is a step in reports.
func stepName(ops []*gpu.Op) string {
	if len(ops) == 1 {
		return ops[0].String()
	}
	return ops[0].String() + " … " + ops[len(ops)-1].Kind.String()
}

// How names the kernels of a step.
func (s *Step) How() string {
	var names []string
	for _, la := range s.Launches {
		names = append(names, la.Spec.Entry)
	}
	return strings.Join(names, ", ")
}

// Results are the buffers that a step writes.
func (s *Step) Results() []*gpu.Buffer {
	var all []*gpu.Buffer
	for _, r := range s.results {
		all = append(all, r.buf)
	}
	return all
}

// touches are the program's buffers that a step's launches are given, in arguments
// and in tables.
func (s *Step) touches() map[*gpu.Buffer]bool {
	all := map[*gpu.Buffer]bool{}
	add := func(p kernels.Ptr) {
		if b, ok := p.Ref.(*gpu.Buffer); ok {
			all[b] = true
		}
	}
	for _, la := range s.Launches {
		for _, a := range la.Args {
			add(a.Ptr)
			add(a.Map.Of)
		}
	}
	for _, a := range s.Table.Addresses {
		add(a.Of)
	}
	return all
}

// Span is the index into Spans of a buffer; ok is false for one that no launch
// touches.
func (p *Plan) Span(b *gpu.Buffer) (i int, ok bool) {
	i, ok = p.span[b]
	return i, ok
}

// Bytes is the size on the device of a buffer that the host reads or writes.
func (p *Plan) Bytes(b *gpu.Buffer) int64 { return p.types.bytes(result{buf: b}) }

// SpanBytes is the size of any buffer that a step touches.
func (p *Plan) SpanBytes(b *gpu.Buffer) int64 { return p.Spans[p.span[b]].Bytes }

// Scaled reports whether a buffer's values carry the loss scale.
func (p *Plan) Scaled(b *gpu.Buffer) bool { return p.types.scaled[b] }

// Encode turns values of a buffer, each times by, into what the device stores.
func (p *Plan) Encode(b *gpu.Buffer, v []float32, by float32) []byte {
	if p.types.stored[b] {
		return p.Target.Precision.Pack(v, by)
	}
	return floats(v)
}

// Decode reads them back.
func (p *Plan) Decode(b *gpu.Buffer, dst []float32, bytes []byte, by float32) {
	if p.types.stored[b] {
		p.Target.Precision.Unpack(dst, bytes, by)
	} else {
		FP32.Unpack(dst, bytes, 1)
	}
}

// floats is the bytes of fp32 values.
func floats(v []float32) []byte {
	var b []byte
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

// Traffic is the bytes of every array of a launch of a step, once; twice for
// state, which is read and written.
func (p *Plan) Traffic(s *Step, la *kernels.Launch) (n int64) {
	written := map[*gpu.Buffer]bool{}
	for _, r := range s.results {
		written[r.buf] = true
	}
	seen := map[kernels.Ptr]bool{}
	add := func(ptr kernels.Ptr) {
		if seen[ptr] {
			return
		}
		seen[ptr] = true
		switch of := ptr.Ref.(type) {
		case *gpu.Buffer:
			bytes := p.Spans[p.span[of]].Bytes
			n += bytes
			if written[of] && of.Role == gpu.State {
				n += bytes
			}
		case *Weight:
			n += of.Bytes
		case Place:
			if of == Workspace {
				n += s.Scratch
			}
		}
	}
	for _, a := range la.Args {
		add(a.Ptr)
		add(a.Map.Of)
		if a.Ptr.Ref == Constants {
			end := s.tableEnd(a.Ptr.Offset)
			for _, row := range s.Table.Addresses {
				if at := int64(row.At); at >= a.Ptr.Offset && at < end {
					add(row.Of)
				}
			}
		}
	}
	return n
}

// tableEnd is where the constants end that begin at an offset of the step's table.
func (s *Step) tableEnd(from int64) int64 {
	end := int64(len(s.Table.Bytes))
	for _, la := range s.Launches {
		for _, a := range la.Args {
			if a.Ptr.Ref == Constants && a.Ptr.Offset > from {
				end = min(end, a.Ptr.Offset)
			}
		}
	}
	return end
}
