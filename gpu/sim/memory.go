package sim

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

var le = binary.LittleEndian

// access is what a load, store or atomic does in one lane.
type access struct {
	space  ptx.Space // NoSpace: generic
	bytes  int       // of a lane, a power of two
	elem   int       // bytes of an element
	regs   [8]int32
	n      int // elements
	wide   bool
	signed bool
	to16   bool // a narrow load into a 16-bit register
	to64   bool // a narrow load into 64-bit registers
	base64 bool // the address register is in the 64-bit file
	store  bool
	strong bool // volatile, relaxed, acquire, release: never racing among themselves
	acq    bool
	rel    bool
	nc     bool
}

// address decodes [base+offset] into a register and o.imm.
func (d *decoder) address(a ptx.Operand, x *access) {
	m, ok := a.(*ptx.Mem)
	if !ok || m.Coords != nil {
		d.fail("%v is not an address", a)
		return
	}
	d.o.a, x.base64 = d.base(m)
	d.o.imm = m.Offset
}

// base returns the register of an address, and whether it has 64 bits.
func (d *decoder) base(m *ptx.Mem) (int32, bool) {
	switch b := m.Base.(type) {
	case *ptx.Reg:
		if b.Type.Bits() == 64 {
			return d.src64(b), true
		}
		return d.src32(b), false
	case *ptx.VarRef:
		v, _ := d.value(b, ptx.B64)
		return d.k64(v), true
	case ptx.Imm:
		return d.k64(b.Bits), true
	}
	d.fail("%v is not an address", m)
	return 0, false
}

func (d *decoder) space() ptx.Space {
	for _, m := range d.in.Mods {
		switch m {
		case "global":
			return ptx.Global
		case "shared", "shared::cta", "shared::cluster":
			if m == "shared::cluster" {
				d.k.clusters = true
			}
			return ptx.Shared
		case "local":
			return ptx.Local
		case "const":
			return ptx.Const
		case "param", "param::entry", "param::func":
			return ptx.Param
		}
	}
	return ptx.NoSpace
}

// loadStore: ld and st of any space, width and vector.
func (d *decoder) loadStore() {
	in := d.in
	t := in.Type()
	x := &access{space: d.space(), store: in.Op == "st", elem: t.Bits() / 8, signed: t.Signed()}
	x.acq, x.rel = in.Has("acquire"), in.Has("release")
	x.strong = in.Has("volatile") || in.Has("relaxed") || in.Has("mmio") || x.acq || x.rel
	x.nc = in.Has("nc")
	if in.Has("async") || t == ptx.Pred || t == ptx.NoType || t == ptx.B128 {
		d.unsupported()
		return
	}
	n := 1
	for _, m := range in.Mods {
		switch m {
		case "v2":
			n = 2
		case "v4":
			n = 4
		case "v8":
			n = 8
		case "L2::cache_hint":
			d.dropHint()
		}
	}
	if !d.args(2, 2) {
		return
	}
	mem, val := in.Args[1], in.Args[0]
	if x.store {
		mem, val = val, mem
	}
	if x.space == ptx.Param && d.ofCall(mem) {
		x.space = ptx.Local
	}
	elems := vec(val)
	if len(elems) != n {
		d.fail("%d registers for %d values", len(elems), n)
		return
	}
	x.n, x.bytes, x.wide = n, n*x.elem, x.elem == 8
	if x.bytes > 32 || x.space == ptx.Const && x.store || x.space == ptx.Param && x.store {
		d.unsupported()
		return
	}
	for i, e := range elems {
		switch {
		case x.wide && x.store:
			x.regs[i] = d.src64(e)
		case x.wide:
			x.regs[i] = d.dst64(e)
		case x.store:
			x.regs[i] = d.src32(e)
		default:
			if r, ok := e.(*ptx.Reg); ok && r.Type.Bits() == 64 {
				x.regs[i], x.to64 = d.dst64(e), true
				continue
			}
			x.regs[i] = d.dst32(e)
			if r, ok := e.(*ptx.Reg); ok && r.Type.Bits() == 16 {
				x.to16 = true
			}
		}
	}
	d.address(mem, x)
	d.o.ext = x
	switch {
	case x.space == ptx.Param:
		d.loadParam(x)
	case x.space == ptx.Const:
		x.space = ptx.Global
		d.o.fn = execAccess
	case x.to64:
		d.o.fn = execAccess
	case x.space == ptx.Shared && x.elem == 4:
		d.o.fn = execShared
	case x.space == ptx.Global && x.elem == 4 && !x.strong:
		d.o.fn = execGlobal
	default:
		d.o.fn = execAccess
	}
	if x.strong && (x.space == ptx.Global || x.space == ptx.NoSpace) {
		d.k.globalAtomics = true
	}
	if x.strong && !x.store {
		d.o.kind = opPoll
	}
}

// discard.global.L2 [a], 128: what stood there is lost, and counts as never written.
func (d *decoder) discard() {
	if d.form("global") != "L2" {
		d.unsupported()
	}
	d.args(2, 2)
	const size = 128
	if d.imm(1) != size {
		d.fail("discards %d bytes: want %d", d.imm(1), size)
	}
	d.k.globalAtomics = true // one cluster after the other: what is initialised changes for all
	x := &access{space: d.space()}
	d.address(d.in.Args[0], x)
	d.o.fn = func(w *warp, o *op, m uint32) {
		eachLane(m, func(i int) {
			addr := w.address(o, x, i)
			a, off := w.global(o, addr, size, size, i, true)
			if w.vc == nil {
				return
			}
			w.noteGlobal(o, a, addr, off, size, i, true, false, w.how(o, i, true))
			if a.init == nil {
				a.init = make([]byte, len(a.data))
				fill(a.init, 1)
			}
			clear(a.init[off : off+size])
		})
	}
}

