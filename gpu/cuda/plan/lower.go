package plan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels"
)

// lowering turns steps into launches.
type lowering struct {
	target  Target
	types   *types
	weights map[WeightKey]*Weight
	order   []*Weight
}

// step lowers one.
func (l *lowering) step(s step) (*Step, error) {
	out := &Step{Name: stepName(s.ops()), Ops: s.ops(), FLOPs: flops(s), results: s.results()}
	err := s.lower(l, out)
	if errors.Is(err, kernels.ErrShape) {
		err = fmt.Errorf("%w: %w", gpu.ErrUnsupported, err)
	}
	return out, err
}

// flops sums the operations of a step, a Gram matrix where it is computed.
func flops(s step) (n int64) {
	for _, op := range s.ops() {
		n += op.FLOPs()
	}
	switch s := s.(type) {
	case *firstConv:
		if s.gram != nil {
			n += s.gram.op.FLOPs()
		}
	case *gramFwd:
		if s.gram.made {
			n -= s.gram.op.FLOPs()
		}
	case *styles:
		for _, g := range s.grams {
			if g.made {
				n -= g.op.FLOPs()
			}
		}
	}
	return n
}

// add takes a launch that kernels has made, or its refusal.
func (s *Step) add(la kernels.Launch, err error) error {
	if err == nil {
		s.Launches = append(s.Launches, la)
	}
	return err
}

// Pointers.

// ptr is where a buffer lies; null where there is none.
func (l *lowering) ptr(b *gpu.Buffer) kernels.Ptr {
	switch {
	case b == nil:
		return kernels.Ptr{}
	case l.types.stored[b]:
		return kernels.Ptr{Ref: b, Elem: l.storage()}
	}
	return kernels.Ptr{Ref: b, Elem: kernels.F32}
}

// made is where a step's result lies that is no plain buffer.
func made(b *gpu.Buffer, e kernels.Elem) kernels.Ptr {
	if b == nil {
		return kernels.Ptr{}
	}
	return kernels.Ptr{Ref: b, Elem: e}
}

// weight is where the weight of a loss term is, and how far those of two pictures
// are apart.
func (l *lowering) weight(w gpu.Weight) (at kernels.Ptr, columns int) {
	at = l.ptr(w.Knobs)
	at.Offset = int64(w.Column * kernels.F32.Size())
	return at, w.Knobs.Shape.C
}

// ones is a 1 for each of so many pictures.
func (s *Step) ones(pictures int) kernels.Ptr {
	return s.numbers(slices.Repeat([]float32{1}, pictures))
}

// lossScale is the scale that gradients carry, of each picture.
func lossScale() kernels.Ptr { return kernels.Ptr{Ref: LossScale, Elem: kernels.F32} }

// workspace takes bytes of the step's workspace.
func (s *Step) workspace(bytes int64, e kernels.Elem) kernels.Ptr {
	at := (s.Scratch + gpu.Align - 1) / gpu.Align * gpu.Align
	s.Scratch = at + bytes
	return kernels.Ptr{Ref: Workspace, Elem: e, Offset: at}
}

// constants puts rows into the step's table and returns where they are.
func (s *Step) constants(t kernels.Table) kernels.Ptr {
	const align = 16 // of any struct in a table
	s.Table.Bytes = append(s.Table.Bytes, make([]byte, -len(s.Table.Bytes)&(align-1))...)
	at := len(s.Table.Bytes)
	s.tables = append(s.tables, tableAt{at, t})
	s.Table.Bytes = append(s.Table.Bytes, t.Bytes...)
	for _, a := range t.Addresses {
		a.At += at
		s.Table.Addresses = append(s.Table.Addresses, a)
	}
	return kernels.Ptr{Ref: Constants, Elem: t.Elem, Offset: int64(at)}
}

// numbers puts fp32 values there.
func (s *Step) numbers(v []float32) kernels.Ptr {
	return s.constants(kernels.Table{Elem: kernels.F32, Bytes: floats(v)})
}

// storage is the type of feature maps in memory, element that of operands of the
// tensor cores.
func (l *lowering) storage() kernels.Elem { return l.target.Precision.Element().Storage() }
func (l *lowering) element() kernels.Elem { return l.target.Precision.Element() }

// perPicture is the number of values of one picture.
func perPicture(b *gpu.Buffer) int { return b.Shape.Elems() / b.Shape.N }

