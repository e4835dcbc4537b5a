package sim

// Happens-before inside a cluster.
//
// Agents are what can access memory on its own: each warp, and for each warp
// its cp.async copies and its bulk copies out of shared memory; each
// warpgroup's wgmma reads; each mbarrier stands for the TMA copies that signal it. An agent has
// a clock; a warp's vector clock says up to which clock it is ordered behind
// every other agent. Barriers and waits join vector clocks.
//
// A cell is the shadow of one 32-bit word: the last write and the last reads
// by two different agents, as tags. An access is a race with a tag that
// overlaps in bytes and is not ordered before it. (FastTrack, Flanagan and
// Freund 2009, keeps the last write and every reader; two readers are enough
// to see any missing barrier unless the only racing reader is older than two
// ordered ones.) Two more things are let pass: what lanes of one warp do to
// different bytes of a word counts as done by all of them, and the same store
// of the same warp twice without a barrier counts as one.

// tag is one access: bytes of the word, atomic or not, PC, agent, lane, clock.
//
//	63..60 bytes | 59 atomic | 58..42 pc | 41..30 agent | 29..24 lane | 23..0 clock
type tag uint64

const (
	clockBits = 24
	clockMask = 1<<clockBits - 1
	laneShift = clockBits
	laneMixed = 32 // several lanes of the warp
	agentShft = laneShift + 6
	pcShift   = agentShft + 12
	maxPC     = 1 << 17
	atomicBit = tag(1) << 59
	byteShift = 60
	wholeWord = tag(15) << byteShift
	splitCell = ^tag(0) // the word's bytes, or the quad's words, have cells of their own
)

func (t tag) clock() uint32       { return uint32(t) & clockMask }
func (t tag) lane() int           { return int(t>>laneShift) & 63 }
func (t tag) agent() int          { return int(t>>agentShft) & 4095 }
func (t tag) pc() int             { return int(t>>pcShift) & (maxPC - 1) }
func (t tag) bytes() uint32       { return uint32(t >> byteShift) }
func (t tag) atomic() bool        { return t&atomicBit != 0 }
func (t tag) overlaps(u tag) bool { return t&u>>byteShift != 0 }

func makeTag(agent, lane, pc int, clock, bytes uint32) tag {
	return tag(bytes)<<byteShift | tag(pc)<<pcShift | tag(agent)<<agentShft | tag(lane)<<laneShift | tag(clock)
}

const (
	whoMask   = tag(4095)<<agentShft | clockMask // agent and clock
	lanesMask = tag(63) << laneShift
)

// cell is the shadow of a word, or of sixteen bytes of shared memory (see quads).
type cell struct{ w, r, r2 tag }

// agentKind says what an agent stands for.
type agentKind uint8

const (
	agentWarp    agentKind = iota
	agentCopy              // cp.async of a warp
	agentMMA               // wgmma of a warp
	agentBulk              // bulk copies out of shared memory, of a warp
	agentBarrier           // an mbarrier: the TMA copies that signal it
)

const maxBarriers = 64 // mbarriers of one block with an agent each

// agents of a block: four kinds for each warp, then its mbarriers.
func (l *launch) agentsPerCTA() int {
	n := 4 * l.warps
	if l.Kernel.barriers {
		n += maxBarriers
	}
	return n
}

func (c *cta) agent(kind agentKind, i int) int {
	if kind == agentBarrier {
		return c.rank*c.g.l.agents + 4*c.g.l.warps + i
	}
	return c.rank*c.g.l.agents + int(kind)*c.g.l.warps + i
}

// agentOf reverses agent.
func (g *group) agentOf(a int) (kind agentKind, c *cta, i int) {
	c = g.ctas[a/g.l.agents]
	a %= g.l.agents
	if a >= 4*g.l.warps {
		return agentBarrier, c, a - 4*g.l.warps
	}
	return agentKind(a / g.l.warps), c, a % g.l.warps
}

// accessOf describes the access that a tag stands for.
func (g *group) accessOf(t tag, what string) *Access {
	kind, c, i := g.agentOf(t.agent())
	in := g.l.Kernel.code[t.pc()].in
	a := &Access{Line: in.Pos.Line, Source: in.String(), Block: c.id, What: what}
	switch kind {
	case agentWarp:
	case agentCopy:
		a.What = "cp.async " + what
	case agentMMA:
		a.What = "wgmma " + what
	case agentBulk:
		a.What = "bulk copy " + what
	case agentBarrier:
		a.What, i = "TMA "+what, 0
	}
	lane := t.lane()
	if lane >= laneMixed {
		a.Lanes, lane = true, 0
	}
	a.Thread = c.warps[i].thread(lane)
	return a
}

