//go:build cuda

package cuda

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels"
)

// place says where an argument's memory is.
type place uint8

const (
	scalar    place = iota
	inBuffer        // a buffer of the program
	inScratch       // the step's workspace
	inTable         // constants of the step: means, Adam's constants, addresses
	inWeights       // packed weights
	inScale         // the loss scale
)

// argument is one parameter of a launch.
type argument struct {
	where  place
	buf    *gpu.Buffer
	weight *weight
	bits   uint64 // scalar
	offset int64  // into scratch or table
}

// launch is one kernel launch.
type launch struct {
	spec *kernels.Spec
	grid [3]int
	args []argument
}

// weight is a constant as the kernels want it.
type weight struct {
	name  string
	pack  func() []byte
	bytes int64
}

// step is one operation as the device executes it.
type step struct {
	op       *gpu.Op
	out      []*gpu.Buffer // what it writes: of op, or of the last operation fused into it
	relu     bool          // the epilogue is a ReLU
	add      *gpu.Buffer   // the epilogue adds this
	mask     *gpu.Buffer   // the epilogue is the gradient of the ReLU with this output
	launches []launch
	scratch  int64 // bytes of workspace
	table    []byte
	// addresses, if not nil, are buffers whose addresses the table holds, from its
	// beginning.
	addresses []*gpu.Buffer
	how       string
}

// lowering turns a program into steps.
type lowering struct {
	precision Precision
	stored    map[*gpu.Buffer]bool // feature maps and their gradients: in the precision's storage type
	scaled    map[*gpu.Buffer]bool // gradients that carry the loss scale
	users     map[*gpu.Buffer]int  // operations that read a buffer
	steps     []*step
	weights   map[weightKey]*weight
	order     []*weight
}

// weightKey is a constant in one of its forms: a pass, for one kernel and type.
type weightKey struct {
	data *float32 // where the values lie
	form string
}

// lower maps every operation to its kernels, one after the other.
func lower(p *gpu.Program, precision Precision, fuse bool) (*lowering, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	l := &lowering{
		precision: precision, weights: map[weightKey]*weight{},
		stored: map[*gpu.Buffer]bool{}, scaled: map[*gpu.Buffer]bool{},
	}
	l.infer(p)
	l.users = map[*gpu.Buffer]int{}
	for _, op := range p.Ops {
		for _, b := range op.In {
			l.users[b]++
		}
	}
	for i := 0; i < len(p.Ops); i++ {
		op := p.Ops[i]
		s := &step{op: op, out: op.Out}
		if fuse {
			i += l.fuse(s, p.Ops[i:])
		}
		if err := l.op(s, op); err != nil {
			return nil, fmt.Errorf("cuda: %s: %w", op, err)
		}
		for i := range s.launches {
			la := &s.launches[i]
			if err := la.check(); err != nil {
				return nil, fmt.Errorf("cuda: %s: %w", op, err)
			}
			if i > 0 {
				s.how += ", "
			}
			s.how += la.spec.Entry
		}
		l.steps = append(l.steps, s)
	}
	return l, nil
}

// check holds a launch against its Spec and the limits of a grid.
func (l *launch) check() error {
	if len(l.args) != len(l.spec.Args) {
		return fmt.Errorf("%s takes %d arguments, got %d", l.spec.Entry, len(l.spec.Args), len(l.args))
	}
	for i, a := range l.args {
		if (l.spec.Args[i] == kernels.Ptr) != (a.where != scalar) && a != (argument{}) {
			return fmt.Errorf("%s: argument %d is not what its Spec says", l.spec.Entry, i)
		}
	}
	if l.grid[0] < 1 || l.grid[1] < 1 || l.grid[2] < 1 || l.grid[0] > 1<<31-1 || l.grid[1] > 65535 || l.grid[2] > 65535 {
		return fmt.Errorf("%s: a grid of %v blocks: %w", l.spec.Entry, l.grid, gpu.ErrUnsupported)
	}
	return nil
}

// Arguments.