// ofCall reports whether an address is that of a parameter of a call or a function, which
// stands in local memory.
func (d *decoder) ofCall(a ptx.Operand) bool {
	m, ok := a.(*ptx.Mem)
	if !ok {
		return false
	}
	v, ok := m.Base.(*ptx.VarRef)
	return ok && v.Var.Space == ptx.Param && !slices.Contains(d.k.entry.Params, v.Var)
}

// dropHint removes a cache policy operand.
func (d *decoder) dropHint() {
	in := *d.in
	in.Args = in.Args[:len(in.Args)-1]
	d.in = &in
}

// loadParam reads the launch's parameters, which are the same for every lane.
func (d *decoder) loadParam(x *access) {
	read := func(w *warp, o *op, i int) []byte {
		addr, p := w.address(o, x, i), w.g.l.Params
		if addr+uint64(x.bytes) > uint64(len(p)) {
			w.trap(OutOfBounds, o, i, "reads parameter bytes %d to %d, there are %d", addr, addr+uint64(x.bytes), len(p))
		}
		return p[addr:]
	}
	if _, ok := d.in.Args[1].(*ptx.Mem).Base.(*ptx.Reg); ok {
		d.o.fn = func(w *warp, o *op, m uint32) { eachLane(m, func(i int) { w.load(x, read(w, o, i), i) }) }
		return
	}
	d.o.fn = func(w *warp, o *op, m uint32) {
		b := read(w, o, first(m))
		switch {
		case m != full || x.n > 1 || x.elem < 4 || x.to64:
			eachLane(m, func(i int) { w.load(x, b, i) })
		case x.wide:
			broadcastLongs(&w.q[x.regs[0]], le.Uint64(b))
		default:
			broadcastWords(&w.r[x.regs[0]], le.Uint32(b))
		}
	}
}

// address is the address that a lane accesses.
func (w *warp) address(o *op, x *access, lane int) uint64 {
	if x.base64 {
		return w.q[o.a][lane] + uint64(o.imm)
	}
	return uint64(w.r[o.a][lane] + uint32(o.imm))
}

// load and put move a lane's elements between memory and registers.
func (w *warp) load(x *access, b []byte, lane int) {
	if x.to64 {
		w.loadWide(x, b, lane)
		return
	}
	for j := range x.n {
		switch x.elem {
		case 4:
			w.r[x.regs[j]][lane] = le.Uint32(b[4*j:])
		case 8:
			w.q[x.regs[j]][lane] = le.Uint64(b[8*j:])
		case 2:
			v := uint32(le.Uint16(b[2*j:]))
			if x.signed && !x.to16 {
				v = uint32(int32(int16(v)))
			}
			w.r[x.regs[j]][lane] = v
		case 1:
			v := uint32(b[j])
			if x.signed {
				v = uint32(int32(int8(v)))
				if x.to16 {
					v &= 0xffff
				}
			}
			w.r[x.regs[j]][lane] = v
		}
	}
}

// loadWide extends narrow elements to 64 bits, by their signedness.
func (w *warp) loadWide(x *access, b []byte, lane int) {
	for j := range x.n {
		var v uint64
		for k := range x.elem {
			v |= uint64(b[j*x.elem+k]) << (8 * k)
		}
		if unused := 64 - 8*x.elem; x.signed {
			v = uint64(int64(v) << unused >> unused)
		}
		w.q[x.regs[j]][lane] = v
	}
}

func (w *warp) put(x *access, b []byte, lane int) {
	for j := range x.n {
		switch x.elem {
		case 4:
			le.PutUint32(b[4*j:], w.r[x.regs[j]][lane])
		case 8:
			le.PutUint64(b[8*j:], w.q[x.regs[j]][lane])
		case 2:
			le.PutUint16(b[2*j:], uint16(w.r[x.regs[j]][lane]))
		case 1:
			b[j] = byte(w.r[x.regs[j]][lane])
		}
	}
}

// how returns the tag parts of an access by a lane.
func (w *warp) how(o *op, lane int, atomic bool) how {
	t := w.base | tag(o.pc)<<pcShift | tag(lane)<<laneShift | tag(w.clock)
	if atomic {
		t |= atomicBit
	}
	return how{tag: t, lane: lane}
}

// execAccess is any load or store, lane by lane.
func execAccess(w *warp, o *op, m uint32) {
	x := o.ext.(*access)
	w.profileAccess(o, x, m)
	if x.store {
		w.storeConflict(o, x, m)
	}
	w.eachAccess(o, x, m)
	if x.store && x.strong { // behind a fence a relaxed or volatile one releases too
		eachLane(m, func(i int) { w.releaseAt(o, w.address(o, x, i), x.rel) })
	}
	switch {
	case x.store:
		w.polled.same = 0
	case x.strong:
		h := hashOf(o.pc, m)
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k) & 31
			for _, r := range x.regs[:x.n] {
				if x.wide || x.to64 {
					h.add(w.q[r][i])
				} else {
					h.add(uint64(w.r[r][i]))
				}
			}
		}
		w.found(uint64(h))
	}
}

// hash mixes what a strong load or an atomic found.
type hash uint64

func hashOf(pc int32, m uint32) hash {
	h := hash(14695981039346656037)
	h.add(uint64(pc)<<32 | uint64(m))
	return h
}

func (h *hash) add(v uint64) { *h = (*h ^ hash(v)) * 1099511628211; *h ^= *h >> 29 }

// eachAccess checks and moves lane by lane.
func (w *warp) eachAccess(o *op, x *access, m uint32) {
	for ; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m) & 31
		addr := w.address(o, x, i)
		b := w.touch(o, x.space, addr, x.bytes, i, x.store, x.strong, x.nc)
		if x.store {
			w.put(x, b, i)
		} else {
			w.load(x, b, i)
		}
		if x.strong && !x.store {
			w.acquireAt(o, addr, x.acq)
		}
	}
}

