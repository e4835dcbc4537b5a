//go:build cuda

package cuda

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
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

var everyCase = flag.Bool("every", false, "run every case of the simulated device in every mode, the network's sizes too: for hours")

// precisions are in the order by which sweeps rotate.
var precisions = []plan.Precision{plan.FP32, plan.TF32, plan.FP16, plan.BF16}

// sweep is the case table on one set of kernels, in one precision and one mode.
type sweep struct {
	kernels   string // as recordings name them: "sm80", "share", "sm90", "unfused", or "wgmma"
	precision int    // index into precisions
	mode      int    // index into modes
	tile      int    // of wgmma: index into kernels.Tiles
}

// sweeps are all of a set of kernels.
func sweeps(set string) (all []sweep) {
	tiles := 1
	if set == "wgmma" {
		tiles = len(kernels.Tiles)
	}
	for p := range precisions {
		for tile := range tiles {
			for m := range modes {
				if precisions[p] != plan.FP32 || set != "share" && set != "wgmma" { // which are for tensor cores
					all = append(all, sweep{set, p, m, tile})
				}
			}
		}
	}
	return all
}

// has reports whether a sweep has case i of the table. A run is made for what it
// can find: each edge meets each set of kernels, and each kernel every mode, by
// rotation. TestSweepsReachEverything proves the latter.
//
//	         make test                        make test-long              -every
//	tiny     each precision, in one mode      in three modes; on share,   in every mode
//	                                          sm90 and wgmma in one
//	edge     one precision, in one mode       as tiny                     in every mode
//	         on wgmma, tiny and edge: half    every tile and precision,
//	         the tiles, each in one           in one mode
//	         precision and mode
//	vgg      not at all                       one precision, mode, tile   in every mode
func (s sweep) has(i int, c kerneltest.Case) bool {
	turn := (s.mode + len(modes) - (i+s.precision+s.tile)%len(modes)) % len(modes) // 0 is a case's own mode
	switch {
	case *everyCase:
		return true
	case c.Group == "vgg":
		return !testing.Short() && turn == 0 && i%len(precisions) == s.precision && (s.kernels != "wgmma" || i/len(precisions)%len(kernels.Tiles) == s.tile)
	case s.kernels == "wgmma" && testing.Short():
		return s.mode == (s.precision+s.tile)%len(modes) && (i+s.precision+s.tile)%3 == 0 && (i/3+s.tile)%2 == 0
	case s.kernels == "sm80" && !testing.Short():
		return turn < 3
	case c.Group == "edge" && testing.Short() && s.kernels == "share": // which has no fp32
		return turn == 0 && (i+s.precision)%(len(precisions)-1) == 0
	case c.Group == "edge" && testing.Short():
		return turn == 0 && (i+s.precision)%len(precisions) == 0
	}
	return turn == 0
}

// target is what the sweep's programs are planned for.
func (s sweep) target() plan.Target {
	t := plan.Target{Precision: precisions[s.precision], SMs: 132}
	switch s.kernels {
	case "sm80": // no tile is shared, wide ones are used where they suit
		t.SMs = 1
	case "unfused":
		t.Unfused = true
	case "wgmma": // few: blocks take several tiles
		t.SMs, t.Hopper, t.Only = 2, true, kernels.Tiles[s.tile]
	}
	return t
}

// open opens the device.
func (s sweep) open(t *testing.T) *Device {
	t.Helper()
	cfg := sim.Config{Mode: modes[s.mode], SMs: s.target().SMs}
	o := Options{Precision: precisions[s.precision], Unfused: s.kernels == "unfused"}
	switch s.kernels {
	case "sm90": // a GPU that takes newer PTX and not Hopper's own: a later one, or its driver refuses that
		cfg.Arch = "sm_90"
	case "sm80", "share", "unfused":
		o.Kernels = "sm80"
	}
	d := openSim(t, cfg, o)
	d.target.Only = s.target().Only
	return d
}

// wants reports whether a launch is of the kernels that the sweep is about.
func (s sweep) wants(spec *kernels.Spec) bool {
	switch s.kernels {
	case "share":
		return strings.HasSuffix(spec.Family, "_share")
	case "sm90":
		return spec.Overlaps
	case "wgmma":
		return spec.Family == "conv3x3_wgmma" && spec.Tile == kernels.Tiles[s.tile]
	case "unfused": // those that a fused program never has
		return slices.Contains([]string{"adam", "stats", "tv_fwd", "tv_bwd", "sum_parts"}, spec.Family)
	}
	return true
}

// name is the set of kernels in a recording: those that add in an order of their own.
func (s sweep) name() string {
	if s.kernels == "wgmma" {
		return fmt.Sprintf("wgmma/%d", kernels.Tiles[s.tile].Split)
	}
	return s.kernels
}

// run runs the sweep's cases.
func (s sweep) run(t *testing.T) {
	t.Helper()
	p := precisions[s.precision]
	name := p.String() + "/" + modes[s.mode].String()
	if s.kernels == "wgmma" {
		name = fmt.Sprintf("%s/%v/%s", p, kernels.Tiles[s.tile], modes[s.mode])
	}
	index := caseIndex()
	which := func(c kerneltest.Case) bool {
		return s.has(index[c.String()], c) && slices.ContainsFunc(specs(t, c, s.target()), s.wants)
	}
	if !slices.ContainsFunc(kerneltest.Cases(), which) {
		return
	}
	t.Run(name, func(t *testing.T) {
		t.Parallel() // few blocks leave processors idle, and so does what is between launches
		suite := kerneltest.Suite{Tol: allowed[p], Which: which, Kernels: s.name()}
		if s.kernels != "unfused" {
			suite.Bits = bits(t, p)
		}
		suite.Run(t, s.open(t))
	})
}

