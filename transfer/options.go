// Package transfer repaints a picture in the style of another by optimising its
// pixels (Gatys, Ecker, Bethge 2016): VGG19 features, content at relu4_2, style
// as Gram matrices at five layers, total variation, Adam.
//
// [Options] says what to paint. A [Session] works at one size: [NewSession] computes
// the targets and compiles one iteration for a device, [Session.Run] iterates,
// [Session.Picture] reads the result. A [Painting] takes one session after the other
// up a ladder of sizes, goes back when the losses diverge, and writes checkpoints,
// from which it goes on with the same bits. Losses and state stay on the device; the
// package never looks at pixels between iterations unless asked to.
//
// It imports vgg, vgg/safetensors, gpu and transfer/picture; devices are handed in.
package transfer

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/vgg"
)

// Options are everything that decides the pixels of a result, apart from the
// pictures and weights themselves. They are stored in the result.
type Options struct {
	Preset        string  `json:"preset"`
	Size          int     `json:"size"` // longest side of the working picture; both sides with Square
	Iterations    int     `json:"iterations"`
	Ladder        []Level `json:"ladder,omitempty"`      // painted before Size, small to large
	Optimizer     string  `json:"optimizer,omitempty"`   // "adam" or "lbfgs"; empty, as in older results, is adam
	History       int     `json:"history,omitempty"`     // pairs that lbfgs remembers
	LR            float64 `json:"lr"`                    // of adam
	LRSchedule    string  `json:"lr_schedule,omitempty"` // of adam: "constant", or "cosine": to 0 at the end of all levels; empty is constant
	LRSpan        int     `json:"lr_span,omitempty"`     // of a cosine: in how many steps it falls; 0 is all, and else of a picture that was stopped
	ContentWeight float64 `json:"content_weight"`
	StyleWeight   float64 `json:"style_weight"`
	TVWeight      float64 `json:"tv_weight"`

	// Strength, if not 0, is style against content without units: it takes the place of
	// the numbers in ContentWeight and StyleWeight, which then only say by being 0 what
	// is left out. See [RawWeights].
	Strength float64 `json:"strength,omitempty"`

	StyleLayers   []Layer `json:"style_layers,omitempty"`   // nil is [StyleLayers], each with weight 1
	ContentLayers []Layer `json:"content_layers,omitempty"` // nil is [ContentLayer]

	Blend      []float64 `json:"blend,omitempty"`       // what each style counts for where several paint together; nil is equally
	StyleSize  string    `json:"style_size,omitempty"`  // longest side of styles while the network looks at them: pixels, "native", or "content", which empty is too
	StyleScale float64   `json:"style_scale,omitempty"` // times that; 0 is 1
	Feather    float64   `json:"feather,omitempty"`     // pixels of the picture over which the edges of masks are softened
	MaskAlpha  bool      `json:"mask_alpha,omitempty"`  // transparent pixels of the content are not painted

	Colors  string  `json:"colors,omitempty"`  // "style", which empty is too; "content" keeps its colours; "match" gives them to the style first
	Padding string  `json:"padding,omitempty"` // beyond the border: "zero", which empty is too, "reflect" or "wrap"
	Average float64 `json:"average,omitempty"` // the result is the exponential average of the pictures on the way, decaying by this; 0 is the last one

	Pooling    string `json:"pooling,omitempty"` // "avg" or "max"; empty, as in older results, is avg
	Init       string `json:"init"`              // "content", "noise", "style", "blend:X" for X of noise on the content, or the path of a picture
	Seed       uint64 `json:"seed"`              // of the noise
	OutputSize string `json:"output_size"`
	Bits       int    `json:"bits"` // per channel of a PNG, 8 or 16

	// When to stop. A result says how far it came.
	Until  string `json:"until,omitempty"`  // "plateau", or seconds as "90" or "1m30s"
	Budget string `json:"budget,omitempty"` // seconds for everything; it chooses the ladder and all iterations

	// What makes the article's preset, and is of no use on its own.
	Square     bool `json:"square"`      // resize to Size x Size instead of keeping the aspect
	TVOfStyle  bool `json:"tv_of_style"` // the TV term looks at the style picture, a constant
	ClampFirst bool `json:"clamp_first"` // clamp before the step instead of after it
	Truncate8  bool `json:"truncate_8"`  // cast to 8 bits instead of rounding, then stretch

	halvings    int // of the optimiser's step, where the losses diverged
	before, all int // iterations of the levels before, and of all levels
	layout      layout
}

