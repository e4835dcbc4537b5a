//go:build cuda

package cuda

import (
	"testing"

	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/kernels/kerneltest"
)

// onSim opens a simulated device with an allocation for every buffer.
func onSim(t *testing.T, p Precision, cfg sim.Config) *Device {
	t.Helper()
	d, err := Open(Options{Simulate: simulated.New(cfg), Check: true, Precision: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

// allowed is the largest relative L2 error of an operation, by precision.
var allowed = map[Precision]float64{FP32: kerneltest.Tol, TF32: 1e-3, FP16: 2e-3, BF16: 1e-2}

// Every case of the table in every precision, on the simulated device, clean
// under every check in every mode.
func TestKernelsSimulated(t *testing.T) {
	modes := []sim.Mode{sim.Eager, sim.Lazy, sim.Random(1), sim.Random(2), sim.Random(3)}
	for _, p := range []Precision{FP32, TF32, FP16, BF16} {
		for i, m := range modes {
			if testing.Short() && i > 1 && i != 1+int(p) { // every mode with some precision
				continue
			}
			t.Run(p.String()+"/"+m.String(), func(t *testing.T) {
				kerneltest.RunWithin(t, onSim(t, p, sim.Config{Mode: m}), allowed[p])
			})
		}
	}
}
