package cpu

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels/kerneltest"

	loops "github.com/stylize-gpu/stylize/kernels/cpu"
)

// Every operation, every size, on every instruction set of this machine, with
// fences around the buffers and NaN in fresh memory.
func TestOperations(t *testing.T) {
	for _, set := range loops.Sets() {
		t.Run(set.Name, func(t *testing.T) {
			t.Parallel()
			d, err := New(Options{Set: set.Name, Threads: 3, Check: true})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			bits := kerneltest.NewBits(t, "cpu-"+set.Name, loops.Compiler())
			kerneltest.Suite{Bits: bits, Kernels: "all"}.Run(t, d)
		})
	}
}

func TestUnknownSet(t *testing.T) {
	if d, err := New(Options{Set: "mmx"}); err == nil {
		t.Fatalf("got device %v for an instruction set that does not exist", d.Info())
	} else {
		t.Log(err)
	}
	if _, err := New(Options{Threads: -1}); err == nil {
		t.Fatal("-1 threads accepted")
	}
}

// loop is a small network with everything in it: two convolutions, a pool, a
// Gram term, TV, Adam.
func loop(t *testing.T, n, h, w int) *gpu.Program {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	values := func(n int, scale float32) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = (r.Float32()*2 - 1) * scale
		}
		return v
	}
	p := &gpu.Program{}
	pic := gpu.Shape{N: n, H: h, W: w, C: 3}
	x, m, v := p.NewBuffer("x", gpu.State, pic), p.NewBuffer("m", gpu.State, pic), p.NewBuffer("v", gpu.State, pic)
	step := p.NewBuffer("step", gpu.State, gpu.Shape{N: n, H: 1, W: 1, C: 1})
	ring := p.NewBuffer("ring", gpu.State, gpu.Shape{N: n, H: 1, W: 8, C: gpu.RecTerms + 2})
	row := []float32{1e6, .01, 1, 0, 1, 0, 0, 1e4, .1} // limit, a constant rate, no average, weights
	knobs := p.NewConst("knobs", gpu.Shape{N: n, H: 1, W: 1, C: len(row)}, slices.Repeat(row, n))
	style, smooth := gpu.Weight{Knobs: knobs, Column: gpu.KnobTerms}, gpu.Weight{Knobs: knobs, Column: gpu.KnobTerms + 1}
	w1 := p.NewConst("w1", gpu.Shape{N: 64, H: 3, W: 3, C: 3}, values(64*27, .3))
	b1 := p.NewConst("b1", gpu.Shape{N: 1, H: 1, W: 1, C: 64}, values(64, .1))
	w2 := p.NewConst("w2", gpu.Shape{N: 64, H: 3, W: 3, C: 64}, values(64*9*64, .06))
	b2 := p.NewConst("b2", gpu.Shape{N: 1, H: 1, W: 1, C: 64}, values(64, .1))
	y1 := p.ReLUFwd("y1", p.Conv3x3Fprop("c1", x, w1, b1))
	y2 := p.ReLUFwd("y2", p.Conv3x3Fprop("c2", p.AvgPool2x2Fwd("pool", y1), w2, b2))
	g := p.GramFwd("y2", y2)
	gt := p.NewConst("gt", gpu.Shape{N: 1, H: 1, W: 64, C: 64}, values(64*64, .01))
	total, each := p.Total([]*gpu.Buffer{p.MSEFwd("g", g, gt, style)}, nil, p.TVFwd("x", x, smooth))
	d := p.GramBwd("y2", p.MSEBwd("g", g, gt, style), y2)
	d = p.Conv3x3Dgrad("c2", p.ReLUBwd("y2", d, y2), w2)
	d = p.ReLUBwd("y1", p.AvgPool2x2Bwd("pool", d, h, w), y1)
	d = p.Output(p.Add("tv", p.Conv3x3Dgrad("c1", d, w1), p.TVBwd("x", x, smooth)))
	p.Adam(x, m, v, d, step, knobs, total, gpu.AdamParams{Beta1: .9, Beta2: .999, Eps: 1e-8})
	p.Record(x, d, total, each, step, knobs, ring, nil)
	return p
}

