package transfer

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// painted is what a slot gave: its rows and the picture.
type painted struct {
	rows  []Row
	image []float32
}

// entryOf is the entry of a picture with options of its own.
func entryOf(t *testing.T, dev gpu.Device, o Options, content, style *picture.Picture) entry {
	t.Helper()
	st, err := NewStyleTargets(t.Context(), dev, o, randomWeights(), style)
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFeatures(dev, o, randomWeights(), content.H, content.W)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	e := entry{options: o, style: []*StyleTargets{st}, start: o.start(content, nil, nil), masks: masks{hold: 1}}
	if e.content, err = f.of(t.Context(), content, nil); err != nil {
		t.Fatal(err)
	}
	return e
}

// paintSlots paints the entries in the slots of a session, -1 leaving a slot empty,
// and returns what each slot gave.
func paintSlots(t *testing.T, dev gpu.Device, w, h int, slots []int, entries []entry) []painted {
	t.Helper()
	s, err := newSession(dev, entries[0].options, randomWeights(), len(slots), h, w)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	most := 0
	for i, e := range slots {
		if e < 0 {
			continue
		}
		if err := s.admit(i, entries[e]); err != nil {
			t.Fatal(err)
		}
		most = max(most, entries[e].options.Iterations)
	}
	return collect(t, s, most)
}

