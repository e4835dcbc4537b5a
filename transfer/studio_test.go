package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture/picturetest"
)

// commissions are pictures of several extents, presets, styles and lengths; one goes
// back, one diverges for good, one cannot be painted at all.
func commissions(t *testing.T) []Work {
	t.Helper()
	var all []Work
	add := func(preset string, w, h int, seed int, change func(o *Options)) {
		o, err := Preset(preset)
		if err != nil {
			t.Fatal(err)
		}
		o.Size, o.Iterations, o.Ladder = 24, 4, []Level{{16, 3}}
		change(&o)
		all = append(all, Work{Options: o, Content: picturetest.Source(t, w, h, seed), Styles: OneStyle(picturetest.Source(t, 30, 36, 2+seed%2)), Weights: randomWeights()})
	}
	for i := range 3 {
		add("classic", 40, 24, 1+i, func(o *Options) { o.Iterations += 2 * i })
		add("classic", 24, 40, 4+i, func(*Options) {})
		add("default", 40, 24, 7+i, func(o *Options) { o.Strength = float64(1 + i) })
	}
	add("classic", 40, 24, 20, func(o *Options) { o.Init, o.Seed, o.TVWeight = "noise", 5, 0.1 })
	add("classic", 40, 24, 21, func(o *Options) { o.StyleWeight = 3e38 })
	add("classic", 40, 24, 22, func(o *Options) { o.Iterations = -1 })
	add("article", 40, 24, 23, func(o *Options) { o.Iterations = 3 })
	return all
}

// outcome is what came of a commission.
type outcome struct {
	pixels []float32
	points string
	err    string
}

func outcomeOf(t *testing.T, p *Painting, points []Point, err error) outcome {
	t.Helper()
	var o outcome
	if err != nil {
		o.err = err.Error()
	}
	if p == nil {
		return o
	}
	if p.Last().Evaluation > 0 && !errors.As(err, new(*LostError)) {
		o.pixels = pixels(t, p)
	}
	for _, pt := range points {
		o.points += fmt.Sprintln(pt.Row, pt.Evaluation, pt.W, pt.H, pt.GFLOP)
	}
	return o
}

// each has so many slots for every extent; lower has three below the last level, and one there.
func each(n int) func(w, h int) int { return func(int, int) int { return n } }

func lower(w, h int) int {
	if max(w, h) < 24 {
		return 3
	}
	return 1
}

// inStudio paints works in a studio, offering at most ahead of them at once.
func inStudio(t *testing.T, ctx context.Context, dev gpu.Device, works []Work, slots func(w, h int) int, memory int64) ([]outcome, error) {
	t.Helper()
	s := NewStudio(dev, randomWeights(), slots, memory)
	defer s.Close()
	out, points := make([]outcome, len(works)), make([][]Point, len(works))
	at := 0
	over := map[int]int{}
	err := s.Run(ctx, func(bool) *Commission {
		if at == len(works) {
			return nil
		}
		i := at
		at++
		return &Commission{Work: works[i], Tag: i, Hooks: Hooks{Report: func(pt Point) error { points[i] = append(points[i], pt); return nil }}}
	}, func(c *Commission, p *Painting, err error) {
		i := c.Tag.(int)
		over[i]++
		if ctx.Err() == nil {
			out[i] = outcomeOf(t, p, points[i], err)
		}
	})
	for i := range at {
		if over[i] != 1 {
			t.Errorf("commission %d was over %d times", i, over[i])
		}
	}
	return out, err
}

// However many are painted together, in whatever order and beside whom, each has the
// picture and the rows that it has alone, and the error that it has alone.
func TestStudioPaintsAsAlone(t *testing.T) {
	dev, works := device(t), commissions(t)
	var alone []outcome
	for _, w := range works {
		var points []Point
		p, err := NewPainting(t.Context(), dev, w, nil)
		if err == nil {
			err = p.Run(t.Context(), Hooks{Report: func(pt Point) error { points = append(points, pt); return nil }})
			defer p.Close()
		}
		alone = append(alone, outcomeOf(t, p, points, err))
	}
	if bad := slices.IndexFunc(alone, func(o outcome) bool { return o.err != "" }); bad != 10 || alone[11].err == "" {
		t.Fatalf("the picture that fails is %d: %q", bad, alone[bad].err)
	}
	backwards := slices.Clone(works)
	slices.Reverse(backwards)
	for _, c := range []struct {
		name   string
		slots  func(w, h int) int
		memory int64
		works  []Work
		long   bool
	}{
		{"3 slots", each(3), 1 << 40, works, false},
		{"8 slots, little memory", each(8), 1, backwards, false},
		{"3 slots at lower levels", lower, 1 << 40, works, false},
		{"1 slot", each(1), 1 << 40, works, true},
		{"4 slots, 16 MB", each(4), 1 << 24, works, true},
	} {
		if testing.Short() && c.long {
			continue
		}
		got, err := inStudio(t, t.Context(), dev, c.works, c.slots, c.memory)
		if err != nil {
			t.Fatal(err)
		}
		if &c.works[0] == &backwards[0] {
			slices.Reverse(got)
		}
		for i, o := range got {
			if !slices.Equal(o.pixels, alone[i].pixels) || o.points != alone[i].points || o.err != alone[i].err {
				t.Errorf("%s: picture %d is not as alone: %q, alone %q\n%s\nalone\n%s", c.name, i, o.err, alone[i].err, o.points, alone[i].points)
			}
		}
	}
}

