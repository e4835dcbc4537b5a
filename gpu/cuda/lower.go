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
	name string
	pack func() []float32
	n    int
}

// step is one operation as the device executes it.
type step struct {
	op       *gpu.Op
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
	steps   []*step
	weights map[weightKey]*weight
	order   []*weight
}

type weightKey struct {
	data  *float32 // where the values lie
	dgrad bool
}

// lower maps every operation to its kernels, one after the other.
func lower(p *gpu.Program) (*lowering, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	l := &lowering{weights: map[weightKey]*weight{}}
	for _, op := range p.Ops {
		s := &step{op: op}
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

// op lowers one operation.
func (l *lowering) op(s *step, op *gpu.Op) error {
	in, out := op.In, op.Out
	x := in[0].Shape
	elems := x.Elems()
	picture := elems / x.N
	switch op.Kind {
	case gpu.Normalize:
		s.table = append(floats(op.Mean), floats(op.Std)...)
		if elems >= 1<<32 {
			return gpu.ErrUnsupported
		}
		s.run("normalize_fwd_f32", linear(elems), buf(out[0]), buf(in[0]), table(0), table(4*x.C), u32(x.C), u32(elems))
	case gpu.NormalizeGrad:
		s.table = floats(op.Std)
		if elems >= 1<<32 {
			return gpu.ErrUnsupported
		}
		s.run("normalize_bwd_f32", linear(elems), buf(out[0]), buf(in[0]), table(0), u32(x.C), u32(elems))
	case gpu.Conv3x3:
		w, err := l.weight(in[1], false)
		if err != nil {
			return err
		}
		bias, err := l.bias(in[2])
		if err != nil {
			return err
		}
		s.conv(out[0], in[0], wt(w), wt(bias))
	case gpu.Conv3x3Dgrad:
		w, err := l.weight(in[1], true)
		if err != nil {
			return err
		}
		s.conv(out[0], in[0], wt(w), null())
	case gpu.ReLU:
		s.run("relu_fwd_f32", linear(elems), buf(out[0]), buf(in[0]), u64(elems))
	case gpu.ReLUGrad:
		s.run("relu_bwd_f32", linear(elems), buf(out[0]), buf(in[0]), buf(in[1]), u64(elems))
	case gpu.AvgPool2x2:
		y := out[0].Shape
		s.run("avgpool2x2_fwd_f32", [3]int{ceil(y.W*y.C, 256), y.H, y.N}, buf(out[0]), buf(in[0]), u32(x.H), u32(x.W), u32(x.C))
	case gpu.AvgPool2x2Grad:
		y := out[0].Shape
		s.run("avgpool2x2_bwd_f32", [3]int{ceil(y.W*y.C, 256), y.H, y.N}, buf(out[0]), buf(in[0]), u32(y.H), u32(y.W), u32(y.C))
	case gpu.Gram:
		const pps = 2048 // pixels of a split: short sums, and blocks enough for a GPU
		c, pixels := x.C, x.Pixels()
		splits := ceil(pixels, pps)
		s.scratch = 4 * int64(x.N) * int64(splits) * int64(c) * int64(c)
		s.run("gram_fwd_f32_64x64x16", [3]int{ceil(c, 64), ceil(c, 64), x.N * splits}, scratch(0), buf(in[0]), u32(pixels), u32(c), u32(splits), u32(pps))
		s.run("gram_sum_f32", [3]int{ceil(c*c, 256), x.N, 1}, buf(out[0]), scratch(0), f32(1/float64(picture)), u32(c*c), u32(splits))
	case gpu.GramGrad:
		f := in[1].Shape
		scale := 1 / (float64(f.C) * float64(f.Pixels()))
		s.run("gram_bwd_f32_64x64x16", [3]int{ceil(f.Pixels(), 64), ceil(f.C, 64), f.N}, buf(out[0]), buf(in[0]), buf(in[1]), f32(scale), u32(f.Pixels()), u32(f.C))
	case gpu.MSE:
		blocks := reduceBlocks(picture)
		one := 0
		if in[1].Shape.N < x.N {
			one = 1
		}
		s.scratch = 4 * int64(blocks) * int64(x.N)
		s.run("mse_fwd_f32", [3]int{blocks, x.N, 1}, scratch(0), buf(in[0]), buf(in[1]), u64(picture), u32(one))
		s.run("sum_parts_f32", [3]int{x.N, 1, 1}, buf(out[0]), scratch(0), f32(float64(op.Scale)/float64(picture)), u32(blocks))
	case gpu.MSEGrad:
		s.run("mse_bwd_f32", linear(elems), buf(out[0]), buf(in[0]), buf(in[1]), f32(2*float64(op.Scale)/float64(picture)), u64(elems), u64(in[1].Shape.Elems()))
	case gpu.TV:
		blocks := min(x.H, reduceBlocks(picture))
		s.scratch = 4 * int64(blocks) * int64(x.N)
		s.run("tv_fwd_f32", [3]int{blocks, x.N, 1}, scratch(0), buf(in[0]), u32(x.H), u32(x.W), u32(x.C))
		s.run("sum_parts_f32", [3]int{x.N, 1, 1}, buf(out[0]), scratch(0), f32(float64(op.Scale)/float64(picture)), u32(blocks))
	case gpu.TVGrad:
		s.run("tv_bwd_f32", [3]int{ceil(x.W*x.C, 256), x.H, x.N}, buf(out[0]), buf(in[0]), f32(float64(op.Scale)/float64(picture)), u32(x.H), u32(x.W), u32(x.C))
	case gpu.Add:
		s.run("add_f32", linear(elems), buf(out[0]), buf(in[0]), buf(in[1]), u64(elems))
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
		s.scratch = 16 * int64(blocks) * int64(x.N)
		g, total, ring, step := in[1], in[2], out[0], out[1]
		s.run("stats_f32", [3]int{blocks, x.N, 1}, scratch(0), buf(in[0]), buf(g), u32(picture), u32(share))
		s.run("record_f32", [3]int{1, 1, 1}, buf(ring), buf(step), buf(total), scratch(0), u32(x.N), u32(blocks), u32(ring.Shape.N))
	case gpu.NumKinds:
		return gpu.ErrUnsupported
	}
	return nil
}

// conv adds the convolution kernel, for either pass.
func (s *step) conv(y, x *gpu.Buffer, w, bias argument) {
	in, out := x.Shape, y.Shape
	pixels := in.N * in.Pixels()
	s.run("conv3x3_f32_nhwc_64x64x16", [3]int{ceil(pixels, 64), ceil(out.C, 64), 1}, buf(y), buf(x), w, bias,
		u32(pixels), u32(in.H), u32(in.W), u32(in.C), u32(out.C), u32(0))
}

// weight returns the packed form of a convolution's weights: RSCK for fprop;
// rotated and with channels exchanged for dgrad.
func (l *lowering) weight(b *gpu.Buffer, dgrad bool) (*weight, error) {
	if b.Role != gpu.Const {
		return nil, fmt.Errorf("weights must be constants: %w", gpu.ErrUnsupported)
	}
	k, c := b.Shape.N, b.Shape.C
	return l.constant(weightKey{&b.Data[0], dgrad}, b.Name, len(b.Data), func() []float32 {
		out := make([]float32, len(b.Data))
		for o := range k {
			for tap := range 9 {
				src := b.Data[(o*9+tap)*c : (o*9+tap+1)*c]
				for ch, v := range src {
					if dgrad {
						out[((8-tap)*k+o)*c+ch] = v
					} else {
						out[(tap*c+ch)*k+o] = v
					}
				}
			}
		}
		return out
	}), nil
}

func (l *lowering) bias(b *gpu.Buffer) (*weight, error) {
	if b.Role != gpu.Const {
		return nil, fmt.Errorf("a bias must be a constant: %w", gpu.ErrUnsupported)
	}
	return l.constant(weightKey{&b.Data[0], false}, b.Name, len(b.Data), func() []float32 { return b.Data }), nil
}

func (l *lowering) constant(key weightKey, name string, n int, pack func() []float32) *weight {
	w := l.weights[key]
	if w == nil {
		w = &weight{name: name, n: n, pack: pack}
		l.weights[key] = w
		l.order = append(l.order, w)
	}
	return w
}
