package plan

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/stylize-gpu/stylize/gpu"
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
	if err := s.lower(l, out); err != nil {
		return nil, err
	}
	for i := range out.Launches {
		if err := out.Launches[i].check(); err != nil {
			return nil, err
		}
	}
	return out, nil
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

func (s *single) lower(l *lowering, to *Step) error {
	op := s.op
	t := l.target.Precision.storage()
	switch op.Kind {
	case gpu.NormalizeFwd:
		x := op.X().Shape
		to.Table.Bytes = append(floats(op.Mean), floats(op.Std)...)
		if x.Elems() >= 1<<32 {
			return gpu.ErrUnsupported
		}
		to.run("normalize_fwd_"+t, linear(x.Elems()), buf(op.Y()), buf(op.X()), table(0), table(4*x.C), u32(x.C), u32(x.Elems()))
	case gpu.NormalizeBwd:
		x := op.DY().Shape
		to.Table.Bytes = floats(op.Std)
		if x.Elems() >= 1<<32 {
			return gpu.ErrUnsupported
		}
		to.run("normalize_bwd_"+t, linear(x.Elems()), buf(op.DX()), buf(op.DY()), table(0), scale(), u32(x.C), u32(x.Elems()))
	case gpu.ReLUFwd:
		n := op.X().Shape.Elems()
		to.run("relu_fwd_"+t, linear(n), buf(op.Y()), buf(op.X()), u64(n))
	case gpu.ReLUBwd:
		n := op.DY().Shape.Elems()
		to.run("relu_bwd_"+t, linear(n), buf(op.DX()), buf(op.DY()), buf(op.Y()), u64(n))
	case gpu.AvgPool2x2Fwd:
		x, y := op.X().Shape, op.Y().Shape
		to.run("avgpool2x2_fwd_"+t, [3]int{ceil(y.W*y.C, 256), y.H, y.N}, buf(op.Y()), buf(op.X()), u32(x.H), u32(x.W), u32(x.C))
	case gpu.AvgPool2x2Bwd:
		x := op.DX().Shape
		to.run("avgpool2x2_bwd_"+t, [3]int{ceil(x.W*x.C, 256), x.H, x.N}, buf(op.DX()), buf(op.DY()), u32(x.H), u32(x.W), u32(x.C))
	case gpu.GramFwd:
		l.gramSIMT(to, op)
	case gpu.GramBwd:
		f := op.X().Shape
		to.run("gram_bwd_"+t+"_64x64x16", [3]int{ceil(f.Pixels(), 64), ceil(f.C, 64), f.N}, buf(op.DX()), buf(op.DY()), buf(op.X()), scale(),
			f32(gramNorm(f)), u32(f.Pixels()), u32(f.C))
	case gpu.MSEFwd:
		blocks := reduceBlocks(perPicture(op.X()))
		l.mseFwd(to, op, workspace(to, 4*int64(blocks)*int64(op.X().Shape.N)), blocks)
		l.sum(to, op, blocks)
	case gpu.MSEBwd:
		by := scale()
		if !l.types.scaled[op.DX()] { // of a Gram matrix, in fp32
			to.Table.Bytes = floats([]float32{1})
			by = table(0)
		}
		n := op.X().Shape.Elems()
		to.run("mse_bwd_"+l.typeOf(op.X()), linear(n), buf(op.DX()), buf(op.X()), buf(op.Target()), by,
			f32(2*float64(op.Scale)/float64(perPicture(op.X()))), u64(n), u64(op.Target().Shape.Elems()))
	case gpu.TVFwd:
		blocks := tvBlocks(op.X().Shape)
		l.tvFwd(to, op, workspace(to, 4*int64(blocks)*int64(op.X().Shape.N)), blocks)
		l.sum(to, op, blocks)
	case gpu.TVBwd:
		x := op.X().Shape
		to.run("tv_bwd_f32", [3]int{ceil(x.W*x.C, 256), x.H, x.N}, buf(op.DX()), buf(op.X()), f32(float64(op.Scale)/float64(perPicture(op.X()))), u32(x.H), u32(x.W), u32(x.C))
	case gpu.Add:
		n := op.Y().Shape.Elems()
		to.run("add_"+l.typeOf(op.Y()), linear(n), buf(op.Y()), buf(op.A()), buf(op.B()), u64(n))
	case gpu.Adam:
		n := perPicture(op.Picture())
		if n >= 1<<32 {
			return gpu.ErrUnsupported
		}
		m, v := op.Moments()
		to.Table.Bytes = adamTable(op)
		to.run("adam_f32", [3]int{ceil(n, 256), op.Picture().Shape.N, 1}, buf(op.Picture()), buf(m), buf(v), buf(op.Gradient()), buf(op.Step()), buf(op.Losses()),
			table(0), u32(int(op.Adam.Clamp)), u32(n))
	case gpu.Record:
		x, n := op.Picture().Shape, perPicture(op.Picture())
		share := ceil(n, reduceBlocks(n))
		blocks := ceil(n, share)
		parts := workspace(to, seenBytes*int64(blocks)*int64(x.N))
		to.run("stats_f32", [3]int{blocks, x.N, 1}, parts, buf(op.Picture()), buf(op.Gradient()), u32(n), u32(share))
		l.record(to, op, blocks)
	default:
		return gpu.ErrUnsupported
	}
	return nil
}

