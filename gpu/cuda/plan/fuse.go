package plan

import (
	"slices"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels"
)

// fuser groups the operations of a program into steps. A step stands where its
// first operation stood if that is before everything it reads is overwritten
// (forward), or where its last one did (backward), when all of it exists.
type fuser struct {
	target  Target
	types   *types
	prog    []*gpu.Op
	index   map[*gpu.Op]int
	readers map[*gpu.Buffer][]*gpu.Op
	writer  map[*gpu.Buffer]*gpu.Op
	taken   map[*gpu.Op]bool
	terms   map[*gpu.Buffer]*term // loss terms that their total adds up
	maxima  map[*gpu.Buffer]bool  // of whose windows a convolution has taken the maximum
	coefs   map[*gpu.Buffer]bool  // gradients of Gram matrices that a styles step replaces
}

// fuse makes the steps of a program. Unfused, each operation is one.
//
// A fused program gives the same bits as the list, but for three things on the
// tensor cores: the style gradient is added in the accumulators, where the list
// rounds both; the first layer rounds its weights and not its gradient, where
// the list has an fp32 convolution between stored ones; and its Gram matrix is
// summed in other shares.
func fuse(p *gpu.Program, target Target, types *types) []step {
	f := &fuser{
		target: target, types: types, prog: p.Ops,
		index: map[*gpu.Op]int{}, readers: map[*gpu.Buffer][]*gpu.Op{}, writer: map[*gpu.Buffer]*gpu.Op{},
		taken: map[*gpu.Op]bool{}, terms: map[*gpu.Buffer]*term{}, maxima: map[*gpu.Buffer]bool{}, coefs: map[*gpu.Buffer]bool{},
	}
	for i, op := range f.prog {
		f.index[op] = i
		for _, b := range op.In {
			f.readers[b] = append(f.readers[b], op)
		}
		for _, b := range op.Out {
			f.writer[b] = op
		}
	}
	var steps []step
	for _, op := range f.prog {
		if !f.taken[op] {
			steps = append(steps, f.step(op))
		}
	}
	inOrder(steps)
	f.shareGrams(steps)
	if !target.Unfused {
		f.keepBits(steps)
		steps = f.together(steps)
		inOrder(steps)
	}
	return steps
}

func inOrder(steps []step) {
	slices.SortStableFunc(steps, func(a, b step) int { return *a.place() - *b.place() })
}

// take makes operations part of a step.
func (f *fuser) take(s step, t *taken, ops ...*gpu.Op) step {
	for _, op := range ops {
		f.taken[op] = true
		t.list = append(t.list, op)
	}
	return s
}

// next is the operation of a kind that alone reads b, or nil.
func (f *fuser) next(b *gpu.Buffer, kind gpu.Kind) *gpu.Op {
	if r := f.readers[b]; b.Role == gpu.Temp && len(r) == 1 && r[0].Kind == kind && !f.taken[r[0]] {
		return r[0]
	}
	return nil
}

// step makes the step that begins with an operation.
func (f *fuser) step(op *gpu.Op) step {
	var s step
	if f.target.Unfused {
		s = f.unfused(op)
	} else {
		s = f.fused(op)
	}
	if s == nil {
		one := &single{op: op, taken: taken{at: f.index[op]}}
		return f.take(one, &one.taken, op)
	}
	return s
}

// unfused is an operation whose kernels want more than a single's; else nil.
func (f *fuser) unfused(op *gpu.Op) step {
	switch op.Kind {
	case gpu.Conv3x3Fprop, gpu.Conv3x3Dgrad:
		c := &conv{op: op, tensor: f.onTensorCores(op), taken: taken{at: f.index[op]}}
		c.y = op.Out[0]
		return f.take(c, &c.taken, op)
	case gpu.GramBwd:
		if f.onTensorCores(op) {
			g := &gramBwd{styleGrad: styleGrad{op: op, coef: f.coefs[op.DY()]}, taken: taken{at: f.index[op]}}
			g.y = op.DX()
			return f.take(g, &g.taken, op)
		}
	case gpu.GramFwd:
		if f.onTensorCores(op) {
			g := &gramFwd{gram: &gram{op: op}, taken: taken{at: f.index[op]}}
			return f.take(g, &g.taken, op)
		}
	case gpu.Total:
		return f.total(op)
	default: // a kernel of its own
	}
	return nil
}