func buf(b *gpu.Buffer) argument { return argument{where: inBuffer, buf: b} }
func scratch(at int64) argument  { return argument{where: inScratch, offset: at} }
func table(at int) argument      { return argument{where: inTable, offset: int64(at)} }
func wt(w *weight) argument      { return argument{where: inWeights, weight: w} }
func u32(v int) argument         { return argument{bits: uint64(uint32(v))} }
func u64(v int) argument         { return argument{bits: uint64(v)} }
func f32(v float64) argument     { return argument{bits: uint64(math.Float32bits(float32(v)))} }
func null() argument             { return argument{} }
func scale() argument            { return argument{where: inScale} }
func ceil(a, b int) int          { return (a + b - 1) / b }
func floats(v []float32) []byte {
	var b []byte
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

// run adds a launch.
func (s *step) run(entry string, grid [3]int, args ...argument) {
	s.launches = append(s.launches, launch{kernels.All[entry], grid, args})
}

// linear is a grid of one thread an element.
func linear(elems int) [3]int { return [3]int{ceil(elems, 256), 1, 1} }

// reduceBlocks is how many blocks share a picture of a reduction: enough to fill
// a GPU, few enough for one block to add.
func reduceBlocks(elems int) int { return min(max(elems/4096, 1), 512) }

func optional(b *gpu.Buffer) argument {
	if b == nil {
		return null()
	}
	return buf(b)
}

func boolean(b bool) argument {
	if b {
		return u32(1)
	}
	return u32(0)
}

// fuse looks at the operations from one on, and takes those behind it that its
// epilogue can do: a ReLU behind a convolution; an addition, then the gradient
// of a ReLU, behind a convolution's gradient or a style gradient on the tensor
// cores. It returns how many it took. In fp32 and tf32 a fused program gives the
// same bits; in 16 bits it rounds once where the list rounds twice.
func (l *lowering) fuse(s *step, ops []*gpu.Op) (taken int) {
	next := func(kind gpu.Kind) *gpu.Op { // the operation behind, if it alone reads what s writes
		if taken+1 >= len(ops) || ops[taken+1].Kind != kind {
			return nil
		}
		op, out := ops[taken+1], s.out[0]
		if out.Role != gpu.Temp || l.users[out] != 1 || op.In[0] != out && (kind != gpu.Add || op.In[1] != out) {
			return nil
		}
		return op
	}
	switch ops[0].Kind {
	case gpu.Conv3x3:
		if op := next(gpu.ReLU); op != nil {
			s.relu, s.out = true, op.Out
			taken++
		}
		return taken
	case gpu.Conv3x3Dgrad:
	case gpu.GramGrad:
		if c := ops[0].In[1].Shape.C; !l.tensorCores(c, c) {
			return 0
		}
	default:
		return 0
	}
	if op := next(gpu.Add); op != nil {
		s.add = op.In[0]
		if s.add == s.out[0] {
			s.add = op.In[1]
		}
		s.out = op.Out
		taken++
	}
	if op := next(gpu.ReLUGrad); op != nil {
		s.mask, s.out = op.In[1], op.Out
		taken++
	}
	return taken
}

// infer says which buffers are stored in the precision's type, and which carry
// the loss scale: feature maps and their gradients. Pictures, Gram matrices and
// losses are fp32. An input takes the type of what reads it.
func (l *lowering) infer(p *gpu.Program) {
	mark := func(scaled bool, bs ...*gpu.Buffer) {
		for _, b := range bs {
			l.stored[b] = true
			l.scaled[b] = l.scaled[b] || scaled
		}
	}
	for _, op := range p.Ops {
		in, out := op.In, op.Out
		switch op.Kind {
		case gpu.Normalize:
			mark(false, out[0])
		case gpu.NormalizeGrad:
			mark(true, in[0])
		case gpu.Conv3x3, gpu.ReLU, gpu.AvgPool2x2:
			mark(false, in[0], out[0])
		case gpu.Conv3x3Dgrad, gpu.AvgPool2x2Grad:
			mark(true, in[0], out[0])
		case gpu.ReLUGrad:
			mark(true, in[0], out[0])
			mark(false, in[1])
		case gpu.Gram:
			mark(false, in[0])
		case gpu.GramGrad:
			mark(false, in[1])
			mark(true, out[0])
		case gpu.MSE:
			if l.stored[in[0]] {
				mark(false, in[1])
			}
		case gpu.MSEGrad:
			if l.stored[in[0]] {
				mark(false, in[1])
				mark(true, out[0])
			}
		case gpu.Add:
			if l.stored[in[0]] || l.stored[in[1]] {
				mark(l.scaled[in[0]] || l.scaled[in[1]], in[0], in[1], out[0])
			}
		case gpu.TV, gpu.TVGrad, gpu.Total, gpu.Adam, gpu.Record, gpu.NumKinds:
		}
	}
}

// typeOf is the storage type of a buffer, as entries name it.
func (l *lowering) typeOf(b *gpu.Buffer) string {
	if l.stored[b] {
		return l.precision.storage()
	}
	return "f32"
}

// bytes is the size of a buffer on the device.
func (l *lowering) bytes(b *gpu.Buffer) int64 {
	if l.stored[b] {
		return int64(b.Shape.Elems()) * int64(l.precision.size())
	}
	return b.Bytes()
}

// op lowers one operation.
func (l *lowering) op(s *step, op *gpu.Op) error {
	in, out := op.In, s.out
	x := in[0].Shape
	elems := x.Elems()
	picture := elems / x.N
	t := l.precision.storage()
	switch op.Kind {
	case gpu.Normalize:
		s.table = append(floats(op.Mean), floats(op.Std)...)
		if elems >= 1<<32 {
			return gpu.ErrUnsupported
		}
		s.run("normalize_fwd_"+t, linear(elems), buf(out[0]), buf(in[0]), table(0), table(4*x.C), u32(x.C), u32(elems))
	case gpu.NormalizeGrad:
		s.table = floats(op.Std)
		if elems >= 1<<32 {
			return gpu.ErrUnsupported
		}
		s.run("normalize_bwd_"+t, linear(elems), buf(out[0]), buf(in[0]), table(0), scale(), u32(x.C), u32(elems))
	case gpu.Conv3x3:
		return l.conv(s, out[0], in[0], in[1], in[2])
	case gpu.Conv3x3Dgrad:
		return l.conv(s, out[0], in[0], in[1], nil)
	case gpu.ReLU:
		s.run("relu_fwd_"+t, linear(elems), buf(out[0]), buf(in[0]), u64(elems))
	case gpu.ReLUGrad:
		s.run("relu_bwd_"+t, linear(elems), buf(out[0]), buf(in[0]), buf(in[1]), u64(elems))
	case gpu.AvgPool2x2:
		y := out[0].Shape
		s.run("avgpool2x2_fwd_"+t, [3]int{ceil(y.W*y.C, 256), y.H, y.N}, buf(out[0]), buf(in[0]), u32(x.H), u32(x.W), u32(x.C))
	case gpu.AvgPool2x2Grad:
		y := out[0].Shape
		s.run("avgpool2x2_bwd_"+t, [3]int{ceil(y.W*y.C, 256), y.H, y.N}, buf(out[0]), buf(in[0]), u32(y.H), u32(y.W), u32(y.C))
	case gpu.Gram:
		l.gram(s, out[0], in[0])
	case gpu.GramGrad:
		l.gramGrad(s, out[0], in[0], in[1])
	case gpu.MSE:
		blocks := reduceBlocks(picture)
		one := 0
		if in[1].Shape.N < x.N {
			one = 1
		}
		s.scratch = 4 * int64(blocks) * int64(x.N)
		s.run("mse_fwd_"+l.typeOf(in[0]), [3]int{blocks, x.N, 1}, scratch(0), buf(in[0]), buf(in[1]), u64(picture), u32(one))
		s.run("sum_parts_f32", [3]int{x.N, 1, 1}, buf(out[0]), scratch(0), f32(float64(op.Scale)/float64(picture)), u32(blocks))
	case gpu.MSEGrad:
		by := scale()
		if !l.scaled[out[0]] { // of a Gram matrix, in fp32
			s.table = floats([]float32{1})
			by = table(0)
		}
		s.run("mse_bwd_"+l.typeOf(in[0]), linear(elems), buf(out[0]), buf(in[0]), buf(in[1]), by,
			f32(2*float64(op.Scale)/float64(picture)), u64(elems), u64(in[1].Shape.Elems()))
	case gpu.TV:
		blocks := min(x.H, reduceBlocks(picture))
		s.scratch = 4 * int64(blocks) * int64(x.N)
		s.run("tv_fwd_f32", [3]int{blocks, x.N, 1}, scratch(0), buf(in[0]), u32(x.H), u32(x.W), u32(x.C))
		s.run("sum_parts_f32", [3]int{x.N, 1, 1}, buf(out[0]), scratch(0), f32(float64(op.Scale)/float64(picture)), u32(blocks))
	case gpu.TVGrad:
		s.run("tv_bwd_f32", [3]int{ceil(x.W*x.C, 256), x.H, x.N}, buf(out[0]), buf(in[0]), f32(float64(op.Scale)/float64(picture)), u32(x.H), u32(x.W), u32(x.C))
	case gpu.Add:
		s.run("add_"+l.typeOf(out[0]), linear(elems), buf(out[0]), buf(in[0]), buf(in[1]), u64(elems))
	case gpu.Total:
		s.addresses = in
		s.table = make([]byte, 8*len(in))
		s.run("total_f32", [3]int{ceil(x.N, 32), 1, 1}, buf(out[0]), table(0), u32(op.NContent), u32(op.NStyle), u32(x.N))
	case gpu.Adam:
		for _, v := range []float64{op.Adam.LR, op.Adam.Beta1, op.Adam.Beta2, op.Adam.Eps} {
			s.table = binary.LittleEndian.AppendUint64(s.table, math.Float64bits(v))
		}
		g, step, total := in[0], in[4], in[5]
		if picture >= 1<<32 {
			return gpu.ErrUnsupported
		}
		s.run("adam_f32", [3]int{ceil(picture, 256), x.N, 1}, buf(out[0]), buf(out[1]), buf(out[2]), buf(g), buf(step), buf(total), table(0), u32(int(op.Adam.Clamp)), u32(picture))
	case gpu.Record:
		blocks := reduceBlocks(picture)
		share := ceil(picture, blocks)
		blocks = ceil(picture, share)
		s.scratch = 20 * int64(blocks) * int64(x.N)
		g, total, ring, step := in[1], in[2], out[0], out[1]
		dynamic := 0
		if l.precision.scales() {
			dynamic = 1
		}
		s.run("stats_f32", [3]int{blocks, x.N, 1}, scratch(0), buf(in[0]), buf(g), u32(picture), u32(share))
		s.run("record_f32", [3]int{1, 1, 1}, buf(ring), buf(step), buf(total), scratch(0), u32(x.N), u32(blocks), u32(ring.Shape.N), scale(), u32(dynamic))
	case gpu.NumKinds:
		return gpu.ErrUnsupported
	}
	return nil
}

// tensorCores reports whether a product with c input and k output channels
// suits the tensor-core kernels.
func (l *lowering) tensorCores(c, k int) bool {
	return l.precision != FP32 && c*l.precision.size()%64 == 0 && k%64 == 0
}

// conv lowers a convolution: fprop with a bias, dgrad (bias nil) with the
// weights turned around.
func (l *lowering) conv(s *step, y, x, w, bias *gpu.Buffer) error {
	in, out := x.Shape, y.Shape
	pixels := in.N * in.Pixels()
	if pixels >= 1<<31 {
		return gpu.ErrUnsupported
	}
	for _, b := range []*gpu.Buffer{w, bias} {
		if b != nil && b.Role != gpu.Const {
			return fmt.Errorf("weights must be constants: %w", gpu.ErrUnsupported)
		}
	}
	bi := null()
	if bias != nil {
		bi = wt(l.constant(weightKey{&bias.Data[0], "bias"}, bias.Name, bias.Bytes(), func() []byte { return floats(bias.Data) }))
	}
	dgrad := bias == nil
	if l.tensorCores(in.C, out.C) {
		s.run("conv3x3_mma_"+l.precision.element()+"_nhwc_128x64", [3]int{ceil(pixels, 128), out.C / 64, 1}, buf(y), buf(x),
			wt(l.packed(w, dgrad, true)), bi, optional(s.add), optional(s.mask), u32(pixels), u32(in.H), u32(in.W), u32(in.C), u32(out.C), u32(9), u64(0), boolean(s.relu))
		return nil
	}
	s.run("conv3x3_"+l.precision.storage()+"_nhwc_64x64x16", [3]int{ceil(pixels, 64), ceil(out.C, 64), 1}, buf(y), buf(x),
		wt(l.packed(w, dgrad, false)), bi, optional(s.add), optional(s.mask), u32(pixels), u32(in.H), u32(in.W), u32(in.C), u32(out.C), boolean(s.relu))
	return nil
}

// splitPixels is how many pixels a block of a Gram matrix sums: few enough to
// fill a GPU and to keep sums short.
const splitPixels = 2048

func (l *lowering) gram(s *step, g, f *gpu.Buffer) {
	x := f.Shape
	c, pixels := x.C, x.Pixels()
	splits := ceil(pixels, splitPixels)
	s.scratch = 4 * int64(x.N) * int64(splits) * int64(c) * int64(c)
	entry := "gram_fwd_" + l.precision.storage() + "_64x64x16"
	if l.precision.size() == 2 && c%64 == 0 {
		entry = "gram_fwd_mma_" + l.precision.element() + "_64x64x32"
	}
	s.run(entry, [3]int{ceil(c, 64), ceil(c, 64), x.N * splits}, scratch(0), buf(f), u32(pixels), u32(c), u32(splits), u32(splitPixels))
	s.run("gram_sum_f32", [3]int{ceil(c*c, 256), x.N, 1}, buf(g), scratch(0), f32(1/(float64(c)*float64(pixels))), u32(c*c), u32(splits))
}

func (l *lowering) gramGrad(s *step, df, dg, fb *gpu.Buffer) {
	f := fb.Shape
	c, pixels := f.C, f.Pixels()
	k := f32(1 / (float64(c) * float64(pixels)))
	if !l.tensorCores(c, c) {
		s.run("gram_bwd_"+l.precision.storage()+"_64x64x16", [3]int{ceil(pixels, 64), ceil(c, 64), f.N}, buf(df), buf(dg), buf(fb), scale(), k, u32(pixels), u32(c))
		return
	}
	s.scratch = int64(f.N) * int64(c) * int64(c) * int64(l.precision.size())
	s.run("gram_coef_"+l.precision.storage(), [3]int{ceil(c*c, 256), f.N, 1}, scratch(0), buf(dg), scale(), k, u32(c))
	s.run("conv3x3_mma_"+l.precision.element()+"_nhwc_128x64", [3]int{ceil(pixels, 128), c / 64, f.N}, buf(df), buf(fb), scratch(0), null(), optional(s.add), optional(s.mask),
		u32(pixels), u32(1), u32(pixels), u32(c), u32(c), u32(1), u64(c*c), u32(0))
}

// packed returns a convolution's weights (K,3,3,C) as a kernel wants them. For
// the simt kernel fp32 [tap][in][out]; for the tensor cores [out][tap][in] in
// their type. For dgrad in and out change places and taps are rotated.
func (l *lowering) packed(b *gpu.Buffer, dgrad, tensor bool) *weight {
	form := "simt"
	if tensor {
		form = l.precision.element()
	}
	if dgrad {
		form += " dgrad"
	}
	k, c := b.Shape.N, b.Shape.C
	encode, size := func(out []byte, v float32) { binary.LittleEndian.PutUint32(out, math.Float32bits(v)) }, 4
	if tensor {
		encode, size = l.precision.encode, l.precision.size()
	}
	return l.constant(weightKey{&b.Data[0], form}, b.Name+" "+form, int64(len(b.Data)*size), func() []byte {
		out := make([]byte, len(b.Data)*size)
		ins, outs := c, k
		if dgrad {
			ins, outs = k, c
		}
		for o := range k {
			for tap := range 9 {
				for ch, v := range b.Data[(o*9+tap)*c : (o*9+tap+1)*c] {
					i, j, t := ch, o, tap // in, out
					if dgrad {
						i, j, t = o, ch, 8-tap
					}
					at := (t*ins+i)*outs + j
					if tensor {
						at = (j*9+t)*ins + i
					}
					encode(out[at*size:], v)
				}
			}
		}
		return out
	})
}

func (l *lowering) constant(key weightKey, name string, bytes int64, pack func() []byte) *weight {
	w := l.weights[key]
	if w == nil {
		w = &weight{name: name, bytes: bytes, pack: pack}
		l.weights[key] = w
		l.order = append(l.order, w)
	}
	return w
}
