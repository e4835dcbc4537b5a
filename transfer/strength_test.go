package transfer

import (
	"errors"
	"math"
	"testing"

	"github.com/stylize-gpu/stylize/transfer/picture"
)

// With a strength each term begins within a factor of six of itself at every extent and with
// either pooling (without one, it is a thousand), and three times the strength is three times the style.
func TestStrength(t *testing.T) {
	dev := device(t)
	// first is the style loss of the first evaluation of a blank picture, and the
	// content's, which are both squares of relative errors.
	first := func(size int, pooling string, strength float64) (content, style float64, raw RawWeights) {
		o, err := Preset("default")
		if err != nil {
			t.Fatal(err)
		}
		o.Size, o.Iterations, o.Ladder, o.Pooling, o.Strength, o.Init = size, 1, nil, pooling, strength, "noise"
		s, err := NewSession(t.Context(), dev, Job{Options: o, Contents: []*picture.Picture{flat(size, size, 1)}, Style: flat(size, size, 2), Weights: randomWeights()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Run(t.Context(), func(r []Row) error { content, style = r[0].Content, r[0].Style; return nil }, 0, nil); err != nil {
			t.Fatal(err)
		}
		return content, style, s.Raw(0)
	}
	c1, s1, raw := first(32, "avg", 1)
	for _, v := range []struct {
		size     int
		pooling  string
		strength float64
	}{{64, "avg", 1}, {32, "max", 1}, {32, "avg", 3}} {
		c, s, _ := first(v.size, v.pooling, v.strength)
		t.Logf("%+v: content %.3g, style %.3g; at 32, avg, 1: %.3g, %.3g", v, c, s, c1, s1)
		if r := s / v.strength / s1; v.size == 32 && v.pooling == "avg" && math.Abs(r-1) > 1e-5 || r < 1.0/6 || r > 6 {
			t.Errorf("%+v: style %.4g, with strength 1 at 32 it is %.4g", v, s, s1)
		}
		if r := c / c1; r < 1.0/6 || r > 6 {
			t.Errorf("%+v: content %.4g, at 32 it is %.4g", v, c, c1)
		}
	}
	if raw.Content[0] <= 0 || len(raw.Style) != len(StyleLayers) {
		t.Errorf("raw weights %+v", raw)
	}
}

// A target without energy leaves its term out; numbers that mean nothing are
// refused.
func TestStrengthOfNothing(t *testing.T) {
	if w := (Options{Strength: 1, StyleWeight: 1}).raw([][]float32{nil}, []*StyleTargets{{Grams: make([][]float32, len(StyleLayers))}}, masks{}); w.Content[0] != 0 || w.Style[0] != 0 {
		t.Errorf("%+v", w)
	}
	for _, v := range []float64{-1, math.NaN(), math.Inf(1), 1e5, 1e-5} {
		o := presets["default"]
		o.Strength = v
		var bad *OptionError
		if err := o.Validate(); !errors.As(err, &bad) || bad.Field != "Strength" {
			t.Errorf("%v: %v", v, err)
		}
	}
}
