package transfer

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/vgg"
)

// Transparent pixels of a style do not enter its Gram matrices: they are the means
// over visible pixels, here by hand from the features, in float64.
func TestTransparentStyle(t *testing.T) {
	dev := device(t)
	o := presets["default"]
	style := flat(41, 50, 2)
	style.Alpha = make([]float32, 41*50)
	for y := range 50 {
		for x := range 41 {
			a := min(max(float64(x-y/2)/12, 0), 1) // opaque on the right, and soft between
			style.Alpha[y*41+x] = float32(a)
		}
	}
	got, err := NewStyleTargets(t.Context(), dev, o, randomWeights(), style)
	if err != nil {
		t.Fatal(err)
	}
	p := &gpu.Program{}
	x := p.NewBuffer(BufImage, gpu.Input, gpu.Shape{N: 1, H: 50, W: 41, C: 3})
	net := vgg.Forward(p, x, randomWeights(), o.pooling(), StyleLayers[4])
	for _, l := range StyleLayers {
		p.Output(net.Out[l])
	}
	r, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := evaluate(t.Context(), r, p, map[string][]float32{BufImage: style.RGB})
	if err != nil {
		t.Fatal(err)
	}
	m := make([]float64, len(style.Alpha))
	for i, a := range style.Alpha {
		m[i] = float64(a)
	}
	w, h := 41, 50
	for i, l := range StyleLayers {
		if i > 0 {
			half := make([]float64, (w/2)*(h/2))
			for j := range half {
				x, y := 2*(j%(w/2)), 2*(j/(w/2))
				half[j] = (m[y*w+x] + m[y*w+x+1] + m[(y+1)*w+x] + m[(y+1)*w+x+1]) / 4
			}
			m, w, h = half, w/2, h/2
		}
		s := net.Out[l].Shape
		if s.W != w || s.H != h {
			t.Fatalf("layer %d is %v, its mask %dx%d", l, s, w, h)
		}
		v, sum := f[net.Out[l].Name], 0.0
		want := make([]float64, s.C*s.C)
		for q, m := range m {
			sum += m
			for a := range s.C {
				for b := range s.C {
					want[a*s.C+b] += m * float64(v[q*s.C+a]) * float64(v[q*s.C+b])
				}
			}
		}
		var num, den float64
		for j, v := range want {
			v /= float64(s.C) * sum
			num += (float64(got.Grams[i][j]) - v) * (float64(got.Grams[i][j]) - v)
			den += v * v
		}
		if e := math.Sqrt(num / den); !(e < 1e-5) {
			t.Errorf("%s: off by %.2g", vgg.Layers[l].Name, e)
		}
	}

	// What lies under transparent pixels is no matter, as long as the network does not
	// look at it from a visible one; and an opaque picture is as one without alpha.
	for i := range style.Alpha {
		style.Alpha[i] = 1
	}
	opaque, err := NewStyleTargets(t.Context(), dev, o, randomWeights(), style)
	if err != nil {
		t.Fatal(err)
	}
	style.Alpha = nil
	plain, err := NewStyleTargets(t.Context(), dev, o, randomWeights(), style)
	if err != nil {
		t.Fatal(err)
	}
	for i := range plain.Grams {
		if !slices.Equal(opaque.Grams[i], plain.Grams[i]) {
			t.Errorf("layer %d: opaque pixels are not as without alpha", i)
		}
	}
	style.Alpha = make([]float32, 41*50)
	if _, err := NewStyleTargets(t.Context(), dev, o, randomWeights(), style); err == nil || !strings.Contains(err.Error(), "transparent everywhere") {
		t.Error(err)
	}
}