// touch checks an access by a lane and returns its bytes.
func (w *warp) touch(o *op, space ptx.Space, addr uint64, n, lane int, write, strong, nc bool) []byte {
	if space == ptx.NoSpace {
		switch {
		case addr >= globalBase:
			space = ptx.Global
		case addr >= paramBase:
			p := w.g.l.Params
			if off := addr - paramBase; !write && off+uint64(n) <= uint64(len(p)) {
				return p[off:]
			}
			w.trap(OutOfBounds, o, lane, "%d bytes at parameter offset %d", n, addr-paramBase)
		case addr >= localBase:
			space, addr = ptx.Local, addr-localBase
		case addr >= sharedBase:
			space, addr = ptx.Shared, addr-sharedBase
		default:
			w.trap(OutOfBounds, o, lane, "%d bytes at generic address %#x, which no memory holds", n, addr)
		}
	}
	switch space {
	case ptx.Shared:
		return w.touchShared(o, addr, n, lane, write, strong)
	case ptx.Local:
		size := uint64(w.g.l.Kernel.localBytes)
		if addr >= localBase {
			addr -= localBase
		}
		if addr+uint64(n) > size || addr > size {
			w.trap(OutOfBounds, o, lane, "%d bytes at %d of the thread's %d bytes of local memory", n, addr, size)
		}
		if addr%uint64(n) != 0 {
			w.trap(Misaligned, o, lane, "%d bytes at local address %d", n, addr)
		}
		return w.local[uint64(lane)*size+addr:]
	default:
		return w.touchGlobal(o, addr, n, lane, write, strong, nc)
	}
}

// shared returns the block and offset that a shared::cluster address means.
func (w *warp) shared(o *op, addr uint64, lane int) (*cta, uint32) {
	if addr>>rankShift == 0 {
		return w.c, uint32(addr)
	}
	if r := addr>>rankShift - 1; r < uint64(len(w.g.ctas)) {
		c := w.g.ctas[r]
		if c != w.c && c.left == len(c.warps) {
			w.trap(OutOfBounds, o, lane, "shared memory of block %v, which has left the kernel: a cluster barrier must hold it back", c.id)
		}
		return c, uint32(addr) & (1<<rankShift - 1)
	}
	w.trap(OutOfBounds, o, lane, "%#x is not a shared memory address", addr)
	return nil, 0
}

func (w *warp) touchShared(o *op, addr uint64, n, lane int, write, strong bool) []byte {
	c, off := w.shared(o, addr, lane)
	w.bounds(o, c, off, n, lane)
	if w.vc != nil {
		h := w.how(o, lane, strong)
		w.noteShared(o, c, off, n, lane, write, h)
		if c != w.c {
			c.remote[w.agent] = h.tag
		}
	}
	return c.smem[off : int(off)+n : int(off)+n]
}

// bounds checks place and alignment of a shared access.
func (w *warp) bounds(o *op, c *cta, off uint32, n, lane int) {
	if int(off)+n > len(c.smem) || off < sharedLow {
		w.trap(OutOfBounds, o, lane, "%d bytes at shared address %#x; the block has %#x to %#x", n, off, sharedLow, len(c.smem))
	}
	if off&uint32(min(n, 16)-1) != 0 {
		w.trap(Misaligned, o, lane, "%d bytes at shared address %#x", n, off)
	}
}

// noteShared checks initialisation and order of a shared access.
func (w *warp) noteShared(o *op, c *cta, off uint32, n, lane int, write bool, h how) {
	a, end := off&^3, off+uint32(n)
	if write {
		c.memory.wrote(off, uint32(n))
		fill(c.init[off:end], 1)
		a += w.writeOrdinary(c, off, uint32(n), h.tag|wholeWord)
	} else {
		a += w.readOrdinary(c, off, uint32(n), h.tag|wholeWord)
		if a == end {
			return
		}
		if i := bytes.IndexByte(c.init[off:end], 0); i >= 0 {
			w.find(Uninitialised, o, lane, "%d bytes at %s: byte %d was never written", n, c.where(off), i)
		}
	}
	for ; a < end; a += 4 {
		cl := &c.words(a, 1)[0]
		mask := byteMask(a, off, end)
		if write {
			if t := w.write(cl, h, mask); t != 0 {
				w.sharedConflict(o, c, a, lane, h, "write", cl, t)
			}
		} else if t := w.read(cl, h, mask); t != 0 {
			w.sharedConflict(o, c, a, lane, h, "read", cl, t)
		}
	}
}

// readOrdinary and writeOrdinary note what they can of n bytes of shared memory as whole
// quads or whole words, and return how many these are.
func (w *warp) readOrdinary(c *cta, off, n uint32, t tag) uint32 {
	switch {
	case (off|n)%16 == 0:
		return w.readQuads(c, off, n, t)
	case (off|n)%4 == 0:
		return 4 * uint32(w.readWords(c.words(off, int(n/4)), t, int(n/4), wholeWord, wholeWord))
	}
	return 0
}

func (w *warp) writeOrdinary(c *cta, off, n uint32, t tag) uint32 {
	switch {
	case (off|n)%16 == 0:
		return w.writeQuads(c, off, n, t)
	case (off|n)%4 == 0:
		return 4 * uint32(w.writeWords(c.words(off, int(n/4)), t, int(n/4)))
	}
	return 0
}

func (w *warp) sharedConflict(o *op, c *cta, addr uint32, lane int, h how, what string, cl *cell, t tag) {
	if h.tag.agent() != w.agent {
		what = "asynchronous " + what
	}
	old := "write"
	if cl.w != t && cl.w != splitCell {
		old = "read"
	}
	w.conflict(o, lane, what, c.where(addr), t, old)
}

// byteMask is the bytes of the word at a that [from, to) covers.
func byteMask(a, from, to uint32) uint32 {
	m := uint32(15)
	if from > a {
		m &= 15 << (from - a)
	}
	if to < a+4 {
		m &= 15 >> (a + 4 - to)
	}
	return m & 15
}

