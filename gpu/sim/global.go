package sim

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// The shadow of global memory. A cluster keeps cells for the pages that it
// touches; when it ends, or releases something with a fence and an atomic, the
// cells go into the launch's shadow, where clusters meet. There an access
// conflicts with any other cluster's to the same byte of which one writes,
// unless the later cluster has acquired what the earlier one released.

const (
	pageBytes = 1024
	pageWords = pageBytes / 4
)

// page is a cluster's shadow of 1 KiB. What whole warps do to a line of it, lane
// after lane, is noted once for the line, until something else touches it: then the
// line's words have their cells.
type page struct {
	key   uint64 // address / pageBytes
	lines [pageBytes / lineBytes]line
	apart uint16           // a bit for each line whose words have cells
	cells *[pageWords]cell // nil while no line had any
}

const (
	lineBytes = 64 // that half a warp loads or stores at once, a word each lane
	lineWords = lineBytes / 4
)

// line is the shadow of words that lanes accessed in their order.
type line struct{ w, r, r2 run }

// run is a tag for each word of a line: the lane counts up after every n words; n
// of 0 stands for one tag for all.
type run struct {
	tag tag
	n   uint8
}

func (u run) at(word int) tag {
	if u.n <= 1 {
		return u.tag + tag(word*int(u.n))<<laneShift
	}
	return u.tag + tag(word/int(u.n))<<laneShift
}

// note is read or write.
func (l *line) note(w *warp, t tag, n int, write, nc bool) bool {
	if write {
		return l.write(w, t, n)
	}
	return l.read(w, t, n, nc)
}

// read is warp.readWords for a whole line, t being the tag of its first lane, and
// reports false where it must be done word by word.
func (l *line) read(w *warp, t tag, n int, nc bool) bool {
	u := run{t, uint8(n)}
	if l.w.tag != 0 && (nc || !l.w.past(w, u)) {
		return false
	}
	r := &l.r
	switch d := r.tag ^ t; {
	case r.tag == 0, d&(4095<<agentShft) == 0 && d&(whoMask|atomicBit) != 0, d&(whoMask|atomicBit|lanesMask) == 0 && r.n == u.n:
		*r = u
	case d&(4095<<agentShft) != 0:
		l.r2, *r = *r, u
	case r.n == u.n, r.tag.lane() == laneMixed: // other lanes, each of them
		*r = run{t.mixed(), 0}
	default:
		return false
	}
	return true
}

// write is warp.writeWords for a whole line.
func (l *line) write(w *warp, t tag, n int) bool {
	u := run{t, uint8(n)}
	if !l.w.past(w, u) || !l.r.past(w, u) || !l.r2.past(w, u) {
		return false
	}
	*l = line{w: u}
	return true
}

// past is warp.past for a line.
func (u run) past(w *warp, t run) bool {
	a := u.tag.agent()
	return a < len(w.vc) && (u.tag.clock() <= w.vc[a] || a == w.agent && (u.tag^t.tag)&lanesMask == 0 && u.n == t.n)
}

// words returns n cells, in no more than the page, whose lines have cells now.
func (p *page) words(at uint64, n int) []cell {
	from := int(at / 4 % pageWords)
	for k := from / lineWords; k <= (from+n-1)/lineWords; k++ {
		if p.apart>>k&1 == 0 {
			p.part(k)
		}
	}
	return p.cells[from:][:n]
}

// part gives the words of a line their cells.
func (p *page) part(k int) {
	if p.cells == nil {
		p.cells = new([pageWords]cell)
	}
	p.apart |= 1 << k
	l := &p.lines[k]
	cells := p.cells[k*lineWords:][:lineWords]
	if l.w.tag|l.r.tag == 0 {
		clear(cells)
		return
	}
	for i := range cells {
		cells[i] = l.cell(i)
	}
}

func (l *line) cell(i int) cell { return cell{l.w.at(i), l.r.at(i), l.r2.at(i)} }

