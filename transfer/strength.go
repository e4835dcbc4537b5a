package transfer

// MaxStrength bounds Options.Strength, and one over it from below.
const MaxStrength = 1e4

// balance is what the style counts for, against the content, at strength 1: chosen
// by eye, so that a tenth leaves the picture and ten times as much little but style.
const balance = 10.0

// RawWeights are the weights of the terms of a loss, as [LoopProgram] has them.
//
// Those of a strength S take the units out of the terms: each is divided by the
// energy of its own target, so that it is the square of a relative error whatever
// the size, the pooling, the layers and the weights of the network are. With t the
// content's features and T_l the Gram matrix of style layer l,
//
//	content  1 / mean(t^2)        style_l  S balance / (layers mean(T_l^2))
//
// A target without energy, as the Gram matrix of a black picture, leaves its term
// out.
type RawWeights struct {
	Content float64   `json:"content"`
	Style   []float64 `json:"style"` // of each of StyleLayers
}

// raw are the weights of options, for these targets where they have a strength.
func (o Options) raw(content []float32, style *StyleTargets) RawWeights {
	w := RawWeights{Content: o.ContentWeight}
	for range StyleLayers {
		w.Style = append(w.Style, o.StyleWeight)
	}
	if o.Strength == 0 {
		return w
	}
	if o.ContentWeight > 0 {
		w.Content = perEnergy(content)
	}
	for i := range StyleLayers {
		if o.StyleWeight > 0 {
			w.Style[i] = o.Strength * balance / float64(len(StyleLayers)) * perEnergy(style.Grams[i])
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