// caseIndex is the place of each case in the table.
var caseIndex = sync.OnceValue(func() map[string]int {
	index := map[string]int{}
	for i, c := range kerneltest.Cases() {
		index[c.String()] = i
	}
	return index
})

// specs are the entries that a case is lowered to.
func specs(t *testing.T, c kerneltest.Case, target plan.Target) (all []*kernels.Spec) {
	t.Helper()
	p := &gpu.Program{}
	c.Build(p)
	l, err := plan.New(p, target)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range l.Steps {
		for _, la := range s.Launches {
			all = append(all, la.Spec)
		}
	}
	return all
}

// uses reports whether a case is lowered to a kernel of a kind.
func uses(t *testing.T, d *Device, c kerneltest.Case, kind func(*kernels.Spec) bool) bool {
	t.Helper()
	return slices.ContainsFunc(specs(t, c, d.target), kind)
}

// The case table with the portable kernels, clean under every check.
func TestKernelsSimulated(t *testing.T) {
	t.Parallel()
	for _, s := range sweeps("sm80") {
		s.run(t)
	}
}

// The cases whose tiles are so few that blocks share their sums.
func TestSplitSimulated(t *testing.T) {
	t.Parallel()
	for _, s := range sweeps("share") {
		s.run(t)
	}
}

// The cases with a kernel that is compiled for sm_90 as well.
func TestOverlapSimulated(t *testing.T) {
	t.Parallel()
	for _, s := range sweeps("sm90") {
		s.run(t)
	}
}

// The cases that Hopper's kernels take, with every tile that suits them.
func TestHopperSimulated(t *testing.T) {
	t.Parallel()
	for _, s := range sweeps("wgmma") {
		s.run(t)
	}
}

// Kernels that only an unfused list has.
func TestUnfusedSimulated(t *testing.T) {
	t.Parallel()
	for _, s := range sweeps("unfused") {
		s.run(t)
	}
}

// What is run reaches every kernel, and each source of them in every mode.
func TestSweepsReachEverything(t *testing.T) {
	t.Parallel()
	met, inMode := map[string]bool{}, map[string]map[int]bool{}
	cases := kerneltest.Cases()
	for _, set := range []string{"sm80", "share", "sm90", "wgmma", "unfused"} {
		for _, s := range sweeps(set) {
			for i, c := range cases {
				if !s.has(i, c) {
					continue
				}
				all := specs(t, c, s.target())
				if !slices.ContainsFunc(all, s.wants) {
					continue
				}
				for _, spec := range all {
					met[spec.Entry] = true
					if inMode[spec.Source] == nil {
						inMode[spec.Source] = map[int]bool{}
					}
					inMode[spec.Source][s.mode] = true
				}
			}
		}
	}
	for _, spec := range kernels.All {
		if strings.HasPrefix(spec.Source, "probe") { // measures, computes nothing
			continue
		}
		if !met[spec.Entry] {
			t.Errorf("%s is met by no case", spec.Entry)
		}
		for m := range modes {
			if !inMode[spec.Source][m] {
				t.Errorf("%s.cu is run in mode %s by no case", spec.Source, modes[m])
			}
		}
	}
}

// Bits of a case are recorded in every precision and for every set of kernels, also
// for those that make test leaves to longer runs.
func TestEverythingIsRecorded(t *testing.T) {
	t.Parallel()
	for _, set := range []string{"sm80", "share", "sm90", "wgmma"} {
		for _, s := range sweeps(set) {
			if s.mode != 0 { // all give the same bits
				continue
			}
			p := precisions[s.precision]
			recorded := bits(t, p)
			for _, c := range kerneltest.Cases() {
				if c.Group == "vgg" || c.Ints && allowed[p] > kerneltest.Tol || recorded.Has(c.String(), s.name()) {
					continue
				}
				if slices.ContainsFunc(specs(t, c, s.target()), s.wants) {
					t.Errorf("%v: no bits of %s are recorded for %v: run -run Simulated -update-bits, without -short", p, s.name(), c)
				}
			}
		}
	}
}

// runHopper runs every case that has a convolution which suits a tile, with it.
func runHopper(t *testing.T, d *Device, tile kernels.Tile) {
	t.Helper()
	d.target.Only = tile
	kerneltest.Suite{Tol: allowed[d.opt.Precision], Which: func(c kerneltest.Case) bool {
		return uses(t, d, c, func(s *kernels.Spec) bool { return s.Tile == tile })
	}}.Run(t, d)
}

// Kernels among which tuning chooses give the same bits, so that a measurement
// never changes a picture; and what it chose is what a later device uses.
func TestTunedBits(t *testing.T) {
	t.Parallel()
	driver := simulated.New(sim.Config{NoChecks: true, SMs: 4})
	for _, arch := range []string{"sm80", "sm90a"} {
		open := func(o Options) *Device {
			o.Simulate, o.Precision, o.Kernels = driver, plan.FP16, arch
			return opened(t, o)
		}
		plain, tunes := open(Options{}), open(Options{Choices: &plan.Choices{}})
		choices, tried := 0, 0
		for i, c := range kerneltest.Cases() {
			if c.Group != "edge" || c.Ints || !strings.HasSuffix(c.Name, " style") && !strings.HasSuffix(c.Name, "kept false") {
				continue
			}
			p, data := c.Program()
			l, err := plan.New(p, plain.target)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(l.Steps, func(s *plan.Step) bool { return s.Variants != nil && len(s.Variants.Launches) > 1 }) {
				continue
			}
			if tried++; testing.Short() && tried%3 > 0 {
				continue
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
		if choices < 5 && !testing.Short() || choices < 2 {
			t.Errorf("%s: only %d choices", arch, choices)
		}
	}
}