// execShared is the hot path of 32-bit elements in shared memory: where no lane's
// address is out of the ordinary, the lanes are checked first and moved after.
func execShared(w *warp, o *op, m uint32) {
	x := o.ext.(*access)
	w.profileAccess(o, x, m)
	var at [32]uint32
	if !w.ownShared(o, x, m, &at) {
		if x.store {
			w.storeConflict(o, x, m)
		}
		w.eachAccess(o, x, m)
		return
	}
	smem := w.c.smem
	if x.store {
		w.polled.same = 0
		if w.vc != nil {
			w.noteStores(o, x, m, &at)
		}
		for j, r := range x.regs[:x.n] {
			R := &w.r[r]
			for k := m; k != 0; k &= k - 1 {
				i := bits.TrailingZeros32(k) & 31
				le.PutUint32(smem[at[i]+uint32(4*j):], R[i])
			}
		}
		return
	}
	if w.vc != nil {
		w.noteLoads(o, x, m, &at)
	}
	if x.n == 4 && m == full {
		loadQuads(&w.r[x.regs[0]], &w.r[x.regs[1]], &w.r[x.regs[2]], &w.r[x.regs[3]], smem, &at)
		return
	}
	for j, r := range x.regs[:x.n] {
		R := &w.r[r]
		if m == full {
			for i, a := range at {
				R[i] = le.Uint32(smem[a+uint32(4*j):])
			}
			continue
		}
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k) & 31
			R[i] = le.Uint32(smem[at[i]+uint32(4*j):])
		}
	}
}

// ownShared finds the lanes' addresses, and reports whether all of them are in
// the block's own shared memory and aligned.
func (w *warp) ownShared(o *op, x *access, m uint32, at *[32]uint32) bool {
	if x.base64 {
		return false
	}
	first, last, all := ^uint32(0), uint32(0), uint32(0)
	if m == full {
		first, last, all = span(at, &w.r[o.a], uint32(o.imm))
	} else {
		*at = w.r[o.a]
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k) & 31
			at[i] += uint32(o.imm)
			first, last, all = min(first, at[i]), max(last, at[i]), all|at[i]
		}
	}
	return first >= sharedLow && last>>rankShift == 0 && int(last)+x.bytes <= len(w.c.smem) && all&uint32(min(x.bytes, 16)-1) == 0
}

// noteLoads checks initialisation and order of loads of whole words that
// ownShared has passed.
func (w *warp) noteLoads(o *op, x *access, m uint32, at *[32]uint32) {
	if m == full && w.noteAsBefore(o, x, at) {
		return
	}
	// Lanes often load the same: once two have, a third changes nothing.
	var seen [32]uint32 // addresses, by some of their bits
	var twice uint32
	shift := bits.TrailingZeros32(uint32(x.bytes)) & 31
	for ; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m) & 31
		off := at[i]
		k := off >> shift & 31
		if seen[k] == off && twice>>k&1 != 0 {
			continue
		}
		h := w.how(o, i, x.strong)
		end := off + uint32(x.bytes)
		a := off + w.readOrdinary(w.c, off, uint32(x.bytes), h.tag|wholeWord) // so that all is initialised
		if a == end {
			if seen[k] == off {
				twice |= 1 << k
			} else {
				seen[k], twice = off, twice&^(1<<k)
			}
			continue
		}
		for ; a < end; a += 4 {
			if le.Uint32(w.c.init[a:]) != 0x01010101 {
				w.find(Uninitialised, o, i, "%s was never written", w.c.where(a))
			}
			cl := &w.c.words(a, 1)[0]
			if t := w.read(cl, h, 15); t != 0 {
				w.sharedConflict(o, w.c, a, i, h, "read", cl, t)
			}
		}
	}
}

// loadPattern is where the lanes of a load of shared memory went last. Loops load by the
// same pattern again and again, a little further on.
type loadPattern struct {
	from  [32]uint32 // the lanes' addresses, as seen from the first lane's
	n     int        // places, 0 before the pattern has come twice
	lanes [32]uint8  // the first lane at each place
	many  uint32     // a bit for each place that several lanes load
}

// learn finds the places.
func (p *loadPattern) learn() {
	p.n, p.many = 0, 0
next:
	for i, a := range p.from {
		for k, lane := range p.lanes[:p.n] {
			if p.from[lane] == a {
				p.many |= 1 << k
				continue next
			}
		}
		p.lanes[p.n] = uint8(i)
		p.n++
	}
}

// noteAsBefore is noteLoads for a full warp that loads by the same pattern as the last
// one did here, as long as all that it loads is ordinary. Where it reports false,
// what it has noted may be noted again.
func (w *warp) noteAsBefore(o *op, x *access, at *[32]uint32) bool {
	p := w.g.patterns[o.pc]
	if p == nil {
		p = new(loadPattern)
		w.g.patterns[o.pc] = p
	}
	if !samePattern(at, &p.from) {
		p.n = 0
		for i, a := range at {
			p.from[i] = a - at[0]
		}
		return false
	}
	if p.n == 0 {
		p.learn()
	}
	t := w.how(o, 0, x.strong).tag | wholeWord
	for k, lane := range p.lanes[:p.n] {
		u := t | tag(lane)<<laneShift
		if p.many>>k&1 != 0 {
			u = t.mixed()
		}
		if n := uint32(x.bytes); n == 16 && w.readWord(&w.c.quads[at[lane]/16], u, wholeWord, wholeWord) {
			continue // the usual one
		} else if w.readOrdinary(w.c, at[lane], n, u) < n {
			return false
		}
	}
	return true
}

// noteStores is noteLoads for stores. The second of two lanes that store to one
// place finds the first one's write there, which is not before now: until a word is
// out of the ordinary there is no such pair.
func (w *warp) noteStores(o *op, x *access, m uint32, at *[32]uint32) {
	all, apart := m, true
	for ; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m) & 31
		off := at[i]
		init := w.c.init[off:]
		w.c.memory.written[off/sharedBlock] = true // an aligned access lies in one
		for j := range x.n {
			le.PutUint32(init[4*j:], 0x01010101)
		}
		h := w.how(o, i, x.strong)
		a, end := off, off+uint32(x.bytes)
		a += w.writeOrdinary(w.c, off, uint32(x.bytes), h.tag|wholeWord)
		if a < end && apart {
			w.storeConflict(o, x, all)
			apart = false
		}
		for ; a < end; a += 4 {
			cl := &w.c.words(a, 1)[0]
			if t := w.write(cl, h, 15); t != 0 {
				w.sharedConflict(o, w.c, a, i, h, "write", cl, t)
			}
		}
	}
}

