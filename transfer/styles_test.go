package transfer

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/transfer/picture/picturetest"
	"github.com/stylize-gpu/stylize/vgg"
)

func white(is bool) float32 {
	if is {
		return 1
	}
	return 0
}

// Regions cover the picture as the masks say, styles without one get the rest, and what
// nobody paints stays as it is, to the bit.
func TestRegions(t *testing.T) {
	left := picturetest.Grey(40, 24, func(x, _ int) float32 { return white(x < 10) })
	middle := picturetest.Grey(80, 48, func(x, _ int) float32 { return 0.5 * white(x >= 20 && x < 40) })
	a, b, c := picturetest.Source(t, 30, 36, 2), picturetest.Source(t, 30, 36, 3), picturetest.Source(t, 20, 20, 4)
	w := work(t)
	w.Options.Size, w.Options.Ladder = 40, nil
	w.Styles = []Style{{Picture: a, Mask: left}, {Picture: b}, {Picture: c, Mask: middle}, {Picture: c}}
	if err := w.Check(); err != nil {
		t.Fatal(err)
	}
	stage := w.Stages()[0]
	if got, want := stage.Options.layout, (layout{regions: 3, masked: true}); got != want {
		t.Errorf("layout %+v, want %+v", got, want)
	}
	planes, err := w.cover(stage)
	if err != nil {
		t.Fatal(err)
	}
	for x := range 40 {
		want := [3]float64{0, 1, 0}
		switch {
		case x < 10:
			want = [3]float64{1, 0, 0}
		case x < 20:
			want = [3]float64{0, 0.5, 0.5}
		}
		for r := range 3 {
			if got := planes[r][7*40+x]; math.Abs(got-want[r]) > 1e-6 {
				t.Errorf("column %d has %g of region %d, want %g", x, got, r, want[r])
			}
		}
	}
	m, err := w.masks(stage)
	if err != nil {
		t.Fatal(err)
	}
	for r, want := range []float64{0.25, 0.625, 0.125} {
		if math.Abs(m.areas[r]-want) > 1e-6 {
			t.Errorf("region %d is %g of the picture, want %g", r, m.areas[r], want)
		}
		for _, l := range StyleLayers { // the mean of a mask's squares is 1
			sum := 0.0
			v := m.inputs[RegionMask(l, r)]
			for _, x := range v {
				sum += float64(x) * float64(x)
			}
			if math.Abs(sum/float64(len(v))-1) > 1e-5 {
				t.Errorf("region %d, %s: mean square %g", r, vgg.Layers[l].Name, sum/float64(len(v)))
			}
		}
	}

	w.Styles = w.Styles[:1] // nobody paints the right
	w.Options.Iterations = 4
	p, err := NewPainting(t.Context(), device(t), w, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Run(t.Context(), Hooks{}); err != nil {
		t.Fatal(err)
	}
	got, err := p.Picture()
	if err != nil {
		t.Fatal(err)
	}
	content := w.Options.Load(w.Content, 40, 24)
	for y := range 24 {
		same := slices.Equal(got.RGB[3*(y*40+10):3*(y+1)*40], content.RGB[3*(y*40+10):3*(y+1)*40])
		painted := !slices.Equal(got.RGB[3*y*40:3*(y*40+10)], content.RGB[3*y*40:3*(y*40+10)])
		if !same || !painted {
			t.Errorf("row %d: the right is untouched: %v, the left is painted: %v", y, same, painted)
		}
	}
}

// Blending targets is the mean of matrices, and its gradient that of weighted losses.
func TestBlended(t *testing.T) {
	a := &StyleTargets{Grams: [][]float32{{1, 2}, {3}}}
	b := &StyleTargets{Grams: [][]float32{{5, -2}, {7}}}
	got := blended([]*StyleTargets{a, b}, []float64{3, 1})
	if !slices.Equal(got.Grams[0], []float32{2, 1}) || !slices.Equal(got.Grams[1], []float32{4}) {
		t.Errorf("%v", got.Grams)
	}
	if blended([]*StyleTargets{a}, []float64{9}) != a {
		t.Error("one style is itself")
	}
}

// What does not suit the pictures is refused before the work.
func TestWorkRefuses(t *testing.T) {
	half := picturetest.Grey(40, 24, func(x, _ int) float32 { return white(x < 20) })
	all := picturetest.Grey(40, 24, func(int, int) float32 { return 1 })
	for want, change := range map[string]func(w *Work){
		"the masks overlap":               func(w *Work) { w.Styles[0].Mask, w.Styles[1].Mask = half, all },
		"leave nothing of the picture":    func(w *Work) { w.Styles[0].Mask = all },
		"has another aspect":              func(w *Work) { w.Styles[0].Mask = picturetest.Grey(30, 30, func(int, int) float32 { return 1 }) },
		"it covers nothing":               func(w *Work) { w.Styles[0].Mask = picturetest.Grey(40, 24, func(int, int) float32 { return 0 }) },
		"is the same style as":            func(w *Work) { w.Styles[1] = w.Styles[0] },
		"give a weight for each of the 2": func(w *Work) { w.Options.Blend = []float64{1, 2, 3} },
		"there is no mask whose edges":    func(w *Work) { w.Options.Feather = 3 },
		"no transparent pixels":           func(w *Work) { w.Options.MaskAlpha = true },
		"the content has no weight":       func(w *Work) { w.ContentMask, w.Options.ContentWeight = half, 0 },
	} {
		w := work(t)
		w.Styles = append(w.Styles, Style{Picture: picturetest.Source(t, 22, 30, 5)})
		change(&w)
		if err := w.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// Layers are read as people write them, and named as the trace has them.
func TestLayers(t *testing.T) {
	got, err := ParseLayers(" relu4_1, RELU1_1:0.5")
	if err != nil || !slices.Equal(got, []Layer{{"relu4_1", 1}, {"relu1_1", 0.5}}) {
		t.Errorf("%v, %v", got, err)
	}
	for text, want := range map[string]string{
		"relu5_2": "relu5_1", "conv2_2": "relu2_2", "relu4_9": "relu4_4", "": "there is no layer", "relu1_1,": "there is no layer", "relu1_1:0": "weight 0", "relu1_1:inf": "weight +Inf", "relu1_1:nan": "weight NaN",
	} {
		if _, err := ParseLayers(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	o := presets["classic"]
	o.StyleLayers, o.ContentLayers = []Layer{{"relu4_1", 2}, {"relu1_1", 0.5}}, []Layer{{"relu2_2", 1}}
	o.layout.regions = 2
	want := []string{"content_relu2_2", "style1_relu1_1", "style1_relu4_1", "style2_relu1_1", "style2_relu4_1"}
	if got := (Stage{Options: o}).LayerNames(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// Without a strength the weights multiply, with one they count against each other.
	raw := o.raw(nil, nil, masks{areas: []float64{0.25, 0.75}})
	if !slices.Equal(raw.Style, []float64{1.25e6, 5e6, 3.75e6, 1.5e7}) || raw.Content[0] != 1e-3 {
		t.Errorf("%+v", raw)
	}
	o.Strength = 1
	gram := &StyleTargets{Grams: [][]float32{{2}, {1}}}
	raw = o.raw([][]float32{{0.5}}, []*StyleTargets{gram, gram}, masks{areas: []float64{0.25, 0.75}, hold: 0.5})
	if w := []float64{balance * 0.2 / 4 / 4, balance * 0.8 / 4, balance * 0.2 * 3 / 4 / 4, balance * 0.8 * 3 / 4}; raw.Content[0] != 2 || relL2(floats(raw.Style), floats(w)) > 1e-6 {
		t.Errorf("%+v, want %v", raw, w)
	}
}

func floats(v []float64) (out []float32) {
	for _, x := range v {
		out = append(out, float32(x))
	}
	return out
}

// The size of styles follows the ladder, is never too small, and is in the stage.
func TestStyleSize(t *testing.T) {
	for _, c := range []struct {
		size  string
		scale float64
		want  [2][2]int
	}{
		{"", 0, [2][2]int{{50, 60}, {100, 120}}},
		{"content", 0.5, [2][2]int{{25, 30}, {50, 60}}},
		{"native", 0, [2][2]int{{150, 180}, {300, 360}}},
		{"240", 0, [2][2]int{{100, 120}, {200, 240}}},
		{"240", 0.1, [2][2]int{{16, 16}, {20, 24}}},
	} {
		o := presets["default"]
		o.Size, o.Ladder, o.StyleSize, o.StyleScale = 120, []Level{{60, 3}}, c.size, c.scale
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		stages := Work{Options: o, Content: &picture.Source{W: 200, H: 100}, Styles: OneStyle(&picture.Source{W: 300, H: 360})}.Stages()
		for i, st := range stages {
			if e := st.Styles[0]; [2]int{e.W, e.H} != c.want[i] {
				t.Errorf("%q %g: level %d sees the style at %dx%d, want %v", c.size, c.scale, i, e.W, e.H, c.want[i])
			}
		}
	}
}

// Every way to start, from pictures of known values.
func TestStart(t *testing.T) {
	content := &picture.Picture{W: 2, H: 1, RGB: []float32{0.1, 0.2, 0.3, 0.4, 0.5, 0.6}}
	style := &picture.Picture{W: 2, H: 1, RGB: []float32{1, 1, 1, 0, 0, 0}}
	init := &picture.Picture{W: 2, H: 1, RGB: []float32{0.7, 0.7, 0.7, 0.7, 0.7, 0.7}}
	o := Options{Seed: 3}
	at := func(init_ string) []float32 {
		o.Init = init_
		return o.start(content, style, init)
	}
	if !slices.Equal(at("content"), content.RGB) || !slices.Equal(at("style"), style.RGB) || !slices.Equal(at("x.png"), init.RGB) {
		t.Error("a start is not its picture")
	}
	noise, blend := at("noise"), at("blend:0.25")
	for i, v := range blend {
		if want := 0.25*noise[i] + 0.75*content.RGB[i]; math.Abs(float64(v-want)) > 1e-6 {
			t.Errorf("value %d is %g, want %g", i, v, want)
		}
	}
	for init, want := range map[string][2]bool{"content": {}, "noise": {false, true}, "style": {}, "blend:0.5": {false, true}, "a.png": {true, false}} {
		o.Init = init
		if got := [2]bool{o.InitPicture(), o.InitNoise()}; got != want {
			t.Errorf("%s: %v, want %v", init, got, want)
		}
	}
	if c := covering(&picture.Source{W: 100, H: 50}, 20, 20); c.W != 50 || c.H != 50 {
		t.Errorf("covering is %dx%d", c.W, c.H)
	}
}

// Options that cannot be are errors of their field.
func TestControlsRefuse(t *testing.T) {
	for field, change := range map[string]func(o *Options){
		"StyleLayers":   func(o *Options) { o.StyleLayers = []Layer{{"pool1", 1}} },
		"ContentLayers": func(o *Options) { o.ContentLayers, o.ContentWeight = []Layer{{"relu1_1", 1}}, 0 },
		"Blend":         func(o *Options) { o.Blend = []float64{1, 0} },
		"StyleSize":     func(o *Options) { o.StyleSize = "15" },
		"StyleScale":    func(o *Options) { o.StyleScale = 1e9 },
		"Feather":       func(o *Options) { o.Feather = math.NaN() },
		"Colors":        func(o *Options) { o.Colors = "grey" },
		"Padding":       func(o *Options) { o.Padding = "same" },
		"Average":       func(o *Options) { o.Average = 1 },
		"Init":          func(o *Options) { o.Init = "blend:" },
	} {
		o := presets["default"]
		change(&o)
		var bad *OptionError
		if err := o.Validate(); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
