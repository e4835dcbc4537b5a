package cpu

import (
	"cmp"
	"fmt"

	"github.com/stylize-gpu/stylize/gpu"
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
)

// tiled is what the tiles execute at once: a convolution, a pass over a gradient, or a
// Gram matrix.
//
//	forward    y, ypool, ybits = epilogue(relu(conv(src) + bias))
//	backward   y = gate(unpool(conv^T(src) + style gradient + addends)), with any of the parts
//
// Features and their gradients are maps, the buffers here those of the maps; the picture
// and everything small stays in fp32.
type tiled struct {
	conv        *gpu.Op // nil where there is none
	relu, pool  *gpu.Op
	style       *gpu.Op // GramBwd
	unpool      *gpu.Op
	gate        *gpu.Op
	in, out     gpu.Shape // of the sums: extent, channels in and out
	src         *gpu.Buffer
	y, ypool    *gpu.Buffer
	ybits, mask *gpu.Buffer // mask: bits of the ReLU that gates
	f           *gpu.Buffer // features of the style gradient
	addends     []*gpu.Buffer
}

func (t *tiled) dgrad() bool { return t.conv != nil && t.conv.Kind == gpu.Conv3x3Dgrad }

// first reports whether it leads from the picture, image whether it leads to it.
func (t *tiled) first() bool { return t.conv != nil && !t.dgrad() && t.in.C == 3 }
func (t *tiled) image() bool { return t.dgrad() && t.out.C == 3 }

// tiling turns a program into steps in bf16. Which form a buffer has, plain or a map, is
// known when the step is emitted that writes it; a step that wants the other form has it
// converted. So every program runs; those of a transfer meet few conversions.
type tiling struct {
	lowering
	maps  map[*gpu.Buffer]*gpu.Buffer // the map of a buffer, where it has been written
	plain map[*gpu.Buffer]bool        // written as it is
	maxes map[*gpu.Op]bool            // maximum pools and their gradients that are fused
}

// fits reports whether features of this shape can be a map.
func fits(s gpu.Shape) bool { return s.C%32 == 0 }

func (d *Device) tile(p *gpu.Program) []*step {
	l := &tiling{lowering: d.newLowering(p), maps: map[*gpu.Buffer]*gpu.Buffer{}, plain: map[*gpu.Buffer]bool{}, maxes: map[*gpu.Op]bool{}}
	for _, b := range p.Buffers {
		if b.Role == gpu.Const || b.Role == gpu.Input || b.Role == gpu.State {
			l.plain[b] = true
		}
	}
	for _, op := range p.Ops {
		l.emit(op, true)
	}
	return l.steps
}

// emit emits the step that begins with op. grow says whether it may take what follows:
// not where it is fetched ahead of its turn, for an operation that adds its result.
func (l *tiling) emit(op *gpu.Op, grow bool) {
	if l.emitted[op] || l.taken[op] {
		return
	}
	l.emitted[op] = true
	l.before(op)
	k := op.Kind
	switch {
	case k == gpu.Conv3x3Fprop && l.forwardFits(op):
		l.forward(op)
	case k == gpu.Conv3x3Fprop:
		l.direct(op, op.X(), op.Y())
	case k == gpu.Conv3x3Dgrad && fits(op.DY().Shape) && (fits(op.DX().Shape) || op.DX().Shape.C == 3):
		l.backward(op, grow)
	case k == gpu.Conv3x3Dgrad:
		l.direct(op, op.DY(), op.DX())
	case k == gpu.GramFwd && fits(op.X().Shape):
		l.gram(op)
	case k == gpu.GramBwd && fits(op.X().Shape), k == gpu.ReLUBwd && l.bits[op.Y()] != nil,
		k == gpu.Add && (l.maps[op.A()] != nil || l.maps[op.B()] != nil),
		k == gpu.AvgPool2x2Bwd && l.maps[op.DY()] != nil, k == gpu.MaxPool2x2Bwd && l.maxes[op]:
		l.backward(op, grow)
	case (k == gpu.MSEFwd || k == gpu.MSEBwd || k == gpu.Mul) && l.maps[op.X()] != nil:
		l.features(op)
	default:
		l.other(op)
	}
}

