package sim

import (
	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

// mmaState is what a warp knows of its wgmma operations: groups in flight, and
// which registers they hold.
type mmaState struct {
	async
	busyD, busyA []uint8 // by 32-bit register: operations in flight that write or read it
	touched      []bool  // accessed by something else since the last wgmma.fence
	fenced       bool    // a wgmma.fence has been executed
	flight       int
}

func (s *mmaState) init(n int) {
	s.busyD, s.busyA, s.touched = make([]uint8, n), make([]uint8, n), make([]bool, n)
}

func (s *mmaState) reset() {
	s.async.reset()
	clear(s.busyD)
	clear(s.busyA)
	clear(s.touched)
	s.fenced, s.flight = false, 0
}

// trackRegisters reports an instruction that touches a register which wgmma
// holds.
func (w *warp) trackRegisters(o *op, m uint32) {
	s := &w.mma
	for _, r := range o.uses {
		s.touched[r] = true
		if s.busyD[r] > 0 {
			w.find(InFlight, o, first(m), "reads a register that a wgmma is still writing: wgmma.wait_group must come first")
		}
	}
	for _, r := range o.defs {
		s.touched[r] = true
		if s.busyD[r] > 0 || s.busyA[r] > 0 {
			w.find(InFlight, o, first(m), "writes a register that a wgmma still uses: wgmma.wait_group must come first")
		}
	}
}

// wgmma decodes fence, commit_group, wait_group and mma_async.
func (d *decoder) wgmma() {
	d.k.wgmma = true
	d.o.sync = aligned
	switch d.form() {
	case "fence.sync.aligned":
		d.o.fn = func(w *warp, _ *op, _ uint32) {
			w.mma.fenced = true
			clear(w.mma.touched)
		}
		return
	case "commit_group.sync.aligned":
		d.o.fn = func(w *warp, _ *op, _ uint32) { w.mma.commit(w.mmaClock) }
		return
	case "wait_group.sync.aligned":
		if !d.args(1, 1) {
			return
		}
		n := int(d.imm(0))
		d.o.kind = opBlock
		d.o.fn = func(w *warp, o *op, _ uint32) {
			ready := func() bool { return w.waitMMA(n) }
			if !ready() {
				w.wait = waiting{on: forWarpgroup, o: o, done: ready}
			}
		}
		return
	}
	d.mmaAsync()
}

// waitMMA completes groups of wgmma until n are left. An operation is the whole
// warpgroup's: it is complete when all four warps have issued it, and then for
// all of them. It reports false while one is behind.
func (w *warp) waitMMA(n int) bool {
	s := &w.mma
	if len(s.groups) <= n {
		return true
	}
	clock := s.clocks[len(s.groups)-n-1]
	team := w.c.warps[w.id&^3:]
	team = team[:min(4, len(team))]
	for _, v := range team {
		if v.mmaClock < clock {
			return false
		}
	}
	for _, v := range team {
		v.mma.forceUpTo(clock)
	}
	s.wait(w.g, n, func(t *transfer) {
		s.flight--
		if s.busyD == nil {
			return
		}
		for _, r := range t.d {
			s.busyD[r]--
		}
		for _, r := range t.a {
			s.busyA[r]--
		}
	})
	w.g.sweep()
	if w.vc != nil {
		w.vc[w.mmaAgent] = max(w.vc[w.mmaAgent], clock)
	}
	return true
}

// forceUpTo executes what the warp has issued up to a clock.
func (s *mmaState) forceUpTo(clock uint32) {
	for _, ts := range s.groups {
		for _, t := range ts {
			if t.clock <= clock {
				t.force()
			}
		}
	}
	for _, t := range s.open {
		if t.clock <= clock {
			t.force()
		}
	}
}

// wgmmaOp is a decoded wgmma.mma_async.
type wgmmaOp struct {
	n, k           int
	typ            ptx.Type
	d              []int32
	a              []int32 // registers of A, or nil
	descA, descB   int32
	scaleD         int32
	notD           bool
	negA, negB     bool
	transA, transB bool // MN-major
}

// wgmma.mma_async.sync.aligned.m64nNkK.f32.T.T d, a, b-desc, scale-d, imm-scale-a,
// imm-scale-b[, trans-a][, trans-b]
func (d *decoder) mmaAsync() {
	in := d.in
	d.k.asyncProxy = true
	ts := in.Types()
	if len(in.Mods) != 7 || in.Mods[0] != "mma_async" || len(ts) != 3 || ts[0] != ptx.F32 || ts[1] != ts[2] {
		d.unsupported()
		return
	}
	n, k, ok := ptx.ParseWGMMAShape(in.Mods[3])
	size := elementBytes(ts[1])
	if !ok || k*size != 32 {
		d.unsupported()
		return
	}
	x := &wgmmaOp{n: n, k: k, typ: ts[1]}
	want := 6
	_, regsA := in.Args[min(1, len(in.Args)-1)].(*ptx.Vec)
	if size == 2 {
		want += 2
		if regsA {
			want--
		}
	}
	if !d.args(want, want) {
		return
	}
	dv := vec(in.Args[0])
	if len(dv) != n/2 {
		d.fail("%d result registers, want %d", len(dv), n/2)
		return
	}
	for _, e := range dv {
		x.d = append(x.d, d.dst32(e))
	}
	if regsA {
		av := vec(in.Args[1])
		if len(av) != 4 {
			d.fail("%d registers of A, want 4", len(av))
			return
		}
		for _, e := range av {
			x.a = append(x.a, d.src32(e))
		}
	} else {
		x.descA = d.src64(in.Args[1])
	}
	x.descB = d.src64(in.Args[2])
	x.scaleD, x.notD = d.predicate(in.Args[3])
	x.negA, x.negB = d.imm(4) == -1, d.imm(5) == -1
	if size == 2 {
		i := 6
		if !regsA {
			x.transA = d.imm(i) == 1
			i++
		}
		x.transB = d.imm(i) == 1
	}
	d.o.ext = x
	d.o.fn = x.issue
}

// descriptor is a decoded matrix descriptor of shared memory.
type descriptor struct {
	start, lbo, sbo uint32
	swizzle         tensormap.Swizzle
}

func (w *warp) descriptor(o *op, v uint64) descriptor {
	m := descriptor{
		start: uint32(v&0x3fff) << 4, lbo: uint32(v>>16&0x3fff) << 4, sbo: uint32(v>>32&0x3fff) << 4,
		swizzle: [...]tensormap.Swizzle{tensormap.SwizzleNone, tensormap.Swizzle128, tensormap.Swizzle64, tensormap.Swizzle32}[v>>62],
	}
	if v>>49&7 != 0 {
		w.trap(Misuse, o, 0, "a matrix descriptor with base offset %d is not simulated", v>>49&7)
	}
	return m
}

// chunks lists the addresses of the 16 bytes each that hold rows [from, from+n) of a
// matrix, along M or N. K-major, two for each row, along k: first halves, then second.
// MN-major: along the rows, eight of them each, for every k. From the PTX ISA, "Matrix
// descriptor" and "Strides", and CuTe's canonical layouts.
func (x *wgmmaOp) chunks(m *descriptor, from, n int, mnMajor bool, at []uint32) []uint32 {
	s := m.swizzle.Span()
	at = at[:0]
	if !mnMajor {
		row, half := s, uint32(16)
		if s == 0 {
			row, half = 16, m.lbo
		}
		for c := range uint32(2) {
			for r := from; r < from+n; r += 8 {
				a := m.start + uint32(r/8)*m.sbo + c*half
				for range min(8, from+n-r) {
					at = append(at, m.swizzle.Apply(a&^15))
					a += row
				}
			}
		}
		return at
	}
	for k := range uint32(x.k) {
		for r := from; r < from+n; r += 8 {
			mn := uint32(2 * r)
			a := m.start + mn/16*m.sbo + k%8*16 + k/8*m.lbo
			if s > 0 {
				a = m.start + mn%s + mn/s*m.lbo + k%8*s + k/8*m.sbo
			}
			at = append(at, m.swizzle.Apply(a&^15))
		}
	}
	return at
}

// inside reports a chunk that is out of the block's shared memory.
func (w *warp) inside(o *op, at []uint32) {
	for _, a := range at {
		if int(a)+16 > len(w.c.smem) || a < sharedLow {
			w.trap(OutOfBounds, o, 0, "wgmma reads shared address %#x; the block has %#x to %#x", a, sharedLow, len(w.c.smem))
		}
	}
}

// operand reads rows [from, from+n) of a matrix of n x K elements into out, row by
// row.
func (x *wgmmaOp) operand(w *warp, o *op, m descriptor, from, n int, mnMajor bool, out [][16]float64) {
	smem := w.c.smem
	at := x.chunks(&m, from, n, mnMajor, w.g.tile.at[:])
	w.inside(o, at)
	if !mnMajor {
		for c := range 2 {
			widenAt(out, x.k/2*c, smem, at[n*c:][:n], x.typ)
		}
		if x.typ == ptx.TF32 {
			for r := range n {
				clear(out[r][8:])
			}
		}
		return
	}
	for k := range x.k {
		for r := 0; r < n; r += 8 {
			b := smem[at[0] : at[0]+16 : at[0]+16]
			at = at[1:]
			for e := range min(8, n-r) {
				h := le.Uint16(b[2*e:])
				if x.typ == ptx.F16 {
					out[r+e][k] = float64(h2f(h))
				} else {
					out[r+e][k] = float64(bf2f(h))
				}
			}
		}
	}
}

// noteOperand checks the reads of an operand.
func (x *wgmmaOp) noteOperand(w *warp, o *op, m descriptor, from, n int, mnMajor bool, h how) {
	at := x.chunks(&m, from, n, mnMajor, w.g.tile.at[:])
	for i, a := range at {
		w.inside(o, at[i:i+1])
		w.noteAsyncRead(o, w.c, a, 16, 0, h)
	}
}

// issue checks the operands and starts the operation. Each warp of the group
// computes its 16 rows of D; the first one checks B for all four.
func (x *wgmmaOp) issue(w *warp, o *op, _ uint32) {
	if w.id|3 >= len(w.c.warps) {
		w.trap(Misuse, o, 0, "wgmma needs four whole warps, the block has %d", len(w.c.warps))
	}
	s := &w.mma
	w.mmaClock++
	s.flight++
	var da descriptor
	if x.a == nil {
		da = w.descriptor(o, w.q[x.descA][0])
	}
	db := w.descriptor(o, w.q[x.descB][0])
	row0 := w.id & 3 * 16
	if w.vc != nil {
		x.registers(w, o)
		h := how{tag: makeTag(w.mmaAgent, 0, int(o.pc), w.mmaClock, 0)}
		if x.a == nil {
			x.noteOperand(w, o, da, row0, 16, x.transA, h)
		}
		if w.id&3 == 0 {
			x.noteOperand(w, o, db, 0, x.n, x.transB, h)
		}
	}
	scale := w.p[x.scaleD]&1 == 1 != x.notD
	t := &transfer{fifo: &s.async, clock: w.mmaClock, d: x.d, a: x.a, run: func() { x.compute(w, o, da, db, row0, scale) }}
	s.open = append(s.open, t)
	w.g.start(t)
}

// registers checks fences and overlaps, and marks what is in flight.
func (x *wgmmaOp) registers(w *warp, o *op) {
	s := &w.mma
	if !s.fenced {
		w.trap(Misuse, o, 0, "no wgmma.fence before the first wgmma")
	}
	for _, r := range x.d {
		if s.touched[r] {
			w.trap(Misuse, o, 0, "an accumulator register was accessed since the last wgmma.fence")
		}
		if s.busyA[r] > 0 {
			w.find(InFlight, o, 0, "an accumulator register is still read as A")
		}
	}
	for _, r := range x.a {
		if s.touched[r] {
			w.trap(Misuse, o, 0, "a register of A was accessed since the last wgmma.fence")
		}
		if s.busyD[r] > 0 {
			w.find(InFlight, o, 0, "a register of A is still written by an earlier wgmma")
		}
	}
	for _, r := range x.d {
		s.busyD[r]++
	}
	for _, r := range x.a {
		s.busyA[r]++
	}
}

func (x *wgmmaOp) compute(w *warp, o *op, da, db descriptor, row0 int, scale bool) {
	t := &w.g.tile
	if x.a == nil {
		x.operand(w, o, da, row0, 16, x.transA, t.rows[:])
		t.transpose()
	} else {
		t.fragmentA(w, x.a, x.k, x.typ)
	}
	if x.negA != x.negB {
		t.negate()
	}
	for from := 0; from < x.n; from += tileColumns {
		n := min(tileColumns, x.n-from)
		x.operand(w, o, db, from, n, x.transB, t.b[:n])
		products(t.d[:n], &t.a, t.b[:n])
		for j := 0; j < n; j += 8 {
			for q, r := range x.d[(from+j)/2:][:4] {
				c := &t.zero // products are never -0
				if scale {
					c = &w.r[r]
				}
				sum(&w.r[r], c, (*[8][16]float64)(t.d[j:j+8]), q&1, 8*(q>>1))
			}
		}
	}
}