// storeConflict reports lanes that store different values to one place in one
// instruction: which one stays is not defined.
func (w *warp) storeConflict(o *op, x *access, m uint32) {
	if w.vc == nil || x.space == ptx.Local {
		return
	}
	if w.ascending(o, x, m) {
		return
	}
	type stored struct {
		addr uint64
		lane int
	}
	var seen [64]stored // open addressing over 32 lanes
	for ; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m) & 31
		addr := w.address(o, x, i)
		if x.space == ptx.NoSpace && addr >= localBase && addr < localBase+windowBytes {
			continue // each lane has its own
		}
		k := (addr / uint64(x.bytes) * 0x9e3779b97f4a7c15) >> 58
		for seen[k].addr != 0 && seen[k].addr != addr {
			k = (k + 1) & 63
		}
		if seen[k].addr == 0 {
			seen[k] = stored{addr, i}
			continue
		}
		for j := range x.n {
			same := false
			if x.wide {
				same = w.q[x.regs[j]][i] == w.q[x.regs[j]][seen[k].lane]
			} else {
				same = w.r[x.regs[j]][i] == w.r[x.regs[j]][seen[k].lane]
			}
			if !same {
				w.find(Race, o, i, "lanes %d and %d store different values to the same address %#x", seen[k].lane, i, addr)
			}
		}
	}
}

// ascending reports whether each lane's address is above that of the one before,
// so that no two are the same.
func (w *warp) ascending(o *op, x *access, m uint32) bool {
	last := w.address(o, x, first(m))
	for m &= m - 1; m != 0; m &= m - 1 {
		a := w.address(o, x, first(m))
		if a <= last {
			return false
		}
		last = a
	}
	return true
}

func (w *warp) touchGlobal(o *op, addr uint64, n, lane int, write, strong, nc bool) []byte {
	a, off := w.global(o, addr, n, n, lane, write)
	if w.vc != nil {
		w.noteGlobal(o, a, addr, off, n, lane, write, nc, w.how(o, lane, strong))
	}
	return a.data[off : off+uint64(n) : off+uint64(n)]
}

// global finds the allocation of an access and checks place and alignment.
func (w *warp) global(o *op, addr uint64, n, align, lane int, write bool) (*alloc, uint64) {
	mem := &w.g.l.dev.mem
	a := mem.find(addr)
	if a == nil || a.freed || addr-a.base+uint64(n) > uint64(len(a.data)) {
		what := "read"
		if write {
			what = "write"
		}
		w.trap(OutOfBounds, o, lane, "%s of %d bytes at %#x: %s", what, n, addr, mem.where(addr))
	}
	if addr&uint64(align-1) != 0 {
		w.trap(Misaligned, o, lane, "%d bytes at %#x: %s", n, addr, mem.where(addr))
	}
	if write && a.konst {
		w.trap(Misuse, o, lane, "write to the constant %s", a.name)
	}
	return a, addr - a.base
}

// noteGlobal checks initialisation and order of a global access.
func (w *warp) noteGlobal(o *op, a *alloc, addr, off uint64, n, lane int, write, nc bool, h how) {
	if a.init != nil {
		if write {
			fill(a.init[off:off+uint64(n)], 1)
		} else {
			if i := bytes.IndexByte(a.init[off:off+uint64(n)], 0); i >= 0 {
				w.find(Uninitialised, o, lane, "%d bytes of %s: byte %d was never written", n, w.g.l.dev.mem.where(addr), i)
			}
		}
	}
	at, end := addr&^3, addr+uint64(n)
	if (addr|uint64(n))%4 == 0 && !w.meetsBefore(addr, uint64(n), write, nc) {
		at += w.globalOrdinary(addr, uint64(n), h.tag|wholeWord, write, nc)
	}
	for ; at < end; at += 4 {
		cl := w.g.cellAt(at)
		mask := byteMask(0, uint32(max(addr, at)-at), uint32(min(end, at+4)-at))
		w.noteWord(o, cl, at, lane, write, nc, h, mask)
	}
}

// globalOrdinary notes what it can of n bytes of global memory as whole lines or whole
// words, and returns how many these are.
func (w *warp) globalOrdinary(addr, n uint64, t tag, write, nc bool) (done uint64) {
	for done < n {
		at := addr + done
		p, k := w.g.pageOf(at), at%pageBytes/lineBytes
		if at%lineBytes == 0 && n-done >= lineBytes && p.apart>>k&1 == 0 && p.lines[k].note(w, t, 0, write, nc) {
			done += lineBytes
			continue
		}
		words := int(min(n-done, lineBytes-at%lineBytes) / 4)
		i := w.globalWords(p.words(at, words), t, words, write, nc)
		done += 4 * uint64(i)
		if i < words {
			break
		}
	}
	return done
}

// noteLine notes what lanes from i on do to a line of global memory in their order, n
// words each, and returns these lanes: none where it must be done lane by lane.
func (w *warp) noteLine(o *op, a *alloc, addrs *[32]uint64, offset uint64, m uint32, i, n int, write, nc bool) uint32 {
	lanes := lineWords / n
	all := uint32(1<<lanes-1) << i
	addr := addrs[i] + offset
	off := addr - a.base
	if i+lanes > 32 || m&all != all || addr%lineBytes != 0 || off+lineBytes > uint64(len(a.data)) || w.meetsBefore(addr, lineBytes, write, nc) {
		return 0
	}
	for j, next := range addrs[i+1 : i+lanes] {
		if next-addrs[i] != uint64(4*n*(j+1)) {
			return 0
		}
	}
	if a.init != nil {
		init := a.init[off : off+lineBytes]
		if write {
			fill(init, 1)
		} else if bytes.IndexByte(init, 0) >= 0 {
			return 0
		}
	}
	p, k := w.g.pageOf(addr), addr%pageBytes/lineBytes
	if p.apart>>k&1 != 0 || !p.lines[k].note(w, w.how(o, i, false).tag|wholeWord, n, write, nc) {
		return 0
	}
	return all
}

