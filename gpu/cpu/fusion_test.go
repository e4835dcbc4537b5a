package cpu

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels/kerneltest"

	loops "github.com/stylize-gpu/stylize/kernels/cpu"
)

// chain has every pattern that lower.go fuses: convolution + ReLU + pool,
// signs instead of activations, a gradient behind a pool, a sum with a style
// gradient, gates.
func chain(n, h, w int) *gpu.Program {
	r := rand.New(rand.NewPCG(uint64(h), uint64(w)))
	p := &gpu.Program{}
	weight := func(name string, c, k int) (*gpu.Buffer, *gpu.Buffer) {
		v, b := make([]float32, k*9*c), make([]float32, k)
		for i := range v {
			v[i] = float32(r.NormFloat64() * math.Sqrt(2/float64(9*c)))
		}
		for i := range b {
			b[i] = float32(r.NormFloat64() * 0.1)
		}
		return p.NewConst(name, gpu.Shape{N: k, H: 3, W: 3, C: c}, v), p.NewConst(name+"b", gpu.Shape{N: 1, H: 1, W: 1, C: k}, b)
	}
	x := p.NewBuffer("x", gpu.Input, gpu.Shape{N: n, H: h, W: w, C: 64})
	wa, ba := weight("wa", 64, 64)
	wb, bb := weight("wb", 64, 128)
	wc, bc := weight("wc", 128, 128)
	r1 := p.ReLUFwd("r1", p.Conv3x3Fprop("a", x, wa, ba))
	pool := p.AvgPool2x2Fwd("pool", r1)
	r2 := p.ReLUFwd("r2", p.Conv3x3Fprop("b", pool, wb, bb))
	r3 := p.ReLUFwd("r3", p.Conv3x3Fprop("c", r2, wc, bc))
	g2, g3 := p.GramFwd("r2", r2), p.GramFwd("r3", r3)
	d := p.ReLUBwd("r3", p.GramBwd("r3", g3, r3), r3)
	d = p.Conv3x3Dgrad("c", d, wc)
	d = p.Add("r2", d, p.GramBwd("r2", g2, r2))
	d = p.Conv3x3Dgrad("b", p.ReLUBwd("r2", d, r2), wb)
	d = p.ReLUBwd("r1", p.AvgPool2x2Bwd("pool", d, h, w), r1)
	p.Output(p.Conv3x3Dgrad("a", d, wa))
	return p
}

func TestFusions(t *testing.T) {
	if !loops.HasWinograd {
		t.Skip("this build computes every convolution directly, without fusions")
	}
	ctx := context.Background()
	seen := map[string]bool{}
	for _, set := range loops.Sets() {
		for _, c := range []struct{ n, h, w, threads int }{
			{1, 24, 24, 2}, {1, 37, 53, 3}, {2, 19, 30, 1}, {1, 50, 13, 16}, {3, 18, 18, 2}, {1, 96, 72, 2}, {1, 32, 33, 2}, {1, 64, 32, 8},
		} {
			name := fmt.Sprintf("%s %dx%dx%d threads %d", set.Name, c.n, c.h, c.w, c.threads)
			d, err := New(Options{Set: set.Name, Threads: c.threads, Check: true})
			if err != nil {
				t.Fatal(err)
			}
			p := chain(c.n, c.h, c.w)
			run, err := d.Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			ip := kerneltest.NewInterp[float64](p)
			x := p.Named("x")
			v := picture(x.Shape.Elems())
			ip.Write(x, v)
			if err := run.Write(x, v); err != nil {
				t.Fatal(err)
			}
			if err := ip.Run(); err != nil {
				t.Fatal(err)
			}
			if _, err := run.Run(ctx, 1); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			out := p.Buffers[len(p.Buffers)-1]
			got := make([]float32, out.Shape.Elems())
			if err := run.Read(out, got); err != nil {
				t.Fatal(err)
			}
			// Signs of values near zero may differ between fp32 and float64, and with
			// them whole elements of the gradient: the bound of the whole network.
			if diff := kerneltest.Compare(got, ip.Values[out]); !diff.Within(2e-3) {
				t.Errorf("%s: gradient %v", name, diff)
			}
			for _, s := range run.Plan().Steps {
				seen[s.Name+": "+strings.ReplaceAll(s.How, " "+set.Name, "")] = true
			}
			if err := run.Close(); err != nil {
				t.Error(err)
			}
			d.Close()
		}
	}
	var all []string
	for s := range seen {
		all = append(all, s)
	}
	slices.Sort(all)
	for _, want := range []string{
		"a: winograd 6x6 +bias +relu +pool +signs", "a: winograd 4x4 +bias +relu +pool +signs",
		"b: winograd 4x4 +bias +relu +signs", "c: winograd 4x4 +add +gate", "b: winograd 4x4",
		"a: winograd 4x4 unpool+gate+", "a: winograd 6x6 unpool+gate+",
	} {
		if !seen[want] {
			t.Errorf("never executed: %s\nexecuted:\n%s", want, strings.Join(all, "\n"))
		}
	}
}

// The block sizes that choose.go picks cover every tile once, for any number of
// threads, and give every thread the same.
func TestBlocking(t *testing.T) {
	for _, a := range []algo{f4, f6} {
		for _, px := range []int{16, 17, 64, 150, 512} {
			for _, c := range []int{64, 128, 256, 512} {
				for _, threads := range []int{1, 2, 3, 8, 64} {
					b := block(a, gpu.Shape{N: 1, H: px, W: px, C: c}, c, c, threads, 14)
					if b.size < 1 || b.blocks*b.size < b.tiles || (b.blocks-1)*b.size >= b.tiles {
						t.Errorf("%v %d px %d channels %d threads: %+v", a, px, c, threads, b)
					}
				}
			}
		}
	}
}

func TestLowMemory(t *testing.T) {
	p := chain(1, 64, 64)
	plain, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if !loops.HasWinograd {
		t.Skip("this build transforms no weights")
	}
	if choose(64, 64, 512, 512, false) == direct || choose(64, 64, 512, 512, true) != direct {
		t.Error("low memory transforms the weights of 512 channels")
	}
	if choose(64, 64, 64, 128, true) == direct {
		t.Error("low memory gives up Winograd where weights are small")
	}
	if _, err := plain.Plan(p); err != nil {
		t.Fatal(err)
	}
}