// ordered reports whether the access behind t happens before what lane of w
// does now.
func (w *warp) ordered(t tag, lane int) bool {
	if t.clock() <= w.vc[t.agent()] {
		return true
	}
	a := t.agent()
	if a == w.agent || a == w.copyAgent && t.clock() <= w.copyDone {
		return t.lane() == lane || t.lane() == laneMixed
	}
	return false
}

// visible is ordered for reads through the async proxy: a generic write must
// have passed a proxy fence.
func (w *warp) visible(t tag) bool {
	if kind := w.g.kinds[t.agent()]; kind == agentWarp || kind == agentCopy {
		return t.clock() <= w.pvc[t.agent()]
	}
	return true
}

// how an access is checked.
type how struct {
	tag  tag // of the access, bytes left out
	lane int // for ordered
}

// read checks and notes a read of some bytes of a word. It returns the tag that
// it conflicts with, or 0.
func (w *warp) read(cl *cell, h how, bytes uint32) tag {
	if cl.w == splitCell {
		return w.eachByte(cl, h, bytes, (*warp).read)
	}
	t := h.tag | tag(bytes)<<byteShift
	if cl.w != 0 && cl.w.overlaps(t) && (!t.atomic() || !cl.w.atomic()) && !w.ordered(cl.w, h.lane) {
		return cl.w
	}
	switch {
	case cl.r == 0:
		cl.r = t
	case (cl.r^t)&(whoMask|atomicBit) == 0:
		if (cl.r^t)&lanesMask != 0 {
			t = t.mixed()
		}
		cl.r = t | cl.r&(15<<byteShift)
	case cl.r.agent() == t.agent() && cl.r.bytes()&^bytes == 0:
		cl.r = t
	default:
		cl.r2, cl.r = cl.r, t
	}
	return 0
}

// write is read for writes.
func (w *warp) write(cl *cell, h how, bytes uint32) tag {
	if cl.w == splitCell {
		return w.eachByte(cl, h, bytes, (*warp).write)
	}
	t := h.tag | tag(bytes)<<byteShift
	both := t.atomic()
	if old := cl.w; old != 0 {
		if old.overlaps(t) && (!both || !old.atomic()) && !w.ordered(old, h.lane) && !sameStore(old, t) {
			return old
		}
		if old.bytes()&^bytes != 0 { // some bytes keep their older write
			if (old^t)&(whoMask|atomicBit) != 0 {
				w.split(cl)
				return w.write(cl, h, bytes)
			}
			if (old^t)&lanesMask != 0 {
				t = t.mixed()
			}
			t |= old & (15 << byteShift)
		}
	}
	for _, r := range [2]*tag{&cl.r, &cl.r2} {
		if *r == 0 {
			continue
		}
		if r.overlaps(tag(bytes)<<byteShift) && (!both || !r.atomic()) && !w.ordered(*r, h.lane) {
			return *r
		}
		if r.bytes()&^bytes == 0 {
			*r = 0
		}
	}
	cl.w = t
	return 0
}

// readWords is read for a run of whole words, n of each lane, as far as they are
// what words usually are: last written before now by the clock alone, whatever lane
// asks, by a write of which the bits in mask are want. It returns how many it has
// noted; the next is for read. The tag is of the first lane and has all four bytes.
func (w *warp) readWords(cells []cell, t tag, n int, mask, want tag) int {
	for i, left := 0, n; i < len(cells); i, left = i+1, left-1 {
		if left == 0 {
			t, left = t+1<<laneShift, n
		}
		if left >= 4 && len(cells)-i >= 4 && w.readFour((*[4]cell)(cells[i:]), t, mask, want) {
			i, left = i+3, left-3
			continue
		}
		if !w.readWord(&cells[i], t, mask, want) {
			return i
		}
	}
	return len(cells)
}

// readWord is readWords for one word.
func (w *warp) readWord(cl *cell, t tag, mask, want tag) bool {
	if a := cl.w.agent(); a >= len(w.vc) || cl.w.clock() > w.vc[a] || cl.w&mask != want {
		return false
	}
	switch d := cl.r ^ t; {
	case d&(whoMask|atomicBit|lanesMask) == 0, cl.r == 0:
		cl.r = t
	case d&(whoMask|atomicBit) == 0:
		cl.r = t.mixed()
	case d&(4095<<agentShft) == 0:
		cl.r = t
	default:
		cl.r2, cl.r = cl.r, t
	}
	return true
}