// base is what the presets share: the article's weights, at a size that is quick.
var base = Options{
	Size: 512, LR: 0.01, ContentWeight: 1e-3, StyleWeight: 1e7, TVWeight: 5e-3,
	Init: "content", OutputSize: "working", Bits: 8,
}

// climbing is a preset that takes so many steps of L-BFGS at each level of a ladder.
func climbing(name string, iterations, history int) Options {
	o := base
	o.Preset, o.Optimizer, o.Iterations, o.History = name, "lbfgs", iterations, history
	o.Ladder = AutoLadder(o.Size, iterations)
	return o
}

// presets by name; docs/presets.md has what each reaches, and how soon. "article"
// follows the article that this program began with to the letter; "classic" does
// what its author meant; the others come to a smaller loss sooner.
var presets = map[string]Options{
	"default": climbing("default", 40, DefaultHistory),
	"draft":   climbing("draft", 12, DefaultHistory),
	"best":    climbing("best", 150, 20),
	"classic": func() Options {
		o := base
		o.Preset, o.Iterations = "classic", 500
		return o
	}(),
	"article": func() Options {
		o := base
		o.Preset, o.Iterations, o.OutputSize = "article", 20001, "original"
		o.Square, o.TVOfStyle, o.ClampFirst, o.Truncate8 = true, true, true, true
		return o
	}(),
}

