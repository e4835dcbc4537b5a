package sim

import (
	"math"
	"math/bits"
	"slices"

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
	typ, typB      ptx.Type // of A and B
	acc            ptx.Type // of D
	satfinite      bool
	d              []int32
	a              []int32 // registers of A, or nil
	descA, descB   int32
	scaleD         int32
	notD           bool
	negA, negB     bool
	transA, transB bool // MN-major
}

// wgmma.mma_async.sync.aligned.m64nNkK.TD.TA.TB d, a, b-desc, scale-d, with floats
// imm-scale-a, imm-scale-b, with 16 bits [trans-a, ]trans-b
func (d *decoder) mmaAsync() {
	in := d.in
	d.k.asyncProxy = true
	ts := in.Types()
	if len(ts) != 3 || in.Mods[0] != "mma_async" || in.Mods[1] != "sync" || in.Mods[2] != "aligned" {
		d.unsupported()
	}
	n, k, ok := ptx.ParseWGMMAShape(in.Mods[3])
	x := &wgmmaOp{n: n, k: k, acc: ts[0], typ: ts[1], typB: ts[2], satfinite: in.Has("satfinite")}
	mods, want, sums := 7, 6, []ptx.Type{ptx.F32}
	switch x.typ {
	case ptx.F16:
		want, sums = 8, []ptx.Type{ptx.F16, ptx.F32}
		ok = ok && x.typB == x.typ
	case ptx.BF16:
		want = 8
		ok = ok && x.typB == x.typ
	case ptx.TF32:
		ok = ok && x.typB == x.typ
	case ptx.E4M3, ptx.E5M2:
		sums = []ptx.Type{ptx.F16, ptx.F32}
		ok = ok && (x.typB == ptx.E4M3 || x.typB == ptx.E5M2)
	case ptx.S8, ptx.U8:
		want, sums = 4, []ptx.Type{ptx.S32}
		ok = ok && (x.typB == ptx.S8 || x.typB == ptx.U8) && (n < 32 || n%16 == 0)
		if x.satfinite {
			mods++
		}
	case ptx.B1:
		want, sums = 4, []ptx.Type{ptx.S32}
		ok = ok && x.typB == ptx.B1 && (n < 32 || n%16 == 0) && in.Has("and") && in.Has("popc")
		mods += 2
	default:
		ok = false
	}
	if !ok || len(in.Mods) != mods || !slices.Contains(sums, x.acc) || k*x.typ.Bits() != 256 {
		d.unsupported()
	}
	d.args(want-1, want)
	_, regsA := in.Args[1].(*ptx.Vec)
	if want == 8 && regsA {
		want--
	}
	d.args(want, want)
	perD := 1 // elements of a register of D
	if x.acc == ptx.F16 {
		perD = 2
	}
	dv := vec(in.Args[0])
	if len(dv) != n/2/perD {
		d.fail("%d result registers, want %d", len(dv), n/2/perD)
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
	if want > 4 {
		x.negA, x.negB = d.imm(4) == -1, d.imm(5) == -1
	}
	if want > 6 {
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
	if x.typ.Bits() < 16 {
		x.computeBytes(w, o, da, db, row0, scale)
		return
	}
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
			x.add(w, from+j, (*[8][16]float64)(t.d[j:j+8]), scale)
		}
	}
}

// add adds products of eight columns to D, or sets D to them.
func (x *wgmmaOp) add(w *warp, column int, d *[8][16]float64, scale bool) {
	if x.acc == ptx.F16 { // columns 2t and 2t+1 of row g, then of row g+8
		for q, r := range x.d[column/4:][:2] {
			R := &w.r[r]
			for i, c := range R {
				if !scale {
					c = 0
				}
				row := 8*q + i>>2
				R[i] = uint32(round16(d[i&3*2][row], float64(h2f(uint16(c))), f2h)) |
					uint32(round16(d[i&3*2+1][row], float64(h2f(uint16(c>>16))), f2h))<<16
			}
		}
		return
	}
	for q, r := range x.d[column/2:][:4] {
		c := &w.g.tile.zero // products are never -0
		if scale {
			c = &w.r[r]
		}
		if x.acc == ptx.F32 {
			sum(&w.r[r], c, d, q&1, 8*(q>>1))
			continue
		}
		R := &w.r[r]
		for i := range R {
			s := int64(int32(c[i])) + int64(d[i&3*2+q&1][8*(q>>1)+i>>2])
			if x.satfinite {
				s = min(max(s, math.MinInt32), math.MaxInt32)
			}
			R[i] = uint32(s)
		}
	}
}

// computeBytes is compute for elements of a byte, 32 along k: half of them at a time.
// Whole numbers are exact in fp64. Of bits the elements are counted word by word.
func (x *wgmmaOp) computeBytes(w *warp, o *op, da, db descriptor, row0 int, scale bool) {
	t := &w.g.tile
	var bytes [16][32]byte // of A
	if x.a == nil {
		at := x.chunks(&da, row0, 16, false, t.at[:])
		w.inside(o, at)
		for i, a := range at {
			copy(bytes[i%16][i/16*16:], w.c.smem[a:a+16])
		}
	} else {
		for q, r := range x.a {
			for i, v := range w.r[r] {
				le.PutUint32(bytes[i>>2+q&1*8][i&3*4+q>>1*16:], v)
			}
		}
	}
	var a [2][16][16]float64
	for h := range a {
		for row := range bytes {
			for k, v := range bytes[row][16*h:][:16] {
				a[h][k][row] = x.byteOf(x.typ, v)
				if x.negA != x.negB {
					a[h][k][row] *= -1
				}
			}
		}
	}
	var other [tileColumns][16]float64
	for from := 0; from < x.n; from += tileColumns {
		n := min(tileColumns, x.n-from)
		at := x.chunks(&db, from, n, false, t.at[:])
		w.inside(o, at)
		if x.typ == ptx.B1 {
			x.countBits(&bytes, w.c.smem, at, t.d[:n])
		} else {
			for h, d := range [][][16]float64{t.d[:n], other[:n]} {
				for i, b := range at[h*n:][:n] {
					for k, v := range w.c.smem[b : b+16] {
						t.b[i][k] = x.byteOf(x.typB, v)
					}
				}
				products(d, &a[h], t.b[:n])
			}
			for i := range n {
				for row := range t.d[i] {
					t.d[i][row] += other[i][row]
				}
			}
		}
		for j := 0; j < n; j += 8 {
			x.add(w, from+j, (*[8][16]float64)(t.d[j:j+8]), scale)
		}
	}
}

// byteOf is the value of an element.
func (x *wgmmaOp) byteOf(t ptx.Type, v byte) float64 {
	switch t {
	case ptx.U8:
		return float64(v)
	case ptx.S8:
		return float64(int8(v))
	default:
		return narrow(t, uint32(v))
	}
}

// countBits counts the bits that rows of A and columns of B share.
func (x *wgmmaOp) countBits(a *[16][32]byte, smem []byte, at []uint32, d [][16]float64) {
	n := len(d)
	for i := range d {
		for row := range a {
			count := 0
			for k := 0; k < 32; k += 8 {
				count += bits.OnesCount64(le.Uint64(a[row][k:]) & le.Uint64(smem[at[k/16*n+i]+uint32(k%16):]))
			}
			d[i][row] = float64(count)
		}
	}
}
