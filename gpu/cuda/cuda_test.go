//go:build cuda

package cuda

import (
	"testing"

	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/kernels/kerneltest"
)

// onSim opens a simulated device with an allocation for every buffer.
func onSim(t *testing.T, cfg sim.Config) *Device {
	t.Helper()
	d, err := Open(Options{Simulate: simulated.New(cfg), Check: true})
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

// Every case of the table, on the simulated device, clean under every check.
func TestKernelsSimulated(t *testing.T) {
	for _, m := range []sim.Mode{sim.Eager, sim.Random(1)} {
		t.Run(m.String(), func(t *testing.T) {
			kerneltest.Run(t, onSim(t, sim.Config{Mode: m}))
		})
	}
}
