package transfer

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/transfer/picture/picturetest"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// controls are the runs of tools/parity/controls.py.
func controls(fix map[string][]float32, w, h int) map[string]Work {
	source := func(name string, w, h int) *picture.Source {
		return (&picture.Picture{W: w, H: h, RGB: fix[name]}).Source(name, name)
	}
	grey := func(name string) *picture.Source {
		s := picturetest.Grey(w, h, func(x, y int) float32 { return fix[name][y*w+x] })
		s.Path, s.SHA256 = name, name
		return s
	}
	content, one, two := source("content", w, h), source("one", w, h), source("two", w, h/2)
	left, right, some := grey("left"), grey("right"), grey("some")
	base := presets["classic"]
	base.Size, base.Iterations = w, 50
	work := func(change func(*Work, *Options)) Work {
		w := Work{Options: base, Content: content, Styles: OneStyle(one), Weights: weights.Random(parityWeights)}
		change(&w, &w.Options)
		return w
	}
	layers := func(text string) []Layer {
		l, err := ParseLayers(text)
		if err != nil {
			panic(err)
		}
		return l
	}
	return map[string]Work{
		"blend": work(func(w *Work, o *Options) {
			w.Styles, o.Blend = []Style{{Picture: one}, {Picture: two}}, []float64{2, 1}
		}),
		"layers": work(func(_ *Work, o *Options) {
			o.StyleLayers, o.ContentLayers = layers("relu4_2,relu1_2:0.5,relu3_1:2"), layers("relu2_2:0.25,relu4_2")
		}),
		"regions": work(func(w *Work, _ *Options) {
			w.Styles = []Style{{Picture: one, Mask: left}, {Picture: two}} // the rest, which is right
		}),
		"partly":  work(func(w *Work, _ *Options) { w.Styles[0].Mask = some }),
		"hold":    work(func(w *Work, _ *Options) { w.ContentMask = left }),
		"reflect": work(func(_ *Work, o *Options) { o.Padding = "reflect" }),
		"wrap":    work(func(_ *Work, o *Options) { o.Padding = "wrap" }),
		"average": work(func(_ *Work, o *Options) { o.Average = 0.9 }),
		"all": work(func(w *Work, o *Options) {
			w.Styles = []Style{{Picture: one, Mask: left}, {Picture: two, Mask: left}, {Picture: two, Mask: right}}
			o.Blend, w.ContentMask, o.Padding = []float64{1, 3, 1}, right, "reflect"
			o.StyleLayers, o.ContentLayers = layers("relu2_1,relu4_1:0.5"), layers("relu3_3")
		}),
	}
}

// Every control against PyTorch in float64: the gradient of the first step, and the losses
// of fifty, in make test of eight.
func TestControlsWithPyTorch(t *testing.T) {
	dev := device(t)
	iterations := 50
	sizes := []struct{ w, h int }{{64, 48}, {97, 61}}
	if testing.Short() {
		iterations, sizes = 8, sizes[:1]
	}
	for _, size := range sizes {
		fix, err := weights.ReadTensors(filepath.Join("..", "testdata", "parity", fmt.Sprintf("controls_%dx%d.safetensors", size.w, size.h)))
		if err != nil {
			t.Fatal(err)
		}
		for name, work := range controls(fix, size.w, size.h) {
			work.Options.Iterations = iterations
			t.Run(fmt.Sprintf("%dx%d/%s", size.w, size.h, name), func(t *testing.T) {
				grad, loss, final := againstPyTorch(t, dev, work, fix, name)
				t.Logf("gradient %.2g of %.0e, losses %.2g of %.0e, result %.2g", grad, gradientTol, loss, lossTol, final)
				if !(grad <= gradientTol) || !(loss <= lossTol) || !(final <= 1e-3) {
					t.Errorf("gradient %.3g, allowed %g; losses %.3g, allowed %g; result %.3g, allowed 1e-3", grad, gradientTol, loss, lossTol, final)
				}
			})
		}
	}
}

// againstPyTorch runs a work, and returns how far it is from the fixture: the gradient and
// the result in relative L2, the losses at worst.
func againstPyTorch(t *testing.T, dev gpu.Device, work Work, fix map[string][]float32, name string) (grad, loss, final float64) {
	t.Helper()
	p, err := NewPainting(t.Context(), dev, work, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows := fix[name+".rows"]
	for it := range work.Options.Iterations {
		got, err := p.session.Advance(t.Context(), 1)
		if err != nil || len(got[0]) != 1 {
			t.Fatal(len(got[0]), err)
		}
		if it == 0 {
			g, err := p.session.Read(BufDImage)
			if err != nil {
				t.Fatal(err)
			}
			grad = relL2(g, fix[name+".gradient"])
		}
		r := got[0][0]
		for i, v := range []float64{r.Content, r.Style, r.TV} {
			want := float64(rows[3*it+i])
			if want == 0 && v == 0 {
				continue
			}
			loss = max(loss, math.Abs(v-want)/max(math.Abs(want), 1e-30))
		}
	}
	if want := fix[name+".final"]; want != nil && work.Options.Iterations == 50 {
		got, err := p.Picture()
		if err != nil {
			t.Fatal(err)
		}
		final = relL2(got.RGB, want)
	}
	return grad, loss, final
}
