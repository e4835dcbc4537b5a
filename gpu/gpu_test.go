package gpu

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// No two spans that are alive together overlap, and the arena is near its floor.
func TestPlaceNeverOverlaps(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		spans := make([]Span, 1+r.IntN(60))
		for i := range spans {
			first := r.IntN(40)
			spans[i] = Span{Bytes: int64(r.IntN(5000)), First: first, Last: first + r.IntN(12)}
		}
		p, err := Place(spans)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range spans {
			if p.Offsets[i]%Align != 0 || p.Offsets[i] < 0 || p.Offsets[i]+a.Bytes > p.Bytes {
				t.Fatalf("seed %d: span %d at %d of %d", seed, i, p.Offsets[i], p.Bytes)
			}
			for j, b := range spans[:i] {
				if a.First > b.Last || b.First > a.Last || a.Bytes == 0 || b.Bytes == 0 {
					continue
				}
				if p.Offsets[i] < p.Offsets[j]+b.Bytes && p.Offsets[j] < p.Offsets[i]+a.Bytes {
					t.Fatalf("seed %d: spans %d and %d overlap", seed, i, j)
				}
			}
		}
		if p.Bytes < p.Floor || float64(p.Bytes) > 1.6*float64(p.Floor)+Align {
			t.Fatalf("seed %d: arena %d, floor %d", seed, p.Bytes, p.Floor)
		}
	}
}

func TestPlaceRefuses(t *testing.T) {
	for _, s := range []Span{{Bytes: -1}, {First: -1}, {First: 3, Last: 2}} {
		if _, err := Place([]Span{s}); err == nil {
			t.Errorf("%+v accepted", s)
		}
	}
}