// fused is the fusion that begins with an operation, or what it is unfused.
func (f *fuser) fused(op *gpu.Op) (s step) {
	switch op.Kind {
	case gpu.NormalizeFwd:
		s = f.firstConv(op)
	case gpu.Conv3x3Fprop:
		s = f.forward(op)
	case gpu.Conv3x3Dgrad:
		if s = f.lastConv(op); s == nil {
			s = f.dgrad(op)
		}
	case gpu.GramBwd:
		s = f.gramBwd(op)
	case gpu.GramFwd:
		s = f.styleLoss(op)
	case gpu.MSEFwd:
		if t := f.term(op, kernels.ReduceBlocks(perPicture(op.X()))); t != nil {
			m := &mseFwd{op: op, term: t, taken: taken{at: f.index[op]}}
			s = f.take(m, &m.taken, op)
		}
	case gpu.TVFwd:
		s = f.tv(op)
	case gpu.Add, gpu.Adam:
		s = f.update(op)
	default: // nothing joins it
	}
	if s == nil {
		s = f.unfused(op)
	}
	return s
}

// firstConv is normalisation with the convolution behind it.
func (f *fuser) firstConv(norm *gpu.Op) step {
	op := f.next(norm.Y(), gpu.Conv3x3Fprop)
	if op == nil || !f.target.firstLayer(norm.X().Shape.C, op.Y().Shape.C) {
		return nil
	}
	c := &firstConv{norm: norm, op: op, taken: taken{at: f.index[norm]}}
	f.take(c, &c.taken, norm, op)
	f.behind(c, &c.taken, &c.epilogue, op, true)
	return c
}

// forward is a convolution with what follows it.
func (f *fuser) forward(op *gpu.Op) step {
	c := &conv{op: op, tensor: f.onTensorCores(op), taken: taken{at: f.index[op]}}
	f.take(c, &c.taken, op)
	f.behind(c, &c.taken, &c.epilogue, op, c.tensor)
	return c
}

// behind takes a ReLU and a pooling that follow a convolution.
func (f *fuser) behind(s step, t *taken, e *epilogue, op *gpu.Op, tensor bool) {
	e.y = op.Y()
	if r := f.next(e.y, gpu.ReLUFwd); r != nil {
		f.take(s, t, r)
		e.relu, e.y = true, r.Y()
	}
	if !tensor {
		return
	}
	for _, p := range f.readers[e.y] {
		largest := p.Kind == gpu.MaxPool2x2Fwd && f.maxThereAndBack(s, p)
		if (p.Kind == gpu.AvgPool2x2Fwd || largest) && e.pooled == nil {
			f.take(s, t, p)
			e.pooled, e.maxPool = p.Y(), largest
			f.maxima[e.y] = largest
		}
	}
}

// maxThereAndBack reports whether a maximum over windows can be taken behind a
// convolution. Bits say where it was, and on the way back they are all that is
// known of it: so there must be none, or the epilogue of a dgrad must undo the pooling and
// gate with the ReLU that the windows are of, and nobody else may want those bits.
func (f *fuser) maxThereAndBack(s step, pool *gpu.Op) bool {
	if _, ok := s.(*conv); !ok {
		return false
	}
	x := pool.X()
	for _, r := range f.readers[x] {
		switch r.Kind {
		case gpu.MaxPool2x2Bwd:
			gate := f.next(r.DX(), gpu.ReLUBwd)
			above := f.writer[r.DY()]
			if gate == nil || gate.DY() != r.DX() || gate.Y() != x || f.next(r.DY(), gpu.MaxPool2x2Bwd) != r ||
				above == nil || above.Kind != gpu.Conv3x3Dgrad || !f.onTensorCores(above) {
				return false
			}
		case gpu.ReLUBwd:
			if w := f.writer[r.DY()]; w == nil || w.Kind != gpu.MaxPool2x2Bwd || w.X() != x {
				return false
			}
		default: // it reads the values
		}
	}
	return true
}

