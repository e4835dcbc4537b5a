//go:build cuda

package cuda

import (
	"slices"
	"sort"

	"github.com/stylize-gpu/stylize/gpu"
)

// step is operations that the device executes together: one of the program, or
// several that a kernel has fused.
type step struct {
	ops []*gpu.Op // in the program's order; the first names the step
	at  int       // its place in the program
	out []*gpu.Buffer

	// What follows a convolution or a style gradient in its epilogue.
	epilogue
	style  *gpu.Op // the GramGrad that is a second product of a dgrad
	tensor bool    // on the tensor cores, whose kernels have all of the epilogue

	grams []*gram // Gram matrices on the tensor cores, computed together
	makes *gram   // the one of its result, whose sums the first layer's convolution makes

	launches  []launch
	variants  *variants // other kernels for one of them
	scratch   int64     // bytes of workspace
	table     []byte
	addresses []address // that the table holds
	how       string
}

// address is a place in a step's table for the address of a buffer.
type address struct {
	at int
	of *gpu.Buffer
}

// gram is a Gram matrix on the tensor cores: sums over shares of the pixels, and
// what becomes of them.
type gram struct {
	op        *gpu.Op
	mse, grad *gpu.Op     // the style loss and its gradient; nil where the matrix itself is wanted
	part      *gpu.Buffer // the sums (N, splits, C, C)
	splits    int
	made      bool // by the convolution
}

// epilogue is what kernels/epilogue.cuh does, in its order.
type epilogue struct {
	relu     bool
	add      *gpu.Buffer
	content  *gpu.Op     // the MSEGrad that is added
	gate     *gpu.Buffer // the output of the ReLU whose gradient this is
	y        *gpu.Buffer // the result, or nil where nobody reads it
	pooled   *gpu.Buffer
	positive *gpu.Buffer // bits of the result
	bits     *gpu.Buffer // bits of gate, read instead of it
	unpool   *gpu.Op     // the AvgPool2x2Grad before the gate
}

// name is the step in reports.
func (s *step) name() string {
	if len(s.ops) == 1 {
		return s.ops[0].String()
	}
	return s.ops[0].String() + " … " + s.ops[len(s.ops)-1].Kind.String()
}

// flops sums the operations, a Gram matrix where it is computed.
func (s *step) flops() (n int64) {
	for _, op := range s.ops {
		n += op.FLOPs()
	}
	for _, g := range s.grams {
		if g.made {
			n -= g.op.FLOPs()
		}
	}
	if s.makes != nil {
		n += s.makes.op.FLOPs()
	}
	return n
}

// fuser groups the operations of a program into steps. A step stands where its
// first operation stood if that is before everything it reads is overwritten
// (forward), or where its last one did (backward), when all of it exists.
type fuser struct {
	l       *lowering
	ops     []*gpu.Op
	index   map[*gpu.Op]int
	readers map[*gpu.Buffer][]*gpu.Op
	writer  map[*gpu.Buffer]*gpu.Op
	taken   map[*gpu.Op]bool
}

// group makes the steps. Without fuse each operation is one.
//
// A fused program gives the same bits as the list, but for three things on the
// tensor cores: the style gradient is added in the accumulators, where the list
// rounds both; the first layer rounds its weights and not its gradient, where
// the list has an fp32 convolution between stored ones; and its Gram matrix is
// summed in other shares.
func (l *lowering) group(ops []*gpu.Op, fuse bool) []*step {
	f := &fuser{
		l: l, ops: ops, index: map[*gpu.Op]int{}, readers: map[*gpu.Buffer][]*gpu.Op{},
		writer: map[*gpu.Buffer]*gpu.Op{}, taken: map[*gpu.Op]bool{},
	}
	for i, op := range ops {
		f.index[op] = i
		for _, b := range op.In {
			f.readers[b] = append(f.readers[b], op)
		}
		for _, b := range op.Out {
			f.writer[b] = op
		}
	}
	var steps []*step
	for i, op := range ops {
		if f.taken[op] {
			continue
		}
		s := &step{at: i, out: op.Out, tensor: l.onTensorCores(op)}
		s.y = op.Out[0]
		if s.tensor && op.Kind == gpu.GramFwd {
			s.grams = []*gram{{op: op}}
		}
		f.take(s, op)
		if fuse {
			f.grow(s, op)
		}
		steps = append(steps, s)
	}
	inOrder := func() { sort.SliceStable(steps, func(i, j int) bool { return steps[i].at < steps[j].at }) }
	inOrder()
	f.gramSums(steps, fuse)
	if fuse {
		f.bits(steps)
		steps = f.together(steps)
		inOrder()
	}
	return steps
}

