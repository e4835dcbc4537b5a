package kernels_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
	"github.com/stylize-gpu/stylize/kernels"
)

// load gives every kernel of architectures, by entry, as the simulator reads it.
func load(t *testing.T, dev *sim.Device, archs ...string) map[string]*sim.Kernel {
	t.Helper()
	ks := map[string]*sim.Kernel{}
	for _, arch := range archs {
		mods, err := kernels.Modules(arch)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mods {
			mod, err := dev.Load(m.Name, []byte(m.PTX))
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range mod.Kernels {
				ks[k.Name] = k
				if s := kernels.All[k.Name]; s == nil || s.Module != m.Name || s.Arch != arch && arch != "sm90" {
					t.Errorf("%s: %s has no Spec of this module for %s", m.Name, k.Name, arch)
				}
			}
		}
	}
	return ks
}

// inPTX is how PTX declares a parameter of each kind.
var inPTX = map[kernels.Kind]string{
	kernels.Pointer: "u64", kernels.Int32: "u32", kernels.Flag: "u32", kernels.Uint32: "u32", kernels.Uint64: "u64",
	kernels.Float32: "f32", kernels.TensorMap: "b8[128]",
}

// What All says of an entry is what was compiled: parameters in their order, threads.
func TestSpecs(t *testing.T) {
	dev := sim.New(sim.Config{})
	ks, newer := load(t, dev, "sm80", "sm90a"), load(t, dev, "sm90")
	for _, s := range kernels.All {
		if ks[s.Entry] == nil {
			t.Errorf("%s is not in %s", s.Entry, s.Module)
		}
		for _, k := range []*sim.Kernel{ks[s.Entry], newer[s.Entry]} {
			if k == nil {
				continue
			}
			ps := k.Params()
			if len(ps) != len(s.Params) {
				t.Errorf("%s takes %d parameters, its Spec has %d", s.Entry, len(ps), len(s.Params))
				continue
			}
			for i, p := range ps {
				if want := s.Params[i]; p.Type != inPTX[want.Kind] || p.Bytes != want.Kind.Bytes() {
					t.Errorf("%s: parameter %d is %s of %d bytes, its Spec has %s of %d", s.Entry, i, p.Type, p.Bytes, inPTX[want.Kind], want.Kind.Bytes())
				}
			}
			if k.MaxThreads() != s.Threads {
				t.Errorf("%s is compiled for %d threads, its Spec has %d", s.Entry, k.MaxThreads(), s.Threads)
			}
		}
		if s.Overlaps && s.Arch == "sm80" && newer[s.Entry] == nil {
			t.Errorf("%s may overlap, but is not compiled for sm_90", s.Entry)
		}
	}
}

// A launch that may start early waits by itself, and no other has the instruction,
// which would promise what its launch does not. That it waits early enough is what
// the simulator checks.
func TestOverlaps(t *testing.T) {
	for _, arch := range []string{"sm80", "sm90", "sm90a"} {
		mods, err := kernels.Modules(arch)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mods {
			for _, text := range strings.Split(m.PTX, ".entry ")[1:] {
				entry, _, _ := strings.Cut(text, "(")
				want := kernels.All[entry].Overlaps && arch != "sm80"
				for _, op := range []string{"griddepcontrol.wait;", "griddepcontrol.launch_dependents;"} {
					if strings.Contains(text, op) != want {
						t.Errorf("%s for %s: %s there is %v, want %v", entry, arch, op, !want, want)
					}
				}
			}
		}
	}
}

// What the names promise is in the machine code that ptxas makes of them.
func TestMachineCode(t *testing.T) {
	figures := kernels.Figures()
	for _, s := range kernels.All {
		var want []string
		switch {
		case s.Family == "conv3x3_wgmma":
			want = []string{"HGMMA", "UTMALDG"}
		case s.Family == "conv3x3_mma", s.Family == "conv3x3_mma_share", s.Family == "gram_fwd_mma":
			want = []string{"HMMA", "LDGSTS"}
		case s.Source == "conv3x3_first":
			want = []string{"HMMA"}
		}
		versions := []string{figures[s.Arch][s.Entry]}
		if f, ok := figures["sm90"][s.Entry]; ok {
			versions = append(versions, f)
		}
		for _, f := range versions {
			for _, op := range append(want, "registers") {
				if !strings.Contains(f, op+" ") {
					t.Errorf("%s: no %s in %q", s.Entry, op, f)
				}
			}
		}
	}
}