// oneForAll reports whether a target holds one picture for all those of x.
func oneForAll(target, x *gpu.Buffer) bool { return target.Shape.N < x.Shape.N }

// lower picks the kernel of an operation on its own.
func (s *single) lower(l *lowering, to *Step) error {
	op, t := s.op, l.storage()
	switch op.Kind {
	case gpu.NormalizeFwd:
		x := op.X().Shape
		return to.add(kernels.NormalizeFwdArgs{
			Y: l.ptr(op.Y()), X: l.ptr(op.X()), Mean: to.numbers(op.Mean), Std: to.numbers(op.Std), C: x.C, Elems: x.Elems(),
		}.Launch(t))
	case gpu.NormalizeBwd:
		x := op.DY().Shape
		return to.add(kernels.NormalizeBwdArgs{
			DX: l.ptr(op.DX()), DY: l.ptr(op.DY()), Std: to.numbers(op.Std), Scale: lossScale(), C: x.C, Elems: perPicture(op.DY()),
		}.Launch(t, x.N))
	case gpu.ReLUFwd:
		return to.add(kernels.ReLUFwdArgs{Y: l.ptr(op.Y()), X: l.ptr(op.X()), Elems: op.X().Shape.Elems()}.Launch(t))
	case gpu.ReLUBwd:
		return to.add(kernels.ReLUBwdArgs{DX: l.ptr(op.DX()), DY: l.ptr(op.DY()), Y: l.ptr(op.Y()), Elems: op.DY().Shape.Elems()}.Launch(t))
	case gpu.AvgPool2x2Fwd:
		x := op.X().Shape
		return to.add(kernels.AvgPool2x2FwdArgs{Y: l.ptr(op.Y()), X: l.ptr(op.X()), H: x.H, W: x.W, C: x.C}.Launch(t, x.N))
	case gpu.AvgPool2x2Bwd:
		x := op.DX().Shape
		return to.add(kernels.AvgPool2x2BwdArgs{DX: l.ptr(op.DX()), DY: l.ptr(op.DY()), H: x.H, W: x.W, C: x.C}.Launch(t, x.N))
	case gpu.MaxPool2x2Fwd:
		x := op.X().Shape
		return to.add(kernels.MaxPool2x2FwdArgs{Y: l.ptr(op.Y()), X: l.ptr(op.X()), H: x.H, W: x.W, C: x.C}.Launch(t, x.N))
	case gpu.MaxPool2x2Bwd:
		x := op.X().Shape
		return to.add(kernels.MaxPool2x2BwdArgs{DX: l.ptr(op.DX()), DY: l.ptr(op.DY()), X: l.ptr(op.X()), H: x.H, W: x.W, C: x.C}.Launch(t, x.N))
	case gpu.GramFwd:
		f := op.X().Shape
		a := kernels.GramFwdArgs{F: l.ptr(op.X()), Pixels: f.Pixels(), C: f.C, Splits: kernels.Splits(f.Pixels()), PPS: kernels.SplitPixels}
		a.Part = to.workspace(a.Workspace(f.N), kernels.F32)
		return errors.Join(to.add(a.Launch(t, f.N)), l.gramSum(to, op, a.Part, a.Splits))
	case gpu.GramBwd:
		f := op.X().Shape
		return to.add(kernels.GramBwdArgs{
			DF: l.ptr(op.DX()), DG: l.ptr(op.DY()), F: l.ptr(op.X()), LossScale: lossScale(), Scale: float32(gramNorm(f)), Pixels: f.Pixels(), C: f.C,
		}.Launch(t, f.N))
	case gpu.MSEFwd:
		blocks := kernels.ReduceBlocks(perPicture(op.X()))
		parts := to.workspace(partsBytes(op, blocks), kernels.F32)
		return errors.Join(l.mseFwd(to, op, parts), l.sumParts(to, op, parts, blocks))
	case gpu.MSEBwd:
		by, x := lossScale(), op.X()
		if !l.types.scaled[op.DX()] { // of a Gram matrix, in fp32
			by = to.ones(x.Shape.N)
		}
		weight, columns := l.weight(op.Weight())
		return to.add(kernels.MSEBwdArgs{
			DA: l.ptr(op.DX()), A: l.ptr(x), B: l.ptr(op.Target()), Scale: by, Weight: weight, Columns: columns, K: 2 / float32(perPicture(x)),
			Elems: perPicture(x), OneTarget: oneForAll(op.Target(), x),
		}.Launch(l.ptr(x).Elem, x.Shape.N))
	case gpu.TVFwd:
		x := op.X().Shape
		blocks := kernels.TVBlocks(x.H)
		parts := to.workspace(partsBytes(op, blocks), kernels.F32)
		return errors.Join(l.tvFwd(to, op, parts), l.sumParts(to, op, parts, blocks))
	case gpu.TVBwd:
		x := op.X().Shape
		weight, columns := l.weight(op.Weight())
		return to.add(kernels.TVBwdArgs{DX: l.ptr(op.DX()), X: l.ptr(op.X()), Weight: weight, Columns: columns, K: termScale(op), H: x.H, W: x.W, C: x.C}.Launch(x.N))
	case gpu.Add:
		return to.add(kernels.AddArgs{Y: l.ptr(op.Y()), A: l.ptr(op.A()), B: l.ptr(op.B()), Elems: op.Y().Shape.Elems()}.Launch(l.ptr(op.Y()).Elem))
	case gpu.Mul:
		x := op.X().Shape
		return to.add(kernels.MulArgs{Y: l.ptr(op.Y()), X: l.ptr(op.X()), Mask: l.ptr(op.Mask()), C: x.C, Elems: x.Elems()}.Launch(l.ptr(op.X()).Elem))
	case gpu.PadFwd:
		x := op.X().Shape
		return to.add(kernels.PadFwdArgs{Y: l.ptr(op.Y()), X: l.ptr(op.X()), H: x.H, W: x.W, C: x.C, P: op.Pad.Pixels, Wrap: op.Pad.Mode == gpu.Wrap}.Launch(x.N))
	case gpu.PadBwd:
		x := op.DX().Shape
		return to.add(kernels.PadBwdArgs{DX: l.ptr(op.DX()), DY: l.ptr(op.DY()), H: x.H, W: x.W, C: x.C, P: op.Pad.Pixels, Wrap: op.Pad.Mode == gpu.Wrap}.Launch(x.N))
	case gpu.Adam:
		constants, err := adamConstants(to, op)
		if err != nil {
			return err
		}
		m, v := op.Moments()
		return to.add(kernels.AdamArgs{
			X: l.ptr(op.Picture()), M: l.ptr(m), V: l.ptr(v), G: l.ptr(op.Gradient()), Step: l.ptr(op.Step()), Knobs: l.ptr(op.Knobs()), Total: l.ptr(op.Losses()),
			Constants: constants, Clamp: int(op.Adam.Clamp), Columns: op.Knobs().Shape.C, Elems: perPicture(op.Picture()),
		}.Launch(op.Picture().Shape.N))
	case gpu.LBFGS:
		return l.lbfgs(to, op)
	case gpu.Average:
		return l.average(to, op)
	case gpu.Record:
		x, n := op.Picture(), perPicture(op.Picture())
		a := kernels.StatsArgs{X: l.ptr(x), G: l.ptr(op.Gradient()), Elems: n, Share: kernels.StatsShare(n)}
		a.Parts = to.workspace(a.Workspace(x.Shape.N), kernels.F32)
		return errors.Join(to.add(a.Launch(x.Shape.N)), l.record(to, op, a.Parts, a.Blocks()))
	default:
		return gpu.ErrUnsupported
	}
}

