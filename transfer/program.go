package transfer

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/vgg"
)

// RingRows is how many iterations of losses the device keeps before the host
// has to read them.
const RingRows = 64

// Names of the buffers of the loop that the host touches. The Gram target of
// style layer l is GramTarget(l).
const (
	BufImage   = "image"       // State (N,H,W,3)
	BufM       = "adam_m"      // State, with Adam; that of L-BFGS is named by gpu.NewLBFGSState
	BufV       = "adam_v"      // State, with Adam
	BufStep    = "step"        // State (N,1,1,1)
	BufRing    = "ring"        // State (N,1,RingRows,gpu.RecTerms+terms)
	BufKnobs   = "knobs"       // Input (N,1,1,gpu.KnobTerms+terms)
	BufAverage = "average"     // State (N,H,W,3), with Options.Average
	BufPaint   = "paint"       // Input (N,H,W,1): 1 where the picture is painted, where that is not everywhere
	BufTV      = "tv_of_style" // Input (N,1,1,1), with Options.TVOfStyle
	BufDImage  = "gradient"    // Output (N,H,W,3): of the total loss, before the step
)

// GramTarget names the input that holds the Gram matrix that a region, 0 for the first,
// is to have at a layer.
func GramTarget(layer, region int) string {
	return "gram_target_" + vgg.Layers[layer].Name + ofRegion(region)
}

// ContentTarget names the input that has the content's features at a layer.
func ContentTarget(layer int) string {
	if layer == ContentLayer {
		return "content_target"
	}
	return "content_target_" + vgg.Layers[layer].Name
}

// StyleMask names the input that has the mask of a style picture at a layer, RegionMask
// that of a region of the picture, ContentMask that of where the content holds on.
func StyleMask(layer int) string { return "mask_" + vgg.Layers[layer].Name }

// RegionMask is there where the picture has regions.
func RegionMask(layer, region int) string { return StyleMask(layer) + ofRegion(region) }

// ContentMask is there where the content has a mask.
func ContentMask(layer int) string { return "content_mask_" + vgg.Layers[layer].Name }

func ofRegion(region int) string {
	if region == 0 {
		return ""
	}
	return fmt.Sprintf("_%d", region+1)
}

// forward adds the network on pictures (N,H,W,3), up to a layer.
func (o Options) forward(p *gpu.Program, x *gpu.Buffer, w *vgg.Weights, last int) *vgg.Net {
	if o.padded() {
		x = p.PadFwd("border", x, o.padding(x.Shape.H, x.Shape.W))
	}
	return vgg.Forward(p, x, w, o.pooling(), last)
}

// mask multiplies features with an input of one channel.
func mask(p *gpu.Program, name, input string, f *gpu.Buffer) (masked, by *gpu.Buffer) {
	s := f.Shape
	s.C = 1
	by = p.NewBuffer(input, gpu.Input, s)
	return p.Mul(name, f, by), by
}

// StyleProgram computes the Gram matrices of a picture (1,H,W,3), outputs
// gram_relu1_1 and so on, and with o.TVOfStyle its weighted total variation, tv. With
// masked the features of each layer are multiplied with an input of one channel
// first, see [StyleMask]; so they are where the picture is continued beyond its border.
func StyleProgram(o Options, w *vgg.Weights, height, width int, masked bool) (*gpu.Program, error) {
	if o.Padding == "wrap" { // a style is no tile
		o.Padding = "reflect"
	}
	p := &gpu.Program{}
	x := p.NewBuffer(BufImage, gpu.Input, gpu.Shape{N: 1, H: height, W: width, C: 3})
	net := o.forward(p, x, w, deepest(o.styleTaps()))
	for _, t := range o.styleTaps() {
		f := net.Out[t.layer]
		if masked || o.padded() {
			f, _ = mask(p, t.name(), StyleMask(t.layer), f)
		}
		p.Output(p.GramFwd(t.name(), f))
	}
	if o.TVOfStyle {
		knobs := make([]float32, gpu.KnobTerms+1)
		knobs[gpu.KnobTerms] = float32(o.TVWeight)
		k := p.NewConst(BufKnobs, gpu.Shape{N: 1, H: 1, W: 1, C: len(knobs)}, knobs)
		p.Output(p.TVFwd("style", x, gpu.Weight{Knobs: k, Column: gpu.KnobTerms}))
	}
	return p, p.Err()
}

// ContentProgram computes the features of n pictures at the content's layers, each an
// output: relu4_2, or masked_relu4_2 where the content has a mask, see [ContentMask].
func ContentProgram(o Options, w *vgg.Weights, n, height, width int) (*gpu.Program, error) {
	p := &gpu.Program{}
	x := p.NewBuffer(BufImage, gpu.Input, gpu.Shape{N: n, H: height, W: width, C: 3})
	net := o.forward(p, x, w, deepest(o.contentTaps()))
	for _, t := range o.contentTaps() {
		f := net.Out[t.layer]
		if o.held() {
			f, _ = mask(p, t.name(), ContentMask(t.layer), f)
		}
		p.Output(f)
	}
	return p, p.Err()
}

// term is a loss at a layer, on its way to the backward pass.
type term struct {
	name     string      // of its operations
	features *gpu.Buffer // of the layer, behind the mask
	target   *gpu.Buffer
	mask     *gpu.Buffer // nil for the whole layer
	weight   gpu.Weight
	gram     *gpu.Buffer // the loss's gradient with respect to the Gram matrix
}

