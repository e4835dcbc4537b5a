package transfer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
)

// Level is one size of a ladder: the picture is painted small first, where an
// iteration costs little and brush strokes are large, and then enlarged.
type Level struct {
	Size       int `json:"size"` // longest side, as Options.Size
	Iterations int `json:"iterations"`
}

// The rule of AutoLadder.
const (
	ladderSmallest = 64  // pixels that the longest side of the first level has at least
	ladderShare    = 1.0 // iterations of a lower level, for one of the last
)

// maxIterations bounds those of a level.
const maxIterations = 10_000_000

// AutoLadder is the ladder that suits most pictures of a size: halves of it, down
// to 64 to 127 pixels, each with [LowerIterations]. It is nil for a size below 128.
func AutoLadder(size, iterations int) []Level {
	var l []Level
	for size /= 2; size >= ladderSmallest; size /= 2 {
		l = append(l, Level{size, LowerIterations(iterations)})
	}
	slices.Reverse(l)
	return l
}

// LowerIterations is how many iterations a lower level gets if nobody says
// otherwise, where the last has so many: as many.
func LowerIterations(last int) int { return max(int(ladderShare*float64(last)), 1) }

// Levels are all of them, the last one, of Size and Iterations, included.
func (o Options) Levels() []Level {
	return append(slices.Clone(o.Ladder), Level{o.Size, o.Iterations})
}

// Evaluations is how many iterations all levels have together.
func (o Options) Evaluations() int {
	n := 0
	for _, l := range o.Levels() {
		n += l.Iterations
	}
	return n
}

// validateLadder checks Ladder against Size.
func (o Options) validateLadder() error {
	text := ladderText(o.Ladder)
	for i, l := range o.Ladder {
		switch {
		case l.Size < vgg.MinSide:
			return &OptionError{"Ladder", text, fmt.Sprintf("the network needs %d pixels, and %d are fewer", vgg.MinSide, l.Size)}
		case l.Iterations < 1 || l.Iterations > maxIterations:
			return &OptionError{"Ladder", text, fmt.Sprintf("give each level 1 to %d iterations", maxIterations)}
		case l.Size >= o.Size:
			return &OptionError{"Ladder", text, fmt.Sprintf("the picture is painted at %d in the end; give smaller sizes before that", o.Size)}
		case i > 0 && l.Size == o.Ladder[i-1].Size:
			return &OptionError{"Ladder", text, fmt.Sprintf("%d is there twice", l.Size)}
		case i > 0 && l.Size < o.Ladder[i-1].Size:
			return &OptionError{"Ladder", text, "give the sizes from small to large"}
		}
	}
	return nil
}

// ladderText is a ladder as a person writes it: "64:40,128:40".
func ladderText(levels []Level) string {
	var s []string
	for _, l := range levels {
		s = append(s, fmt.Sprintf("%d:%d", l.Size, l.Iterations))
	}
	return strings.Join(s, ",")
}

// LayerNames name the losses of Row.Terms but the last, which is that of TV:
// "content_relu4_2", "style_relu1_1" and so on.
func LayerNames(o Options) []string {
	var names []string
	if o.ContentWeight > 0 {
		names = append(names, "content_"+vgg.Layers[ContentLayer].Name)
	}
	if o.StyleWeight > 0 {
		for _, l := range StyleLayers {
			names = append(names, "style_"+vgg.Layers[l].Name)
		}
	}
	return names
}

// Stage is a level for two pictures.
type Stage struct {
	Options        Options // of this level alone: its Size and Iterations, and no Ladder
	W, H           int     // of the picture
	StyleW, StyleH int
	Masked         bool // the style has transparent pixels, which do not count
}

// Stages are the levels of valid options for two pictures, each at an extent that
// has the picture's aspect.
func (o Options) Stages(content, style *picture.Source) []Stage {
	var all []Stage
	o.all = o.Evaluations()
	for _, l := range o.Levels() {
		s := Stage{Options: o}
		o.before += l.Iterations
		s.Options.Size, s.Options.Iterations, s.Options.Ladder = l.Size, l.Iterations, nil
		s.W, s.H, s.StyleW, s.StyleH = s.Options.Extent(content, style)
		s.Masked = style.HasAlpha
		all = append(all, s)
	}
	return all
}

