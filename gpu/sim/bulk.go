package sim

import (
	"math/bits"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

// bulk: the asynchronous copies of sm_90: cp.async.bulk, its tensor form (TMA),
// and cp.reduce. Their reads and writes belong to an agent of the mbarrier that
// they signal, or of the warp whose bulk group they are in.
func (d *decoder) bulk() {
	in := d.in
	switch {
	case in.Has("commit_group"):
		if d.args(0, 0) {
			d.o.fn = func(w *warp, _ *op, _ uint32) { w.bulks.commit(w.bulkClock) }
		}
		return
	case in.Has("wait_group"):
		if d.args(1, 1) {
			n := int(d.imm(0))
			d.o.fn = func(w *warp, _ *op, _ uint32) {
				if c := w.bulks.wait(w.g, n, nil); w.vc != nil {
					w.vc[w.bulkAgent] = max(w.vc[w.bulkAgent], c)
				}
			}
		}
		return
	case in.Has("prefetch"):
		d.nothing()
		return
	}
	d.k.asyncProxy = true
	if in.Has("L2::cache_hint") {
		d.dropHint()
		in = d.in
	}
	var from, to string
	for _, m := range in.Mods {
		if m == "global" || strings.HasPrefix(m, "shared::") {
			if to == "" {
				to = m
			} else if from == "" {
				from = m
			}
		}
	}
	load := strings.HasPrefix(to, "shared::")
	signals := in.Has("mbarrier::complete_tx::bytes")
	if from == "" || load != signals || in.Has("im2col_no_offs") || load && in.Has("reduce") ||
		in.Has("tile::gather4") || in.Has("tile::scatter4") || in.Has("cta_group::1") || in.Has("cta_group::2") {
		d.unsupported()
		return
	}
	if load {
		d.k.barriers = true
	} else if !in.Has("bulk_group") {
		d.unsupported()
		return
	}
	b := &bulkCopy{load: load, tensor: in.Has("tensor"), im2col: in.Has("im2col"), remote: load && from == "shared::cta"}
	if in.Has("reduce") {
		d.k.globalAtomics = true
		for _, m := range in.Mods {
			switch m {
			case "add", "min", "max", "and", "or", "xor", "inc", "dec":
				b.reduce = m
			}
		}
		if b.typ = in.Type(); !b.tensor && reduction(b.reduce, b.typ) == nil {
			d.unsupported()
			return
		}
	}
	d.bulkOperands(b)
	d.o.ext = b
	d.o.fn = func(w *warp, o *op, m uint32) {
		for ; m != 0; m &= m - 1 {
			b.issue(w, o, bits.TrailingZeros32(m)&31)
		}
	}
}

// bulkCopy is a decoded bulk copy.
type bulkCopy struct {
	load, tensor, im2col, remote bool
	reduce                       string
	typ                          ptx.Type
	rank                         int

	smem, gmem, bar       int32 // registers of the addresses
	smem64, bar64, gmem64 bool
	smemOff, barOff       int64
	gmemOff               int64 // or of the tensor map
	coords                [5]int32
	offsets               [3]int32
	size                  int32 // 1-D: register of the bytes
	mask                  int32 // multicast: register of the mask, or -1
}

func (d *decoder) memOperand(a ptx.Operand) (reg int32, wide bool, off int64) {
	m, ok := a.(*ptx.Mem)
	if !ok {
		d.fail("%v is not an address", a)
		return 0, false, 0
	}
	reg, wide = d.base(m)
	return reg, wide, m.Offset
}

func (d *decoder) bulkOperands(b *bulkCopy) {
	in, args := d.in, d.in.Args
	b.mask = -1
	want := 2
	if b.load {
		want++
	}
	if !b.tensor {
		want++
	}
	if b.im2col {
		want++
	}
	if in.Has("multicast::cluster") {
		d.k.clusters = true
		want++
	}
	if !d.args(want, want) {
		return
	}
	if b.load {
		b.smem, b.smem64, b.smemOff = d.memOperand(args[0])
		b.gmem, b.gmem64, b.gmemOff = d.memOperand(args[1])
	} else {
		b.gmem, b.gmem64, b.gmemOff = d.memOperand(args[0])
		b.smem, b.smem64, b.smemOff = d.memOperand(args[1])
	}
	if !b.gmem64 && !b.remote {
		d.fail("the global address needs 64 bits")
	}
	next := 2
	if b.tensor {
		operand := args[0]
		if b.load {
			operand = args[1]
		}
		m, _ := operand.(*ptx.Mem)
		for r := 1; r <= 5; r++ {
			if in.Has(string(rune('0'+r)) + "d") {
				b.rank = r
			}
		}
		if m == nil || m.Coords == nil || len(m.Coords.Elems) != b.rank || b.rank == 0 {
			d.fail("wants a tensor map with %d coordinates", b.rank)
			return
		}
		for i, c := range m.Coords.Elems {
			b.coords[i] = d.src32(c)
		}
	} else {
		b.size = d.src32(args[next])
		next++
	}
	if b.load {
		b.bar, b.bar64, b.barOff = d.memOperand(args[next])
		next++
	}
	if b.im2col {
		offs := vec(args[next])
		next++
		if len(offs) != b.rank-2 {
			d.fail("%d im2col offsets for rank %d", len(offs), b.rank)
			return
		}
		for i, e := range offs {
			b.offsets[i] = d.src16(e)
		}
	}
	if in.Has("multicast::cluster") {
		b.mask = d.src16(args[next])
	}
}

func (w *warp) lane64(reg int32, wide bool, off int64, lane int) uint64 {
	if wide {
		return w.q[reg][lane] + uint64(off)
	}
	return uint64(w.r[reg][lane] + uint32(off))
}

// sharedAddr takes a generic address of shared memory back to its window.
func sharedAddr(a uint64) uint64 {
	if a >= sharedBase && a < sharedBase+windowBytes {
		return a - sharedBase
	}
	return a
}

// piece is a run of bytes of a copy: in shared memory before the swizzle, and
// in global memory (nil: out of bounds).
type piece struct {
	at     uint32
	global []byte
	n      int
}

// tensorMapAt reads the map that an address points to.
func (w *warp) tensorMapAt(o *op, addr uint64, lane int) *tensorMap {
	var raw []byte
	switch {
	case addr%64 != 0:
		w.trap(Misaligned, o, lane, "tensor map at %#x, want a multiple of 64", addr)
	case addr >= globalBase:
		a, off := w.global(o, addr, tensorMapBytes, 64, lane, false)
		raw = a.data[off:]
	case addr >= paramBase && addr-paramBase+tensorMapBytes <= uint64(len(w.g.l.Params)):
		raw = w.g.l.Params[addr-paramBase:]
	}
	m := unpackMap(raw)
	if m == nil {
		w.trap(Misuse, o, lane, "no tensor map at %#x", addr)
	}
	return m
}

// issue checks a copy by one lane and starts it.
func (b *bulkCopy) issue(w *warp, o *op, lane int) {
	smem := sharedAddr(w.lane64(b.smem, b.smem64, b.smemOff, lane))
	c, off := w.shared(o, smem, lane)
	var pieces []piece
	total, swizzle := 0, tensormap.SwizzleNone
	gaddr := w.lane64(b.gmem, b.gmem64, b.gmemOff, lane)
	elem := b.typ
	if b.tensor {
		m := w.tensorMapAt(o, gaddr, lane)
		if m.rank != b.rank || m.im2col != b.im2col {
			w.trap(Misuse, o, lane, "a %d-d copy (im2col %v) through a map of rank %d (im2col %v)", b.rank, b.im2col, m.rank, m.im2col)
		}
		if off%128 != 0 {
			w.trap(Misaligned, o, lane, "TMA at shared address %#x, want a multiple of 128", off)
		}
		var x [5]int
		for i := range b.rank {
			x[i] = int(int32(w.r[b.coords[i]][lane]))
			if x[i] < 0 && !b.load { // a load may begin there
				w.trap(Misuse, o, lane, "a store at coordinate %d of dimension %d: one that begins before its tensor is an illegal instruction on an H200", x[i], i)
			}
		}
		var offs [3]int
		for i := range b.offsets {
			if b.im2col && i < b.rank-2 {
				offs[i] = int(w.r[b.offsets[i]][lane] & 0xffff)
			}
		}
		total, swizzle, elem = m.bytes(), m.swizzle, m.typ
		pieces = b.tensorPieces(w, o, lane, m, x, offs, off)
	} else {
		total = int(w.r[b.size][lane])
		if total%16 != 0 || off%16 != 0 {
			w.trap(Misaligned, o, lane, "bulk copy of %d bytes at shared address %#x, want multiples of 16", total, off)
		}
		pieces = []piece{b.linear(w, o, lane, gaddr, off, total)}
	}
	w.boundsOf(o, c, off, total, lane)
	if b.load {
		b.startLoad(w, o, lane, c, off, total, swizzle, pieces)
	} else {
		b.startStore(w, o, lane, c, off, total, swizzle, pieces, elem)
	}
}

func (w *warp) boundsOf(o *op, c *cta, off uint32, n, lane int) {
	if int(off)+n > len(c.smem) || off < sharedLow {
		w.trap(OutOfBounds, o, lane, "%d bytes at shared address %#x; the block has %#x to %#x", n, off, sharedLow, len(c.smem))
	}
}

// tensorPieces checks the global side of a tensor copy.
func (b *bulkCopy) tensorPieces(w *warp, o *op, lane int, m *tensorMap, x [5]int, offs [3]int, off uint32) []piece {
	var ps []piece
	at := off
	m.rows(x, offs, func(r row) {
		n := r.length * m.elem
		lo, hi := 0, r.length // the elements inside the tensor
		if r.out {
			hi = 0
		} else {
			lo, hi = max(lo, min(hi, -r.c0)), min(hi, max(0, m.dims[0]-r.c0))
		}
		if hi <= lo {
			ps = append(ps, piece{at: at, n: n})
			at += uint32(n)
			return
		}
		if lo > 0 {
			ps = append(ps, piece{at: at, n: lo * m.elem})
		}
		ps = append(ps, b.span(w, o, lane, r.addr+uint64(lo*m.elem), at+uint32(lo*m.elem), (hi-lo)*m.elem))
		if hi < r.length {
			ps = append(ps, piece{at: at + uint32(hi*m.elem), n: (r.length - hi) * m.elem})
		}
		at += uint32(n)
	})
	if m.nan {
		v := m.fillValue()
		for i := range ps {
			if ps[i].global == nil && b.load {
				ps[i].global = make([]byte, ps[i].n)
				for k := range ps[i].global {
					ps[i].global[k] = v[k%len(v)]
				}
			}
		}
	}
	return ps
}

// span checks a run of global memory.
func (b *bulkCopy) span(w *warp, o *op, lane int, addr uint64, at uint32, n int) piece {
	a, off := w.global(o, addr, n, 1, lane, !b.load)
	if w.vc != nil {
		h := w.how(o, lane, b.reduce != "")
		if !b.load {
			h.tag = makeTag(w.bulkAgent, lane, int(o.pc), w.bulkClock+1, 0) | h.tag&atomicBit
		}
		if b.reduce != "" {
			w.noteGlobal(o, a, addr, off, n, lane, false, false, h)
		}
		w.noteGlobal(o, a, addr, off, n, lane, !b.load, false, h)
	}
	return piece{at: at, global: a.data[off : off+uint64(n)], n: n}
}

// linear is the one piece of a 1-D copy.
func (b *bulkCopy) linear(w *warp, o *op, lane int, gaddr uint64, off uint32, n int) piece {
	if b.remote { // shared to shared
		c, src := w.shared(o, sharedAddr(gaddr), lane)
		w.boundsOf(o, c, src, n, lane)
		if src%16 != 0 {
			w.trap(Misaligned, o, lane, "bulk copy from shared address %#x, want a multiple of 16", src)
		}
		if w.vc != nil {
			w.noteAsyncRead(o, c, src, n, lane, w.how(o, lane, false))
		}
		return piece{at: off, global: c.smem[src : int(src)+n], n: n}
	}
	if gaddr%16 != 0 {
		w.trap(Misaligned, o, lane, "bulk copy at %#x, want a multiple of 16: %s", gaddr, w.g.l.dev.mem.where(gaddr))
	}
	return b.span(w, o, lane, gaddr, off, n)
}

// noteAsyncRead checks a read of shared memory through the async proxy.
func (w *warp) noteAsyncRead(o *op, c *cta, off uint32, n, lane int, h how) {
	kinds := w.g.kinds
	for a, size := off&^3, uint32(0); a < off+uint32(n); a += size {
		var cl *cell
		cl, size = c.cellAt(a)
		if i := cl.w.agent(); i < len(kinds) && kinds[i] == agentBarrier {
			continue // came through the async proxy
		}
		w.g.lastWrites(cl, byteMask(a, off, off+uint32(n)), func(t tag) {
			if w.ordered(t, lane) && !w.visible(t) {
				r := w.report(ProxyFence, o, lane,
					"reads %s through the async proxy; the write is ordered before it, but no fence.proxy.async stands between", c.where(a))
				r.Other = w.g.accessOf(t, "write")
				w.raise(r)
			}
		})
	}
	w.noteShared(o, c, off, n, lane, false, h)
}

// startLoad moves into shared memory, of several blocks with multicast, and
// signals an mbarrier in each.
func (b *bulkCopy) startLoad(w *warp, o *op, lane int, c *cta, off uint32, total int, swizzle tensormap.Swizzle, pieces []piece) {
	bc, boff := w.shared(o, sharedAddr(w.lane64(b.bar, b.bar64, b.barOff, lane)), lane)
	targets := []*cta{c}
	if b.mask >= 0 {
		targets = nil
		mask := w.r[b.mask][lane] & 0xffff
		for r := range w.g.ctas {
			if mask>>r&1 != 0 {
				targets = append(targets, w.g.ctas[r])
			}
		}
		if mask>>len(w.g.ctas) != 0 || mask == 0 {
			w.trap(Misuse, o, lane, "multicast to blocks %#x of a cluster of %d", mask, len(w.g.ctas))
		}
	} else if bc != c {
		w.trap(Misuse, o, lane, "the mbarrier of a copy must be in the block that it writes")
	}
	bars := make([]*mbarrier, len(targets))
	clocks := make([]uint32, len(targets))
	for i, t := range targets {
		bar := t.mbars[boff]
		if bar == nil {
			w.trap(Misuse, o, lane, "no mbarrier was initialised at shared address %#x of block %v", boff, t.id)
		}
		bar.clock++
		bars[i], clocks[i] = bar, bar.clock
		if w.vc != nil {
			w.noteShared(o, t, off, total, lane, true, how{tag: makeTag(bar.agent, lane, int(o.pc), bar.clock, 0), lane: lane})
		}
	}
	w.g.start(&transfer{run: func() {
		for i, t := range targets {
			for _, p := range pieces {
				p.toShared(t.smem, swizzle)
			}
			if bar := bars[i]; bar.vc != nil {
				bar.vc[bar.agent] = max(bar.vc[bar.agent], clocks[i])
			}
			bars[i].completeTx(total)
		}
	}})
}

// async: st.async and red.async, whose value arrives in another block's shared memory
// some time later and counts as bytes of an mbarrier there.
func (d *decoder) async() {
	in := d.in
	t := in.Type()
	d.k.asyncProxy, d.k.barriers, d.k.clusters = true, true, true
	n := 1
	switch {
	case in.Has("v2"):
		n = 2
	case in.Has("v4"):
		n = 4
	}
	size := t.Bits() / 8
	name := d.form("async", "weak", "relaxed", "cluster", "shared::cluster", "mbarrier::complete_tx::bytes", "v2", "v4", t.String())
	f := reduction(name, t)
	if !in.Has("mbarrier::complete_tx::bytes") || size != 4 && size != 8 || n*size > 16 || in.Op == "st" && name != "" ||
		in.Op == "red" && (f == nil || n > 1 || t.Float() || name == "exch") {
		d.unsupported()
	}
	d.args(3, 3)
	smem, smem64, smemOff := d.memOperand(in.Args[0])
	bar, bar64, barOff := d.memOperand(in.Args[2])
	elems := vec(in.Args[1])
	if len(elems) != n {
		d.fail("%d registers for %d values", len(elems), n)
	}
	var src []int32
	for _, e := range elems {
		if size == 8 {
			src = append(src, d.src64(e))
		} else {
			src = append(src, d.src32(e))
		}
	}
	d.o.fn = func(w *warp, o *op, m uint32) {
		eachLane(m, func(lane int) {
			c, off := w.shared(o, sharedAddr(w.lane64(smem, smem64, smemOff, lane)), lane)
			w.bounds(o, c, off, n*size, lane)
			b := w.barrierAt(o, w.lane64(bar, bar64, barOff, lane), lane)
			if b.c != c {
				w.trap(Misuse, o, lane, "the mbarrier must be in the block that is written")
			}
			values := make([]uint64, n)
			for k, r := range src {
				if size == 8 {
					values[k] = w.q[r][lane]
				} else {
					values[k] = uint64(w.r[r][lane])
				}
			}
			b.clock++
			clock := b.clock
			if w.vc != nil {
				h := how{tag: makeTag(b.agent, lane, int(o.pc), clock, 0), lane: lane}
				if f != nil {
					h.tag |= atomicBit
					w.noteShared(o, c, off, n*size, lane, false, h)
				}
				w.noteShared(o, c, off, n*size, lane, true, h)
			}
			w.g.start(&transfer{run: func() {
				for k, v := range values {
					at := c.smem[off+uint32(k*size):]
					if f != nil {
						v = f(getElem(at, size), v)
					}
					putElem(at, size, v)
				}
				if b.vc != nil {
					b.vc[b.agent] = max(b.vc[b.agent], clock)
				}
				b.completeTx(n * size)
			}})
		})
	}
}

// toShared copies a piece in, 16-byte chunk by chunk where they are swizzled.
func (p *piece) toShared(smem []byte, s tensormap.Swizzle) {
	if s == tensormap.SwizzleNone {
		dst := smem[p.at : int(p.at)+p.n]
		if p.global == nil {
			clear(dst)
		} else {
			copy(dst, p.global)
		}
		return
	}
	for k := 0; k < p.n; {
		at := p.at + uint32(k)
		n := min(16-int(at&15), p.n-k)
		to := s.Apply(at)
		dst := smem[to : int(to)+n]
		switch {
		case p.global == nil:
			clear(dst)
		case n == 16:
			*(*[16]byte)(dst) = [16]byte(p.global[k:])
		default:
			copy(dst, p.global[k:])
		}
		k += n
	}
}

// fromShared copies a piece out.
func (p *piece) fromShared(smem []byte, s tensormap.Swizzle, f func(old, v uint64) uint64, size int) {
	if p.global == nil {
		return
	}
	for k := 0; k < p.n; {
		at := p.at + uint32(k)
		n := min(16-int(at&15), p.n-k)
		src := smem[s.Apply(at):]
		if f == nil {
			copy(p.global[k:k+n], src)
		} else {
			for e := 0; e < n; e += size {
				putElem(p.global[k+e:], size, f(getElem(p.global[k+e:], size), getElem(src[e:], size)))
			}
		}
		k += n
	}
}

func getElem(b []byte, size int) uint64 {
	switch size {
	case 2:
		return uint64(le.Uint16(b))
	case 4:
		return uint64(le.Uint32(b))
	default:
		return le.Uint64(b)
	}
}

func putElem(b []byte, size int, v uint64) {
	switch size {
	case 2:
		le.PutUint16(b, uint16(v))
	case 4:
		le.PutUint32(b, uint32(v))
	default:
		le.PutUint64(b, v)
	}
}

// noteRead checks the reads of a piece that is copied out, 16 bytes at a time, as
// fromShared makes them.
func (p *piece) noteRead(w *warp, o *op, c *cta, s tensormap.Swizzle, h how) {
	if p.global == nil {
		return
	}
	for k := 0; k < p.n; {
		at := p.at + uint32(k)
		n := min(16-int(at&15), p.n-k)
		w.noteAsyncRead(o, c, s.Apply(at), n, h.lane, h)
		k += n
	}
}

// startStore moves out of shared memory, in the warp's bulk group.
func (b *bulkCopy) startStore(w *warp, o *op, lane int, c *cta, off uint32, total int, swizzle tensormap.Swizzle, pieces []piece, elem ptx.Type) {
	if c != w.c {
		w.trap(Misuse, o, lane, "a bulk store out of another block's shared memory")
	}
	w.bulkClock++
	if w.vc != nil {
		h := how{tag: makeTag(w.bulkAgent, lane, int(o.pc), w.bulkClock, 0), lane: lane}
		if !slices.ContainsFunc(pieces, func(p piece) bool { return p.global == nil }) {
			w.noteAsyncRead(o, c, off, total, lane, h)
		} else { // what falls outside of the tensor is not read
			for _, p := range pieces {
				p.noteRead(w, o, c, swizzle, h)
			}
		}
	}
	var f func(old, v uint64) uint64
	if b.reduce != "" {
		if f = reduction(b.reduce, elem); f == nil || elem.Bits() < 16 {
			w.trap(Misuse, o, lane, "reduction %s of %v is not supported", b.reduce, elem)
		}
	}
	t := &transfer{run: func() {
		for _, p := range pieces {
			p.fromShared(c.smem, swizzle, f, elem.Bits()/8)
		}
	}}
	w.bulks.open = append(w.bulks.open, t)
	w.g.start(t)
}