// readFour is readWords for four words of one lane that have the same history, and
// reports false where they have not.
func (w *warp) readFour(c *[4]cell, t tag, mask, want tag) bool {
	wr, r := c[0].w, c[0].r
	a := wr.agent()
	if ((wr^c[1].w)|(wr^c[2].w)|(wr^c[3].w))&(mask|whoMask) != 0 || (r^c[1].r)|(r^c[2].r)|(r^c[3].r) != 0 ||
		a >= len(w.vc) || wr.clock() > w.vc[a] || wr&mask != want {
		return false
	}
	switch d := r ^ t; {
	case r == 0 || d&(whoMask|atomicBit|lanesMask) == 0:
	case d&(whoMask|atomicBit) == 0:
		t = t.mixed()
	case d&(4095<<agentShft) != 0:
		c[0].r2, c[1].r2, c[2].r2, c[3].r2 = r, r, r, r
	}
	c[0].r, c[1].r, c[2].r, c[3].r = t, t, t, t
	return true
}

// writeWords is write for a run of whole words, n of each lane, as far as all that
// was done to them is before now by the clock, or was done by the same lane. It
// returns how many it has noted; the next is for write.
func (w *warp) writeWords(cells []cell, t tag, n int) int {
	for i, left := 0, n; i < len(cells); i, left = i+1, left-1 {
		if left == 0 {
			t, left = t+1<<laneShift, n
		}
		if left >= 4 && len(cells)-i >= 4 && w.writeFour((*[4]cell)(cells[i:]), t) {
			i, left = i+3, left-3
			continue
		}
		if !w.writeWord(&cells[i], t) {
			return i
		}
	}
	return len(cells)
}

// writeWord is writeWords for one word.
func (w *warp) writeWord(cl *cell, t tag) bool {
	if !w.past(cl.w, t) || !w.past(cl.r, t) || !w.past(cl.r2, t) {
		return false
	}
	*cl = cell{w: t}
	return true
}

// writeFour is writeWords for four words of one lane that have the same history, and
// reports false where they have not.
func (w *warp) writeFour(c *[4]cell, t tag) bool {
	w0, r, r2 := c[0].w, c[0].r, c[0].r2
	if (w0^c[1].w)|(w0^c[2].w)|(w0^c[3].w)|(r^c[1].r)|(r^c[2].r)|(r^c[3].r)|(r2^c[1].r2)|(r2^c[2].r2)|(r2^c[3].r2) != 0 ||
		!w.past(w0, t) || !w.past(r, t) || !w.past(r2, t) {
		return false
	}
	to := cell{w: t}
	*c = [4]cell{to, to, to, to}
	return true
}

// past is ordered, but for copies that the lane has waited for and for splitCell,
// which are never past.
func (w *warp) past(old, t tag) bool {
	a := old.agent()
	return a < len(w.vc) && (old.clock() <= w.vc[a] || a == w.agent && (old^t)&lanesMask == 0)
}

// mixed is the tag of several lanes.
func (t tag) mixed() tag { return t&^lanesMask | laneMixed<<laneShift }

// sameStore reports whether two writes are lanes of one store, whose values
// storeConflict has found equal. (The same store in an earlier turn of a loop
// looks alike.)
func sameStore(a, b tag) bool {
	return (a^b)&(whoMask|tag(maxPC-1)<<pcShift) == 0
}

// split gives each byte of a word a cell of its own.
func (w *warp) split(cl *cell) {
	var b [4]cell
	for i := range b {
		for _, p := range [3][2]*tag{{&cl.w, &b[i].w}, {&cl.r, &b[i].r}, {&cl.r2, &b[i].r2}} {
			if p[0].bytes()>>i&1 != 0 {
				*p[1] = *p[0]&^(15<<byteShift) | 15<<byteShift
			}
		}
	}
	w.g.bytes[cl] = &b
	*cl = cell{w: splitCell}
}

func (w *warp) eachByte(cl *cell, h how, bytes uint32, f func(*warp, *cell, how, uint32) tag) tag {
	b := w.g.bytes[cl]
	for i := range b {
		if bytes>>i&1 != 0 {
			if t := f(w, &b[i], h, 15); t != 0 {
				return t
			}
		}
	}
	return 0
}

// lastWrites calls f for the tags of the writes to some bytes of a word.
func (g *group) lastWrites(cl *cell, bytes uint32, f func(tag)) {
	if cl.w == splitCell {
		for i, b := range g.bytes[cl] {
			if bytes>>i&1 != 0 && b.w != 0 {
				f(b.w)
			}
		}
	} else if cl.w != 0 && cl.w.bytes()&bytes != 0 {
		f(cl.w)
	}
}

