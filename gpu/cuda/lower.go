//go:build cuda

package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

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
	inMap           // none: a tensor map of what another argument says
)

// argument is one parameter of a launch.
type argument struct {
	where  place
	buf    *gpu.Buffer
	weight *weight
	bits   uint64 // scalar
	offset int64  // into scratch or table
	tensor *tensor
}

// tensor is what a tensor map describes: rows of 128 bytes, swizzled by 128. A
// zero one is never read.
type tensor struct {
	of   argument
	dims []uint64 // elements, the innermost first; dense
	box  []uint32
}

// launch is one kernel launch.
type launch struct {
	spec *kernels.Spec
	grid [3]int
	args []argument
	also []*gpu.Buffer // that it finds through its table
}

// weight is a constant as the kernels want it.
type weight struct {
	key   weightKey
	name  string
	pack  func() []byte
	bytes int64
}

// parts says that a loss term is still a number of parts, to be added and scaled.
type parts struct {
	count int
	scale float32
}

// target is what a program is lowered for.
type target struct {
	precision Precision
	unfused   bool // one kernel for each operation
	hopper    bool // the kernels for sm_90a
	sms       int  // multiprocessors, which the choice of tiles looks at
	tuned     func(layer string) (entry string)
	only      string // tests: the kernel for every product that it suits
}

// lowering turns a program into steps.
type lowering struct {
	target
	stored  map[*gpu.Buffer]bool // feature maps and their gradients: in the precision's storage type
	scaled  map[*gpu.Buffer]bool // gradients that carry the loss scale
	bitsets map[*gpu.Buffer]bool // one bit for each value
	coef    map[*gpu.Buffer]bool // gradients of Gram matrices, replaced by the matrix of the style gradient
	parts   map[*gpu.Buffer]parts
	steps   []*step
	weights map[weightKey]*weight
	order   []*weight
}

// weightKey is a constant in one of its forms: a pass, for one kernel and type.
type weightKey struct {
	data *float32 // where the values lie
	form string
}

// lower maps every step of a program to its kernels.
func lower(p *gpu.Program, t target) (*lowering, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	l := &lowering{
		target: t, weights: map[weightKey]*weight{},
		stored: map[*gpu.Buffer]bool{}, scaled: map[*gpu.Buffer]bool{}, bitsets: map[*gpu.Buffer]bool{},
		coef: map[*gpu.Buffer]bool{}, parts: map[*gpu.Buffer]parts{},
	}
	l.infer(p)
	l.steps = l.group(p.Ops, !t.unfused)
	for _, s := range l.steps {
		if err := l.emit(s); err != nil {
			return nil, fmt.Errorf("cuda: %s: %w", s.name(), err)
		}
		for i := range s.launches {
			la := &s.launches[i]
			if err := la.check(); err != nil {
				return nil, fmt.Errorf("cuda: %s: %w", s.name(), err)
			}
			if i > 0 {
				s.how += ", "
			}
			s.how += la.spec.Entry
		}
	}
	return l, nil
}

