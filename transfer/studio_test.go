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

// inStudio paints works in a studio, offering at most ahead of them at once.
func inStudio(t *testing.T, ctx context.Context, dev gpu.Device, works []Work, slots int, memory int64) ([]outcome, error) {
	t.Helper()
	s := NewStudio(dev, randomWeights(), func(int, int) int { return slots }, memory)
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
		slots  int
		memory int64
		works  []Work
	}{{3, 1 << 40, works}, {8, 1, backwards}, {1, 1 << 40, works}, {4, 1 << 24, works}} {
		if testing.Short() && c.slots != 3 && c.slots != 8 {
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
				t.Errorf("%d slots: picture %d is not as alone: %q, alone %q\n%s\nalone\n%s", c.slots, i, o.err, alone[i].err, o.points, alone[i].points)
			}
		}
	}
}

// Sessions are kept for extents that come back, and styles for pictures that want
// them: a second round compiles nothing.
func TestStudioKeepsSessions(t *testing.T) {
	dev := &counting{Device: device(t)}
	works := commissions(t)[:9]
	s := NewStudio(dev, randomWeights(), func(int, int) int { return 3 }, 1<<40)
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
	got, err := inStudio(t, t.Context(), dev, works, 1, 1<<40)
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
	got, err := inStudio(t, t.Context(), &mortal{device(t), 25}, works, 3, 1<<40)
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
	if _, err := inStudio(t, ctx, device(t), works, 3, 1<<40); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
