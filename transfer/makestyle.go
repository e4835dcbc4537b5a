package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/transfer/stylefile"
	"github.com/stylize-gpu/stylize/vgg"
)

// The palette of a style file: how many colours, and of how many pixels of each picture
// along its longest side they are found.
const (
	paletteColours = 8
	paletteSize    = 128
)

// MakeStyle computes what a style file holds: the Gram matrices of every ReLU, of the
// pictures blended as the options say, at each size of their longest side. Of the options
// pooling and blend matter.
func MakeStyle(ctx context.Context, dev gpu.Device, w *vgg.Weights, o Options, styles []Style, sizes []int) (*stylefile.File, error) {
	o.StyleLayers, o.StyleWeight, o.TVOfStyle, o.Square, o.Padding, o.Colors = nil, 1, false, false, "", ""
	for _, name := range relus() {
		o.StyleLayers = append(o.StyleLayers, Layer{name, 1})
	}
	f := &stylefile.File{Weights: w.SHA256, Pooling: "avg"}
	if o.pooling() == vgg.MaxPool {
		f.Pooling = "max"
	}
	pixels := &picture.Picture{H: 1}
	for i, s := range styles {
		if s.Picture == nil {
			return nil, fmt.Errorf("%s: is a style file already; blend them when painting", s.Name())
		}
		p := s.Picture
		f.Sources = append(f.Sources, stylefile.Source{Name: p.Path, SHA256: p.SHA256, Width: p.W, Height: p.H, Weight: o.blend(i)})
		if i == 0 {
			f.Name = p.Path
		} else {
			f.Name += ", " + p.Path
		}
		pw, ph := picture.Fit(p.W, p.H, min(paletteSize, max(p.W, p.H)), 1)
		small := p.Resize(pw, ph, picture.Bilinear)
		pixels.RGB = append(pixels.RGB, small.RGB...)
		alpha := small.Alpha
		if alpha == nil {
			alpha = slices.Repeat([]float32{1}, small.W*small.H)
		}
		pixels.Alpha = append(pixels.Alpha, alpha...)
	}
	pixels.W = len(pixels.Alpha)
	f.Palette = pixels.Palette(paletteColours)
	work := Work{Options: o, Styles: styles, Weights: w}
	for _, size := range sizes {
		st := Stage{Options: o, scale: 1}
		st.Options.Size = size
		var targets []*StyleTargets
		var weights []float64
		for i, s := range styles {
			st.Styles = append(st.Styles, st.extent(s))
			t, err := work.targets(ctx, dev, st, i, nil)
			if err != nil {
				return nil, err
			}
			targets, weights = append(targets, t), append(weights, o.blend(i))
		}
		e, at := st.Styles[0], stylefile.Size{Size: size, Grams: map[string][]float32{}}
		at.W, at.H = e.W, e.H
		for i, g := range blended(targets, weights).Grams {
			at.Grams[o.styleTaps()[i].name()] = g
		}
		f.Sizes = append(f.Sizes, at)
	}
	if len(f.Sizes) == 0 {
		return nil, errors.New("a style file needs a size")
	}
	return f, nil
}
