//go:build cuda

package cuda

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/kernels"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/vgg"
)

// A run in fp16 has the driver compile what its plans launch, and of Hopper's tiles those
// that any plan may; older drivers, which take long for the wide ones, get fewer. How long
// they take for these modules:
//
//	go run ./tools/ptx -times NAME...
func TestModulesOfARun(t *testing.T) {
	t.Parallel()
	few := []string{
		"adam.sm90", "conv3x3_first.sm90",
		"conv3x3_wgmma_f16_nhwc_128x128_split2.sm90a", "conv3x3_wgmma_f16_nhwc_128x128_split3.sm90a", "conv3x3_wgmma_f16_nhwc_128x128_split4.sm90a",
		"conv3x3_wgmma_f16_nhwc_64x256.sm90a", "conv3x3_wgmma_f16_nhwc_64x256_pingpong.sm90a",
		"elementwise.sm80", "gram.sm80", "gram_mma.sm90", "lbfgs.sm90", "losses.sm90",
	}
	wide := []string{
		"conv3x3_wgmma_f16_nhwc_128x128_multicast2.sm90a", "conv3x3_wgmma_f16_nhwc_128x256.sm90a",
		"conv3x3_wgmma_f16_nhwc_128x256_multicast2.sm90a", "conv3x3_wgmma_f16_nhwc_64x512.sm90a",
	}
	o, err := transfer.Preset("default")
	if err != nil {
		t.Fatal(err)
	}
	w := vgg.Shapes()
	for name, c := range map[string]struct {
		age  simulated.Age
		want []string
	}{
		"ours":         {simulated.Age{}, slices.Concat(few, wide)},
		"CUDA 12.4":    {simulated.Age{Version: 12040}, few},
		"one compiler": {simulated.Age{Version: 12040, Alone: true}, few}, // which other threads do not find
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			drv := simulated.New(sim.Config{SMs: 132})
			drv.Pretend(c.age)
			d := opened(t, Options{Simulate: drv})
			style, err1 := transfer.StyleProgram(o, w, 512, 512, false)
			content, err2 := transfer.ContentProgram(o, w, 1, 512, 512)
			loop, err3 := transfer.LoopProgram(o, w, 1, 512, 512)
			if err := errors.Join(err1, err2, err3); err != nil {
				t.Fatal(err)
			}
			for _, p := range []*gpu.Program{style, content, loop} {
				r, err := d.Compile(p)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
			}
			slices.Sort(c.want)
			if got := slices.Sorted(maps.Keys(d.modules)); !slices.Equal(got, c.want) {
				t.Errorf("modules %q,\nwant %q", got, c.want)
			}
		})
	}
}

// Modules are compiled on other threads than the device's. Where those cannot, nothing is
// there that was not before, and a function is found all the same.
func TestAhead(t *testing.T) {
	t.Parallel()
	var some []*kernels.Spec
	for _, entry := range []string{"add_f16", "avgpool2x2_fwd_f16", "maxpool2x2_fwd_f16", "maxpool2x2_bwd_f16", "pad_fwd_f32"} {
		some = append(some, kernels.All[entry])
	}
	before := []string{"elementwise.sm80"} // what Open loads
	for alone, want := range map[bool][]string{false: {"avgpool2x2.sm80", "elementwise.sm80", "maxpool2x2.sm80", "pad.sm80"}, true: before} {
		drv := simulated.New(sim.Config{})
		drv.Pretend(simulated.Age{Alone: alone})
		d := opened(t, Options{Simulate: drv, Kernels: "sm80"})
		if got := slices.Sorted(maps.Keys(d.modules)); !slices.Equal(got, before) {
			t.Errorf("Open loads %q", got)
		}
		if err := d.do(func() error {
			d.ahead(some)
			if got := slices.Sorted(maps.Keys(d.modules)); !slices.Equal(got, want) {
				t.Errorf("on other threads %q, want %q", got, want)
			}
			for _, s := range some {
				if _, err := d.function(s); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
}