// pageOf returns the page that holds an address.
func (g *group) pageOf(addr uint64) *page {
	key := addr / pageBytes
	slot := &g.cache[key%uint64(len(g.cache))]
	if *slot != nil && (*slot).key == key {
		return *slot
	}
	p := g.pages[key]
	if p == nil {
		if len(g.spare) == 0 {
			g.spare = g.l.dev.scratch.takePages()
		}
		n := len(g.spare)
		p, g.spare = g.spare[n-1], g.spare[:n-1]
		*p = page{key: key, cells: p.cells}
		g.pages[key] = p
	}
	*slot = p
	return p
}

func (g *group) cellAt(addr uint64) *cell {
	return &g.pageOf(addr).words(addr, 1)[0]
}

// mark is the last access of one kind that clusters know of.
type mark struct {
	cluster int32 // index + 1, 0 for none
	segment int32 // how often that cluster had released before
	info    uint32
}

// The bits of mark.info; the PC stands below.
const (
	markAtomic  = 1 << 31
	markSeveral = 1 << 30 // by several clusters
	markBytes   = 23      // shift of the bytes of the word
)

// sharedCell is the launch's shadow of a word. One that clusters share byte by
// byte has bytesApart for its writer, and stands in globalShadow.bytes.
type sharedCell struct{ w, r mark }

const bytesApart = -1

// sharedPage is the launch's shadow of 1 KiB. While one cluster alone has
// touched it, it is that cluster's page as it was.
type sharedPage struct {
	owner   int // cluster
	segment int32
	page    *page
	lines   *sharedLines // nil while there is an owner
}

// sharedLines are the cells of a page: one for a line until its words come to differ.
type sharedLines struct {
	whole [pageBytes / lineBytes]sharedCell
	apart uint16                 // a bit for each line whose words have cells
	cells *[pageWords]sharedCell // nil while no line had any
}

// words returns the cells of a line's words, which they have now.
func (q *sharedLines) words(k int) []sharedCell {
	if q.cells == nil {
		q.cells = new([pageWords]sharedCell)
	}
	cells := q.cells[k*lineWords:][:lineWords]
	if q.apart>>k&1 == 0 {
		q.apart |= 1 << k
		for i := range cells {
			cells[i] = q.whole[k]
		}
	}
	return cells
}

// cell is the shadow of a word.
func (q *sharedLines) cell(word int) *sharedCell {
	if k := word / lineWords; q.apart>>k&1 == 0 {
		return &q.whole[k]
	}
	return &q.cells[word]
}

type globalShadow struct {
	mu    sync.Mutex
	pages map[uint64]*sharedPage
	bytes map[uint64]*[4]sharedCell  // by address of the word
	sync  map[uint64]map[int32]int32 // atomics: what was released there, cluster -> segment

	merged map[int32]bool             // clusters that something was merged of
	bare   map[uint64]map[int32]int32 // atomics without a fence before them: cluster -> PC
}

// mostHints is how many addresses are kept to name a missing fence by.
const mostHints = 1 << 12

// signalled notes an atomic or strong store that releases nothing.
func (s *globalShadow) signalled(addr uint64, cluster, pc int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.bare[addr]
	if m == nil {
		if len(s.bare) >= mostHints {
			return
		}
		m = map[int32]int32{}
		s.bare[addr] = m
	}
	m[cluster] = pc
}

func newGlobalShadow() *globalShadow {
	return &globalShadow{
		pages: map[uint64]*sharedPage{}, bytes: map[uint64]*[4]sharedCell{}, sync: map[uint64]map[int32]int32{},
		merged: map[int32]bool{}, bare: map[uint64]map[int32]int32{},
	}
}