// forwardFits reports whether tiles compute a convolution: that of the first layer with
// its ReLU alone.
func (l *tiling) forwardFits(op *gpu.Op) bool {
	in, out := op.X().Shape, op.Y().Shape
	return fits(in) && fits(out) || in.C == 3 && out.C == 64 && l.relu(op.Y()) != nil
}

// before emits what an operation reads, where that is fetched ahead of its turn.
func (l *tiling) before(op *gpu.Op) {
	for _, b := range op.In {
		if d := l.def[b]; d != nil && l.at[d] < l.at[op] {
			l.emit(d, false)
		}
	}
}

// other emits an operation on plain tensors.
func (l *tiling) other(op *gpu.Op) {
	for _, b := range op.In {
		l.asPlain(b)
	}
	delete(l.emitted, op)
	l.lowering.emit(op)
	for _, b := range op.Out {
		l.plain[b] = true
	}
}

// direct emits a convolution of channels that fill no tile.
func (l *tiling) direct(op *gpu.Op, src, y *gpu.Buffer) {
	l.asPlain(src)
	l.newConv(op, src, y)
	c := l.convs[op]
	c.algo = direct
	if !c.dgrad() {
		l.fprop(c)
	}
	delete(l.emitted, op)
	l.lowering.emit(op)
	l.plain[c.y] = true
}

// asPlain sees to it that b is there in fp32.
func (l *tiling) asPlain(b *gpu.Buffer) {
	if l.plain[b] || l.maps[b] == nil {
		return
	}
	l.plain[b] = true
	l.steps = append(l.steps, &step{op: l.def[b], how: "bf16 to fp32", in: []*gpu.Buffer{l.maps[b]}, out: []*gpu.Buffer{b}, bind: convert((*loops.Pool).TilesToPlain, b, l.maps[b], b.Shape)})
}

// asMap returns the map of b.
func (l *tiling) asMap(b *gpu.Buffer) *gpu.Buffer {
	if m := l.maps[b]; m != nil {
		return m
	}
	op := l.def[b]
	if op == nil {
		op = l.uses[b][0]
	}
	m := l.newMap(b)
	l.steps = append(l.steps, &step{op: op, how: "fp32 to bf16", in: []*gpu.Buffer{b}, out: []*gpu.Buffer{m}, bind: convert((*loops.Pool).TilesFromPlain, m, b, b.Shape)})
	return m
}

// newMap is where a step writes the map of b.
func (l *tiling) newMap(b *gpu.Buffer) *gpu.Buffer {
	s := b.Shape
	m := &gpu.Buffer{Name: b.Name, Role: gpu.Temp, Shape: gpu.Shape{N: s.N, H: 1, W: 1, C: loops.MapLen(s.H, s.W, s.C)}}
	l.maps[b] = m
	return m
}

