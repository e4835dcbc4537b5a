package transfer

import "encoding/json"

// MaxStrength bounds Options.Strength, and one over it from below.
const MaxStrength = 1e4

// balance is what the style counts for, against the content, at strength 1: chosen
// by eye, so that a tenth leaves the picture and ten times as much little but style.
const balance = 10.0

// RawWeights are the weights of the terms of a loss, as [LoopProgram] has them.
//
// Those of a strength S take the units out of the terms: each is divided by the
// energy of its own target, so that it is the square of a relative error whatever
// the size, the pooling, the layers and the weights of the network are. With t_l the
// content's features at layer l, T_l the Gram matrix of style layer l, and v_l and u_l
// the weights of layers, which sum to one over the content's and over the style's,
//
//	content_l  v_l / mean(t_l^2)        style_l  S balance u_l / mean(T_l^2)
//
// Without a strength they are ContentWeight v_l and StyleWeight u_l, where v_l and u_l are
// as they were given. Terms of a region of the picture are multiplied by the share of the
// picture that it is, so that a pixel is worth the same everywhere. A target without
// energy, as the Gram matrix of a black picture, leaves its term out.
type RawWeights struct {
	Content Floats    `json:"content"` // of each content layer
	Style   []float64 `json:"style"`   // of each style layer, region after region
}

// Floats are numbers; one alone is no list in JSON.
type Floats []float64

// MarshalJSON writes a number, or a list of another length than 1.
func (f Floats) MarshalJSON() ([]byte, error) {
	if len(f) == 1 {
		return json.Marshal(f[0])
	}
	return json.Marshal([]float64(f))
}

// UnmarshalJSON reads both.
func (f *Floats) UnmarshalJSON(b []byte) error {
	var one float64
	if json.Unmarshal(b, &one) == nil {
		*f = Floats{one}
		return nil
	}
	return json.Unmarshal(b, (*[]float64)(f))
}

// raw are the weights of options, for these targets where they have a strength: the
// features of each content layer, and the Gram matrices of each region.
func (o Options) raw(content [][]float32, style []*StyleTargets, m masks) RawWeights {
	var w RawWeights
	taps := o.contentTaps()
	for i, t := range taps {
		v := o.ContentWeight * t.weight
		if o.Strength > 0 && o.ContentWeight > 0 { // the mask is in the target, and the share in which it is white
			v = t.weight / total(taps) * perEnergy(content[i]) * m.hold
		}
		w.Content = append(w.Content, v)
	}
	taps = o.styleTaps()
	for r := range o.regions() {
		area := 1.0
		if r < len(m.areas) {
			area = m.areas[r]
		}
		for i, t := range taps {
			v := o.StyleWeight * t.weight * area
			if o.Strength > 0 && o.StyleWeight > 0 {
				v = o.Strength * balance * t.weight / total(taps) * area * perEnergy(style[r].Grams[i])
			}
			w.Style = append(w.Style, v)
		}
	}
	return w
}

// perEnergy is one over the mean square of a target; 0 where that is 0.
func perEnergy(target []float32) float64 {
	var sum float64
	for _, v := range target {
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return 0
	}
	return float64(len(target)) / sum
}