// flush moves a cluster's cells into the launch's shadow, and reports the first
// conflict with another cluster.
func (g *group) flush() *Report {
	s := g.l.shadow
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *Report
	s.merged[int32(g.idx)+1] = true
	for _, key := range slices.Sorted(maps.Keys(g.pages)) {
		p, q := g.pages[key], s.pages[key]
		if q == nil && len(g.bytes) == 0 {
			s.pages[key] = &sharedPage{owner: g.idx, segment: g.segment, page: p}
			continue
		}
		if q == nil {
			q = &sharedPage{lines: new(sharedLines)}
			s.pages[key] = q
		}
		if q.page != nil { // two clusters now
			q.lines = new(sharedLines)
			first := merger{g: g, s: s, cluster: int32(q.owner) + 1, segment: q.segment, found: new(*Report)}
			first.page(q.page, q.lines)
			g.spare = append(g.spare, q.page)
			q.page = nil
		}
		m := merger{g: g, s: s, cluster: int32(g.idx) + 1, segment: g.segment, found: &found}
		m.page(p, q.lines)
		g.spare = append(g.spare, p)
	}
	clear(g.pages)
	clear(g.cache[:])
	if g.l.dev.ignores(Race) {
		return nil
	}
	return found
}

// merger adds what one cluster did to the launch's shadow.
type merger struct {
	g       *group
	s       *globalShadow
	cluster int32 // + 1
	segment int32
	found   **Report
}

// page merges a page.
func (m *merger) page(p *page, q *sharedLines) {
	for k := range p.lines {
		l := &p.lines[k]
		switch {
		case p.apart>>k&1 == 0 && l.w.tag|l.r.tag == 0:
		case p.apart>>k&1 == 0 && q.apart>>k&1 == 0: // its first word stands for all
			cl := l.cell(0)
			m.mergeWord(&q.whole[k], &cl, p.key*pageBytes+uint64(k*lineBytes))
		default:
			m.words(p.words(uint64(k*lineBytes), lineWords), q.words(k), p.key*pageBytes+uint64(k*lineBytes))
		}
	}
}

// words merges the words of a line.
func (m *merger) words(cells []cell, q []sharedCell, at uint64) {
	for i := range cells {
		cl := &cells[i]
		switch at := at + uint64(4*i); {
		case cl.w|cl.r == 0:
		case cl.w == splitCell:
			for b, c := range m.g.bytes[cl] {
				m.merge(&q[i], &c, 1<<b, at)
			}
			delete(m.g.bytes, cl)
		default:
			m.mergeWord(&q[i], cl, at)
		}
	}
}

// mergeWord adds the cell of a whole word.
func (m *merger) mergeWord(sc *sharedCell, cl *cell, at uint64) {
	if cl.w == 0 && cl.r.bytes() == 15 && (cl.r2 == 0 || !cl.r2.atomic()) && m.noteRead(sc, cl.r) {
		return
	}
	m.merge(sc, cl, 15, at)
}

// noteRead is note for reads of a whole word that no cluster has written, atomics
// apart; it reports false, and notes nothing, for others.
func (m *merger) noteRead(sc *sharedCell, t tag) bool {
	if sc.w.cluster != 0 || t.atomic() {
		return false
	}
	info := 15<<markBytes | uint32(t.pc()) | sc.r.info&markSeveral
	if sc.r.cluster != 0 && sc.r.cluster != m.cluster {
		info |= markSeveral
	}
	sc.r = mark{m.cluster, m.segment, info}
	return true
}

// merge adds one cell, of which only some bytes count.
func (m *merger) merge(sc *sharedCell, cl *cell, only uint32, at uint64) {
	for k, t := range [3]tag{cl.r2, cl.r, cl.w} {
		bytes := t.bytes() & only
		if t == 0 || bytes == 0 {
			continue
		}
		others := sc.w.cluster != 0 && sc.w.cluster != m.cluster || sc.r.cluster != 0 && sc.r.cluster != m.cluster
		if sc.w.cluster != bytesApart && bytes != 15 && others {
			m.s.bytes[at] = sc.split()
		}
		if sc.w.cluster != bytesApart {
			m.note(sc, t, k == 2, bytes, at)
			continue
		}
		apart := m.s.bytes[at]
		for b := range apart {
			if bytes>>b&1 != 0 {
				m.note(&apart[b], t, k == 2, 15, at)
			}
		}
	}
}

