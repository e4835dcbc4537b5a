package transfer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/transfer/stylefile"
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
	ladderRatio    = 3           // of the longest side of a level to that of the one before
	ladderSmallest = vgg.MinSide // what the first level has at least
	ladderShare    = 1.0         // iterations of a lower level, for one of the last
)

// maxIterations bounds those of a level.
const maxIterations = 10_000_000

// AutoLadder is the ladder that suits most pictures of a size: a third of it, a third of
// that, and so on, but 16 pixels at least, each with [LowerIterations]. The first level
// has 16 to 32 pixels; a size that is there already has no ladder (nil). Thirds take an
// eighth of the last level's arithmetic where halves take a third; docs/presets.md has
// what either reaches.
func AutoLadder(size, iterations int) []Level {
	var l []Level
	for size > 2*ladderSmallest {
		size = max((size+ladderRatio/2)/ladderRatio, ladderSmallest)
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

// Stage is a level for the pictures of a painting.
type Stage struct {
	Options Options // of this level alone: its Size and Iterations, and no Ladder
	W, H    int     // of the picture
	Styles  []StyleExtent

	scale float64 // of the level: 1 for the last
}

// StyleExtent is how the network sees a style.
type StyleExtent struct {
	W, H   int
	Masked bool // it has pixels that do not count, as they are transparent
	File   bool // its Gram matrices are those of a style file
}

// Stages are the levels of the work, whose options are valid, each at an extent that
// has the picture's aspect.
func (w Work) Stages() []Stage {
	o := w.Options
	var all []Stage
	o.all, o.layout = o.Evaluations(), w.layout()
	for _, l := range o.Levels() {
		s := Stage{Options: o, scale: float64(l.Size) / float64(o.Size)}
		o.before += l.Iterations
		s.Options.Size, s.Options.Iterations, s.Options.Ladder = l.Size, l.Iterations, nil
		s.W, s.H = s.Options.Extent(w.Content)
		for _, style := range w.Styles {
			s.Styles = append(s.Styles, s.extent(style))
		}
		all = append(all, s)
	}
	return all
}

// extent is that of a style at the stage.
func (s Stage) extent(style Style) StyleExtent {
	o, p := s.Options, style.Picture
	if p == nil {
		size := s.size(style.File)
		return StyleExtent{W: size.W, H: size.H, File: true}
	}
	e := StyleExtent{Masked: p.HasAlpha || style.Look != nil}
	if o.Square {
		e.W, e.H = o.Size, o.Size
	} else {
		e.W, e.H = picture.Fit(p.W, p.H, s.styleSize(max(p.W, p.H)), vgg.MinSide)
	}
	return e
}

// size is that of a style file which serves at the stage.
func (s Stage) size(f *stylefile.File) *stylefile.Size {
	return f.Nearest(s.styleSize(max(s.W, s.H)))
}

// styleSize is the longest side of styles, where that of the file is so much.
func (s Stage) styleSize(native int) int {
	o, size := s.Options, float64(s.Options.Size)
	switch o.StyleSize {
	case "", "content":
	case "native":
		size = float64(native) * s.scale
	default:
		n, _ := strconv.Atoi(o.StyleSize) // valid
		size = float64(n) * s.scale
	}
	return min(max(int(math.Round(size*cmp.Or(o.StyleScale, 1))), vgg.MinSide), MaxSize)
}

// Programs are those of the stage: of the targets of its styles, of its content, and of
// an iteration. There are none of styles and no content where nothing needs them.
func (s Stage) Programs(w *vgg.Weights) (styles []*gpu.Program, content, loop *gpu.Program, err error) {
	o := s.Options
	if o.StyleWeight > 0 || o.TVOfStyle {
		for _, e := range s.Styles {
			if e.File {
				continue
			}
			p, err := StyleProgram(o, w, e.H, e.W, e.Masked)
			if err != nil {
				return nil, nil, nil, err
			}
			styles = append(styles, p)
		}
	}
	if o.ContentWeight > 0 {
		if content, err = ContentProgram(o, w, 1, s.H, s.W); err != nil {
			return nil, nil, nil, err
		}
	}
	loop, err = LoopProgram(o, w, 1, s.H, s.W)
	return styles, content, loop, err
}

// Memory is what the stage takes on a device that lays programs out like that: features, of
// whichever program has the most of them, since they run one after the other; and weights.
func (s Stage) Memory(plan func(*gpu.Program) (*gpu.Plan, error)) (features, weights int64, err error) {
	styles, content, loop, err := s.Programs(vgg.Shapes())
	if err != nil {
		return 0, 0, err
	}
	for _, p := range append(styles, content, loop) {
		if p == nil { // nothing needs it
			continue
		}
		pl, err := plan(p)
		if err != nil {
			return 0, 0, err
		}
		features = max(features, pl.Arena)
		if p == loop {
			weights = pl.Weights
		}
	}
	return features, weights, nil
}

// Plain is the stage without what may keep a device from fusing: the usual layers, no
// regions or masks, no border, no average.
func (s Stage) Plain() Stage {
	o := &s.Options
	o.StyleLayers, o.ContentLayers, o.Padding, o.Average, o.layout = nil, nil, "", 0, layout{}
	return s
}

// cost is the arithmetic of a stage, in FLOPs.
type cost struct{ targets, iteration float64 }

func (s Stage) cost() (c cost, err error) {
	styles, content, loop, err := s.Programs(vgg.Shapes())
	if err != nil {
		return c, err
	}
	for _, p := range append(styles, content) {
		if p != nil {
			c.targets += float64(p.FLOPs())
		}
	}
	c.iteration = float64(loop.FLOPs())
	return c, nil
}

// enlarged is a picture of one stage at the next: enlarged by the filter of Options.Load,
// and given what start, if it is not nil, has of details there. The painting has changed
// the shapes that the level below could see; the finer ones are still those that it began
// with. (Multigrid methods correct a finer grid like that: the full approximation scheme,
// Brandt 1977.)
func enlarged(values []float32, from, to Stage, start []float32) []float32 {
	v := resampled(values, from, to)
	if start != nil {
		coarse := resampled(resampled(start, to, from), from, to)
		for i, s := range start {
			v[i] = min(max(v[i]+(s-coarse[i]), 0), 1)
		}
	}
	return v
}

// raised is the state that a stage begins with where the one before it ended, with the
// picture enlarged. Adam's moments are enlarged linearly, so that the second stays
// positive, and scaled as the gradient is: every loss is a mean over the picture, so that
// of twice the sides the gradient of a value is a quarter. The count of steps goes on.
// Everything else, as the pairs of L-BFGS, begins afresh.
func raised(st *State, from, to Stage, start []float32) map[string][]float32 {
	values := st.Buffers
	out := map[string][]float32{BufImage: enlarged(st.picture(from.Options), from, to, start)}
	if values[BufM] == nil {
		return out
	}
	g := float32(float64(from.W*from.H) / float64(to.W*to.H))
	out[BufM] = scaled(values[BufM], from, to, g)
	out[BufV] = scaled(values[BufV], from, to, g*g)
	out[BufStep] = values[BufStep]
	return out
}

// resampled are the values of a picture at the extent of another stage, as Options.Load
// resamples there.
func resampled(values []float32, from, to Stage) []float32 {
	p := &picture.Picture{W: from.W, H: from.H, RGB: values}
	switch {
	case to.Options.Square:
		return p.Resize(to.W, to.H, picture.Bilinear).RGB
	case to.Options.Padding == "wrap": // among its neighbours, which are itself
		return p.Tiled(3, 3).Resize(3*to.W, 3*to.H, picture.Bicubic).Crop(to.W, to.H, to.W, to.H).RGB
	}
	return p.Resize(to.W, to.H, picture.Bicubic).RGB
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
