package weights

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/safetensors"
)

// named are the convolutions of some weights under other names, as a foreign file has
// them; planes is the order of conv1_1's.
func named(w *vgg.Weights, name func(layer int) string, planes [3]int) (all []safetensors.Tensor) {
	for i := range w.Conv {
		cw := &w.Conv[i]
		l := vgg.Layers[cw.Layer]
		values := func() []float32 {
			v := toKCRS(cw.W, l.K, l.C)
			if l.C != 3 {
				return v
			}
			out := make([]float32, len(v))
			for k := range l.K {
				for c, from := range planes {
					copy(out[(3*k+c)*9:][:9], v[(3*k+from)*9:])
				}
			}
			return out
		}
		all = append(all,
			safetensors.Tensor{Name: name(cw.Layer) + ".weight", Shape: []int{l.K, l.C, 3, 3}, Values: values},
			safetensors.Tensor{Name: name(cw.Layer) + ".bias", Shape: []int{l.K}, Values: func() []float32 { return cw.B }})
	}
	return all
}

var rgb = [3]int{0, 1, 2}

func under(prefix string) func(int) string {
	return func(layer int) string { return fmt.Sprintf("%s%d", prefix, layer) }
}

func caffeNames(layer int) string { return vgg.Layers[layer].Name }

func readAll(t *testing.T, name string, all ...safetensors.Tensor) (*vgg.Weights, error) {
	t.Helper()
	var b bytes.Buffer
	if err := safetensors.Write(&b, nil, all); err != nil {
		t.Fatal(err)
	}
	return read(bytes.NewReader(b.Bytes()), int64(b.Len()), name, false)
}

func one(name string, shape ...int) safetensors.Tensor {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return safetensors.Tensor{Name: name, Shape: shape, Values: func() []float32 { return make([]float32, n) }}
}