// split gives every byte its own shadow.
func (sc *sharedCell) split() *[4]sharedCell {
	var b [4]sharedCell
	for i := range b {
		for _, p := range [2][2]*mark{{&sc.w, &b[i].w}, {&sc.r, &b[i].r}} {
			if p[0].info>>(markBytes+i)&1 != 0 {
				*p[1] = *p[0]
				p[1].info |= 15 << markBytes
			}
		}
	}
	*sc = sharedCell{w: mark{cluster: bytesApart}}
	return &b
}

// note checks one access against what other clusters did, and marks it.
func (m *merger) note(sc *sharedCell, t tag, isWrite bool, bytes uint32, at uint64) {
	switch {
	case *m.found != nil:
	case m.unordered(&sc.w, t, bytes):
		*m.found = m.g.crossReport(t, isWrite, at, &sc.w, "write")
	case isWrite && m.unordered(&sc.r, t, bytes):
		*m.found = m.g.crossReport(t, isWrite, at, &sc.r, "read")
	}
	old := &sc.r
	if isWrite {
		old = &sc.w
	}
	info := bytes<<markBytes | uint32(t.pc())
	if t.atomic() {
		info |= markAtomic
	}
	switch {
	case old.cluster != 0 && (!isWrite || t.atomic()): // does not replace the older one
		info |= old.info & (15<<markBytes | markSeveral)
		if old.cluster != m.cluster {
			info |= markSeveral
		}
		if old.info&markAtomic == 0 {
			info &^= markAtomic
		}
	case old.cluster == m.cluster:
		info |= old.info & (15 << markBytes)
	}
	*old = mark{m.cluster, m.segment, info}
}

// unordered reports whether what old stands for conflicts with an access of
// this cluster to the same bytes.
func (m *merger) unordered(old *mark, t tag, bytes uint32) bool {
	switch {
	case old.cluster == 0 || old.info>>markBytes&15&bytes == 0 || t.atomic() && old.info&markAtomic != 0:
		return false
	case old.info&markSeveral != 0: // wants to have heard from every cluster that was merged
		for c := range m.s.merged {
			if _, ok := m.g.seen[c]; !ok && c != m.cluster {
				return true
			}
		}
		return false
	case old.cluster == m.cluster:
		return false
	}
	s, ok := m.g.seen[old.cluster]
	return !ok || s < old.segment
}

func (g *group) crossReport(t tag, isWrite bool, at uint64, m *mark, oldWhat string) *Report {
	what := "read"
	if isWrite {
		what = "write"
	}
	mine := g.accessOf(t, what)
	o := &g.l.Kernel.code[t.pc()]
	w := g.ctas[0].warps[0]
	r := w.report(Race, o, 0, "%s of %s is not ordered with a %s by another block: blocks run in any order",
		what, g.l.dev.mem.where(at), oldWhat)
	r.Block, r.Thread = mine.Block, mine.Thread
	in := g.l.Kernel.code[m.info&(maxPC-1)].in
	r.Other = &Access{What: oldWhat, Line: in.Pos.Line, Source: in.String(), Lanes: true, Block: g.l.blockOf(int(m.cluster)-1, 0)}
	if hint := g.missingFence(m.cluster); hint != "" {
		r.Msg += "; " + hint
	}
	return r
}

// missingFence says which fence would have ordered this cluster behind another, if they
// met in an atomic that has none.
func (g *group) missingFence(other int32) string {
	line := func(pc int32) string {
		in := g.l.Kernel.code[pc].in
		return fmt.Sprintf("the %s at line %d", in.Op, in.Pos.Line)
	}
	const fence = "(__threadfence(), membar.gl or fence.acq_rel.gpu)"
	for _, addr := range slices.Sorted(maps.Keys(g.asked)) {
		pc := g.asked[addr]
		if _, ok := g.l.shadow.sync[addr][other]; ok {
			return fmt.Sprintf("%s meets the other block, but no fence %s stands between it and this access", line(pc), fence)
		}
		if from, ok := g.l.shadow.bare[addr][other]; ok {
			return fmt.Sprintf("%s meets the other block, but there no fence %s stands between the %s and %s", line(pc), fence, "access", line(from))
		}
	}
	return ""
}

