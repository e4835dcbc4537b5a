package cpu

import (
	"math"
	"slices"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
)

// optimizer is a program that is L-BFGS alone: the test gives it losses and
// gradients.
type optimizer struct {
	t testing.TB
	r gpu.Runner
	p *gpu.Program
}

func newOptimizer(tb testing.TB, h, w, history int, x []float32) *optimizer {
	tb.Helper()
	dev, err := New(Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { dev.Close() })
	p, s, one := &gpu.Program{}, gpu.Shape{N: 1, H: h, W: w, C: 3}, gpu.Shape{N: 1, H: 1, W: 1, C: 1}
	l := gpu.LBFGSParams{History: history, First: 0.05, Most: 0.5, Rise: 0.2}
	image, m := p.NewBuffer("x", gpu.State, s), p.NewLBFGSState(s, l)
	total, each := p.Total([]*gpu.Buffer{p.NewBuffer("loss", gpu.Input, one)}, nil, p.NewBuffer("tv", gpu.Input, one))
	g := p.NewBuffer("g", gpu.Input, s)
	step, knobs := p.NewBuffer("step", gpu.State, one), p.NewConst("knobs", gpu.Shape{N: 1, H: 1, W: 1, C: gpu.KnobTerms}, []float32{1e6, 1, 1, 0, 1, 0, 0})
	p.LBFGS(image, g, step, knobs, total, m, l)
	ring := p.NewBuffer("ring", gpu.State, gpu.Shape{N: 1, H: 1, W: 1, C: gpu.RecTerms + each.Shape.C})
	p.Record(image, g, total, each, step, knobs, ring, m.Control)
	r, err := dev.Compile(p)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.Close() })
	o := &optimizer{tb, r, p}
	for _, b := range p.Buffers {
		if b.Role == gpu.State || b.Role == gpu.Input {
			o.write(b.Name, make([]float32, b.Shape.Elems()))
		}
	}
	o.write("x", x)
	return o
}

func (o *optimizer) write(name string, v []float32) {
	o.t.Helper()
	if err := o.r.Write(o.p.Named(name), v); err != nil {
		o.t.Fatal(err)
	}
}

func (o *optimizer) read(name string) []float32 {
	o.t.Helper()
	b := o.p.Named(name)
	v := make([]float32, b.Shape.Elems())
	if err := o.r.Read(b, v); err != nil {
		o.t.Fatal(err)
	}
	return v
}

// evaluate is one evaluation; it returns the row that the ring has of it.
func (o *optimizer) evaluate(loss float32, g []float32) []float32 {
	o.t.Helper()
	o.write("loss", []float32{loss})
	o.write("g", g)
	if _, err := o.r.Run(o.t.Context(), 1); err != nil {
		o.t.Fatal(err)
	}
	return o.read("ring")
}

