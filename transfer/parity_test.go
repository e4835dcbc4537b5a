package transfer

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// The fixtures are what PyTorch computes in float64 (tools/parity); the weights
// are the same numbers, made here.
const (
	parityWeights = 1
	gradientTol   = 1e-4 // relative L2 of the image gradient at iteration 0
	lossTol       = 1e-3 // of each loss at each of 50 iterations
	layerTol      = 2e-5 // relative L2 of the samples of a layer
)

func relL2(got []float32, want []float32) float64 {
	var num, den float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		num += d * d
		den += float64(w) * float64(w)
	}
	return math.Sqrt(num / den)
}

func TestParityWithPyTorch(t *testing.T) {
	w := weights.Random(parityWeights)
	for _, size := range []struct{ w, h int }{{64, 48}, {97, 61}} {
		fix, err := weights.ReadTensors(filepath.Join("..", "testdata", "parity", fmt.Sprintf("torch_%dx%d.safetensors", size.w, size.h)))
		if err != nil {
			t.Fatal(err)
		}
		dev := device(t)
		t.Run(fmt.Sprintf("%dx%d/layers", size.w, size.h), func(t *testing.T) { parityLayers(t, dev, w, fix, size.w, size.h) })
		for _, preset := range []string{"classic", "article"} {
			t.Run(fmt.Sprintf("%dx%d/%s", size.w, size.h, preset), func(t *testing.T) {
				parityRun(t, dev, w, fix, size.w, size.h, preset)
			})
		}
	}
}