// The shadow of shared memory. Most of what tensor kernels do to it comes in quads, the
// sixteen bytes of a vector, a row of a matrix or a piece of a copy: a quad has one cell
// until its words come to differ.

// words returns the cells of n words, whose quads have cells for each word now.
func (c *cta) words(off uint32, n int) []cell {
	from := int(off / 4)
	for k := from / 4; k <= (from+n-1)/4; k++ {
		if c.quads[k].w != splitCell {
			c.part(k)
		}
	}
	return c.cells[from:][:n]
}

// part gives the words of a quad their cells.
func (c *cta) part(k int) {
	q := &c.quads[k]
	*(*[4]cell)(c.cells[4*k:]) = [4]cell{*q, *q, *q, *q}
	*q = cell{w: splitCell}
	c.memory.written[16*k/sharedBlock] = true
}

// cellAt returns the cell of the word at off and how many bytes from there on it is for.
func (c *cta) cellAt(off uint32) (*cell, uint32) {
	if q := &c.quads[off/16]; q.w != splitCell {
		return q, 16 - off%16
	}
	return &c.cells[off/4], 4
}

// readQuads is readWords for n bytes of shared memory, whole quads. It returns how many
// it has noted.
func (w *warp) readQuads(c *cta, off, n uint32, t tag) (done uint32) {
	for ; done < n; done += 16 {
		k := (off + done) / 16
		if q := &c.quads[k]; q.w == splitCell {
			if i := w.readWords(c.cells[4*k:][:4], t, 4, wholeWord, wholeWord); i < 4 {
				return done + 4*uint32(i)
			}
		} else if !w.readWord(q, t, wholeWord, wholeWord) {
			break
		}
	}
	return done
}

// writeQuads is writeWords for n bytes of shared memory, whole quads, whose words are
// alike then. It returns how many it has noted.
func (w *warp) writeQuads(c *cta, off, n uint32, t tag) (done uint32) {
	for ; done < n; done += 16 {
		k := (off + done) / 16
		if q := &c.quads[k]; q.w == splitCell {
			if i := w.writeWords(c.cells[4*k:][:4], t, 4); i < 4 {
				return done + 4*uint32(i)
			}
			*q = cell{w: t}
		} else if !w.writeWord(q, t) {
			break
		}
	}
	return done
}

// Vector clocks.

func join(dst, src []uint32) {
	src = src[:len(dst)]
	joinRow(dst, src)
}

// behind reports whether nothing in a is later than in b.
func behind(a, b []uint32) bool {
	b = b[:len(a)]
	for i, v := range a {
		if v > b[i] {
			return false
		}
	}
	return true
}

// clocks is a vector clock that a synchronisation object carries, with its
// twin for what has passed a proxy fence.
type clocks struct{ vc, pvc []uint32 }

func (g *group) newClocks() clocks {
	n := g.l.agents * len(g.ctas)
	c := clocks{vc: make([]uint32, n)}
	if g.l.Kernel.asyncProxy {
		c.pvc = make([]uint32, n)
	}
	return c
}

func (c *clocks) reset() {
	clear(c.vc)
	clear(c.pvc)
}

func (c *clocks) join(o *clocks) {
	join(c.vc, o.vc)
	if c.pvc != nil {
		join(c.pvc, o.pvc)
	}
}

// release adds what w has done so far to a synchronisation object.
func (w *warp) release(s *clocks) {
	if w.vc == nil {
		return
	}
	w.tick()
	join(s.vc, w.vc)
	if s.pvc != nil {
		join(s.pvc, w.pvc)
	}
}

// acquire orders w behind what was released to s.
func (w *warp) acquire(s *clocks) {
	if w.vc == nil {
		return
	}
	join(w.vc, s.vc)
	if s.pvc != nil {
		join(w.pvc, s.pvc)
	}
	w.vc[w.agent] = w.clock - 1
}

// tick begins a new time for w: all that it did before is in its own past, for
// all its lanes.
func (w *warp) tick() {
	if w.vc == nil {
		return
	}
	w.vc[w.agent] = w.clock
	w.vc[w.copyAgent] = max(w.vc[w.copyAgent], w.copyDone)
	if w.clock++; w.clock == clockMask {
		w.trap(StepLimit, nil, 0, "more barriers than the checks can count (%d)", clockMask)
	}
}

// proxyFence makes what is ordered before w visible to the async proxy.
func (w *warp) proxyFence() {
	if w.pvc == nil {
		return
	}
	w.tick()
	join(w.pvc, w.vc)
}