// take makes an operation part of a step.
func (f *fuser) take(s *step, op *gpu.Op) {
	f.taken[op] = true
	s.ops = append(s.ops, op)
}

// next is the operation of a kind that alone reads b, or nil.
func (f *fuser) next(b *gpu.Buffer, kind gpu.Kind) *gpu.Op {
	if r := f.readers[b]; b.Role == gpu.Temp && len(r) == 1 && r[0].Kind == kind && !f.taken[r[0]] {
		return r[0]
	}
	return nil
}

func (f *fuser) grow(s *step, op *gpu.Op) {
	switch op.Kind {
	case gpu.NormalizeFwd:
		if c := f.next(op.Out[0], gpu.Conv3x3Fprop); c != nil && f.l.firstLayer(op.In[0].Shape.C, c.Out[0].Shape.C) {
			f.take(s, c)
			s.tensor = true
			f.forward(s, c)
		}
	case gpu.Conv3x3Fprop:
		f.forward(s, op)
	case gpu.Conv3x3Dgrad:
		if n := f.next(op.Out[0], gpu.NormalizeBwd); n != nil && f.l.lastLayer(op.In[0].Shape.C, op.Out[0].Shape.C) {
			f.take(s, n)
			s.at, s.out = f.index[n], n.Out
			return
		}
		f.backward(s, op)
	case gpu.GramBwd:
		if s.tensor {
			f.backward(s, op)
		}
	case gpu.GramFwd:
		if s.tensor {
			f.styleLoss(s, op)
		}
	case gpu.MSEFwd:
		f.parts(op, reduceBlocks(op.In[0].Shape.Elems()/op.In[0].Shape.N))
	case gpu.TVFwd:
		f.tv(s, op)
	case gpu.Add, gpu.Adam:
		f.update(s, op)
	case gpu.NormalizeBwd, gpu.ReLUFwd, gpu.ReLUBwd, gpu.AvgPool2x2Fwd, gpu.AvgPool2x2Bwd, gpu.MSEBwd, gpu.TVBwd,
		gpu.Total, gpu.Record, gpu.NumKinds:
	}
}

// forward takes a ReLU and a pooling behind a convolution.
func (f *fuser) forward(s *step, conv *gpu.Op) {
	s.out = conv.Out
	r := f.next(conv.Out[0], gpu.ReLUFwd)
	if r != nil {
		f.take(s, r)
		s.relu, s.out = true, r.Out
	}
	s.y = s.out[0]
	for _, p := range f.readers[s.y] {
		if s.tensor && p.Kind == gpu.AvgPool2x2Fwd && s.pooled == nil {
			f.take(s, p)
			s.pooled = p.Out[0]
			s.out = []*gpu.Buffer{s.y, s.pooled}
		}
	}
}

