package gpu

import (
	"errors"
	"fmt"
	"math"
)

// Kind names an operation. Each has an oracle of the same name in kernels/ref
// and a case table in kernels/kerneltest.
type Kind uint8

// The operations.
const (
	NormalizeFwd  Kind = iota // y = (x - mean[c]) / std[c]
	NormalizeBwd              // dx = dy / std[c]
	Conv3x3Fprop              // y[n,p,q,k] = b[k] + sum_{r,s,c} w[k,r,s,c] x[n,p+r-1,q+s-1,c], zero outside
	Conv3x3Dgrad              // dx[n,h,w,c] = sum_{r,s,k} w[k,r,s,c] dy[n,h-r+1,w-s+1,k]
	ReLUFwd                   // y = max(x, 0)
	ReLUBwd                   // dx = dy where y > 0, else 0
	AvgPool2x2Fwd             // mean of 2x2 windows, stride 2, odd last row and column dropped
	AvgPool2x2Bwd             // dx = dy/4 in the window, 0 in a dropped row or column
	MaxPool2x2Fwd             // maximum of 2x2 windows, stride 2, odd last row and column dropped; a NaN wins
	MaxPool2x2Bwd             // dx = dy at the first maximum of the window, row by row; 0 elsewhere
	GramFwd                   // g[n,i,j] = sum_p f[n,p,i] f[n,p,j] / (C H W)
	GramBwd                   // df[n,p,i] = sum_j (dg[n,i,j] + dg[n,j,i]) f[n,p,j] / (C H W)
	MSEFwd                    // l[n] = weight[n] * mean((a[n]-b[n])^2); b may hold one picture for all
	MSEBwd                    // da[n] = weight[n] * 2 (a[n]-b[n]) / elements
	TVFwd                     // l[n] = weight[n] * (sum |x[h+1]-x[h]| + sum |x[w+1]-x[w]|) / elements
	TVBwd                     // its derivative, with sign(0) = 0
	Add                       // y = a + b
	Mul                       // y[n,h,w,c] = x[n,h,w,c] mask[n,h,w]; it is its own gradient
	PadFwd                    // y[n,r,s,c] = x[n,h,w,c], continued beyond the border; see PadParams
	PadBwd                    // dx[n,h,w,c] = sum of dy[n,r,s,c] over all r, s that read it, row by row
	Total                     // l[n] = (content, sum of styles, tv, sum of the three); terms[n] = each by itself
	Adam                      // one step on x, m, v; skipped where total or the squared gradient is not finite
	LBFGS                     // one step of projected L-BFGS; see LBFGSParams
	Average                   // avg += (x - avg) (1 - a) / (1 - a^t), a mean of the iterates; see KnobDecay
	Record                    // ring[n, step[n] % rows] = losses and picture statistics; step[n] = step[n] + 1
	NumKinds                  // not an operation: how many there are
)

var kindNames = [NumKinds]string{
	"normalize", "normalize_grad", "conv3x3_fprop", "conv3x3_dgrad", "relu_fwd", "relu_bwd",
	"avgpool2x2_fwd", "avgpool2x2_bwd", "maxpool2x2_fwd", "maxpool2x2_bwd", "gram_fwd", "gram_bwd", "mse_fwd", "mse_bwd", "tv_fwd", "tv_bwd",
	"add", "mul", "pad_fwd", "pad_bwd", "total", "adam", "lbfgs", "average", "record",
}

