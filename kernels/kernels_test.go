package kernels_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

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

// What All says of an entry is what was compiled: parameters, their sizes, threads.
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
				if p.Bytes != s.Params[i].Kind.Bytes() {
					t.Errorf("%s: parameter %d has %d bytes, its Spec %d", s.Entry, i, p.Bytes, s.Params[i].Kind.Bytes())
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
		case strings.HasPrefix(s.Entry, "conv3x3_wgmma"):
			want = []string{"HGMMA", "UTMALDG"}
		case strings.HasSuffix(s.Entry, "_sum"): // of what has been multiplied
		case strings.HasPrefix(s.Entry, "conv3x3_mma"), strings.HasPrefix(s.Entry, "gram_fwd_mma"):
			want = []string{"HMMA", "LDGSTS"}
		case strings.HasPrefix(s.Entry, "conv3x3_first"):
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

// The layouts in shared memory that the headers draw keep the tensor cores' loads
// free of bank conflicts. Values do not show it: a swizzle that is only a
// permutation computes the same.
func TestBanks(t *testing.T) {
	const pixels, c, k = uint32(512), uint32(64), uint32(128)
	dev := sim.New(sim.Config{Profile: true})
	buffer := func(bytes uint32) sim.Ptr {
		p, err := dev.Alloc("buffer", int64(bytes))
		if err != nil {
			t.Fatal(err)
		}
		if err := dev.Set(p, 0, 1, int(bytes)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, kernel := range load(t, dev, "sm80", "sm90a") {
		spec := kernels.All[name]
		if !strings.Contains(name, "mma") && !strings.Contains(name, "first") || strings.HasPrefix(name, "probe") {
			continue
		}
		size := uint32(2)
		if strings.Contains(name, "tf32") {
			size = 4
		}
		const height, width = uint32(16), uint32(32)
		picture, feature := buffer(pixels*3*4), buffer(pixels*max(c, k)*size)
		weights, few, bits := buffer(k*(9*c+c)*size), buffer(k*4), buffer(pixels*k/8)
		end := []any{ // everything at once, as no layer has it
			buffer(pixels * k * size), buffer(pixels / 4 * k * size), bits, few, feature, feature, feature, bits, few, float32(1), uint32(1), uint32(0), uint32(0), uint32(0),
		}
		grid, allowed := sim.Dim{X: int(pixels / 128), Y: 1, Z: 1}, 1.05
		var args []any
		switch {
		case strings.HasSuffix(name, "_share"):
			grid.Z = 2
			args = []any{buffer(2 * pixels * k * 4), uint32(2), feature, weights, feature, weights, height, width, c, c, k}
		case strings.HasSuffix(name, "_sum"):
			args = append([]any{buffer(2 * pixels * k * 4), uint32(2), height, width, k}, end...)
			if size == 4 { // nothing but the epilogue, whose fp32 pairs take two wavefronts
				allowed = 1.34
			}
		case strings.HasPrefix(name, "conv3x3_mma"):
			args = append([]any{feature, weights, feature, weights, height, width, c, c, k}, end...)
		case strings.HasPrefix(name, "conv3x3_first_fprop"):
			// Pixels of three channels are gathered in words or halves from two rows of the
			// patch at a time; no pitch keeps those apart. The kernel waits for memory.
			// Two tiles a block, and the Gram matrix of them.
			grid.X, allowed = int(pixels/256), 1.19
			args = []any{picture, few, few, weights, few, end[0], end[1], bits, feature, uint32(2), height, width, uint32(64), uint32(1)}
		case strings.HasPrefix(name, "conv3x3_first_dgrad"):
			args = []any{picture, feature, weights, few, few, height, width, c}
		case strings.HasPrefix(name, "gram_fwd_mma"):
			layer := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(feature)), uint64(buffer(c*c*4)))
			for _, v := range []uint32{pixels, c, 1, 0} { // one split, from block 0 on
				layer = binary.LittleEndian.AppendUint32(layer, v)
			}
			table := buffer(uint32(len(layer)))
			if err := dev.Write(table, layer); err != nil {
				t.Fatal(err)
			}
			grid.X = 1
			args = []any{table, uint32(1), pixels}
		case strings.HasPrefix(name, "conv3x3_wgmma"):
			if grid.X = spec.Cluster; spec.Tile.Split > 1 { // a cluster takes one tile, else all
				grid.X *= int(pixels*k) / (spec.Tile.Pixels * spec.Tile.Channels)
			}
			bk, rows := 128/size, uint32(spec.Tile.Channels/spec.Tile.Multicast)
			box := tensor(t, size, name, feature, []uint64{uint64(c), uint64(width), uint64(height), 1}, []uint32{bk, 16, uint32(spec.Tile.Pixels/16 + 2), 1})
			args = append([]any{
				box, tensor(t, size, name, weights, []uint64{uint64(9 * c), uint64(k)}, []uint32{bk, rows}),
				box, tensor(t, size, name, weights, []uint64{uint64(c), uint64(k)}, []uint32{bk, rows}), height, width, c, c, k, uint32(1),
			}, end...)
		default:
			t.Fatalf("%s: how is it launched?", name)
		}
		params, err := kernel.Pack(args...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		prof, err := dev.Launch(t.Context(), sim.Launch{Kernel: kernel, Grid: grid, Block: sim.Dim{X: spec.Threads}, SharedBytes: spec.Shared, Params: params})
		if err != nil {
			t.Fatal(err)
		}
		if len(prof.Shared) == 0 || prof.Conflicts > allowed {
			t.Errorf("%s: %d loads from shared memory, %.3g wavefronts over ideal, allowed %.2f", name, len(prof.Shared), prof.Conflicts, allowed)
		}
		t.Logf("%-40s %.3f", name, prof.Conflicts)
	}
}

// tensor is a map of dense elements in boxes of 128-byte rows.
func tensor(t *testing.T, size uint32, name string, base sim.Ptr, dims []uint64, box []uint32) []byte {
	t.Helper()
	m := tensormap.Tiled{Type: ptx.F16, Base: uint64(base), Dims: dims, Box: box, Swizzle: tensormap.Swizzle128}
	switch {
	case size == 4:
		m.Type = ptx.F32
	case strings.Contains(name, "bf16"):
		m.Type = ptx.BF16
	}
	m.Strides = tensormap.DenseStrides(m.Type, dims)
	b, err := sim.EncodeTiled(m)
	if err != nil {
		t.Fatal(err)
	}
	return b[:]
}

// The probes do what they are measured for.
func TestProbes(t *testing.T) {
	dev := sim.New(sim.Config{})
	ks := load(t, dev, "sm80", "sm90a")
	alloc := func(b []byte) sim.Ptr {
		p, err := dev.Alloc("buffer", int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if err := dev.Write(p, b); err != nil {
			t.Fatal(err)
		}
		return p
	}
	launch := func(entry string, blocks int, args ...any) {
		params, err := ks[entry].Pack(args...)
		if err != nil {
			t.Fatal(err)
		}
		spec := kernels.All[entry]
		l := sim.Launch{Kernel: ks[entry], Grid: sim.Dim{X: blocks, Y: 1, Z: 1}, Block: sim.Dim{X: spec.Threads}, SharedBytes: spec.Shared, Params: params}
		if _, err := dev.Launch(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	read := func(p sim.Ptr, n int) []byte {
		b := make([]byte, n)
		if err := dev.Read(p, b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := make([]byte, 4*5000)
	for i := range want {
		want[i] = byte(i * 7)
	}
	y := alloc(make([]byte, len(want)))
	launch("probe_copy_f32", 2, y, alloc(want), uint64(5000))
	if !bytes.Equal(read(y, len(want)), want) {
		t.Error("probe_copy_f32 does not copy")
	}
	ones := bytes.Repeat([]byte{0x00, 0x3c}, 24<<10) // 1 in fp16
	y = alloc(make([]byte, 4*256))
	launch("probe_mma_f16", 1, y, alloc(ones), alloc(make([]byte, 16)), uint32(3))
	if got := math.Float32frombits(binary.LittleEndian.Uint32(read(y, 4))); got != 3*8*4*16 {
		t.Errorf("probe_mma_f16 sums to %v", got)
	}
	launch("probe_wgmma_f16", 1, y, alloc(ones), uint32(3))
	for i := range 256 {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(read(y+sim.Ptr(4*i), 4))); got != 3*128*64 {
			t.Fatalf("probe_wgmma_f16 sums to %v in thread %d", got, i)
		}
	}
}