// globalWords is readWords or writeWords for words that need not be held against
// the launches before.
func (w *warp) globalWords(cells []cell, t tag, n int, write, nc bool) int {
	switch {
	case write:
		return w.writeWords(cells, t, n)
	case nc: // of what nothing has written
		return w.readWords(cells, t, n, ^tag(0), 0)
	}
	return w.readWords(cells, t, n, 0, 0)
}

// dependent reports whether an access of global memory is held against the
// launches before.
func (w *warp) dependent(nc bool) bool { return w.g.l.before != nil && (nc || !w.hasWaited()) }

// meetsBefore reports whether an access must be held, word by word, against the launches
// before.
func (w *warp) meetsBefore(addr, n uint64, write, nc bool) bool {
	return w.dependent(nc) && !w.g.l.before.clean(addr, n, write)
}

// noteWord checks order of an access to some bytes of a word of global memory.
func (w *warp) noteWord(o *op, cl *cell, at uint64, lane int, write, nc bool, h how, mask uint32) {
	if w.dependent(nc) {
		written, read := w.g.l.before.of(at)
		where := w.g.l.dev.mem.where
		switch {
		case written && !w.waited:
			w.find(Race, o, lane, "%s was written by a launch before, which may still run: griddepcontrol.wait must come first", where(at))
		case read && write && !w.waited:
			w.find(Race, o, lane, "%s was read by a launch before, which may still run: griddepcontrol.wait must come first", where(at))
		case written && nc:
			w.find(Race, o, lane, "non-coherent load of %s, which a launch before may have written while this one ran", where(at))
		}
	}
	if nc && cl.w != 0 {
		w.find(Race, o, lane, "non-coherent load of %s, which this kernel writes", w.g.l.dev.mem.where(at))
	}
	var t tag
	what := "read"
	if write {
		what = "write"
		t = w.write(cl, h, mask)
	} else {
		t = w.read(cl, h, mask)
	}
	if t != 0 {
		old := "write"
		if cl.w != t && cl.w != splitCell {
			old = "read"
		}
		w.conflict(o, lane, what, w.g.l.dev.mem.where(at), t, old)
	}
}

// execGlobal is the hot path of 32-bit elements in global memory: a full warp
// whose lanes access consecutive addresses is checked as one range.
func execGlobal(w *warp, o *op, m uint32) {
	x := o.ext.(*access)
	if m != full || !x.base64 || !strided(&w.q[o.a], uint64(x.bytes)) {
		w.scattered(o, x, m)
		return
	}
	w.profileAccess(o, x, m)
	addr := w.q[o.a][0] + uint64(o.imm)
	n := 32 * x.bytes
	a := w.g.l.dev.mem.find(addr)
	if a == nil || a.freed || addr-a.base+uint64(n) > uint64(len(a.data)) || addr&uint64(x.bytes-1) != 0 || x.store && a.konst {
		execAccess(w, o, m) // finds the lane and reports it
		return
	}
	off := addr - a.base
	if w.vc != nil {
		if a.init != nil {
			if init := a.init[off : off+uint64(n)]; x.store {
				fill(init, 1)
			} else {
				for k := 0; k < n; k += 8 {
					if le.Uint64(init[k:]) != 0x0101010101010101 {
						execAccess(w, o, m)
						return
					}
				}
			}
		}
		w.noteRange(o, x, addr)
	}
	b := a.data[off : off+uint64(n) : off+uint64(n)]
	if x.store {
		w.polled.same = 0
	}
	switch {
	case x.n == 1 && x.store:
		storeRow((*[128]byte)(b), &w.r[x.regs[0]])
	case x.n == 1:
		loadRow(&w.r[x.regs[0]], (*[128]byte)(b))
	case x.n == 4 && x.store:
		storeQuads(b, &sideBySide, &w.r[x.regs[0]], &w.r[x.regs[1]], &w.r[x.regs[2]], &w.r[x.regs[3]])
	case x.n == 4:
		loadQuads(&w.r[x.regs[0]], &w.r[x.regs[1]], &w.r[x.regs[2]], &w.r[x.regs[3]], b, &sideBySide)
	case x.store:
		for i := range 32 {
			for j := range x.n {
				le.PutUint32(b[i*x.bytes+4*j:], w.r[x.regs[j]][i])
			}
		}
	default:
		for i := range 32 {
			for j := range x.n {
				w.r[x.regs[j]][i] = le.Uint32(b[i*x.bytes+4*j:])
			}
		}
	}
}

// scattered is execAccess for 32-bit elements in global memory: lanes that go to
// the same allocation as the one before are soon found in bounds.
func (w *warp) scattered(o *op, x *access, m uint32) {
	w.profileAccess(o, x, m)
	if x.store {
		w.polled.same = 0
		w.storeConflict(o, x, m)
	}
	var a *alloc
	size := uint64(x.bytes)
	noted, lines := uint32(0), w.vc != nil && x.base64
	for ; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m) & 31
		addr := w.address(o, x, i)
		if a == nil || addr < a.base || addr-a.base+size > uint64(len(a.data)) || addr&(size-1) != 0 {
			a, _ = w.global(o, addr, x.bytes, x.bytes, i, x.store)
		}
		off := addr - a.base
		if lines && noted>>i&1 == 0 {
			noted |= w.noteLine(o, a, &w.q[o.a], uint64(o.imm), m, i, x.n, x.store, x.nc)
		}
		if w.vc != nil && noted>>i&1 == 0 {
			w.noteGlobal(o, a, addr, off, x.bytes, i, x.store, x.nc, w.how(o, i, false))
		}
		b := a.data[off : off+size : off+size]
		for j, r := range x.regs[:x.n] {
			if x.store {
				le.PutUint32(b[4*j:], w.r[r][i])
			} else {
				w.r[r][i] = le.Uint32(b[4*j:])
			}
		}
	}
}

