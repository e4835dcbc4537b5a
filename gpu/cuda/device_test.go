//go:build cuda

package cuda

import (
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"gorgonia.org/cu"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
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
	d := onSim(t, FP16, sim.Config{Memory: 100e6})
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
	o, err := transfer.Preset("default")
	if err != nil {
		t.Fatal(err)
	}
	big, err := transfer.LoopProgram(o, vgg.Shapes(), 1, 512, 512)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Compile(big)
	if !errors.Is(err, gpu.ErrOutOfMemory) || !strings.Contains(err.Error(), "0.13 GB and 0.05 GB of weights") || !strings.Contains(err.Error(), "0.10 GB are free") {
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
	drv := simulated.New(sim.Config{}, sim.Config{Arch: "sm_80"})
	var wg sync.WaitGroup
	for i := range 2 {
		d, err := Open(Options{Simulate: drv, Ordinal: i, Precision: FP32})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		wg.Go(func() {
			for n := 1; n < 2000; n *= 3 {
				p, x, y := doubled(n)
				r, err := d.Compile(p)
				if err != nil {
					t.Error(err)
					return
				}
				v := make([]float32, n)
				for k := range v {
					v[k] = float32(k + i)
				}
				if err := errors.Join(r.Write(x, v), func() error { _, err := r.Run(t.Context(), 1); return err }(), r.Read(y, v), r.Close()); err != nil {
					t.Error(err)
					return
				}
				for k := range v {
					if v[k] != float32(2*(k+i)) {
						t.Errorf("device %d: value %d is %g, want %d", i, k, v[k], 2*(k+i))
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
	d := onSim(t, FP32, sim.Config{})
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
	drv := simulated.New(sim.Config{})
	d, err := Open(Options{Simulate: drv, Check: true, Precision: FP32})
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
	if err := d.do(func() error { return cu.MemFree(r.span(r.l.span[x])) }); err != nil {
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
	d := onSim(t, FP32, sim.Config{})
	p := &gpu.Program{}
	s, one := gpu.Shape{N: 1, H: 5, W: 61, C: 3}, gpu.Shape{N: 1, H: 1, W: 1, C: 1}
	x, m, v := p.NewBuffer("x", gpu.State, s), p.NewBuffer("m", gpu.State, s), p.NewBuffer("v", gpu.State, s)
	step, ring := p.NewBuffer("step", gpu.State, one), p.NewBuffer("ring", gpu.State, gpu.Shape{N: 1, H: 1, W: 1, C: gpu.RecColumns})
	g, c, tv := p.NewBuffer("g", gpu.Input, s), p.NewBuffer("c", gpu.Input, one), p.NewBuffer("tv", gpu.Input, one)
	total := p.Total([]*gpu.Buffer{c}, nil, tv)
	p.Adam(x, m, v, g, step, total, gpu.AdamParams{LR: 0.01, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8})
	p.Record(x, g, total, step, ring)
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
		row := make([]float32, gpu.RecColumns)
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
	run := func(delay bool) (big, gradient, image []float32) {
		drv := simulated.New(sim.Config{NoChecks: true})
		if delay {
			drv.Delay()
		}
		d, err := Open(Options{Simulate: drv, Precision: FP16})
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
		gradient, _, image = loop(t, d, 16, 16, 2)
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
