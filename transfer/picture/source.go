package picture

import (
	"image"
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

// Source is the picture as if it had been read from a file of that name and hash.
func (p *Picture) Source(path, sha256 string) *Source {
	m := &floats{pix: make([]float32, 0, 4*p.W*p.H), rect: image.Rect(0, 0, p.W, p.H), alpha: p.Alpha != nil}
	for i := range p.W * p.H {
		a := float32(1)
		if p.Alpha != nil {
			a = p.Alpha[i]
		}
		m.pix = append(m.pix, p.RGB[3*i], p.RGB[3*i+1], p.RGB[3*i+2], a)
	}
	return &Source{Path: path, SHA256: sha256, W: p.W, H: p.H, HasAlpha: m.alpha, img: m, turn: 1, bounds: m.rect}
}