// forward fuses the ReLU and the pool behind a convolution, and decides what it stores:
// the features if anybody reads more of them than their pool and their bits.
func (l *tiling) forward(op *gpu.Op) {
	t := &tiled{conv: op, in: op.X().Shape, out: op.Y().Shape}
	y := op.Y()
	if r := l.relu(y); r != nil {
		t.relu, y = r, r.Y()
		l.take(r)
	}
	full, gated := y.Role != gpu.Temp, false
	for _, u := range l.uses[y] {
		switch {
		case t.pool == nil && !t.first() && (u.Kind == gpu.AvgPool2x2Fwd || u.Kind == gpu.MaxPool2x2Fwd && l.takeMax(y, t.relu)):
			t.pool = u
			l.take(u)
		case u.Kind == gpu.ReLUBwd && u.Y() == y && t.relu != nil:
			gated = true
		case l.maxes[u]:
		default:
			full = true
		}
	}
	s := &step{op: op, tiled: t, how: "bf16 " + l.dev.tiles.Name + " +bias", flops: op.FLOPs()}
	if t.first() {
		l.asPlain(op.X())
		t.src = op.X()
		full = true
		s.scratch = 4 * int64(l.dev.opt.Threads*loops.TilesStrip(t.in.W, firstRows(t.in.H, l.dev.opt.Threads)))
	} else {
		t.src = l.asMap(op.X())
	}
	s.in = []*gpu.Buffer{t.src}
	if t.relu != nil {
		s.how += " +relu"
	}
	if full || t.pool == nil && !gated {
		t.y = l.newMap(y)
		s.out = append(s.out, t.y)
	}
	if t.pool != nil {
		t.ypool = l.newMap(t.pool.Y())
		s.out, s.how = append(s.out, t.ypool), s.how+map[bool]string{false: " +pool", true: " +maxpool"}[t.pool.Kind == gpu.MaxPool2x2Fwd]
	}
	if gated {
		t.ybits = newBits(y)
		l.bits[y] = t.ybits
		s.out, s.how = append(s.out, t.ybits), s.how+" +bits"
	}
	s.bind = bindTiled
	l.steps = append(l.steps, s)
	if y.Role == gpu.Output {
		l.asPlain(y)
	}
	if t.pool != nil && t.pool.Y().Role == gpu.Output {
		l.asPlain(t.pool.Y())
	}
}

// takeMax reports whether a convolution can take a maximum pool of its result r, and if
// there are gradients remembers that of the pool: a step of tiles ends with both.
func (l *tiling) takeMax(r *gpu.Buffer, relu *gpu.Op) bool {
	unpool, _, ok := l.maxGradient(r, relu)
	if ok && unpool != nil {
		l.maxes[unpool] = true
	}
	return ok
}

// backward gathers what follows one another: the gradient of a convolution or of a Gram
// matrix, sums, the gradient of a pool, that of a ReLU.
func (l *tiling) backward(op *gpu.Op, grow bool) {
	t := &tiled{}
	s := &step{op: op, tiled: t, how: "bf16 " + l.dev.tiles.Name, flops: op.FLOPs(), bind: bindTiled}
	var y *gpu.Buffer
	switch op.Kind {
	case gpu.Conv3x3Dgrad:
		t.conv, t.src, y = op, l.asMap(op.DY()), op.DX()
		t.in, t.out = op.DY().Shape, op.DX().Shape
		s.in = append(s.in, t.src)
	case gpu.GramBwd:
		t.style, y = op, op.DX()
	case gpu.Add:
		t.addends, y = []*gpu.Buffer{l.asMap(op.A()), l.asMap(op.B())}, op.Y()
	case gpu.AvgPool2x2Bwd, gpu.MaxPool2x2Bwd:
		t.unpool, t.addends, y = op, []*gpu.Buffer{l.asMap(op.DY())}, op.DX()
		t.out = op.DY().Shape
	case gpu.ReLUBwd:
		t.gate, t.addends, y = op, []*gpu.Buffer{l.asMap(op.DY())}, op.DX()
	default: // emit sends no other
	}
	if t.out.C == 0 {
		t.out = y.Shape
	}
	if t.conv == nil {
		t.in = t.out
		t.in.C = 0
	}
	for grow && t.gate == nil && !t.image() {
		u := l.sole(y)
		if u == nil {
			break
		}
		next := y
		switch {
		case u.Kind == gpu.Add && t.unpool == nil:
			if l.join(t, u, otherTerm(u, y), op) {
				next = u.Y()
			}
		case t.unpool == nil && (u.Kind == gpu.AvgPool2x2Bwd || l.maxes[u]) && u.DY() == y:
			t.unpool, next = u, u.DX()
		case u.Kind == gpu.ReLUBwd && u.DY() == y && l.bits[u.Y()] != nil:
			t.gate, next = u, u.DX()
		}
		if next == y {
			break
		}
		y = next
		s.flops += u.FLOPs()
		l.take(u)
	}
	if t.style != nil {
		if t.style != op {
			s.flops += t.style.FLOPs()
		}
		t.f = l.asMap(t.style.X())
		s.in, s.how = append(s.in, t.f, t.style.DY()), s.how+" +style"
		s.scratch = 4 * int64(t.out.N*loops.TilesMatrix(t.out.C))
	}
	if n := len(t.addends); n > 0 {
		s.in, s.how = append(s.in, t.addends...), s.how+fmt.Sprintf(" +%d", n)
	}
	if t.unpool != nil {
		s.how += " +unpool"
	}
	if t.gate != nil {
		t.mask = l.bits[t.gate.Y()]
		s.in, s.how = append(s.in, t.mask), s.how+" +gate"
	}
	if t.image() {
		t.y = y
		l.plain[y] = true
	} else {
		t.y = l.newMap(y)
	}
	s.out = []*gpu.Buffer{t.y}
	l.steps = append(l.steps, s)
	if y.Role == gpu.Output {
		l.asPlain(y)
	}
}

