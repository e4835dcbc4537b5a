package picture

import (
	"slices"
	"sync"
)

// Crop is the part of a picture that lies w by h pixels from (left, top), upright. It
// shares the pixels, and has the hash of the whole file.
func (s *Source) Crop(left, top, w, h int) *Source {
	c := *s
	c.left, c.top, c.W, c.H = s.left+left, s.top+top, w, h
	if s.kept != nil {
		c.kept = &resized{}
	}
	return &c
}

// Keep has Resize remember what it makes: what was resized ahead, by another
// goroutine, costs nothing when it is needed.
func (s *Source) Keep() {
	if s.kept == nil {
		s.kept = &resized{}
	}
}

// resized are the pictures that were made of a source. Several goroutines may ask.
type resized struct {
	mu   sync.Mutex
	made []made
}

type made struct {
	w, h   int
	radius float64 // with what follows it tells the filters apart
	anti   bool
	p      *Picture
}

// resize gives a copy, which its user may write to.
func (r *resized) resize(w, h int, f Filter, do func(w, h int, f Filter) *Picture) *Picture {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.made, func(m made) bool {
		return m.w == w && m.h == h && m.radius == f.radius && m.anti == f.antialias
	})
	if i < 0 {
		i = len(r.made)
		r.made = append(r.made, made{w, h, f.radius, f.antialias, do(w, h, f)})
	}
	p := *r.made[i].p
	p.RGB, p.Alpha = slices.Clone(p.RGB), slices.Clone(p.Alpha)
	return &p
}