// The average begins as the picture itself, to the bit and whatever was there before;
// it is the weighted mean of what came since; and ends with the picture's steps.
func TestAverage(t *testing.T) {
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p := &gpu.Program{}
	const pictures, begin, limit = 2, 2, 5
	s, one := gpu.Shape{N: pictures, H: 5, W: 7, C: 3}, gpu.Shape{N: pictures, H: 1, W: 1, C: 1}
	x, average, step := p.NewBuffer("x", gpu.Input, s), p.NewBuffer("average", gpu.State, s), p.NewBuffer("step", gpu.State, one)
	decay := []float64{0.75, 0}
	var row []float32
	for _, a := range decay {
		row = append(row, limit, 0, 1, 0, 1, float32(a), begin)
	}
	p.Average(x, average, step, p.NewConst("knobs", gpu.Shape{N: pictures, H: 1, W: 1, C: gpu.KnobTerms}, row))
	run, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	nan := slices.Repeat([]float32{float32(math.NaN())}, s.Elems())
	if err := run.Write(average, nan); err != nil {
		t.Fatal(err)
	}
	got, e := make([]float32, s.Elems()), s.Elems()/pictures
	sum, weights := make([]float64, s.Elems()), make([]float64, pictures)
	for done := range limit + 2 {
		v := picture(s.Elems())
		for i := range v {
			v[i] += float32(done*done) / 3
		}
		if err := errors.Join(run.Write(x, v), run.Write(step, []float32{float32(done), float32(done)})); err != nil {
			t.Fatal(err)
		}
		if _, err := run.Run(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := run.Read(average, got); err != nil {
			t.Fatal(err)
		}
		for n, a := range decay {
			if done < limit && done >= begin {
				weights[n] = weights[n]*a + 1
			}
			for i := n * e; i < (n+1)*e; i++ {
				if done < limit && done >= begin {
					sum[i] = sum[i]*a + float64(v[i])
				}
				exact := done <= begin || a == 0 && done < limit
				if want := sum[i] / weights[n]; exact && got[i] != v[i] || !exact && !(math.Abs(float64(got[i])-want) <= 1e-6*math.Abs(want)) {
					t.Fatalf("decay %v after %d steps: value %d is %v, the picture's %v, the mean %v", a, done, i, got[i], v[i], want)
				}
			}
		}
	}
}

func picture(n int) []float32 {
	r := rand.New(rand.NewPCG(3, 4))
	v := make([]float32, n)
	for i := range v {
		v[i] = r.Float32()
	}
	return v
}

func runLoop(t *testing.T, o Options, n, h, w, iters int) []float32 {
	t.Helper()
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p := loop(t, n, h, w)
	r, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	x := p.Named("x")
	if err := r.Write(x, picture(x.Shape.Elems())); err != nil {
		t.Fatal(err)
	}
	if done, err := r.Run(context.Background(), iters); err != nil || done != iters {
		t.Fatalf("%d iterations: %v", done, err)
	}
	got := make([]float32, x.Shape.Elems())
	if err := r.Read(x, got); err != nil {
		t.Fatal(err)
	}
	return got
}

// Same input, same bits, for any number of threads.
func TestThreadsDoNotChangeBits(t *testing.T) {
	for _, set := range loops.Sets() {
		want := runLoop(t, Options{Set: set.Name, Threads: 1}, 1, 93, 71, 4)
		for _, threads := range []int{2, 3, 8} {
			if got := runLoop(t, Options{Set: set.Name, Threads: threads}, 1, 93, 71, 4); !slices.Equal(got, want) {
				t.Errorf("%s: %d threads give other bits than 1", set.Name, threads)
			}
		}
	}
}

// A picture does not notice the others of its batch.
func TestBatchDoesNotMix(t *testing.T) {
	const n, h, w = 3, 21, 34
	batch := runLoop(t, Options{}, n, h, w, 3)
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all, e := picture(n*h*w*3), h*w*3
	for i := range n {
		p := loop(t, 1, h, w)
		r, err := d.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		x := p.Named("x")
		if err := r.Write(x, all[i*e:(i+1)*e]); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Run(context.Background(), 3); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, e)
		if err := r.Read(x, got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, batch[i*e:(i+1)*e]) {
			t.Errorf("picture %d alone differs from picture %d of a batch", i, i)
		}
		r.Close()
	}
}

