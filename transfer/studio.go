package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
)

// Studio paints many pictures on one device, each with the bits that it has alone.
// Pictures of one extent and one kind of program are painted side by side, in the
// slots of one [Session]. A picture that ends a level waits, enlarged, for a slot at
// the next; the studio works where fewest slots are free. So that lower levels are painted
// side by side, too, it takes more pictures in hand than the last level has slots for.
// A free slot is taken again without compiling, and sessions are kept for extents that
// come back.
//
// A studio is used by one goroutine.
type Studio struct {
	dev     gpu.Device
	weights *vgg.Weights
	slots   func(w, h int) int
	memory  int64

	most   int // pictures in work at once
	rooms  map[Kind]*room
	clock  int // of the rooms' last use
	styles map[styleKey]*StyleTargets
	recent []styleKey // the last one is the latest
	used   int64      // bytes on the device of all rooms
}

// keptStyles is how many targets of styles are kept at least, 2.4 MB each: else as many as two
// pictures have at all their levels.
const keptStyles = 32

// Commission is a picture for a [Studio] to paint.
type Commission struct {
	Work  Work
	Hooks Hooks // but for Checkpoint
	Tag   any   // whatever the caller wants to know it by
}

// Kind is what pictures must have in common to be painted in one session: their
// extent, and which operations their program has.
type Kind struct {
	w, h                       int
	content, style, tv         bool
	lbfgs, ofStyle, clampFirst bool
	average                    bool
	history                    int
	pooling                    vgg.Pooling
	padding                    string
	layers                     string // of the content and of the style, without their weights
	layout                     layout
}

// Kind is that of the stage.
func (s Stage) Kind() Kind {
	o := s.Options
	k := Kind{
		w: s.W, h: s.H, content: o.ContentWeight > 0, style: o.StyleWeight > 0, tv: o.TVWeight > 0,
		lbfgs: o.lbfgs(), ofStyle: o.TVOfStyle, clampFirst: o.ClampFirst, average: o.Average > 0,
		history: o.History, pooling: o.pooling(), layout: o.layout,
	}
	if o.padded() {
		k.padding = o.Padding
	}
	for _, taps := range [][]tap{o.contentTaps(), o.styleTaps()} {
		for _, t := range taps {
			k.layers += t.name() + " "
		}
		k.layers += "/ "
	}
	return k
}

// Anywhere is the kind of the same programs at any extent.
func (k Kind) Anywhere() Kind {
	k.w, k.h = 0, 0
	return k
}

// styleKey is what the targets of a style depend on.
type styleKey struct {
	sha256  string
	look    string // hash of its mask
	matched string // hash of the content whose colours it got
	extent  StyleExtent
	square  bool // how it was resized
	style   bool
	tv      float64 // of the style, else 0
	pooling vgg.Pooling
	padding bool
	layers  string
}

// room is where the pictures of a kind are painted.
type room struct {
	session  *Session
	features *features
	seats    []*seat // nil where a slot is free
	waiting  []*seat
	used     int
}

func (r *room) taken() (n int) {
	for _, s := range r.seats {
		if s != nil {
			n++
		}
	}
	return n
}

// seat is a commission in work.
type seat struct {
	*Commission
	painting *Painting
	deadline float64
}

// NewStudio has sessions of as many slots as slots says for an extent, or fewer where
// they would take more than so many bytes of the device; and it keeps sessions that
// have nobody to paint while all together take no more than that.
func NewStudio(dev gpu.Device, w *vgg.Weights, slots func(w, h int) int, memory int64) *Studio {
	return &Studio{dev: dev, weights: w, slots: slots, memory: memory, rooms: map[Kind]*room{}, styles: map[styleKey]*StyleTargets{}}
}

// Run paints what next gives, until that is nothing and all is painted. With wait
// next may take its time, for there is nothing to do; else it answers at once. done
// gets each painting when it is over, or what went wrong with it: of a picture that
// cannot be painted the error is its own, and the others go on. The painting is
// closed when done returns.
//
// A device that fails takes all along that it had: done gets a *[LostError] for each,
// and Run returns one. When ctx is done both get ctx.Err().
func (s *Studio) Run(ctx context.Context, next func(wait bool) *Commission, done func(*Commission, *Painting, error)) error {
	finish := func(at *seat, err error) {
		done(at.Commission, at.painting, err)
		if at.painting != nil {
			_ = at.painting.Close() // of a slot that is given up, or of a device that is lost
		}
	}
	for {
		busy := s.busy()
		if busy == 0 {
			s.most = 1
		}
		for ; busy < s.most; busy = s.busy() {
			c := next(busy == 0)
			if c == nil {
				break
			}
			at := &seat{Commission: c}
			p, err := NewPainting(ctx, s.dev, c.Work, nil)
			if err != nil {
				finish(at, err)
				continue
			}
			at.painting = p
			s.most = max(s.most, InHand(p.stages, s.slots))
			s.wait(at)
		}
		r := s.best()
		if r == nil {
			return ctx.Err()
		}
		if err := s.work(ctx, r, finish); err != nil {
			if ctx.Err() == nil {
				err = &LostError{Err: err}
			}
			for _, r := range s.rooms {
				for _, at := range append(slices.Clone(r.seats), r.waiting...) {
					if at != nil {
						finish(at, err)
					}
				}
				clear(r.seats)
				r.waiting = nil
			}
			return err
		}
	}
}