// LoopProgram is one iteration on n pictures: forward, losses, backward, and a step
// of the optimizer. With f_l the features of layer l and one region, which is all,
//
//	total = sum_l cw_l MSE(f_l, target_l) + sum_l sw_l MSE(Gram(f_l), target_l) + tw TV(image)
//
// Regions have masks: that of region r multiplies the features before its Gram matrix,
// and each adds terms of its own. See [Work] for what the masks are.
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
	at := map[int][]term{} // by layer: of the style, region by region, then of the content
	var net *vgg.Net
	if last := o.deepest(); last >= 0 {
		net = o.forward(p, x, w, last)
	}
	var toContent []gpu.Weight
	if o.ContentWeight > 0 {
		for range o.contentTaps() {
			toContent = append(toContent, weight())
		}
	}
	if o.StyleWeight > 0 {
		for r := range o.regions() {
			for _, t := range o.styleTaps() {
				name := t.name() + ofRegion(r)
				m := term{name: name, features: net.Out[t.layer], weight: weight()}
				if o.masked() {
					m.features, m.mask = mask(p, name, RegionMask(t.layer, r), m.features)
				}
				g := p.GramFwd(name, m.features)
				m.target = p.NewBuffer(GramTarget(t.layer, r), gpu.Input, g.Shape)
				style = append(style, p.MSEFwd(name, g, m.target, m.weight))
				m.gram = p.MSEBwd(name, g, m.target, m.weight)
				at[t.layer] = append(at[t.layer], m)
			}
		}
	}
	if o.ContentWeight > 0 {
		for i, t := range o.contentTaps() {
			m := term{name: t.contentName(), features: net.Out[t.layer], weight: toContent[i]}
			if o.held() {
				m.features, m.mask = mask(p, m.name, ContentMask(t.layer), m.features)
			}
			m.target = p.NewBuffer(ContentTarget(t.layer), gpu.Input, m.features.Shape)
			content = append(content, p.MSEFwd(m.name, m.features, m.target, m.weight))
			at[t.layer] = append(at[t.layer], m)
		}
	}
	var tv *gpu.Buffer
	var smooth gpu.Weight
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
			for _, m := range at[layer] {
				var g *gpu.Buffer
				if m.gram != nil {
					g = p.GramBwd(m.name, m.gram, m.features)
				} else {
					g = p.MSEBwd(m.name, m.features, m.target, m.weight)
				}
				if m.mask != nil {
					g = p.Mul("d_"+m.name, g, m.mask)
				}
				d = join(vgg.Layers[layer].Name, d, g)
			}
			return d
		})
		if o.padded() {
			d = p.PadBwd("border", d, o.padding(height, width))
		}
	}
	if !o.TVOfStyle && (o.TVWeight > 0 || d == nil) {
		d = join("tv", d, p.TVBwd("image", x, smooth))
	}
	if d == nil {
		return nil, ErrNoLoss
	}
	if o.layout.unpainted {
		d, _ = mask(p, "gradient", BufPaint, d)
	}
	p.Output(d)
	d.Name = BufDImage
	var control *gpu.Buffer
	painted := x
	if o.lbfgs() {
		l := gpu.LBFGSParams{History: o.History, First: 0.05, Most: 0.5, Rise: 0.2}
		state := p.NewLBFGSState(pic, l)
		p.LBFGS(x, d, step, knobs, total, state, l)
		control, painted = state.Control, state.A
	} else {
		m, v := p.NewBuffer(BufM, gpu.State, pic), p.NewBuffer(BufV, gpu.State, pic)
		p.Adam(x, m, v, d, step, knobs, total, gpu.AdamParams{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Clamp: o.clamp()})
	}
	if o.Average > 0 {
		p.Average(painted, p.NewBuffer(BufAverage, gpu.State, pic), step, knobs)
	}
	ring := p.NewBuffer(BufRing, gpu.State, gpu.Shape{N: n, H: 1, W: RingRows, C: gpu.RecTerms + each.Shape.C})
	p.Record(x, d, total, each, step, knobs, ring, control)
	return p, p.Err()
}

// contentName is what operations on the content's term are called.
func (t tap) contentName() string {
	if t.layer == ContentLayer {
		return "content"
	}
	return "content_" + t.name()
}

// deepest is the last layer that the loss looks at, -1 for none.
func (o Options) deepest() int {
	last := -1
	if o.ContentWeight > 0 {
		last = deepest(o.contentTaps())
	}
	if o.StyleWeight > 0 {
		last = max(last, deepest(o.styleTaps()))
	}
	return last
}

// weights is how many weights of terms the knobs of a picture have.
func (o Options) weights() int {
	n := 0
	if o.ContentWeight > 0 {
		n += len(o.contentTaps())
	}
	if o.StyleWeight > 0 {
		n += o.regions() * len(o.styleTaps())
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
	return slices.Repeat(o.knobs(o.raw(nil, nil, masks{}), 0), n)
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
	if o.Average > 0 {
		k[gpu.KnobDecay], k[gpu.KnobBegin] = float32(o.Average), float32(first)
	}
	if o.ContentWeight > 0 {
		for _, w := range raw.Content {
			k = append(k, float32(w))
		}
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
