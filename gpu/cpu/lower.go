package cpu

import (
	"fmt"

	"github.com/stylize-gpu/stylize/gpu"
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
)

// step is what the device executes: an operation, or a convolution with those
// that it has taken in.
type step struct {
	op      *gpu.Op
	conv    *conv  // nil for other operations
	tiled   *tiled // nil for what is not in bf16
	bind    binder // nil for operations of exec.go
	how     string
	in, out []*gpu.Buffer
	scratch int64       // bytes of workspace during the step
	inPlace *gpu.Buffer // the input whose memory out[0] may take when it is dead afterwards, or nil
	flops   int64
}

// conv is a convolution with everything fused into it.
//
//	forward    y, ypool, ybits = epilogue(relu(conv(src) + bias))
//	backward   y = gate(conv^T(src spread over the pool and gated by xbits) + addend)
type conv struct {
	op    *gpu.Op
	algo  algo
	block blocking // of Winograd

	// The operations that it executes besides its own, nil where it has not taken
	// one: forward the ReLU and the pool behind it; backward the gradients of a pool
	// and of the ReLU in front of that, before its own, then a sum and the gradient
	// of a ReLU.
	relu, pool             *gpu.Op
	unpool, unrelu         *gpu.Op // both or none
	sum, gate              *gpu.Op
	src, y                 *gpu.Buffer // y is nil when nobody reads the full result
	xbits, ybits, gateBits *gpu.Buffer // bits of ReLUs: those that unrelu reads, of y, those that gate reads
	ypool                  *gpu.Buffer
	addend                 *gpu.Buffer // what sum adds; y takes its memory
}

func (c *conv) dgrad() bool { return c.op.Kind == gpu.Conv3x3Dgrad }

func (c *conv) winograd() bool { return c.algo == f4 || c.algo == f6 }

// maxPool reports whether a bit of ybits says that the value is positive and the
// first maximum of its window, and not the sign alone.
func (c *conv) maxPool() bool { return c.pool != nil && c.pool.Kind == gpu.MaxPool2x2Fwd }

// extents are the tensors between which the convolution itself leads, whatever
// was fused.
func (c *conv) extents() (in, out gpu.Shape) {
	if c.dgrad() {
		return c.op.DY().Shape, c.op.DX().Shape
	}
	return c.op.X().Shape, c.op.Y().Shape
}

// lowering turns a program into steps.
//
// Forward, a convolution takes the ReLU behind it, and the pool behind that, and
// stores one bit a value where the backward pass needs only the sign: of the
// activations in front of a pool nothing else remains. If the pool takes the
// maximum, the bit says that the value is positive and the first maximum of its
// window: all that the gradient of both asks.
// Backward, a convolution takes the sum with a style or content gradient and
// the gate of the ReLU in front of it; and behind a pool it spreads and gates
// the pooled gradient while reading, so that the large gradient never exists.
type lowering struct {
	dev     *Device
	p       *gpu.Program
	uses    map[*gpu.Buffer][]*gpu.Op
	def     map[*gpu.Buffer]*gpu.Op
	at      map[*gpu.Op]int
	convs   map[*gpu.Op]*conv
	taken   map[*gpu.Op]bool            // executed by a convolution
	bits    map[*gpu.Buffer]*gpu.Buffer // by ReLU output; signs, or of a maximum pool (conv.maxPool)
	emitted map[*gpu.Op]bool
	steps   []*step
}