// Fused, placed and blocked, the program is still the program: every state and
// output against the oracles run one by one in float64.
func TestLoopAgainstOracles(t *testing.T) {
	const n, h, w, iters = 2, 18, 23, 3
	d, err := New(Options{Check: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p := loop(t, n, h, w)
	r, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ip := kerneltest.NewInterp[float64](p)
	x := p.Named("x")
	pic := picture(x.Shape.Elems())
	ip.Write(x, pic)
	if err := r.Write(x, pic); err != nil {
		t.Fatal(err)
	}
	for range iters {
		if err := ip.Run(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Run(context.Background(), iters); err != nil {
		t.Fatal(err)
	}
	for _, b := range p.Buffers {
		if b.Role != gpu.State && b.Role != gpu.Output {
			continue
		}
		got := make([]float32, b.Shape.Elems())
		if err := r.Read(b, got); err != nil {
			t.Fatal(err)
		}
		if diff := kerneltest.Compare(got, ip.Values[b]); !diff.Within(2e-4) {
			t.Errorf("%s: %v", b.Name, diff)
		}
	}
}

// What Plan promises is what Compile takes.
func TestPlanIsExact(t *testing.T) {
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p := loop(t, 1, 64, 48)
	plan, err := d.Plan(p)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := int64(len(r.(*runner).arena)) * 4; got != plan.Arena {
		t.Errorf("arena takes %d bytes, the plan said %d", got, plan.Arena)
	}
	var packed int64
	for _, made := range d.packs.packed {
		w, err := made.result()
		if err != nil {
			t.Fatal(err)
		}
		packed += 4 * int64(len(w.mem))
		if w.direct != nil {
			packed += w.direct.Bytes()
		}
	}
	if packed != plan.Weights {
		t.Errorf("weights take %d bytes, the plan said %d", packed, plan.Weights)
	}
}

// looks is a context that is done when it has been looked at so many times.
type looks struct {
	context.Context
	left int
}

func (c *looks) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// Wherever a run is stopped, its state is that of whole iterations.
func TestCancelKeepsTheLastIteration(t *testing.T) {
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p := loop(t, 1, 16, 16)
	stopped := func(ctx context.Context, n int) (int, [][]float32, error) {
		r, err := d.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.Write(p.Named("x"), picture(16*16*3)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"m", "v", "step", "ring"} {
			b := p.Named(name)
			if err := r.Write(b, make([]float32, b.Shape.Elems())); err != nil {
				t.Fatal(err)
			}
		}
		done, runErr := r.Run(ctx, n)
		var state [][]float32
		for _, name := range []string{"x", "m", "v", "step"} {
			b := p.Named(name)
			v := make([]float32, b.Shape.Elems())
			if err := r.Read(b, v); err != nil {
				t.Fatal(err)
			}
			state = append(state, v)
		}
		return done, state, runErr
	}
	var whole [3][][]float32
	for n := range whole {
		_, whole[n], _ = stopped(t.Context(), n)
	}
	for k := 0; ; k++ {
		done, state, err := stopped(&looks{t.Context(), k}, len(whole)-1)
		for i := range state {
			if !slices.Equal(state[i], whole[done][i]) {
				t.Fatalf("stopped at look %d after %d iterations: %s is of another", k, done, []string{"x", "m", "v", "step"}[i])
			}
		}
		if err == nil {
			if k < 20 {
				t.Errorf("ran to its end with %d looks", k)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

func TestMisuse(t *testing.T) {
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := loop(t, 1, 16, 16)
	r, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	x := p.Named("x")
	for name, err := range map[string]error{
		"short write":     r.Write(x, make([]float32, 5)),
		"write a temp":    r.Write(p.Named("y1"), make([]float32, 1)),
		"read a temp":     r.Read(p.Named("y1"), make([]float32, 1)),
		"read a stranger": r.Read(&gpu.Buffer{Name: "stranger", Role: gpu.State, Shape: x.Shape}, make([]float32, x.Shape.Elems())),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Run(context.Background(), 1); err == nil {
		t.Error("a closed runner runs")
	}
	huge := &gpu.Program{}
	b := huge.NewBuffer("x", gpu.State, gpu.Shape{N: 1, H: 1 << 20, W: 1 << 20, C: 3})
	huge.Output(huge.ReLUFwd("y", b))
	if _, err := d.Compile(huge); memory().total > 0 && !errors.Is(err, gpu.ErrOutOfMemory) {
		t.Errorf("26 TB: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Compile(p); err == nil {
		t.Error("a closed device compiles")
	}
}

// The fences see a write behind a buffer. Where AddressSanitizer looks on they see a read,
// too, and end the program: a second one of this test.
func TestFencesNotice(t *testing.T) {
	const child = "STYLIZE_TEST_FENCES"
	if loops.Fences() && os.Getenv(child) == "" {
		for _, does := range []string{"reads", "writes"} {
			cmd := exec.Command(os.Args[0], "-test.run=^TestFencesNotice$")
			cmd.Env = append(os.Environ(), child+"="+does)
			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "AddressSanitizer: use-after-poison") {
				t.Errorf("a step that %s behind a buffer: %v\n%s", does, err, out)
			}
		}
		return
	}
	d, err := New(Options{Check: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p := loop(t, 1, 16, 16)
	r, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	hr := r.(*runner)
	b := p.Named("y1")
	inner := hr.calls[0]
	hr.calls[0] = func() {
		inner()
		behind := &hr.arena[hr.offset[b]/4+int64(b.Shape.Elems())]
		if os.Getenv(child) == "reads" {
			t.Log(*behind)
			return
		}
		*behind = 1
	}
	if _, err := r.Run(context.Background(), 1); err == nil {
		t.Error("a value behind a buffer went unnoticed")
	} else {
		t.Log(err)
	}
}

// A lane packs what another has not begun before it waits for the other.
func TestLanesSharePacking(t *testing.T) {
	d, err := New(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p := loop(t, 1, 16, 16)
	l, err := d.layOut(p)
	if err != nil {
		t.Fatal(err)
	}
	var first *step // its weights are another's, who packs them when all others are packed
	want := map[packKey]bool{}
	for _, s := range l.steps {
		if key, n := d.weights(s); n > 0 {
			want[key] = true
			if first == nil {
				first = s
			}
		}
	}
	key, _ := d.weights(first)
	known := func() (n int) {
		d.packs.mu.Lock()
		defer d.packs.mu.Unlock()
		for key := range want {
			if d.packs.packed[key] != nil {
				n++
			}
		}
		return n
	}
	others := make(chan int, 1)
	d.packs.packed[key] = &packing{sync.OnceValues(func() (*packed, error) {
		others <- known() - 1
		return d.newPack(first.conv)
	})}
	r, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n := <-others; len(want) < 3 || n != len(want)-1 {
		t.Errorf("a lane waits when %d of %d weights are packed", n, len(want)-1)
	}
}

// Weights that could not be packed are packed when they are asked for again.
func TestPackingAgain(t *testing.T) {
	d, err := New(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	fail := errors.New("not now")
	key := packKey{data: new(float32)}
	if _, err := d.cached(key, func() (*packed, error) { return nil, fail }); !errors.Is(err, fail) {
		t.Errorf("an error became %v", err)
	}
	if p, err := d.cached(key, func() (*packed, error) { return &packed{}, nil }); p == nil || err != nil {
		t.Errorf("asked again: %v, %v", p, err)
	}
}

// Lanes run side by side on one copy of the weights, with the bits of one device, and
// the last to be closed frees them.
func TestLanes(t *testing.T) {
	d, err := New(Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	p := chain(2, 40, 33)
	run := func(d *Device) []float32 {
		r, err := d.Compile(p)
		if err != nil {
			t.Error(err)
			return nil
		}
		defer r.Close()
		x := p.Named("x")
		if err := r.Write(x, picture(x.Shape.Elems())); err != nil {
			t.Error(err)
		}
		if _, err := r.Run(t.Context(), 3); err != nil {
			t.Error(err)
		}
		v := make([]float32, x.Shape.Elems())
		if err := r.Read(x, v); err != nil {
			t.Error(err)
		}
		return v
	}
	want := run(d)
	packed := len(d.packs.packed)
	var lanes []*Device
	var wg sync.WaitGroup
	for range 3 {
		l, err := d.Lane(1)
		if err != nil {
			t.Fatal(err)
		}
		lanes = append(lanes, l)
		wg.Go(func() {
			if !slices.Equal(run(l), want) {
				t.Error("a lane has other bits")
			}
		})
	}
	wg.Wait()
	packs := d.packs
	if len(packs.packed) != packed {
		t.Errorf("%d weights are packed, with lanes %d", packed, len(packs.packed))
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lane(1); err == nil {
		t.Error("a lane of a closed device")
	}
	if !slices.Equal(run(lanes[0]), want) {
		t.Error("a lane has other bits when its device is closed")
	}
	for _, l := range lanes {
		l.Close()
	}
	if packs.packed != nil {
		t.Error("nobody has freed the weights")
	}
}