// Presets lists their names.
func Presets() []string {
	var names []string
	for n := range presets {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// OptionError says which field of [Options] has a value that cannot be used.
type OptionError struct {
	Field  string // as in Options: "Iterations"
	Value  any
	Reason string // and what would do: "give 1 to 10000000"
}

func (e *OptionError) Error() string { return fmt.Sprintf("%s %v: %s", e.Field, e.Value, e.Reason) }

// ErrNoLoss says that every term of the loss has weight 0.
var ErrNoLoss = errors.New("ContentWeight, StyleWeight and TVWeight are all 0: nothing would change")

// Preset returns the options of a preset, or an *[OptionError].
func Preset(name string) (Options, error) {
	o, ok := presets[name]
	if !ok {
		return o, &OptionError{"Preset", name, "there is no such preset; choose from " + strings.Join(Presets(), ", ")}
	}
	return o, nil
}

// MaxSize bounds Options.Size: beyond it the planner's arithmetic, not only the
// memory of any machine, would be in doubt.
const MaxSize = 32768

// Validate checks each option. The error is an *[OptionError] or [ErrNoLoss].
func (o Options) Validate() error {
	if o.Size < vgg.MinSide || o.Size > MaxSize {
		return &OptionError{"Size", o.Size, fmt.Sprintf("the network needs %d to %d pixels", vgg.MinSide, MaxSize)}
	}
	// With a ladder Iterations may be 0: the picture is only enlarged to Size, as one
	// that was stopped on the way.
	if o.Iterations < 0 || o.Iterations == 0 && len(o.Ladder) == 0 || o.Iterations > maxIterations {
		return &OptionError{"Iterations", o.Iterations, fmt.Sprintf("give 1 to %d", maxIterations)}
	}
	if err := o.validateLadder(); err != nil {
		return err
	}
	switch o.Optimizer {
	case "", "adam":
		if o.History != 0 {
			return &OptionError{"History", o.History, "only the optimizer lbfgs remembers pairs; leave it out"}
		}
	case "lbfgs":
		if o.History < 1 || o.History > gpu.MaxHistory {
			return &OptionError{"History", o.History, fmt.Sprintf("give 1 to %d", gpu.MaxHistory)}
		}
	default:
		return &OptionError{"Optimizer", o.Optimizer, "give lbfgs or adam"}
	}
	if !(o.LR >= math.SmallestNonzeroFloat32) || o.LR > math.MaxFloat32 {
		return &OptionError{"LR", o.LR, "give a finite number, above 0"}
	}
	switch o.LRSchedule {
	case "", "constant":
		if o.LRSpan != 0 {
			return &OptionError{"LRSpan", o.LRSpan, "only the schedule cosine has one; leave it out"}
		}
	case "cosine":
		switch {
		case o.LRSpan < 0 || o.LRSpan > maxIterations*len(o.Levels()):
			return &OptionError{"LRSpan", o.LRSpan, "give the number of steps in which the rate falls, or 0 for all"}
		case o.lbfgs():
			return &OptionError{"LRSchedule", o.LRSchedule, "the optimizer lbfgs has no learning rate; take adam, or leave it out"}
		case o.Until != "" || o.Budget != "":
			return &OptionError{"LRSchedule", o.LRSchedule, "it ends with the last iteration, and nobody knows which that will be; leave out until and budget, or take constant"}
		}
	default:
		return &OptionError{"LRSchedule", o.LRSchedule, "give constant or cosine"}
	}
	for _, w := range []struct {
		field string
		v     float64
	}{{"ContentWeight", o.ContentWeight}, {"StyleWeight", o.StyleWeight}, {"TVWeight", o.TVWeight}} {
		if !(w.v >= 0) || w.v > math.MaxFloat32 {
			return &OptionError{w.field, w.v, "give a finite number, 0 or more"}
		}
	}
	if !(o.Strength >= 0) || o.Strength > MaxStrength || o.Strength > 0 && o.Strength < 1/MaxStrength {
		return &OptionError{"Strength", o.Strength, fmt.Sprintf("give a number from %g to %g, as 0.5 for half the style or 2 for twice as much", 1/MaxStrength, MaxStrength)}
	}
	if o.ContentWeight == 0 && o.StyleWeight == 0 && (o.TVWeight == 0 || o.TVOfStyle) {
		return ErrNoLoss
	}
	if _, err := vgg.ParsePooling(o.Pooling); err != nil {
		return &OptionError{"Pooling", o.Pooling, "give avg or max"}
	}
	if o.Bits != 8 && o.Bits != 16 {
		return &OptionError{"Bits", o.Bits, "give 8 or 16"}
	}
	if err := o.validateControls(); err != nil {
		return err
	}
	if err := o.validateClocks(); err != nil {
		return err
	}
	_, _, err := o.outputSize(1, 1, 1, 1)
	return err
}

// DefaultHistory is how many pairs L-BFGS remembers if nobody says otherwise.
const DefaultHistory = 8

func (o Options) lbfgs() bool { return o.Optimizer == "lbfgs" }

// pooling is that of valid options.
func (o Options) pooling() vgg.Pooling {
	p, _ := vgg.ParsePooling(o.Pooling)
	return p
}

// outputSize resolves OutputSize for a working and an original extent.
func (o Options) outputSize(w, h, origW, origH int) (int, int, error) {
	switch o.OutputSize {
	case "working":
		return w, h, nil
	case "original":
		return origW, origH, nil
	}
	ws, hs, ok := strings.Cut(strings.ToLower(o.OutputSize), "x")
	ow, err1 := strconv.Atoi(ws)
	oh, err2 := strconv.Atoi(hs)
	if !ok || err1 != nil || err2 != nil || ow < 1 || oh < 1 || ow > MaxSize || oh > MaxSize {
		return 0, 0, &OptionError{"OutputSize", o.OutputSize, "give working, original or WIDTHxHEIGHT, as in 1920x1080"}
	}
	return ow, oh, nil
}

func (o Options) clamp() gpu.Clamp {
	if o.ClampFirst {
		return gpu.ClampBefore
	}
	return gpu.ClampAfter
}
