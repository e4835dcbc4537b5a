package transfer

import (
	"reflect"
	"testing"
)

// Pairs of options that paint the same, and pairs that do not.
func TestCanonical(t *testing.T) {
	base, err := Preset("default")
	if err != nil {
		t.Fatal(err)
	}
	with := func(f func(o *Options)) Options {
		o := base
		f(&o)
		return o
	}
	adam := func(f func(o *Options)) Options {
		o, _ := Preset("classic")
		f(&o)
		return o
	}
	layers := func(text string) []Layer {
		l, err := ParseLayers(text)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for name, c := range map[string]struct {
		a, b Options
		same bool
	}{
		"preset":           {base, with(func(o *Options) { o.Preset = "x" }), true},
		"unused seed":      {base, with(func(o *Options) { o.Seed = 7 }), true},
		"seed":             {with(func(o *Options) { o.Init = "noise" }), with(func(o *Options) { o.Init, o.Seed = "noise", 7 }), false},
		"unused lr":        {base, with(func(o *Options) { o.LR = 7 }), true},
		"constant lr":      {adam(func(*Options) {}), adam(func(o *Options) { o.LRSchedule = "constant" }), true},
		"lr schedule":      {adam(func(*Options) {}), adam(func(o *Options) { o.LRSchedule = "cosine" }), false},
		"lr":               {adam(func(*Options) {}), adam(func(o *Options) { o.LR = 7 }), false},
		"old optimizer":    {adam(func(o *Options) { o.Optimizer = "" }), adam(func(o *Options) { o.Optimizer = "adam" }), true},
		"pooling":          {base, with(func(o *Options) { o.Pooling = "avg" }), true},
		"other pooling":    {base, with(func(o *Options) { o.Pooling = "max" }), false},
		"strength":         {with(func(o *Options) { o.Strength = 1 }), with(func(o *Options) { o.Strength, o.StyleWeight = 1, 3 }), true},
		"no style":         {with(func(o *Options) { o.Strength = 1 }), with(func(o *Options) { o.Strength, o.StyleWeight = 1, 0 }), false},
		"other strength":   {with(func(o *Options) { o.Strength = 1 }), with(func(o *Options) { o.Strength = 2 }), false},
		"only smoothness":  {with(func(o *Options) { o.ContentWeight, o.StyleWeight = 0, 0 }), with(func(o *Options) { o.ContentWeight, o.StyleWeight, o.Strength = 0, 0, 3 }), true},
		"time":             {with(func(o *Options) { o.Until = "90" }), with(func(o *Options) { o.Until = "1m30s" }), true},
		"other time":       {with(func(o *Options) { o.Until = "90" }), with(func(o *Options) { o.Until = "91" }), false},
		"plateau":          {with(func(o *Options) { o.Until = "plateau" }), base, false},
		"budget":           {with(func(o *Options) { o.Budget = "60" }), with(func(o *Options) { o.Budget, o.Ladder, o.Iterations = "1m", nil, 7 }), true},
		"output size":      {with(func(o *Options) { o.OutputSize = "1920X1080" }), with(func(o *Options) { o.OutputSize = "01920x1080" }), true},
		"other size":       {with(func(o *Options) { o.OutputSize = "1920x1081" }), with(func(o *Options) { o.OutputSize = "1920x1080" }), false},
		"initial pictures": {with(func(o *Options) { o.Init = "a/b.png" }), with(func(o *Options) { o.Init = "c.png" }), true}, // their hashes differ, or not
		"no ladder":        {adam(func(o *Options) { o.Ladder = []Level{} }), adam(func(*Options) {}), true},
		"ladder":           {base, with(func(o *Options) { o.Ladder = nil }), false},
		"usual layers": {base, with(func(o *Options) {
			o.StyleLayers, o.ContentLayers = layers("relu2_1,relu1_1,relu3_1,relu5_1,relu4_1"), layers("relu4_2")
		}), true},
		"weights of layers": {base, with(func(o *Options) { o.StyleLayers = layers("relu1_1:2,relu2_1,relu3_1,relu4_1,relu5_1") }), false},
		"layers' order":     {with(func(o *Options) { o.StyleLayers = layers("relu2_1,relu1_1:2") }), with(func(o *Options) { o.StyleLayers = layers("relu1_1:2,relu2_1") }), true},
		"content layers":    {base, with(func(o *Options) { o.ContentLayers = layers("relu3_1") }), false},
		"usual controls": {base, with(func(o *Options) {
			o.Colors, o.Padding, o.StyleSize, o.StyleScale, o.Blend = "style", "zero", "content", 1, []float64{7}
		}), true},
		"colours":       {base, with(func(o *Options) { o.Colors = "match" }), false},
		"border":        {base, with(func(o *Options) { o.Padding = "wrap" }), false},
		"style size":    {base, with(func(o *Options) { o.StyleSize = "native" }), false},
		"style scale":   {base, with(func(o *Options) { o.StyleScale = 2 }), false},
		"blend":         {with(func(o *Options) { o.Blend = []float64{1, 2} }), with(func(o *Options) { o.Blend = []float64{2, 1} }), false},
		"average":       {base, with(func(o *Options) { o.Average = 0.9 }), false},
		"feather":       {base, with(func(o *Options) { o.Feather = 3 }), false},
		"alpha as mask": {base, with(func(o *Options) { o.MaskAlpha = true }), false},
		"start":         {base, with(func(o *Options) { o.Init = "style" }), false},
		"blended start": {with(func(o *Options) { o.Init = "blend:0.50" }), with(func(o *Options) { o.Init = "blend:0.5" }), true},
		"start's seed":  {with(func(o *Options) { o.Init = "blend:0.5" }), with(func(o *Options) { o.Init, o.Seed = "blend:0.5", 2 }), false},
		"bits":          {base, with(func(o *Options) { o.Bits = 16 }), false},
	} {
		if same := reflect.DeepEqual(c.a.Canonical(), c.b.Canonical()); same != c.same {
			t.Errorf("%s: same %v, want %v\n%+v\n%+v", name, same, c.same, c.a.Canonical(), c.b.Canonical())
		}
	}
	if o := base.Canonical(); !reflect.DeepEqual(o, o.Canonical()) {
		t.Error("not canonical twice")
	}
	// Every field counts, or is named above: a new one is to be thought about here.
	if n := reflect.TypeFor[Options]().NumField(); n != 38 {
		t.Errorf("Options has %d fields: does Canonical know the new ones?", n)
	}
}
