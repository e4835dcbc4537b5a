package transfer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/stylefile"
	"github.com/stylize-gpu/stylize/vgg"
)

// Layer is a layer of the network that a term of the loss looks at, and what the term
// counts for against those of other layers.
type Layer struct {
	Name   string  `json:"layer"` // one of the thirteen ReLUs: "relu1_1" to "relu5_1"
	Weight float64 `json:"weight"`
}

// The layers of options that name none: those of Gatys, Ecker and Bethge. Numbers are
// indices into [vgg.Layers].
var (
	StyleLayers  = []int{1, 6, 11, 20, 29}
	ContentLayer = 22
)

// tap is a Layer by its index.
type tap struct {
	layer  int
	weight float64
}

func (t tap) name() string { return vgg.Layers[t.layer].Name }

// styleTaps are the layers whose Gram matrices are compared, from the first to the last
// of the network.
func (o Options) styleTaps() []tap { return taps(o.StyleLayers, StyleLayers...) }

// contentTaps are the layers whose features are compared.
func (o Options) contentTaps() []tap { return taps(o.ContentLayers, ContentLayer) }

func taps(layers []Layer, otherwise ...int) (all []tap) {
	if len(layers) == 0 {
		for _, l := range otherwise {
			all = append(all, tap{l, 1})
		}
		return all
	}
	for _, l := range layers {
		all = append(all, tap{vgg.Index(l.Name), l.Weight})
	}
	slices.SortFunc(all, func(a, b tap) int { return cmp.Compare(a.layer, b.layer) })
	return all
}

// deepest is the last layer that any of them looks at.
func deepest(taps []tap) int { return taps[len(taps)-1].layer }

// total is the sum of their weights.
func total(taps []tap) (sum float64) {
	for _, t := range taps {
		sum += t.weight
	}
	return sum
}

// relus are the names of the layers that may be named.
func relus() (names []string) {
	for _, l := range stylefile.Layers() {
		names = append(names, l.Name)
	}
	return names
}

// ParseLayers reads NAME[:WEIGHT],... as in "relu1_1,relu4_1:0.5". A weight that is left
// out is 1.
func ParseLayers(text string) ([]Layer, error) {
	var all []Layer
	for part := range strings.SplitSeq(text, ",") {
		name, weight, weighted := strings.Cut(strings.TrimSpace(part), ":")
		l := Layer{Name: strings.ToLower(strings.TrimSpace(name)), Weight: 1}
		if weighted {
			var err error
			if l.Weight, err = strconv.ParseFloat(strings.TrimSpace(weight), 64); err != nil {
				return nil, fmt.Errorf("%q is no number; give LAYER:WEIGHT,... as in relu1_1:1,relu4_1:0.5", weight)
			}
		}
		all = append(all, l)
	}
	return all, checkLayers(all)
}

// checkLayers verifies layers that somebody names.
func checkLayers(layers []Layer) error {
	seen := map[string]bool{}
	for _, l := range layers {
		i := vgg.Index(l.Name)
		switch {
		case i < 0 || vgg.Layers[i].Kind != vgg.ReLU:
			return fmt.Errorf("there is no layer %q to look at; near it are %s", l.Name, strings.Join(nearestLayers(l.Name), ", "))
		case seen[l.Name]:
			return fmt.Errorf("%s is there twice", l.Name)
		case !(l.Weight > 0) || l.Weight > math.MaxFloat32:
			return fmt.Errorf("%s has weight %g; give a finite number above 0, or leave the layer out", l.Name, l.Weight)
		}
		seen[l.Name] = true
	}
	return nil
}

// nearestLayers are the three names most like one that is none: those that share its
// digits, as relu4_2 does with conv4_2 and relu4_9, come first.
func nearestLayers(name string) []string {
	var digits []int
	for _, c := range name {
		if c >= '0' && c <= '9' {
			digits = append(digits, int(c-'0'))
		}
	}
	distance := func(layer string) int {
		block, conv := int(layer[4]-'0'), int(layer[6]-'0')
		far := func(i, v int) int {
			if i >= len(digits) {
				return 0
			}
			return max(digits[i]-v, v-digits[i])
		}
		return 10*far(0, block) + far(1, conv)
	}
	all := relus()
	slices.SortStableFunc(all, func(a, b string) int { return distance(a) - distance(b) })
	return all[:3]
}

// layersText is the spelling that ParseLayers reads, as it is needed.
func layersText(layers []Layer) string {
	var s []string
	for _, l := range layers {
		if l.Weight == 1 {
			s = append(s, l.Name)
		} else {
			s = append(s, fmt.Sprintf("%s:%g", l.Name, l.Weight))
		}
	}
	return strings.Join(s, ",")
}