// perPicture is the number of values of one picture.
func perPicture(b *gpu.Buffer) int { return b.Shape.Elems() / b.Shape.N }

func (l *lowering) mseFwd(to *Step, op *gpu.Op, parts argument, blocks int) {
	n := op.X().Shape.N
	to.run("mse_fwd_"+l.typeOf(op.X()), [3]int{blocks, n, 1}, parts, buf(op.X()), buf(op.Target()), u64(perPicture(op.X())), boolean(op.Target().Shape.N < n))
}

func (l *lowering) tvFwd(to *Step, op *gpu.Op, parts argument, blocks int) {
	x := op.X().Shape
	to.run("tv_fwd_f32", [3]int{blocks, x.N, 1}, parts, buf(op.X()), u32(x.H), u32(x.W), u32(x.C))
}

// sum adds the parts of a loss term, in the workspace, where no total does.
func (l *lowering) sum(to *Step, op *gpu.Op, blocks int) {
	to.run("sum_parts_f32", [3]int{op.X().Shape.N, 1, 1}, buf(op.Y()), scratch(0), f32(float64(op.Scale)/float64(perPicture(op.X()))), u32(blocks))
}

func (s *mseFwd) lower(l *lowering, to *Step) error {
	l.mseFwd(to, s.op, buf(s.op.Y()), s.term.count)
	return nil
}

func (s *tvFwd) lower(l *lowering, to *Step) error {
	l.tvFwd(to, s.op, buf(s.op.Y()), s.term.count)
	return nil
}

func (s *tvFwdBwd) lower(_ *lowering, to *Step) error {
	x := s.fwd.X().Shape
	to.run("tv_f32", [3]int{s.term.count, x.N, 1}, buf(s.fwd.Y()), buf(s.bwd.DX()), buf(s.fwd.X()),
		f32(float64(s.bwd.Scale)/float64(perPicture(s.fwd.X()))), u32(x.H), u32(x.W), u32(x.C))
	return nil
}

func (s *total) lower(_ *lowering, to *Step) error {
	for i, b := range s.op.In {
		to.Table.Addresses = append(to.Table.Addresses, Address{len(to.Table.Bytes), buf(b)})
		to.Table.Bytes = binary.LittleEndian.AppendUint64(to.Table.Bytes, 0)
		to.Table.Bytes = binary.LittleEndian.AppendUint32(to.Table.Bytes, uint32(s.terms[i].count))
		to.Table.Bytes = binary.LittleEndian.AppendUint32(to.Table.Bytes, math.Float32bits(s.terms[i].scale))
	}
	to.run("total_f32", [3]int{s.op.Y().Shape.N, 1, 1}, buf(s.op.Y()), table(0), u32(s.op.NContent), u32(s.op.NStyle))
	return nil
}

func adamTable(op *gpu.Op) (t []byte) {
	for _, v := range []float64{op.Adam.LR, op.Adam.Beta1, op.Adam.Beta2, op.Adam.Eps} {
		t = binary.LittleEndian.AppendUint64(t, math.Float64bits(v))
	}
	return t
}

func (s *update) lower(l *lowering, to *Step) error {
	x, n := s.adam.Picture(), perPicture(s.adam.Picture())
	if n >= 1<<31 {
		return gpu.ErrUnsupported
	}
	sum, dx, dtv := null(), buf(s.adam.Gradient()), null()
	if s.add != nil {
		sum, dx, dtv = buf(s.add.Y()), buf(s.add.A()), buf(s.add.B())
	}
	blocks := ceil(n, updateElems)
	parts := workspace(to, seenBytes*int64(blocks)*int64(x.Shape.N))
	m, v := s.adam.Moments()
	to.Table.Bytes = adamTable(s.adam)
	to.run("update_f32", [3]int{blocks, x.Shape.N, 1}, buf(x), buf(m), buf(v), sum, dx, dtv, buf(s.adam.Step()), buf(s.adam.Losses()), table(0), parts,
		u32(int(s.adam.Adam.Clamp)), u32(n))
	l.record(to, s.record, blocks)
	return nil
}