// A driver compiles a module as a whole before a run can begin, and old ones take 4 s for
// one of Hopper's kernels (kernels/docs/conv3x3.md): 0.9 ms an instruction, where others take
// 0.05 ms. So that no module takes 5 s, each of the former is one, and all have a length
// that they must not pass.
func TestModulesAreSmall(t *testing.T) {
	for arch, most := range map[string]struct{ entries, instructions int }{"sm80": {16, 60_000}, "sm90": {16, 12_000}, "sm90a": {1, 5500}} {
		mods, err := kernels.Modules(arch)
		if err != nil {
			t.Fatal(err)
		}
		longest, name := 0, ""
		for _, m := range mods {
			mod, err := ptx.Parse(m.Name, []byte(m.PTX))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, k := range mod.Entries {
				n += len(k.Code)
			}
			if len(mod.Entries) > most.entries || n > most.instructions {
				t.Errorf("%s for %s: %d entries of %d instructions in all; at most %d and %d, or give each entry a module (// modules: one an entry)",
					m.Name, arch, len(mod.Entries), n, most.entries, most.instructions)
			}
			if n > longest {
				longest, name = n, m.Name
			}
		}
		t.Logf("%s: at most %d instructions, in %s", arch, longest, name)
	}
}

// device is a simulated one that knows all kernels.
type device struct {
	*sim.Device
	kernels map[string]*sim.Kernel
}

func newDevice(t *testing.T, config sim.Config) *device {
	t.Helper()
	dev := sim.New(config)
	return &device{dev, load(t, dev, "sm80", "sm90a")}
}