func (d *Device) newLowering(p *gpu.Program) lowering {
	l := lowering{
		dev: d, p: p,
		uses: map[*gpu.Buffer][]*gpu.Op{}, def: map[*gpu.Buffer]*gpu.Op{}, at: map[*gpu.Op]int{},
		convs: map[*gpu.Op]*conv{}, taken: map[*gpu.Op]bool{}, bits: map[*gpu.Buffer]*gpu.Buffer{}, emitted: map[*gpu.Op]bool{},
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
	return l
}

func (d *Device) lower(p *gpu.Program) []*step {
	if d.tiles != nil {
		return d.tile(p)
	}
	low := d.newLowering(p)
	l := &low
	for _, op := range p.Ops {
		switch op.Kind {
		case gpu.Conv3x3Fprop:
			l.newConv(op, op.X(), op.Y())
		case gpu.Conv3x3Dgrad:
			l.newConv(op, op.DY(), op.DX())
		default:
		}
	}
	for _, op := range p.Ops { // forward first: it says which ReLUs have bits
		if c := l.convs[op]; c != nil && !c.dgrad() {
			l.fprop(c)
		}
	}
	for _, op := range p.Ops {
		if c := l.convs[op]; c != nil && c.dgrad() {
			l.dgrad(c)
		}
	}
	for _, op := range p.Ops {
		if c := l.convs[op]; c != nil && !c.dgrad() {
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

// relu returns the ReLU that alone reads y, or nil.
func (l *lowering) relu(y *gpu.Buffer) *gpu.Op {
	if r := l.sole(y); r != nil && r.Kind == gpu.ReLUFwd {
		return r
	}
	return nil
}

// otherTerm is what a sum adds to y.
func otherTerm(sum *gpu.Op, y *gpu.Buffer) *gpu.Buffer {
	if t := sum.A(); t != y {
		return t
	}
	return sum.B()
}

// newConv begins a convolution that has taken nothing.
func (l *lowering) newConv(op *gpu.Op, src, y *gpu.Buffer) {
	c := &conv{op: op, src: src, y: y}
	in, out := c.extents()
	c.algo = choose(in.H, in.W, in.C, out.C, l.dev.opt.LowMemory)
	l.convs[op] = c
}

// take marks operations as executed by a convolution.
func (l *lowering) take(ops ...*gpu.Op) {
	for _, op := range ops {
		l.taken[op] = true
	}
}

// fprop fuses forward: bias, ReLU, and a pool that reads the result.
func (l *lowering) fprop(c *conv) {
	if r := l.relu(c.y); r != nil {
		c.relu, c.y = r, r.Y()
		l.take(r)
	}
	switch c.algo {
	case first:
		if c.relu == nil || c.op.X().Shape.C != 3 {
			c.algo = direct
			return
		}
	case direct, implicit:
		return
	case f4, f6:
		for _, u := range l.uses[c.y] {
			if c.pool == nil && (u.Kind == gpu.AvgPool2x2Fwd || u.Kind == gpu.MaxPool2x2Fwd && l.takeMaxBwd(c)) {
				c.pool, c.ypool = u, u.Y()
				l.take(u)
			}
		}
	}
	if c.relu != nil {
		l.bits[c.y] = newBits(c.y)
	}
}

// newBits is a buffer for one bit a value of b, 32 in the space of a value.
func newBits(b *gpu.Buffer) *gpu.Buffer {
	s := b.Shape
	s.C /= 32
	return &gpu.Buffer{Name: "bits of " + b.Name, Role: gpu.Temp, Shape: s}
}

// maxGradient returns the gradients of the maximum pool of r = relu(.) and of that ReLU,
// nil where there are none, and whether both can be fused or need not be. Bits that say
// where r has its maxima do not say its signs, hence all or nothing: nobody but
// ReLUBwd(MaxPool2x2Bwd(g, r), r) may ask for either.
func (l *lowering) maxGradient(r *gpu.Buffer, relu *gpu.Op) (unpool, unrelu *gpu.Op, ok bool) {
	var unpools, unrelus []*gpu.Op
	for _, u := range l.uses[r] {
		switch {
		case u.Kind == gpu.MaxPool2x2Bwd && u.X() == r:
			unpools = append(unpools, u)
		case u.Kind == gpu.ReLUBwd && u.Y() == r:
			unrelus = append(unrelus, u)
		}
	}
	if len(unpools) == 0 && len(unrelus) == 0 {
		return nil, nil, true
	}
	if relu == nil || len(unpools) != 1 || len(unrelus) != 1 {
		return nil, nil, false
	}
	unpool, unrelu = unpools[0], unrelus[0]
	return unpool, unrelu, unrelu.DY() == unpool.DX() && l.sole(unpool.DX()) == unrelu
}

// takeMaxBwd reports whether c can take a maximum pool of its result, and if there are
// gradients gives those of the pool and of the ReLU to the convolution that reads them:
// a Winograd convolution alone must.
func (l *lowering) takeMaxBwd(c *conv) bool {
	unpool, unrelu, ok := l.maxGradient(c.y, c.relu)
	if !ok || unpool == nil {
		return ok
	}
	back := l.convs[l.sole(unrelu.DX())]
	if back == nil || !back.dgrad() || !back.winograd() {
		return false
	}
	back.unpool, back.unrelu = unpool, unrelu
	return true
}

// dgrad fuses backward.
func (l *lowering) dgrad(c *conv) {
	op := c.op
	if c.algo == first && op.DX().Shape.C != 3 {
		c.algo = direct
	}
	if !c.winograd() {
		return
	}
	// Prologue: src = ReLUBwd(AvgPool2x2Bwd(g), r), both for this reader alone; those of maximum
	// pools takeMaxBwd has found.
	if unrelu := l.def[c.src]; unrelu != nil && unrelu.Kind == gpu.ReLUBwd && l.sole(c.src) == op && l.bits[unrelu.Y()] != nil {
		if unpool := l.def[unrelu.DY()]; unpool != nil && unpool.Kind == gpu.AvgPool2x2Bwd && l.sole(unrelu.DY()) == unrelu {
			c.unpool, c.unrelu = unpool, unrelu
		}
	}
	if c.unpool != nil {
		c.src, c.xbits = c.unpool.DY(), l.bits[c.unrelu.Y()]
		l.take(c.unpool, c.unrelu)
	}
	// Epilogue: + t, where t can be computed before this step and is read here alone.
	if sum := l.sole(c.y); sum != nil && sum.Kind == gpu.Add && sum.Y().Role == gpu.Temp {
		t := otherTerm(sum, c.y)
		if term := l.def[t]; term != nil && t.Role == gpu.Temp && l.sole(t) == sum && l.readyBefore(term, op) {
			c.sum, c.addend, c.y = sum, t, sum.Y()
			l.take(sum)
		}
	}
	// Epilogue: the gate of the ReLU in front.
	if gate := l.sole(c.y); gate != nil && gate.Kind == gpu.ReLUBwd && gate.DY() == c.y && l.bits[gate.Y()] != nil &&
		(c.sum == nil || gate.DX().Role == gpu.Temp) {
		c.gate, c.gateBits, c.y = gate, l.bits[gate.Y()], gate.DX()
		l.take(gate)
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
		case !l.taken[u]:
			full = true
		case u.Kind == gpu.ReLUBwd:
			signs = true
		}
	}
	if signs {
		c.ybits = bits
	}
	if !full && c.pool != nil {
		c.y = nil
	}
}

func (l *lowering) emit(op *gpu.Op) {
	if l.emitted[op] || l.taken[op] {
		return
	}
	l.emitted[op] = true
	s := &step{op: op, how: op.Kind.String(), in: op.In, out: op.Out, flops: op.FLOPs()}
	set := l.dev.loops.Name
	switch op.Kind {
	case gpu.Conv3x3Fprop, gpu.Conv3x3Dgrad:
		c := l.convs[op]
		if c.sum != nil {
			l.emit(l.def[c.addend])
		}
		l.emitConv(s, c)
	case gpu.ReLUFwd, gpu.Mul:
		s.inPlace = op.X()
	case gpu.ReLUBwd, gpu.NormalizeBwd:
		s.inPlace = op.DY()
	case gpu.Add:
		s.inPlace = op.A()
	case gpu.GramFwd:
		f := op.X().Shape
		s.scratch = 4 * int64(gramSlices(f.Pixels())*f.C*f.C)
		s.how = fmt.Sprintf("triangle %s, %d slices", set, gramSlices(f.Pixels()))
	case gpu.GramBwd:
		c := op.X().Shape.C
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
	if c.unpool != nil && c.unpool.Kind == gpu.MaxPool2x2Bwd {
		read(c.xbits, " unmaxpool+gate+")
	} else {
		read(c.xbits, " unpool+gate+")
	}
	read(c.addend, " +add")
	s.inPlace = c.addend
	read(c.gateBits, " +gate")
	if !c.dgrad() {
		s.how += " +bias"
	}
	if c.relu != nil {
		s.how += " +relu"
	}
	write(c.y, "")
	if c.maxPool() {
		write(c.ypool, " +maxpool")
		write(c.ybits, " +maxima")
	} else {
		write(c.ypool, " +pool")
		write(c.ybits, " +signs")
	}

	x, y := c.extents()
	threads := l.dev.opt.Threads
	switch c.algo {
	case f4, f6:
		c.block = block(c.algo, x, x.C, y.C, threads, l.dev.loops.Rows())
		v, m := l.dev.loops.WinoScratch(c.algo.tile(), x.C, c.block.size)
		if c.block.shared {
			s.scratch = 4 * int64(v+threads*m)
		} else {
			s.scratch = 4 * int64(threads*(v+m)) // any thread may take any block
		}
	case first:
		n := loops.FirstStrip(x.W)
		if c.dgrad() {
			n = loops.FirstRing(x.W)
		}
		s.scratch = 4 * int64(threads*n)
	case direct, implicit:
	}
}

// gramSlices cuts the pixels of a Gram sum into independent slices: enough to
// feed many threads, by the picture alone so that the bits do not change.
func gramSlices(pixels int) int { return min(max(pixels/4096, 1), 32) }
