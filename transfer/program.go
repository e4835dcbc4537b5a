package transfer

import (
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
	BufStep    = "step"           // State, one value
	BufRing    = "ring"           // State (RingRows,1,N,gpu.RecTerms+terms)
	BufContent = "content_target" // Input, relu4_2 of the contents
	BufTV      = "tv_of_style"    // Input (N,1,1,1), with Options.TVOfStyle
	BufDImage  = "gradient"       // Output (N,H,W,3): of the total loss, before the step
)

// GramTarget names the input that holds the style's Gram matrix of a layer.
func GramTarget(layer int) string { return "gram_target_" + vgg.Layers[layer].Name }

// StyleProgram computes the Gram matrices of a picture (1,H,W,3), outputs
// gram_relu1_1 and so on, and with o.TVOfStyle its weighted total variation, tv.
func StyleProgram(o Options, w *vgg.Weights, height, width int) (*gpu.Program, error) {
	p := &gpu.Program{}
	x := p.NewBuffer(BufImage, gpu.Input, gpu.Shape{N: 1, H: height, W: width, C: 3})
	net := vgg.Forward(p, x, w, o.pooling(), StyleLayers[len(StyleLayers)-1])
	for _, l := range StyleLayers {
		p.Output(p.GramFwd(vgg.Layers[l].Name, net.Out[l]))
	}
	if o.TVOfStyle {
		p.Output(p.TVFwd("style", x, float32(o.TVWeight)))
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
// the terms reach; without any the error is [ErrNoLoss]. Options with a strength are
// planned with the weights that it replaces; a [Session] knows those that it becomes.
func LoopProgram(o Options, w *vgg.Weights, n, height, width int) (*gpu.Program, error) {
	strengthless := o
	strengthless.Strength = 0
	return loopProgram(o, strengthless.raw(nil), w, n, height, width)
}

func loopProgram(o Options, raw RawWeights, w *vgg.Weights, n, height, width int) (*gpu.Program, error) {
	p := &gpu.Program{}
	pic := gpu.Shape{N: n, H: height, W: width, C: 3}
	x := p.NewBuffer(BufImage, gpu.State, pic)
	step := p.NewBuffer(BufStep, gpu.State, gpu.Shape{N: 1, H: 1, W: 1, C: 1})

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
	if o.StyleWeight > 0 {
		for i, l := range StyleLayers {
			name := vgg.Layers[l].Name
			g := p.GramFwd(name, net.Out[l])
			t := p.NewBuffer(GramTarget(l), gpu.Input, gpu.Shape{N: 1, H: 1, W: g.Shape.W, C: g.Shape.C})
			style = append(style, p.MSEFwd(name, g, t, float32(raw.Style[i])))
			dGram[l] = p.MSEBwd(name, g, t, float32(raw.Style[i]))
		}
	}
	if o.ContentWeight > 0 {
		f := net.Out[ContentLayer]
		target = p.NewBuffer(BufContent, gpu.Input, f.Shape)
		content = append(content, p.MSEFwd("content", f, target, float32(raw.Content)))
	}
	var tv *gpu.Buffer
	if o.TVOfStyle {
		tv = p.NewBuffer(BufTV, gpu.Input, gpu.Shape{N: n, H: 1, W: 1, C: 1})
	} else {
		tv = p.TVFwd("image", x, float32(o.TVWeight))
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
				d = join(name, d, p.MSEBwd("content", f, target, float32(raw.Content)))
			}
			return d
		})
	}
	if !o.TVOfStyle && (o.TVWeight > 0 || d == nil) {
		d = join("tv", d, p.TVBwd("image", x, float32(o.TVWeight)))
	}
	if d == nil {
		return nil, ErrNoLoss
	}
	p.Output(d)
	d.Name = BufDImage
	var control *gpu.Buffer
	if o.lbfgs() {
		l := gpu.LBFGSParams{History: o.History, First: o.step(0.05), Most: o.step(0.5), Rise: 0.2}
		state := p.NewLBFGSState(pic, l)
		p.LBFGS(x, d, total, state, l)
		control = state.Control
	} else {
		m, v := p.NewBuffer(BufM, gpu.State, pic), p.NewBuffer(BufV, gpu.State, pic)
		p.Adam(x, m, v, d, step, total, gpu.AdamParams{LR: o.step(o.LR), Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Clamp: o.clamp()})
	}
	ring := p.NewBuffer(BufRing, gpu.State, gpu.Shape{N: RingRows, H: 1, W: n, C: gpu.RecTerms + each.Shape.C})
	p.Record(x, d, total, each, step, ring, control)
	return p, p.Err()
}