// buffer allocates b.
func (d *device) buffer(t *testing.T, b []byte, elem kernels.Elem) kernels.Ptr {
	t.Helper()
	p, err := d.Alloc("buffer", int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write(p, b); err != nil {
		t.Fatal(err)
	}
	return kernels.Ptr{Ref: p, Elem: elem}
}

func (d *device) read(t *testing.T, p kernels.Ptr, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if err := d.Read(address(p), b); err != nil {
		t.Fatal(err)
	}
	return b
}

func address(p kernels.Ptr) sim.Ptr {
	at, _ := p.Ref.(sim.Ptr)
	return at + sim.Ptr(p.Offset)
}

// run executes a launch whose pointers are sim.Ptrs.
func (d *device) run(t *testing.T, l kernels.Launch, err error) *sim.Profile {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var args []any
	for i, p := range l.Spec.Params {
		switch a := l.Args[i]; p.Kind {
		case kernels.Pointer:
			args = append(args, address(a.Ptr))
		case kernels.Int32, kernels.Uint32, kernels.Flag:
			args = append(args, uint32(a.Bits))
		case kernels.Float32:
			args = append(args, math.Float32frombits(uint32(a.Bits)))
		case kernels.TensorMap:
			args = append(args, tensor(t, a.Map))
		default:
			args = append(args, a.Bits)
		}
	}
	k := d.kernels[l.Spec.Entry]
	params, err := k.Pack(args...)
	if err != nil {
		t.Fatalf("%s: %v", l.Spec.Entry, err)
	}
	prof, err := d.Launch(t.Context(), sim.Launch{
		Kernel: k, Grid: sim.Dim{X: l.Grid[0], Y: l.Grid[1], Z: l.Grid[2]}, Block: sim.Dim{X: l.Spec.Threads}, SharedBytes: l.Spec.Shared, Params: params,
	})
	if err != nil {
		t.Fatal(err)
	}
	return prof
}

// tensor encodes a map.
func tensor(t *testing.T, m kernels.Map) []byte {
	t.Helper()
	if m.Of.Ref == nil {
		return make([]byte, kernels.TensorMap.Bytes())
	}
	types := map[kernels.Elem]ptx.Type{kernels.F32: ptx.F32, kernels.F16: ptx.F16, kernels.BF16: ptx.BF16}
	tiled := tensormap.Tiled{Type: types[m.Of.Elem], Base: uint64(address(m.Of)), Dims: m.Dims, Box: m.Box, Swizzle: tensormap.Swizzle128}
	tiled.Strides = tensormap.DenseStrides(tiled.Type, m.Dims)
	b, err := sim.EncodeTiled(tiled)
	if err != nil {
		t.Fatal(err)
	}
	return b[:]
}

// table puts one into memory.
func (d *device) table(t *testing.T, table kernels.Table, err error) kernels.Ptr {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range table.Addresses {
		binary.LittleEndian.PutUint64(table.Bytes[a.At:], uint64(address(a.Of)))
	}
	return d.buffer(t, table.Bytes, table.Elem)
}

// The layouts in shared memory that the headers draw keep the tensor cores' loads
// free of bank conflicts. Values do not show it: a swizzle that is only a
// permutation computes the same.
func TestBanks(t *testing.T) {
	const height, width, pixels, c, k = 16, 32, 16 * 32, 64, 128
	dev := newDevice(t, sim.Config{Profile: true})
	ran := map[string]bool{}
	check := func(allowed float64, l kernels.Launch, err error) {
		t.Helper()
		prof := dev.run(t, l, err)
		ran[l.Spec.Entry] = true
		if len(prof.Shared) == 0 || prof.Conflicts > allowed {
			t.Errorf("%s: %d loads from shared memory, %.3g wavefronts over ideal, allowed %.2f", l.Spec.Entry, len(prof.Shared), prof.Conflicts, allowed)
		}
		t.Logf("%-40s %.3f", l.Spec.Entry, prof.Conflicts)
	}
	for _, e := range []kernels.Elem{kernels.F16, kernels.BF16, kernels.TF32} {
		size := e.Size()
		buffer := func(bytes int, elem kernels.Elem) kernels.Ptr {
			return dev.buffer(t, filled(bytes), elem)
		}
		picture, few := buffer(pixels*3*4, kernels.F32), buffer(k*4, kernels.F32)
		feature, weights := buffer(pixels*k*size, e.Storage()), buffer(k*(9*c+c)*size, e.Storage())
		bits, part := buffer(pixels*k/8, kernels.U8), buffer(2*pixels*k*4, kernels.F32)
		out, pooled := buffer(pixels*k*size, e.Storage()), buffer(pixels/4*k*size, e.Storage())
		product := kernels.Conv3x3MMAArgs{
			X: feature, W: weights, X2: feature, W2: weights, Height: height, Width: width, C: c, C2: c, K: k,
			EpilogueArgs: kernels.EpilogueArgs{ // everything at once, as no layer has it
				Y: out, Pooled: pooled, Positive: bits, Bias: few, Add: feature, Target: feature, Gate: feature, Bits: bits, Scale: few, Weight: few, TargetK: 1, ReLU: true,
			},
		}
		for _, tile := range kernels.MMATiles {
			l, err := product.Launch(e, tile, 1)
			check(1.05, l, err)
		}
		share, sum := product.Share(part, 2)
		l, err := share.Launch(e, 1)
		check(1.05, l, err)
		l, err = sum.Launch(e, 1)
		if e == kernels.TF32 { // nothing but the epilogue, whose fp32 pairs take two wavefronts
			check(1.34, l, err)
		} else {
			check(1.05, l, err)
		}
		for _, tile := range kernels.Tiles {
			l, err := product.WGMMA(e, tile, 1).Launch(e, tile, 1)
			check(1.05, l, err)
		}
		// Pixels of three channels are gathered in words or halves from two rows of the
		// patch at a time; no pitch keeps those apart. The kernel waits for memory.
		// Two tiles a block, and the Gram matrix of them.
		l, err = kernels.Conv3x3FirstFpropArgs{
			X: picture, Mean: few, Std: few, W: weights, Bias: few, Y: out, Pooled: pooled, Positive: bits, Part: part,
			Each: 2, Height: height, Width: width, K: 64, ReLU: true,
		}.Launch(e, 1)
		check(1.19, l, err)
		l, err = kernels.Conv3x3FirstDgradArgs{DX: picture, DY: feature, W: weights, Std: few, Scale: few, Height: height, Width: width, C: c}.Launch(e, 1)
		check(1.05, l, err)
		layer := kernels.GramLayer{F: feature, Part: part, Pixels: pixels, C: c, Splits: 1}
		rows, err := kernels.GramLayerTable(e, layer)
		l, err = kernels.GramFwdMMAArgs{Layers: dev.table(t, rows, err), Count: 1, PPS: pixels}.Launch(e, layer.Blocks(1))
		check(1.05, l, err)
	}
	for _, s := range kernels.All { // on tensor cores
		if slices.Contains([]string{"conv3x3_mma", "conv3x3_wgmma", "conv3x3_first"}, s.Source) || s.Family == "gram_fwd_mma" {
			if !ran[s.Entry] {
				t.Errorf("%s has not been launched", s.Entry)
			}
		}
	}
}

// filled is n bytes of 1.
func filled(n int) []byte { return bytes.Repeat([]byte{1}, n) }

// The probes do what they are measured for.
func TestProbes(t *testing.T) {
	dev := newDevice(t, sim.Config{})
	want := make([]byte, 4*5000)
	for i := range want {
		want[i] = byte(i * 7)
	}
	y := dev.buffer(t, make([]byte, len(want)), kernels.F32)
	l, err := kernels.ProbeCopyArgs{Y: y, X: dev.buffer(t, want, kernels.F32), Elems: 5000}.Launch()
	dev.run(t, l, err)
	if !bytes.Equal(dev.read(t, y, len(want)), want) {
		t.Error("probe_copy_f32 does not copy")
	}
	value := func(p kernels.Ptr, i int) float32 {
		p.Offset = int64(4 * i)
		return math.Float32frombits(binary.LittleEndian.Uint32(dev.read(t, p, 4)))
	}
	ones := bytes.Repeat([]byte{0x00, 0x3c}, 24<<10) // 1 in fp16
	y = dev.buffer(t, make([]byte, 4*256), kernels.F32)
	l, err = kernels.ProbeMMAArgs{Y: y, Operands: dev.buffer(t, ones, kernels.U32), Clocks: dev.buffer(t, make([]byte, 16), kernels.U64), Rounds: 3}.Launch(1)
	dev.run(t, l, err)
	if got := value(y, 0); got != 3*8*4*16 {
		t.Errorf("probe_mma_f16 sums to %v", got)
	}
	l, err = kernels.ProbeWGMMAArgs{Y: y, Operands: dev.buffer(t, ones, kernels.U32x4), Rounds: 3}.Launch(1)
	dev.run(t, l, err)
	for i := range 256 {
		if got := value(y, i); got != 3*128*64 {
			t.Fatalf("probe_wgmma_f16 sums to %v in thread %d", got, i)
		}
	}
}

// A gradient that is so much larger further down than at the picture that it overflows
// there makes one iteration in some thirty overflow, and not every second: what has
// overflowed is a ceiling, which grows slowly. Another picture knows nothing of it.
func TestLossScale(t *testing.T) {
	const pictures, blocks, columns, iterations = 2, 3, 7, 400
	dev := newDevice(t, sim.Config{NoChecks: true})
	floats := func(v ...float32) kernels.Ptr {
		var b []byte
		for _, f := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
		}
		return dev.buffer(t, b, kernels.F32)
	}
	knobs := make([]float32, pictures*columns)
	knobs[0], knobs[columns] = iterations+1, iterations+1
	scale := floats(1024, 1024, math.MaxFloat32, math.MaxFloat32)
	parts := floats(make([]float32, pictures*blocks*5)...)
	l, err := kernels.RecordArgs{
		Ring: floats(make([]float32, pictures*10)...), Step: floats(0, 0), Knobs: floats(knobs...), Total: floats(make([]float32, 4*pictures)...), Parts: parts,
		Each: floats(0, 0), Blocks: blocks, Rows: 1, Terms: 1, KnobColumns: columns, Scale: scale, Dynamic: true,
	}.Launch(pictures)
	if err != nil {
		t.Fatal(err)
	}
	read := func(i int) float32 {
		return math.Float32frombits(binary.LittleEndian.Uint32(dev.read(t, kernels.Ptr{Ref: scale.Ref, Offset: int64(4 * i)}, 4)))
	}
	overflows, last, first := 0, -3, 0
	for i := range iterations {
		most := float32(1) // of the picture's gradient; a thousand times that further down
		if i >= iterations/2 {
			most = 1. / 4096
		}
		bad := float32(0)
		if s := read(0); s*most*1000 > 65504 {
			if i > 2 && i-last < 16 {
				t.Errorf("iteration %d overflows with %g, and %d did", i, s, last)
			}
			bad, overflows, last = 1, overflows+1, i
		}
		var b []byte
		for j := range pictures * blocks { // mean, deviations, count, overflow, largest gradient
			row := []float32{0.5, 0, 100, 0, 1}
			if j == 1 {
				row[3], row[4] = bad, most
			} else if j < blocks {
				row[4] = most / 2
			}
			for _, f := range row {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
			}
		}
		if err := dev.Write(address(parts), b); err != nil {
			t.Fatal(err)
		}
		dev.run(t, l, nil)
		if s := read(1); s != 512 {
			t.Fatalf("iteration %d: the other picture's scale is %g, want 512", i, s)
		}
		if s := read(0); i >= iterations/2 && first == 0 && s*most*1000 > 16384 {
			first = i - iterations/2
		}
	}
	if overflows < 4 || overflows > iterations/20 {
		t.Errorf("%d of %d iterations overflow", overflows, iterations)
	}
	// A gradient of a 4096th is 12 doublings of the scale, of 16 iterations each.
	if first == 0 || first > 12*17 {
		t.Errorf("the scale has followed a smaller gradient after %d iterations", first)
	}
	t.Logf("%d of %d iterations overflow; a scale 4096 times as large after %d iterations", overflows, iterations, first)
}

