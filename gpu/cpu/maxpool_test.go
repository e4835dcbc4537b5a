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

	loops "github.com/stylize-gpu/stylize/kernels/cpu"
)

// maxNet is a convolution, ReLU and maximum pool, and what comes back through them.
// Its windows have ties in some channels: those of the first weights are 0 forward,
// the values a bias.
type maxNet struct {
	p       gpu.Program
	w       *gpu.Buffer // of the way back
	r, g, d *gpu.Buffer // relu(conv(x)), the gradient behind the pool, that in front of the ReLU
}

type maxForm struct {
	c       int  // channels of x
	linear  bool // no ReLU forward
	forward bool // no gradient
	apart   bool // what lies between the gradients of pool and ReLU is an output: nothing of the pool can be fused
}

func newMaxNet(n, h, w int, form maxForm) *maxNet {
	rnd, c := rand.New(rand.NewPCG(uint64(h), uint64(w))), form.c
	m := &maxNet{}
	p := &m.p
	x := p.NewBuffer("x", gpu.Input, gpu.Shape{N: n, H: h, W: w, C: c})
	weights, bias := make([]float32, 64*9*c), make([]float32, 64)
	for i := range weights {
		weights[i] = float32(rnd.NormFloat64() * math.Sqrt(2/float64(9*c)))
	}
	for i := range bias {
		bias[i] = 0.1 * float32(i%3-1)
	}
	m.w = p.NewConst("w", gpu.Shape{N: 64, H: 3, W: 3, C: c}, weights)
	tied := slices.Clone(weights)
	clear(tied[:9*9*c])
	m.r = p.Conv3x3Fprop("a", x, p.NewConst("tied", m.w.Shape, tied), p.NewConst("b", gpu.Shape{N: 1, H: 1, W: 1, C: 64}, bias))
	if !form.linear {
		m.r = p.ReLUFwd("r", m.r)
	}
	p.Output(p.MaxPool2x2Fwd("pool", m.r))
	if form.forward {
		return m
	}
	m.g = p.NewBuffer("g", gpu.Input, gpu.Shape{N: n, H: h / 2, W: w / 2, C: 64})
	unpooled := p.MaxPool2x2Bwd("unpooled", m.g, m.r)
	if form.apart {
		p.Output(unpooled)
	}
	m.d = p.ReLUBwd("d", unpooled, m.r)
	p.Output(p.Conv3x3Dgrad("y", m.d, m.w))
	return m
}

