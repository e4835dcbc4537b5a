package transfer

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/transfer/picture/picturetest"
)

// work paints 40x24 at 32x19 after a level of 20x16 (the network needs 16).
func work(t *testing.T) Work {
	t.Helper()
	o, err := Preset("classic")
	if err != nil {
		t.Fatal(err)
	}
	o.Optimizer, o.History = "adam", 0
	o.Size, o.Iterations, o.Ladder = 32, 5, []Level{{20, 4}}
	return Work{Options: o, Content: picturetest.Source(t, 40, 24, 1), Styles: OneStyle(picturetest.Source(t, 30, 36, 2)), Weights: randomWeights()}
}

// finished paints to the end.
func finished(t *testing.T, dev gpu.Device, w Work, from *Checkpoint, h Hooks) *Painting {
	t.Helper()
	p, err := NewPainting(t.Context(), dev, w, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if err := p.Run(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	return p
}

func pixels(t *testing.T, p *Painting) []float32 {
	t.Helper()
	pic, err := p.Picture()
	if err != nil {
		t.Fatal(err)
	}
	return pic.RGB
}

func TestLadderOptions(t *testing.T) {
	for _, c := range []struct {
		size int
		want []Level
	}{
		{32, nil}, {33, []Level{{16, 9}}}, {96, []Level{{32, 9}}}, {128, []Level{{16, 9}, {43, 9}}}, {256, []Level{{28, 9}, {85, 9}}}, {320, []Level{{16, 9}, {36, 9}, {107, 9}}}, {512, []Level{{19, 9}, {57, 9}, {171, 9}}},
	} {
		if got := AutoLadder(c.size, 9); !slices.Equal(got, c.want) {
			t.Errorf("%d: %v, want %v", c.size, got, c.want)
		}
	}
	for _, c := range []struct {
		ladder []Level
		want   string
	}{
		{[]Level{{15, 4}}, "Ladder 15:4: the network needs 16 pixels"},
		{[]Level{{64, 4}}, "painted at 32 in the end"},
		{[]Level{{32, 4}}, "painted at 32 in the end"},
		{[]Level{{24, 4}, {20, 4}}, "from small to large"},
		{[]Level{{20, 4}, {20, 4}}, "20 is there twice"},
		{[]Level{{20, 0}}, "1 to 10000000 iterations"},
	} {
		o := work(t).Options
		o.Ladder = c.ladder
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.ladder, err, c.want)
		}
	}
}

