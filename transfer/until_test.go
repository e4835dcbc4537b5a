package transfer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/gpu"
)

// smoothing is work of the smoothness alone, which takes microseconds.
func smoothing(t *testing.T) Work {
	t.Helper()
	w := work(t)
	w.Options.ContentWeight, w.Options.StyleWeight = 0, 0
	return w
}

// A level ends at a plateau, at the same iteration however many run at a time.
func TestPlateau(t *testing.T) {
	dev, w := device(t), smoothing(t)
	w.Options.Until = untilPlateau
	w.Options.Iterations, w.Options.Ladder = 5000, []Level{{20, 5000}}
	var said []string
	p := finished(t, dev, w, nil, Hooks{Say: func(s string) { said = append(said, s) }})
	l := p.Levels()
	if len(l) != 2 || p.Stopped() != "plateau" || len(said) != 2 || !strings.Contains(said[0], "a plateau at 20x16 after ") {
		t.Fatalf("%v, stopped %q: %v", l, p.Stopped(), said)
	}
	for i, n := range l {
		if n.Iterations%plateauWindow != 0 || n.Iterations < 2*plateauWindow || n.Iterations > 2000 {
			t.Errorf("level %d ended after %d iterations", i, n.Iterations)
		}
	}
	odd := 0 // levels that end where nothing else does
	for _, lr := range []float64{.01, .011, .012, .013, .014, .015, .016, .017} {
		v := w
		v.Options.LR = lr
		many, single := finished(t, dev, v, nil, Hooks{}), finished(t, dev, v, nil, Hooks{SaveEvery: 1, Save: func() error { return nil }})
		if !slices.Equal(single.Levels(), many.Levels()) || !slices.Equal(pixels(t, single), pixels(t, many)) {
			t.Errorf("one at a time %v, else %v", single.Levels(), many.Levels())
		}
		for _, l := range many.Levels() {
			odd += l.Iterations / plateauWindow % 2
		}
	}
	if odd == 0 {
		t.Error("no level ended between two multiples of rollbackEvery: the test says nothing")
	}
	// What the record says makes the same picture without looking for a plateau.
	again := w
	again.Options = p.Record().Repeat()
	if again.Options.Until != "" || again.Options.Iterations != l[1].Iterations {
		t.Errorf("%+v", again.Options)
	}
	if !slices.Equal(pixels(t, finished(t, dev, again, nil, Hooks{})), pixels(t, p)) {
		t.Error("the record makes another picture")
	}
	// While the loss falls there is none.
	w.Options.Iterations, w.Options.Ladder = 40, nil
	if p := finished(t, dev, w, nil, Hooks{}); p.Stopped() != "" {
		t.Errorf("stopped after %d of 40: %s", p.Done(), p.Stopped())
	}
}

// A time ends it, on whatever level it is.
func TestUntilATime(t *testing.T) {
	dev, w := device(t), smoothing(t)
	w.Options.Until = "700ms"
	w.Options.Ladder = []Level{{20, maxIterations}}
	start := time.Now()
	p := finished(t, dev, w, nil, Hooks{})
	if took := time.Since(start); took < 600*time.Millisecond || took > 1200*time.Millisecond || p.Stopped() != "time" {
		t.Errorf("stopped %q after %v", p.Stopped(), took)
	}
	if l := p.Levels(); len(l) != 1 || l[0].Size != 20 {
		t.Errorf("levels %v", l)
	}
	if pic, err := p.Picture(); err != nil || pic.W != 32 {
		t.Errorf("%v", err)
	}
	again := w
	if again.Options = p.Record().Repeat(); again.Options.Iterations != 0 || again.Validate() != nil {
		t.Errorf("%+v", again.Options)
	}
	if !slices.Equal(pixels(t, finished(t, dev, again, nil, Hooks{})), pixels(t, p)) {
		t.Error("the record makes another picture")
	}
}

// Validate is that of the options.
func (w Work) Validate() error { return w.Options.Validate() }

// rated is a device of a known speed.
type rated struct {
	gpu.Device
	rate float64
}

func (d rated) Rate(context.Context) (float64, error) { return d.rate, nil }

// A budget is kept within a tenth, and shared among the levels.
func TestBudget(t *testing.T) {
	dev, w := device(t), smoothing(t)
	w.Options.Size, w.Options.Ladder = 256, nil
	// A machine that is busy stalls once in a while, for what is little of a longer time.
	for budget := 2.5; ; budget *= 2 {
		w.Options.Budget, w.Started = fmt.Sprintf("%gs", budget), time.Now()
		p, err := NewPainting(t.Context(), dev, w, nil)
		if err == nil {
			err = p.Run(t.Context(), Hooks{})
		}
		took := time.Since(w.Started).Seconds()
		if err == nil && took > 0.9*budget && took < 1.1*budget && p.Stopped() == "time" {
			l := p.Levels()
			if len(l) != 3 || l[0].Size != 28 || l[2].Size != 256 {
				t.Errorf("levels %v", l)
			}
			t.Logf("%.3f s: %v", took, l)
			p.Close()
			return
		}
		t.Logf("%.2f s of %g: %v", took, budget, err)
		if budget > 30 {
			t.Fatal("never within a tenth")
		}
		if p != nil {
			p.Close()
		}
	}
}