// record writes a row of losses and statistics, whose parts are in the workspace.
func (l *lowering) record(to *Step, op *gpu.Op, blocks int) {
	to.run("record_f32", [3]int{1, 1, 1}, buf(op.Ring()), buf(op.Step()), buf(op.Losses()), scratch(0), u32(op.Picture().Shape.N), u32(blocks),
		u32(op.Ring().Shape.N), scale(), boolean(l.target.Precision.Scales()))
}

func (s *conv) lower(l *lowering, to *Step) error {
	x, out := s.op.In[0], s.op.Out[0].Shape
	in := x.Shape
	pixels := in.N * in.Pixels()
	if pixels >= 1<<31 {
		return gpu.ErrUnsupported
	}
	dgrad := s.op.Kind == gpu.Conv3x3Dgrad
	w, err := l.packed(s.op.Weight(), dgrad, s.tensor)
	if err != nil {
		return err
	}
	bias, err := l.bias(s.op.Bias())
	if err != nil {
		return err
	}
	if s.tensor {
		p := product{x: x, c: in.C, w: w, w2: null(), bias: bias}
		if s.style != nil {
			p.x2, p.c2, p.w2 = s.style.op.X(), s.style.op.X().Shape.C, l.coefficients(to, s.style)
		}
		return l.product(to, out, p, &s.epilogue)
	}
	to.run("conv3x3_"+l.target.Precision.storage()+"_nhwc_64x64x16", [3]int{ceil(pixels, 64), ceil(out.C, 64), 1}, buf(s.y), buf(x),
		w, bias, optional(s.add), optional(s.gate), u32(pixels), u32(in.H), u32(in.W), u32(in.C), u32(out.C), boolean(s.relu))
	return nil
}

func (s *gramBwd) lower(l *lowering, to *Step) error {
	f := s.op.X()
	return l.product(to, f.Shape, product{x2: f, c2: f.Shape.C, w: null(), w2: l.coefficients(to, &s.styleGrad), bias: null()}, &s.epilogue)
}

// coefficients is the matrix of a style gradient.
func (l *lowering) coefficients(to *Step, s *styleGrad) argument {
	if s.coef {
		return buf(s.op.DY())
	}
	f := s.op.X().Shape
	w := workspace(to, int64(f.N)*int64(f.C)*int64(f.C)*int64(l.target.Precision.size()))
	to.run("gram_coef_"+l.target.Precision.storage(), [3]int{ceil(f.C*f.C, 256), f.N, 1}, w, buf(s.op.DY()), scale(), f32(gramNorm(f)), u32(f.C))
	return w
}

func (s *firstConv) lower(l *lowering, to *Step) error {
	out, c := s.op.Y().Shape, s.norm.X().Shape.C
	w, err := l.packed(s.op.Weight(), false, true)
	if err != nil {
		return err
	}
	bias, err := l.bias(s.op.Bias())
	if err != nil {
		return err
	}
	each, part := 1, null()
	if s.gram != nil {
		each, part = firstTiles(out), buf(s.gram.part)
	}
	to.Table.Bytes = append(floats(s.norm.Mean), floats(s.norm.Std)...)
	to.run("conv3x3_first_fprop_"+l.target.Precision.element()+"_nhwc_128x64", [3]int{ceil(tiles(out, tileH, tileW), each), out.C / 64, out.N},
		buf(s.norm.X()), table(0), table(4*c), w, bias, optional(s.y), optional(s.pooled), optional(s.positive), part,
		u32(each), u32(out.H), u32(out.W), u32(out.C), boolean(s.relu))
	return nil
}

func (s *lastConv) lower(l *lowering, to *Step) error {
	w, err := l.packed(s.op.Weight(), true, true)
	if err != nil {
		return err
	}
	x := s.op.DY().Shape
	to.Table.Bytes = floats(s.norm.Std)
	to.run("conv3x3_first_dgrad_"+l.target.Precision.element()+"_nhwc_128x3", [3]int{tiles(x, 4, 32), 1, x.N}, buf(s.norm.DX()), buf(s.op.DY()), w,
		table(0), scale(), u32(x.H), u32(x.W), u32(x.C))
	return nil
}

// gramSIMT is a Gram matrix on the SIMT kernels.
func (l *lowering) gramSIMT(to *Step, op *gpu.Op) {
	x := op.X().Shape
	shares := gramShares(x.Pixels())
	parts := workspace(to, 4*int64(x.N)*int64(shares)*int64(x.C)*int64(x.C))
	to.run("gram_fwd_"+l.target.Precision.storage()+"_64x64x16", [3]int{ceil(x.C, 64), ceil(x.C, 64), x.N * shares}, parts, buf(op.X()), u32(x.Pixels()), u32(x.C), u32(shares), u32(sharePixels))
	l.gramSum(to, op, parts, shares)
}

