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
			p.Conv3x3("y", p.NewBuffer("a", Input, pic), w, p.NewBuffer("b", Input, Shape{1, 1, 1, 8}))
		}},
		{"at least 2x2", func(p *Program) { p.AvgPool2x2("y", p.NewBuffer("a", Input, Shape{1, 1, 4, 3})) }},
		{"at least 1", func(p *Program) { p.ReLU("y", p.NewBuffer("a", Input, Shape{1, 0, 4, 3})) }},
		{"48 values, got 2", func(p *Program) { p.ReLU("y", p.NewConst("a", pic, make([]float32, 2))) }},
		{"before anything wrote it", func(p *Program) { p.ReLU("y", p.NewBuffer("a", Output, pic)) }},
		{"argument is nil", func(p *Program) { p.Add("y", p.NewBuffer("a", Input, pic), nil) }},
		{"lr > 0", func(p *Program) {
			b := func(n string) *Buffer { return p.NewBuffer(n, State, pic) }
			p.Adam(b("x"), b("m"), b("v"), b("g"), b("s"), b("t"), AdamParams{})
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
	y := p.Conv3x3("y", x, w, p.NewBuffer("b", Input, Shape{1, 1, 1, 64}))
	p.Conv3x3Dgrad("y", y, w)
	if got := p.FLOPs(); got != 2*18*64*64*512*512 {
		t.Errorf("%d FLOPs", got)
	}
}