// lastConv is the first convolution's dgrad with that of the normalisation.
func (f *fuser) lastConv(op *gpu.Op) step {
	norm := f.next(op.DX(), gpu.NormalizeBwd)
	if norm == nil || !f.target.lastLayer(op.DY().Shape.C, op.DX().Shape.C) {
		return nil
	}
	c := &lastConv{op: op, norm: norm, taken: taken{at: f.index[norm]}}
	return f.take(c, &c.taken, op, norm)
}

// dgrad is a convolution's gradient with what joins it on its way up.
func (f *fuser) dgrad(op *gpu.Op) step {
	c := &conv{op: op, tensor: f.onTensorCores(op), taken: taken{at: f.index[op]}}
	f.take(c, &c.taken, op)
	takeStyle := func(w *gpu.Op) bool {
		if c.style != nil || !f.onTensorCores(w) {
			return false
		}
		c.style = &styleGrad{op: w, coef: f.coefs[w.DY()]}
		return true
	}
	f.onTheWay(c, &c.taken, &c.epilogue, op.DX(), c.tensor, takeStyle)
	return c
}

// gramBwd is a style gradient with what joins it on its way up.
func (f *fuser) gramBwd(op *gpu.Op) step {
	if !f.onTensorCores(op) {
		return nil
	}
	g := &gramBwd{styleGrad: styleGrad{op: op, coef: f.coefs[op.DY()]}, taken: taken{at: f.index[op]}}
	f.take(g, &g.taken, op)
	f.onTheWay(g, &g.taken, &g.epilogue, op.DX(), true, func(*gpu.Op) bool { return false })
	return g
}

// onTheWay takes what joins a gradient d on its way up: other gradients, that of a
// style if takeStyle does, that of the content, of a pooling and of a ReLU.
func (f *fuser) onTheWay(s step, t *taken, e *epilogue, d *gpu.Buffer, tensor bool, takeStyle func(*gpu.Op) bool) {
	e.y = d
	for e.gate == nil {
		if add := f.next(d, gpu.Add); add != nil && e.unpool == nil {
			other := add.A()
			if other == d {
				other = add.B()
			}
			w := f.writer[other]
			alone := tensor && w != nil && f.next(other, gpu.Add) == add && !f.taken[w]
			switch {
			case alone && w.Kind == gpu.GramBwd && takeStyle(w):
				f.take(s, t, w)
			case alone && w.Kind == gpu.MSEBwd && e.content == nil && f.gateOf(add) == w.X():
				e.content = w
				f.take(s, t, w)
			case e.add == nil && e.content == nil:
				e.add = other
			default:
				return
			}
			f.take(s, t, add)
			d = add.Y()
		} else if p := f.unpool(d); p != nil && tensor && e.unpool == nil {
			e.unpool, e.maxPool = p, p.Kind == gpu.MaxPool2x2Bwd
			f.take(s, t, p)
			d = p.DX()
		} else if r := f.next(d, gpu.ReLUBwd); r != nil && r.DY() == d {
			e.gate = r.Y()
			f.take(s, t, r)
			d = r.DX()
		} else {
			break
		}
		t.at, e.y = f.index[t.list[len(t.list)-1]], d
	}
}

// unpool is the gradient of a pooling that alone reads d: of a mean, or of a maximum
// that the convolution before it has taken.
func (f *fuser) unpool(d *gpu.Buffer) *gpu.Op {
	if p := f.next(d, gpu.AvgPool2x2Bwd); p != nil {
		return p
	}
	if p := f.next(d, gpu.MaxPool2x2Bwd); p != nil && f.maxima[p.X()] {
		return p
	}
	return nil
}

// gateOf is the ReLU's output at the ReLUBwd that alone reads an addition's result.
func (f *fuser) gateOf(add *gpu.Op) *gpu.Buffer {
	if r := f.next(add.Y(), gpu.ReLUBwd); r != nil && r.DY() == add.Y() {
		return r.Y()
	}
	return nil
}

