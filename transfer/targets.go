package transfer

import (
	"context"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
)

// StyleTargets are what a result is to have of a style at one extent. They serve every
// content.
type StyleTargets struct {
	Grams [][]float32 // of each of the options' style layers; empty where the style has no weight
	TV    float32     // with Options.TVOfStyle: its variation, weight applied
}

// NewStyleTargets computes them. Of the options only those that shape the network and
// its losses matter.
func NewStyleTargets(ctx context.Context, dev gpu.Device, o Options, w *vgg.Weights, style *picture.Picture) (*StyleTargets, error) {
	taps := o.styleTaps()
	t := &StyleTargets{Grams: make([][]float32, len(taps))}
	if o.StyleWeight == 0 && !o.TVOfStyle {
		return t, nil
	}
	p, err := StyleProgram(o, w, style.H, style.W, style.Alpha != nil)
	if err != nil {
		return nil, err
	}
	in := map[string][]float32{BufImage: style.RGB}
	if style.Alpha != nil || o.padded() {
		if err := o.addMasks(in, style); err != nil {
			return nil, err
		}
	}
	r, err := dev.Compile(p)
	if err != nil {
		return nil, err
	}
	out, err := evaluate(ctx, r, p, in)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	for i, at := range taps {
		t.Grams[i] = out["gram_"+at.name()]
	}
	if o.TVOfStyle {
		t.TV = out["tv_style"][0]
	}
	return t, nil
}

// addMasks adds the masks of a style that is transparent in places: a pixel of a layer
// counts as much as it is visible. See [Work.masks], where a region is masked as the
// visible part is here: the Gram matrix is sum_p m[p] f[p] f[p]^T / (C sum(m)).
func (o Options) addMasks(in map[string][]float32, style *picture.Picture) error {
	m := slices.Repeat([]float64{1}, style.W*style.H)
	if style.Alpha != nil {
		m = wide(style.Alpha)
	}
	if mean(m) == 0 {
		return errors.New("nothing of it is visible: it is transparent everywhere")
	}
	for name, v := range o.pyramid(m, style.W, style.H, o.styleTaps(), StyleMask, true) {
		in[name] = v
	}
	return nil
}

// features computes the content targets of pictures of one extent, one at a time.
type features struct {
	dev     gpu.Device
	program *gpu.Program // nil where the content has no weight
	outputs []*gpu.Buffer
	runner  gpu.Runner // nil until the first picture: what styles take on the device is released before

	// The last picture, its masks and its targets: the next is often the same one, painted
	// in another style or with other settings.
	content []float32
	masks   map[string][]float32
	targets [][]float32
}

func newFeatures(dev gpu.Device, o Options, w *vgg.Weights, height, width int) (*features, error) {
	if o.ContentWeight == 0 {
		return &features{}, nil
	}
	p, err := ContentProgram(o, w, 1, height, width)
	if err != nil {
		return nil, err
	}
	f := &features{dev: dev, program: p}
	for _, b := range p.Buffers {
		if b.Role == gpu.Output {
			f.outputs = append(f.outputs, b)
		}
	}
	return f, nil
}

// of are the targets of a picture, one for each content layer, behind the masks; nil
// where there are none. They are not to be written to.
func (f *features) of(ctx context.Context, content *picture.Picture, masks map[string][]float32) ([][]float32, error) {
	if f.program == nil {
		return nil, nil
	}
	if f.targets != nil && slices.Equal(f.content, content.RGB) && maps.EqualFunc(f.masks, masks, slices.Equal[[]float32]) {
		return f.targets, nil
	}
	if f.runner == nil {
		var err error
		if f.runner, err = f.dev.Compile(f.program); err != nil {
			return nil, err
		}
	}
	in := maps.Clone(masks)
	if in == nil {
		in = map[string][]float32{}
	}
	in[BufImage] = content.RGB
	out, err := evaluate(ctx, f.runner, f.program, in)
	if err != nil {
		return nil, err
	}
	f.content, f.masks, f.targets = content.RGB, masks, nil
	for _, b := range f.outputs {
		f.targets = append(f.targets, out[b.Name])
	}
	return f.targets, nil
}

func (f *features) close() error {
	if f.runner == nil {
		return nil
	}
	return f.runner.Close()
}

// evaluate runs a program on inputs and returns its outputs, all by name.
func evaluate(ctx context.Context, r gpu.Runner, p *gpu.Program, in map[string][]float32) (map[string][]float32, error) {
	for name, v := range in {
		if err := r.Write(p.Named(name), v); err != nil {
			return nil, err
		}
	}
	if _, err := r.Run(ctx, 1); err != nil {
		return nil, err
	}
	out := map[string][]float32{}
	for _, b := range p.Buffers {
		if b.Role != gpu.Output {
			continue
		}
		out[b.Name] = make([]float32, b.Shape.Elems())
		if err := r.Read(b, out[b.Name]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// start is the picture that the optimisation of a content starts from. Noise is
// uniform in [0,1], and that of a seed the same for every content of an extent. style is
// at the extent of the content.
func (o Options) start(content, style, init *picture.Picture) []float32 {
	noise := func() []float32 {
		r := rand.New(rand.NewPCG(o.Seed, 0x7374796c697a65))
		v := make([]float32, len(content.RGB))
		for i := range v {
			v[i] = r.Float32()
		}
		return v
	}
	share, blend := o.initBlend()
	switch {
	case o.Init == "content":
		return content.RGB
	case o.Init == "noise":
		return noise()
	case o.Init == "style":
		return style.RGB
	case blend:
		v := noise()
		for i, c := range content.RGB {
			v[i] = float32(share*float64(v[i]) + (1-share)*float64(c))
		}
		return v
	}
	return init.RGB
}

// details are what a start has beside its noise: the pictures in it, each by its share.
// Noise has none to carry up a ladder. It is nil where there is nothing else.
func (l *loaded) details(o Options) []float32 {
	share, blend := o.initBlend()
	switch {
	case o.Init == "noise":
		return nil
	case blend:
		v := make([]float32, len(l.content.RGB))
		for i, c := range l.content.RGB {
			v[i] = float32((1 - share) * float64(c))
		}
		return v
	}
	return o.start(l.content, l.style, l.init)
}

// InitPicture reports whether Init is the path of a picture.
func (o Options) InitPicture() bool {
	_, blend := o.initBlend()
	return o.Init != "content" && o.Init != "noise" && o.Init != "style" && !blend
}

// InitNoise reports whether Seed has an effect.
func (o Options) InitNoise() bool {
	_, blend := o.initBlend()
	return o.Init == "noise" || blend
}

// initBlend reads blend:X.
func (o Options) initBlend() (share float64, ok bool) {
	text, ok := strings.CutPrefix(o.Init, "blend:")
	if !ok {
		return 0, false
	}
	share, err := strconv.ParseFloat(text, 64)
	if err != nil {
		share = math.NaN()
	}
	return share, true
}