// termScale is what the sum of a loss term is multiplied by, beside its weight.
func termScale(op *gpu.Op) float32 { return 1 / float32(perPicture(op.X())) }

func partsBytes(op *gpu.Op, blocks int) int64 { return 4 * int64(blocks) * int64(op.X().Shape.N) }

func (l *lowering) mseFwd(to *Step, op *gpu.Op, parts kernels.Ptr) error {
	x := op.X()
	return to.add(kernels.MSEFwdArgs{
		Parts: parts, A: l.ptr(x), B: l.ptr(op.Target()), Elems: perPicture(x), OneTarget: oneForAll(op.Target(), x),
	}.Launch(l.ptr(x).Elem, x.Shape.N))
}

func (l *lowering) tvFwd(to *Step, op *gpu.Op, parts kernels.Ptr) error {
	x := op.X().Shape
	return to.add(kernels.TVFwdArgs{Parts: parts, X: l.ptr(op.X()), H: x.H, W: x.W, C: x.C}.Launch(x.N))
}

// sumParts adds the parts of a loss term where no total does.
func (l *lowering) sumParts(to *Step, op *gpu.Op, parts kernels.Ptr, blocks int) error {
	weight, columns := l.weight(op.Weight())
	return to.add(kernels.SumPartsArgs{L: l.ptr(op.Y()), Parts: parts, Weight: weight, Columns: columns, Scale: termScale(op), Blocks: blocks}.Launch(op.X().Shape.N))
}

