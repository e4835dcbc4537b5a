//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/kernels"
	"github.com/stylize-gpu/stylize/kernels/kerneltest"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// waves is a picture with some of everything: edges, gradients, texture.
func waves(w, h int, f float64) *picture.Picture {
	p := &picture.Picture{W: w, H: h}
	for y := range h {
		for x := range w {
			for c := range 3 {
				v := 0.5 + 0.3*math.Sin(f*float64(x)+float64(c)) + 0.2*math.Cos(1.7*f*float64(y)-float64(c))
				if (x/8+y/8)%2 == 0 {
					v = 1 - v
				}
				p.RGB = append(p.RGB, float32(min(max(v, 0), 1)))
			}
		}
	}
	return p
}

func relL2(got, want []float32) float64 {
	var num, den float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		num += d * d
		den += float64(w) * float64(w)
	}
	return math.Sqrt(num / den)
}

// noise are the weights of every run.
var noise = sync.OnceValue(func() *vgg.Weights { return weights.Random(1) })

// session starts a run from content, or from a picture.
func session(tb testing.TB, dev gpu.Device, w, h, iterations int, from []float32) *transfer.Session {
	tb.Helper()
	return sessionOf(tb, "classic", dev, w, h, iterations, from)
}

func sessionOf(tb testing.TB, preset string, dev gpu.Device, w, h, iterations int, from []float32) *transfer.Session {
	tb.Helper()
	o, err := transfer.Preset(preset)
	if err != nil {
		tb.Fatal(err)
	}
	o.Size, o.Iterations, o.Ladder = max(w, h), iterations, nil
	job := transfer.Job{Options: o, Weights: noise(), Contents: []*picture.Picture{waves(w, h, 0.3)}, Style: waves(w, h, 0.9)}
	if from != nil {
		job.Options.Init, job.Init = "a picture", &picture.Picture{W: w, H: h, RGB: from}
	}
	s, err := transfer.NewSession(tb.Context(), dev, job)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// loop runs a session and returns the gradient of its first iteration, the
// losses of every one, and the picture.
func loop(t *testing.T, dev gpu.Device, w, h, iterations int) (gradient []float32, losses []float64, image []float32) {
	t.Helper()
	s := session(t, dev, w, h, iterations, nil)
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	err := s.Run(t.Context(), func(rows []transfer.Row) (err error) {
		if gradient == nil {
			if gradient, err = s.Read(transfer.BufDImage); err != nil {
				return err
			}
		}
		losses = append(losses, rows[0].Content, rows[0].Style, rows[0].TV)
		return nil
	}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	image, err = s.Read(transfer.BufImage)
	if err != nil {
		t.Fatal(err)
	}
	return gradient, losses, image
}

// Whole iterations agree with the CPU, clean under every check: two of the smallest
// picture in make test, else three of one that was recorded.
func TestTransferSimulated(t *testing.T) {
	t.Parallel()
	w, h, iterations := 32, 32, 3
	if testing.Short() {
		w, h, iterations = 16, 16, 2
	}
	cpu, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cpu.Close()
	wantGrad, wantLoss, wantImage := loop(t, cpu, w, h, iterations)
	for _, c := range []struct {
		p    plan.Precision
		grad float64 // relative L2 of the first gradient
		loss float64 // of each loss
		mode sim.Mode
	}{{plan.FP32, 1e-5, 1e-4, sim.Eager}, {plan.TF32, 2e-3, 5e-3, sim.Lazy}, {plan.FP16, 2e-3, 5e-3, sim.Random(1)}, {plan.BF16, 2e-2, 5e-2, sim.Eager}} {
		if testing.Short() && c.p != plan.FP16 { // what a run takes by itself
			continue
		}
		t.Run(c.p.String(), func(t *testing.T) {
			grad, loss, image := loop(t, onSim(t, c.p, sim.Config{Mode: c.mode}), w, h, iterations)
			if w == 32 {
				bits(t, c.p).Same(t, "transfer 32x32", "sm90a", kerneltest.Hash(kerneltest.Hash(0, grad), image))
			}
			g := relL2(grad, wantGrad)
			worst := 0.0
			for i, v := range wantLoss {
				if i/3*3 == i && v == 0 { // content at the first iteration: the picture is the content
					continue
				}
				worst = max(worst, math.Abs(loss[i]/v-1))
			}
			t.Logf("gradient %.2g of %.0e, losses %.2g of %.0e, picture %.2g", g, c.grad, worst, c.loss, relL2(image, wantImage))
			if !(g <= c.grad) || !(worst <= c.loss) {
				t.Errorf("gradient %.3g (allowed %g), worst loss %.3g (allowed %g)", g, c.grad, worst, c.loss)
			}
		})
	}
}

// Evaluations of L-BFGS agree with the CPU's, clean under every check where
// launches overlap.
func TestLBFGSSimulated(t *testing.T) {
	t.Parallel()
	const size = 16
	evaluations := 6
	if testing.Short() {
		evaluations = 3
	}
	cpu, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cpu.Close()
	run := func(dev gpu.Device) (rows []transfer.Row, image []float32) {
		s := sessionOf(t, "default", dev, size, size, evaluations, nil)
		defer s.Close()
		if err := s.Run(t.Context(), func(r []transfer.Row) error { rows = append(rows, r[0]); return nil }, 0, nil); err != nil {
			t.Fatal(err)
		}
		p, err := s.Picture(0)
		if err != nil {
			t.Fatal(err)
		}
		return rows, p.RGB
	}
	want, wantImage := run(cpu)
	if last := want[evaluations-1]; !(last.Total < want[0].Total) {
		t.Errorf("the loss went from %.4g to %.4g", want[0].Total, last.Total)
	}
	for _, c := range []struct {
		p           plan.Precision
		loss, image float64
	}{{plan.FP32, 1e-3, 1e-4}, {plan.FP16, 3e-2, 1e-2}} {
		if testing.Short() && c.p == plan.FP32 {
			continue
		}
		t.Run(c.p.String(), func(t *testing.T) {
			rows, image := run(onSim(t, c.p, sim.Config{Mode: sim.Random(2)}))
			worst := 0.0
			for i, r := range rows {
				worst = max(worst, math.Abs(r.Total/want[i].Total-1))
				if r.Refused != want[i].Refused || len(r.Terms) != 7 {
					t.Errorf("evaluation %d: %+v, the CPU's %+v", i+1, r, want[i])
				}
			}
			d := relL2(image, wantImage)
			t.Logf("losses %.2g of %.0e, picture %.2g of %.0e", worst, c.loss, d, c.image)
			if !(worst <= c.loss) || !(d <= c.image) {
				t.Errorf("worst loss %.3g (allowed %g), picture %.3g (allowed %g)", worst, c.loss, d, c.image)
			}
		})
	}
}

// The same run with the portable kernels gives the bits that were recorded.
func TestTransferBits(t *testing.T) {
	t.Parallel()
	for _, p := range precisions {
		if testing.Short() && p != plan.BF16 { // TestTransferSimulated has fp16 then
			continue
		}
		t.Run(p.String(), func(t *testing.T) {
			grad, _, image := loop(t, openSim(t, sim.Config{NoChecks: true}, Options{Precision: p, Kernels: "sm80"}), 32, 32, 3)
			bits(t, p).Same(t, "transfer 32x32", "sm80", kerneltest.Hash(kerneltest.Hash(0, grad), image))
		})
	}
}

// Iterations that share a graph are the same iterations, clean under every check
// where the launches of one overlap with those of the next.
func TestManyInOneGraph(t *testing.T) {
	t.Parallel()
	const size = 16
	per := perGraph
	if testing.Short() {
		per = 2
	}
	n := per + 1
	o, err := transfer.Preset("classic")
	if err != nil {
		t.Fatal(err)
	}
	p, err := transfer.LoopProgram(o, noise(), 1, size, size)
	if err != nil {
		t.Fatal(err)
	}
	run := func(cfg sim.Config, chunk int) map[string][]float32 {
		d, err := open(Options{Simulate: simulated.New(cfg), Check: true})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		d.perGraph = per
		r, err := d.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		out := map[string][]float32{}
		for _, b := range p.Buffers {
			values := map[string][]float32{transfer.BufImage: waves(size, size, 0.3).RGB, transfer.BufKnobs: o.Knobs(1)}[b.Name]
			if values == nil {
				continue
			}
			if err := r.Write(b, values); err != nil {
				t.Fatal(err)
			}
		}
		for done := 0; done < n; done += chunk {
			if k, err := r.Run(t.Context(), chunk); err != nil || k != chunk {
				t.Fatalf("ran %d of %d: %v", k, chunk, err)
			}
		}
		for _, b := range p.Buffers {
			if b.Role == gpu.State {
				out[b.Name] = make([]float32, b.Shape.Elems())
				if err := r.Read(b, out[b.Name]); err != nil {
					t.Fatal(err)
				}
			}
		}
		return out
	}
	one, many := run(sim.Config{NoChecks: true}, 1), run(sim.Config{Mode: sim.Random(4)}, n)
	if step := many[transfer.BufStep][0]; step != float32(n) {
		t.Errorf("%v steps, want %d", step, n)
	}
	for name, want := range one {
		if got := many[name]; !slices.Equal(got, want) {
			t.Errorf("%s differs by %.3g", name, relL2(got, want))
		}
	}
}

// A fused program is the unfused list. Each run of operations gives the same
// bits, but for those that round elsewhere: the style gradient is added in the
// accumulators, the first layer rounds its weights and not its gradient, and sums its
// Gram matrix in other shares.
func TestFusedIsUnfused(t *testing.T) {
	t.Parallel()
	driver := simulated.New(sim.Config{NoChecks: true}) // TestKernelsSimulated runs the same cases with them
	open := func(p plan.Precision, unfused bool) *Device {
		return opened(t, Options{Simulate: driver, Precision: p, Unfused: unfused})
	}
	for _, p := range []plan.Precision{plan.FP32, plan.FP16, plan.BF16} {
		fused, unfused := open(p, false), open(p, true)
		for _, c := range kerneltest.Cases() {
			if c.Group == "vgg" && testing.Short() || c.Ints || strings.HasSuffix(c.Name, " style") || strings.HasSuffix(c.Name, " a picture") {
				continue
			}
			if testing.Short() && p != plan.FP16 && c.Group != "tiny" {
				continue
			}
			prog, data := c.Program()
			if l, err := plan.New(prog, plan.Target{Precision: p, SMs: 132}); err != nil || len(l.Steps) == len(prog.Ops) {
				continue // nothing is fused
			}
			got, want := results(t, fused, prog, data), results(t, unfused, prog, data)
			for b := range got {
				if !slices.Equal(got[b], want[b]) {
					t.Errorf("%v: %v: %s differs from the unfused list by %.3g", p, c, b.Name, relL2(got[b], want[b]))
				}
			}
		}
	}
	for _, p := range []plan.Precision{plan.FP32, plan.FP16} {
		if testing.Short() && p != plan.FP32 { // the stricter
			continue
		}
		fg, _, fi := loop(t, open(p, false), 16, 16, 1)
		ug, _, ui := loop(t, open(p, true), 16, 16, 1)
		g, i := relL2(fg, ug), relL2(fi, ui)
		t.Logf("%v: gradient %.2g, picture %.2g", p, g, i)
		// In fp32 only the mean and deviation are summed in another order. In fp16 each
		// is within 2e-3 of the CPU (TestTransferSimulated), by roundings of its own.
		if p == plan.FP32 && (g != 0 || i != 0) || !(g <= 4e-3) {
			t.Errorf("%v: fused and unfused differ: gradient %.3g, picture %.3g", p, g, i)
		}
	}
}

// A layer before a pooling of maxima, there and back: the fused kernels give the bits
// of the list, clean under every check. Cases with oracles would not do: where two
// values of a window are near one another, rounding decides which is the maximum.
func TestMaxPoolFused(t *testing.T) {
	t.Parallel()
	build := func(n, h, w, c, k int, kept bool) *gpu.Program {
		p := &gpu.Program{}
		r := rand.New(rand.NewPCG(uint64(h), uint64(k)))
		values := func(n int) []float32 {
			v := make([]float32, n)
			for i := range v {
				v[i] = (r.Float32() - 0.5) / 8
			}
			return v
		}
		conv := func(k, c int) *gpu.Buffer {
			return p.NewConst(fmt.Sprintf("w%d", len(p.Buffers)), gpu.Shape{N: k, H: 3, W: 3, C: c}, values(9*k*c))
		}
		x := p.NewBuffer("x", gpu.Input, gpu.Shape{N: n, H: h, W: w, C: c})
		dy := p.NewBuffer("dy", gpu.Input, gpu.Shape{N: n, H: h / 2, W: w / 2, C: k})
		f := p.ReLUFwd("relu", p.Conv3x3Fprop("y", x, conv(k, c), p.NewConst("b", gpu.Shape{N: 1, H: 1, W: 1, C: k}, values(k))))
		p.Output(p.MaxPool2x2Fwd("pool", f))
		p.Output(p.ReLUBwd("relu", p.MaxPool2x2Bwd("pool", p.Conv3x3Dgrad("above", dy, conv(k, k)), f), f))
		if kept {
			p.Output(f)
		}
		return p
	}
	for i, pr := range []plan.Precision{plan.FP16, plan.BF16, plan.TF32, plan.FP32} {
		for j, o := range []Options{{Kernels: "sm80"}, {}} {
			for k, q := range [][5]int{{1, 2, 3, 64, 64}, {2, 9, 17, 64, 128}, {1, 18, 7, 128, 64}, {1, 33, 35, 64, 64}} {
				if testing.Short() && (i+j+k)%2 == 1 {
					continue
				}
				t.Run(fmt.Sprintf("%v%s/%v", pr, o.Kernels, q), func(t *testing.T) {
					p := build(q[0], q[1], q[2], q[3], q[4], k%2 == 0)
					data := map[*gpu.Buffer][]float32{}
					r := rand.New(rand.NewPCG(7, uint64(k)))
					for _, b := range p.Buffers {
						if b.Role == gpu.Input {
							for range b.Shape.Elems() {
								data[b] = append(data[b], float32(r.IntN(33)-16)/16) // many ties
							}
						}
					}
					o := o
					o.Precision = pr
					l, err := plan.New(p, plan.Target{Precision: pr, Hopper: o.Kernels == "" && pr != plan.FP32, SMs: 132})
					if err != nil {
						t.Fatal(err)
					}
					if want := 2; pr != plan.FP32 && len(l.Steps) != want {
						t.Fatalf("%d steps, want %d: nothing is fused", len(l.Steps), want)
					}
					sms := 1 + 131*(k%2) // which decide how many blocks share a sum
					fused := openSim(t, sim.Config{Mode: modes[(i+j+k)%len(modes)], SMs: sms}, o)
					o.Simulate, o.Unfused = simulated.New(sim.Config{NoChecks: true, SMs: sms}), true
					got, want := results(t, fused, p, data), results(t, opened(t, o), p, data)
					for b := range want {
						if !slices.Equal(got[b], want[b]) {
							t.Errorf("%s differs from the unfused list by %.3g", b.Name, relL2(got[b], want[b]))
						}
					}
				})
			}
		}
	}
}

// TestGatesFused compares two layers and a pooling of whole windows, there and back, with
// the unfused list in every tile: what they keep for the way back are bits, which gate
// both the convolution's gradient and the gradient that a pooling spreads.
func TestGatesFused(t *testing.T) {
	t.Parallel()
	const c = 128 // that every tile takes
	build := func(n, h, w int) *gpu.Program {
		p := &gpu.Program{}
		r := rand.New(rand.NewPCG(uint64(h), uint64(w)))
		values := func(n int) []float32 {
			v := make([]float32, n)
			for i := range v {
				v[i] = (r.Float32() - 0.5) / 8
			}
			return v
		}
		weights := func() *gpu.Buffer {
			return p.NewConst(fmt.Sprintf("w%d", len(p.Buffers)), gpu.Shape{N: c, H: 3, W: 3, C: c}, values(9*c*c))
		}
		bias := func() *gpu.Buffer {
			return p.NewConst(fmt.Sprintf("b%d", len(p.Buffers)), gpu.Shape{N: 1, H: 1, W: 1, C: c}, values(c))
		}
		x := p.NewBuffer("x", gpu.Input, gpu.Shape{N: n, H: h, W: w, C: c})
		dy := p.NewBuffer("dy", gpu.Input, gpu.Shape{N: n, H: h / 2, W: w / 2, C: c})
		below := p.ReLUFwd("relu1", p.Conv3x3Fprop("y1", x, weights(), bias()))
		f := p.ReLUFwd("relu2", p.Conv3x3Fprop("y2", below, weights(), bias()))
		p.Output(p.AvgPool2x2Fwd("pool", f))
		d := p.ReLUBwd("relu2", p.AvgPool2x2Bwd("pool", p.Conv3x3Dgrad("above", dy, weights()), h, w), f)
		p.Output(p.ReLUBwd("relu1", p.Conv3x3Dgrad("y2", d, weights()), below))
		return p
	}
	for i, pr := range []plan.Precision{plan.FP16, plan.BF16} {
		for j, tile := range append(slices.Clone(kernels.Tiles), kernels.Tile{}) { // and those of older GPUs
			for k, q := range [][3]int{{2, 10, 18}, {1, 34, 6}, {1, 6, 34}} {
				if testing.Short() && (i+j+k)%3 != 0 {
					continue
				}
				t.Run(fmt.Sprintf("%v/%v/%v", pr, tile, q), func(t *testing.T) {
					t.Parallel()
					p := build(q[0], q[1], q[2])
					data := map[*gpu.Buffer][]float32{}
					r := rand.New(rand.NewPCG(7, uint64(k)))
					for _, b := range p.Buffers {
						if b.Role == gpu.Input {
							for range b.Shape.Elems() {
								data[b] = append(data[b], r.Float32()-0.5)
							}
						}
					}
					sms := 1 + k // blocks take several tiles
					o := Options{Precision: pr}
					if tile == (kernels.Tile{}) {
						o.Kernels = "sm80"
					}
					open := func(cfg sim.Config, unfused bool) *Device {
						cfg.SMs, o.Unfused = sms, unfused
						d := openSim(t, cfg, o)
						d.target.Only = tile
						return d
					}
					fused := open(sim.Config{Mode: modes[(i+j+k)%len(modes)]}, false)
					l, err := plan.New(p, fused.target)
					if err != nil {
						t.Fatal(err)
					}
					if len(l.Steps) != 4 {
						t.Fatalf("%d steps, want 4: not all is fused", len(l.Steps))
					}
					got, want := results(t, fused, p, data), results(t, open(sim.Config{NoChecks: true}, true), p, data)
					for b := range want {
						if !slices.Equal(got[b], want[b]) {
							t.Errorf("%s differs from the unfused list by %.3g", b.Name, relL2(got[b], want[b]))
						}
					}
				})
			}
		}
	}
}

// results runs a program once and reads what it writes.
func results(t *testing.T, d *Device, p *gpu.Program, data map[*gpu.Buffer][]float32) map[*gpu.Buffer][]float32 {
	t.Helper()
	r, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	for b, v := range data {
		if err := r.Write(b, v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Run(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	out := map[*gpu.Buffer][]float32{}
	for _, b := range p.Buffers {
		if b.Role == gpu.Output || b.Role == gpu.State && b.Name != "ring" {
			out[b] = make([]float32, b.Shape.Elems())
			if err := r.Read(b, out[b]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}
