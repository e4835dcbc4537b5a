package sim

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

// Counts that can be worked out by hand.
func TestProfile(t *testing.T) {
	run := func(s sample, cfg Config) *Profile {
		t.Helper()
		cfg.Profile = true
		p, err := s.run(newRig(t, cfg, s.file, source(t, s.file)))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	saxpy := func(n int) sample {
		return sample{file: "elementwise.sm80.ptx", run: func(r *rig) (*Profile, error) { return runSaxpy(r, n) }}
	}
	p := run(saxpy(1024), Config{})
	if p.SectorsPerReq != 4 || p.SIMD != 1 || p.Diverged != 0 || len(p.Global) != 3 || p.Global[0].Requests != 32 {
		t.Errorf("4-byte accesses of whole warps: %+v", p)
	}
	if p.LaneInstrs != 20*1024 || p.WarpInstrs != 20*32 {
		t.Errorf("%d lane and %d warp instructions, want 20 for each of 1024 threads", p.LaneInstrs, p.WarpInstrs)
	}
	p = run(saxpy(1023), Config{Workers: 3})
	if p.Diverged != 1 || p.SIMD >= 1 {
		t.Errorf("one lane less: %d branches parted, efficiency %g", p.Diverged, p.SIMD)
	}
	p = run(sample{file: "elementwise.sm80.ptx", run: func(r *rig) (*Profile, error) { return runSaxpy4(r, 512, 0) }}, Config{})
	if p.SectorsPerReq != 16 {
		t.Errorf("16-byte accesses: %g sectors a request, want 16", p.SectorsPerReq)
	}
	for _, s := range samples() {
		if s.name != "conv_mma" && s.name != "conv_wgmma" {
			continue
		}
		if p := run(s, Config{}); p.Conflicts != 1 { // both swizzle for this
			t.Errorf("%s: %g wavefronts over ideal, want 1", s.name, p.Conflicts)
		}
	}
	var b bytes.Buffer
	p.Print(&b)
	for _, want := range []string{"occupancy", "ld.global.v4.f32", "16.00 sectors of 32 bytes a request", "SIMD efficiency"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if _, err := json.Marshal(p); err != nil {
		t.Error(err)
	}
}

// Bank conflicts of strides: lane i at word i*stride.
func TestWavefronts(t *testing.T) {
	for _, c := range []struct {
		stride, bytes int
		ratio         float64
	}{{1, 4, 1}, {2, 4, 2}, {32, 4, 32}, {33, 4, 1}, {0, 4, 1}, {2, 8, 1}, {4, 16, 1}, {8, 16, 2}, {32, 16, 8}} {
		var p profile
		p.init(1)
		p.wavefronts(0, full, c.bytes, func(lane int) uint64 { return uint64(4 * c.stride * lane) })
		if got := float64(p.shared[0].parts) / float64(p.shared[0].ideal); got != c.ratio {
			t.Errorf("%d bytes at stride %d words: %g, want %g", c.bytes, c.stride, got, c.ratio)
		}
	}
}

// The occupancy calculator's answers (CUDA 12, by hand for these shapes).
func TestOccupancy(t *testing.T) {
	for _, c := range []struct {
		arch                 string
		threads, shared, reg int
		blocks               int
		limiter              string
	}{
		{"sm_80", 256, 0, 32, 8, "warps"},
		{"sm_80", 32, 0, 16, 32, "blocks"},
		{"sm_80", 256, 0, 128, 2, "registers"},
		{"sm_80", 128, 48 << 10, 64, 3, "shared memory"},
		{"sm_90a", 384, 200 << 10, 168, 1, "shared memory"},
		{"sm_90a", 1024, 0, 64, 1, "registers"},
		{"sm_89", 256, 0, 32, 6, "warps"},
		{"sm_90a", 256, 16 << 10, 0, 8, "warps"}, // registers unknown
	} {
		d := New(Config{Arch: c.arch})
		mod, err := d.Load("t.ptx", tiny("sm_80", ""))
		if err != nil {
			t.Fatal(err)
		}
		o := d.Occupancy(mod.Kernels[0], c.threads, c.shared, c.reg)
		if o.Blocks != c.blocks || o.Limiter != c.limiter {
			t.Errorf("%s, %d threads, %d bytes, %d registers: %+v, want %d by %s", c.arch, c.threads, c.shared, c.reg, o, c.blocks, c.limiter)
		}
	}
}

// Every rule of cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col has a case
// that breaks it alone.
func TestTensorMapRules(t *testing.T) {
	good := func() tensormap.Tiled {
		return tensormap.Tiled{
			Type: ptx.F16, Base: farBase, Dims: []uint64{128, 16, 8}, Strides: []uint64{256, 4096}, Box: []uint32{64, 8, 2}, Swizzle: tensormap.Swizzle128,
		}
	}
	if _, err := EncodeTiled(good()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want   string
		change func(m *tensormap.Tiled)
	}{
		{"rank 0", func(m *tensormap.Tiled) { m.Dims = nil }},
		{"rank 6", func(m *tensormap.Tiled) { m.Dims = make([]uint64, 6) }},
		{"type pred", func(m *tensormap.Tiled) { m.Type = ptx.Pred }},
		{"not a multiple of 16", func(m *tensormap.Tiled) { m.Base += 8 }},
		{"globalDim[1] is 0", func(m *tensormap.Tiled) { m.Dims[1] = 0 }},
		{"globalDim[2] is 4294967297", func(m *tensormap.Tiled) { m.Dims[2] = 1<<32 + 1 }},
		{"1 strides for rank 3", func(m *tensormap.Tiled) { m.Strides = m.Strides[:1] }},
		{"globalStrides[1] is 4100", func(m *tensormap.Tiled) { m.Strides[1] = 4100 }},
		{"globalStrides[1] is 1099511627776", func(m *tensormap.Tiled) { m.Strides[1] = 1 << 40 }},
		{"globalStrides[0] is 128 bytes, the inner dimension has 256", func(m *tensormap.Tiled) { m.Strides[0] = 128 }},
		{"2 box extents for rank 3", func(m *tensormap.Tiled) { m.Box = m.Box[:2] }},
		{"boxDim[1] is 0", func(m *tensormap.Tiled) { m.Box[1] = 0 }},
		{"boxDim[1] is 257", func(m *tensormap.Tiled) { m.Box[1] = 257 }},
		{"box is 56 bytes wide, want a multiple of 16", func(m *tensormap.Tiled) { m.Box[0], m.Swizzle = 28, tensormap.SwizzleNone }},
		{"more than its swizzle of 128", func(m *tensormap.Tiled) { m.Box[0] = 128 }},
		{"less than its swizzle of 128: not simulated", func(m *tensormap.Tiled) { m.Box[0] = 32 }},
		{"2 element strides for rank 3", func(m *tensormap.Tiled) { m.ElementStrides = []uint32{1, 1} }},
		{"elementStrides[1] is 0", func(m *tensormap.Tiled) { m.ElementStrides = []uint32{1, 0, 1} }},
		{"elementStrides[2] is 9", func(m *tensormap.Tiled) { m.ElementStrides = []uint32{1, 1, 9} }},
		{"NaN fill needs a floating-point type", func(m *tensormap.Tiled) { m.Type, m.NaNFill = ptx.U16, true }},
		{"swizzle 7", func(m *tensormap.Tiled) { m.Swizzle = 7 }},
	} {
		m := good()
		c.change(&m)
		if _, err := EncodeTiled(m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	for _, change := range []func(m *tensormap.Tiled){ // what is legal, though it looks odd
		func(m *tensormap.Tiled) { m.Dims[2], m.Strides[1], m.Box[2] = 1, 0, 1 }, // of a dimension of 1 no stride is used
		func(m *tensormap.Tiled) { m.Dims[1], m.Strides[0] = 1, 0 },
		func(m *tensormap.Tiled) { m.Strides[0], m.Strides[1] = 272, 272*16+32 }, // room between rows and planes
		func(m *tensormap.Tiled) { m.ElementStrides = []uint32{0, 8, 1} },        // without interleave the first is ignored
		func(m *tensormap.Tiled) { m.Dims[0], m.Box[0] = 8, 64 },                 // wider than the tensor
	} {
		m := good()
		change(&m)
		if _, err := EncodeTiled(m); err != nil {
			t.Error(err)
		}
	}
	im := func() tensormap.Im2col {
		return tensormap.Im2col{
			Type: ptx.F16, Base: farBase, Dims: []uint64{64, 14, 14, 2}, Strides: []uint64{128, 1792, 25088},
			Lower: []int32{-1, -1}, Upper: []int32{-1, -1}, ChannelsPerPixel: 64, PixelsPerColumn: 128, Swizzle: tensormap.Swizzle128,
		}
	}
	if _, err := EncodeIm2col(im()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want   string
		change func(m *tensormap.Im2col)
	}{
		{"rank 2", func(m *tensormap.Im2col) { m.Dims = m.Dims[:2] }},
		{"1 and 2 corner offsets for rank 4", func(m *tensormap.Im2col) { m.Lower = m.Lower[:1] }},
		{"pixelBoxLowerCorner[0] is -129", func(m *tensormap.Im2col) { m.Lower[0] = -129 }},
		{"pixelBoxUpperCorner[1] is 128", func(m *tensormap.Im2col) { m.Upper[1] = 128 }},
		{"bounding box is empty along dimension 2", func(m *tensormap.Im2col) { m.Upper[1] = -15 }},
		{"channelsPerPixel is 257", func(m *tensormap.Im2col) { m.ChannelsPerPixel = 257 }},
		{"pixelsPerColumn is 1025", func(m *tensormap.Im2col) { m.PixelsPerColumn = 1025 }},
		{"more than its swizzle", func(m *tensormap.Im2col) { m.ChannelsPerPixel = 128 }},
		{"globalStrides[2] is 8", func(m *tensormap.Im2col) { m.Strides[2] = 8 }},
	} {
		m := im()
		c.change(&m)
		if _, err := EncodeIm2col(m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// Rounding to bfloat16 and tf32 at every boundary between two values.
func TestShortFloats(t *testing.T) {
	next := func(b uint32, up bool) float32 {
		v := f32(b)
		if up {
			return math.Nextafter32(v, float32(math.Inf(1)))
		}
		return math.Nextafter32(v, 0)
	}
	for h := uint32(0); h < 0x7f7f; h++ { // positive; the sign goes its own way
		mid := h<<16 | 0x8000
		if got, want := f2bf(f32(mid)), uint16(h+h&1); got != want {
			t.Fatalf("halfway behind bfloat16 %#x gives %#x, want %#x", h, got, want)
		}
		if a, b := f2bf(next(mid, false)), f2bf(next(mid, true)); a != uint16(h) || b != uint16(h+1) {
			t.Fatalf("around halfway behind bfloat16 %#x: %#x and %#x", h, a, b)
		}
		if f2bf(f32(mid|1<<31)) != f2bf(f32(mid))|0x8000 {
			t.Fatalf("the sign of %#x", mid)
		}
	}
	for h := uint32(0); h < 0x7f7fe000>>13; h++ {
		mid := h<<13 | 0x1000
		if got, want := tf32rna(mid), (h+1)<<13; got != want {
			t.Fatalf("rna: halfway behind %#x gives %#x", h<<13, got)
		}
		if got, want := tf32rn(mid), (h+h&1)<<13; got != want {
			t.Fatalf("rn: halfway behind %#x gives %#x", h<<13, got)
		}
		for _, f := range []func(uint32) uint32{tf32rna, tf32rn} {
			if f(mid-1) != h<<13 || f(mid+1) != (h+1)<<13 {
				t.Fatalf("around halfway behind %#x: %#x and %#x", h<<13, f(mid-1), f(mid+1))
			}
		}
	}
}
