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
}

const (
	mostPages  = 1 << 14 // 100 MB
	pagesAtOne = 32      // that a cluster takes at a time
)

// ctaMemory is what a block needs: shared memory with its shadow, and the
// registers of its warps.
type ctaMemory struct {
	smem, init []byte
	cells      []cell
	r          [][32]uint32
	q          [][32]uint64
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
	s.ctas = s.ctas[:n-1]
	return m
}

// give takes back what a launch's workers had.
func (s *scratch) give(groups []*group) {
	for _, g := range groups {
		s.givePages(g.spare)
		for _, c := range g.ctas {
			s.ctas = append(s.ctas, c.memory)
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