// Programs are those of the stage: of its targets, and of an iteration. The first
// two are nil where nothing needs them.
func (s Stage) Programs(w *vgg.Weights) (style, content, loop *gpu.Program, err error) {
	o := s.Options
	if o.StyleWeight > 0 || o.TVOfStyle {
		if style, err = StyleProgram(o, w, s.StyleH, s.StyleW, s.Masked); err != nil {
			return nil, nil, nil, err
		}
	}
	if o.ContentWeight > 0 {
		if content, err = ContentProgram(o, w, 1, s.H, s.W); err != nil {
			return nil, nil, nil, err
		}
	}
	loop, err = LoopProgram(o, w, 1, s.H, s.W)
	return style, content, loop, err
}

// cost is the arithmetic of a stage, in FLOPs.
type cost struct{ targets, iteration float64 }

func (s Stage) cost() (c cost, err error) {
	style, content, loop, err := s.Programs(vgg.Shapes())
	if err != nil {
		return c, err
	}
	for _, p := range []*gpu.Program{style, content} {
		if p != nil {
			c.targets += float64(p.FLOPs())
		}
	}
	c.iteration = float64(loop.FLOPs())
	return c, nil
}

// raised is the state that a stage begins with where the one before it ended. The
// picture is enlarged by the filter of Options.Load. Adam's moments are enlarged
// linearly, so that the second stays positive, and scaled as the gradient is: every
// loss is a mean over the picture, so that of twice the sides the gradient of a
// value is a quarter. The count of steps goes on. Everything else, as the pairs of
// L-BFGS, begins afresh.
func raised(st *State, from, to Stage) map[string][]float32 {
	values := st.Buffers
	p := &picture.Picture{W: from.W, H: from.H, RGB: st.picture(from.Options)}
	out := map[string][]float32{BufImage: enlarged(p, to).RGB}
	if values[BufM] == nil {
		return out
	}
	g := float32(float64(from.W*from.H) / float64(to.W*to.H))
	out[BufM] = scaled(values[BufM], from, to, g)
	out[BufV] = scaled(values[BufV], from, to, g*g)
	out[BufStep] = values[BufStep]
	return out
}

// enlarged is a picture at the extent of a stage, as Options.Load resamples there.
func enlarged(p *picture.Picture, to Stage) *picture.Picture {
	if to.Options.Square {
		return p.Resize(to.W, to.H, picture.Bilinear)
	}
	return p.Resize(to.W, to.H, picture.Bicubic)
}

// scaled resamples three planes of any values linearly, and multiplies them by f.
func scaled(v []float32, from, to Stage, f float32) []float32 {
	// taps of an output position: two neighbours, and the weight of the second.
	type taps struct {
		a, b int
		t    float32
	}
	plan := func(in, out int) []taps {
		ts := make([]taps, out)
		for i := range ts {
			at := max((float64(i)+0.5)*float64(in)/float64(out)-0.5, 0)
			a := min(int(at), in-1)
			ts[i] = taps{a, min(a+1, in-1), float32(at - float64(a))}
		}
		return ts
	}
	across := plan(from.W, to.W)
	out := make([]float32, 0, 3*to.W*to.H)
	mix := func(a, b, t float32) float32 { return float32(a*(1-t)) + float32(b*t) }
	for _, y := range plan(from.H, to.H) {
		for _, x := range across {
			for c := range 3 {
				at := func(x, y int) float32 { return v[(y*from.W+x)*3+c] }
				out = append(out, f*mix(mix(at(x.a, y.a), at(x.b, y.a), x.t), mix(at(x.a, y.b), at(x.b, y.b), x.t), y.t))
			}
		}
	}
	return out
}