// runProgram runs a program on random inputs, in x one value in 5000 huge if asked, and
// returns all outputs by name and how each step was executed.
func runProgram(t *testing.T, d *Device, p *gpu.Program, huge bool) (map[string][]float32, string) {
	t.Helper()
	run, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	for _, b := range p.Buffers {
		if b.Role != gpu.Input {
			continue
		}
		v := picture(b.Shape.Elems())
		for i := range v {
			v[i] -= 0.5
		}
		for i := 0; huge && b.Name == "x" && i < len(v); i += 5000 {
			v[i] = math.MaxFloat32
		}
		if err := run.Write(b, v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := run.Run(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	out := readOutputs(t, run, p)
	var how []string
	for _, s := range run.Plan().Steps {
		how = append(how, s.Name+": "+strings.ReplaceAll(s.How, " "+d.loops.Name, ""))
	}
	return out, strings.Join(how, "\n")
}

// readOutputs returns all outputs by name.
func readOutputs(t *testing.T, run gpu.Runner, p *gpu.Program) map[string][]float32 {
	t.Helper()
	out := map[string][]float32{}
	for _, b := range p.Buffers {
		if b.Role == gpu.Output {
			v := make([]float32, b.Shape.Elems())
			if err := run.Read(b, v); err != nil {
				t.Fatal(err)
			}
			out[b.Name] = v
		}
	}
	return out
}

// sameBits compares what both programs output. All NaN are one.
func sameBits(t *testing.T, got, want map[string][]float32) {
	t.Helper()
	for name, v := range got {
		bad, first := 0, 0
		for i, f := range v {
			if g := want[name][i]; math.Float32bits(f) != math.Float32bits(g) && (f == f || g == g) {
				if bad++; bad == 1 {
					first = i
				}
			}
		}
		if bad > 0 {
			t.Errorf("%s: %d of %d values differ, value %d is %g, want %g", name, bad, len(v), first, v[first], want[name][first])
		}
	}
}

// Fused with the convolutions on both sides, a maximum pool gives the bits that it
// gives on its own: on odd extents, with ties, with NaN, whoever else reads its
// input. And it is fused only where that is so.
func TestMaxPoolFused(t *testing.T) {
	if !loops.HasWinograd {
		t.Skip("this build computes every convolution directly, without fusions")
	}
	seen := ""
	for _, c := range []struct {
		name     string
		form     maxForm
		huge     bool // values of x overflow: NaN in places
		more     func(m *maxNet)
		fwd, bwd string // what the plan says of the pool; nothing where it is not fused
	}{
		{name: "alone", form: maxForm{c: 64}, fwd: "+relu +maxpool +maxima", bwd: "unmaxpool+gate+"},
		{name: "forward", form: maxForm{c: 64, forward: true}, fwd: "+relu +maxpool"},
		{name: "forward without relu", form: maxForm{c: 64, forward: true, linear: true}, fwd: "+bias +maxpool"},
		{name: "input kept", form: maxForm{c: 64}, more: func(m *maxNet) { m.p.Output(m.r) }, fwd: "+maxpool +maxima", bwd: "unmaxpool+gate+"},
		{name: "NaN", form: maxForm{c: 64}, huge: true, more: func(m *maxNet) { m.p.Output(m.r) }, fwd: "+maxpool +maxima", bwd: "unmaxpool+gate+"},
		{name: "input in a style", form: maxForm{c: 128}, more: func(m *maxNet) { m.p.Output(m.p.GramFwd("style", m.r)) }, fwd: "+maxpool +maxima", bwd: "unmaxpool+gate+"},
		{name: "gradient without relu", form: maxForm{c: 64, linear: true}},
		{name: "direct convolutions", form: maxForm{c: 32}},
		{name: "gradient kept", form: maxForm{c: 64}, more: func(m *maxNet) { m.p.Output(m.d) }},
		{name: "gradient for two", form: maxForm{c: 64}, more: func(m *maxNet) { m.p.Output(m.p.Add("sum", m.d, m.r)) }},
		{name: "signs for another", form: maxForm{c: 64}, more: func(m *maxNet) {
			d := m.p.Conv3x3Dgrad("other", m.p.NewBuffer("h", gpu.Input, m.r.Shape), m.p.NewConst("w", m.w.Shape, m.w.Data))
			m.p.Output(m.p.ReLUBwd("signs", d, m.r))
		}},
		{name: "two gradients", form: maxForm{c: 64}, more: func(m *maxNet) { m.p.Output(m.p.MaxPool2x2Bwd("other", m.g, m.r)) }},
	} {
		for _, set := range loops.Sets() {
			for _, e := range [][4]int{{2, 19, 30, 1}, {1, 37, 53, 3}, {1, 50, 13, 8}, {1, 96, 72, 2}} {
				t.Run(fmt.Sprintf("%s/%s/%dx%dx%d threads %d", c.name, set.Name, e[0], e[1], e[2], e[3]), func(t *testing.T) {
					d, err := New(Options{Set: set.Name, Threads: e[3], Check: true})
					if err != nil {
						t.Fatal(err)
					}
					defer d.Close()
					apart := maxForm{c: c.form.c, linear: c.form.linear, apart: true}
					fused, alone := newMaxNet(e[0], e[1], e[2], c.form), newMaxNet(e[0], e[1], e[2], apart)
					if c.more != nil {
						c.more(fused)
						c.more(alone)
					}
					got, how := runProgram(t, d, &fused.p, c.huge)
					want, howAlone := runProgram(t, d, &alone.p, c.huge)
					sameBits(t, got, want)
					if c.huge && mixedWindows(want["r"], fused.r.Shape) == 0 {
						t.Error("no window with NaN and numbers")
					}
					for _, part := range []string{c.fwd, c.bwd} {
						if !strings.Contains(how, part) {
							t.Errorf("not fused, want %q:\n%s", part, how)
						}
					}
					if c.fwd == "" && fusedMax(how) || c.bwd == "" && strings.Contains(how, "+maxima") || fusedMax(howAlone) {
						t.Errorf("fused:\n%s\nand\n%s", how, howAlone)
					}
					seen += how + "\n"
				})
				if c.fwd == "" {
					break // one extent for those that are not fused
				}
			}
		}
	}
	for _, tile := range []string{"winograd 4x4", "winograd 6x6"} {
		if !strings.Contains(seen, "a: "+tile+" +bias +relu +maxpool +maxima") || !strings.Contains(seen, "y: "+tile+" unmaxpool+gate+") {
			t.Errorf("never fused with %s:\n%s", tile, seen)
		}
	}
}

func fusedMax(how string) bool {
	return strings.Contains(how, "+maxpool") || strings.Contains(how, "unmaxpool+")
}

// mixedWindows counts the windows that hold both NaN and numbers.
func mixedWindows(r []float32, s gpu.Shape) (n int) {
	for y := 0; y+1 < s.H; y += 2 {
		for x := 0; x+1 < s.W; x += 2 {
			for c := range s.C {
				nan := 0
				for i := range 4 {
					if v := r[((y+i/2)*s.W+x+i%2)*s.C+c]; v != v {
						nan++
					}
				}
				if nan > 0 && nan < 4 {
					n++
				}
			}
		}
	}
	return n
}
