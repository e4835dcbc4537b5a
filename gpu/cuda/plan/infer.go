package plan

import "github.com/stylize-gpu/stylize/gpu"

// types says how each buffer of a program is stored: feature maps and their
// gradients in the precision's type, everything else (pictures, Gram matrices,
// losses) in fp32.
type types struct {
	precision Precision
	stored    map[*gpu.Buffer]bool // in the precision's type
	scaled    map[*gpu.Buffer]bool // gradients that carry the loss scale
	pictures  map[*gpu.Buffer]bool // gradients with respect to pictures: fp32, without the scale
}

// infer finds them. An input takes the type of what reads it, and may be read by
// an operation that says nothing before one that does: so until nothing changes.
func infer(p *gpu.Program, precision Precision) *types {
	t := &types{precision: precision, stored: map[*gpu.Buffer]bool{}, scaled: map[*gpu.Buffer]bool{}, pictures: map[*gpu.Buffer]bool{}}
	for known := -1; known != len(t.stored)+len(t.scaled)+len(t.pictures); {
		known = len(t.stored) + len(t.scaled) + len(t.pictures)
		for _, op := range p.Ops {
			t.mark(op)
		}
	}
	return t
}

// mark is what an operation says of its operands.
func (t *types) mark(op *gpu.Op) {
	features := func(bs ...*gpu.Buffer) {
		for _, b := range bs {
			if b != nil {
				t.stored[b] = true
			}
		}
	}
	gradients := func(bs ...*gpu.Buffer) {
		for _, b := range bs {
			if b != nil {
				t.stored[b], t.scaled[b] = true, true
			}
		}
	}
	switch op.Kind {
	case gpu.NormalizeFwd:
		features(op.Y())
	case gpu.NormalizeBwd:
		gradients(op.DY())
		t.pictures[op.DX()] = true
	case gpu.GramFwd:
		features(op.X())
	case gpu.GramBwd:
		features(op.X())
		gradients(op.DX())
	case gpu.MSEFwd:
		if t.stored[op.X()] {
			features(op.Target())
		}
	case gpu.MSEBwd:
		if t.stored[op.X()] {
			features(op.Target())
			gradients(op.DX())
		}
	case gpu.Add:
		if t.scaled[op.A()] || t.scaled[op.B()] {
			gradients(op.A(), op.B(), op.Y())
		} else if t.stored[op.A()] || t.stored[op.B()] {
			features(op.A(), op.B(), op.Y())
		} else if t.pictures[op.A()] || t.pictures[op.B()] {
			t.pictures[op.Y()] = true
		}
	case gpu.Mul: // the mask is fp32
		switch {
		case t.pictures[op.X()]:
			t.pictures[op.Y()] = true
		case t.scaled[op.X()] || t.scaled[op.Y()]:
			gradients(op.X(), op.Y())
		default:
			features(op.X(), op.Y())
		}
	case gpu.PadBwd, gpu.TVBwd:
		t.pictures[op.DX()] = true
	case gpu.PadFwd, gpu.TVFwd, gpu.Total, gpu.Adam, gpu.LBFGS, gpu.Average, gpu.Record, gpu.NumKinds: // of pictures and losses
	default: // between layers
		features(op.X(), op.Y())
		gradients(op.DY(), op.DX())
	}
}

// bytes is the size of a step's result on the device.
func (t *types) bytes(r result) int64 {
	elems := int64(r.buf.Shape.Elems())
	switch {
	case r.bits:
		return elems / 8
	case r.parts > 0:
		return 4 * elems * int64(r.parts)
	case r.coef || t.stored[r.buf]:
		return elems * int64(t.precision.size())
	}
	return 4 * elems
}