func (s *mseFwd) lower(l *lowering, to *Step) error { return l.mseFwd(to, s.op, l.ptr(s.op.Y())) }

func (s *tvFwd) lower(l *lowering, to *Step) error { return l.tvFwd(to, s.op, l.ptr(s.op.Y())) }

func (s *tvFwdBwd) lower(l *lowering, to *Step) error {
	x := s.fwd.X().Shape
	weight, columns := l.weight(s.bwd.Weight())
	return to.add(kernels.TVFwdBwdArgs{
		Parts: l.ptr(s.fwd.Y()), DX: l.ptr(s.bwd.DX()), X: l.ptr(s.fwd.X()), Weight: weight, Columns: columns, K: termScale(s.bwd), H: x.H, W: x.W, C: x.C,
	}.Launch(x.N))
}

func (s *total) lower(l *lowering, to *Step) error {
	var rows []kernels.LossTerm
	for i, b := range s.op.In {
		t := s.terms[i]
		row := kernels.LossTerm{Parts: l.ptr(b), Count: t.count, Scale: t.scale}
		if t.weight.Knobs != nil {
			row.Weight, row.Columns = l.weight(t.weight)
		} else {
			row.Weight = to.ones(1) // and its columns are 0: the same for every picture
		}
		rows = append(rows, row)
	}
	table, err := kernels.LossTermTable(rows...)
	if err != nil {
		return err
	}
	return to.add(kernels.TotalArgs{L: l.ptr(s.op.Y()), Each: l.ptr(s.op.Each()), Terms: to.constants(table), Contents: s.op.NContent, Styles: s.op.NStyle}.Launch(s.op.Y().Shape.N))
}

// adamConstants puts them into the step's table.
func adamConstants(to *Step, op *gpu.Op) (kernels.Ptr, error) {
	a := op.Adam
	table, err := kernels.AdamConstantsTable(kernels.AdamConstants{Beta1: a.Beta1, Beta2: a.Beta2, Eps: a.Eps})
	if err != nil {
		return kernels.Ptr{}, err
	}
	return to.constants(table), nil
}

func (s *update) lower(l *lowering, to *Step) error {
	x := s.adam.Picture()
	constants, err := adamConstants(to, s.adam)
	if err != nil {
		return err
	}
	m, v := s.adam.Moments()
	a := kernels.UpdateArgs{
		X: l.ptr(x), M: l.ptr(m), V: l.ptr(v), DX: l.ptr(s.adam.Gradient()), Step: l.ptr(s.adam.Step()), Knobs: l.ptr(s.adam.Knobs()),
		Total: l.ptr(s.adam.Losses()), Constants: constants, Clamp: int(s.adam.Adam.Clamp), Columns: s.adam.Knobs().Shape.C, Elems: perPicture(x),
	}
	if s.add != nil {
		a.G, a.DX, a.DTV = l.ptr(s.add.Y()), l.ptr(s.add.A()), l.ptr(s.add.B())
	}
	a.Parts = to.workspace(a.Workspace(x.Shape.N), kernels.F32)
	err = to.add(a.Launch(x.Shape.N))
	if s.average != nil {
		err = errors.Join(err, l.average(to, s.average))
	}
	return errors.Join(err, l.record(to, s.record, a.Parts, a.Blocks()))
}

// average takes a picture into the mean of its iterates.
func (l *lowering) average(to *Step, op *gpu.Op) error {
	x := op.Picture()
	return to.add(kernels.AverageArgs{
		Avg: l.ptr(op.Average()), X: l.ptr(x), Step: l.ptr(op.Step()), Knobs: l.ptr(op.Knobs()), Columns: op.Knobs().Shape.C, Elems: perPicture(x),
	}.Launch(x.Shape.N))
}