// backward takes what joins a gradient on its way up: the style gradient, other
// terms, the gradients of a pooling and of a ReLU.
func (f *fuser) backward(s *step, op *gpu.Op) {
	d := op.Out[0]
	for s.gate == nil {
		if add := f.next(d, gpu.Add); add != nil && s.unpool == nil {
			other := add.In[0]
			if other == d {
				other = add.In[1]
			}
			w := f.writer[other]
			alone := w != nil && f.next(other, gpu.Add) == add && !f.taken[w] && s.tensor
			switch {
			case alone && w.Kind == gpu.GramBwd && op.Kind == gpu.Conv3x3Dgrad && s.style == nil && f.l.onTensorCores(w):
				s.style = w
				f.take(s, w)
			case alone && w.Kind == gpu.MSEBwd && s.content == nil && f.gateOf(add) == w.In[0]:
				s.content = w
				f.take(s, w)
			case s.add == nil && s.content == nil:
				s.add = other
			default:
				return
			}
			f.take(s, add)
			d = add.Out[0]
		} else if p := f.next(d, gpu.AvgPool2x2Bwd); p != nil && s.tensor && s.unpool == nil {
			s.unpool = p
			f.take(s, p)
			d = p.Out[0]
		} else if r := f.next(d, gpu.ReLUBwd); r != nil && r.In[0] == d {
			s.gate = r.In[1]
			f.take(s, r)
			d = r.Out[0]
		} else {
			break
		}
		s.at, s.out, s.y = f.index[s.ops[len(s.ops)-1]], []*gpu.Buffer{d}, d
	}
}

// gateOf is the ReLU's output at the ReLUGrad that alone reads an operation's
// result.
func (f *fuser) gateOf(op *gpu.Op) *gpu.Buffer {
	if r := f.next(op.Out[0], gpu.ReLUBwd); r != nil && r.In[0] == op.Out[0] {
		return r.In[1]
	}
	return nil
}

// styleLoss takes the loss behind a Gram matrix and its gradient, of which only
// the matrix of the style gradient remains.
func (f *fuser) styleLoss(s *step, op *gpu.Op) {
	g := op.Out[0]
	r := f.readers[g]
	if g.Role != gpu.Temp || len(r) != 2 || r[0].Kind != gpu.MSEFwd || r[1].Kind != gpu.MSEBwd || r[0].In[1] != r[1].In[1] || r[0].In[0] != g || r[1].In[0] != g {
		return
	}
	mse, grad := r[0], r[1]
	back := f.next(grad.Out[0], gpu.GramBwd)
	if back == nil || !f.l.onTensorCores(back) || f.next(mse.Out[0], gpu.Total) == nil {
		return
	}
	f.take(s, mse)
	f.take(s, grad)
	s.out = []*gpu.Buffer{mse.Out[0], grad.Out[0]}
	s.grams[0].mse, s.grams[0].grad = mse, grad
	f.l.coef[grad.Out[0]] = true
}

// gramSums says who adds up the Gram matrices on the tensor cores, and in how many
// shares: the convolution of the first layer does it with the tile that it has at
// hand.
func (f *fuser) gramSums(steps []*step, fuse bool) {
	firsts := map[*gpu.Buffer]*step{}
	for _, s := range steps {
		if op := s.ops[0]; fuse && op.Kind == gpu.NormalizeFwd && s.tensor && s.y.Shape.C == 64 {
			firsts[s.y] = s
		}
		if len(s.grams) == 0 {
			continue
		}
		g := s.grams[0]
		x := g.op.In[0]
		maker := s
		g.splits = ceil(x.Shape.Pixels(), splitPixels)
		if first := firsts[x]; first != nil && first.makes == nil {
			maker = first
			first.makes, g.made, g.splits = g, true, firstBlocks(x.Shape)
		}
		g.part = &gpu.Buffer{Name: "sums of " + g.op.Out[0].Name, Role: gpu.Temp, Shape: gpu.Shape{N: x.Shape.N, H: g.splits, W: x.Shape.C, C: x.Shape.C}}
		maker.out = append(append([]*gpu.Buffer{}, maker.out...), g.part)
		if g.mse != nil {
			f.l.inParts(g.mse, x.Shape.C*x.Shape.C/styleElems(g.splits))
		}
	}
}