// at is a pointer to elements.
func at(e kernels.Elem) kernels.Ptr { return kernels.Ptr{Ref: "somewhere", Elem: e} }

// A launch that cannot be right is refused, and the error says where.
func TestRefusals(t *testing.T) {
	add := kernels.AddArgs{Y: at(kernels.F16), A: at(kernels.F16), B: at(kernels.F16), Elems: 300}
	if l, err := add.Launch(kernels.F16); err != nil || l.Spec.Entry != "add_f16" || l.Grid != [3]int{2, 1, 1} || len(l.Args) != 4 || l.Args[3].Bits != 300 {
		t.Fatalf("%+v, %v", l, err)
	}
	product := kernels.Conv3x3MMAArgs{X: at(kernels.F16), W: at(kernels.F16), Height: 8, Width: 16, C: 64, K: 64}
	narrow, hopper := kernels.MMATiles[0], kernels.Tiles[0]
	tv := kernels.TVFwdBwdArgs{Parts: at(kernels.F32), DX: at(kernels.F32), X: at(kernels.F32), Weight: at(kernels.F32), H: 4, W: 4, C: 3}
	with := func(change func(a *kernels.Conv3x3MMAArgs)) kernels.Conv3x3MMAArgs {
		a := product
		change(&a)
		return a
	}
	for _, c := range []struct {
		launch func() (kernels.Launch, error)
		is     error
		want   string
	}{
		{func() (kernels.Launch, error) { a := add; a.B = kernels.Ptr{}; return a.Launch(kernels.F16) }, nil, "add_f16: b is null"},
		{func() (kernels.Launch, error) { return add.Launch(kernels.BF16) }, nil, "add_bf16: y points to f16, and must to bf16"},
		{func() (kernels.Launch, error) { return add.Launch(kernels.TF32) }, nil, "add_f32: y points to f16"},
		{func() (kernels.Launch, error) { return add.Launch(kernels.U8) }, kernels.ErrElem, "add of u8"},
		{func() (kernels.Launch, error) { a := add; a.Elems = -1; return a.Launch(kernels.F16) }, kernels.ErrShape, "add_f16: elems is -1"},
		{func() (kernels.Launch, error) { a := add; a.Elems = 0; return a.Launch(kernels.F16) }, kernels.ErrShape, "add_f16: a grid of [0 1 1]"},
		{func() (kernels.Launch, error) { a := add; a.Elems = 1 << 40; return a.Launch(kernels.F16) }, kernels.ErrShape, "add_f16: a grid of"},
		{func() (kernels.Launch, error) { return tv.Launch(1 << 16) }, kernels.ErrShape, "tv_fwd_bwd_f32: a grid of [4 65536 1]"},
		{func() (kernels.Launch, error) {
			return with(func(a *kernels.Conv3x3MMAArgs) { a.Width = 1<<20 + 1 }).WGMMA(kernels.F16, hopper, 1).Launch(kernels.F16, hopper, 132)
		}, kernels.ErrShape, "a line of 1048577 pixels with 64 channels"},
		{func() (kernels.Launch, error) { a := tv; a.H = 1 << 31; return a.Launch(1) }, kernels.ErrShape, "tv_fwd_bwd_f32: h is 2147483648"},
		{func() (kernels.Launch, error) { a := tv; a.DX.Elem = kernels.F64; return a.Launch(1) }, nil, "tv_fwd_bwd_f32: dx points to f64"},
		{func() (kernels.Launch, error) {
			return kernels.UpdateArgs{Elems: 1 << 31}.Launch(1)
		}, kernels.ErrShape, "update_f32: elems is [2147483648]"},
		{func() (kernels.Launch, error) { return product.Launch(kernels.F32, narrow, 1) }, kernels.ErrElem, "conv3x3_mma of f32"},
		{func() (kernels.Launch, error) { return product.Launch(kernels.F16, hopper, 1) }, kernels.ErrElem, "conv3x3_mma of f16 in tiles of"},
		{func() (kernels.Launch, error) {
			return with(func(a *kernels.Conv3x3MMAArgs) { a.C = 24 }).Launch(kernels.F16, narrow, 1)
		}, kernels.ErrShape, "conv3x3_mma_f16_nhwc_128x64: 24 channels of f16 are no multiple of 64 bytes"},
		{func() (kernels.Launch, error) {
			return with(func(a *kernels.Conv3x3MMAArgs) { a.K = 96 }).Launch(kernels.F16, narrow, 1)
		}, kernels.ErrShape, "conv3x3_mma_f16_nhwc_128x64: 96 output channels"},
		{func() (kernels.Launch, error) {
			return with(func(a *kernels.Conv3x3MMAArgs) { a.C2 = 64 }).Launch(kernels.F16, narrow, 1)
		}, nil, "conv3x3_mma_f16_nhwc_128x64: x2 or w2 is null"},
		{func() (kernels.Launch, error) {
			return with(func(a *kernels.Conv3x3MMAArgs) { a.Target = at(kernels.F16) }).Launch(kernels.F16, narrow, 1)
		}, nil, "conv3x3_mma_f16_nhwc_128x64: target needs gate, scale and weight"},
		{func() (kernels.Launch, error) {
			return with(func(a *kernels.Conv3x3MMAArgs) { a.UnpoolH, a.UnpoolW = 16, 32 }).Launch(kernels.F16, narrow, 1)
		}, nil, "conv3x3_mma_f16_nhwc_128x64: y is null"},
		{func() (kernels.Launch, error) {
			return with(func(a *kernels.Conv3x3MMAArgs) { a.Bits = at(kernels.F16) }).Launch(kernels.F16, narrow, 1)
		}, nil, "conv3x3_mma_f16_nhwc_128x64: bits points to f16, and must to u8"},
		{func() (kernels.Launch, error) {
			return with(func(a *kernels.Conv3x3MMAArgs) { a.C = 32 }).WGMMA(kernels.F16, hopper, 1).Launch(kernels.F16, hopper, 100)
		}, kernels.ErrShape, "conv3x3_wgmma: 32 channels of f16 are no multiple of 128 bytes"},
		{func() (kernels.Launch, error) {
			return product.WGMMA(kernels.BF16, hopper, 1).Launch(kernels.BF16, hopper, 100)
		}, nil, "conv3x3_wgmma_bf16_nhwc_64x512: x points to f16, and must to bf16"},
		{func() (kernels.Launch, error) {
			return kernels.Conv3x3FirstFpropArgs{Each: 1, Height: 8, Width: 16, K: 128, Part: at(kernels.F32)}.Launch(kernels.F16, 1)
		}, kernels.ErrShape, "conv3x3_first_fprop_f16_nhwc_128x64: part is given, and k is 128"},
		{func() (kernels.Launch, error) {
			return kernels.TotalArgs{L: at(kernels.F32), Each: at(kernels.F32), Terms: at(kernels.F32)}.Launch(1)
		}, nil, "total_f32: terms points to f32, and must to LossTerm"},
		{func() (kernels.Launch, error) {
			return kernels.GramFwdArgs{Part: at(kernels.F32), F: at(kernels.F32), Pixels: 2049, C: 3, Splits: 2, PPS: 1024}.Launch(kernels.F32, 1)
		}, nil, "gram_fwd_f32_64x64x16: the splits do not cover the pixels"},
	} {
		if _, err := c.launch(); err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	for _, c := range []struct {
		encode func() (kernels.Table, error)
		want   string
	}{
		{func() (kernels.Table, error) {
			return kernels.GramLayerTable(kernels.F16, kernels.GramLayer{F: at(kernels.F32), Part: at(kernels.F32)})
		}, "row 0 of a table of GramLayer: f points to f32, and must to f16"},
		{func() (kernels.Table, error) {
			return kernels.LossTermTable(kernels.LossTerm{Parts: at(kernels.F32), Weight: at(kernels.F32)}, kernels.LossTerm{})
		}, "row 1 of a table of LossTerm: parts is null"},
	} {
		if _, err := c.encode(); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// A step's Clamp is passed to adam.cu as it is.
func TestClamp(t *testing.T) {
	if gpu.ClampAfter != kernels.ClampAfter || gpu.ClampBefore != kernels.ClampBefore || gpu.ClampNone != kernels.ClampNone {
		t.Error("gpu.Clamp and the enumeration of adam.cu differ")
	}
}

// A table is laid out as the source's struct is; that its offsets are nvcc's is for
// tools/ptx, which asks it.
func TestTables(t *testing.T) {
	style := kernels.GramStyle{
		Loss: at(kernels.F32), W: at(kernels.F16), Part: at(kernels.F32), Target: at(kernels.F32), Weight: at(kernels.F32),
		Norm: 1, Scale: 2, C: 3, Splits: 4, OneTarget: true, Groups: 6, First: 7,
	}
	table, err := kernels.GramStyleTable(kernels.F16, style, style)
	if err != nil {
		t.Fatal(err)
	}
	var row []byte
	row = append(row, make([]byte, 5*8)...)
	for _, v := range []uint32{0x3f800000, 0x40000000, 3, 4, 1, 6, 7, 0} {
		row = binary.LittleEndian.AppendUint32(row, v)
	}
	if want := slices.Concat(row, row); !bytes.Equal(table.Bytes, want) {
		t.Errorf("got % x, want % x", table.Bytes, want)
	}
	var places []int
	var written []bool
	for _, a := range table.Addresses {
		places, written = append(places, a.At), append(written, a.Out)
	}
	if !slices.Equal(places, []int{0, 8, 16, 24, 32, 72, 80, 88, 96, 104}) || !slices.Equal(written[:4], []bool{true, true, false, false}) {
		t.Errorf("addresses at %v, written %v", places, written)
	}
	table, err = kernels.AdamConstantsTable(kernels.AdamConstants{Beta1: 1, Beta2: 2, Eps: 3})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if got := math.Float64frombits(binary.LittleEndian.Uint64(table.Bytes[8*i:])); got != float64(i+1) {
			t.Errorf("constant %d is %v", i, got)
		}
	}
}

// The stages of conv3x3_wgmma fit into a block's shared memory; no more of them do,
// up to three.
func TestShared(t *testing.T) {
	const most = 227 << 10
	for _, s := range kernels.All {
		if s.Family != "conv3x3_wgmma" {
			continue
		}
		stage := (s.Tile.Pixels/16+2)*2048 + s.Tile.Channels*384
		if s.Shared > most || s.Stages < 3 && s.Shared+stage <= most {
			t.Errorf("%s: %d bytes in %d stages of %d", s.Entry, s.Shared, s.Stages, stage)
		}
	}
}