// join takes a term of the sum u into the step whose result is the other, if it can be
// computed before it; begin is the operation that the step begins with. It reports
// whether it did.
func (l *tiling) join(t *tiled, u *gpu.Op, term *gpu.Buffer, begin *gpu.Op) bool {
	d := l.def[term]
	if d != nil && !l.ready(d, begin) {
		return false
	}
	if d != nil && d.Kind == gpu.GramBwd && t.style == nil && !l.emitted[d] && l.sole(term) == u {
		l.before(d)
		t.style = d
		l.take(d)
		return true
	}
	if len(t.addends) == loops.MaxAddends {
		return false
	}
	if d != nil {
		l.emit(d, false)
	}
	t.addends = append(t.addends, l.asMap(term))
	return true
}

// ready reports whether d can be computed before an operation: everything that it needs
// is written by then, or can be. Convolutions are not fetched ahead.
func (l *tiling) ready(d, before *gpu.Op) bool {
	if l.at[d] < l.at[before] {
		return true
	}
	if d.Kind == gpu.Conv3x3Fprop || d.Kind == gpu.Conv3x3Dgrad || l.taken[d] {
		return false
	}
	for _, b := range d.In {
		if w := l.def[b]; w != nil && l.at[w] < l.at[d] && !l.ready(w, before) {
			return false
		}
	}
	return true
}

// gram emits a Gram matrix of a map.
func (l *tiling) gram(op *gpu.Op) {
	f, t := op.X().Shape, l.asMap(op.X())
	n := tileSlices(f)
	l.steps = append(l.steps, &step{
		op: op, tiled: &tiled{src: t}, how: fmt.Sprintf("bf16 %s, %d slices", l.dev.tiles.Name, n), in: []*gpu.Buffer{t}, out: op.Out, flops: op.FLOPs(),
		scratch: 4 * int64(loops.TilesGramLen(f.C, n, l.dev.opt.Threads)), bind: bindTiledGram,
	})
	l.plain[op.Y()] = true
}

// features emits a loss of features, its gradient, or their product with a mask.
func (l *tiling) features(op *gpu.Op) {
	m, with := l.maps[op.X()], cmp.Or(op.Target(), op.Mask())
	l.asPlain(with)
	s := &step{op: op, how: op.Kind.String() + " bf16", in: []*gpu.Buffer{m, with}, flops: op.FLOPs()}
	if k := op.Knobs(); k != nil {
		s.in = append(s.in, k)
	}
	y := cmp.Or(op.Y(), op.DX())
	if op.Kind == gpu.MSEFwd {
		l.plain[y] = true
		s.out, s.bind = op.Out, bindFeatures(m, with, y)
		l.steps = append(l.steps, s)
		return
	}
	to := l.newMap(y)
	s.out, s.bind = []*gpu.Buffer{to}, bindFeatures(m, with, to)
	l.steps = append(l.steps, s)
	if y.Role == gpu.Output {
		l.asPlain(y)
	}
}