// noteRange is noteWord for the words of a full warp.
func (w *warp) noteRange(o *op, x *access, addr uint64) {
	before := w.meetsBefore(addr, uint64(32*x.bytes), x.store, x.nc)
	for i := 0; i < 32; {
		at := int(addr / 4 % pageWords)
		p := w.g.pageOf(addr)
		if !before && at%lineWords == 0 && (32-i)*x.n >= lineWords && p.apart>>(at/lineWords)&1 == 0 {
			if p.lines[at/lineWords].note(w, w.how(o, i, false).tag|wholeWord, x.n, x.store, x.nc) {
				i += lineWords / x.n
				addr += lineBytes
				continue
			}
		}
		lanes := min(32-i, (pageWords-at)/x.n)
		cells := p.words(addr, lanes*x.n)
		done := 0
		t := w.how(o, i, false).tag | wholeWord
		switch {
		case before:
		case firstTouch(cells, t, x.n, x.store):
			done = len(cells)
		default:
			done = w.globalWords(cells, t, x.n, x.store, x.nc)
		}
		for ; done < len(cells); done++ {
			lane := i + done/x.n
			w.noteWord(o, &cells[done], addr+uint64(4*done), lane, x.store, x.nc, w.how(o, lane, false), 15)
		}
		i += lanes
		addr += uint64(lanes * x.bytes)
	}
}

// firstTouch notes accesses to words that nothing in the cluster has touched, n of
// each lane; it reports false, and notes nothing, where something has.
func firstTouch(cells []cell, t tag, n int, store bool) bool {
	var touched tag
	for i := range cells {
		touched |= cells[i].w | cells[i].r
	}
	if touched != 0 {
		return false
	}
	for ; len(cells) >= n; cells = cells[n:] {
		for i := range cells[:n] {
			if store {
				cells[i].w = t
			} else {
				cells[i].r = t
			}
		}
		t += 1 << laneShift
	}
	return true
}

// where names a shared address.
func (c *cta) where(addr uint32) string {
	k := c.g.l.Kernel
	for _, v := range k.entry.Vars {
		if at, ok := k.sharedAt[v]; ok && addr >= uint32(at) && addr < uint32(at)+uint32(v.Size) {
			return shared(v.Name, addr-uint32(at))
		}
	}
	if k.dynamic && int(addr) >= k.static {
		return shared("dynamic shared memory", addr-uint32(k.static))
	}
	return shared("shared memory", addr)
}

func shared(name string, off uint32) string {
	return name + "+" + itoa(off)
}

func itoa(v uint32) string {
	var b [10]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + v%10)
		if v /= 10; v == 0 {
			return string(b[i:])
		}
	}
}

// Atomics.

// reduction returns the combining function of an atomic, or nil. Values are
// zero-extended to 64 bits.
func reduction(name string, t ptx.Type) func(old, v uint64) uint64 {
	n := t.Bits()
	sext := func(v uint64) int64 { return int64(v) << (64 - n) >> (64 - n) }
	switch {
	case name == "exch":
		return func(_, v uint64) uint64 { return v }
	case name == "and":
		return func(a, b uint64) uint64 { return a & b }
	case name == "or":
		return func(a, b uint64) uint64 { return a | b }
	case name == "xor":
		return func(a, b uint64) uint64 { return a ^ b }
	case t == ptx.F32 && name == "add":
		return func(a, b uint64) uint64 { return uint64(b32(f32(uint32(a)) + f32(uint32(b)))) }
	case t == ptx.F64 && name == "add":
		return func(a, b uint64) uint64 { return b64(f64(a) + f64(b)) }
	case t == ptx.F16 && name == "add":
		return func(a, b uint64) uint64 { return uint64(f2h(h2f(uint16(a)) + h2f(uint16(b)))) }
	case t == ptx.BF16 && name == "add":
		return func(a, b uint64) uint64 { return uint64(f2bf(bf2f(uint16(a)) + bf2f(uint16(b)))) }
	case t == ptx.F16 && (name == "min" || name == "max"):
		return func(a, b uint64) uint64 {
			return uint64(f2h(f32(least32(name)(h2f(uint16(a)), h2f(uint16(b))))))
		}
	case t == ptx.BF16 && (name == "min" || name == "max"):
		return func(a, b uint64) uint64 {
			return uint64(f2bf(f32(least32(name)(bf2f(uint16(a)), bf2f(uint16(b))))))
		}
	case t == ptx.F16x2 || t == ptx.BF16x2:
		f := reduction(name, map[ptx.Type]ptx.Type{ptx.F16x2: ptx.F16, ptx.BF16x2: ptx.BF16}[t])
		if f == nil {
			return nil
		}
		return func(a, b uint64) uint64 { return f(a>>16, b>>16)<<16 | f(a&0xffff, b&0xffff) }
	case t.Float():
		return nil
	case name == "add":
		return func(a, b uint64) uint64 { return (a + b) << (64 - n) >> (64 - n) }
	case name == "min" && t.Signed():
		return func(a, b uint64) uint64 { return uint64(min(sext(a), sext(b))) << (64 - n) >> (64 - n) }
	case name == "max" && t.Signed():
		return func(a, b uint64) uint64 { return uint64(max(sext(a), sext(b))) << (64 - n) >> (64 - n) }
	case name == "min":
		return func(a, b uint64) uint64 { return min(a, b) }
	case name == "max":
		return func(a, b uint64) uint64 { return max(a, b) }
	case name == "inc":
		return func(a, b uint64) uint64 {
			if a >= b {
				return 0
			}
			return a + 1
		}
	case name == "dec":
		return func(a, b uint64) uint64 {
			if a == 0 || a > b {
				return b
			}
			return a - 1
		}
	}
	return nil
}

