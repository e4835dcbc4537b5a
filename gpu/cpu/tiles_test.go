package cpu

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels/kerneltest"

	loops "github.com/stylize-gpu/stylize/kernels/cpu"
)

// tolBF16 is the largest relative L2 error of an operation in bf16: what a GPU is allowed.
const tolBF16 = 1e-2

// tileSets are the options that lead to every way to compute in bf16 here: AMX where it is
// there, and the twin with each instruction set.
func tileSets(t *testing.T) map[string]Options {
	t.Helper()
	if !loops.HasWinograd {
		t.Skip("a build without C has no bf16")
	}
	all := map[string]Options{}
	if Best() == BF16 {
		all["amx"] = Options{Precision: BF16}
	}
	for _, set := range loops.Sets() {
		all["twin "+set.Name] = Options{Set: set.Name, Precision: BF16, Twin: true}
	}
	return all
}

// Every operation and size in bf16: on the best way to compute it, and, in the long run, on
// all others.
func TestOperationsBF16(t *testing.T) {
	for name, o := range tileSets(t) {
		if o.Set != "" && o.Set != loops.Sets()[0].Name && testing.Short() {
			continue // TestTilesSameBits holds it against the others
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Threads, o.Check = 3, true
			d, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			kerneltest.Suite{Tol: tolBF16}.Run(t, d)
		})
	}
}

// tileNet is a network from a picture and back with everything that tiles execute at once,
// and what they do not: a style in front of a pool, masks, a content term, a layer of which
// somebody wants the features.
func tileNet(n, h, w int, maxPool bool) *gpu.Program {
	r := rand.New(rand.NewPCG(uint64(h), uint64(w)))
	p := &gpu.Program{}
	weight := func(name string, c, k int) (*gpu.Buffer, *gpu.Buffer) {
		v, b := make([]float32, k*9*c), make([]float32, k)
		for i := range v {
			v[i] = float32(r.NormFloat64() * math.Sqrt(2/float64(9*c)))
		}
		for i := range b {
			b[i] = float32(10*(i%2) - 5) // half the channels are on, half off: few values change sides by rounding
		}
		return p.NewConst(name, gpu.Shape{N: k, H: 3, W: 3, C: c}, v), p.NewConst(name+"b", gpu.Shape{N: 1, H: 1, W: 1, C: k}, b)
	}
	x := p.NewBuffer("x", gpu.Input, gpu.Shape{N: n, H: h, W: w, C: 3})
	knobs := p.NewConst("knobs", gpu.Shape{N: n, H: 1, W: 1, C: gpu.KnobTerms + 1}, slices.Repeat([]float32{50}, n*(gpu.KnobTerms+1)))
	mask := func(name string, f *gpu.Buffer) (*gpu.Buffer, *gpu.Buffer) {
		s := f.Shape
		s.C = 1
		m := p.NewBuffer(name, gpu.Input, s)
		return p.Mul(name, f, m), m
	}
	w1, b1 := weight("w1", 3, 64)
	w2, b2 := weight("w2", 64, 64)
	w3, b3 := weight("w3", 64, 128)
	w4, b4 := weight("w4", 128, 96)
	r1 := p.ReLUFwd("r1", p.Conv3x3Fprop("1", x, w1, b1))
	r2 := p.ReLUFwd("r2", p.Conv3x3Fprop("2", r1, w2, b2))
	var pool *gpu.Buffer
	if maxPool {
		pool = p.MaxPool2x2Fwd("pool", r2)
	} else {
		pool = p.AvgPool2x2Fwd("pool", r2)
	}
	r3 := p.ReLUFwd("r3", p.Conv3x3Fprop("3", pool, w3, b3))
	r4 := p.ReLUFwd("r4", p.Conv3x3Fprop("4", r3, w4, b4))
	p.Output(r3)
	target := p.NewBuffer("target", gpu.Input, gpu.Shape{N: 1, H: r4.Shape.H, W: r4.Shape.W, C: r4.Shape.C})
	weightOf := gpu.Weight{Knobs: knobs, Column: gpu.KnobTerms}
	p.Output(p.MSEFwd("content", r4, target, weightOf))
	d := p.MSEBwd("content", r4, target, weightOf)
	d = p.Add("4", d, p.GramBwd("r4", p.GramFwd("r4", r4), r4))
	d = p.Conv3x3Dgrad("4", p.ReLUBwd("r4", d, r4), w4)
	for i := range 2 {
		f, m := mask(fmt.Sprint("m", i), r3)
		d = p.Add(fmt.Sprint("3 ", i), d, p.Mul("d", p.GramBwd("r3", p.GramFwd("r3", f), f), m))
	}
	d = p.Conv3x3Dgrad("3", p.ReLUBwd("r3", d, r3), w3)
	if maxPool {
		d = p.MaxPool2x2Bwd("pool", d, r2)
	} else {
		d = p.AvgPool2x2Bwd("pool", d, h, w)
		d = p.Add("2", d, p.GramBwd("r2", p.GramFwd("r2", r2), r2))
	}
	d = p.Conv3x3Dgrad("2", p.ReLUBwd("r2", d, r2), w2)
	d = p.Add("1", d, p.GramBwd("r1", p.GramFwd("r1", r1), r1))
	p.Output(p.Conv3x3Dgrad("1", p.ReLUBwd("r1", d, r1), w1))
	return p
}