// styleLoss is a Gram matrix with its loss and its gradient, of which only the
// matrix of the style gradient remains; or the matrix alone.
func (f *fuser) styleLoss(op *gpu.Op) step {
	if !f.onTensorCores(op) {
		return nil
	}
	g := op.Y()
	r := f.readers[g]
	if g.Role != gpu.Temp || len(r) != 2 || r[0].Kind != gpu.MSEFwd || r[1].Kind != gpu.MSEBwd || r[0].Target() != r[1].Target() || r[0].X() != g || r[1].X() != g {
		return nil
	}
	mse, grad := r[0], r[1]
	back := f.next(grad.DX(), gpu.GramBwd)
	if back == nil || !f.onTensorCores(back) {
		return nil
	}
	t := f.term(mse, 0) // shareGrams counts
	if t == nil {
		return nil
	}
	f.coefs[grad.DX()] = true
	s := &styles{grams: []*gram{{op: op, mse: mse, grad: grad, term: t}}, taken: taken{at: f.index[op]}}
	return f.take(s, &s.taken, op, mse, grad)
}

// shareGrams says in how many shares the Gram matrices on the tensor cores are
// summed, and by whom: the convolution of the first layer does it with the tile
// that it has at hand.
func (f *fuser) shareGrams(steps []step) {
	firsts := map[*gpu.Buffer]*firstConv{}
	for _, s := range steps {
		var grams []*gram
		switch s := s.(type) {
		case *firstConv:
			if s.y.Shape.C == 64 {
				firsts[s.y] = s
			}
		case *gramFwd:
			grams = []*gram{s.gram}
		case *styles:
			grams = s.grams
		}
		for _, g := range grams {
			x := g.op.X().Shape
			g.shares = kernels.Splits(x.Pixels())
			if first := firsts[g.op.X()]; first != nil && first.gram == nil {
				first.gram, g.made, g.shares = g, true, kernels.FirstBlocks(x.H, x.W)
			}
			g.part = &gpu.Buffer{Name: "sums of " + g.op.Y().Name, Role: gpu.Temp, Shape: gpu.Shape{N: x.N, H: g.shares, W: x.C, C: x.C}}
			if g.term != nil {
				g.term.count = kernels.GramStyle{C: x.C, Groups: kernels.StyleGroups(g.shares)}.Blocks(1)
			}
		}
	}
}

// together puts style losses into one step: where the last of them stands, if
// nobody wants an earlier one before.
func (f *fuser) together(steps []step) []step {
	var all []step
	var open *styles
	for _, s := range steps {
		one, ok := s.(*styles)
		if !ok || one.grams[0].op.X().Role == gpu.State { // which changes
			all = append(all, s)
			continue
		}
		if open == nil || f.wanted(open) < one.at {
			open = one
			all = append(all, s)
			continue
		}
		open.list, open.grams, open.at = append(open.list, one.list...), append(open.grams, one.grams...), one.at
	}
	return all
}

// wanted is where a result of a step is first read by another.
func (f *fuser) wanted(s step) int {
	first := len(f.prog)
	for _, r := range s.results() {
		for _, op := range f.readers[r.buf] {
			if !slices.Contains(s.ops(), op) {
				first = min(first, f.index[op])
			}
		}
	}
	return first
}

// term leaves the last sum of a loss term, of so many parts for a picture, to the
// total that alone reads it; nil where none does.
func (f *fuser) term(op *gpu.Op, count int) *term {
	if f.next(op.Y(), gpu.Total) == nil {
		return nil
	}
	x := op.X().Shape
	t := &term{op: op, count: count, scale: 1 / float32(x.Elems()/x.N), weight: op.Weight()}
	f.terms[op.Y()] = t
	return t
}

// total gathers what the steps before have left of the terms.
func (f *fuser) total(op *gpu.Op) step {
	s := &total{single: single{op: op, taken: taken{at: f.index[op]}}}
	for _, b := range op.In {
		if t := f.terms[b]; t != nil {
			s.terms = append(s.terms, t)
		} else {
			s.terms = append(s.terms, &term{count: 1, scale: 1})
		}
	}
	return f.take(s, &s.taken, op)
}