// A small budget pays for fewer levels, and one that is too small for anything is
// an error.
func TestSmallBudgets(t *testing.T) {
	dev, w := device(t), work(t)
	w.Options.Size, w.Options.Ladder, w.Options.Budget = 256, nil, "1000s"
	last := w.Stages()[0]
	c, err := last.cost()
	if err != nil {
		t.Fatal(err)
	}
	one := c.targets + c.iteration
	for _, x := range []struct {
		seconds float64 // that the last level takes
		levels  int
	}{{10, 3}, {890, 3}, {902, 2}, {950, 1}} {
		w.Started = time.Now()
		p, err := NewPainting(t.Context(), rated{dev, one / x.seconds}, w, nil)
		if err != nil || len(p.Options().Levels()) != x.levels {
			t.Errorf("%g s for the last level: %v, %v", x.seconds, p, err)
		}
	}
	w.Options.Budget, w.Started = "10s", time.Now()
	_, err = NewPainting(t.Context(), rated{dev, one / 12}, w, nil)
	var bad *OptionError
	if !errors.As(err, &bad) || bad.Field != "Budget" || !strings.Contains(err.Error(), "one iteration at 256 takes about 12s here") {
		t.Error(err)
	}
}

func TestClockOptions(t *testing.T) {
	for _, c := range []struct{ until, budget, want string }{
		{"plateau", "", ""},
		{"90", "", ""},
		{"1m30s", "", ""},
		{"", "0.5", ""},
		{"soon", "", "Until soon"},
		{"0s", "", "Until 0s"},
		{"-3", "", "Until -3"},
		{"NaN", "", "Until NaN"},
		{"Inf", "", "Until Inf"},
		{"", "plateau", "Budget plateau"},
		{"", "0", "Budget 0"},
		{"90", "90", "one of the two"},
	} {
		o := work(t).Options
		o.Until, o.Budget = c.until, c.budget
		if err := o.Validate(); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q %q: %v", c.until, c.budget, err)
		}
	}
}

