package cpu

import (
	"fmt"

	"github.com/stylize-gpu/stylize/gpu"
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
)

// step is what the device executes: one operation, or several fused.
type step struct {
	op      *gpu.Op
	conv    *conv // what a convolution has taken in; nil for other operations
	how     string
	in, out []*gpu.Buffer
	scratch int64 // bytes of workspace during the step
	inPlace int   // index of the input whose memory out[0] may take when it is dead afterwards, or -1
	flops   int64
}

// conv is a convolution with everything fused into it.
//
//	forward    y, ypool, ybits = epilogue(relu(conv(src) + bias))
//	backward   y = gate(conv^T(src spread over the pool and gated by xbits) + y)
type conv struct {
	algo  algo
	dgrad bool
	relu  bool
	src   *gpu.Buffer
	xbits *gpu.Buffer // backward behind a pool: sign bits of the tensor before it
	y     *gpu.Buffer // nil when nobody reads the full result
	ypool *gpu.Buffer
	ybits *gpu.Buffer // forward: sign bits of y, for the backward pass
	gate  *gpu.Buffer // backward: sign bits that gate y
	add   *gpu.Buffer // backward: the gradient that is added; y takes its memory
	block blocking
}

// lowering turns a program into steps.
//
// Forward, a convolution takes the ReLU behind it, and the pool behind that, and
// stores one bit a value where the backward pass needs only the sign: of the
// activations in front of a pool nothing else remains.
// Backward, a convolution takes the sum with a style or content gradient and
// the gate of the ReLU in front of it; and behind a pool it spreads and gates
// the pooled gradient while reading, so that the large gradient never exists.
type lowering struct {
	dev      *Device
	p        *gpu.Program
	uses     map[*gpu.Buffer][]*gpu.Op
	def      map[*gpu.Buffer]*gpu.Op
	at       map[*gpu.Op]int
	convs    map[*gpu.Op]*conv
	absorbed map[*gpu.Op]bool            // executed by a convolution
	bits     map[*gpu.Buffer]*gpu.Buffer // by ReLU output
	emitted  map[*gpu.Op]bool
	steps    []*step
}

func (d *Device) lower(p *gpu.Program) []*step {
	l := &lowering{
		dev: d, p: p,
		uses: map[*gpu.Buffer][]*gpu.Op{}, def: map[*gpu.Buffer]*gpu.Op{}, at: map[*gpu.Op]int{},
		convs: map[*gpu.Op]*conv{}, absorbed: map[*gpu.Op]bool{}, bits: map[*gpu.Buffer]*gpu.Buffer{}, emitted: map[*gpu.Op]bool{},
	}
	for i, op := range p.Ops {
		l.at[op] = i
		for _, b := range op.In {
			l.uses[b] = append(l.uses[b], op)
		}
		for _, b := range op.Out {
			l.def[b] = op
		}
	}
	for _, op := range p.Ops { // forward first: it says which ReLUs have sign bits
		if op.Kind == gpu.Conv3x3Fprop {
			l.fprop(op)
		}
	}
	for _, op := range p.Ops {
		if op.Kind == gpu.Conv3x3Dgrad {
			l.dgrad(op)
		}
	}
	for _, op := range p.Ops {
		if c := l.convs[op]; c != nil && !c.dgrad {
			l.stores(c)
		}
	}
	for _, op := range p.Ops {
		l.emit(op)
	}
	return l.steps
}

// sole returns the only operation that reads a temporary, or nil.
func (l *lowering) sole(b *gpu.Buffer) *gpu.Op {
	if u := l.uses[b]; b.Role == gpu.Temp && len(u) == 1 {
		return u[0]
	}
	return nil
}

func (l *lowering) choose(op *gpu.Op) algo {
	x, y := op.In[0].Shape, op.Out[0].Shape
	return choose(x.N, x.H, x.W, x.C, y.C, l.dev.opt.LowMemory)
}

// fprop fuses forward: bias, ReLU, and a pool that reads the result.
func (l *lowering) fprop(op *gpu.Op) {
	c := &conv{algo: l.choose(op), src: op.In[0], y: op.Out[0]}
	l.convs[op] = c
	if r := l.sole(c.y); r != nil && r.Kind == gpu.ReLUFwd {
		c.relu, c.y = true, r.Out[0]
		l.absorbed[r] = true
	}
	switch c.algo {
	case first:
		if !c.relu || op.In[0].Shape.C != 3 {
			c.algo = direct
			return
		}
	case direct:
		return
	case f4, f6:
		for _, u := range l.uses[c.y] {
			if u.Kind == gpu.AvgPool2x2Fwd && c.ypool == nil {
				c.ypool = u.Out[0]
				l.absorbed[u] = true
			}
		}
	}
	if c.relu { // 32 signs in the space of a value
		s := c.y.Shape
		s.C /= 32
		l.bits[c.y] = &gpu.Buffer{Name: "signs of " + c.y.Name, Role: gpu.Temp, Shape: s}
	}
}

