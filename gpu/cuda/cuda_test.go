//go:build cuda

package cuda

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/kernels"
	"github.com/stylize-gpu/stylize/kernels/kerneltest"
)

// onSim opens a simulated device with an allocation for every buffer.
func onSim(t *testing.T, p plan.Precision, cfg sim.Config) *Device {
	t.Helper()
	return openSim(t, cfg, Options{Precision: p})
}

func openSim(t *testing.T, cfg sim.Config, o Options) *Device {
	t.Helper()
	o.Simulate, o.Check = simulated.New(cfg), true
	return opened(t, o)
}

// opened opens a device until the test ends.
func opened(t *testing.T, o Options) *Device {
	t.Helper()
	d, err := open(o)
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
var allowed = map[plan.Precision]float64{plan.FP32: kerneltest.Tol, plan.TF32: 1e-3, plan.FP16: 2e-3, plan.BF16: 1e-2}

// bits are those of a precision on the simulated device, as recorded.
func bits(t *testing.T, p plan.Precision) *kerneltest.Bits {
	t.Helper()
	return kerneltest.NewBits(t, "sim-"+p.String(), runtime.GOARCH)
}

// modes are what every kernel must be clean in.
var modes = []sim.Mode{sim.Eager, sim.Lazy, sim.Random(1), sim.Random(2), sim.Random(3)}

// Every case of the table in every precision, on the simulated device, clean
// under every check in every mode.
func TestKernelsSimulated(t *testing.T) {
	for _, p := range []plan.Precision{plan.FP32, plan.TF32, plan.FP16, plan.BF16} {
		for i, m := range modes {
			if testing.Short() && i > 1 && i != 1+int(p) { // every mode with some precision
				continue
			}
			t.Run(p.String()+"/"+m.String(), func(t *testing.T) {
				// One multiprocessor: no tile is shared, wide ones are used where they suit.
				d := openSim(t, sim.Config{Mode: m, SMs: 1}, Options{Precision: p, Kernels: "sm80"})
				kerneltest.Suite{Tol: allowed[p], Bits: bits(t, p), Kernels: "sm80"}.Run(t, d)
			})
		}
	}
}

// Every case whose tiles are so few that blocks share their sums.
func TestSplitSimulated(t *testing.T) {
	for i, p := range []plan.Precision{plan.TF32, plan.FP16, plan.BF16} {
		for j, m := range modes {
			if testing.Short() && i != j {
				continue
			}
			t.Run(p.String()+"/"+m.String(), func(t *testing.T) {
				d := openSim(t, sim.Config{Mode: m}, Options{Precision: p, Kernels: "sm80"})
				n := kerneltest.Suite{Tol: allowed[p], Bits: bits(t, p), Kernels: "share", Which: func(c kerneltest.Case) bool {
					return uses(t, d, c, func(s *kernels.Spec) bool { return strings.HasSuffix(s.Entry, "_share") })
				}}.Run(t, d)
				if n < 50 {
					t.Errorf("only %d cases come to this kernel", n)
				}
			})
		}
	}
}

// Every case that Hopper's kernels take, with every tile that suits it. In -short
// each tile meets each precision once, in some mode.
func TestHopperSimulated(t *testing.T) {
	for i, p := range []plan.Precision{plan.TF32, plan.FP16, plan.BF16} {
		for j, tile := range kernels.Tiles {
			for k, m := range modes {
				if testing.Short() && k != (i+j)%len(modes) {
					continue
				}
				t.Run(wgmma(p, tile)+"/"+m.String(), func(t *testing.T) {
					d := openSim(t, sim.Config{Mode: m, SMs: 2}, Options{Precision: p}) // few: blocks take several tiles
					runHopper(t, d, tile)
				})
			}
		}
	}
}

// wgmma names Hopper's kernel with a tile.
func wgmma(p plan.Precision, t kernels.Tile) string {
	e := map[plan.Precision]kernels.Elem{plan.FP16: kernels.F16, plan.BF16: kernels.BF16, plan.TF32: kernels.TF32}[p]
	for _, s := range kernels.All {
		if s.Family == "conv3x3_wgmma" && s.Elem == e && s.Tile == t {
			return s.Entry
		}
	}
	return ""
}

// runHopper runs every case that has a convolution which suits a tile, with it.
func runHopper(t *testing.T, d *Device, tile kernels.Tile) {
	t.Helper()
	p := d.opt.Precision
	d.target.Only = tile
	s := kerneltest.Suite{Tol: allowed[p], Which: func(c kerneltest.Case) bool {
		return uses(t, d, c, func(s *kernels.Spec) bool { return s.Tile == tile })
	}}
	if d.info.Kind == "sim" { // the sums of a split are those of no other
		s.Bits, s.Kernels = bits(t, p), fmt.Sprintf("wgmma/%d", tile.Split)
	}
	n := s.Run(t, d)
	if n < 15 {
		t.Errorf("only %d cases come to this kernel", n)
	}
}

// uses reports whether a case is lowered to a kernel of a kind.
func uses(t *testing.T, d *Device, c kerneltest.Case, kind func(*kernels.Spec) bool) bool {
	t.Helper()
	p, _ := c.Program()
	l, err := plan.New(p, d.target)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range l.Steps {
		for _, la := range s.Launches {
			if kind(la.Spec) {
				return true
			}
		}
	}
	return false
}

// Every case with a kernel that is compiled for sm_90 as well, on a GPU that takes
// those and not Hopper's own: because it is a later one, or its driver refuses them.
func TestOverlapSimulated(t *testing.T) {
	for i, p := range []plan.Precision{plan.FP32, plan.TF32, plan.FP16, plan.BF16} {
		for j, m := range modes {
			if testing.Short() && i != j {
				continue
			}
			t.Run(p.String()+"/"+m.String(), func(t *testing.T) {
				d := openSim(t, sim.Config{Mode: m, Arch: "sm_90"}, Options{Precision: p})
				if d.target.Hopper || !strings.Contains(d.Info().Detail, "without kernels for sm90a") {
					t.Fatalf("a driver that refuses PTX for sm_90a: hopper %v, %q", d.target.Hopper, d.Info().Detail)
				}
				n := kerneltest.Suite{Tol: allowed[p], Bits: bits(t, p), Kernels: "sm90", Which: func(c kerneltest.Case) bool { return uses(t, d, c, d.mayOverlap) }}.Run(t, d)
				if n < 50 {
					t.Errorf("only %d cases come to these kernels", n)
				}
			})
		}
	}
}

// Kernels among which tuning chooses give the same bits, so that a measurement
// never changes a picture; and what it chose is what a later device uses.
func TestTunedBits(t *testing.T) {
	driver := simulated.New(sim.Config{NoChecks: true, SMs: 4})
	for _, arch := range []string{"sm80", "sm90a"} {
		open := func(o Options) *Device {
			o.Simulate, o.Precision, o.Kernels = driver, plan.FP16, arch
			return opened(t, o)
		}
		plain, tunes := open(Options{}), open(Options{Choices: &plan.Choices{}})
		choices := 0
		for i, c := range kerneltest.Cases() {
			if c.Group != "edge" || c.Ints || !strings.HasSuffix(c.Name, " style") && !strings.HasSuffix(c.Name, "kept false") {
				continue
			}
			p, data := c.Program()
			l, err := plan.New(p, plain.target)
			if err != nil {
				t.Fatal(err)
			}
			want := results(t, plain, p, data)
			same := func(what string, d *Device) {
				got := results(t, d, p, data)
				for b := range got {
					if !slices.Equal(got[b], want[b]) {
						t.Errorf("%s: %v: %s: %s differs by %.3g", arch, c, what, b.Name, relL2(got[b], want[b]))
					}
				}
			}
			same("tuned", tunes)
			for _, s := range l.Steps {
				if s.Variants == nil {
					continue
				}
				layer := s.Variants.Layer
				var entries []string
				for _, la := range s.Variants.Launches {
					entries = append(entries, la.Spec.Entry)
				}
				chosen := tunes.opt.Choices.Get(tunes.key, layer)
				if len(entries) > 1 && !slices.Contains(entries, chosen) {
					t.Errorf("%s: %v: tuned %q is not one of %v", arch, c, chosen, entries)
				}
				for _, entry := range entries[1:] {
					choices++
					tunes.opt.Choices.Set(tunes.key, layer, entry)
					same(entry, tunes)
				}
				if i%3 > 0 {
					continue
				}
				tunes.opt.Choices.Set(tunes.key, layer, "of another version")
				same("a kernel that does not exist", tunes)
				if got := tunes.opt.Choices.Get(tunes.key, layer); len(entries) > 1 && !slices.Contains(entries, got) {
					t.Errorf("%s: %v: tuned again: %q is not one of %v", arch, c, got, entries)
				}
			}
		}
		if choices < 5 {
			t.Errorf("%s: only %d choices", arch, choices)
		}
	}
}