// LayerNames name the losses of Row.Terms but the last, which is that of TV:
// "content_relu4_2", "style_relu1_1" and so on. Where a picture has several regions the
// style's are "style1_relu1_1" and so on, region after region.
func (s Stage) LayerNames() []string {
	o := s.Options
	var names []string
	if o.ContentWeight > 0 {
		for _, t := range o.contentTaps() {
			names = append(names, "content_"+t.name())
		}
	}
	if o.StyleWeight > 0 {
		for r := range o.regions() {
			of := "style"
			if o.regions() > 1 {
				of = fmt.Sprintf("style%d", r+1)
			}
			for _, t := range o.styleTaps() {
				names = append(names, of+"_"+t.name())
			}
		}
	}
	return names
}

// layout is what the pictures of a painting decide of its program, beside its options.
type layout struct {
	regions   int  // of the style, each with a target of its own; 0 is 1
	masked    bool // regions are parts of the picture
	held      bool // the content holds on in parts of the picture only
	unpainted bool // some pixels are no part of any region, and stay as they are
}

// validateControls checks what chooses styles, layers, colours, start and border.
func (o Options) validateControls() error {
	for _, l := range []struct {
		field  string
		layers []Layer
		weight float64
	}{{"StyleLayers", o.StyleLayers, o.StyleWeight}, {"ContentLayers", o.ContentLayers, o.ContentWeight}} {
		if err := checkLayers(l.layers); err != nil {
			return &OptionError{l.field, layersText(l.layers), err.Error()}
		}
		if len(l.layers) > 0 && l.weight == 0 {
			return &OptionError{l.field, layersText(l.layers), "their weight is 0; leave them out, or give it"}
		}
	}
	for _, w := range o.Blend {
		if !(w > 0) || w > math.MaxFloat32 {
			return &OptionError{"Blend", textOf(o.Blend), "give finite numbers above 0, as in 2,1"}
		}
	}
	if n, err := strconv.Atoi(o.StyleSize); !slices.Contains([]string{"", "content", "native"}, o.StyleSize) && (err != nil || n < vgg.MinSide || n > MaxSize) {
		return &OptionError{"StyleSize", o.StyleSize, fmt.Sprintf("give %d to %d pixels, content or native", vgg.MinSide, MaxSize)}
	}
	if s := o.StyleScale; s != 0 && (!(s >= 1.0/MaxStyleScale) || s > MaxStyleScale) {
		return &OptionError{"StyleScale", s, fmt.Sprintf("give %g to %g, as 0.5 for strokes half as large", 1.0/MaxStyleScale, float64(MaxStyleScale))}
	}
	if o.Square && (o.StyleSize != "" || o.StyleScale != 0) {
		return &OptionError{"StyleSize", o.StyleSize, "the article squeezes the style into the square of the picture; take another preset"}
	}
	if !(o.Feather >= 0) || o.Feather > MaxSize {
		return &OptionError{"Feather", o.Feather, "give the number of pixels over which the edges of masks are softened, 0 or more"}
	}
	if !slices.Contains([]string{"", "style", "content", "match"}, o.Colors) {
		return &OptionError{"Colors", o.Colors, "give style, content or match"}
	}
	if !slices.Contains([]string{"", "zero", "reflect", "wrap"}, o.Padding) {
		return &OptionError{"Padding", o.Padding, "give zero, reflect or wrap"}
	}
	if !(o.Average >= 0) || o.Average > MaxAverage {
		return &OptionError{"Average", o.Average, fmt.Sprintf("give 0 to %g, as 0.99 for the last hundred pictures", MaxAverage)}
	}
	if o.Init == "" {
		return &OptionError{"Init", o.Init, "give content, noise, style, blend:X or the path of a picture"}
	}
	if share, ok := o.initBlend(); ok && (!(share > 0) || share >= 1) {
		return &OptionError{"Init", o.Init, "give the share of noise, above 0 and below 1, as in blend:0.3"}
	}
	return nil
}

// MaxAverage bounds Options.Average.
const MaxAverage = 0.9999

// MaxStyleScale bounds Options.StyleScale, and one over it from below.
const MaxStyleScale = 64

// padded reports whether the picture is continued before the network looks at it.
func (o Options) padded() bool { return o.Padding == "reflect" || o.Padding == "wrap" }

// masked and held report whether the features of the style and of the content have masks:
// where the picture has regions, or the content a mask, and where the picture is continued
// beyond its border, which counts for nothing.
func (o Options) masked() bool { return o.layout.masked || o.padded() }
func (o Options) held() bool   { return o.layout.held || o.padded() }

func (o Options) regions() int { return max(o.layout.regions, 1) }

// padding is what the picture is continued by beyond its border, before the network
// looks at it. What it needs is bounded by the picture.
func (o Options) padding(h, w int) gpu.PadParams {
	p := gpu.PadParams{Pixels: PadPixels, Mode: gpu.Reflect}
	if o.Padding == "wrap" {
		p.Mode = gpu.Wrap
	}
	p.Pixels = min(p.Pixels, h-1, w-1)
	return p
}

// PadPixels is by how many pixels a picture is continued, where it is larger.
const PadPixels = 16