// parityLayers compares all 30 layers, each kept as an output.
func parityLayers(t *testing.T, dev gpu.Device, w *vgg.Weights, fix map[string][]float32, width, height int) {
	t.Helper()
	p := &gpu.Program{}
	x := p.NewBuffer(BufImage, gpu.Input, gpu.Shape{N: 1, H: height, W: width, C: 3})
	net := vgg.Forward(p, x, w, vgg.AvgPool, len(vgg.Layers)-1)
	for _, b := range net.Out {
		p.Output(b)
	}
	r, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Write(x, fix["content"]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Run(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	worst := 0.0
	for i, b := range net.Out {
		got := make([]float32, b.Shape.Elems())
		if err := r.Read(b, got); err != nil {
			t.Fatal(err)
		}
		want := fix[fmt.Sprintf("layer%02d.samples", i)]
		step := max(len(got)/97, 1)
		var samples []float32
		var norm float64
		for j := 0; j < len(got); j += step {
			samples = append(samples, got[j])
		}
		for _, v := range got {
			norm += float64(v) * float64(v)
		}
		if len(samples) != len(want) {
			t.Fatalf("%s: %d samples, fixture has %d", b.Name, len(samples), len(want))
		}
		e := relL2(samples, want)
		en := math.Abs(math.Sqrt(norm)/float64(fix[fmt.Sprintf("layer%02d.norm", i)][0]) - 1)
		worst = max(worst, e, en)
		if !(e <= layerTol) || !(en <= layerTol) {
			t.Errorf("layer %d %s: samples differ by %.3g, norm by %.3g (allowed %g)", i, b.Name, e, en, layerTol)
		}
	}
	t.Logf("worst layer: %.2g of %.0e allowed", worst, layerTol)
}

func parityRun(t *testing.T, dev gpu.Device, w *vgg.Weights, fix map[string][]float32, width, height int, preset string) {
	t.Helper()
	const iterations = 50
	o, err := Preset(preset)
	if err != nil {
		t.Fatal(err)
	}
	o.Iterations = iterations
	ctx := context.Background()
	s, err := NewSession(ctx, dev, Job{
		Options: o, Weights: w,
		Contents: []*picture.Picture{{W: width, H: height, RGB: fix["content"]}},
		Style:    &picture.Picture{W: width, H: height, RGB: fix["style"]},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if preset == "classic" { // as it was called when the fixtures were made
		preset = "default"
	}
	want := fix[preset+".rows"] // content, style, tv, mean, std
	var worst [3]float64
	grad := 0.0
	err = s.Run(ctx, func(rows []Row) error {
		r := rows[0]
		if r.Iteration == 1 {
			g, err := s.Read(BufDImage)
			if err != nil {
				return err
			}
			grad = relL2(g, fix[preset+".gradient"])
		}
		ref := want[(r.Iteration-1)*5:][:5]
		for i, got := range []float64{r.Content, r.Style, r.TV} {
			e := math.Abs(got - float64(ref[i]))
			if ref[i] != 0 {
				e /= math.Abs(float64(ref[i]))
			}
			worst[i] = max(worst[i], e)
			if !(e <= lossTol) {
				t.Errorf("iteration %d: loss %d is %g, PyTorch has %g", r.Iteration, i, got, ref[i])
			}
		}
		if math.Abs(r.Mean-float64(ref[3])) > 1e-5 || math.Abs(r.Std-float64(ref[4])) > 1e-5 {
			t.Errorf("iteration %d: mean %g std %g, PyTorch has %g %g", r.Iteration, r.Mean, r.Std, ref[3], ref[4])
		}
		return nil
	}, 1, func(int) error { return nil }) // stop at every iteration, so that the gradient of the first can be read
	if err != nil {
		t.Fatal(err)
	}
	if !(grad > 0 && grad <= gradientTol) {
		t.Errorf("gradient at iteration 0: relative L2 %.3g, allowed %g", grad, gradientTol)
	}
	p, err := s.Picture(0)
	if err != nil {
		t.Fatal(err)
	}
	var mse float64
	final := fix[preset+".final"]
	for i, v := range p.RGB {
		d := float64(v - final[i])
		mse += d * d
	}
	psnr := 10 * math.Log10(float64(len(final))/mse)
	if !(psnr >= 50) {
		t.Errorf("final picture: PSNR %.1f dB against PyTorch's, want 50", psnr)
	}
	t.Logf("gradient %.2g; losses content %.2g style %.2g tv %.2g; PSNR %.1f dB (PyTorch's own fp32: gradient %.2g, losses %.2g %.2g %.2g, PSNR %.1f)",
		grad, worst[0], worst[1], worst[2], psnr, fix[preset+".torch32"][0], fix[preset+".torch32"][1], fix[preset+".torch32"][2], fix[preset+".torch32"][3], fix[preset+".torch32"][4])
}

// The working pictures are PIL's, which the article resizes with.
func TestResizeIsPILs(t *testing.T) {
	dir := filepath.Join("..", "testdata", "parity")
	open := func(name string) *picture.Source {
		s, err := picture.Open(filepath.Join(dir, name), picture.DefaultMaxPixels)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	src := open("resize_131x75.png")
	for _, c := range []struct {
		name   string
		filter picture.Filter
	}{{"resize_bilinear_down.png", picture.Bilinear}, {"resize_bilinear_up.png", picture.Bilinear}, {"resize_bicubic_down.png", picture.Bicubic}, {"resize_bicubic_up.png", picture.Bicubic}} {
		want := open(c.name)
		w := want.Resize(want.W, want.H, c.filter) // same extent: the file's own values
		got := src.Resize(want.W, want.H, c.filter).Quantize()
		worst, off := 0.0, 0
		for i, v := range w.RGB {
			d := math.Abs(float64(v-got.RGB[i])) * 255
			worst = max(worst, d)
			if d > 0.5 {
				off++
			}
		}
		// PIL rounds to 8 bits between its two passes: one level apart, now and then.
		if worst > 1.001 || float64(off) > 0.25*float64(len(w.RGB)) {
			t.Errorf("%s: up to %.2f levels apart, %d of %d values differ", c.name, worst, off, len(w.RGB))
		}
		t.Logf("%s: %d of %d values one level apart", c.name, off, len(w.RGB))
	}
}