// Whatever stands before the names, the weights are found, among others.
func TestPrefixes(t *testing.T) {
	for _, prefix := range []string{"features.", "module.features.", "vgg.", "model.features.", "", "state_dict.module.vgg19.features."} {
		w, err := readAll(t, "x", append(named(seven(), under(prefix), rgb), one("classifier.0.weight", 2, 3), one("other.0.weight", 64, 3, 3, 3))...)
		if err != nil || w.SHA256 != seven().SHA256 || w.Converted != "" {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	twice := append(named(seven(), under("a."), rgb), named(seven(), under("b."), rgb)...)
	if _, err := readAll(t, "x", twice...); err == nil || !strings.Contains(err.Error(), "more than one network (a.0, b.0)") {
		t.Errorf("two networks: %v", err)
	}
	if w, err := readAll(t, "x", append(named(seven(), under("features."), rgb), named(seven(), under("old."), rgb)...)...); err != nil || w.SHA256 != seven().SHA256 {
		t.Errorf("torchvision's names and others: %v", err)
	}
	for _, c := range []struct {
		what string
		all  []safetensors.Tensor
		want string
	}{
		{"batch normalisation", []safetensors.Tensor{one("features.0.weight", 64, 3, 3, 3), one("features.0.bias", 64), one("features.1.running_mean", 64)}, "batch normalisation"},
		{"VGG16", []safetensors.Tensor{one("m.0.weight", 64, 3, 3, 3), one("m.0.bias", 64), one("m.17.weight", 512, 256, 3, 3)}, "it is VGG16"},
		{"VGG16 of Caffe", []safetensors.Tensor{one("conv1_1.weight", 64, 3, 3, 3), one("conv1_1.bias", 64)}, "it is VGG16"},
		{"something else", []safetensors.Tensor{one("layer1.0.weight", 64, 64, 1, 1)}, "features.0.weight is missing"},
	} {
		if _, err := readAll(t, "x", c.all...); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// caffeLike are random weights of the scales that Caffe's have: for pictures of 0 to 255,
// and biases with them. divided are those of a network that was made to give small features.
func caffeLike(divided bool) *vgg.Weights {
	w := Random(11)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range w.Conv {
		for k := range w.Conv[i].B {
			w.Conv[i].B[k] = float32(r.NormFloat64())
		}
	}
	if divided {
		for i := range w.Conv[0].W {
			w.Conv[0].W[i] /= 57
		}
	}
	return w
}

// Caffe's weights are recognised by their names, by the file's and by their scale, and
// then give what they give in Caffe, divided by a power of two.
func TestCaffe(t *testing.T) {
	bgr := [3]int{0, 1, 2} // caffeLike has them in this order
	for _, c := range []struct {
		what    string
		file    string
		names   func(int) string
		divided bool
		d       float64
	}{
		{"names", "vgg_conv.pth", caffeNames, false, 64},
		{"the file's name", "vgg19-d01eb7cb.pth", under("features."), false, 64},
		{"scale", "x.safetensors", under("features."), true, 1},
	} {
		theirs := caffeLike(c.divided)
		w, err := readAll(t, c.file, named(theirs, c.names, bgr)...)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if !strings.Contains(w.Converted, "Caffe's") || (c.d == 1) == strings.Contains(w.Converted, "divided") {
			t.Errorf("%s: %q", c.what, w.Converted)
		}
		compareCaffe(t, c.what, theirs, w, c.d)
		if r := rms(w.Conv[0].W) / he; r < 0.7 || r > 1.42 {
			t.Errorf("%s: conv1_1 is %g times He's deviation", c.what, r)
		}
	}
	// Torchvision's are left alone, and so is what was converted once, under any name.
	if w, err := readAll(t, "x", named(seven(), under("features."), rgb)...); err != nil || w.Converted != "" {
		t.Errorf("torchvision's scale: %q, %v", w.Converted, err)
	}
	w, err := readAll(t, "x", named(caffeLike(false), caffeNames, bgr)...)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vgg19-d01eb7cb.safetensors")
	if err := Save(path, w); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil || again.SHA256 != w.SHA256 || again.Converted != "" {
		t.Errorf("converted twice: %q, %v", again.Converted, err)
	}
	if forced, err := LoadCaffe(path); err != nil || forced.Converted == "" {
		t.Errorf("LoadCaffe converts nothing: %v", err)
	}
}

// plane is an activation, (C,H,W), in float64.
type plane struct {
	c, h, w int
	v       []float64
}

// conv is a 3x3 convolution with zero padding and ReLU.
func (p plane) conv(cw *vgg.ConvWeights) plane {
	k := len(cw.B)
	out := plane{k, p.h, p.w, make([]float64, k*p.h*p.w)}
	for o := range k {
		for y := range p.h {
			for x := range p.w {
				sum := float64(cw.B[o])
				for r := max(y-1, 0); r <= min(y+1, p.h-1); r++ {
					for s := max(x-1, 0); s <= min(x+1, p.w-1); s++ {
						weights := cw.W[((o*3+r-y+1)*3+s-x+1)*p.c:]
						for c := range p.c {
							sum += float64(weights[c]) * p.v[(c*p.h+r)*p.w+s]
						}
					}
				}
				out.v[(o*p.h+y)*p.w+x] = max(sum, 0)
			}
		}
	}
	return out
}

// halved is the average pooling.
func (p plane) halved() plane {
	out := plane{p.c, p.h / 2, p.w / 2, make([]float64, p.c*(p.h/2)*(p.w/2))}
	for i := range out.v {
		c, y, x := i/(out.h*out.w), i/out.w%out.h, i%out.w
		at := (c*p.h+2*y)*p.w + 2*x
		out.v[i] = (p.v[at] + p.v[at+1] + p.v[at+p.w] + p.v[at+p.w+1]) / 4
	}
	return out
}

// compareCaffe paints the first three layers both ways, in float64, from the definitions.
func compareCaffe(t *testing.T, what string, theirs, ours *vgg.Weights, d float64) {
	t.Helper()
	const side = 16
	r := rand.New(rand.NewPCG(3, 4))
	a, b := plane{3, side, side, make([]float64, 3*side*side)}, plane{3, side, side, make([]float64, 3*side*side)}
	mean := []float64{103.939, 116.779, 123.68} // blue, green, red
	for i := range side * side {
		for c := range 3 { // of RGB
			x := r.Float64()
			a.v[(2-c)*side*side+i] = 255*x - mean[2-c]
			b.v[c*side*side+i] = (x - float64(vgg.Mean[c])) / float64(vgg.Std[c])
		}
	}
	a, b = a.conv(&theirs.Conv[0]), b.conv(&ours.Conv[0])
	for n := 1; ; n++ {
		var energy, inside, frame float64
		for i, v := range a.v {
			y, x := i/a.w%a.h, i%a.w
			diff := math.Abs(v/d - b.v[i])
			energy = max(energy, v/d)
			if y >= n && y < a.h-n && x >= n && x < a.w-n { // the frame reaches one pixel further with each
				inside = max(inside, diff)
			} else {
				frame = max(frame, diff)
			}
		}
		if inside > 2e-6*energy || frame > 0.02*energy || energy == 0 {
			t.Errorf("%s, layer %d: %g off inside, %g at the frame, of %g", what, n, inside, frame, energy)
		}
		switch n {
		case 1:
			a, b = a.conv(&theirs.Conv[1]), b.conv(&ours.Conv[1])
		case 2:
			a, b = a.halved().conv(&theirs.Conv[2]), b.halved().conv(&ours.Conv[2])
		default:
			return
		}
	}
}