// tileSlices cuts the pixels of a Gram sum, by the picture alone.
func tileSlices(f gpu.Shape) int { return min(max(f.H*(f.W+1)/2048, 1), 32) }

// firstRows is how many rows of the first layer a thread takes at a time.
func firstRows(h, threads int) int { return max(4, min(16, (h+2*threads-1)/(2*threads))) }

// binder returns the function that executes a step.
type binder func(r *runner, s *step, work []float32) (func(), error)

// convert executes a conversion f of src, of this shape, to dst.
func convert(f func(p *loops.Pool, t *loops.Tiles, dst, src []float32, h, w, c int), dst, src *gpu.Buffer, shape gpu.Shape) binder {
	return func(r *runner, _ *step, _ []float32) (func(), error) {
		return func() {
			for n := range shape.N {
				f(r.dev.pool, r.dev.tiles, r.picture(dst, n), r.picture(src, n), shape.H, shape.W, shape.C)
			}
		}, nil
	}
}

// bindFeatures executes MSEFwd, MSEBwd and Mul on a map, with a target or a mask.
func bindFeatures(m, with, y *gpu.Buffer) binder {
	return func(r *runner, s *step, _ []float32) (func(), error) {
		op, pool, tiles := s.op, r.dev.pool, r.dev.tiles
		x := op.X().Shape
		each := func(f func(n int, m, with []float32)) func() {
			return func() {
				for n := range x.N {
					of := r.mem(with)
					if with.Shape.N > 1 {
						of = r.picture(with, n)
					}
					f(n, r.picture(m, n), of)
				}
			}
		}
		elems := float64(perPicture(op.X()))
		switch op.Kind {
		case gpu.MSEFwd:
			return each(func(n int, m, target []float32) {
				r.mem(y)[n] = float32(r.knob(op, n, op.Column) * pool.TilesMSEFwd(tiles, m, target, x.H, x.W, x.C) / elems)
			}), nil
		case gpu.MSEBwd:
			return each(func(n int, m, target []float32) {
				scale := float32(r.knob(op, n, op.Column) * (2 / elems))
				pool.TilesMSEBwd(tiles, r.picture(y, n), m, target, scale, x.H, x.W, x.C)
			}), nil
		default:
			return each(func(n int, m, mask []float32) { pool.TilesMul(tiles, r.picture(y, n), m, mask, x.H, x.W, x.C) }), nil
		}
	}
}

func bindTiledGram(r *runner, s *step, work []float32) (func(), error) {
	f, n := s.op.X().Shape, tileSlices(s.op.X().Shape)
	m, g := s.tiled.src, s.op.Y()
	return func() {
		for i := range f.N {
			r.dev.pool.TilesGram(r.dev.tiles, r.picture(g, i), r.picture(m, i), f.H, f.W, f.C, n, work)
		}
	}, nil
}