// dgrad fuses backward.
func (l *lowering) dgrad(op *gpu.Op) {
	c := &conv{algo: l.choose(op), dgrad: true, src: op.In[0], y: op.Out[0]}
	l.convs[op] = c
	if c.algo == first && op.Out[0].Shape.C != 3 {
		c.algo = direct
	}
	if c.algo != f4 && c.algo != f6 {
		return
	}
	// Prologue: src = ReLUGrad(AvgPoolGrad(g), r), both for this reader alone.
	if gate := l.def[c.src]; gate != nil && gate.Kind == gpu.ReLUBwd && l.sole(c.src) == op && l.bits[gate.In[1]] != nil {
		if spread := l.def[gate.In[0]]; spread != nil && spread.Kind == gpu.AvgPool2x2Bwd && l.sole(gate.In[0]) == gate {
			c.src, c.xbits = spread.In[0], l.bits[gate.In[1]]
			l.absorbed[gate], l.absorbed[spread] = true, true
		}
	}
	// Epilogue: + t, where t can be computed before this step and is read here alone.
	if sum := l.sole(c.y); sum != nil && sum.Kind == gpu.Add && sum.Out[0].Role == gpu.Temp {
		t := sum.In[0]
		if t == c.y {
			t = sum.In[1]
		}
		if term := l.def[t]; term != nil && t.Role == gpu.Temp && l.sole(t) == sum && l.readyBefore(term, op) {
			c.add, c.y = t, sum.Out[0]
			l.absorbed[sum] = true
		}
	}
	// Epilogue: the gate of the ReLU in front.
	if gate := l.sole(c.y); gate != nil && gate.Kind == gpu.ReLUBwd && gate.In[0] == c.y && l.bits[gate.In[1]] != nil &&
		(c.add == nil || gate.Out[0].Role == gpu.Temp) {
		c.gate, c.y = l.bits[gate.In[1]], gate.Out[0]
		l.absorbed[gate] = true
	}
}

// readyBefore reports whether everything that term reads is written before op.
func (l *lowering) readyBefore(term, op *gpu.Op) bool {
	if term.Kind == gpu.Conv3x3Fprop || term.Kind == gpu.Conv3x3Dgrad {
		return false
	}
	for _, b := range term.In {
		if d := l.def[b]; d != nil && l.at[d] >= l.at[op] {
			return false
		}
	}
	return true
}

// stores decides what a forward convolution writes: the full result if anybody
// reads more of it than its pool and its signs, and the signs if they are read.
func (l *lowering) stores(c *conv) {
	bits := l.bits[c.y]
	if bits == nil {
		return
	}
	full, signs := c.y.Role != gpu.Temp, false
	for _, u := range l.uses[c.y] {
		switch {
		case !l.absorbed[u]:
			full = true
		case u.Kind == gpu.ReLUBwd:
			signs = true
		}
	}
	if signs {
		c.ybits = bits
	}
	if !full && c.ypool != nil {
		c.y = nil
	}
}

func (l *lowering) emit(op *gpu.Op) {
	if l.emitted[op] || l.absorbed[op] {
		return
	}
	l.emitted[op] = true
	s := &step{op: op, how: op.Kind.String(), in: op.In, out: op.Out, inPlace: -1, flops: op.FLOPs()}
	set := l.dev.loops.Name
	switch op.Kind {
	case gpu.Conv3x3Fprop, gpu.Conv3x3Dgrad:
		c := l.convs[op]
		if c.add != nil {
			l.emit(l.def[c.add])
		}
		l.emitConv(s, c)
	case gpu.ReLUFwd, gpu.ReLUBwd, gpu.Add, gpu.NormalizeBwd:
		s.inPlace = 0
	case gpu.GramFwd:
		f := op.In[0].Shape
		s.scratch = 4 * int64(gramSlices(f.Pixels())*f.C*f.C)
		s.how = fmt.Sprintf("triangle %s, %d slices", set, gramSlices(f.Pixels()))
	case gpu.GramBwd:
		c := op.In[1].Shape.C
		s.scratch = 4 * int64((c+63)/64*64*c) // PackMatrix, any panel width
		s.how = "gemm " + set
	default:
	}
	l.steps = append(l.steps, s)
}

// emitConv lists what the convolution reads and writes, and sizes its scratch.
func (l *lowering) emitConv(s *step, c *conv) {
	s.conv, s.in, s.out = c, []*gpu.Buffer{c.src}, nil
	s.how = c.algo.String() + " " + l.dev.loops.Name
	read := func(b *gpu.Buffer, note string) {
		if b != nil {
			s.in, s.how = append(s.in, b), s.how+note
		}
	}
	write := func(b *gpu.Buffer, note string) {
		if b != nil {
			s.out, s.how = append(s.out, b), s.how+note
		}
	}
	read(c.xbits, " unpool+gate+")
	if c.add != nil {
		s.inPlace = len(s.in)
		read(c.add, " +add")
	}
	read(c.gate, " +gate")
	if !c.dgrad {
		s.how += " +bias"
	}
	if c.relu {
		s.how += " +relu"
	}
	write(c.y, "")
	write(c.ypool, " +pool")
	write(c.ybits, " +signs")

	x, k, threads := s.op.In[0].Shape, s.op.Out[0].Shape.C, l.dev.opt.Threads
	switch c.algo {
	case f4, f6:
		c.block = block(c.algo, x, x.C, k, threads, l.dev.loops.Rows())
		v, m := l.dev.loops.WinoScratch(c.algo.tile(), x.C, c.block.size)
		if c.block.shared {
			s.scratch = 4 * int64(v+threads*m)
		} else {
			s.scratch = 4 * int64(threads*(v+m)) // any thread may take any block
		}
	case first:
		n := loops.FirstStrip(x.W)
		if c.dgrad {
			n = loops.FirstRing(x.W)
		}
		s.scratch = 4 * int64(threads*n)
	case direct:
	}
}

// gramSlices cuts the pixels of a Gram sum into independent slices: enough to
// feed many threads, by the picture alone so that the bits do not change.
func gramSlices(pixels int) int { return min(max(pixels/4096, 1), 32) }
