//go:build cuda

package cuda

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// A driver that is too old, refuses a module, or whose compiler allots other registers
// than a kernel counts on gets older kernels, and one line says so: before anything
// runs, and so never as a hang. The results are those of the kernels that took over.
func TestOldDrivers(t *testing.T) {
	t.Parallel()
	const tile = "conv3x3_wgmma_f16_nhwc_64x256_pingpong"
	allot := func(registers, local int) func(string) (int, int) {
		return func(entry string) (int, int) {
			if entry == tile {
				return registers, local
			}
			return 168, 0
		}
	}
	p, x, y, v := convolved()
	pictures := map[string][]float32{}
	for _, kernels := range []string{"sm80", "sm90a"} {
		got, err := pass(t.Context(), openSim(t, sim.Config{}, Options{Kernels: kernels}), p, x, y, v)
		if err != nil {
			t.Fatal(err)
		}
		pictures[kernels] = got
	}
	for name, c := range map[string]struct {
		age      simulated.Age
		kernels  string // that the picture is computed with
		overlaps bool
		says     string // "" nothing
	}{
		"ours":                  {simulated.Age{}, "sm90a", true, ""},
		"CUDA 12.3":             {simulated.Age{Version: 12030}, "sm90a", true, ""},
		"CUDA 11.8":             {simulated.Age{Version: 11080}, "sm80", false, ", without kernels for sm_90: the driver is older than CUDA 12.0"},
		"CUDA 12.0":             {simulated.Age{Version: 12000}, "sm90a", false, ", launches do not overlap: the driver is older than CUDA 12.3"},
		"PTX 7.8":               {simulated.Age{PTX: 78}, "sm80", false, "Unsupported .version 8.0; current version is '7.8'"},
		"no overlap in a graph": {simulated.Age{NoOverlap: true}, "sm90a", false, ", launches do not overlap: launch: operation not supported"},
		"fewer registers":       {simulated.Age{Allot: allot(160, 0)}, "sm80", true, ", without kernels for sm_90a: the driver's compiler gives " + tile + " 160 registers"},
		"more registers":        {simulated.Age{Allot: allot(176, 0)}, "sm80", true, "176 registers and 0 bytes of local memory, and it must have 168 and none"},
		"spilled registers":     {simulated.Age{Allot: allot(168, 8)}, "sm80", true, "168 registers and 8 bytes of local memory"},
	} {
		t.Run(name, func(t *testing.T) {
			drv := simulated.New(sim.Config{})
			drv.Pretend(c.age)
			d := opened(t, Options{Simulate: drv, Check: true})
			info := d.Info()
			old := c.age.Version != 0 && c.age.Version < 12080
			if _, asked := d.functions["conv3x3_wgmma_f16_nhwc_128x256"]; d.target.Few != old || asked && old || !asked && name == "ours" {
				t.Errorf("few tiles: %v; a tile that takes long to compile is loaded: %v", d.target.Few, asked)
			}
			if hopper := c.kernels == "sm90a"; d.target.Hopper != hopper || d.overlaps != c.overlaps || !strings.HasSuffix(info.Bits, "kernels "+c.kernels) {
				t.Errorf("Hopper's kernels: %v, overlapping launches: %v, bits of %s", d.target.Hopper, d.overlaps, info.Bits)
			}
			if strings.Contains(info.Detail, "\n") || !strings.Contains(info.Detail, c.says) || c.says == "" && !strings.HasSuffix(info.Detail, "every check on") {
				t.Errorf("the device says %q, and not %q", info.Detail, c.says)
			}
			got, err := pass(t.Context(), d, p, x, y, v)
			if err != nil || !slices.Equal(got, pictures[c.kernels]) {
				t.Errorf("%v; results differ by %.3g from those of the kernels for %s", err, relL2(got, pictures[c.kernels]), c.kernels)
			}
			// Who asks for the newer kernels hears why there are none.
			forced, err := Open(Options{Simulate: drv, Kernels: "sm90a"})
			if err == nil {
				err = forced.Close()
			}
			if want := c.kernels == "sm80"; (err != nil) != want || want && !errors.Is(err, gpu.ErrUnsupported) {
				t.Errorf("kernels for sm_90a: %v", err)
			}
		})
	}
	// What a precision does not launch is not asked about.
	drv := simulated.New(sim.Config{})
	drv.Pretend(simulated.Age{Allot: allot(160, 0)})
	if d := opened(t, Options{Simulate: drv, Precision: plan.BF16}); !d.target.Hopper {
		t.Errorf("bf16 without Hopper's kernels: %s", d.Info().Detail)
	}
}