// Pictures of at most aheadPixels are painted up to ahead at once for the sake of their lower
// levels alone. Larger ones would take their memory for little: of 512x512 all lower levels
// are an eighth of the time, and few of them gain.
const (
	ahead       = 4
	aheadPixels = 1 << 18
)

// InHand is how many pictures of such stages a studio has in work at once: as many as the
// last stage has slots for, or a lower one.
func InHand(stages []Stage, slots func(w, h int) int) int {
	end := stages[len(stages)-1]
	n := slots(end.W, end.H)
	if end.W*end.H > aheadPixels {
		return n
	}
	for _, st := range stages {
		n = max(n, min(slots(st.W, st.H), ahead))
	}
	return n
}

// busy is how many pictures are in work.
func (s *Studio) busy() (n int) {
	for _, r := range s.rooms {
		n += r.taken() + len(r.waiting)
	}
	return n
}

// wait sends a picture to where its level is painted.
func (s *Studio) wait(at *seat) {
	k := at.painting.stages[at.painting.at.Level].Kind()
	if s.rooms[k] == nil {
		s.rooms[k] = &room{}
	}
	s.rooms[k].waiting = append(s.rooms[k].waiting, at)
}

// best is the room of whose slots the largest part is taken, since free ones are computed,
// too; of two the one that was used last, and then the smaller one. nil where nobody is left.
func (s *Studio) best() *room {
	var best *room
	most := 0.0
	keys := slices.SortedFunc(maps.Keys(s.rooms), func(a, b Kind) int { return cmp.Compare(a.w*a.h, b.w*b.h) })
	for _, k := range keys {
		r := s.rooms[k]
		slots := len(r.seats)
		if slots == 0 {
			slots = s.slotsOf(k)
		}
		part := min(float64(r.taken()+len(r.waiting))/float64(slots), 1)
		if part > most || part > 0 && part == most && r.used > best.used {
			best, most = r, part
		}
	}
	return best
}

// slotsOf is how many slots a room is opened with, where memory allows.
func (s *Studio) slotsOf(k Kind) int { return max(min(s.slots(k.w, k.h), s.most), 1) }

// work gives the room's free slots to those who wait and runs it once. An error is
// that of the device or of ctx.
func (s *Studio) work(ctx context.Context, r *room, finish func(*seat, error)) error {
	s.clock++
	r.used = s.clock
	if r.session == nil {
		if err := s.open(r); err != nil {
			if lost := s.lost(ctx, err); lost != nil {
				return lost
			}
			for _, at := range r.waiting { // of these pictures, and not of others
				finish(at, err)
			}
			r.waiting = nil
			return nil
		}
	}
	for i := range r.seats {
		for r.seats[i] == nil && len(r.waiting) > 0 {
			at := r.waiting[0]
			r.waiting = r.waiting[1:]
			if err := s.seat(ctx, r, i, at); err != nil {
				if lost := s.lost(ctx, err); lost != nil {
					r.waiting = append(r.waiting, at)
					return lost
				}
				finish(at, err)
				continue
			}
			r.seats[i] = at
		}
	}
	n := 0 // iterations for all; whoever has fewer to go stops by itself
	for _, at := range r.seats {
		if at == nil {
			continue
		}
		if m := at.painting.next(at.Hooks, at.deadline); n == 0 || m < n {
			n = m
		}
	}
	start := time.Now()
	rows, runErr := r.session.Advance(ctx, n)
	took := time.Since(start).Seconds()
	for i, at := range r.seats {
		if at == nil {
			continue
		}
		err := at.painting.took(rows[i], at.painting.clock()-took, took, nil, at.Hooks)
		if runErr == nil {
			s.onward(r, i, err, finish)
		}
	}
	return runErr
}

// onward looks what becomes of the picture in slot i after a chunk: it stays, goes
// back, climbs, or is over.
func (s *Studio) onward(r *room, i int, err error, finish func(*seat, error)) {
	at := r.seats[i]
	p, h := at.painting, at.Hooks
	if err != nil {
		r.seats[i] = nil
		finish(at, err)
		return
	}
	if p.session == nil { // it went back
		r.seats[i] = nil
		s.wait(at)
		return
	}
	if !p.levelOver(h, at.deadline) {
		if h.SaveEvery > 0 && p.at.Evaluations%h.SaveEvery == 0 {
			if err := h.Save(); err != nil {
				r.seats[i] = nil
				finish(at, err)
			}
		}
		return
	}
	r.seats[i] = nil
	if p.late() {
		p.stopped = "time"
	}
	if p.stopped != "" || p.at.Level == len(p.stages)-1 {
		finish(at, nil)
		return
	}
	if err := p.raise(); err != nil {
		finish(at, err)
		return
	}
	s.wait(at)
}