// lbfgs is a step of L-BFGS: pair, products, decision, direction, step.
func (l *lowering) lbfgs(to *Step, op *gpu.Op) error {
	x, n := op.Picture(), op.Picture().Shape.N
	elems, width, slots, columns := perPicture(x), x.Shape.W, op.LBFGS.Slots(), op.Control().Shape.C
	knobs, knobColumns, step, control := l.ptr(op.Knobs()), op.Knobs().Shape.C, l.ptr(op.Step()), l.ptr(op.Control())
	a, ga := op.Accepted()
	s, y := op.Pairs()
	pair := kernels.LBFGSPairArgs{
		S: l.ptr(s), U: l.ptr(y), Z: l.ptr(op.Smoothed()), X: l.ptr(x), G: l.ptr(op.Gradient()), A: l.ptr(a), GA: l.ptr(ga), Control: control,
		Step: step, Knobs: knobs, Slots: slots, Columns: columns, KnobColumns: knobColumns, Width: width, Elems: elems,
	}
	pair.Seen = to.workspace(pair.Workspace(n), kernels.F32)
	products := kernels.LBFGSProductsArgs{
		S: pair.S, U: pair.U, X: pair.X, G: pair.G, GA: pair.GA, Seen: pair.Seen, Step: step, Knobs: knobs, Slots: slots, KnobColumns: knobColumns,
		Tiles: pair.Tiles(), Elems: elems,
	}
	products.Parts = to.workspace(products.Workspace(n), kernels.F32)
	coef := to.workspace(4*int64(n*kernels.LBFGSCoefs(slots)), kernels.F32)
	direction := kernels.LBFGSDirectionArgs{
		D: l.ptr(op.Direction()), A: pair.A, GA: pair.GA, X: pair.X, G: pair.G, S: pair.S, U: pair.U, Z: pair.Z, Coef: coef, Slots: slots, Elems: elems,
	}
	direction.Longest = to.workspace(4*int64(n*direction.Blocks()), kernels.F32)
	return errors.Join(
		to.add(pair.Launch(n)),
		to.add(products.Launch(n)),
		to.add(kernels.LBFGSSolveArgs{
			Coef: coef, Control: control, Parts: products.Parts, Step: step, Knobs: knobs, Total: l.ptr(op.Losses()),
			First: float32(op.LBFGS.First), Rise: float32(op.LBFGS.Rise), History: op.LBFGS.History, Columns: columns, KnobColumns: knobColumns,
			Blocks: products.Blocks(),
		}.Launch(n)),
		to.add(direction.Launch(n)),
		to.add(kernels.LBFGSStepArgs{
			X: pair.X, Control: control, A: pair.A, D: direction.D, Longest: direction.Longest, Coef: coef,
			Knobs: knobs, Most: float32(op.LBFGS.Most), Slots: slots, Columns: columns, KnobColumns: knobColumns, Elems: elems,
		}.Launch(n)))
}

// record writes a row of losses and statistics, of which each block left parts.
func (l *lowering) record(to *Step, op *gpu.Op, parts kernels.Ptr, blocks int) error {
	a := kernels.RecordArgs{
		Ring: l.ptr(op.Ring()), Step: l.ptr(op.Step()), Knobs: l.ptr(op.Knobs()), Total: l.ptr(op.Losses()), Parts: parts, Each: l.ptr(op.Each()),
		Control: l.ptr(op.Control()), Blocks: blocks, Rows: op.Ring().Shape.W, Terms: op.Each().Shape.C, KnobColumns: op.Knobs().Shape.C,
		Scale: lossScale(), Dynamic: l.target.Precision.Scales(),
	}
	if c := op.Control(); c != nil {
		a.Columns = c.Shape.C
	}
	return to.add(a.Launch(op.Picture().Shape.N))
}

func (s *conv) lower(l *lowering, to *Step) error {
	x, out := s.op.In[0], s.op.Out[0].Shape
	in, dgrad := x.Shape, s.op.Kind == gpu.Conv3x3Dgrad
	w, err := l.packed(s.op.Filter(), dgrad, s.tensor)
	if err != nil {
		return err
	}
	bias, err := l.bias(s.op.Bias())
	if err != nil {
		return err
	}
	if !s.tensor {
		return to.add(kernels.Conv3x3Args{
			Y: l.ptr(s.y), X: l.ptr(x), W: w, Bias: bias, Add: l.ptr(s.add), Mask: l.ptr(s.gate),
			Pixels: in.N * in.Pixels(), Height: in.H, Width: in.W, C: in.C, K: out.C, ReLU: s.relu,
		}.Launch(l.storage()))
	}
	p := l.product(out, &s.epilogue)
	p.X, p.W, p.C, p.Bias = l.ptr(x), w, in.C, bias
	if s.style != nil {
		f := s.style.op.X()
		p.X2, p.C2 = l.ptr(f), f.Shape.C
		if p.W2, err = l.coefficients(to, s.style); err != nil {
			return err
		}
	}
	return l.multiply(to, p, out, &s.epilogue)
}