// What a program computes in bf16 is what it computes in float64, but for the rounding: on
// odd extents, on pictures narrower than a tile, for several pictures.
func TestTiles(t *testing.T) {
	tileSets(t)
	d, err := New(Options{Precision: BF16, Threads: 3, Check: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	seen := map[string]bool{}
	for _, maxPool := range []bool{false, true} {
		for _, e := range []struct{ n, h, w int }{{1, 24, 32}, {2, 19, 37}, {1, 6, 5}, {1, 2, 3}, {1, 50, 17}} {
			t.Run(fmt.Sprintf("%dx%dx%d max %v", e.n, e.h, e.w, maxPool), func(t *testing.T) {
				p := tileNet(e.n, e.h, e.w, maxPool)
				run, err := d.Compile(p)
				if err != nil {
					t.Fatal(err)
				}
				defer run.Close()
				ip := kerneltest.NewInterp[float64](p)
				for i, b := range p.Buffers {
					if b.Role != gpu.Input {
						continue
					}
					v := picture(b.Shape.Elems() + i)[i:]
					ip.Write(b, v)
					if err := run.Write(b, v); err != nil {
						t.Fatal(err)
					}
				}
				if err := ip.Run(); err != nil {
					t.Fatal(err)
				}
				if _, err := run.Run(t.Context(), 2); err != nil { // the second on memory that the first has used
					t.Fatal(err)
				}
				for _, b := range p.Buffers {
					if b.Role != gpu.Output {
						continue
					}
					got := make([]float32, b.Shape.Elems())
					if err := run.Read(b, got); err != nil {
						t.Fatal(err)
					}
					// Roundings of six layers, where what they add up to cancels: 1e-2 to 3.1e-2 by the
					// extent. Behind a maximum that is nearly met twice the gradient takes another way;
					// TestTilesMaxPool compares bits.
					tol := 4e-2
					if maxPool {
						tol = 0.25
					}
					if diff := kerneltest.Compare(got, ip.Values[b]); !diff.Within(tol) {
						t.Errorf("%s: %v", b.Name, diff)
					}
				}
				for _, s := range run.Plan().Steps {
					seen[s.Name+": "+strings.ReplaceAll(s.How, d.tiles.Name+" ", "")] = true
				}
			})
		}
	}
	all := slices.Sorted(maps.Keys(seen))
	for _, want := range []string{
		"1: bf16 +bias +relu +bits", "2: bf16 +bias +relu +pool +bits", "2: bf16 +bias +relu +maxpool +bits",
		"4: bf16 +2 +gate", "3: bf16 +unpool", "3: bf16 +unpool +gate", "r2: bf16 +style +1 +gate", "2: bf16 +style +gate", "m0: mul bf16", "r4: bf16 +style +1 +gate",
	} {
		if !seen[want] {
			t.Errorf("never executed: %s\nexecuted:\n%s", want, strings.Join(all, "\n"))
		}
	}
}

// Fused with the convolutions on both sides, a maximum pool gives the bits that it gives on
// its own: on odd extents, with ties, with NaN, whoever else reads its input.
func TestTilesMaxPool(t *testing.T) {
	tileSets(t)
	for _, c := range []struct {
		name     string
		form     maxForm
		huge     bool
		more     func(m *maxNet)
		fwd, bwd string
	}{
		{name: "alone", form: maxForm{c: 64}, fwd: "+maxpool +bits", bwd: "+unpool +gate"},
		{name: "32 channels", form: maxForm{c: 32}, fwd: "+maxpool +bits", bwd: "+unpool +gate"},
		{name: "forward", form: maxForm{c: 64, forward: true}, fwd: "+relu +maxpool"},
		{name: "forward without relu", form: maxForm{c: 64, forward: true, linear: true}, fwd: "+bias +maxpool"},
		{name: "input kept", form: maxForm{c: 64}, more: func(m *maxNet) { m.p.Output(m.r) }, fwd: "+maxpool +bits", bwd: "+unpool +gate"},
		{name: "NaN", form: maxForm{c: 64}, huge: true, more: func(m *maxNet) { m.p.Output(m.r) }, fwd: "+maxpool +bits", bwd: "+unpool +gate"},
		{name: "gradient kept", form: maxForm{c: 64}, more: func(m *maxNet) { m.p.Output(m.d) }, fwd: "+maxpool +bits", bwd: "+unpool +gate"},
		{name: "gradient without relu", form: maxForm{c: 64, linear: true}},
		{name: "two gradients", form: maxForm{c: 64}, more: func(m *maxNet) { m.p.Output(m.p.MaxPool2x2Bwd("other", m.g, m.r)) }},
	} {
		for _, e := range [][4]int{{2, 19, 30, 1}, {1, 37, 53, 3}, {1, 5, 3, 8}} {
			t.Run(fmt.Sprintf("%s/%dx%dx%d threads %d", c.name, e[0], e[1], e[2], e[3]), func(t *testing.T) {
				d, err := New(Options{Precision: BF16, Threads: e[3], Check: true})
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				fused, alone := newMaxNet(e[0], e[1], e[2], c.form), newMaxNet(e[0], e[1], e[2], maxForm{c: c.form.c, linear: c.form.linear, apart: true})
				if c.more != nil {
					c.more(fused)
					c.more(alone)
				}
				got, how := runProgram(t, d, &fused.p, c.huge)
				want, howAlone := runProgram(t, d, &alone.p, c.huge)
				sameBits(t, got, want)
				if !strings.Contains(how, c.fwd) || !strings.Contains(how, c.bwd) || c.fwd == "" && strings.Contains(how, "+maxpool") || strings.Contains(howAlone, "+maxpool") {
					t.Errorf("want %q and %q:\n%s\nand apart\n%s", c.fwd, c.bwd, how, howAlone)
				}
			})
		}
	}
}

// The same bits on AMX and on every twin, for any number of threads, and for a picture
// whatever stands beside it.
func TestTilesSameBits(t *testing.T) {
	const n, h, w = 3, 21, 34
	var want map[string][]float32
	outputs := func(t *testing.T, o Options, n, first int) map[string][]float32 {
		t.Helper()
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		p := tileNet(n, h, w, false)
		run, err := d.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		defer run.Close()
		for i, b := range p.Buffers {
			if b.Role == gpu.Input {
				e := b.Shape.Elems() / b.Shape.N
				v := picture(3*e + i)[i:]
				if b.Name != "target" { // it is one for all
					v = v[first*e:]
				}
				if err := run.Write(b, v[:b.Shape.Elems()]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := run.Run(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		return readOutputs(t, run, p)
	}
	for name, o := range tileSets(t) {
		for _, threads := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s %d threads", name, threads), func(t *testing.T) {
				o.Threads = threads
				got := outputs(t, o, n, 0)
				if want == nil {
					want = got
				}
				sameBits(t, got, want)
			})
		}
	}
	for i := range n {
		alone, part := outputs(t, Options{Precision: BF16}, 1, i), map[string][]float32{}
		for name, v := range want {
			part[name] = v[i*len(v)/n:][:len(v)/n]
		}
		sameBits(t, alone, part)
	}
}