// seat gives slot i to a picture.
func (s *Studio) seat(ctx context.Context, r *room, i int, at *seat) error {
	p := at.painting
	e, err := p.entry(ctx, r.features, func(style int, content *picture.Picture) (*StyleTargets, error) {
		return s.style(ctx, p, style, content)
	})
	if err != nil {
		return err
	}
	if err := r.session.admit(i, e); err != nil {
		return err
	}
	if err := p.sit(r.session, i, true); err != nil {
		return err
	}
	at.deadline = p.deadline()
	return nil
}

// style are the targets of a style at a painting's level, kept from an earlier picture or
// new.
func (s *Studio) style(ctx context.Context, p *Painting, i int, content *picture.Picture) (*StyleTargets, error) {
	st, from := p.stages[p.at.Level], p.work.Styles[i]
	o := st.Options
	if from.File != nil {
		return p.work.targets(ctx, s.dev, st, i, content)
	}
	k := styleKey{
		sha256: from.Picture.SHA256, extent: st.Styles[i], square: o.Square, style: o.StyleWeight > 0,
		pooling: o.pooling(), padding: o.padded(), layers: st.Kind().layers,
	}
	if o.TVOfStyle {
		k.tv = o.TVWeight
	}
	known := k.sha256 != ""
	if from.Look != nil {
		k.look, known = from.Look.SHA256, known && from.Look.SHA256 != ""
	}
	if o.Colors == "match" {
		k.matched, known = p.work.Content.SHA256, known && p.work.Content.SHA256 != ""
	}
	t := s.styles[k]
	if t == nil || !known {
		var err error
		if t, err = p.work.targets(ctx, s.dev, st, i, content); err != nil {
			return nil, err
		}
	}
	s.styles[k] = t
	s.recent = append(slices.DeleteFunc(s.recent, func(r styleKey) bool { return r == k }), k)
	if len(s.recent) > max(keptStyles, 2*len(p.stages)*len(p.work.Styles)) {
		delete(s.styles, s.recent[0])
		s.recent = s.recent[1:]
	}
	return t, nil
}

// open compiles the programs of a room for which somebody waits, and closes rooms
// that nobody is in, the one that was not used for the longest time first, to have
// the memory for it.
func (s *Studio) open(r *room) error {
	p := r.waiting[0].painting
	st := p.stages[p.at.Level]
	slots, arena := s.slotsOf(st.Kind()), int64(0)
	for ; ; slots /= 2 { // fewer of large pictures
		loop, err := LoopProgram(st.Options, s.weights, slots, st.H, st.W)
		if err != nil {
			return err
		}
		plan, err := s.dev.Plan(loop)
		if err != nil {
			return err
		}
		if arena = plan.Arena; slots == 1 || arena <= s.memory {
			break
		}
	}
	for s.used+arena > s.memory {
		var oldest Kind
		found := false
		for k, o := range s.rooms {
			if o.session != nil && o.taken() == 0 && (!found || o.used < s.rooms[oldest].used) {
				oldest, found = k, true
			}
		}
		if !found {
			break
		}
		if err := s.close(s.rooms[oldest]); err != nil {
			return err
		}
		if len(s.rooms[oldest].waiting) == 0 {
			delete(s.rooms, oldest)
		}
	}
	var err error
	if r.features, err = newFeatures(s.dev, st.Options, s.weights, st.H, st.W); err != nil {
		return err
	}
	if r.session, err = newSession(s.dev, st.Options, s.weights, slots, st.H, st.W); err != nil {
		return errors.Join(err, r.features.close())
	}
	r.seats = make([]*seat, slots)
	s.used += arena
	return nil
}

func (s *Studio) close(r *room) error {
	if r.session == nil {
		return nil
	}
	s.used -= r.session.Plan().Arena
	err := errors.Join(r.session.Close(), r.features.close())
	r.session, r.features, r.seats = nil, nil, nil
	return err
}

// lost tells an error of the device, or of ctx, from one of a picture, for which it is
// nil.
func (s *Studio) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if dead := alive(ctx, s.dev); dead != nil {
		return errors.Join(err, dead)
	}
	return nil
}

// alive runs one operation, to see whether a device still does anything.
func alive(ctx context.Context, dev gpu.Device) error {
	p := &gpu.Program{}
	x := p.NewBuffer(BufImage, gpu.Input, gpu.Shape{N: 1, H: 4, W: 4, C: 4})
	y := p.Output(p.ReLUFwd("y", x))
	r, err := dev.Compile(p)
	if err != nil {
		return err
	}
	v := make([]float32, x.Shape.Elems())
	v[0] = 1
	out, err := evaluate(ctx, r, p, map[string][]float32{x.Name: v})
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	if got := out[y.Name][0]; got != 1 {
		return fmt.Errorf("the device computes max(1, 0) = %v", got)
	}
	return nil
}

// Close releases the device's memory.
func (s *Studio) Close() error {
	var err error
	for _, r := range s.rooms {
		err = errors.Join(err, s.close(r))
	}
	s.rooms = map[Kind]*room{}
	return err
}