// releaseGlobal publishes at an atomic's address what this cluster did before
// its fence; acquireGlobal learns it, and reports whether it is news.
func (g *group) releaseGlobal(addr uint64) *Report {
	r := g.flush()
	s := g.l.shadow
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.sync[addr]
	if m == nil {
		m = map[int32]int32{}
		s.sync[addr] = m
	}
	for c, seg := range g.seen {
		m[c] = max(m[c], seg)
	}
	m[int32(g.idx)+1] = g.segment
	g.segment++
	return r
}

func (g *group) acquireGlobal(o *op, addr uint64, into map[int32]int32) (news bool) {
	s := g.l.shadow
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(g.asked) < mostHints {
		g.asked[addr] = o.pc
	}
	for c, seg := range s.sync[addr] {
		if old, ok := g.seen[c]; ok && old >= seg {
			continue
		}
		news = true
		if old, ok := into[c]; !ok || old < seg {
			into[c] = seg
		}
	}
	return news
}

// history is what launches have touched that may still run when a dependent one
// begins: all since the last that did not depend, for each of them may have begun
// before the one ahead of it had ended.
type history map[uint64]*touched // by address / pageBytes

// touched has a bit for each word of a page.
type touched struct{ written, read [pageWords / 64]uint64 }

// history is what a launch that begins now must wait for itself; nil if it does
// not depend.
func (d *Device) history(dependent bool) history {
	switch {
	case !dependent:
		d.before = nil
	case d.last != nil:
		if d.before == nil {
			d.before = history{}
		}
		d.before.add(d.last)
	}
	return d.before
}

// add notes a launch.
func (h history) add(s *globalShadow) {
	for key, p := range s.pages {
		t := h[key]
		if t == nil {
			t = &touched{}
			h[key] = t
		}
		for k := range pageBytes / lineBytes {
			if w, r, all := p.line(k); all {
				t.note(k*lineWords, lineWords, w, r)
				continue
			}
			for i := k * lineWords; i < (k+1)*lineWords; i++ {
				w, r := p.word(i)
				t.note(i, 1, w, r)
			}
		}
	}
}

// line reports whether a line was written and read, if that holds for all of its words
// alike.
func (p *sharedPage) line(k int) (written, read, all bool) {
	if p.page != nil {
		l := &p.page.lines[k]
		return l.w.tag != 0, l.r.tag != 0, p.page.apart>>k&1 == 0
	}
	c := &p.lines.whole[k]
	return c.w.cluster != 0, c.r.cluster != 0, p.lines.apart>>k&1 == 0
}

// word is line for a word of a line that is apart.
func (p *sharedPage) word(i int) (written, read bool) {
	if p.page != nil {
		c := &p.page.cells[i]
		return c.w != 0, c.r != 0 || c.w == splitCell
	}
	c := &p.lines.cells[i]
	return c.w.cluster != 0, c.r.cluster != 0 || c.w.cluster == bytesApart
}

// note adds n words from one on, of 64 that share a word of bits.
func (t *touched) note(from, n int, written, read bool) {
	m := (uint64(1)<<n - 1) << (from % 64)
	if written {
		t.written[from/64] |= m
	}
	if read {
		t.read[from/64] |= m
	}
}

// clean reports whether n bytes were not written, nor read if they are to be written now.
func (h history) clean(addr, n uint64, write bool) bool {
	for end := addr + n; addr < end; {
		next := min(end, (addr/256+1)*256) // as far as one word of bits goes
		if t := h[addr/pageBytes]; t != nil {
			i := addr % pageBytes / 256
			m := ^uint64(0) << (addr % 256 / 4) & (^uint64(0) >> (63 - (next-1)%256/4))
			if t.written[i]&m != 0 || write && t.read[i]&m != 0 {
				return false
			}
		}
		addr = next
	}
	return true
}

// of reports whether a word was written or read.
func (h history) of(addr uint64) (written, read bool) {
	t := h[addr/pageBytes]
	if t == nil {
		return false, false
	}
	i := addr / 4 % pageWords
	return t.written[i/64]>>(i%64)&1 != 0, t.read[i/64]>>(i%64)&1 != 0
}