func (s *gramBwd) lower(l *lowering, to *Step) error {
	f := s.op.X()
	p := l.product(f.Shape, &s.epilogue)
	p.X2, p.C2 = l.ptr(f), f.Shape.C
	var err error
	if p.W2, err = l.coefficients(to, &s.styleGrad); err != nil {
		return err
	}
	return l.multiply(to, p, f.Shape, &s.epilogue)
}

// coefficients is the matrix of a style gradient.
func (l *lowering) coefficients(to *Step, s *styleGrad) (kernels.Ptr, error) {
	if s.coef {
		return made(s.op.DY(), l.storage()), nil
	}
	f := s.op.X().Shape
	w := to.workspace(int64(f.N)*int64(f.C)*int64(f.C)*int64(l.storage().Size()), l.storage())
	return w, to.add(kernels.GramCoefArgs{W: w, DG: l.ptr(s.op.DY()), LossScale: lossScale(), Scale: float32(gramNorm(f)), C: f.C}.Launch(l.storage(), f.N))
}

func (s *firstConv) lower(l *lowering, to *Step) error {
	out := s.op.Y().Shape
	w, err := l.packed(s.op.Filter(), false, true)
	if err != nil {
		return err
	}
	bias, err := l.bias(s.op.Bias())
	if err != nil {
		return err
	}
	a := kernels.Conv3x3FirstFpropArgs{
		X: l.ptr(s.norm.X()), Mean: to.numbers(s.norm.Mean), Std: to.numbers(s.norm.Std), W: w, Bias: bias,
		Y: l.ptr(s.y), Pooled: l.ptr(s.pooled), Positive: made(s.positive, kernels.U8),
		Each: 1, Height: out.H, Width: out.W, K: out.C, ReLU: s.relu,
	}
	if s.gram != nil {
		a.Each, a.Part = kernels.FirstTiles(out.H, out.W), made(s.gram.part, kernels.F32)
	}
	return to.add(a.Launch(l.element(), out.N))
}

func (s *lastConv) lower(l *lowering, to *Step) error {
	w, err := l.packed(s.op.Filter(), true, true)
	if err != nil {
		return err
	}
	x := s.op.DY().Shape
	return to.add(kernels.Conv3x3FirstDgradArgs{
		DX: l.ptr(s.norm.DX()), DY: l.ptr(s.op.DY()), W: w, Std: to.numbers(s.norm.Std), Scale: lossScale(), Height: x.H, Width: x.W, C: x.C,
	}.Launch(l.element(), x.N))
}

// gramSum adds the shares of a Gram matrix.
func (l *lowering) gramSum(to *Step, op *gpu.Op, part kernels.Ptr, shares int) error {
	f := op.X().Shape
	return to.add(kernels.GramSumArgs{G: l.ptr(op.Y()), Part: part, Scale: float32(gramNorm(f)), C: f.C, Splits: shares}.Launch(f.N))
}

// gramNorm is what the sums of a Gram matrix are multiplied by.
func gramNorm(f gpu.Shape) float64 { return 1 / (float64(f.C) * float64(f.Pixels())) }

func (s *gramFwd) lower(l *lowering, to *Step) error {
	part := made(s.gram.part, kernels.F32)
	return errors.Join(l.sumGrams(to, []*gram{s.gram}), l.gramSum(to, s.gram.op, part, s.gram.shares))
}

// sumGrams sums the matrices that no convolution has summed, of all layers in one
// launch.
func (l *lowering) sumGrams(to *Step, grams []*gram) error {
	var rows []kernels.GramLayer
	blocks := 0
	for _, g := range grams {
		if g.made {
			continue
		}
		f := g.op.X()
		row := kernels.GramLayer{
			F: l.ptr(f), Part: made(g.part, kernels.F32), Pixels: f.Shape.Pixels(), C: f.Shape.C, Splits: g.shares, First: blocks,
		}
		rows = append(rows, row)
		blocks += row.Blocks(f.Shape.N)
	}
	if len(rows) == 0 {
		return nil
	}
	table, err := kernels.GramLayerTable(l.element(), rows...)
	if err != nil {
		return err
	}
	return to.add(kernels.GramFwdMMAArgs{Layers: to.constants(table), Count: len(rows), PPS: kernels.SplitPixels}.Launch(l.element(), blocks))
}