// What is not to happen, happens: each guard, in the order of a bad day.
func TestLBFGSGuards(t *testing.T) {
	const e = 4 * 5 * 3
	start := make([]float32, e)
	for i := range start {
		start[i] = 0.5
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	ones := func(v float32) []float32 { return slices.Repeat([]float32{v}, e) }
	o := newOptimizer(t, 4, 5, 3, start)

	// Nothing to go back to: the same x again, and a failure.
	for _, g := range []float32{inf, nan, 1e30} {
		row := o.evaluate(1, ones(g))
		if row[gpu.RecRefused] != 1 || row[gpu.RecFinite] != 0 || !slices.Equal(o.read("x"), start) {
			t.Fatalf("gradient %v first: row %v, x %v", g, row, o.read("x")[0])
		}
	}
	// The first that is accepted: along the gradient, by 0.05.
	row := o.evaluate(10, ones(2))
	if x := o.read("x")[0]; row[gpu.RecRefused] != 0 || row[gpu.RecFinite] != 1 || math.Abs(float64(x)-0.45) > 1e-6 {
		t.Fatalf("first step: row %v, x %v, want 0.45", row, x)
	}
	// A loss that rose by more than a fifth: three tenths of the step, from where it was.
	row = o.evaluate(12.1, ones(-2))
	if x := o.read("x")[0]; row[gpu.RecRefused] != 1 || row[gpu.RecFinite] != 1 || math.Abs(float64(x)-0.485) > 1e-6 || o.read("accepted")[0] != 0.5 {
		t.Fatalf("refused: row %v, x %v, want 0.485", row, x)
	}
	// One that rose by less is taken, and the pair with it.
	o.evaluate(11.9, ones(1))
	if c := o.read("control"); c[gpu.CtlAccepted] != 2 || c[gpu.CtlPairs] != 1 || c[gpu.CtlFactor] != 1 || c[gpu.CtlRefusals] != 0 {
		t.Fatalf("taken: control %v", c)
	}
	// Not a number: back, and the second time the pairs are forgotten.
	for i := range 2 {
		row = o.evaluate(nan, ones(1))
		if c := o.read("control"); row[gpu.RecFinite] != 1 || c[gpu.CtlPairs] != float32(1-i) || c[gpu.CtlRefusals] != float32(i+1) {
			t.Fatalf("not a number: row %v, control %v", row, c)
		}
	}
	if x, a := o.read("x")[0], o.read("accepted")[0]; math.Abs(float64(x-(a-0.05*0.09))) > 1e-6 {
		t.Fatalf("along the gradient again: x %v from %v", x, a)
	}
	// Until it gives up.
	for i := 2; i < gpu.GiveUp; i++ {
		row = o.evaluate(1, ones(inf))
		if want := i+1 < gpu.GiveUp; (row[gpu.RecFinite] == 1) != want {
			t.Fatalf("refusal %d: row %v", i+1, row)
		}
	}
	// A loss that keeps rising is taken after eight times, or it would never end.
	o = newOptimizer(t, 4, 5, 3, start)
	o.evaluate(1, ones(1))
	for i := range 9 {
		if row = o.evaluate(100, ones(1)); (row[gpu.RecRefused] == 0) != (i == 8) {
			t.Fatalf("rise %d: row %v", i+1, row)
		}
	}
	for _, v := range o.read("x") {
		if !(v >= 0 && v <= 1) {
			t.Fatalf("x is %v", v)
		}
	}
}

// A step is at most Most, and values at their bounds that would leave stay.
func TestLBFGSBounds(t *testing.T) {
	x := []float32{0, 0, 1, 1, 0.5, 0.5, 0.2, 0.2, 0.2, 0.9, 0.9, 0.9}
	o := newOptimizer(t, 2, 2, 4, x)
	g := []float32{1, -1, -1, 1, 0, 1, 1, 1, 1, -1, -1, -1}
	o.evaluate(1, g)
	o.evaluate(0.9, slices.Repeat([]float32{1e-4}, len(x))) // a tiny y: the next step wants to be huge
	if c := o.read("control"); c[gpu.CtlStep] > 0.5+1e-6 {
		t.Errorf("step of %v", c[gpu.CtlStep])
	}
	after := o.read("accepted")
	for i, want := range []float32{0, 0.05, 1, 0.95, 0.5, 0.45} {
		if math.Abs(float64(after[i]-want)) > 1e-6 {
			t.Errorf("value %d went from %v to %v, want %v", i, x[i], after[i], want)
		}
	}
	for i, v := range o.read("x") {
		if !(v >= 0 && v <= 1) {
			t.Errorf("value %d is %v", i, v)
		}
	}
}

// What the optimizer costs by itself, with all its pairs.
func BenchmarkLBFGS(b *testing.B) {
	const side, history = 512, 8
	e := 3 * side * side
	x, g := make([]float32, e), make([]float32, e)
	for i := range x {
		x[i], g[i] = 0.5, float32(math.Sin(float64(i)))
	}
	o := newOptimizer(b, side, side, history, x)
	step := func() {
		for i := range g {
			g[i] *= 0.9
		}
		o.evaluate(1, g)
	}
	for range history + 2 {
		step()
	}
	if c := o.read("control"); c[gpu.CtlPairs] != history {
		b.Fatalf("%v pairs", c[gpu.CtlPairs])
	}
	b.SetBytes(int64(4 * e * (4*history + 21)))
	for b.Loop() {
		if _, err := o.r.Run(b.Context(), 1); err != nil {
			b.Fatal(err)
		}
	}
}