// What a time may be, and what it is not.
func TestParseTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90": 90 * time.Second, "1e2": 100 * time.Second, "0.5": time.Second / 2, "0": 0, "0s": 0, "1m30s": 90 * time.Second, "250ms": time.Second / 4,
	} {
		if got, err := ParseTime(text); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "soon", "-1", "-1s", "NaN", "Inf", "1e300", "5 m", "1,5"} {
		if got, err := ParseTime(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// The time left is said when the speed is known, and not from the first chunk, which is
// cold, or from chunks that are too short; a clock that ends the painting is known before.
func TestTimeLeft(t *testing.T) {
	c := cost{targets: 10, iteration: 1}
	stage := Stage{W: 32, H: 32}
	stage.Options.Iterations = 1000
	left := func(done int, busy float64, warmed bool, until string) float64 {
		p := &Painting{stages: []Stage{stage}, costs: []cost{c}, busy: busy, busyFLOPs: float64(done), warmed: warmed}
		p.at.Done, p.at.Evaluations, p.at.FLOPs = []int{done}, done, 10+float64(done)
		p.work.Options.Until = until
		pt := Point{Seconds: busy}
		p.foresee(&pt)
		return pt.Left
	}
	for _, c := range []struct {
		what   string
		done   int
		busy   float64
		warmed bool
		until  string
		want   float64
	}{
		{"the first chunk, which is cold", 1, 5, false, "", -1},
		{"a few short ones", 10, 0.1, true, "", -1},
		{"a fiftieth of the work", 25, 0.25, true, "", 9.75},
		{"slow ones", 4, 2, true, "", 498},
		{"the end", 1000, 5, false, "", 0},
		{"a clock", 1, 5, false, "60s", 55},
		{"a clock that is later than the end", 25, 0.25, true, "60s", 9.75},
	} {
		if got := left(c.done, c.busy, c.warmed, c.until); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %g s left, want %g", c.what, got, c.want)
		}
	}
}

// sick is a device whose losses are not finite at some evaluations, counted over all
// programs that iterate.
type sick struct {
	gpu.Device
	at   map[int]bool
	runs int
}

type sickRunner struct {
	gpu.Runner
	d    *sick
	bad  map[int]bool // steps of this program
	step int
}

func (d *sick) Compile(p *gpu.Program) (gpu.Runner, error) {
	r, err := d.Device.Compile(p)
	if p.Named(BufRing) == nil {
		return r, err
	}
	return &sickRunner{Runner: r, d: d, bad: map[int]bool{}}, err
}

func (r *sickRunner) WriteAt(b *gpu.Buffer, n int, data []float32) error {
	if b.Name == BufStep {
		r.step = int(data[0])
	}
	return r.Runner.WriteAt(b, n, data)
}

// Run counts an evaluation, and nothing behind one that is bad: a painting takes no
// notice of those.
func (r *sickRunner) Run(ctx context.Context, n int) (int, error) {
	ran, err := r.Runner.Run(ctx, n)
	for range ran {
		if len(r.bad) == 0 {
			r.d.runs++
			if r.d.at[r.d.runs] {
				r.bad[r.step] = true
			}
		}
		r.step++
	}
	return ran, err
}

func (r *sickRunner) ReadAt(b *gpu.Buffer, n int, dst []float32) error {
	err := r.Runner.ReadAt(b, n, dst)
	if b.Name == BufRing {
		for step := range r.bad {
			dst[step%RingRows*b.Shape.C+gpu.RecFinite] = 0
		}
	}
	return err
}

// Losses that are not finite: back to the last good picture, with half the step, and
// the picture does not depend on how many iterations run at a time.
func TestRollBack(t *testing.T) {
	cpu, w := device(t), smoothing(t)
	w.Options.Iterations, w.Options.Ladder = 100, []Level{{20, 40}}
	run := func(h Hooks, from *Checkpoint, at ...int) (*Painting, error) {
		d := &sick{Device: cpu, at: map[int]bool{}}
		for _, a := range at {
			d.at[a] = true
		}
		p, err := NewPainting(t.Context(), d, w, from)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p, p.Run(t.Context(), h)
	}
	// At evaluation 110, iteration 70 of the second level: back to 64.
	var points []Point
	p, err := run(Hooks{Report: func(pt Point) error { points = append(points, pt); return nil }}, nil, 110)
	if err != nil || p.Done() != 140 || len(points) != 146 || p.at.Halved != 1 {
		t.Fatalf("%v, %d done, %d evaluations, halved %d", err, p.Done(), len(points), p.at.Halved)
	}
	if a, b := points[109], points[110]; a.Finite || a.Iteration != 70 || b.Iteration != 65 || b.Evaluation != 111 || points[145].Of != 146 {
		t.Errorf("%+v\n%+v", a, b)
	}
	one, err := run(Hooks{SaveEvery: 1, Save: func() error { return nil }}, nil, 110)
	if err != nil || !slices.Equal(pixels(t, one), pixels(t, p)) {
		t.Errorf("one at a time: another picture, %v", err)
	}
	// A checkpoint of any moment, also between the copy and the loss: the same.
	var files [][]byte
	_, err = run(Hooks{SaveEvery: 3, Save: func() error { return nil }, Checkpoint: func(c *Checkpoint) { files = append(files, bytesOf(t, c)) }}, nil, 110)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range files {
		c, err := fromBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		at := []int{110 - c.Evaluations}
		if at[0] <= 0 {
			at = nil
		}
		q, err := run(Hooks{}, c, at...)
		if err != nil || !slices.Equal(pixels(t, q), pixels(t, p)) || q.at.Halved != 1 {
			t.Fatalf("checkpoint %d, of evaluation %d: another picture, %v", i, c.Evaluations, err)
		}
	}
	// Four times is too often; the picture is the last good one.
	p, err = run(Hooks{}, nil, 110, 111, 112, 113)
	if !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "half the step 3 times") || p.Done() != 104 {
		t.Errorf("%v, %d done", err, p.Done())
	}
	if c, err := p.Checkpoint(); err != nil || c.Iterations() != 104 {
		t.Errorf("%v", err)
	}
	stop := w
	stop.Options.Iterations = 64
	if !slices.Equal(pixels(t, p), pixels(t, finished(t, cpu, stop, nil, Hooks{}))) {
		t.Error("the picture that is left is not the last good one")
	}
	// Not even the first loss of a level: there is nothing to go back to.
	p, err = run(Hooks{}, nil, 41)
	if !errors.Is(err, ErrDiverged) || p.Done() != 40 {
		t.Errorf("%v, %d done", err, p.Done())
	}
	if _, err := p.Picture(); err != nil {
		t.Error(err)
	}
}

// A step that is too large by far is halved until it is not: a real overflow, of a
// gradient at a picture that is not clamped before it is looked at.
func TestHalvingHelps(t *testing.T) {
	dev, w := device(t), work(t)
	w.Options.ClampFirst, w.Options.Ladder, w.Options.Iterations = true, nil, 8
	for _, c := range []struct {
		lr float64
		ok bool
	}{{1e6, true}, {1e9, false}} {
		w.Options.LR = c.lr
		p, err := NewPainting(t.Context(), dev, w, nil)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		err = p.Run(t.Context(), Hooks{Say: func(s string) { said = append(said, s) }})
		if len(said) != 3 || !strings.Contains(said[0], "iteration 2: the losses are no longer finite") || !strings.HasSuffix(said[0], "back to iteration 0 with half the step") {
			t.Errorf("a step of %g: %q", c.lr, said)
		}
		if c.ok && (err != nil || p.Done() != 8 || !p.Last().Finite) || !c.ok && (!errors.Is(err, ErrDiverged) || p.Done() != 0) {
			t.Errorf("a step of %g: %v after %d iterations", c.lr, err, p.Done())
		}
		p.Close()
	}
}

func TestAbout(t *testing.T) {
	for v, want := range map[float64]string{0.254: "0.25s", 12.4: "12s", 1260: "1300s"} {
		if got := about(v); got != want {
			t.Errorf("%g: %s, want %s", v, got, want)
		}
	}
}
