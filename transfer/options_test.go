package transfer

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
)

// An option that cannot be used is named as the field that it is.
func TestOptionErrors(t *testing.T) {
	for _, c := range []struct {
		field  string
		change func(o *Options)
	}{
		{"Size", func(o *Options) { o.Size = 15 }},
		{"Size", func(o *Options) { o.Size = MaxSize + 1 }},
		{"Iterations", func(o *Options) { o.Iterations, o.Ladder = 0, nil }},
		{"LR", func(o *Options) { o.LR = 0 }},
		{"LR", func(o *Options) { o.LR = math.NaN() }},
		{"ContentWeight", func(o *Options) { o.ContentWeight = -1 }},
		{"StyleWeight", func(o *Options) { o.StyleWeight = math.Inf(1) }},
		{"TVWeight", func(o *Options) { o.TVWeight = math.NaN() }},
		{"Optimizer", func(o *Options) { o.Optimizer = "sgd" }},
		{"History", func(o *Options) { o.History = 0 }},
		{"History", func(o *Options) { o.History = 33 }},
		{"History", func(o *Options) { o.Optimizer = "adam" }},
		{"Init", func(o *Options) { o.Init = "" }},
		{"OutputSize", func(o *Options) { o.OutputSize = "12x" }},
		{"Bits", func(o *Options) { o.Bits = 12 }},
	} {
		o, err := Preset("default")
		if err != nil {
			t.Fatal(err)
		}
		c.change(&o)
		var bad *OptionError
		if err := o.Validate(); !errors.As(err, &bad) || bad.Field != c.field {
			t.Errorf("%s: %v", c.field, err)
		}
	}
	var bad *OptionError
	if _, err := Preset("none"); !errors.As(err, &bad) || bad.Field != "Preset" || bad.Value != "none" {
		t.Errorf("a preset that is none: %v", err)
	}
}

func TestNoLoss(t *testing.T) {
	o, err := Preset("article")
	if err != nil {
		t.Fatal(err)
	}
	o.ContentWeight, o.StyleWeight = 0, 0 // what is left is the style's, a constant
	if err := o.Validate(); !errors.Is(err, ErrNoLoss) {
		t.Error(err)
	}
	if _, err := LoopProgram(o, nil, 1, 16, 16); !errors.Is(err, ErrNoLoss) {
		t.Error(err)
	}
}

// A record is checked like what a user gives, and says that it is the record.
func TestDamagedRecord(t *testing.T) {
	r := Record{Program: "stylize", Options: presets["default"]}
	r.Options.Size = 3
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ParseRecord(string(b))
	if err == nil || err.Error() != "the record of how it was made is damaged (Size 3: the network needs 16 to 32768 pixels)" || !errors.As(err, new(*OptionError)) {
		t.Error(err)
	}
}