// collect runs a session for n iterations more than its pictures want.
func collect(t *testing.T, s *Session, n int) []painted {
	t.Helper()
	out := make([]painted, len(s.slots))
	for ran := 0; ran < n+3; ran++ {
		rows, err := s.Advance(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rows {
			out[i].rows = append(out[i].rows, r...)
		}
	}
	for i := range out {
		v, err := s.values(s.options.result(), i)
		if err != nil {
			t.Fatal(err)
		}
		out[i].image = v
	}
	return out
}

func (p painted) same(q painted) bool {
	return slices.Equal(p.image, q.image) && slices.EqualFunc(p.rows, q.rows, func(a, b Row) bool {
		return fmt.Sprint(a) == fmt.Sprint(b) // of which NaN is equal to NaN
	})
}

// A picture's bits depend on nothing but itself: not on how many slots there are, on
// which it has, on who is beside it or has been there before, nor on threads. Extents
// lie on both sides of where the CPU changes its algorithm.
func TestPictureAloneDecides(t *testing.T) {
	for _, optimizer := range []string{"classic", "default"} {
		o, err := Preset(optimizer)
		if err != nil {
			t.Fatal(err)
		}
		o.Ladder, o.Iterations = nil, 3
		noise := o
		noise.Init, noise.Seed, noise.Iterations, noise.StyleWeight, noise.LR = "noise", 7, 5, 1e6, 0.02
		sick := o
		sick.StyleWeight = 3e38 // its loss is infinite
		extents := [][2]int{{32, 20}, {96, 64}, {37, 61}, {128, 80}}
		many := [][]int{{1, 0}, {0, 2, 1}, {-1, -1, 0, 1, 2, 0, 1, 2, 0}}
		if !testing.Short() {
			many = append(many, []int{0, 1}, []int{2, 0}, []int{1, 0, -1, 2}, []int{0, 1, 2, 0, 1, 2}, []int{2, 1, 0, 2, 1, 0, 0})
		} else if extents = extents[:2]; optimizer == "default" {
			extents = extents[:1]
		}
		for _, ext := range extents {
			t.Run(fmt.Sprintf("%s/%dx%d", optimizer, ext[0], ext[1]), func(t *testing.T) {
				dev, one := device(t), device(t)
				single := device(t, 1)
				w, h := ext[0], ext[1]
				style, other := flat(24, 32, 2), flat(40, 33, 5)
				entries := []entry{
					entryOf(t, dev, o, flat(w, h, 1), style), entryOf(t, dev, noise, flat(w, h, 3), other),
					entryOf(t, dev, sick, flat(w, h, 4), style),
				}
				var alone []painted
				for i, e := range entries {
					p := paintSlots(t, one, w, h, []int{0}, []entry{e})[0]
					if len(p.rows) != e.options.Iterations || p.rows[0].Finite == (i == 2) {
						t.Fatalf("entry %d alone: %d rows, %+v", i, len(p.rows), p.rows[0])
					}
					alone = append(alone, p)
				}
				if p := paintSlots(t, single, w, h, []int{0}, entries)[0]; !p.same(alone[0]) {
					t.Error("one thread gives other bits")
				}
				for _, slots := range many {
					for i, p := range paintSlots(t, dev, w, h, slots, entries) {
						if e := slots[i]; e >= 0 && !p.same(alone[e]) {
							t.Errorf("slots %v: slot %d has not the bits of its picture alone", slots, i)
						} else if e < 0 && len(p.rows) != 0 {
							t.Errorf("slots %v: the empty slot %d has rows", slots, i)
						}
					}
				}
			})
		}
	}
}

// A slot is taken again while its neighbour goes on: by the picture that it gives the
// bits of a picture alone, whoever was there before.
func TestSlotsAreTakenAgain(t *testing.T) {
	dev := device(t)
	const w, h = 32, 20
	for _, preset := range []string{"classic", "default"} {
		o, err := Preset(preset)
		if err != nil {
			t.Fatal(err)
		}
		o.Ladder, o.Iterations = nil, 9
		short, sick := o, o
		short.Iterations, short.TVWeight = 3, 1
		sick.Iterations, sick.StyleWeight = 2, 3e38
		style := flat(24, 32, 2)
		long := entryOf(t, dev, o, flat(w, h, 1), style)
		guests := []entry{entryOf(t, dev, sick, flat(w, h, 2), style), entryOf(t, dev, short, flat(w, h, 3), style), entryOf(t, dev, short, flat(w, h, 5), style)}
		s, err := newSession(dev, o, randomWeights(), 2, h, w)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.admit(0, long); err != nil {
			t.Fatal(err)
		}
		var rows []Row
		for i, g := range guests {
			if err := s.admit(1, g); err != nil {
				t.Fatal(err)
			}
			n := 0
			for n < g.options.Iterations {
				all, err := s.Advance(t.Context(), 1)
				if err != nil {
					t.Fatal(err)
				}
				n += len(all[1])
				rows = append(rows, all[0]...)
			}
			v, err := s.values(s.options.result(), 1)
			if err != nil {
				t.Fatal(err)
			}
			want := paintSlots(t, dev, w, h, []int{0}, []entry{g})[0]
			if !slices.Equal(v, want.image) {
				t.Errorf("%s: guest %d has not the bits of its picture alone", preset, i)
			}
			if err := s.leave(1); err != nil {
				t.Fatal(err)
			}
		}
		rest := collect(t, s, 9)[0]
		got := painted{append(rows, rest.rows...), rest.image}
		if !got.same(paintSlots(t, dev, w, h, []int{0}, []entry{long})[0]) {
			t.Errorf("%s: the picture that stayed has not its bits", preset)
		}
		if n := len(got.rows); n != 9 {
			t.Errorf("%d rows, want 9", n)
		}
	}
}

// The rate falls as half a cosine over all levels, and goes on where the optimiser
// begins afresh.
func TestLRSchedule(t *testing.T) {
	o := presets["classic"]
	o.LRSchedule, o.Iterations, o.Ladder = "cosine", 6, []Level{{32, 4}}
	o.Size = 64
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	content := &picture.Source{W: 64, H: 64}
	stages := Work{Options: o, Content: content, Styles: OneStyle(content)}.Stages()
	var got []float64
	step := 0 // Adam's count goes on from level to level
	for _, st := range stages {
		var k []float64
		for _, v := range st.Options.knobs(RawWeights{Style: make([]float64, 5)}, step) {
			k = append(k, float64(v))
		}
		for range st.Options.Iterations {
			got = append(got, gpu.Rate(k, float64(step))/o.LR)
			step++
		}
		if float64(step) != k[gpu.KnobLimit] {
			t.Errorf("the level ends at %v, want %d", k[gpu.KnobLimit], step)
		}
	}
	for i, v := range got {
		if want := (1 + math.Cos(math.Pi*float64(i)/10)) / 2; math.Abs(v-want) > 1e-6 {
			t.Errorf("step %d: %v of the rate, want %v", i, v, want)
		}
	}
	// After going back at iteration 3 of the second level the count begins again at 0.
	afresh := stages[1].Options.knobs(RawWeights{Style: make([]float64, 5)}, -3)
	if from := afresh[gpu.KnobFrom]; from != -7 {
		t.Errorf("the fall begins at step %v, want -7", from)
	}
	for _, bad := range []func(o *Options){
		func(o *Options) { o.LRSchedule = "linear" }, func(o *Options) { o.Until = "plateau" },
		func(o *Options) { o.Optimizer, o.History = "lbfgs", 5 },
	} {
		b := o
		bad(&b)
		if b.Validate() == nil {
			t.Errorf("%+v was taken", b)
		}
	}
}
