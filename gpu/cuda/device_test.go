//go:build cuda

package cuda

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gorgonia.org/cu"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/vgg"
)

// free is the memory that nothing holds on a device.
func free(t *testing.T, d *Device) (n int64) {
	t.Helper()
	err := d.do(func() (err error) {
		n, _, err = cu.MemInfo()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// doubled is a program that adds a picture to itself.
func doubled(n int) (p *gpu.Program, x, y *gpu.Buffer) {
	p = &gpu.Program{}
	x = p.NewBuffer("x", gpu.Input, gpu.Shape{N: 1, H: 1, W: n, C: 1})
	return p, x, p.Output(p.Add("y", x, x))
}

// What a program took is free again after Close, also after one that did not fit;
// and that error says what was asked for and what is free.
func TestMemoryComesBack(t *testing.T) {
	t.Parallel()
	d := onSim(t, plan.FP16, sim.Config{Memory: 100e6})
	before := free(t, d)
	p, _, _ := doubled(1000)
	r, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if free(t, d) >= before {
		t.Error("a program takes no memory")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if n := free(t, d); n != before {
		t.Errorf("%d bytes are not free again", before-n)
	}
	o, err := transfer.Preset("classic")
	if err != nil {
		t.Fatal(err)
	}
	big, err := transfer.LoopProgram(o, vgg.Shapes(), 1, 512, 512)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Compile(big)
	if !errors.Is(err, gpu.ErrOutOfMemory) || !strings.Contains(err.Error(), "125 MB and 52 MB of weights") || !strings.Contains(err.Error(), "of 100 MB are free") {
		t.Errorf("a program that does not fit: %v", err)
	}
	for _, w := range d.weights { // those that were uploaded are kept for the next program
		before -= w.bytes
	}
	if n := free(t, d); n < before-1<<16 {
		t.Errorf("%d bytes are not free again after a program that did not fit", before-n)
	}
	if r, err = d.Compile(p); err != nil {
		t.Errorf("the device is of no use after a program that did not fit: %v", err)
	} else if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Two devices of one process work side by side.
func TestTwoDevices(t *testing.T) {
	t.Parallel()
	drv := simulated.New(sim.Config{}, sim.Config{Arch: "sm_80"})
	var wg sync.WaitGroup
	for i := range 2 {
		d, err := open(Options{Simulate: drv, Ordinal: i, Precision: plan.FP32})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		wg.Go(func() {
			for n := 1; n < 2000; n *= 3 {
				p, x, y := doubled(n)
				v := make([]float32, n)
				for k := range v {
					v[k] = float32(k + i)
				}
				got, err := pass(t.Context(), d, p, x, y, v)
				if err != nil {
					t.Error(err)
					return
				}
				for k := range got {
					if got[k] != float32(2*(k+i)) {
						t.Errorf("device %d: value %d is %g, want %d", i, k, got[k], 2*(k+i))
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if _, err := Open(Options{Simulate: drv, Ordinal: 2}); !errors.Is(err, gpu.ErrNoDevice) || !strings.Contains(err.Error(), "there are 2") {
		t.Errorf("a third of two devices: %v", err)
	}
}

// PTX that the driver refuses is an error with what its compiler said.
func TestRefusedPTX(t *testing.T) {
	t.Parallel()
	d := onSim(t, plan.FP32, sim.Config{})
	err := d.do(func() error {
		_, err := loadModule("broken", ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry t() { nonsense.f32 %f1; ret; }\n")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "broken.ptx") || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("broken PTX: %v", err)
	}
}

// A kernel that goes wrong loses the device: Run says so and counts nothing as
// done, all else is an error and no panic, and so is use after Close.
func TestLostDevice(t *testing.T) {
	t.Parallel()
	drv := simulated.New(sim.Config{})
	d, err := open(Options{Simulate: drv, Check: true, Precision: plan.FP32})
	if err != nil {
		t.Fatal(err)
	}
	p, x, y := doubled(1000)
	run, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	r := run.(*runner)
	// The memory of x goes away under the kernel.
	if err := d.do(func() error { return cu.MemFree(r.at(t, x)) }); err != nil {
		t.Fatal(err)
	}
	n, err := r.Run(t.Context(), 3)
	if err == nil || n != 0 || !strings.Contains(err.Error(), "add_f32") {
		t.Errorf("%d iterations, %v", n, err)
	}
	v := make([]float32, 1000)
	v[0] = float32(math.Pi)
	if err := r.Read(y, v); err == nil {
		t.Error("a lost device gives values")
	}
	if err := r.Close(); err != nil {
		t.Errorf("closing what is lost: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("closing what is lost: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if err := r.Write(x, v); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("use after close: %v", err)
	}
	if _, err := d.Compile(p); err == nil {
		t.Error("a closed device compiles")
	}
}

// An element whose gradient, or its square, is not finite is left alone by Adam
// and reported by the record; the others move.
func TestOverflowedGradientIsLeftAlone(t *testing.T) {
	t.Parallel()
	d := onSim(t, plan.FP32, sim.Config{})
	p := &gpu.Program{}
	s, one := gpu.Shape{N: 1, H: 5, W: 61, C: 3}, gpu.Shape{N: 1, H: 1, W: 1, C: 1}
	x, m, v := p.NewBuffer("x", gpu.State, s), p.NewBuffer("m", gpu.State, s), p.NewBuffer("v", gpu.State, s)
	step, ring := p.NewBuffer("step", gpu.State, one), p.NewBuffer("ring", gpu.State, gpu.Shape{N: 1, H: 1, W: 1, C: gpu.RecTerms + 2})
	g, c, tv := p.NewBuffer("g", gpu.Input, s), p.NewBuffer("c", gpu.Input, one), p.NewBuffer("tv", gpu.Input, one)
	total, each := p.Total([]*gpu.Buffer{c}, nil, tv)
	knobs := p.NewConst("knobs", gpu.Shape{N: 1, H: 1, W: 1, C: gpu.KnobTerms}, []float32{99, 0.01, 1, 0, 1, 0, 0})
	p.Adam(x, m, v, g, step, knobs, total, gpu.AdamParams{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8})
	p.Record(x, g, total, each, step, knobs, ring, nil)
	r, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	bad := map[int]float32{0: float32(math.Inf(1)), 300: float32(math.NaN()), 301: 3e19, 914: float32(math.Inf(-1))}
	run := func(holes bool, loss float32) (pixels []float32, finite float32) {
		xs, gs := make([]float32, s.Elems()), make([]float32, s.Elems())
		for i := range xs {
			xs[i], gs[i] = 0.5, 1
			if b, ok := bad[i]; ok && holes {
				gs[i] = b
			}
		}
		row := make([]float32, gpu.RecTerms+2)
		zero := make([]float32, s.Elems())
		if err := errors.Join(r.Write(x, xs), r.Write(m, zero), r.Write(v, zero), r.Write(g, gs), r.Write(c, []float32{loss}), r.Write(step, []float32{0})); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Run(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Read(x, xs), r.Read(ring, row)); err != nil {
			t.Fatal(err)
		}
		return xs, row[gpu.RecFinite]
	}
	for _, c := range []struct {
		holes  bool
		loss   float32
		finite float32
	}{{false, 1, 1}, {true, 1, 0}, {false, float32(math.Inf(1)), 0}, {false, float32(math.NaN()), 0}} {
		xs, finite := run(c.holes, c.loss)
		if finite != c.finite {
			t.Errorf("%+v: the record says %g", c, finite)
		}
		for i, v := range xs {
			_, hole := bad[i]
			still := hole && c.holes || c.loss != 1
			if still && v != 0.5 || !still && math.Abs(float64(v)-0.49) > 1e-6 {
				t.Fatalf("%+v: value %d is %g", c, i, v)
			}
		}
	}
}

// On a driver that does nothing before something waits for it, results are the
// same: every copy, and every launch behind one, is ordered.
func TestDelayed(t *testing.T) {
	t.Parallel()
	run := func(delay bool) (big, gradient, image []float32) {
		drv := simulated.New(sim.Config{NoChecks: true})
		if delay {
			drv.Delay()
		}
		d, err := open(Options{Simulate: drv, Precision: plan.FP16})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}()
		const n = 5 * stagingBytes / 4 / 2 // several rounds through the staging memory, and a rest
		p, x, y := doubled(n + 77)
		r, err := d.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		v := make([]float32, n+77)
		for i := range v {
			v[i] = float32(i)
		}
		if err := r.Write(x, v); err != nil {
			t.Fatal(err)
		}
		clear(v) // Write has taken it
		if _, err := r.Run(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := r.Read(y, v); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		iterations := 2
		if testing.Short() {
			iterations = 1
		}
		gradient, _, image = loop(t, d, 16, 16, iterations)
		return v, gradient, image
	}
	big, gradient, image := run(true)
	for i, v := range big {
		if v != 2*float32(i) {
			t.Fatalf("value %d is %v", i, v)
		}
	}
	_, g, im := run(false)
	if !slices.Equal(g, gradient) || !slices.Equal(im, image) {
		t.Errorf("gradient differs by %.3g, picture by %.3g", relL2(gradient, g), relL2(image, im))
	}
}

// pass sends v through a program on a device, and returns what it gives.
func pass(ctx context.Context, d gpu.Device, p *gpu.Program, x, y *gpu.Buffer, v []float32) (_ []float32, err error) {
	r, err := d.Compile(p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.Write(x, v); err != nil {
		return nil, err
	}
	if _, err := r.Run(ctx, 1); err != nil {
		return nil, err
	}
	out := make([]float32, y.Shape.Elems())
	return out, r.Read(y, out)
}

// convolved is a program with a convolution, which Hopper does with kernels of its
// own, and values for it.
func convolved() (p *gpu.Program, x, y *gpu.Buffer, v []float32) {
	p = &gpu.Program{}
	weights := make([]float32, 64*9*64+64)
	for i := range weights {
		weights[i] = float32(i*7919%31-15) / 64
	}
	w := p.NewConst("w", gpu.Shape{N: 64, H: 3, W: 3, C: 64}, weights[64:])
	b := p.NewConst("b", gpu.Shape{N: 1, H: 1, W: 1, C: 64}, weights[:64])
	x = p.NewBuffer("x", gpu.Input, gpu.Shape{N: 1, H: 16, W: 16, C: 64})
	y = p.Output(p.ReLUFwd("relu", p.Conv3x3Fprop("conv", x, w, b)))
	v = make([]float32, x.Shape.Elems())
	for i := range v {
		v[i] = float32(i%29-14) / 16
	}
	return p, x, y, v
}

// Two simulated drivers, one with an Ampere and one with a Hopper device, are open
// at a time and in turn give what each gives alone. What one's kernel does wrong
// is nothing to the other.
func TestTwoDrivers(t *testing.T) {
	t.Parallel()
	configs := map[string]sim.Config{"sm_80": {Arch: "sm_80", Memory: 256 << 20}, "sm_90": {}}
	p, x, y, v := convolved()
	alone := map[string][]float32{}
	for arch, cfg := range configs {
		d, err := open(Options{Simulate: simulated.New(cfg)})
		if err != nil {
			t.Fatal(err)
		}
		if alone[arch], err = pass(t.Context(), d, p, x, y, v); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	devices := map[string]*Device{}
	for arch, cfg := range configs {
		devices[arch] = onSim(t, plan.FP16, cfg)
	}
	for range 2 {
		for arch, d := range devices {
			if info := d.Info(); !strings.Contains(info.Detail, arch) || d.target.Hopper != (arch == "sm_90") || (info.Memory == 256<<20) != (arch == "sm_80") {
				t.Errorf("%s: %+v", arch, info)
			}
			got, err := pass(t.Context(), d, p, x, y, v)
			if err != nil || !slices.Equal(got, alone[arch]) {
				t.Errorf("%s beside the other: %v; results differ by %.3g from those alone", arch, err, relL2(got, alone[arch]))
			}
		}
	}
	bad, good := devices["sm_80"], devices["sm_90"]
	run, err := bad.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	r := run.(*runner)
	if err := bad.do(func() error { return cu.MemFree(r.at(t, x)) }); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Run(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "conv3x3") {
		t.Errorf("a kernel whose input is gone: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := good.report(errors.New("mine")); err.Error() != "mine" {
		t.Errorf("an error with another device's report: %v", err)
	}
	if got, err := pass(t.Context(), good, p, x, y, v); err != nil || !slices.Equal(got, alone["sm_90"]) {
		t.Errorf("after the other was lost: %v", err)
	}
}

// A GPU and simulated devices work side by side, in any order of opening and
// closing. The GPU is that of testdata/libcuda.c, which computes nothing: this
// test starts itself beside that library.
func TestGPUBesideSimulators(t *testing.T) {
	const lib = "idle_libcuda.so"
	if filepath.Base(os.Getenv("STYLIZE_LIBCUDA")) != lib {
		gcc, err := exec.LookPath("gcc")
		if err != nil {
			t.Fatalf("the package was built with a C compiler, and now there is none: %v", err)
		}
		so := filepath.Join(t.TempDir(), lib)
		if out, err := exec.Command(gcc, "-shared", "-fPIC", "-o", so, "testdata/libcuda.c").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		cmd := exec.Command(os.Args[0], "-test.run", "^TestGPUBesideSimulators$", "-test.v")
		cmd.Env = append(os.Environ(), "STYLIZE_LIBCUDA="+so)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestGPUBesideSimulators") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	simulate := func(arch string) *Device { return onSim(t, plan.FP32, sim.Config{Arch: arch}) }
	ampere := simulate("sm_80")
	idle, err := open(Options{Precision: plan.FP32})
	if err != nil {
		t.Fatal(err)
	}
	if info := idle.Info(); info.Kind != "cuda" || info.Name != "Idle GPU" {
		t.Errorf("the GPU is %+v", info)
	}
	hopper := simulate("sm_90a")
	p, x, y := doubled(100)
	check := func(d *Device, factor float32) {
		t.Helper()
		if n, err := Count(); n != 1 || err != nil {
			t.Errorf("%d GPUs, %v", n, err)
		}
		v := make([]float32, 100)
		for i := range v {
			v[i] = float32(i)
		}
		got, err := pass(t.Context(), d, p, x, y, v)
		if err != nil {
			t.Fatalf("%s: %v", d.Info().Name, err)
		}
		for i := range v {
			if got[i] != factor*v[i] {
				t.Fatalf("%s: value %d is %g, want %g", d.Info().Name, i, got[i], factor*v[i])
			}
		}
	}
	for range 2 {
		check(ampere, 2)
		check(idle, 0)
		check(hopper, 2)
	}
	if err := idle.Close(); err != nil {
		t.Error(err)
	}
	check(hopper, 2)
	if idle, err = open(Options{Precision: plan.FP32}); err != nil {
		t.Fatal(err)
	}
	check(idle, 0)
	check(ampere, 2)
	if err := idle.Close(); err != nil {
		t.Error(err)
	}
}

// at is where a buffer lies.
func (r *runner) at(t *testing.T, b *gpu.Buffer) cu.DevicePtr {
	t.Helper()
	i, ok := r.plan.Span(b)
	if !ok {
		t.Fatalf("%s has no memory", b.Name)
	}
	return r.span(i)
}