// Without a ladder a painting is a session, to the bit.
func TestPaintingOfOneLevel(t *testing.T) {
	dev, w := device(t), work(t)
	w.Options.Ladder = nil
	p := finished(t, dev, w, nil, Hooks{})
	st := p.stages[0]
	s, err := NewSession(t.Context(), dev, Job{
		Options: w.Options, Contents: []*picture.Picture{w.Options.Load(w.Content, st.W, st.H)},
		Style: w.Options.Load(w.Styles[0].Picture, st.Styles[0].W, st.Styles[0].H), Weights: w.Weights,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Run(t.Context(), nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	want, err := s.Picture(0)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(pixels(t, p), want.RGB) {
		t.Error("another picture")
	}
}

// counting is a device that knows how many of its programs are open.
type counting struct {
	gpu.Device
	open, most, compiled int
	targets              int // runs of programs that have no state
}

type countingRunner struct {
	gpu.Runner
	d     *counting
	state bool
}

func (d *counting) Compile(p *gpu.Program) (gpu.Runner, error) {
	r, err := d.Device.Compile(p)
	d.open++
	d.compiled++
	d.most = max(d.most, d.open)
	state := slices.ContainsFunc(p.Buffers, func(b *gpu.Buffer) bool { return b.Role == gpu.State })
	return &countingRunner{r, d, state}, err
}

func (r *countingRunner) Run(ctx context.Context, n int) (int, error) {
	if !r.state {
		r.d.targets++
	}
	return r.Runner.Run(ctx, n)
}

func (r *countingRunner) Close() error { r.d.open--; return r.Runner.Close() }

// Levels follow each other, each at its own aspect and with the memory of one at a
// time; the arithmetic that was announced is what is done.
func TestLevels(t *testing.T) {
	dev, w := &counting{Device: device(t)}, work(t)
	var points []Point
	saves := []int{}
	var p *Painting
	p, err := NewPainting(t.Context(), dev, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Run(t.Context(), Hooks{
		Report:    func(pt Point) error { points = append(points, pt); return nil },
		SaveEvery: 3, Save: func() error {
			pic, err := p.Picture()
			if err != nil {
				return err
			}
			if pic.W != 32 || pic.H != 19 {
				t.Errorf("saved %dx%d", pic.W, pic.H)
			}
			saves = append(saves, p.Done())
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(saves, []int{3, 6}) {
		t.Errorf("saved at %v", saves)
	}
	if len(points) != 9 {
		t.Fatalf("%d evaluations", len(points))
	}
	for i, pt := range points {
		it, width, height := i+1, 20, 16
		if i >= 4 {
			it, width, height = i-3, 32, 19
		}
		if pt.Evaluation != i+1 || pt.Of != 9 || pt.Iteration != it || pt.W != width || pt.H != height {
			t.Errorf("evaluation %d: %+v", i+1, pt)
		}
		if i > 0 && (pt.Share <= points[i-1].Share || pt.GFLOP <= points[i-1].GFLOP || pt.Seconds <= points[i-1].Seconds) {
			t.Errorf("evaluation %d is not behind the one before: %+v", i+1, pt)
		}
	}
	if last := points[8]; last.Share != 1 {
		t.Errorf("at the end %g of the work is done", last.Share)
	}
	all := 0.0
	for i, n := range []float64{4, 5} {
		all += p.costs[i].targets + n*p.costs[i].iteration
	}
	if got := points[8].GFLOP; got != all/1e9 {
		t.Errorf("%g GFLOP, announced were %g", got, all/1e9)
	}
	if dev.most != 1 {
		t.Errorf("%d programs had memory at the same time", dev.most)
	}
	if err := p.Close(); err != nil || dev.open != 0 {
		t.Errorf("%v, %d programs open", err, dev.open)
	}
	if l := p.Levels(); !slices.Equal(l, []Level{{20, 4}, {32, 5}}) {
		t.Errorf("levels %v", l)
	}
}

// A level is worth its while: the next begins with a lower loss than from the
// content, and Adam goes on where it was.
func TestLadderHelps(t *testing.T) {
	dev, w := device(t), work(t)
	w.Options.Size, w.Options.Iterations = 48, 3
	first := func(ladder []Level) (total []float64) {
		w.Options.Ladder = ladder
		finished(t, dev, w, nil, Hooks{Report: func(p Point) error {
			if p.W == 48 {
				total = append(total, p.Total)
			}
			return nil
		}})
		return total
	}
	with, without := first([]Level{{24, 40}}), first(nil)
	if !(with[0] < without[0]/2) {
		t.Errorf("the loss begins at %g after a level, %g without", with[0], without[0])
	}
	t.Logf("with a level %.4g, without %.4g", with, without)
}

// Values between neighbours, moments scaled as the gradient.
func TestRaised(t *testing.T) {
	from, to := Stage{W: 2, H: 1, Options: Options{}}, Stage{W: 4, H: 2}
	st := &State{Buffers: map[string][]float32{
		BufImage: {0, .5, 1, 1, .5, 0}, BufM: {8, -8, 0, 16, 8, 0}, BufV: {16, 0, 32, 48, 16, 32}, BufStep: {7}, "pairs": {1},
	}}
	got := raised(st, from, to, nil)
	if len(got) != 4 || got[BufStep][0] != 7 || len(got[BufImage]) != 24 {
		t.Errorf("%v", got)
	}
	if m := got[BufM]; !slices.Equal(m[:12], []float32{2, -2, 0, 2.5, -1, 0, 3.5, 1, 0, 4, 2, 0}) || !slices.Equal(m[:12], m[12:]) {
		t.Errorf("m %v", m)
	}
	if v := got[BufV]; v[0] != 1 || v[9] != 3 || v[3] != 1.5 {
		t.Errorf("v %v", v)
	}
	if got := raised(&State{Buffers: map[string][]float32{BufImage: {0, .5, 1, 1, .5, 0}, "pairs": {1}}}, from, to, nil); len(got) != 1 {
		t.Errorf("without Adam: %v", got)
	}
}

// The gradient of a value does fall as raised says.
func TestGradientFallsWithThePixels(t *testing.T) {
	dev, w := device(t), work(t)
	w.Content, w.Styles = picturetest.Source(t, 64, 64, 1), OneStyle(picturetest.Source(t, 64, 64, 2))
	size := func(size int) float64 {
		o := w.Options
		o.Size, o.Iterations, o.Ladder = size, 1, nil
		s, err := NewSession(t.Context(), dev, Job{
			Options: o, Contents: []*picture.Picture{o.Load(w.Content, size, size)}, Style: o.Load(w.Styles[0].Picture, size, size), Weights: w.Weights,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Run(t.Context(), nil, 0, nil); err != nil {
			t.Fatal(err)
		}
		g, err := s.Read(BufDImage)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, v := range g {
			sum += math.Abs(float64(v))
		}
		return sum / float64(len(g))
	}
	if r := size(32) / size(64); r < 2 || r > 8 {
		t.Errorf("the mean gradient at half the sides is %.2f times as large, want about 4", r)
	}
}

// mortal is a device whose loop dies, with its memory, after some iterations.
type mortal struct {
	gpu.Device
	lives int
}

type mortalRunner struct {
	gpu.Runner
	d *mortal
}

var errDead = errors.New("unspecified launch failure")

func (d *mortal) Compile(p *gpu.Program) (gpu.Runner, error) {
	r, err := d.Device.Compile(p)
	return &mortalRunner{r, d}, err
}

func (r *mortalRunner) Run(ctx context.Context, n int) (int, error) {
	if r.d.lives -= n; r.d.lives < 0 {
		return 0, errDead
	}
	return r.Runner.Run(ctx, n)
}

func (r *mortalRunner) ReadAt(b *gpu.Buffer, n int, dst []float32) error {
	if r.d.lives < 0 {
		return errDead
	}
	return r.Runner.ReadAt(b, n, dst)
}

// A device that is lost while running leaves the last copy: of the picture, and
// with checkpoints of everything.
func TestLostDeviceLeavesACopy(t *testing.T) {
	cpu := device(t)
	w := work(t)
	w.Options.Ladder, w.Options.Iterations = nil, 9
	one := Hooks{SaveEvery: 1, Save: func() error { return nil }} // in steps of one iteration
	run := func(dev gpu.Device, w Work, h Hooks) (*Painting, error) {
		p, err := NewPainting(t.Context(), dev, w, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p, p.Run(t.Context(), h)
	}
	defer func(d time.Duration) { keepEvery = d }(keepEvery)
	keepEvery = 0
	const targets = 2 // runs of the style's and the content's programs
	p, err := run(&mortal{cpu, targets + 5}, w, one)
	var lost *LostError
	if !errors.As(err, &lost) || !errors.Is(err, errDead) || lost.At.Iteration != 5 || p.Done() != 5 {
		t.Fatalf("%v, %d iterations", err, p.Done())
	}
	if _, err := p.Checkpoint(); err == nil {
		t.Error("a checkpoint of the picture alone")
	}
	five := w
	five.Options.Iterations = 5
	if !slices.Equal(pixels(t, p), pixels(t, finished(t, cpu, five, nil, Hooks{}))) {
		t.Error("the copy is not the picture of its iteration")
	}
	// With checkpoints the copy is one.
	h := one
	h.Checkpoint, h.CheckpointEvery = func(*Checkpoint) {}, time.Hour
	if p, err = run(&mortal{cpu, targets + 5}, w, h); !errors.As(err, &lost) {
		t.Fatal(err)
	}
	c, err := p.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(pixels(t, finished(t, cpu, w, c, Hooks{})), pixels(t, finished(t, cpu, w, nil, Hooks{}))) {
		t.Error("from the copy another picture came")
	}
	keepEvery = time.Hour
	if p, err = run(&mortal{cpu, targets + 1}, w, one); !errors.As(err, &lost) {
		t.Errorf("%v, %d iterations", err, p.Done())
	}
}

// What is enlarged keeps the details of the start: of a painting that changed nothing it
// is the start itself, where its own change stays within the range; of noise there are none.
func TestEnlargedKeepsDetails(t *testing.T) {
	from, to := Stage{W: 20, H: 16}, Stage{W: 60, H: 48}
	start := picturetest.Source(t, to.W, to.H, 1)
	o := Options{Init: "content"}
	p := o.Load(start, to.W, to.H)
	for i, v := range p.RGB {
		p.RGB[i] = 0.3 + 0.4*v
	}
	below := resampled(p.RGB, to, from)
	got := enlarged(below, from, to, (&loaded{content: p}).details(o))
	for i, v := range p.RGB {
		if math.Abs(float64(got[i]-v)) > 1e-6 {
			t.Fatalf("value %d is %g, was %g", i, got[i], v)
		}
	}
	plain := enlarged(below, from, to, nil)
	off := 0.0
	for i, v := range p.RGB {
		off = max(off, math.Abs(float64(plain[i]-v)))
	}
	if off < 0.05 {
		t.Errorf("without its details it is off by no more than %g", off)
	}
	o.Init = "noise"
	if (&loaded{content: p}).details(o) != nil {
		t.Error("noise has details")
	}
	o.Init = "blend:0.75"
	for i, v := range (&loaded{content: p}).details(o) {
		if v != float32(0.25*float64(p.RGB[i])) {
			t.Fatalf("blended value %d is %g", i, v)
		}
	}
}