// lower sums the matrices, and makes all losses and coefficients in one launch more.
func (s *styles) lower(l *lowering, to *Step) error {
	if err := l.sumGrams(to, s.grams); err != nil {
		return err
	}
	var rows []kernels.GramStyle
	blocks, columns := 0, 0
	for _, g := range s.grams {
		f := g.op.X().Shape
		row := kernels.GramStyle{
			Loss: l.ptr(g.mse.Y()), W: made(g.grad.DX(), l.storage()), Part: made(g.part, kernels.F32), Target: l.ptr(g.mse.Target()),
			Norm: float32(gramNorm(f)), Scale: float32(2 / float64(f.C*f.C) * gramNorm(f)),
			C: f.C, Splits: g.shares, OneTarget: oneForAll(g.mse.Target(), g.op.X()), Groups: kernels.StyleGroups(g.shares), First: blocks,
		}
		weight, apart := l.weight(g.grad.Weight())
		if columns != 0 && apart != columns {
			return fmt.Errorf("styles with %d and with %d knobs: %w", columns, apart, gpu.ErrUnsupported)
		}
		row.Weight, columns = weight, apart
		rows = append(rows, row)
		blocks += row.Blocks(f.N)
	}
	table, err := kernels.GramStyleTable(l.storage(), rows...)
	if err != nil {
		return err
	}
	return to.add(kernels.GramStyleArgs{Styles: to.constants(table), Count: len(rows), LossScale: lossScale(), Columns: columns}.Launch(l.storage(), blocks))
}

func (l *lowering) bias(b *gpu.Buffer) (kernels.Ptr, error) {
	if b == nil {
		return kernels.Ptr{}, nil
	}
	if b.Role != gpu.Const {
		return kernels.Ptr{}, fmt.Errorf("weights must be constants: %w", gpu.ErrUnsupported)
	}
	return l.constant(WeightKey{&b.Data[0], "bias"}, b.Name, kernels.F32, b.Bytes(), func() []byte { return floats(b.Data) }), nil
}

// packed is a convolution's weights (K,3,3,C) as a kernel wants them. For the SIMT
// kernel fp32 [tap][in][out]; for the tensor cores [out][tap][in] in their type. For
// dgrad in and out change places and taps are rotated.
func (l *lowering) packed(b *gpu.Buffer, dgrad, tensor bool) (kernels.Ptr, error) {
	if b.Role != gpu.Const {
		return kernels.Ptr{}, fmt.Errorf("weights must be constants: %w", gpu.ErrUnsupported)
	}
	precision, form, elem := l.target.Precision, "simt", kernels.F32
	if tensor {
		form, elem = string(l.element()), l.storage()
	}
	if dgrad {
		form += " dgrad"
	}
	k, c := b.Shape.N, b.Shape.C
	ins, outs := c, k
	if dgrad {
		ins, outs = k, c
	}
	encode, size, row := FP32.encode, 4, 9*ins
	if tensor {
		encode, size = precision.encode, precision.size()
		if ins == kernels.FirstChannels { // of the first layer: whole products of a tensor core
			row = kernels.FirstWeights
		}
	}
	return l.constant(WeightKey{&b.Data[0], form}, b.Name+" "+form, elem, int64(outs*row*size), func() []byte {
		out := make([]byte, outs*row*size)
		for o := range k {
			for tap := range 9 {
				for ch, v := range b.Data[(o*9+tap)*c : (o*9+tap+1)*c] {
					i, j, t := ch, o, tap // in, out
					if dgrad {
						i, j, t = o, ch, 8-tap
					}
					at := (t*ins+i)*outs + j
					if tensor {
						at = j*row + t*ins + i
					}
					encode(out[at*size:], v)
				}
			}
		}
		return out
	}), nil
}

// constant is a packed one, of which a program has each once.
func (l *lowering) constant(key WeightKey, name string, e kernels.Elem, bytes int64, pack func() []byte) kernels.Ptr {
	w := l.weights[key]
	if w == nil {
		w = &Weight{Key: key, Name: name, Bytes: bytes, Pack: pack}
		l.weights[key] = w
		l.order = append(l.order, w)
	}
	return kernels.Ptr{Ref: w, Elem: e}
}
