package transfer

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
)

// StyleTargets are what a result is to have of a style picture at one extent. They
// serve every content.
type StyleTargets struct {
	Grams [][]float32 // of each of StyleLayers; empty where the style has no weight
	TV    float32     // with Options.TVOfStyle: its variation, weight applied
}

// NewStyleTargets computes them. Of the options only those that shape the network and
// its losses matter.
func NewStyleTargets(ctx context.Context, dev gpu.Device, o Options, w *vgg.Weights, style *picture.Picture) (*StyleTargets, error) {
	t := &StyleTargets{Grams: make([][]float32, len(StyleLayers))}
	if o.StyleWeight == 0 && !o.TVOfStyle {
		return t, nil
	}
	p, err := StyleProgram(o, w, style.H, style.W, style.Alpha != nil)
	if err != nil {
		return nil, err
	}
	in := map[string][]float32{BufImage: style.RGB}
	if style.Alpha != nil {
		if err := addMasks(in, style); err != nil {
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
	for i, l := range StyleLayers {
		t.Grams[i] = out["gram_"+vgg.Layers[l].Name]
	}
	if o.TVOfStyle {
		t.TV = out["tv_style"][0]
	}
	return t, nil
}

// addMasks adds the masks of a picture that is transparent in places: a pixel of a
// layer counts as much as it is visible. With m the visible share of each pixel of the
// layer, of H x W,
//
//	mask = sqrt(m H W / sum(m))
//
// so that the Gram matrix of the masked features, a mean over all pixels, is the mean
// over the visible ones: sum_p m[p] f[p] f[p]^T / (C sum(m)).
func addMasks(in map[string][]float32, style *picture.Picture) error {
	m, w, h := make([]float64, len(style.Alpha)), style.W, style.H
	for i, a := range style.Alpha {
		m[i] = min(max(float64(a), 0), 1)
	}
	for i, l := range StyleLayers {
		if i > 0 { // each is behind one pooling more
			half := make([]float64, 0, (w/2)*(h/2))
			for y := range h / 2 {
				for x := range w / 2 {
					at := m[2*y*w+2*x:]
					half = append(half, (at[0]+at[1]+at[w]+at[w+1])/4)
				}
			}
			m, w, h = half, w/2, h/2
		}
		var sum float64
		for _, v := range m {
			sum += v
		}
		if sum == 0 {
			return errors.New("nothing of it is visible: it is transparent everywhere")
		}
		mask := make([]float32, len(m))
		for j, v := range m {
			mask[j] = float32(math.Sqrt(v * float64(len(m)) / sum))
		}
		in[StyleMask(l)] = mask
	}
	return nil
}

// features computes the content targets of pictures of one extent, one at a time.
type features struct {
	program *gpu.Program
	runner  gpu.Runner // nil where the content has no weight
}

func newFeatures(dev gpu.Device, o Options, w *vgg.Weights, height, width int) (*features, error) {
	if o.ContentWeight == 0 {
		return &features{}, nil
	}
	p, err := ContentProgram(o, w, 1, height, width)
	if err != nil {
		return nil, err
	}
	r, err := dev.Compile(p)
	return &features{p, r}, err
}

// of is the target of a picture; nil where there is none.
func (f *features) of(ctx context.Context, content *picture.Picture) ([]float32, error) {
	if f.runner == nil {
		return nil, nil
	}
	out, err := evaluate(ctx, f.runner, f.program, map[string][]float32{BufImage: content.RGB})
	return out[vgg.Layers[ContentLayer].Name], err
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
// uniform in [0,1], and that of a seed the same for every content of an extent.
func (o Options) start(content, init *picture.Picture) []float32 {
	switch o.Init {
	case "content":
		return content.RGB
	case "noise":
		r := rand.New(rand.NewPCG(o.Seed, 0x7374796c697a65))
		v := make([]float32, len(content.RGB))
		for i := range v {
			v[i] = r.Float32()
		}
		return v
	}
	return init.RGB
}
