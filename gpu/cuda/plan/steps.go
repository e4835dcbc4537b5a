package plan

import "github.com/stylize-gpu/stylize/gpu"

// step is operations that the device executes together. Each fusion is a type of
// its own, whose fields say what it took.
type step interface {
	// ops are the operations that it does, in the order in which it took them; the
	// first names the step.
	ops() []*gpu.Op
	// place is where it stands in the program.
	place() *int
	// results are what it leaves for other steps and for the host.
	results() []result
	// lower writes its launches.
	lower(l *lowering, s *Step) error
}

// result is a buffer that a step writes, in one of the forms that steps leave for
// one another. The zero form is the buffer as the program knows it.
type result struct {
	buf   *gpu.Buffer
	parts int  // a loss term as so many parts for a picture, which the total adds up and scales
	bits  bool // one bit for each value: whether it is positive
	coef  bool // the matrix of a style gradient, an operand of the tensor cores
}

// taken is what every step has.
type taken struct {
	list []*gpu.Op
	at   int
}

func (t *taken) ops() []*gpu.Op { return t.list }
func (t *taken) place() *int    { return &t.at }

// single is one operation, by a kernel of its own.
type single struct {
	taken
	op *gpu.Op
}

func (s *single) results() []result {
	var all []result
	for _, b := range s.op.Out {
		all = append(all, result{buf: b})
	}
	return all
}

// epilogue is what a product does with its sums before it stores them, in the
// order of kernels/epilogue.cuh. The SIMT kernels know relu, add, gate and y.
type epilogue struct {
	relu     bool
	add      *gpu.Buffer // another gradient
	content  *gpu.Op     // the MSEBwd whose gradient is added
	unpool   *gpu.Op     // the gradient of a pooling before the gate
	gate     *gpu.Buffer // the output of the ReLU whose gradient this is
	bits     *gpu.Buffer // bits of gate, read instead of it
	y        *gpu.Buffer // the result, or nil where nobody reads it
	pooled   *gpu.Buffer // its pooling
	maxPool  bool        // pooling takes the largest, and bits say where that was
	positive *gpu.Buffer // bits of the result, for the way back
}

func (e *epilogue) results() []result {
	var all []result
	if e.y != nil {
		all = append(all, result{buf: e.y})
	}
	if e.pooled != nil {
		all = append(all, result{buf: e.pooled})
	}
	if e.positive != nil {
		all = append(all, result{buf: e.positive, bits: true})
	}
	return all
}

// conv is a convolution, either way, with what follows it. On the tensor cores a
// dgrad takes a style gradient as a second product in its sums.
type conv struct {
	taken
	epilogue
	op     *gpu.Op
	style  *styleGrad // nil without
	tensor bool       // on the tensor cores, whose kernels have all of the epilogue
}

// styleGrad is a GramBwd as a product: the features times a matrix of each picture.
type styleGrad struct {
	op   *gpu.Op
	coef bool // a styles step leaves that matrix instead of the gradient of the Gram matrix
}

// gramBwd is a style gradient on the tensor cores that no dgrad has taken.
type gramBwd struct {
	taken
	epilogue
	styleGrad
}

// firstConv is normalisation and the first convolution, from the fp32 picture,
// and the sums of its result's Gram matrix.
type firstConv struct {
	taken
	epilogue
	norm, op *gpu.Op
	gram     *gram // nil without
}

func (f *firstConv) results() []result {
	all := f.epilogue.results()
	if f.gram != nil {
		all = append(all, result{buf: f.gram.part})
	}
	return all
}

// lastConv is the first convolution's dgrad and that of the normalisation, back
// to the fp32 picture.
type lastConv struct {
	taken
	op, norm *gpu.Op
}

func (s *lastConv) results() []result { return []result{{buf: s.norm.DX()}} }

// gram is a Gram matrix on the tensor cores: sums over shares of the pixels, and
// what becomes of them.
type gram struct {
	op        *gpu.Op
	mse, grad *gpu.Op     // the style loss and its gradient; nil where the matrix itself is wanted
	part      *gpu.Buffer // the sums (N, shares, C, C)
	shares    int
	made      bool // by the convolution that makes the features
	term      *term
}

// gramFwd is a Gram matrix on the tensor cores that somebody wants as it is.
type gramFwd struct {
	taken
	gram *gram
}

func (s *gramFwd) results() []result {
	all := []result{{buf: s.gram.op.Y()}}
	if !s.gram.made {
		all = append(all, result{buf: s.gram.part})
	}
	return all
}

// styles is Gram matrices on the tensor cores of which only the losses and the
// matrices of the style gradients remain: those of all layers together.
type styles struct {
	taken
	grams []*gram
}

func (s *styles) results() []result {
	var all []result
	for _, g := range s.grams {
		all = append(all, result{buf: g.mse.Y(), parts: g.term.count}, result{buf: g.grad.DX(), coef: true})
		if !g.made {
			all = append(all, result{buf: g.part})
		}
	}
	return all
}

// term is a loss term on its way into the total: so many parts for a picture, to
// be added and multiplied by scale and, if it has one, its weight.
type term struct {
	op     *gpu.Op
	count  int
	scale  float32
	weight gpu.Weight
}

// partsOf is a loss term whose parts the total adds up.
func partsOf(t *term) result { return result{buf: t.op.Y(), parts: t.count} }

// mseFwd is the parts of a mean square.
type mseFwd struct {
	taken
	op   *gpu.Op
	term *term
}

func (s *mseFwd) results() []result { return []result{partsOf(s.term)} }

// tvFwd is the parts of a total variation.
type tvFwd struct {
	taken
	op   *gpu.Op
	term *term
}

func (s *tvFwd) results() []result { return []result{partsOf(s.term)} }

// tvFwdBwd is the parts of a total variation and its gradient, in one pass over
// the picture.
type tvFwdBwd struct {
	taken
	fwd, bwd *gpu.Op
	term     *term
}

func (s *tvFwdBwd) results() []result { return []result{partsOf(s.term), {buf: s.bwd.DX()}} }

// total gathers the losses, and adds the parts of those that are in parts.
type total struct {
	single
	terms []*term // of op.In, in order
}

// update is Adam and the record behind it, the average of its iterates between the
// two and the addition that makes their gradient, if there are such.
type update struct {
	taken
	add, average *gpu.Op // nil without
	adam, record *gpu.Op
}

func (s *update) results() []result {
	var all []result
	for _, b := range append(append(append([]*gpu.Buffer{}, s.adam.Out...), s.record.Out...), s.adam.Gradient()) {
		all = append(all, result{buf: b})
	}
	if s.average != nil {
		all = append(all, result{buf: s.average.Average()})
	}
	return all
}