// tv is the parts of a picture's variation, with its gradient where that is of the
// same picture.
func (f *fuser) tv(fwd *gpu.Op) step {
	x := fwd.X()
	t := f.term(fwd, kernels.TVBlocks(x.Shape.H))
	if t == nil {
		return nil
	}
	for _, op := range f.prog[f.index[fwd]+1:] {
		if op.Kind == gpu.TVBwd && op.X() == x && op.Weight() == fwd.Weight() {
			s := &tvFwdBwd{fwd: fwd, bwd: op, term: t, taken: taken{at: f.index[fwd]}}
			return f.take(s, &s.taken, fwd, op)
		}
		if slices.Contains(op.Out, x) {
			break
		}
	}
	s := &tvFwd{op: fwd, term: t, taken: taken{at: f.index[fwd]}}
	return f.take(s, &s.taken, fwd)
}

// update is Adam with the record behind it, the average between them and the last
// addition of their gradient.
func (f *fuser) update(op *gpu.Op) step {
	var add *gpu.Op
	adam := op
	if op.Kind == gpu.Add {
		r := f.readers[op.Y()]
		if len(r) != 2 || r[0].Kind != gpu.Adam || f.types.stored[op.Y()] {
			return nil
		}
		add, adam = op, r[0]
	}
	i := f.index[adam]
	behind := f.prog[i+1:]
	var average *gpu.Op
	if len(behind) > 0 && behind[0].Kind == gpu.Average { // which must come before the step is counted
		average, behind = behind[0], behind[1:]
	}
	if len(behind) == 0 {
		return nil
	}
	record := behind[0]
	if record.Kind != gpu.Record || record.Picture() != adam.Picture() || record.Gradient() != adam.Gradient() || record.Losses() != adam.Losses() || record.Step() != adam.Step() || record.Knobs() != adam.Knobs() {
		return nil
	}
	s := &update{add: add, adam: adam, average: average, record: record, taken: taken{at: i}}
	for _, op := range []*gpu.Op{add, adam, average, record} {
		if op != nil {
			f.take(s, &s.taken, op)
		}
	}
	return s
}

// keepBits lets a convolution write one bit for each value that its ReLU let pass,
// where an epilogue of the way back wants no more than that; then the values
// themselves are not even written if nobody else reads them.
func (f *fuser) keepBits(steps []step) {
	for _, s := range steps {
		e := tensorEpilogue(s)
		if e == nil || !e.relu {
			continue
		}
		others := len(f.readers[e.y])
		if e.pooled != nil {
			others--
		}
		for _, s := range steps {
			b := tensorEpilogue(s)
			if b == nil || b.gate != e.y || b.content != nil { // which reads the values too
				continue
			}
			if e.positive == nil {
				e.positive = &gpu.Buffer{Name: "bits of " + e.y.Name, Role: gpu.Temp, Shape: e.y.Shape}
			}
			b.bits = e.positive
			others--
			if b.maxPool { // whose gradient reads the values too, to find the maximum
				others--
			}
		}
		if e.y.Role == gpu.Temp && others == 0 && (e.pooled != nil || e.positive != nil) {
			e.y = nil
		}
	}
}

// tensorEpilogue is the epilogue of a step on the tensor cores, or nil.
func tensorEpilogue(s step) *epilogue {
	switch s := s.(type) {
	case *conv:
		if s.tensor {
			return &s.epilogue
		}
	case *firstConv:
		return &s.epilogue
	case *gramBwd:
		return &s.epilogue
	}
	return nil
}

// onTensorCores reports whether an operation is a product on them.
func (f *fuser) onTensorCores(op *gpu.Op) bool {
	switch op.Kind {
	case gpu.Conv3x3Fprop:
		return f.target.tensorCores(op.X().Shape.C, op.Y().Shape.C)
	case gpu.Conv3x3Dgrad:
		return f.target.tensorCores(op.DY().Shape.C, op.DX().Shape.C)
	case gpu.GramFwd, gpu.GramBwd:
		return f.target.tensorCores(op.X().Shape.C, op.X().Shape.C)
	default:
		return false
	}
}