// gramSum adds the shares of a Gram matrix.
func (l *lowering) gramSum(to *Step, op *gpu.Op, parts argument, shares int) {
	x := op.X().Shape
	to.run("gram_sum_f32", [3]int{ceil(x.C*x.C, 256), x.N, 1}, buf(op.Y()), parts, f32(gramNorm(x)), u32(x.C), u32(shares))
}

// gramNorm is what the sums of a Gram matrix are multiplied by.
func gramNorm(f gpu.Shape) float64 { return 1 / (float64(f.C) * float64(f.Pixels())) }

func (s *gramFwd) lower(l *lowering, to *Step) error {
	l.sumGrams(to, []*gram{s.gram})
	l.gramSum(to, s.gram.op, buf(s.gram.part), s.gram.shares)
	return nil
}

// sumGrams sums the matrices that no convolution has summed, of all layers in one
// launch. The table has a row for each: Layer of gram_mma.cu.
func (l *lowering) sumGrams(to *Step, grams []*gram) {
	blocks, count := 0, 0
	for _, g := range grams {
		if g.made {
			continue
		}
		f := g.op.X()
		to.pointers(buf(f), buf(g.part))
		to.ints(f.Shape.Pixels(), f.Shape.C, g.shares, blocks)
		side := f.Shape.C / 64
		blocks += side * (side + 1) / 2 * g.shares * f.Shape.N
		count++
	}
	if count > 0 {
		to.run("gram_fwd_mma_"+l.target.Precision.element()+"_64x64x32", [3]int{blocks, 1, 1}, table(0), u32(count), u32(sharePixels))
	}
}

// lower sums the matrices and makes all losses and coefficients in one launch more,
// whose rows are Style of gram_mma.cu.
func (s *styles) lower(l *lowering, to *Step) error {
	l.sumGrams(to, s.grams)
	first, blocks := len(to.Table.Bytes), 0
	for _, g := range s.grams {
		f, c := g.op.X().Shape, g.op.X().Shape.C
		per := styleElems(g.shares)
		to.pointers(buf(g.mse.Y()), buf(g.grad.DX()), buf(g.part), buf(g.mse.Target()))
		to.Table.Bytes = append(to.Table.Bytes, floats([]float32{float32(gramNorm(f)), float32(2 * float64(g.grad.Scale) / float64(c*c) * gramNorm(f))})...)
		one := 0
		if g.mse.Target().Shape.N < f.N {
			one = 1
		}
		to.ints(c, g.shares, one, 256/per, blocks, 0)
		blocks += c * c / per * f.N
	}
	to.run("gram_style_"+l.target.Precision.storage(), [3]int{blocks, 1, 1}, table(first), u32(len(s.grams)), scale())
	return nil
}

// typeOf is the storage type of a buffer, as entries name it.
func (l *lowering) typeOf(b *gpu.Buffer) string {
	if l.types.stored[b] {
		return l.target.Precision.storage()
	}
	return "f32"
}

func (l *lowering) bias(b *gpu.Buffer) (argument, error) {
	if b == nil {
		return null(), nil
	}
	if b.Role != gpu.Const {
		return argument{}, fmt.Errorf("weights must be constants: %w", gpu.ErrUnsupported)
	}
	return wt(l.constant(WeightKey{&b.Data[0], "bias"}, b.Name, b.Bytes(), func() []byte { return floats(b.Data) })), nil
}

// packed is a convolution's weights (K,3,3,C) as a kernel wants them. For the SIMT
// kernel fp32 [tap][in][out]; for the tensor cores [out][tap][in] in their type. For
// dgrad in and out change places and taps are rotated.
func (l *lowering) packed(b *gpu.Buffer, dgrad, tensor bool) (argument, error) {
	if b.Role != gpu.Const {
		return argument{}, fmt.Errorf("weights must be constants: %w", gpu.ErrUnsupported)
	}
	precision, form := l.target.Precision, "simt"
	if tensor {
		form = precision.element()
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
		if ins == 3 { // of the first layer: whole products of a tensor core
			row = 32
		}
	}
	return wt(l.constant(WeightKey{&b.Data[0], form}, b.Name+" "+form, int64(outs*row*size), func() []byte {
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
	})), nil
}

func (l *lowering) constant(key WeightKey, name string, bytes int64, pack func() []byte) *Weight {
	w := l.weights[key]
	if w == nil {
		w = &Weight{Key: key, Name: name, Bytes: bytes, Pack: pack}
		l.weights[key] = w
		l.order = append(l.order, w)
	}
	return w
}
