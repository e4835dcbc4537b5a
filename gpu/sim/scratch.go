package sim

import (
	"slices"
	"sync"
)

// scratch is memory that the launches of a device hand on to one another: it is
// large, and to allocate it for each would keep the collector busy.
type scratch struct {
	mu    sync.Mutex
	pages []*page
	ctas  []*ctaMemory
	kept  int // bytes of the registers and the shared memory of ctas
}

const (
	mostPages  = 1 << 14 // 100 MB
	pagesAtOne = 32      // that a cluster takes at a time
	mostKept   = 256 << 20
)

// ctaMemory is what a block needs: shared memory with its shadow, and the
// registers of its warps.
type ctaMemory struct {
	smem, init []byte
	quads      []cell
	cells      []cell                        // what they hold is left over where quads are whole
	written    [256 << 10 / sharedBlock]bool // of shared memory: what is not as new
	r          [][32]uint32
	q          [][32]uint64
}

// bytes are those of registers and shared memory.
func (m *ctaMemory) bytes() int { return 4*32*cap(m.r) + 8*32*cap(m.q) + 2*cap(m.smem) }

// sharedBlock is how much shared memory is made as new at once, where it was written.
const sharedBlock = 1024

// wrote notes that a block's shared memory is not as new any more.
func (m *ctaMemory) wrote(off, n uint32) {
	for b := off / sharedBlock; b <= (off+n-1)/sharedBlock; b++ {
		m.written[b] = true
	}
}

// renew makes shared memory and its shadow as new: poisoned, and not initialised.
func (m *ctaMemory) renew() {
	for b, w := range m.written {
		if !w {
			continue
		}
		m.written[b] = false
		at := b * sharedBlock
		part := func(n, per int) (from, to int) { return min(at/per, n), min((at+sharedBlock)/per, n) }
		from, to := part(len(m.smem), 1)
		poison(m.smem[from:to])
		from, to = part(len(m.init), 1)
		clear(m.init[from:to])
		from, to = part(len(m.quads), 16)
		clear(m.quads[from:to])
	}
}

// shared makes room for n bytes of shared memory with their shadow.
func (m *ctaMemory) shared(n int) {
	if old := len(m.smem); old < n+16 {
		m.smem, m.init = make([]byte, n+16), make([]byte, n)
		m.quads, m.cells = make([]cell, (n+15)/16), make([]cell, (n+15)/16*4)
		clear(m.written[:])
		poison(m.smem)
	}
}

// takePages returns some pages, at least one. What they hold is left over.
func (s *scratch) takePages() []*page {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.pages), pagesAtOne)
	if n == 0 {
		return []*page{{}}
	}
	taken := slices.Clone(s.pages[len(s.pages)-n:])
	s.pages = s.pages[:len(s.pages)-n]
	return taken
}

func (s *scratch) takeCTA() *ctaMemory {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.ctas)
	if n == 0 {
		return &ctaMemory{}
	}
	m := s.ctas[n-1]
	s.ctas[n-1], s.ctas = nil, s.ctas[:n-1]
	s.kept -= m.bytes()
	return m
}

// give takes back what a launch's workers had. Blocks that wait for each other are all there
// at once, a thousand of them; if all were kept, each would grow to what the largest kernel
// needs, 8 MB of registers for a wgmma.
func (s *scratch) give(groups []*group) {
	for _, g := range groups {
		s.givePages(g.spare)
		for _, c := range g.ctas {
			if n := c.memory.bytes(); s.kept+n <= mostKept {
				s.ctas, s.kept = append(s.ctas, c.memory), s.kept+n
			}
		}
	}
}

func (s *scratch) givePages(pages []*page) {
	s.pages = append(s.pages, pages[:max(0, min(len(pages), mostPages-len(s.pages)))]...)
}

// recycle takes the pages of a launch that no later one asks about.
func (s *scratch) recycle(shadow *globalShadow) {
	for _, p := range shadow.pages {
		if p.page != nil && len(s.pages) < mostPages {
			s.pages = append(s.pages, p.page)
		}
	}
}

// sized returns n elements of what *s has room for, and makes room. What they hold
// is left over from others.
func sized[T any](s *[]T, n int) []T {
	if cap(*s) < n {
		*s = make([]T, n)
	}
	return (*s)[:n:n]
}