// check holds a launch against its Spec and the limits of a grid.
func (l *launch) check() error {
	if len(l.args) != len(l.spec.Params) {
		return fmt.Errorf("%s takes %d arguments, got %d", l.spec.Entry, len(l.spec.Params), len(l.args))
	}
	for i, a := range l.args {
		if want := l.spec.Params[i].Kind; (want == kernels.TensorMap) != (a.where == inMap) || (want == kernels.Pointer) != (a.where != scalar && a.where != inMap) && a != (argument{}) {
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
	s.launches = append(s.launches, launch{spec: kernels.All[entry], grid: grid, args: args})
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

// infer says which buffers are stored in the precision's type, and which carry
// the loss scale: feature maps and their gradients. Pictures, Gram matrices and
// losses are fp32. An input takes the type of what reads it, and may be read by an
// operation that says nothing before one that does: so until nothing changes.
func (l *lowering) infer(p *gpu.Program) {
	for known := -1; known != len(l.stored)+len(l.scaled); {
		known = len(l.stored) + len(l.scaled)
		l.inferOnce(p)
	}
}

func (l *lowering) inferOnce(p *gpu.Program) {
	mark := func(scaled bool, bs ...*gpu.Buffer) {
		for _, b := range bs {
			l.stored[b] = true
			if scaled {
				l.scaled[b] = true
			}
		}
	}
	for _, op := range p.Ops {
		in, out := op.In, op.Out
		switch op.Kind {
		case gpu.NormalizeFwd:
			mark(false, out[0])
		case gpu.NormalizeBwd:
			mark(true, in[0])
		case gpu.Conv3x3Fprop, gpu.ReLUFwd, gpu.AvgPool2x2Fwd:
			mark(false, in[0], out[0])
		case gpu.Conv3x3Dgrad, gpu.AvgPool2x2Bwd:
			mark(true, in[0], out[0])
		case gpu.ReLUBwd:
			mark(true, in[0], out[0])
			mark(false, in[1])
		case gpu.GramFwd:
			mark(false, in[0])
		case gpu.GramBwd:
			mark(false, in[1])
			mark(true, out[0])
		case gpu.MSEFwd:
			if l.stored[in[0]] {
				mark(false, in[1])
			}
		case gpu.MSEBwd:
			if l.stored[in[0]] {
				mark(false, in[1])
				mark(true, out[0])
			}
		case gpu.Add:
			if l.stored[in[0]] || l.stored[in[1]] {
				mark(l.scaled[in[0]] || l.scaled[in[1]], in[0], in[1], out[0])
			}
		case gpu.TVFwd, gpu.TVBwd, gpu.Total, gpu.Adam, gpu.Record, gpu.NumKinds:
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
	switch {
	case l.bitsets[b]:
		return int64(b.Shape.Elems() / 8)
	case l.parts[b].count > 0:
		return b.Bytes() * int64(l.parts[b].count)
	case l.stored[b] || l.coef[b]:
		return int64(b.Shape.Elems()) * int64(l.precision.size())
	}
	return b.Bytes()
}

// tvBlocks is how many blocks share a picture's variation.
func tvBlocks(x gpu.Shape) int { return min(x.H, reduceBlocks(x.H*x.W*x.C)) }

// emit makes a step's launches.
func (l *lowering) emit(s *step) error {
	op := s.ops[0]
	in, out := op.In, op.Out
	x := in[0].Shape
	elems := x.Elems()
	picture := elems / x.N
	t := l.precision.storage()
	switch op.Kind {
	case gpu.NormalizeFwd:
		s.table = append(floats(op.Mean), floats(op.Std)...)
		if len(s.ops) > 1 {
			return l.first(s, in[0], s.ops[1])
		}
		if elems >= 1<<32 {
			return gpu.ErrUnsupported
		}
		s.run("normalize_fwd_"+t, linear(elems), buf(out[0]), buf(in[0]), table(0), table(4*x.C), u32(x.C), u32(elems))
	case gpu.NormalizeBwd:
		s.table = floats(op.Std)
		if elems >= 1<<32 {
			return gpu.ErrUnsupported
		}
		s.run("normalize_bwd_"+t, linear(elems), buf(out[0]), buf(in[0]), table(0), scale(), u32(x.C), u32(elems))
	case gpu.Conv3x3Fprop:
		return l.conv(s, in[0], in[1], in[2])
	case gpu.Conv3x3Dgrad:
		if n := s.ops[len(s.ops)-1]; n.Kind == gpu.NormalizeBwd {
			return l.last(s, in[0], in[1], n)
		}
		return l.conv(s, in[0], in[1], nil)
	case gpu.ReLUFwd:
		s.run("relu_fwd_"+t, linear(elems), buf(out[0]), buf(in[0]), u64(elems))
	case gpu.ReLUBwd:
		s.run("relu_bwd_"+t, linear(elems), buf(out[0]), buf(in[0]), buf(in[1]), u64(elems))
	case gpu.AvgPool2x2Fwd:
		y := out[0].Shape
		s.run("avgpool2x2_fwd_"+t, [3]int{ceil(y.W*y.C, 256), y.H, y.N}, buf(out[0]), buf(in[0]), u32(x.H), u32(x.W), u32(x.C))
	case gpu.AvgPool2x2Bwd:
		y := out[0].Shape
		s.run("avgpool2x2_bwd_"+t, [3]int{ceil(y.W*y.C, 256), y.H, y.N}, buf(out[0]), buf(in[0]), u32(y.H), u32(y.W), u32(y.C))
	case gpu.GramFwd:
		if s.tensor {
			l.gramMatrices(s)
		} else {
			l.gram(s, out[0], in[0])
		}
	case gpu.GramBwd:
		return l.gramGrad(s, in[0], in[1])
	case gpu.MSEFwd:
		blocks := reduceBlocks(picture)
		to := l.sums(s, out[0], blocks)
		s.run("mse_fwd_"+l.typeOf(in[0]), [3]int{blocks, x.N, 1}, to, buf(in[0]), buf(in[1]), u64(picture), boolean(in[1].Shape.N < x.N))
		l.sum(s, out[0], blocks, float64(op.Scale)/float64(picture))
	case gpu.MSEBwd:
		by := scale()
		if !l.scaled[out[0]] { // of a Gram matrix, in fp32
			s.table = floats([]float32{1})
			by = table(0)
		}
		s.run("mse_bwd_"+l.typeOf(in[0]), linear(elems), buf(out[0]), buf(in[0]), buf(in[1]), by,
			f32(2*float64(op.Scale)/float64(picture)), u64(elems), u64(in[1].Shape.Elems()))
	case gpu.TVFwd:
		blocks := tvBlocks(x)
		k := float64(op.Scale) / float64(picture)
		to := l.sums(s, out[0], blocks)
		if len(s.ops) > 1 {
			s.run("tv_fwd_bwd_f32", [3]int{blocks, x.N, 1}, to, buf(s.ops[1].Out[0]), buf(in[0]), f32(k), u32(x.H), u32(x.W), u32(x.C))
			return nil
		}
		s.run("tv_fwd_f32", [3]int{blocks, x.N, 1}, to, buf(in[0]), u32(x.H), u32(x.W), u32(x.C))
		l.sum(s, out[0], blocks, k)
	case gpu.TVBwd:
		s.run("tv_bwd_f32", [3]int{ceil(x.W*x.C, 256), x.H, x.N}, buf(out[0]), buf(in[0]), f32(float64(op.Scale)/float64(picture)), u32(x.H), u32(x.W), u32(x.C))
	case gpu.Add:
		if len(s.ops) > 1 {
			return l.update(s, s.ops[1], s.ops[2], buf(out[0]), buf(in[0]), buf(in[1]))
		}
		s.run("add_"+l.typeOf(out[0]), linear(elems), buf(out[0]), buf(in[0]), buf(in[1]), u64(elems))
	case gpu.Total:
		for i, b := range in {
			s.addresses = append(s.addresses, address{16 * i, b})
			p, ok := l.parts[b]
			if !ok {
				p = parts{1, 1}
			}
			s.table = binary.LittleEndian.AppendUint64(s.table, 0)
			s.table = binary.LittleEndian.AppendUint32(s.table, uint32(p.count))
			s.table = binary.LittleEndian.AppendUint32(s.table, math.Float32bits(p.scale))
		}
		s.run("total_f32", [3]int{x.N, 1, 1}, buf(out[0]), table(0), u32(op.NContent), u32(op.NStyle))
		s.launches[0].also = in
	case gpu.Adam:
		if len(s.ops) > 1 {
			return l.update(s, op, s.ops[1], null(), buf(in[0]), null())
		}
		if picture >= 1<<32 {
			return gpu.ErrUnsupported
		}
		s.table = adamTable(op)
		s.run("adam_f32", [3]int{ceil(picture, 256), x.N, 1}, buf(out[0]), buf(out[1]), buf(out[2]), buf(in[0]), buf(in[4]), buf(in[5]), table(0), u32(int(op.Adam.Clamp)), u32(picture))
	case gpu.Record:
		blocks := reduceBlocks(picture)
		share := ceil(picture, blocks)
		blocks = ceil(picture, share)
		s.scratch = 20 * int64(blocks) * int64(x.N)
		s.run("stats_f32", [3]int{blocks, x.N, 1}, scratch(0), buf(in[0]), buf(in[1]), u32(picture), u32(share))
		l.record(s, op, blocks)
	case gpu.NumKinds:
		return gpu.ErrUnsupported
	}
	return nil
}

// sums is where the parts of a loss term go: to the term itself if Total adds
// them, else to the workspace, for sum.
func (l *lowering) sums(s *step, term *gpu.Buffer, blocks int) argument {
	if l.parts[term].count > 0 {
		return buf(term)
	}
	s.scratch = 4 * int64(blocks) * int64(term.Shape.N)
	return scratch(0)
}

func (l *lowering) sum(s *step, term *gpu.Buffer, blocks int, by float64) {
	if l.parts[term].count == 0 {
		s.run("sum_parts_f32", [3]int{term.Shape.N, 1, 1}, buf(term), scratch(0), f32(by), u32(blocks))
	}
}

func adamTable(op *gpu.Op) (t []byte) {
	for _, v := range []float64{op.Adam.LR, op.Adam.Beta1, op.Adam.Beta2, op.Adam.Eps} {
		t = binary.LittleEndian.AppendUint64(t, math.Float64bits(v))
	}
	return t
}

// updateElems is how many elements a block of update_f32 has.
const updateElems = 1024

// update is the sum of two gradients (dtv may be missing), Adam and the record.
func (l *lowering) update(s *step, adam, record *gpu.Op, g, dx, dtv argument) error {
	x := adam.In[1].Shape
	picture := x.Elems() / x.N
	if picture >= 1<<31 {
		return gpu.ErrUnsupported
	}
	blocks := ceil(picture, updateElems)
	s.table = adamTable(adam)
	s.scratch = 20 * int64(blocks) * int64(x.N)
	s.run("update_f32", [3]int{blocks, x.N, 1}, buf(adam.Out[0]), buf(adam.Out[1]), buf(adam.Out[2]), g, dx, dtv, buf(adam.In[4]), buf(adam.In[5]), table(0), scratch(0),
		u32(int(adam.Adam.Clamp)), u32(picture))
	l.record(s, record, blocks)
	return nil
}

func (l *lowering) record(s *step, op *gpu.Op, blocks int) {
	total, ring, step := op.In[2], op.Out[0], op.Out[1]
	s.run("record_f32", [3]int{1, 1, 1}, buf(ring), buf(step), buf(total), scratch(0), u32(op.In[0].Shape.N), u32(blocks), u32(ring.Shape.N), scale(), boolean(l.precision.scales()))
}

// tensorCores reports whether a product with c input and k output channels
// suits the tensor-core kernels.
func (l *lowering) tensorCores(c, k int) bool {
	return l.precision != FP32 && c*l.precision.size()%64 == 0 && k%64 == 0
}

// onTensorCores reports whether an operation is lowered to them.
func (l *lowering) onTensorCores(op *gpu.Op) bool {
	out := op.Out[0].Shape.C
	return (op.Kind == gpu.Conv3x3Fprop || op.Kind == gpu.Conv3x3Dgrad) && l.tensorCores(op.In[0].Shape.C, out) ||
		(op.Kind == gpu.GramFwd || op.Kind == gpu.GramBwd) && l.tensorCores(out, out)
}

// firstLayer and lastLayer report whether the kernels that begin and end at a
// picture suit a convolution.
func (l *lowering) firstLayer(c, k int) bool { return l.precision != FP32 && c == 3 && k%64 == 0 }

func (l *lowering) lastLayer(c, k int) bool {
	return l.precision != FP32 && c*l.precision.size()%128 == 0 && k == 3
}

// Extents of the tensor cores' tiles of pixels.
const tileH, tileW = 8, 16

func tiles(x gpu.Shape, h, w int) int { return ceil(x.H, h) * ceil(x.W, w) }

// conv lowers a convolution: fprop with a bias, dgrad (bias nil) with the
// weights turned around.
func (l *lowering) conv(s *step, x, w, bias *gpu.Buffer) error {
	in, out := x.Shape, s.ops[0].Out[0].Shape
	pixels := in.N * in.Pixels()
	if pixels >= 1<<31 {
		return gpu.ErrUnsupported
	}
	for _, b := range []*gpu.Buffer{w, bias} {
		if b != nil && b.Role != gpu.Const {
			return fmt.Errorf("weights must be constants: %w", gpu.ErrUnsupported)
		}
	}
	dgrad := bias == nil
	if s.tensor {
		p := product{x: x, c: in.C, w: wt(l.packed(w, dgrad, true)), bias: l.bias(bias)}
		if s.style != nil {
			p.x2, p.c2, p.w2 = s.style.In[1], s.style.In[1].Shape.C, l.coefficients(s, s.style.In[0], s.style.In[1])
		}
		l.product(s, out, p)
		return nil
	}
	s.run("conv3x3_"+l.precision.storage()+"_nhwc_64x64x16", [3]int{ceil(pixels, 64), ceil(out.C, 64), 1}, buf(s.y), buf(x),
		wt(l.packed(w, dgrad, false)), l.bias(bias), optional(s.add), optional(s.gate), u32(pixels), u32(in.H), u32(in.W), u32(in.C), u32(out.C), boolean(s.relu))
	return nil
}

// product is what the tensor cores compute before an epilogue: a convolution of
// x (nil: none) plus a plain product with x2 (nil: none), whose matrix each
// picture has for itself.
type product struct {
	x, x2 *gpu.Buffer
	c, c2 int
	w, w2 argument
	bias  argument
}

// product lowers one, with s's epilogue; out is its shape.
func (l *lowering) product(s *step, out gpu.Shape, p product) {
	end := l.epilogue(s, p.bias)
	inputs := []argument{optional(p.x), p.w, optional(p.x2), p.w2, u32(out.H), u32(out.W), u32(p.c), u32(p.c2), u32(out.C)}
	if splits := l.splits(out, p); splits > 1 {
		narrow := "conv3x3_mma_" + l.precision.element() + "_nhwc_128x64"
		grid := [3]int{tiles(out, tileH, tileW), out.C / 64, out.N}
		at := (s.scratch + 255) / 256 * 256
		s.scratch = at + 4*128*64*int64(grid[0]*grid[1]*grid[2]*splits)
		s.run(narrow+"_share", [3]int{grid[0], grid[1], grid[2] * splits}, append([]argument{scratch(at), u32(splits)}, inputs...)...)
		s.run(narrow+"_sum", grid, append([]argument{scratch(at), u32(splits), u32(out.H), u32(out.W), u32(out.C)}, end...)...)
		return
	}
	v := &variants{
		layer:   fmt.Sprintf("%s %v from %d+%d", l.precision, out, p.c, p.c2),
		entries: l.candidates(out, p),
		at:      len(s.launches),
	}
	if s.pooled != nil || s.unpool != nil {
		v.layer += " pool"
	}
	v.launch = func(entry string) launch {
		spec := kernels.All[entry]
		if spec.Source == "conv3x3_wgmma" {
			grid, args := l.wgmma(spec, out, p)
			return launch{spec: spec, grid: grid, args: append(args, end...)}
		}
		return launch{spec: spec, grid: [3]int{tiles(out, tileH, tileW), out.C / mmaChannels(entry), out.N}, args: append(slices.Clone(inputs), end...)}
	}
	entry := v.entries[0]
	if l.tuned != nil && slices.Contains(v.entries, l.tuned(v.layer)) {
		entry = l.tuned(v.layer)
	}
	s.variants = v
	s.launches = append(s.launches, v.launch(entry))
}

// onHopper reports whether its kernels take a product.
func (l *lowering) onHopper(p product) bool {
	return l.hopper && p.c*l.precision.size()%128 == 0 && p.c2*l.precision.size()%128 == 0
}

// splits is how many blocks share the sums of a tile of conv3x3_mma: one where
// there are more tiles than three quarters of the multiprocessors, else so many
// that each of those has two, with at least nine steps a block.
func (l *lowering) splits(out gpu.Shape, p product) int {
	blocks := out.N * tiles(out, tileH, tileW) * (out.C / 64)
	if l.onHopper(p) || 4*blocks > 3*l.sms {
		return 1
	}
	steps := (9*p.c + p.c2) * l.precision.size() / 64
	return max(min(2*l.sms/blocks, steps/9, 8), 1)
}

// variants are the kernels that a step may use for its product. All give the
// same bits: they add in the same order, and differ in tiles.
type variants struct {
	layer   string   // what a choice holds for
	entries []string // the first is the choice before any measurement
	launch  func(entry string) launch
	at      int // index of the launch in the step
}

func mmaChannels(entry string) int {
	if strings.HasSuffix(entry, "x128") {
		return 128
	}
	return 64
}

// candidates lists the kernels for a product. Which is first, and whether blocks
// share the sums of a tile, follows from how many blocks there are for the
// multiprocessors: large tiles where they keep most busy, else smaller ones, else
// several blocks a tile.
func (l *lowering) candidates(out gpu.Shape, p product) []string {
	element := l.precision.element()
	blocks := func(t kernels.Tile) float64 {
		return float64(out.N*tiles(out, t.Pixels/tileW, tileW)*(out.C/t.Channels)) / float64(l.sms)
	}
	if !l.onHopper(p) {
		narrow, wide := "conv3x3_mma_"+element+"_nhwc_128x64", "conv3x3_mma_"+element+"_nhwc_128x128"
		switch {
		case out.C%128 != 0:
			return []string{narrow}
		case blocks(kernels.Tile{Channels: 128, Pixels: 128}) >= 1.5: // of the two that a multiprocessor holds
			return []string{wide, narrow}
		}
		return []string{narrow, wide}
	}
	if l.only != "" && out.C%kernels.All[l.only].Tile.Channels == 0 {
		return []string{l.only}
	}
	var first kernels.Tile
	switch small := blocks(kernels.Tile{Channels: 128, Pixels: 128}); {
	case out.C%128 != 0:
		first = kernels.Tile{Channels: 64, Pixels: 512, Multicast: 1, Split: 1}
		if blocks(first) < 0.9 {
			first.Pixels = 256
		}
	case blocks(kernels.Tile{Channels: 128, Pixels: 256}) >= 0.9:
		first = kernels.Tile{Channels: 128, Pixels: 256, Multicast: 2, Split: 1}
	case small >= 0.6:
		first = kernels.Tile{Channels: 128, Pixels: 128, Multicast: 2, Split: 1}
	case small >= 0.3:
		first = kernels.Tile{Channels: 128, Pixels: 128, Multicast: 1, Split: 2}
	default:
		first = kernels.Tile{Channels: 128, Pixels: 128, Multicast: 1, Split: 4}
	}
	entries := []string{first.Wgmma(element)}
	for _, t := range kernels.Tiles {
		if t != first && t.Split == first.Split && out.C%t.Channels == 0 {
			entries = append(entries, t.Wgmma(element))
		}
	}
	return entries
}

// wgmma is the grid and the arguments before the epilogue of Hopper's kernel.
func (l *lowering) wgmma(spec *kernels.Spec, out gpu.Shape, p product) (grid [3]int, args []argument) {
	t := spec.Tile
	bk := uint32(128 / l.precision.size())
	pixels := func(b *gpu.Buffer, c int) argument {
		if b == nil {
			return tensorMap(null(), nil, nil)
		}
		return tensorMap(buf(b), []int{c, out.W, out.H, out.N}, []uint32{bk, tileW, uint32(t.Pixels/tileW + 2), 1})
	}
	matrix := func(w argument, columns, count int) argument {
		if columns == 0 {
			return tensorMap(null(), nil, nil)
		}
		return tensorMap(w, []int{columns, count * out.C}, []uint32{bk, uint32(t.Channels / t.Multicast)})
	}
	groups := out.N * ceil(tiles(out, t.Pixels/tileW, tileW), t.Multicast) * out.C / t.Channels
	if t.Split == 1 { // persistent
		groups = min(groups, max(l.sms/spec.Cluster, 1))
	}
	return [3]int{groups * spec.Cluster, 1, 1}, []argument{
		pixels(p.x, p.c), matrix(p.w, 9*p.c, 1), pixels(p.x2, p.c2), matrix(p.w2, p.c2, out.N),
		u32(out.H), u32(out.W), u32(p.c), u32(p.c2), u32(out.C), u32(out.N),
	}
}

func tensorMap(of argument, dims []int, box []uint32) argument {
	t := &tensor{of: of, box: box}
	for _, d := range dims {
		t.dims = append(t.dims, uint64(d))
	}
	return argument{where: inMap, tensor: t}
}

// epilogue is the arguments of one.
func (l *lowering) epilogue(s *step, bias argument) []argument {
	gate, by, k, target, one := optional(s.gate), null(), 0.0, null(), false
	if s.bits != nil {
		gate = null()
	}
	if s.content != nil {
		a, b := s.content.In[0].Shape, s.content.In[1]
		target, by, k, one = buf(b), scale(), 2*float64(s.content.Scale)/float64(a.Elems()/a.N), b.Shape.N < a.N
	}
	h, w := 0, 0
	if s.unpool != nil {
		u := s.unpool.Out[0].Shape
		h, w = u.H, u.W
	}
	return []argument{
		optional(s.y), optional(s.pooled), optional(s.positive), bias, optional(s.add), target, gate, optional(s.bits),
		by, f32(k), boolean(s.relu), boolean(one), u32(h), u32(w),
	}
}

// first lowers normalisation and the first convolution; the table holds means
// and deviations.
func (l *lowering) first(s *step, x *gpu.Buffer, conv *gpu.Op) error {
	w, bias, out := conv.In[1], conv.In[2], conv.Out[0].Shape
	if w.Role != gpu.Const || bias.Role != gpu.Const {
		return fmt.Errorf("weights must be constants: %w", gpu.ErrUnsupported)
	}
	each, part := 1, null()
	if s.makes != nil {
		each, part = firstTiles(out), buf(s.makes.part)
	}
	s.run("conv3x3_first_fprop_"+l.precision.element()+"_nhwc_128x64", [3]int{ceil(tiles(out, tileH, tileW), each), out.C / 64, out.N},
		buf(x), table(0), table(4*x.Shape.C), wt(l.packed(w, false, true)), l.bias(bias), optional(s.y), optional(s.pooled), optional(s.positive), part,
		u32(each), u32(out.H), u32(out.W), u32(out.C), boolean(s.relu))
	return nil
}

// firstTiles is how many tiles a block of the first layer has where it sums their
// Gram matrix: enough to keep the sums few, few enough to fill a GPU, and no more
// than 2048 pixels.
func firstTiles(x gpu.Shape) int { return min(max(ceil(tiles(x, tileH, tileW), 512), 2), 16) }

func firstBlocks(x gpu.Shape) int { return ceil(tiles(x, tileH, tileW), firstTiles(x)) }

// last lowers the first convolution's gradient and that of the normalisation.
func (l *lowering) last(s *step, dy, w *gpu.Buffer, norm *gpu.Op) error {
	if w.Role != gpu.Const {
		return fmt.Errorf("weights must be constants: %w", gpu.ErrUnsupported)
	}
	s.table = floats(norm.Std)
	x := dy.Shape
	s.run("conv3x3_first_dgrad_"+l.precision.element()+"_nhwc_128x3", [3]int{tiles(x, 4, 32), 1, x.N}, buf(norm.Out[0]), buf(dy), wt(l.packed(w, true, true)),
		table(0), scale(), u32(x.H), u32(x.W), u32(x.C))
	return nil
}

func (l *lowering) bias(b *gpu.Buffer) argument {
	if b == nil {
		return null()
	}
	return wt(l.constant(weightKey{&b.Data[0], "bias"}, b.Name, b.Bytes(), func() []byte { return floats(b.Data) }))
}

// splitPixels is how many pixels a block of a Gram matrix sums: few enough to
// fill a GPU and to keep sums short.
const splitPixels = 1024

// gram is a matrix on the SIMT kernels.
func (l *lowering) gram(s *step, g, f *gpu.Buffer) {
	x := f.Shape
	c, pixels := x.C, x.Pixels()
	splits := ceil(pixels, splitPixels)
	s.scratch = 4 * int64(x.N) * int64(splits) * int64(c) * int64(c)
	s.run("gram_fwd_"+l.precision.storage()+"_64x64x16", [3]int{ceil(c, 64), ceil(c, 64), x.N * splits}, scratch(0), buf(f), u32(pixels), u32(c), u32(splits), u32(splitPixels))
	s.run("gram_sum_f32", [3]int{ceil(c*c, 256), x.N, 1}, buf(g), scratch(0), f32(gramNorm(x)), u32(c), u32(splits))
}

// gramNorm is what the sums of a Gram matrix are multiplied by.
func gramNorm(f gpu.Shape) float64 { return 1 / (float64(f.C) * float64(f.Pixels())) }

// styleElems is how many elements a block of gram_style has: fewer, of several
// threads each, where there are many splits to add.
func styleElems(splits int) int {
	switch {
	case splits >= 256:
		return 16
	case splits >= 8:
		return 64
	}
	return 256
}

// gramMatrices lowers Gram matrices on the tensor cores: one launch for those
// sums that no convolution has made, one for all losses. The table has a row for
// each: Layer and Style of gram_mma.cu.
func (l *lowering) gramMatrices(s *step) {
	le := binary.LittleEndian
	var also []*gpu.Buffer // of the next launch
	ints := func(vs ...int) {
		for _, v := range vs {
			s.table = le.AppendUint32(s.table, uint32(v))
		}
	}
	pointers := func(bs ...*gpu.Buffer) {
		for _, b := range bs {
			s.addresses = append(s.addresses, address{len(s.table), b})
			s.table = le.AppendUint64(s.table, 0)
			also = append(also, b)
		}
	}
	blocks, count := 0, 0
	for _, g := range s.grams {
		if g.made {
			continue
		}
		f := g.op.In[0]
		pointers(f, g.part)
		ints(f.Shape.Pixels(), f.Shape.C, g.splits, blocks)
		side := f.Shape.C / 64
		blocks += side * (side + 1) / 2 * g.splits * f.Shape.N
		count++
	}
	if count > 0 {
		s.run("gram_fwd_mma_"+l.precision.element()+"_64x64x32", [3]int{blocks, 1, 1}, table(0), u32(count), u32(splitPixels))
		s.launches[0].also = also
	}
	if g := s.grams[0]; g.mse == nil {
		f := g.op.In[0].Shape
		s.run("gram_sum_f32", [3]int{ceil(f.C*f.C, 256), f.N, 1}, buf(g.op.Out[0]), buf(g.part), f32(gramNorm(f)), u32(f.C), u32(g.splits))
		return
	}
	styles := len(s.table)
	blocks, also = 0, nil
	for _, g := range s.grams {
		f, c, target := g.op.In[0].Shape, g.op.In[0].Shape.C, g.mse.In[1]
		per := styleElems(g.splits)
		pointers(g.mse.Out[0], g.grad.Out[0], g.part, target)
		s.table = append(s.table, floats([]float32{float32(gramNorm(f)), float32(2 * float64(g.grad.Scale) / float64(c*c) * gramNorm(f))})...)
		one := 0
		if target.Shape.N < f.N {
			one = 1
		}
		ints(c, g.splits, one, 256/per, blocks, 0)
		blocks += c * c / per * f.N
	}
	s.run("gram_style_"+l.precision.storage(), [3]int{blocks, 1, 1}, table(styles), u32(len(s.grams)), scale())
	s.launches[len(s.launches)-1].also = also
}

// coefficients is the matrix of a style gradient.
func (l *lowering) coefficients(s *step, dg, f *gpu.Buffer) argument {
	if l.coef[dg] {
		return buf(dg)
	}
	c := f.Shape.C
	s.scratch = int64(f.Shape.N) * int64(c) * int64(c) * int64(l.precision.size())
	s.run("gram_coef_"+l.precision.storage(), [3]int{ceil(c*c, 256), f.Shape.N, 1}, scratch(0), buf(dg), scale(), f32(1/(float64(c)*float64(f.Shape.Pixels()))), u32(c))
	return scratch(0)
}

func (l *lowering) gramGrad(s *step, dg, fb *gpu.Buffer) error {
	f := fb.Shape
	c, pixels := f.C, f.Pixels()
	if s.tensor {
		l.product(s, f, product{x2: fb, c2: c, w: null(), w2: l.coefficients(s, dg, fb), bias: null()})
		return nil
	}
	s.run("gram_bwd_"+l.precision.storage()+"_64x64x16", [3]int{ceil(pixels, 64), ceil(c, 64), f.N}, buf(s.y), buf(dg), buf(fb), scale(),
		f32(1/(float64(c)*float64(pixels))), u32(pixels), u32(c))
	return nil
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
	ins, outs := c, k
	if dgrad {
		ins, outs = k, c
	}
	encode, size, row := func(out []byte, v float32) { binary.LittleEndian.PutUint32(out, math.Float32bits(v)) }, 4, 9*ins
	if tensor {
		encode, size = l.precision.encode, l.precision.size()
		if ins == 3 { // of the first layer: whole products of a tensor core
			row = 32
		}
	}
	return l.constant(weightKey{&b.Data[0], form}, b.Name+" "+form, int64(outs*row*size), func() []byte {
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
	})
}

func (l *lowering) constant(key weightKey, name string, bytes int64, pack func() []byte) *weight {
	w := l.weights[key]
	if w == nil {
		w = &weight{key: key, name: name, bytes: bytes, pack: pack}
		l.weights[key] = w
		l.order = append(l.order, w)
	}
	return w
}
