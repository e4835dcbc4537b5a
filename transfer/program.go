package transfer

import (
	"cmp"
	"slices"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/vgg"
)

// StyleLayers and ContentLayer are indices into vgg.Layers: relu1_1, relu2_1,
// relu3_1, relu4_1, relu5_1, and relu4_2.
var StyleLayers = []int{1, 6, 11, 20, 29}

// ContentLayer is relu4_2.
const ContentLayer = 22

// RingRows is how many iterations of losses the device keeps before the host
// has to read them.
const RingRows = 64

// Names of the buffers of the loop that the host touches. The Gram target of
// style layer l is GramTarget(l).
const (
	BufImage   = "image"          // State (N,H,W,3)
	BufM       = "adam_m"         // State, with Adam; that of L-BFGS is named by gpu.NewLBFGSState
	BufV       = "adam_v"         // State, with Adam
	BufStep    = "step"           // State (N,1,1,1)
	BufRing    = "ring"           // State (N,1,RingRows,gpu.RecTerms+terms)
	BufKnobs   = "knobs"          // Input (N,1,1,gpu.KnobTerms+terms)
	BufContent = "content_target" // Input, relu4_2 of the contents
	BufTV      = "tv_of_style"    // Input (N,1,1,1), with Options.TVOfStyle
	BufDImage  = "gradient"       // Output (N,H,W,3): of the total loss, before the step
)

// GramTarget names the input that holds the style's Gram matrix of a layer.
func GramTarget(layer int) string { return "gram_target_" + vgg.Layers[layer].Name }

// StyleMask names the input that has the mask of a style layer.
func StyleMask(layer int) string { return "mask_" + vgg.Layers[layer].Name }

// StyleProgram computes the Gram matrices of a picture (1,H,W,3), outputs
// gram_relu1_1 and so on, and with o.TVOfStyle its weighted total variation, tv. With
// masked the features of each layer are multiplied with an input of one channel
// first, see [StyleMask].
func StyleProgram(o Options, w *vgg.Weights, height, width int, masked bool) (*gpu.Program, error) {
	p := &gpu.Program{}
	x := p.NewBuffer(BufImage, gpu.Input, gpu.Shape{N: 1, H: height, W: width, C: 3})
	net := vgg.Forward(p, x, w, o.pooling(), StyleLayers[len(StyleLayers)-1])
	for _, l := range StyleLayers {
		name, f := vgg.Layers[l].Name, net.Out[l]
		if masked {
			s := f.Shape
			s.C = 1
			f = p.Mul(name, f, p.NewBuffer(StyleMask(l), gpu.Input, s))
		}
		p.Output(p.GramFwd(name, f))
	}
	if o.TVOfStyle {
		knobs := make([]float32, gpu.KnobTerms+1)
		knobs[gpu.KnobTerms] = float32(o.TVWeight)
		k := p.NewConst(BufKnobs, gpu.Shape{N: 1, H: 1, W: 1, C: len(knobs)}, knobs)
		p.Output(p.TVFwd("style", x, gpu.Weight{Knobs: k, Column: gpu.KnobTerms}))
	}
	return p, p.Err()
}

// ContentProgram computes relu4_2 of n pictures, an output of that name.
func ContentProgram(o Options, w *vgg.Weights, n, height, width int) (*gpu.Program, error) {
	p := &gpu.Program{}
	x := p.NewBuffer(BufImage, gpu.Input, gpu.Shape{N: n, H: height, W: width, C: 3})
	net := vgg.Forward(p, x, w, o.pooling(), ContentLayer)
	p.Output(net.Out[ContentLayer])
	return p, p.Err()
}