// least32 is min or max of fp32.
func least32(name string) func(a, b float32) uint32 {
	if name == "min" {
		return min32
	}
	return max32
}

// atomic: atom[.sem][.scope][.space][.vec].op.type d, [a], b[, c] and red without d. Of
// vectors each element is an atomic of its own.
func (d *decoder) atomic() {
	in := d.in
	t := in.Type()
	n := 1
	for _, v := range []struct {
		mod string
		n   int
	}{{"v2", 2}, {"v4", 4}, {"v8", 8}} {
		if in.Has(v.mod) {
			n = v.n
		}
	}
	x := &access{space: d.space(), elem: t.Bits() / 8, bytes: n * t.Bits() / 8, n: n, store: true, strong: true}
	x.acq = in.Has("acquire") || in.Has("acq_rel")
	x.rel = in.Has("release") || in.Has("acq_rel")
	name := d.form("relaxed", "acquire", "release", "acq_rel", "cta", "cluster", "gpu", "sys", "noftz",
		"global", "shared", "shared::cta", "shared::cluster", "v2", "v4", "v8", "L2::cache_hint", t.String())
	if in.Has("L2::cache_hint") {
		d.dropHint()
		in = d.in
	}
	args := in.Args
	wide := t.Bits() == 64
	registers := func(a ptx.Operand, get32, get64 func(ptx.Operand) int32) (rs []int32) {
		elems := vec(a)
		if len(elems) != n {
			d.fail("%d registers for %d values", len(elems), n)
		}
		for _, e := range elems {
			if wide {
				rs = append(rs, get64(e))
			} else {
				rs = append(rs, get32(e))
			}
		}
		return rs
	}
	var dst []int32
	if in.Op == "atom" {
		if len(args) < 3 {
			d.fail("takes at least 3 operands, got %d", len(args))
		}
		dst = registers(args[0], d.dst32, d.dst64)
		args = args[1:]
	}
	want := 2
	if name == "cas" {
		want = 3
	}
	f := reduction(name, t)
	if len(args) != want || f == nil && name != "cas" || x.elem < 2 || x.elem == 2 && !t.Float() && name != "cas" || x.space == ptx.Local || x.space == ptx.Param ||
		n > 1 && (!t.Float() || wide || x.bytes > 16 || x.space != ptx.Global && x.space != ptx.NoSpace) {
		d.unsupported()
	}
	d.address(args[0], x)
	src := registers(args[1], d.src32, d.src64)
	if want == 3 {
		d.o.c = registers(args[2], d.src32, d.src64)[0]
	}
	d.o.ext = x
	if x.space == ptx.Global || x.space == ptx.NoSpace {
		d.k.globalAtomics = true
	}
	get := func(w *warp, r int32, i int) uint64 {
		if wide {
			return w.q[r][i]
		}
		return uint64(w.r[r][i])
	}
	d.o.kind = opPoll
	d.o.fn = func(w *warp, o *op, m uint32) {
		w.profileAccess(o, x, m)
		h := hashOf(o.pc, m)
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			addr := w.address(o, x, i)
			b := w.touchAtomic(o, x, addr, i)
			w.releaseAt(o, addr, x.rel) // itself too
			for k, r := range src {
				at := b[k*x.elem:]
				old := getElem(at, x.elem)
				v := get(w, r, i)
				if f == nil { // cas
					if old == v {
						v = get(w, o.c, i)
					} else {
						v = old
					}
				} else {
					v = f(old, v)
				}
				putElem(at, x.elem, v)
				if dst != nil && wide {
					w.q[dst[k]][i] = old
				} else if dst != nil {
					w.r[dst[k]][i] = uint32(old)
				}
				h.add(old)
			}
			w.acquireAt(o, addr, x.acq)
		}
		w.found(uint64(h))
	}
}

// touchAtomic checks the read and the write of an atomic.
func (w *warp) touchAtomic(o *op, x *access, addr uint64, lane int) []byte {
	w.touch(o, x.space, addr, x.bytes, lane, false, true, false)
	return w.touch(o, x.space, addr, x.bytes, lane, true, true, false)
}

// releaseAt publishes at an address what this warp did before its last fence,
// or, for a release, before now. Only then can an acquire elsewhere order
// behind it.
func (w *warp) releaseAt(o *op, addr uint64, now bool) {
	if w.vc == nil || !now && !w.fencedAt {
		if w.vc != nil && addr >= globalBase && w.g.l.shadow != nil {
			w.g.l.shadow.signalled(addr, int32(w.g.idx)+1, o.pc)
		}
		return
	}
	if now {
		w.fence()
	}
	c := w.g.atomics[addr]
	if c == nil {
		n := w.g.newClocks()
		c = &n
		w.g.atomics[addr] = c
	}
	c.join(w.fenced)
	if addr >= globalBase && w.g.l.shadow != nil {
		if r := w.g.releaseGlobal(addr); r != nil {
			throw(r)
		}
	}
}

// acquireAt learns what was released at an address: at once for an acquire,
// else when a fence follows.
func (w *warp) acquireAt(o *op, addr uint64, now bool) {
	if w.vc == nil {
		return
	}
	news := false
	if c := w.g.atomics[addr]; c != nil && !behind(c.vc, w.vc) {
		if w.heard.vc == nil {
			w.heard = w.g.newClocks()
		}
		if !w.hasHeard {
			w.heard.reset()
		}
		w.heard.join(c)
		w.hasHeard, news = true, true
	}
	if addr >= globalBase && w.g.l.shadow != nil {
		if w.acquired == nil {
			w.acquired = map[int32]int32{}
		}
		news = w.g.acquireGlobal(o, addr, w.acquired) || news
	}
	if now && news { // who polls in vain learns nothing
		w.fence()
	}
}
