package gpu

// operand is the part that a buffer has in an operation.
type operand uint8

const (
	asX      operand = iota // what a forward operation reads
	asY                     // what it writes
	asDY                    // the gradient of y, which a backward operation reads
	asDX                    // the gradient of x, which it writes
	asWeight                // (K,3,3,C)
	asBias
	asTarget
	asA // summands
	asB
	asPicture
	asGradient // of the picture
	asMoment1
	asMoment2
	asStep
	asLosses // (N,1,1,4): content, style, tv, total
	asRing
	asTerms // of Total: any number of content and style losses, and that of tv
)

// operands are the parts of In and Out, in order.
var operands = [NumKinds]struct{ in, out []operand }{
	NormalizeFwd:  {[]operand{asX}, []operand{asY}},
	NormalizeBwd:  {[]operand{asDY}, []operand{asDX}},
	Conv3x3Fprop:  {[]operand{asX, asWeight, asBias}, []operand{asY}},
	Conv3x3Dgrad:  {[]operand{asDY, asWeight}, []operand{asDX}},
	ReLUFwd:       {[]operand{asX}, []operand{asY}},
	ReLUBwd:       {[]operand{asDY, asY}, []operand{asDX}},
	AvgPool2x2Fwd: {[]operand{asX}, []operand{asY}},
	AvgPool2x2Bwd: {[]operand{asDY}, []operand{asDX}},
	GramFwd:       {[]operand{asX}, []operand{asY}},
	GramBwd:       {[]operand{asDY, asX}, []operand{asDX}},
	MSEFwd:        {[]operand{asX, asTarget}, []operand{asY}},
	MSEBwd:        {[]operand{asX, asTarget}, []operand{asDX}},
	TVFwd:         {[]operand{asX}, []operand{asY}},
	TVBwd:         {[]operand{asX}, []operand{asDX}},
	Add:           {[]operand{asA, asB}, []operand{asY}},
	Total:         {[]operand{asTerms}, []operand{asY}},
	Adam:          {[]operand{asGradient, asPicture, asMoment1, asMoment2, asStep, asLosses}, []operand{asPicture, asMoment1, asMoment2}},
	Record:        {[]operand{asPicture, asGradient, asLosses, asStep}, []operand{asRing, asStep}},
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

// Weight is the weights of a convolution, (K,3,3,C).
func (o *Op) Weight() *Buffer { return o.find(asWeight) }

// Bias is the bias of Conv3x3Fprop.
func (o *Op) Bias() *Buffer { return o.find(asBias) }

// Target is what MSE compares with: one picture, or one for all.
func (o *Op) Target() *Buffer { return o.find(asTarget) }

// A is the first summand of Add, B the second.
func (o *Op) A() *Buffer { return o.find(asA) }

// B is the second summand of Add.
func (o *Op) B() *Buffer { return o.find(asB) }

// Picture is what Adam updates and Record measures.
func (o *Op) Picture() *Buffer { return o.find(asPicture) }

// Gradient is the picture's gradient, of Adam and Record.
func (o *Op) Gradient() *Buffer { return o.find(asGradient) }

// Moments are Adam's running means of the gradient and of its square.
func (o *Op) Moments() (m, v *Buffer) { return o.find(asMoment1), o.find(asMoment2) }

// Step counts the steps taken: Adam reads it, Record counts.
func (o *Op) Step() *Buffer { return o.find(asStep) }

// Losses is what Total has gathered, of Adam and Record.
func (o *Op) Losses() *Buffer { return o.find(asLosses) }

// Ring is where Record writes its rows.
func (o *Op) Ring() *Buffer { return o.find(asRing) }

// Terms are the losses that Total gathers.
func (o *Op) Terms() (content, style []*Buffer, tv *Buffer) {
	last := o.NContent + o.NStyle
	return o.In[:o.NContent], o.In[o.NContent:last], o.In[last]
}