// together puts style losses into one step: where the last of them stands, if
// nobody wants an earlier one before.
func (f *fuser) together(steps []*step) []*step {
	var all []*step
	var open *step
	for _, s := range steps {
		if len(s.grams) == 0 || s.grams[0].mse == nil || s.grams[0].op.In[0].Role == gpu.State { // which changes
			all = append(all, s)
			continue
		}
		if open == nil || f.wanted(open) < s.at {
			open = s
			all = append(all, s)
			continue
		}
		open.ops, open.grams, open.out = append(open.ops, s.ops...), append(open.grams, s.grams...), append(open.out, s.out...)
		open.at = s.at
	}
	return all
}

// wanted is where a result of a step is first read by another.
func (f *fuser) wanted(s *step) int {
	first := len(f.ops)
	for _, b := range s.out {
		for _, r := range f.readers[b] {
			if !slices.Contains(s.ops, r) {
				first = min(first, f.index[r])
			}
		}
	}
	return first
}

// parts leaves the last sum of a loss term to Total.
func (f *fuser) parts(op *gpu.Op, count int) {
	if f.next(op.Out[0], gpu.Total) != nil {
		f.l.inParts(op, count)
	}
}

func (l *lowering) inParts(op *gpu.Op, count int) {
	x := op.In[0].Shape
	l.parts[op.Out[0]] = parts{count, float32(float64(op.Scale) / float64(x.Elems()/x.N))}
}

// tv takes the gradient of the same picture's variation.
func (f *fuser) tv(s *step, op *gpu.Op) {
	x := op.In[0]
	f.parts(op, tvBlocks(x.Shape))
	for i := s.at + 1; i < len(f.ops) && f.l.parts[op.Out[0]].count > 0; i++ {
		o := f.ops[i]
		if o.Kind == gpu.TVBwd && o.In[0] == x && o.Scale == op.Scale {
			f.take(s, o)
			s.out = []*gpu.Buffer{op.Out[0], o.Out[0]}
			return
		}
		for _, b := range o.Out {
			if b == x {
				return
			}
		}
	}
}

// update takes the last addition of a gradient, Adam and the record behind it.
func (f *fuser) update(s *step, op *gpu.Op) {
	adam := op
	if op.Kind == gpu.Add {
		r := f.readers[op.Out[0]]
		if len(r) != 2 || r[0].Kind != gpu.Adam || f.l.stored[op.Out[0]] {
			return
		}
		adam = r[0]
	}
	i := f.index[adam]
	if i+1 >= len(f.ops) {
		return
	}
	record := f.ops[i+1]
	if record.Kind != gpu.Record || record.In[0] != adam.In[1] || record.In[1] != adam.In[0] || record.In[2] != adam.In[5] || record.In[3] != adam.In[4] {
		return
	}
	for _, o := range []*gpu.Op{adam, record} {
		if o != op {
			f.take(s, o)
		}
	}
	s.at = i
	s.out = append(append(append([]*gpu.Buffer{}, adam.Out...), record.Out...), adam.In[0])
}

// bits lets a convolution write one bit for each value that its ReLU let pass,
// where an epilogue of the way back wants no more than that; then the values
// themselves are not even written if nobody else reads them.
func (f *fuser) bits(steps []*step) {
	for _, s := range steps {
		if !s.relu || !s.tensor {
			continue
		}
		others := len(f.readers[s.y])
		if s.pooled != nil {
			others--
		}
		for _, b := range steps {
			if b.gate != s.y || !b.tensor || b.content != nil { // which reads the values too
				continue
			}
			if s.positive == nil {
				s.positive = &gpu.Buffer{Name: "bits of " + s.y.Name, Role: gpu.Temp, Shape: s.y.Shape}
				f.l.bitsets[s.positive] = true
				s.out = append(append([]*gpu.Buffer{}, s.out...), s.positive)
			}
			b.bits = s.positive
			others--
		}
		if s.y.Role == gpu.Temp && others == 0 && (s.pooled != nil || s.positive != nil) {
			var out []*gpu.Buffer
			for _, b := range s.out {
				if b != s.y {
					out = append(out, b)
				}
			}
			s.y, s.out = nil, out
		}
	}
}