func bindTiled(r *runner, s *step, work []float32) (func(), error) {
	t, pool, tiles := s.tiled, r.dev.pool, r.dev.tiles
	var w *packed
	if t.conv != nil {
		var err error
		if w, err = r.dev.packTiles(t); err != nil {
			return nil, err
		}
	}
	if t.first() {
		x, y, bits := r.mem(t.src), r.mem(t.y), r.mem(t.ybits)
		return func() {
			pool.TilesFirst(tiles, y, bits, x, w.u, w.bias, t.in.N, t.in.H, t.in.W, firstRows(t.in.H, r.dev.opt.Threads), work)
		}, nil
	}
	c := &loops.TilesConv{
		N: t.in.N, H: t.in.H, W: t.in.W, C: t.in.C, K: t.out.C, ReLU: t.relu != nil, MaxPool: t.pool != nil && t.pool.Kind == gpu.MaxPool2x2Fwd,
		YPool: r.mem(t.ypool), YBits: r.mem(t.ybits), F: r.mem(t.f), Gate: r.mem(t.mask),
	}
	for _, a := range t.addends {
		c.Addends = append(c.Addends, r.mem(a))
	}
	if t.conv != nil {
		c.X, c.Weights, c.Bias = r.mem(t.src), w.u, w.bias
	}
	if t.image() {
		c.Image = r.mem(t.y)
	} else {
		c.Y = r.mem(t.y)
	}
	if t.unpool != nil {
		c.YH, c.YW, c.Unpool = t.unpool.DX().Shape.H, t.unpool.DX().Shape.W, loops.UnpoolMean
		if t.unpool.Kind == gpu.MaxPool2x2Bwd {
			c.Unpool = loops.UnpoolMax
		}
	}
	t.cut(c, r.dev.opt.Threads)
	if t.style == nil {
		return func() { pool.TilesConv(tiles, c) }, nil
	}
	c.Matrix = work[:t.out.N*loops.TilesMatrix(t.out.C)]
	g, size := t.style.DY(), loops.TilesMatrix(t.out.C)
	return func() {
		for n := range t.out.N {
			pool.TilesMatrix(tiles, r.picture(g, n), t.out.C, t.out.H*t.out.W, c.Matrix[n*size:][:size])
		}
		pool.TilesConv(tiles, c)
	}, nil
}

// cut chooses how the work is divided so that what is read again stays in the caches: a
// strip of the input, with that of the features of a style gradient, beside a block of
// weights in the L2 (measured on 2 MB). Where the weights are larger than the picture,
// threads divide the channels and read them once.
func (t *tiled) cut(c *loops.TilesConv, threads int) {
	c.Columns, c.Group = (c.W+15)/16*16, (c.K+31)/32*32
	switch {
	case t.style != nil && c.K <= 128:
		c.Strip, c.Columns = 4, 16
	case t.style != nil && c.K <= 256:
		c.Strip = 4
	case t.style != nil, c.C <= 64:
		c.Strip = 8
	case c.H >= 128:
		c.Strip = 4
	default:
		c.Strip = 16
	}
	if c.K*9 > c.H*c.W && c.K >= 64 {
		c.Group = (c.K/32 + threads - 1) / threads * 32
	}
	size := 0
	for _, y := range [][]float32{c.Y, c.YPool} {
		size = max(size, len(y)/c.N)
	}
	c.Stream = size >= 4<<20 // 16 MB: it leaves the caches before anybody reads it
}

// packTiles returns the packed weights of a convolution in bf16.
func (d *Device) packTiles(t *tiled) (*packed, error) {
	w := t.conv.Filter()
	n := t.packedLen()
	return d.cached(t.key(), func() (*packed, error) {
		p, err := newPacked(n, t.conv)
		if err != nil {
			return nil, err
		}
		p.u = p.mem
		if !t.dgrad() {
			p.u, p.bias = p.mem[:n-t.out.C], p.mem[n-t.out.C:]
			copy(p.bias, t.conv.Bias().Data)
		}
		if t.first() {
			d.pool.TilesPackFirst(d.tiles, w.Data, p.u)
		} else {
			d.pool.TilesPack(d.tiles, w.Data, w.Shape.N, w.Shape.C, t.dgrad(), p.u)
		}
		return p, nil
	})
}

func (t *tiled) key() packKey { return packKey{&t.conv.Filter().Data[0], implicit, t.dgrad(), 1} }

// packedLen is the number of values of the packed weights, with the bias.
func (t *tiled) packedLen() int {
	switch {
	case t.first():
		return loops.TilesFirstWeights + t.out.C
	case t.dgrad():
		return loops.TilesWeights(t.in.C, t.out.C)
	}
	return loops.TilesWeights(t.in.C, t.out.C) + t.out.C
}