func TestProgramMistakes(t *testing.T) {
	pic := Shape{1, 4, 4, 3}
	for _, c := range []struct {
		want  string
		build func(p *Program)
	}{
		{"no operations", func(*Program) {}},
		{"want n=1 h=4 w=4 c=3", func(p *Program) {
			p.Add("y", p.NewBuffer("a", Input, pic), p.NewBuffer("b", Input, Shape{1, 4, 5, 3}))
		}},
		{"w is", func(p *Program) {
			w := p.NewBuffer("w", Input, Shape{8, 3, 3, 2})
			p.Conv3x3Fprop("y", p.NewBuffer("a", Input, pic), w, p.NewBuffer("b", Input, Shape{1, 1, 1, 8}))
		}},
		{"at least 2x2", func(p *Program) { p.AvgPool2x2Fwd("y", p.NewBuffer("a", Input, Shape{1, 1, 4, 3})) }},
		{"at least 1", func(p *Program) { p.ReLUFwd("y", p.NewBuffer("a", Input, Shape{1, 0, 4, 3})) }},
		{"48 values, got 2", func(p *Program) { p.ReLUFwd("y", p.NewConst("a", pic, make([]float32, 2))) }},
		{"before anything wrote it", func(p *Program) { p.ReLUFwd("y", p.NewBuffer("a", Output, pic)) }},
		{"argument is nil", func(p *Program) { p.Add("y", p.NewBuffer("a", Input, pic), nil) }},
		{"beta < 1", func(p *Program) {
			b := func(n string) *Buffer { return p.NewBuffer(n, State, pic) }
			one := p.NewBuffer("one", State, Shape{1, 1, 1, 1})
			p.Adam(b("x"), b("m"), b("v"), b("g"), one, p.NewBuffer("k", Input, Shape{1, 1, 1, KnobTerms}), b("t"), AdamParams{Beta1: 1})
		}},
		{"knobs is n=2 h=1 w=1 c=7, want n=1 h=1 w=1 c=7", func(p *Program) {
			p.TVFwd("l", p.NewBuffer("a", Input, pic), Weight{p.NewBuffer("k", Input, Shape{2, 1, 1, KnobTerms}), 3})
		}},
		{"knobs is n=1 h=1 w=1 c=4, want n=1 h=1 w=1 c=7", func(p *Program) {
			p.TVFwd("l", p.NewBuffer("a", Input, pic), Weight{p.NewBuffer("k", Input, Shape{1, 1, 1, 4}), 4})
		}},
		{"continued by 1 to 3 pixels, not by 4", func(p *Program) {
			p.PadFwd("x", p.NewBuffer("x", Input, pic), PadParams{Pixels: 4})
		}},
		{"continued by 1 to 4 pixels, not by 5", func(p *Program) {
			p.PadBwd("x", p.NewBuffer("dy", Input, Shape{1, 14, 14, 3}), PadParams{Pixels: 5, Mode: Wrap})
		}},
		{"continued by 1 to 3 pixels, not by 0", func(p *Program) { p.PadFwd("x", p.NewBuffer("x", Input, pic), PadParams{}) }},
		{"2 is not a mode", func(p *Program) {
			p.PadFwd("x", p.NewBuffer("x", Input, pic), PadParams{Pixels: 1, Mode: Wrap + 1})
		}},
		{"average is n=1 h=4 w=5 c=3, want n=1 h=4 w=4 c=3", func(p *Program) {
			one := p.NewBuffer("one", State, Shape{1, 1, 1, 1})
			p.Average(p.NewBuffer("x", State, pic), p.NewBuffer("a", State, Shape{1, 4, 5, 3}), one, p.NewBuffer("k", Input, Shape{1, 1, 1, KnobTerms}))
		}},
		{"only a temporary", func(p *Program) { p.Output(p.NewBuffer("a", Input, pic)) }},
	} {
		p := &Program{}
		c.build(p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// Every kind has a name, and its cost is known.
func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for k := range NumKinds {
		if n := k.String(); n == "" || seen[n] {
			t.Errorf("kind %d is called %q", k, n)
		}
		seen[k.String()] = true
	}
}

// The figures that performance work starts from: 189.35 GFLOP each way at 512x512
// follow from 18 C K P.
func TestConvFLOPs(t *testing.T) {
	p := &Program{}
	x := p.NewBuffer("x", Input, Shape{1, 512, 512, 64})
	w := p.NewBuffer("w", Input, Shape{64, 3, 3, 64})
	y := p.Conv3x3Fprop("y", x, w, p.NewBuffer("b", Input, Shape{1, 1, 1, 64}))
	p.Conv3x3Dgrad("y", y, w)
	if got := p.FLOPs(); got != 2*18*64*64*512*512 {
		t.Errorf("%d FLOPs", got)
	}
}

// Operands are found under the names that they were given as.
func TestOperands(t *testing.T) {
	p := &Program{}
	s := Shape{1, 4, 4, 3}
	in := func(s Shape) *Buffer { return p.NewBuffer("in", Input, s) }
	x := p.NewBuffer("x", State, s)
	step, one := p.NewBuffer("step", State, Shape{1, 1, 1, 1}), Shape{1, 1, 1, 1}
	w, b := in(Shape{3, 3, 3, 3}), in(Shape{1, 1, 1, 3})
	k := Weight{in(Shape{1, 1, 1, KnobTerms + 1}), KnobTerms}
	n := p.NormalizeFwd("n", x, make([]float32, 3), make([]float32, 3))
	r := p.ReLUFwd("r", p.Conv3x3Fprop("c", n, w, b))
	pool := p.AvgPool2x2Fwd("pool", r)
	g := p.GramFwd("g", r)
	total, each := p.Total([]*Buffer{p.MSEFwd("m", g, in(g.Shape), k)}, []*Buffer{in(one)}, p.TVFwd("tv", x, k))
	d := p.GramBwd("g", p.MSEBwd("m", g, in(g.Shape), k), r)
	d = p.ReLUBwd("r", p.Add("a", d, p.AvgPool2x2Bwd("pool", pool, 4, 4)), r)
	d = p.Add("tv", p.NormalizeBwd("n", p.Conv3x3Dgrad("c", d, w), make([]float32, 3)), p.TVBwd("tv", x, k))
	p.Adam(x, p.NewBuffer("m", State, s), p.NewBuffer("v", State, s), d, step, k.Knobs, total, AdamParams{})
	p.Record(x, d, total, each, step, k.Knobs, p.NewBuffer("ring", State, Shape{1, 1, 8, RecTerms + each.Shape.C}), nil)
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	for _, op := range p.Ops {
		switch op.Kind {
		case Adam:
			if m, v := op.Moments(); op.Gradient() != d || op.Picture() != x || op.Step() != step || op.Knobs() != k.Knobs || op.Losses() != total || m == v {
				t.Errorf("%v: operands in other places than their names", op)
			}
		case Record:
			if op.Gradient() != d || op.Picture() != x || op.Step() != step || op.Knobs() != k.Knobs || op.Losses() != total || op.Ring().Name != "ring" {
				t.Errorf("%v: operands in other places than their names", op)
			}
		case ReLUBwd:
			if op.Y() != r || op.DY() == op.DX() {
				t.Errorf("%v: operands in other places than their names", op)
			}
		case Total:
			if c, s, tv := op.Terms(); len(c) != 1 || len(s) != 1 || tv.Name != "tv_tv" {
				t.Errorf("%v: terms in other places than their names", op)
			}
		default: // checked by their number alone
		}
	}
}