// LoopProgram is one iteration on n pictures: forward, losses, backward, and a step
// of the optimizer.
//
//	total = cw MSE(relu4_2, target) + sw sum_l MSE(Gram_l, target_l) + tw TV(image)
//
// A term of weight 0 is not computed, and the network is built only as deep as
// the terms reach; without any the error is [ErrNoLoss]. All other numbers, the
// weights among them, are knobs of each picture: two options with the same terms,
// optimizer and way to clamp have the same program.
func LoopProgram(o Options, w *vgg.Weights, n, height, width int) (*gpu.Program, error) {
	p := &gpu.Program{}
	pic, one := gpu.Shape{N: n, H: height, W: width, C: 3}, gpu.Shape{N: n, H: 1, W: 1, C: 1}
	x, step := p.NewBuffer(BufImage, gpu.State, pic), p.NewBuffer(BufStep, gpu.State, one)
	knobs := p.NewBuffer(BufKnobs, gpu.Input, gpu.Shape{N: n, H: 1, W: 1, C: gpu.KnobTerms + o.weights()})
	column := gpu.KnobTerms
	weight := func() gpu.Weight { // of the next term; knobs has them in this order
		column++
		return gpu.Weight{Knobs: knobs, Column: column - 1}
	}

	// Losses, and the gradient of each with respect to what it looks at.
	var content, style []*gpu.Buffer
	dGram := map[int]*gpu.Buffer{}
	var net *vgg.Net
	var target *gpu.Buffer
	if o.ContentWeight > 0 || o.StyleWeight > 0 {
		last := ContentLayer
		if o.StyleWeight > 0 {
			last = StyleLayers[len(StyleLayers)-1]
		}
		net = vgg.Forward(p, x, w, o.pooling(), last)
	}
	var toContent, smooth gpu.Weight
	if o.ContentWeight > 0 {
		toContent = weight()
	}
	if o.StyleWeight > 0 {
		for _, l := range StyleLayers {
			name, w := vgg.Layers[l].Name, weight()
			g := p.GramFwd(name, net.Out[l])
			t := p.NewBuffer(GramTarget(l), gpu.Input, g.Shape)
			style = append(style, p.MSEFwd(name, g, t, w))
			dGram[l] = p.MSEBwd(name, g, t, w)
		}
	}
	if o.ContentWeight > 0 {
		f := net.Out[ContentLayer]
		target = p.NewBuffer(BufContent, gpu.Input, f.Shape)
		content = append(content, p.MSEFwd("content", f, target, toContent))
	}
	var tv *gpu.Buffer
	if o.TVOfStyle {
		tv = p.NewBuffer(BufTV, gpu.Input, one)
	} else {
		smooth = weight()
		tv = p.TVFwd("image", x, smooth)
	}
	total, each := p.Total(content, style, tv)

	// Backward: each term joins where it belongs, from the deepest layer up.
	join := func(name string, d, term *gpu.Buffer) *gpu.Buffer {
		if d == nil {
			return term
		}
		return p.Add(name, d, term)
	}
	var d *gpu.Buffer
	if net != nil {
		d = net.Backward(func(layer int, d *gpu.Buffer) *gpu.Buffer {
			name, f := vgg.Layers[layer].Name, net.Out[layer]
			if g := dGram[layer]; g != nil {
				d = join(name, d, p.GramBwd(name, g, f))
			}
			if layer == ContentLayer && target != nil {
				d = join(name, d, p.MSEBwd("content", f, target, toContent))
			}
			return d
		})
	}
	if !o.TVOfStyle && (o.TVWeight > 0 || d == nil) {
		d = join("tv", d, p.TVBwd("image", x, smooth))
	}
	if d == nil {
		return nil, ErrNoLoss
	}
	p.Output(d)
	d.Name = BufDImage
	var control *gpu.Buffer
	if o.lbfgs() {
		l := gpu.LBFGSParams{History: o.History, First: 0.05, Most: 0.5, Rise: 0.2}
		state := p.NewLBFGSState(pic, l)
		p.LBFGS(x, d, step, knobs, total, state, l)
		control = state.Control
	} else {
		m, v := p.NewBuffer(BufM, gpu.State, pic), p.NewBuffer(BufV, gpu.State, pic)
		p.Adam(x, m, v, d, step, knobs, total, gpu.AdamParams{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Clamp: o.clamp()})
	}
	ring := p.NewBuffer(BufRing, gpu.State, gpu.Shape{N: n, H: 1, W: RingRows, C: gpu.RecTerms + each.Shape.C})
	p.Record(x, d, total, each, step, knobs, ring, control)
	return p, p.Err()
}

// weights is how many weights of terms the knobs of a picture have.
func (o Options) weights() int {
	n := 0
	if o.ContentWeight > 0 {
		n++
	}
	if o.StyleWeight > 0 {
		n += len(StyleLayers)
	}
	if !o.TVOfStyle {
		n++
	}
	return n
}

// Knobs are those of n pictures at the beginning of a level, with the raw weights of the
// options. It is for tools that run a loop without a [Session]; a knob may be changed at
// its column, as gpu.KnobLimit.
func (o Options) Knobs(n int) []float32 {
	o.Strength = 0
	return slices.Repeat(o.knobs(o.raw(nil, nil), 0), n)
}

// knobs are those of a picture whose steps the device counts from `first` on: at the
// beginning of the level 0, and more behind other levels.
func (o Options) knobs(raw RawWeights, first int) []float32 {
	k := make([]float32, gpu.KnobTerms, gpu.KnobTerms+o.weights())
	k[gpu.KnobLimit] = float32(first + o.Iterations)
	k[gpu.KnobRate], k[gpu.KnobFinal], k[gpu.KnobSpan] = float32(o.step(1)), 1, 1
	if !o.lbfgs() {
		k[gpu.KnobRate] = float32(o.step(o.LR))
	}
	if o.LRSchedule == "cosine" {
		k[gpu.KnobFinal], k[gpu.KnobFrom], k[gpu.KnobSpan] = 0, float32(first-o.before), float32(max(cmp.Or(o.LRSpan, o.all), o.Iterations))
	}
	if o.ContentWeight > 0 {
		k = append(k, float32(raw.Content))
	}
	if o.StyleWeight > 0 {
		for _, w := range raw.Style {
			k = append(k, float32(w))
		}
	}
	if !o.TVOfStyle {
		k = append(k, float32(o.TVWeight))
	}
	return k
}
