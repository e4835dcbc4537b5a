//go:build cuda

package cuda

import (
	"math"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture/picturetest"
)

// controlled are works with controls that change the program: regions, masks of the
// content, other layers, borders, averages. The CPU is held against PyTorch in transfer.
func controlled(t *testing.T) map[string]transfer.Work {
	t.Helper()
	const w, h = 20, 17
	left := picturetest.Grey(w, h, func(x, _ int) float32 { return min(max(1.2-float32(x)/10, 0), 1) })
	low := picturetest.Grey(w, h, func(_, y int) float32 { return min(float32(y)/12, 1) })
	from := func(preset string, change func(w *transfer.Work, o *transfer.Options)) transfer.Work {
		o, err := transfer.Preset(preset)
		if err != nil {
			t.Fatal(err)
		}
		o.Size, o.Iterations, o.Ladder = w, 3, nil
		work := transfer.Work{
			Options: o, Content: picturetest.Source(t, w, h, 1), Weights: noise(),
			Styles: []transfer.Style{{Picture: picturetest.Source(t, 17, 20, 2)}},
		}
		change(&work, &work.Options)
		return work
	}
	return map[string]transfer.Work{
		"regions": from("default", func(w *transfer.Work, _ *transfer.Options) {
			w.Styles[0].Mask = left
			w.Styles = append(w.Styles, transfer.Style{Picture: picturetest.Source(t, 20, 20, 4)})
		}),
		"all": from("classic", func(w *transfer.Work, o *transfer.Options) {
			w.Styles[0].Mask, w.ContentMask, o.Padding, o.Average = left, low, "reflect", 0.5
			o.StyleLayers, o.ContentLayers = []transfer.Layer{{Name: "relu1_2", Weight: 0.5}, {Name: "relu3_1", Weight: 1}}, []transfer.Layer{{Name: "relu2_1", Weight: 1}, {Name: "relu3_1", Weight: 2}}
		}),
		"wrap": from("default", func(_ *transfer.Work, o *transfer.Options) { o.Padding = "wrap" }),
	}
}

// Controls on the simulated GPU, clean under every check, agree with the CPU.
func TestControlsSimulated(t *testing.T) {
	t.Parallel()
	host, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	run := func(t *testing.T, dev gpu.Device, w transfer.Work) (losses []float64, pixels []float32) {
		t.Helper()
		p, err := transfer.NewPainting(t.Context(), dev, w, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.Run(t.Context(), transfer.Hooks{Report: func(pt transfer.Point) error {
			losses = append(losses, pt.Content, pt.Style, pt.TV)
			return nil
		}}); err != nil {
			t.Fatal(err)
		}
		pic, err := p.Picture()
		if err != nil {
			t.Fatal(err)
		}
		return losses, pic.RGB
	}
	for name, w := range controlled(t) {
		wantLoss, want := run(t, host, w)
		for _, c := range []struct {
			arch      string
			precision plan.Precision
			loss      float64 // of each loss
			picture   float64 // relative L2
		}{{"sm80", plan.FP32, 1e-4, 1e-4}, {"sm90a", plan.FP16, 1e-2, 5e-3}, {"sm80", plan.TF32, 1e-2, 5e-3}, {"sm80", plan.BF16, 5e-2, 2e-2}} {
			if testing.Short() && (c.precision != plan.FP16 || name != "all") {
				continue
			}
			t.Run(name+"/"+c.arch+"/"+c.precision.String(), func(t *testing.T) {
				t.Parallel()
				dev := opened(t, Options{Simulate: simulated.New(sim.Config{Mode: sim.Random(3)}), Precision: c.precision, Kernels: c.arch})
				loss, got := run(t, dev, w)
				worst := 0.0
				for i, v := range wantLoss {
					if v != 0 {
						worst = max(worst, math.Abs(loss[i]/v-1))
					}
				}
				off := relL2(got, want)
				t.Logf("losses off by %.2g of %.0e, picture by %.2g of %.0e", worst, c.loss, off, c.picture)
				if len(loss) != len(wantLoss) || !(worst <= c.loss) || !(off <= c.picture) {
					t.Errorf("losses off by %.3g, allowed %g; picture by %.3g, allowed %g", worst, c.loss, off, c.picture)
				}
			})
		}
	}
}
