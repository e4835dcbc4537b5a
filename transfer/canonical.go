package transfer

import (
	"fmt"
	"slices"
	"strings"
)

// Canonical returns valid options in one spelling: those that paint the same pixels
// from the same pictures are equal. What does not count is zero: the name of the preset,
// the seed of noise that is not used, the step of an optimiser that finds its own, weights
// that a strength replaces, what a budget chooses. A path in Init becomes "picture".
func (o Options) Canonical() Options {
	o.Preset, o.halvings, o.before, o.all, o.layout = "", 0, 0, 0, layout{}
	if !o.InitNoise() {
		o.Seed = 0
	}
	if share, blend := o.initBlend(); blend {
		o.Init = fmt.Sprintf("blend:%g", share)
	} else if o.InitPicture() {
		o.Init = "picture"
	}
	o.StyleLayers = canonicalLayers(o.styleTaps(), StyleLayers...)
	o.ContentLayers = canonicalLayers(o.contentTaps(), ContentLayer)
	if o.StyleWeight == 0 {
		o.StyleLayers = nil
	}
	if o.ContentWeight == 0 {
		o.ContentLayers = nil
	}
	if len(o.Blend) < 2 || !slices.ContainsFunc(o.Blend, func(w float64) bool { return w != 1 }) {
		o.Blend = nil
	}
	for text, otherwise := range map[*string]string{&o.StyleSize: "content", &o.Colors: "style", &o.Padding: "zero"} {
		if *text == otherwise {
			*text = ""
		}
	}
	if o.StyleScale == 1 {
		o.StyleScale = 0
	}
	if o.Optimizer == "" {
		o.Optimizer = "adam"
	}
	if o.lbfgs() {
		o.LR = 0
	}
	if o.LRSchedule == "constant" {
		o.LRSchedule = ""
	}
	if o.LRSpan == o.Evaluations() {
		o.LRSpan = 0
	}
	if o.Pooling == "" {
		o.Pooling = "avg"
	}
	if o.ContentWeight == 0 && o.StyleWeight == 0 {
		o.Strength = 0
	}
	if o.Strength > 0 {
		for _, w := range []*float64{&o.ContentWeight, &o.StyleWeight} {
			if *w > 0 {
				*w = 1
			}
		}
	}
	if o.Budget != "" {
		o.Budget, o.Ladder, o.Iterations = fmt.Sprint(seconds(o.Budget)), nil, 0
	}
	if s := seconds(o.Until); s > 0 {
		o.Until = fmt.Sprint(s)
	}
	if len(o.Ladder) == 0 {
		o.Ladder = nil
	}
	o.OutputSize = strings.ToLower(o.OutputSize)
	if w, h, err := o.outputSize(0, 0, 0, 0); err == nil && w > 0 {
		o.OutputSize = fmt.Sprintf("%dx%d", w, h)
	}
	return o
}

// canonicalLayers are taps in the order of the network; nil for the usual ones.
func canonicalLayers(taps []tap, usual ...int) (all []Layer) {
	same := len(taps) == len(usual)
	for i, t := range taps {
		same = same && t.layer == usual[i] && t.weight == 1
		all = append(all, Layer{t.name(), t.weight})
	}
	if same {
		return nil
	}
	return all
}