// Sessions are kept for extents that come back, and styles for pictures that want
// them: a second round compiles nothing.
func TestStudioKeepsSessions(t *testing.T) {
	dev := &counting{Device: device(t)}
	works := commissions(t)[:9]
	s := NewStudio(dev, randomWeights(), each(3), 1<<40)
	defer s.Close()
	round := func() (compiled int) {
		before, at := dev.compiled, 0
		if err := s.Run(t.Context(), func(bool) *Commission {
			if at == len(works) {
				return nil
			}
			at++
			return &Commission{Work: works[at-1]}
		}, func(_ *Commission, _ *Painting, err error) {
			if err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		return dev.compiled - before
	}
	// Classic in landscape and in portrait, default in landscape, and both at the first
	// level, which is square: five sessions of two programs. And two styles at two levels.
	first, again := round(), round()
	if first != 14 || again != 0 {
		t.Errorf("%d programs compiled at first, %d again", first, again)
	}
	if open := dev.open; open != 10 {
		t.Errorf("%d programs are kept, want 10", open)
	}
}

// Pictures of which the last level takes one at a time are side by side at lower levels,
// but large ones are taken in hand one by one.
func TestStudioLowerLevels(t *testing.T) {
	all := commissions(t)
	works := []Work{all[2], all[5], all[8]} // of one kind
	s := NewStudio(device(t), randomWeights(), lower, 1<<40)
	defer s.Close()
	at, most, hand := 0, 0, 0
	if err := s.Run(t.Context(), func(bool) *Commission {
		if at == len(works) {
			return nil
		}
		at++
		hand++
		most = max(most, hand)
		return &Commission{Work: works[at-1]}
	}, func(_ *Commission, _ *Painting, err error) {
		hand--
		if err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if most != 3 || len(s.rooms) != 2 {
		t.Errorf("%d pictures in hand at once, want 3; %d rooms, want 2", most, len(s.rooms))
	}
	for k, r := range s.rooms {
		if want := lower(k.w, k.h); len(r.seats) != want {
			t.Errorf("%d slots for %dx%d, want %d", len(r.seats), k.w, k.h, want)
		}
	}
	extents := func(sides ...int) (all []Stage) {
		for _, n := range sides {
			all = append(all, Stage{W: n, H: n})
		}
		return all
	}
	slots := func(w, _ int) int { return 2048 / w }
	for _, c := range []struct {
		stages []Stage
		want   int
	}{{extents(1024), 2}, {extents(512, 1024), 2}, {extents(256), 8}, {extents(128, 512), 4}, {extents(57, 171, 512), 4}} {
		if got := InHand(c.stages, slots); got != c.want {
			t.Errorf("%d in hand for the last level %d, want %d", got, c.stages[len(c.stages)-1].W, c.want)
		}
	}
}

// A studio works where fewest slots are free, and goes on where it was.
func TestStudioChoosesARoom(t *testing.T) {
	low, high := Kind{w: 16, h: 16}, Kind{w: 24, h: 24}
	people := func(n int) []*seat { return make([]*seat, n) }
	for _, c := range []struct {
		atLow, atHigh int // who waits there
		want          Kind
	}{{2, 1, high}, {3, 1, high}, {3, 0, low}, {1, 0, low}, {2, 3, high}} {
		s := &Studio{slots: lower, most: 3, rooms: map[Kind]*room{
			low:  {waiting: people(c.atLow), used: 1},
			high: {waiting: people(c.atHigh), used: 2},
		}}
		if got := s.best(); got != s.rooms[c.want] {
			t.Errorf("%d wait at the lower level, %d at the last: not at %dx%d", c.atLow, c.atHigh, c.want.w, c.want.h)
		}
	}
	if s := (&Studio{slots: lower, most: 3, rooms: map[Kind]*room{low: {}}}); s.best() != nil {
		t.Error("a room that nobody is in")
	}
}

// What one content asks for is computed once for all settings that follow each other, and
// each paints what it paints alone.
func TestStudioSharesContents(t *testing.T) {
	dev := &counting{Device: device(t)}
	base := commissions(t)[6]
	base.Options.Ladder = nil
	with := func(change func(w *Work)) Work {
		w := base
		change(&w)
		return w
	}
	held := func(seed int) func(w *Work) {
		return func(w *Work) { w.ContentMask = picturetest.Source(t, 40, 24, seed) }
	}
	works := []Work{
		base,
		with(func(w *Work) { w.Options.Strength = 3 }),
		with(func(w *Work) { w.Styles = OneStyle(picturetest.Source(t, 30, 36, 9)) }),
		with(func(w *Work) { w.Content = picturetest.Source(t, 40, 24, 31) }),
		base,
		with(held(41)),
		with(held(42)),
		with(func(w *Work) { held(42)(w); w.Options.Strength = 3 }),
	}
	got, err := inStudio(t, t.Context(), dev, works, each(1), 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	// Two styles; the first content, another, the first again, and behind two masks.
	if want := 2 + 3 + 2; dev.targets != want {
		t.Errorf("targets were computed %d times, want %d", dev.targets, want)
	}
	for i, w := range works {
		p, err := NewPainting(t.Context(), device(t), w, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Run(t.Context(), Hooks{}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got[i].pixels, pixels(t, p)) {
			t.Errorf("picture %d is not as alone", i)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A device that fails takes its pictures along, once each; ctx ends it at once.
func TestStudioOnALostDevice(t *testing.T) {
	works := commissions(t)[:9]
	got, err := inStudio(t, t.Context(), &mortal{device(t), 25}, works, each(3), 1<<40)
	if !errors.Is(err, errDead) {
		t.Fatal(err)
	}
	lost := 0
	for _, o := range got {
		if o.err != "" {
			lost++
		}
	}
	if lost == 0 || lost > 3 {
		t.Errorf("%d pictures were lost with the device, which had three", lost)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := inStudio(t, ctx, device(t), works, each(3), 1<<40); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