func (k Kind) String() string {
	if k < NumKinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Knobs are the numbers of a picture that a run may change without another program:
// a buffer (N,1,1,columns), which operations read when they run. The first columns
// are those of the optimiser; behind them every term of the loss has one.
const (
	KnobLimit = iota // steps that the picture takes; Adam, LBFGS, Average and Record leave it alone from then on
	KnobRate         // the learning rate of Adam; LBFGS multiplies First and Most by it
	KnobFinal        // the share of Adam's rate that is left in the end; see Rate
	KnobFrom         // the step at which the rate begins to fall, and may be negative
	KnobSpan         // in how many steps it does
	KnobDecay        // a of Average, at least 0 and below 1: what an iterate counts for, one step later; see [Program.Average]
	KnobBegin        // the step whose iterate is the first of Average, a whole number that may be negative
	KnobTerms        // the first weight of a term
)

// Weight is a column of knobs: what a term of the loss counts for.
type Weight struct {
	Knobs  *Buffer
	Column int
}

// PadMode says what lies beyond the border of a picture.
type PadMode uint8

// The modes. i is a row from -Pixels to H-1+Pixels; columns likewise.
const (
	Reflect PadMode = iota // mirrored at the outermost row, which is not repeated: row -i, or 2(H-1) - i; needs Pixels < H and < W
	Wrap                   // the picture again, as a tile: row i mod H; needs Pixels <= H and <= W
)

// PadParams say how far [PadFwd] continues a picture (N,H,W,C) beyond every border, and
// how: the result is (N, H+2 Pixels, W+2 Pixels, C).
type PadParams struct {
	Pixels int
	Mode   PadMode
}

// check verifies that a picture of extent s can be continued so far.
func (p PadParams) check(s Shape) error {
	most := min(s.H, s.W)
	switch p.Mode {
	case Reflect:
		most--
	case Wrap:
	default:
		return fmt.Errorf("%d is not a mode", p.Mode)
	}
	if p.Pixels < 1 || p.Pixels > most {
		return fmt.Errorf("a picture of %dx%d can be continued by 1 to %d pixels, not by %d", s.W, s.H, most, p.Pixels)
	}
	return nil
}

// Clamp says when [Adam] projects the picture onto [0,1].
type Clamp uint8

// When to project.
const (
	ClampAfter  Clamp = iota // after the step: the picture is always a picture
	ClampBefore              // before the step, as the article does: the result leaves [0,1] by up to lr
	ClampNone
)

// AdamParams are the constants of the update (Kingma and Ba, arXiv 1412.6980),
// in the form that torch.optim.Adam computes:
//
//	m += (g - m)(1 - beta1);  v = beta2 v + (1 - beta2) g g
//	x -= lr/(1 - beta1^t) * m / (sqrt(v)/sqrt(1 - beta2^t) + eps)
//
// t is the picture's step, 1 for the first, and lr its [Rate].
type AdamParams struct {
	Beta1, Beta2, Eps float64
	Clamp             Clamp
}

// Rate is the learning rate of the step that comes after so many: the knob's at the
// step From, Final times that from From + Span on, and half a cosine between them.
//
//	rate (final + (1 - final) (1 + cos(pi (done - from) / span)) / 2)
func Rate(knobs []float64, done float64) float64 {
	rate, final, from, span := knobs[KnobRate], knobs[KnobFinal], knobs[KnobFrom], knobs[KnobSpan]
	if final == 1 || !(done-from < span) {
		return rate * final
	}
	return rate * (final + (1-final)*(1+math.Cos(math.Pi*(done-from)/span))/2)
}

// LBFGSParams are the constants of the step: L-BFGS (Nocedal 1980) projected onto
// [0,1], without a line search. Each picture has its own memory, decides by itself,
// and x is always where the next evaluation is to be. With l the loss and g the
// gradient at x, and a, ga, la those of the last point that was accepted:
//
//	refuse   when l or a g*g is not finite, or l > la + Rise |la| (up to the eighth
//	         time in a row): t *= 0.3; from the second time on, forget the pairs
//	accept   s = x - a; y = g - ga; the pair is kept if s.y > 1e-10 y.Py, the oldest
//	         of more than History dropped; a, ga, la = x, g, l; t = 1
//	free     f[i] = 0 where a[i] <= 0 and ga[i] > 0, or a[i] >= 1 and ga[i] < 0; else 1
//	d        -f H f ga: H is the two-loop recursion over the pairs, that begins with
//	         P s.y/y.Py of the newest; -f ga First / max|ga| without a pair, and where H
//	         would not descend (the pairs are forgotten)
//	step     x = clamp(a + t min(1, Most / max|d|) d, 0, 1)
//
// P = 1 - k B is a preconditioner. B is the mean over 3x3 pixels with weights 1 2 1 down
// and across, each channel by itself, nothing beyond the border; so P leaves fine
// changes and shortens those that span many pixels, along which the loss of a network is
// far steeper. Without it most evaluations go on them. k is 0 at first, and an accepted
// evaluation that leaves no pairs makes it (4 r - 1) / 3, at least 0 and at most 0.9, of
// r = v.Bv / v.v, v = f g: 0 for a gradient that is noise, near 1 for a smooth one.
//
// A refused evaluation leaves a, ga and d as they are, or makes d anew where the
// pairs are forgotten; before the first that is accepted it leaves x too.
type LBFGSParams struct {
	History int     // pairs that are kept, 1 to [MaxHistory]
	First   float64 // largest change of a value by a step along the gradient, at rate 1
	Most    float64 // largest change of a value by any step, at rate 1
	Rise    float64 // by which share the loss may rise
}

// MaxHistory is the most pairs that [LBFGSParams] may ask for.
const MaxHistory = 32

// Slots is the pairs that there is room for: one more than are kept, so that a
// pair can be looked at before another is dropped for it.
func (p LBFGSParams) Slots() int { return p.History + 1 }

// Columns of the control of [LBFGS], (N,1,1,ControlColumns). All are 0 at the
// start of a run.
const (
	CtlAccepted = iota // how many evaluations were accepted
	CtlPairs           // how many pairs are kept
	CtlNext            // the slot that the next pair goes to
	CtlLoss            // la
	CtlMost            // max |ga|
	CtlFactor          // t
	CtlRefusals        // how many evaluations in a row were refused, up to the last
	CtlStep            // the largest change of a value that the last step asked for
	CtlLongest         // max |d|
	CtlSmooth          // k
	CtlProducts        // slots rows of slots values, s.y: of every s with the y that came with it or later; then all y.Py
)

// ControlColumns is their number.
func (p LBFGSParams) ControlColumns() int { return CtlProducts + 2*p.Slots()*p.Slots() }

// GiveUp is how many refusals in a row an optimiser survives whose cause is a loss
// or a gradient that is not finite: after them RecFinite is 0.
const GiveUp = 10

// Columns of a [Record] row.
const (
	RecContent = iota // the three losses, weights applied
	RecStyle
	RecTV
	RecTotal
	RecMean    // mean of the picture after the step
	RecStd     // its standard deviation (n-1)
	RecFinite  // 1, or 0 when total or a squared gradient was not finite and its step was skipped; LBFGS goes back, until it gives up
	RecStep    // the largest change of a value that LBFGS asked for; 0 with Adam
	RecRefused // 1 where LBFGS refused the evaluation, else 0
	RecTerms   // each loss by itself: contents, styles, tv
)

// Op is one operation. In and Out list its operands in the order of [operands];
// code that means a certain one asks for it by name: op.Gradient().
type Op struct {
	Kind      Kind
	Name      string // the layer, for reports: "conv1_1"
	In, Out   []*Buffer
	Column    int       // MSE, TV and their gradients: where the term's weight is among the knobs
	Mean, Std []float32 // Normalize and its gradient, per channel
	Adam      AdamParams
	LBFGS     LBFGSParams
	Pad       PadParams
	NContent  int // Total: how many of In are content losses; the rest up to the last are style losses
	NStyle    int
}

// operand is the part that a buffer has in an operation.
type operand uint8

const (
	asX      operand = iota // what a forward operation reads
	asY                     // what it writes
	asDY                    // the gradient of y, which a backward operation reads
	asDX                    // the gradient of x, which it writes
	asFilter                // (K,3,3,C)
	asBias
	asTarget
	asMask // (N,H,W,1)
	asA    // summands
	asB
	asPicture
	asGradient // of the picture
	asMoment1
	asMoment2
	asStep   // (N,1,1,1): how many steps were taken
	asKnobs  // (N,1,1,columns)
	asLosses // (N,1,1,4): content, style, tv, total
	asRing
	asTerms    // of Total: any number of content and style losses, and that of tv
	asEach     // the same, gathered: (N,1,1,terms)
	asAccepted // the last point that LBFGS accepted, and its gradient
	asAcceptedGradient
	asDirection
	asAverage
	asPairsS   // (N, slots*H, W, 3): the steps
	asPairsY   // and the changes of the gradient
	asSmoothed // (N,H,W,3): P times the gradient
	asControl
)

// operands are the parts of In and Out, in order.
var operands = [NumKinds]struct{ in, out []operand }{
	NormalizeFwd:  {[]operand{asX}, []operand{asY}},
	NormalizeBwd:  {[]operand{asDY}, []operand{asDX}},
	Conv3x3Fprop:  {[]operand{asX, asFilter, asBias}, []operand{asY}},
	Conv3x3Dgrad:  {[]operand{asDY, asFilter}, []operand{asDX}},
	ReLUFwd:       {[]operand{asX}, []operand{asY}},
	ReLUBwd:       {[]operand{asDY, asY}, []operand{asDX}},
	AvgPool2x2Fwd: {[]operand{asX}, []operand{asY}},
	AvgPool2x2Bwd: {[]operand{asDY}, []operand{asDX}},
	MaxPool2x2Fwd: {[]operand{asX}, []operand{asY}},
	MaxPool2x2Bwd: {[]operand{asDY, asX}, []operand{asDX}},
	GramFwd:       {[]operand{asX}, []operand{asY}},
	GramBwd:       {[]operand{asDY, asX}, []operand{asDX}},
	MSEFwd:        {[]operand{asX, asTarget, asKnobs}, []operand{asY}},
	MSEBwd:        {[]operand{asX, asTarget, asKnobs}, []operand{asDX}},
	TVFwd:         {[]operand{asX, asKnobs}, []operand{asY}},
	TVBwd:         {[]operand{asX, asKnobs}, []operand{asDX}},
	Add:           {[]operand{asA, asB}, []operand{asY}},
	Mul:           {[]operand{asX, asMask}, []operand{asY}},
	PadFwd:        {[]operand{asX}, []operand{asY}},
	PadBwd:        {[]operand{asDY}, []operand{asDX}},
	Total:         {[]operand{asTerms}, []operand{asY, asEach}},
	Adam:          {[]operand{asGradient, asPicture, asMoment1, asMoment2, asStep, asKnobs, asLosses}, []operand{asPicture, asMoment1, asMoment2}},
	LBFGS: {
		[]operand{asGradient, asPicture, asAccepted, asAcceptedGradient, asDirection, asPairsS, asPairsY, asControl, asStep, asKnobs, asLosses},
		[]operand{asPicture, asAccepted, asAcceptedGradient, asDirection, asPairsS, asPairsY, asControl, asSmoothed},
	},
	Average: {[]operand{asPicture, asAverage, asStep, asKnobs}, []operand{asAverage}},
	Record:  {[]operand{asPicture, asGradient, asLosses, asEach, asStep, asKnobs, asControl}, []operand{asRing, asStep}},
}

// find is the buffer that has a part, or nil where the operation has no such part.
func (o *Op) find(part operand) *Buffer {
	for i, p := range operands[o.Kind].in {
		if p == part && i < len(o.In) {
			return o.In[i]
		}
	}
	for i, p := range operands[o.Kind].out {
		if p == part && i < len(o.Out) {
			return o.Out[i]
		}
	}
	return nil
}

// X is what a forward operation reads; its gradient may read it again.
func (o *Op) X() *Buffer { return o.find(asX) }

// Y is the result of a forward operation: of Gram the matrix, of a loss term its
// value. ReLUBwd reads it.
func (o *Op) Y() *Buffer { return o.find(asY) }

// DY is the gradient with respect to Y, which a backward operation reads.
func (o *Op) DY() *Buffer { return o.find(asDY) }

// DX is the gradient with respect to X, which a backward operation writes.
func (o *Op) DX() *Buffer { return o.find(asDX) }

// Filter is the weights of a convolution, (K,3,3,C).
func (o *Op) Filter() *Buffer { return o.find(asFilter) }

// Bias is the bias of Conv3x3Fprop.
func (o *Op) Bias() *Buffer { return o.find(asBias) }

// Target is what MSE compares with: one picture, or one for all.
func (o *Op) Target() *Buffer { return o.find(asTarget) }

// Mask is what Mul multiplies with.
func (o *Op) Mask() *Buffer { return o.find(asMask) }

// A is the first summand of Add, B the second.
func (o *Op) A() *Buffer { return o.find(asA) }

// B is the second summand of Add.
func (o *Op) B() *Buffer { return o.find(asB) }

// Picture is what Adam and LBFGS update, Average averages and Record measures.
func (o *Op) Picture() *Buffer { return o.find(asPicture) }

// Gradient is the picture's gradient, of Adam, LBFGS and Record.
func (o *Op) Gradient() *Buffer { return o.find(asGradient) }

// Moments are Adam's running means of the gradient and of its square.
func (o *Op) Moments() (m, v *Buffer) { return o.find(asMoment1), o.find(asMoment2) }

// Average is what Average updates.
func (o *Op) Average() *Buffer { return o.find(asAverage) }

// Step counts the steps of each picture: Adam, LBFGS and Average read it, Record counts.
func (o *Op) Step() *Buffer { return o.find(asStep) }

// Knobs are those that the operation looks at; of a term of the loss, those with its
// weight, which is in Column.
func (o *Op) Knobs() *Buffer { return o.find(asKnobs) }

// Weight is that of a term of the loss.
func (o *Op) Weight() Weight { return Weight{o.Knobs(), o.Column} }

// Losses is what Total has gathered, of Adam, LBFGS and Record.
func (o *Op) Losses() *Buffer { return o.find(asLosses) }

// Each is the terms of the loss one by one, of Total and Record.
func (o *Op) Each() *Buffer { return o.find(asEach) }

// Accepted is the last point that LBFGS accepted, and the gradient there.
func (o *Op) Accepted() (a, ga *Buffer) { return o.find(asAccepted), o.find(asAcceptedGradient) }

// Direction is the one in which LBFGS goes from there.
func (o *Op) Direction() *Buffer { return o.find(asDirection) }

// Pairs are the steps s that LBFGS remembers, and P y.
func (o *Op) Pairs() (s, y *Buffer) { return o.find(asPairsS), o.find(asPairsY) }

// Smoothed is where LBFGS leaves P f g for itself.
func (o *Op) Smoothed() *Buffer { return o.find(asSmoothed) }

// Control is what LBFGS decides by; Record looks at it, where it is given.
func (o *Op) Control() *Buffer { return o.find(asControl) }

// Ring is where Record writes its rows.
func (o *Op) Ring() *Buffer { return o.find(asRing) }

// Terms are the losses that Total gathers.
func (o *Op) Terms() (content, style []*Buffer, tv *Buffer) {
	last := o.NContent + o.NStyle
	return o.In[:o.NContent], o.In[o.NContent:last], o.In[last]
}

func (o *Op) String() string {
	s := fmt.Sprintf("%s %s", o.Kind, o.Name)
	if len(o.In) > 0 {
		s += " (" + o.In[0].Shape.String() + ")"
	}
	return s
}

// NormalizeFwd subtracts mean and divides by std, per channel.
func (p *Program) NormalizeFwd(name string, x *Buffer, mean, std []float32) *Buffer {
	return p.add(&Op{Kind: NormalizeFwd, Name: name, In: []*Buffer{x}, Out: []*Buffer{p.temp(name, x.Shape)}, Mean: mean, Std: std})
}

// NormalizeBwd is the gradient of Normalize.
func (p *Program) NormalizeBwd(name string, dy *Buffer, std []float32) *Buffer {
	return p.add(&Op{Kind: NormalizeBwd, Name: name, In: []*Buffer{dy}, Out: []*Buffer{p.temp("d"+name, dy.Shape)}, Mean: make([]float32, len(std)), Std: std})
}

// Conv3x3Fprop is the 3x3 convolution with bias, stride 1, zero padding 1.
// x (N,H,W,C), w (K,3,3,C), b (1,1,1,K) -> (N,H,W,K).
func (p *Program) Conv3x3Fprop(name string, x, w, b *Buffer) *Buffer {
	s := x.Shape
	s.C = w.Shape.N
	return p.add(&Op{Kind: Conv3x3Fprop, Name: name, In: []*Buffer{x, w, b}, Out: []*Buffer{p.temp(name, s)}})
}

// Conv3x3Dgrad is the gradient of Conv3x3 with respect to x.
// dy (N,H,W,K), w (K,3,3,C) -> (N,H,W,C).
func (p *Program) Conv3x3Dgrad(name string, dy, w *Buffer) *Buffer {
	s := dy.Shape
	s.C = w.Shape.C
	return p.add(&Op{Kind: Conv3x3Dgrad, Name: name, In: []*Buffer{dy, w}, Out: []*Buffer{p.temp("d"+name, s)}})
}

// ReLUFwd is max(x, 0).
func (p *Program) ReLUFwd(name string, x *Buffer) *Buffer {
	return p.add(&Op{Kind: ReLUFwd, Name: name, In: []*Buffer{x}, Out: []*Buffer{p.temp(name, x.Shape)}})
}

// ReLUBwd passes dy where the output y of ReLU is positive.
func (p *Program) ReLUBwd(name string, dy, y *Buffer) *Buffer {
	return p.add(&Op{Kind: ReLUBwd, Name: name, In: []*Buffer{dy, y}, Out: []*Buffer{p.temp("d"+name, dy.Shape)}})
}

// AvgPool2x2Fwd halves H and W, rounding down.
func (p *Program) AvgPool2x2Fwd(name string, x *Buffer) *Buffer {
	s := x.Shape
	s.H, s.W = s.H/2, s.W/2
	return p.add(&Op{Kind: AvgPool2x2Fwd, Name: name, In: []*Buffer{x}, Out: []*Buffer{p.temp(name, s)}})
}

// AvgPool2x2Bwd spreads dy over the (H,W) input of the pool.
func (p *Program) AvgPool2x2Bwd(name string, dy *Buffer, h, w int) *Buffer {
	s := dy.Shape
	s.H, s.W = h, w
	return p.add(&Op{Kind: AvgPool2x2Bwd, Name: name, In: []*Buffer{dy}, Out: []*Buffer{p.temp("d"+name, s)}})
}

// MaxPool2x2Fwd halves H and W, rounding down, and keeps the largest of four.
func (p *Program) MaxPool2x2Fwd(name string, x *Buffer) *Buffer {
	s := x.Shape
	s.H, s.W = s.H/2, s.W/2
	return p.add(&Op{Kind: MaxPool2x2Fwd, Name: name, In: []*Buffer{x}, Out: []*Buffer{p.temp(name, s)}})
}

// MaxPool2x2Bwd gives dy to the first maximum of each window of x, the pool's input.
func (p *Program) MaxPool2x2Bwd(name string, dy, x *Buffer) *Buffer {
	return p.add(&Op{Kind: MaxPool2x2Bwd, Name: name, In: []*Buffer{dy, x}, Out: []*Buffer{p.temp("d"+name, x.Shape)}})
}

// GramFwd is F F^T / (C H W) of each picture: (N,H,W,C) -> (N,1,C,C).
func (p *Program) GramFwd(name string, f *Buffer) *Buffer {
	s := Shape{N: f.Shape.N, H: 1, W: f.Shape.C, C: f.Shape.C}
	return p.add(&Op{Kind: GramFwd, Name: name, In: []*Buffer{f}, Out: []*Buffer{p.temp("gram_"+name, s)}})
}

// GramBwd is the gradient of Gram with respect to f.
func (p *Program) GramBwd(name string, dg, f *Buffer) *Buffer {
	return p.add(&Op{Kind: GramBwd, Name: name, In: []*Buffer{dg, f}, Out: []*Buffer{p.temp("dgram_"+name, f.Shape)}})
}

// MSEFwd is the weight times the mean squared difference of each picture, (N,1,1,1).
func (p *Program) MSEFwd(name string, a, b *Buffer, w Weight) *Buffer {
	return p.add(&Op{Kind: MSEFwd, Name: name, In: []*Buffer{a, b, w.Knobs}, Out: []*Buffer{p.temp("mse_"+name, Shape{a.Shape.N, 1, 1, 1})}, Column: w.Column})
}

// MSEBwd is the gradient of MSE with respect to a.
func (p *Program) MSEBwd(name string, a, b *Buffer, w Weight) *Buffer {
	return p.add(&Op{Kind: MSEBwd, Name: name, In: []*Buffer{a, b, w.Knobs}, Out: []*Buffer{p.temp("dmse_"+name, a.Shape)}, Column: w.Column})
}

// TVFwd is the weight times the mean absolute difference of neighbours, (N,1,1,1).
func (p *Program) TVFwd(name string, x *Buffer, w Weight) *Buffer {
	return p.add(&Op{Kind: TVFwd, Name: name, In: []*Buffer{x, w.Knobs}, Out: []*Buffer{p.temp("tv_"+name, Shape{x.Shape.N, 1, 1, 1})}, Column: w.Column})
}

// TVBwd is the gradient of TV.
func (p *Program) TVBwd(name string, x *Buffer, w Weight) *Buffer {
	return p.add(&Op{Kind: TVBwd, Name: name, In: []*Buffer{x, w.Knobs}, Out: []*Buffer{p.temp("dtv_"+name, x.Shape)}, Column: w.Column})
}

// Add is a + b.
func (p *Program) Add(name string, a, b *Buffer) *Buffer {
	return p.add(&Op{Kind: Add, Name: name, In: []*Buffer{a, b}, Out: []*Buffer{p.temp("sum_"+name, a.Shape)}})
}

// Mul multiplies every channel of x with a mask (N,H,W,1). The gradient with respect
// to x is that of y, multiplied again.
func (p *Program) Mul(name string, x, mask *Buffer) *Buffer {
	return p.add(&Op{Kind: Mul, Name: name, In: []*Buffer{x, mask}, Out: []*Buffer{p.temp("masked_"+name, x.Shape)}})
}

// PadFwd continues x (N,H,W,C) beyond its border: (N, H+2 Pixels, W+2 Pixels, C).
func (p *Program) PadFwd(name string, x *Buffer, pad PadParams) *Buffer {
	s := x.Shape
	s.H, s.W = s.H+2*pad.Pixels, s.W+2*pad.Pixels
	return p.add(&Op{Kind: PadFwd, Name: name, In: []*Buffer{x}, Out: []*Buffer{p.temp("padded_"+name, s)}, Pad: pad})
}

// PadBwd is the gradient of Pad: a pixel gets the sum of what comes back to it and to
// its images beyond the border.
func (p *Program) PadBwd(name string, dy *Buffer, pad PadParams) *Buffer {
	s := dy.Shape
	s.H, s.W = s.H-2*pad.Pixels, s.W-2*pad.Pixels
	return p.add(&Op{Kind: PadBwd, Name: name, In: []*Buffer{dy}, Out: []*Buffer{p.temp("dpadded_"+name, s)}, Pad: pad})
}

// Total gathers the loss terms of each picture: total (N,1,1,4) with content,
// style, tv and their sum, and each (N,1,1,terms) with the terms one by one.
func (p *Program) Total(content, style []*Buffer, tv *Buffer) (total, each *Buffer) {
	in := append(append(append([]*Buffer{}, content...), style...), tv)
	total, each = p.temp("total", Shape{tv.Shape.N, 1, 1, 4}), p.temp("terms", Shape{tv.Shape.N, 1, 1, len(in)})
	p.add(&Op{Kind: Total, Name: "losses", In: in, NContent: len(content), NStyle: len(style), Out: []*Buffer{total, each}})
	return total, each
}

// Adam updates x, m and v (State) from the gradient g; step (State, (N,1,1,1))
// holds the number of steps already taken.
func (p *Program) Adam(x, m, v, g, step, knobs, total *Buffer, a AdamParams) {
	p.add(&Op{Kind: Adam, Name: "pixels", In: []*Buffer{g, x, m, v, step, knobs, total}, Out: []*Buffer{x, m, v}, Adam: a})
}

// LBFGSState is the memory of projected L-BFGS: State buffers, all 0 at the start
// of a run.
type LBFGSState struct {
	A, GA, D *Buffer // as the picture: the last point accepted, its gradient, the direction
	S, Y     *Buffer // (N, slots*H, W, C)
	Control  *Buffer // (N,1,1,ControlColumns)
}

// NewLBFGSState adds the buffers for pictures of shape s: accepted,
// accepted_gradient, direction, pairs_s, pairs_y and control.
func (p *Program) NewLBFGSState(s Shape, l LBFGSParams) LBFGSState {
	pairs := s
	pairs.H *= l.Slots()
	return LBFGSState{
		A: p.NewBuffer("accepted", State, s), GA: p.NewBuffer("accepted_gradient", State, s), D: p.NewBuffer("direction", State, s),
		S: p.NewBuffer("pairs_s", State, pairs), Y: p.NewBuffer("pairs_y", State, pairs),
		Control: p.NewBuffer("control", State, Shape{s.N, 1, 1, l.ControlColumns()}),
	}
}

// LBFGS takes a step of projected L-BFGS on x (State), whose gradient is g and
// whose loss total. What the run has reached is in m.A; x is what it tries next.
func (p *Program) LBFGS(x, g, step, knobs, total *Buffer, m LBFGSState, l LBFGSParams) {
	z := p.NewBuffer("smoothed", Temp, x.Shape)
	p.add(&Op{
		Kind: LBFGS, Name: "pixels", LBFGS: l,
		In: []*Buffer{g, x, m.A, m.GA, m.D, m.S, m.Y, m.Control, step, knobs, total}, Out: []*Buffer{x, m.A, m.GA, m.D, m.S, m.Y, m.Control, z},
	})
}

// Average updates avg (State), the exponential average of the picture x over its
// iterations. It stands behind the optimizer and before Record, so that step holds the
// number of steps before this one. With a = KnobDecay and t = max(step - KnobBegin + 1, 1)
//
//	avg += (x - avg) (1 - a) / (1 - a^t)
//
// where step is below KnobLimit. So avg = sum_{i=1..t} a^(t-i) x_i / sum_{i=1..t} a^(t-i),
// without a bias to its first value: at t = 1, and always with a = 0, avg is x to the bit,
// whatever it was.
func (p *Program) Average(x, avg, step, knobs *Buffer) {
	p.add(&Op{Kind: Average, Name: "pixels", In: []*Buffer{x, avg, step, knobs}, Out: []*Buffer{avg}})
}

// Record writes one row a picture into ring (N,1,rows,RecTerms+terms) and counts
// the step. control is that of LBFGS, or nil.
func (p *Program) Record(x, g, total, each, step, knobs, ring, control *Buffer) {
	in := []*Buffer{x, g, total, each, step, knobs}
	if control != nil {
		in = append(in, control)
	}
	p.add(&Op{Kind: Record, Name: "ring", In: in, Out: []*Buffer{ring, step}})
}

// check verifies the shapes of one operation.
func (o *Op) check() error {
	for _, b := range append(append([]*Buffer{}, o.In...), o.Out...) {
		if b == nil {
			return fmt.Errorf("an argument is nil")
		}
	}
	if o.Kind >= NumKinds {
		return errors.New("not an operation")
	}
	parts := operands[o.Kind]
	inputs := len(o.In) == len(parts.in) || o.Kind == Total || o.Kind == Record && len(o.In) == len(parts.in)-1 // control may be left out
	if len(o.Out) != len(parts.out) || !inputs {
		return fmt.Errorf("%d inputs and %d outputs, and names for %d and %d", len(o.In), len(o.Out), len(parts.in), len(parts.out))
	}
	want := func(what string, got, want Shape) error {
		if got != want {
			return fmt.Errorf("%s is %v, want %v", what, got, want)
		}
		return nil
	}
	x := o.In[0].Shape
	if k := o.Knobs(); k != nil {
		columns := max(o.Column+1, KnobTerms)
		if err := want("knobs", k.Shape, Shape{x.N, 1, 1, max(k.Shape.C, columns)}); err != nil {
			return err
		}
	}
	if b := o.Step(); b != nil {
		if err := want("step", b.Shape, Shape{x.N, 1, 1, 1}); err != nil {
			return err
		}
	}
	switch o.Kind {
	case NormalizeFwd, NormalizeBwd:
		if len(o.Mean) != x.C || len(o.Std) != x.C {
			return fmt.Errorf("%d means and %d deviations for %d channels", len(o.Mean), len(o.Std), x.C)
		}
	case Conv3x3Fprop:
		w := o.In[1].Shape
		if err := want("w", w, Shape{w.N, 3, 3, x.C}); err != nil {
			return err
		}
		return want("bias", o.In[2].Shape, Shape{1, 1, 1, w.N})
	case Conv3x3Dgrad:
		w := o.In[1].Shape
		return want("w", w, Shape{x.C, 3, 3, w.C})
	case ReLUBwd, Add:
		return want("second argument", o.In[1].Shape, x)
	case Mul:
		return want("mask", o.Mask().Shape, Shape{x.N, x.H, x.W, 1})
	case PadFwd:
		return o.Pad.check(x)
	case PadBwd:
		return o.Pad.check(o.DX().Shape)
	case Average:
		return want("average", o.Average().Shape, x)
	case AvgPool2x2Fwd, MaxPool2x2Fwd:
		if x.H < 2 || x.W < 2 {
			return fmt.Errorf("needs at least 2x2 pixels")
		}
	case AvgPool2x2Bwd, MaxPool2x2Bwd:
		y := o.Out[0].Shape
		return want("dy", x, Shape{y.N, y.H / 2, y.W / 2, y.C})
	case GramBwd:
		f := o.In[1].Shape
		return want("dg", x, Shape{f.N, 1, f.C, f.C})
	case MSEFwd, MSEBwd:
		b := o.In[1].Shape
		if b.N == 1 {
			b.N = x.N
		}
		return want("target", b, x)
	case Total:
		for _, b := range o.In {
			if err := want(b.Name, b.Shape, Shape{x.N, 1, 1, 1}); err != nil {
				return err
			}
		}
	case Adam:
		for _, b := range o.In[1:4] {
			if err := want(b.Name, b.Shape, x); err != nil {
				return err
			}
		}
		if a := o.Adam; !(a.Beta1 >= 0 && a.Beta1 < 1) || !(a.Beta2 >= 0 && a.Beta2 < 1) || !(a.Eps >= 0) {
			return fmt.Errorf("needs 0 <= beta < 1, eps >= 0; got %+v", a)
		}
	case LBFGS:
		l := o.LBFGS
		if l.History < 1 || l.History > MaxHistory || !(l.First > 0) || !(l.Most > 0) || !(l.Rise >= 0) {
			return fmt.Errorf("needs a history of 1 to %d, first > 0, most > 0, rise >= 0; got %+v", MaxHistory, l)
		}
		pairs := x
		pairs.H *= l.Slots()
		a, ga := o.Accepted()
		s, y := o.Pairs()
		for _, b := range []*Buffer{o.Picture(), a, ga, o.Direction()} {
			if err := want(b.Name, b.Shape, x); err != nil {
				return err
			}
		}
		for _, b := range []*Buffer{s, y} {
			if err := want(b.Name, b.Shape, pairs); err != nil {
				return err
			}
		}
		return want("control", o.Control().Shape, Shape{x.N, 1, 1, l.ControlColumns()})
	case Record:
		ring := o.Out[0].Shape
		return want("ring", ring, Shape{x.N, 1, ring.W, RecTerms + o.Each().Shape.C})
	default: // any shape
	}
	return nil
}

// FLOPs counts one execution, multiplies and adds separately; comparisons and
// copies count as nothing.
//
//	conv3x3, either way   2 * 9 C K N H W
//	gram                  2 C C N H W    (twice the triangle that a device may compute)
//	lbfgs                 per element: 2 (2 slots + 1) (slots + 1) + 2 (2 slots + 1) + 8
//	elementwise           per element: 2 normalize, 1 add, mul and what a padding gives back, 4 pool window, 3 mse and average, 4 tv, 12 adam
func (o *Op) FLOPs() int64 {
	e := int64(o.In[0].Shape.Elems())
	switch o.Kind {
	case Conv3x3Fprop:
		return 18 * e * int64(o.Out[0].Shape.C)
	case Conv3x3Dgrad:
		return 18 * e * int64(o.Out[0].Shape.C)
	case GramFwd:
		return 2 * e * int64(o.In[0].Shape.C)
	case GramBwd:
		f := o.In[1].Shape
		return 2 * int64(f.Elems()) * int64(f.C)
	case NormalizeFwd:
		return 2 * e
	case NormalizeBwd, Add, Mul, PadBwd, AvgPool2x2Fwd, AvgPool2x2Bwd:
		return e
	case MSEFwd, MSEBwd, Average, Record:
		return 3 * e
	case TVFwd, TVBwd:
		return 4 * e
	case Adam:
		return 12 * e
	case LBFGS:
		m := int64(o.LBFGS.Slots())
		return e * (2*(2*m+1)*(m+1) + 2*(2*m+1) + 8)
	case ReLUFwd, ReLUBwd, MaxPool2x2Fwd, MaxPool2x2Bwd, PadFwd, Total, NumKinds:
		return 0
	}
	return 0
}
