//go:build cuda

package cuda

import (
	"errors"
	"math"
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
	d := onSim(t, FP16, sim.Config{Memory: 200e6})
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
	if !errors.Is(err, gpu.ErrOutOfMemory) || !strings.Contains(err.Error(), "0.18 GB and 0.05 GB of weights") || !strings.Contains(err.Error(), "0.20 GB are free") {
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
