package conform

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

// hopperCases: what came with sm_90: mbarriers, TMA, clusters, wgmma.
func hopperCases() []*Case {
	var hs []hand
	hs = append(hs, mbarrierForms()...)
	hs = append(hs, tensorForms()...)
	hs = append(hs, bulkForms()...)
	hs = append(hs, clusterForms()...)
	hs = append(hs, wgmmaForms()...)
	hs = append(append(append(hs, foreignForms()...), callForms()...), asyncForms()...)
	var cs []*Case
	for _, h := range hs {
		h.arch = "sm_90a"
		cs = append(cs, h.build())
	}
	return cs
}

const (
	initBar = `mov.u32 %r9, bar;
		setp.eq.u32 %p7, %t, 0;
		@%p7 mbarrier.init.shared::cta.b64 [%r9], 1;
		@%p7 fence.mbarrier_init.release.cluster;
		bar.sync 0;
		`
	waitBar = `WAIT:
		mbarrier.try_wait.parity.shared::cta.b64 %p6, [%r9], 0;
		@!%p6 bra WAIT;
		`
	barDecl = ".shared .align 8 .b8 bar[8];\n"
)

// dump copies n bytes of shared memory at buf to the output, 32 threads.
func dump(n int) string {
	return fmt.Sprintf(`mov.u32 %%r30, buf;
		mov.u32 %%r31, %%t;
		DUMP:
		mad.lo.u32 %%r32, %%r31, 4, %%r30;
		ld.shared.u32 %%r33, [%%r32];
		mad.wide.u32 %%q18, %%r31, 4, %%out;
		st.global.u32 [%%q18], %%r33;
		add.u32 %%r31, %%r31, 32;
		setp.lt.u32 %%p5, %%r31, %d;
		@%%p5 bra DUMP;`, n/4)
}

// fillBuf sets n bytes of shared memory at buf to 0xeeeeeeee.
func fillBuf(n int) string {
	return fmt.Sprintf(`mov.u32 %%r30, buf;
		mov.u32 %%r31, %%t;
		FILL:
		mad.lo.u32 %%r32, %%r31, 4, %%r30;
		st.shared.u32 [%%r32], 0xeeeeeeee;
		add.u32 %%r31, %%r31, 32;
		setp.lt.u32 %%p5, %%r31, %d;
		@%%p5 bra FILL;
		fence.proxy.async.shared::cta;
		bar.sync 0;
		`, n/4)
}

// loadBuf copies n bytes of the first input to shared memory at buf, and orders
// them before asynchronous copies and wgmma.
func loadBuf(threads, n int) string {
	return fmt.Sprintf(`mov.u32 %%r30, buf;
		mov.u32 %%r31, %%t;
		FILL:
		mad.wide.u32 %%q18, %%r31, 4, %%in0;
		ld.global.u32 %%r33, [%%q18];
		mad.lo.u32 %%r32, %%r31, 4, %%r30;
		st.shared.u32 [%%r32], %%r33;
		add.u32 %%r31, %%r31, %d;
		setp.lt.u32 %%p5, %%r31, %d;
		@%%p5 bra FILL;
		fence.proxy.async.shared::cta;
		bar.sync 0;
		`, threads, n/4)
}

func mbarrierForms() []hand {
	want := func(f func(i int) uint32) []byte { return u32s(64, f) }
	return []hand{
		{ // 64 arrivals end phase 0, 64 more phase 1
			covers: []string{
				"mbarrier.init.shared::cta.b64", "mbarrier.arrive.shared::cta.b64", "mbarrier.try_wait.parity.shared::cta.b64",
				"mbarrier.test_wait.parity.shared::cta.b64", "mbarrier.inval.shared::cta.b64", "fence.mbarrier_init.release.cluster",
			},
			name: "mbarrier", block: 64, local: barDecl + ".shared .align 4 .b8 buf[256];",
			body: `mov.u32 %r9, bar;
				mov.u32 %r8, buf;
				setp.eq.u32 %p7, %t, 0;
				@%p7 mbarrier.init.shared::cta.b64 [%r9], 64;
				@%p7 fence.mbarrier_init.release.cluster;
				bar.sync 0;
				mbarrier.test_wait.parity.shared::cta.b64 %p0, [%r9], 1;
				selp.u32 %r5, 100, 0, %p0;
				bar.sync 0;
				mad.lo.u32 %r1, %t, 4, %r8;
				st.shared.u32 [%r1], %t;
				mbarrier.arrive.shared::cta.b64 _, [%r9];
				` + waitBar + `xor.b32 %r2, %t, 33;
				mad.lo.u32 %r2, %r2, 4, %r8;
				ld.shared.u32 %r3, [%r2];
				mbarrier.arrive.shared::cta.b64 _, [%r9];
				WAIT2:
				mbarrier.test_wait.parity.shared::cta.b64 %p6, [%r9], 1;
				@!%p6 bra WAIT2;
				bar.sync 0;
				@%p7 mbarrier.inval.shared::cta.b64 [%r9];
				add.u32 %r3, %r3, %r5;
				st.global.u32 [%me], %r3;`,
			want: want(func(i int) uint32 { return uint32(i^33) + 100 }),
		},
		{ // counts: one lane arrives for many; expect_tx alone; bytes completed by hand
			covers: []string{"mbarrier.arrive.expect_tx.shared::cta.b64", "mbarrier.expect_tx.relaxed.cta.shared::cta.b64", "mbarrier.complete_tx.relaxed.cta.shared::cta.b64"},
			name:   "mbarrier.expect_tx", block: 64, local: barDecl,
			body: `mov.u32 %r9, bar;
				setp.eq.u32 %p7, %t, 0;
				@%p7 mbarrier.init.shared::cta.b64 [%r9], 2;
				@%p7 fence.mbarrier_init.release.cluster;
				bar.sync 0;
				setp.eq.u32 %p1, %t, 40;
				@%p1 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r9], 48;
				@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], 16;
				@%p1 mbarrier.arrive.shared::cta.b64 _, [%r9];
				bar.sync 0;
				mbarrier.test_wait.parity.shared::cta.b64 %p0, [%r9], 0;
				selp.u32 %r5, 1, 0, %p0;
				bar.sync 0;
				@%p7 mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%r9], 64;
				` + strings.Replace(waitBar, "try_wait", "test_wait", 1) + `add.u32 %r5, %r5, 2;
				st.global.u32 [%me], %r5;`,
			want: want(func(int) uint32 { return 2 }),
		},
	}
}

// swizzled is where byte a of a tile lies, by the pattern of its span.
func swizzled(a, span int) int {
	if span == 0 {
		return a
	}
	return a ^ a>>7&(span/16-1)<<4
}

// tensorForms: boxes of every rank, swizzle and kind, with corners outside the
// tensor. Elements are unique halves.
func tensorForms() []hand {
	var hs []hand
	swizzles := map[int]tensormap.Swizzle{0: tensormap.SwizzleNone, 32: tensormap.Swizzle32, 64: tensormap.Swizzle64, 128: tensormap.Swizzle128}
	for _, f := range []struct {
		dims   []uint64
		box    []uint32
		step   []uint32
		gap    uint64 // bytes behind each run of a dimension
		at     []int
		span   int
		nan    bool
		single bool // also a store
	}{
		{dims: []uint64{72}, box: []uint32{64}, at: []int{16}},
		{dims: []uint64{40, 9}, box: []uint32{16, 4}, at: []int{32, -1}, span: 32, single: true},
		{dims: []uint64{40, 9}, box: []uint32{32, 8}, at: []int{-8, 5}, span: 64},
		{dims: []uint64{72, 19}, box: []uint32{64, 16}, at: []int{16, 7}, span: 128, single: true},
		{dims: []uint64{72, 19}, box: []uint32{64, 8}, at: []int{0, -3}, span: 128, nan: true},
		{dims: []uint64{24, 5, 4}, box: []uint32{16, 3, 3}, at: []int{8, -1, 2}, single: true},
		{dims: []uint64{64, 7, 5, 2}, box: []uint32{64, 4, 3, 1}, at: []int{0, -1, 3, 1}, span: 128, single: true},
		{dims: []uint64{64, 9, 7, 2}, box: []uint32{64, 6, 4, 1}, step: []uint32{1, 2, 2, 1}, at: []int{0, -1, 2, 1}, span: 128},
		{dims: []uint64{16, 3, 3, 3, 2}, box: []uint32{8, 2, 2, 2, 2}, at: []int{8, 2, -1, 1, 0}, single: true},
		{dims: []uint64{24, 5, 4}, box: []uint32{16, 5, 3}, step: []uint32{1, 3, 2}, gap: 32, at: []int{16, -2, 1}},
		{dims: []uint64{16, 3, 1, 1, 2}, box: []uint32{16, 2, 2, 1, 2}, gap: 16, at: []int{0, 2, 0, 0, 0}},
		{dims: []uint64{64, 5}, box: []uint32{64, 4}, step: []uint32{1, 2}, gap: 16, at: []int{0, -1}, span: 128},
	} {
		rank := len(f.dims)
		total, elems := 1, 1
		for i := range f.dims {
			total *= int(f.dims[i])
			n := int(f.box[i])
			if f.step != nil {
				n = (n + int(f.step[i]) - 1) / int(f.step[i])
			}
			elems *= n
		}
		strides := tensormap.DenseStrides(ptx.F16, f.dims)
		if f.gap > 0 {
			run := 2 * f.dims[0]
			for i, n := range f.dims[1:] {
				strides[i] = run + f.gap
				run = n * strides[i]
				if n == 1 { // nobody uses it
					strides[i] = 0
					run = 2 * f.dims[0]
					for j := i; j > 0; j-- {
						if strides[j-1] > 0 {
							run = f.dims[j] * strides[j-1]
							break
						}
					}
				}
			}
			total = int(run / 2)
		}
		tensor := make([]byte, 2*total)
		for i := range total {
			le.PutUint16(tensor[2*i:], uint16(i*7+1))
		}
		bytes := 2 * elems
		// index of a box element in the tensor, or -1
		index := func(e int, at []int) int {
			idx := 0
			for i := range rank {
				mul := 1
				if i > 0 {
					mul = int(strides[i-1] / 2)
				}
				ext, st := int(f.box[i]), 1
				if f.step != nil {
					st = int(f.step[i])
					ext = (ext + st - 1) / st
				}
				x := at[i] + e%ext*st
				e /= ext
				if x < 0 || x >= int(f.dims[i]) {
					return -1
				}
				idx += x * mul
			}
			return idx
		}
		want := make([]byte, bytes)
		for e := range elems {
			v := uint16(0)
			if f.nan {
				v = 0x7ff7
			}
			if i := index(e, f.at); i >= 0 {
				v = le.Uint16(tensor[2*i:])
			}
			le.PutUint16(want[swizzled(2*e, f.span):], v)
		}
		coords := func(at []int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(at), " ", ", "), "[]") }
		m := &tensormap.Tiled{Type: ptx.F16, Dims: f.dims, Strides: strides, Box: f.box, ElementStrides: f.step, Swizzle: swizzles[f.span], NaNFill: f.nan}
		tail := ""
		if f.step != nil {
			tail = ".strided"
		}
		if f.nan {
			tail = ".nan"
		}
		if f.gap > 0 {
			tail = fmt.Sprintf(".gap%d%s", f.gap, tail)
		}
		local := fmt.Sprintf("%s.shared .align 1024 .b8 buf[%d];", barDecl, max(bytes, 128))
		form := fmt.Sprintf("cp.async.bulk.tensor.%dd.shared::cluster.global.tile.mbarrier::complete_tx::bytes", rank)
		hs = append(hs, hand{
			name: fileName(fmt.Sprintf("%s.swizzle%d%s", form, f.span, tail)), covers: []string{form, "mbarrier.arrive.expect_tx.shared::cta.b64"},
			in: [][]byte{tensor}, maps: []Map{{Input: 0, Tiled: m}}, local: local, want: want, elem: ptx.U16,
			body: initBar + fmt.Sprintf(`mov.b64 %%q0, map0;
				cvta.param.u64 %%q0, %%q0;
				mov.u32 %%r8, buf;
				@%%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%r9], %d;
				@%%p7 %s [%%r8], [%%q0, {%s}], [%%r9];
				`, bytes, form, coords(f.at)) + waitBar + dump(bytes),
		})
		if !f.single {
			continue
		}
		// The store of a box of unique values into a tensor of ones. A store must not
		// begin before the tensor: it ends behind it by as much.
		at := slices.Clone(f.at)
		for i, x := range at {
			if x < 0 {
				at[i] = int(f.dims[i]) - int(f.box[i]) - x
			}
		}
		box := make([]byte, bytes)
		after := slices.Repeat([]byte{1}, 2*total)
		for e := range elems {
			v := uint16(e*5 + 2)
			le.PutUint16(box[swizzled(2*e, f.span):], v)
			if i := index(e, at); i >= 0 {
				le.PutUint16(after[2*i:], v)
			}
		}
		st := fmt.Sprintf("cp.async.bulk.tensor.%dd.global.shared::cta.tile.bulk_group", rank)
		fill := loadBuf(32, bytes) + `setp.eq.u32 %p7, %t, 0;
			mov.u32 %r8, buf;
			mov.b64 %q0, map0;
			cvta.param.u64 %q0, %q0;
			@!%p7 bra OUT;
			`
		for _, wait := range []string{"cp.async.bulk.wait_group 0;", "cp.async.bulk.wait_group.read 0;"} {
			name := fileName(st)
			if strings.Contains(wait, "read") {
				name += ".read"
			}
			hs = append(hs, hand{
				name: fmt.Sprintf("%s.swizzle%d", name, f.span), covers: []string{st, "cp.async.bulk.commit_group", strings.Fields(wait)[0], "fence.proxy.async.shared::cta"},
				in: [][]byte{box}, maps: []Map{{Input: -1, Tiled: m}}, local: fmt.Sprintf(".shared .align 1024 .b8 buf[%d];", max(bytes, 128)),
				out: slices.Repeat([]byte{1}, 2*total), want: after, elem: ptx.U16,
				body: fill + fmt.Sprintf("%s [%%q0, {%s}], [%%r8];\ncp.async.bulk.commit_group;\n%s\nOUT:", st, coords(at), wait),
			})
		}
	}
	hs = append(hs, im2colForms()...)
	for _, t := range []ptx.Type{ptx.BF16, ptx.F32} { // the upper half is outside
		form := "cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
		in := randomBytes(128, uint64(t))
		nan := map[ptx.Type][]byte{ptx.BF16: {0xf7, 0x7f}, ptx.F32: {0xff, 0xff, 0xff, 0x7f}}[t]
		n := uint64(len(in) / len(nan))
		hs = append(hs, hand{
			name: fileName(form + ".nan." + t.String()), covers: []string{form}, in: [][]byte{in}, elem: t,
			maps:  []Map{{Input: 0, Tiled: &tensormap.Tiled{Type: t, Dims: []uint64{n}, Box: []uint32{uint32(2 * n)}, NaNFill: true}}},
			local: barDecl + ".shared .align 128 .b8 buf[256];", want: append(slices.Clone(in), slices.Repeat(nan, int(n))...),
			body: initBar + `mov.b64 %q0, map0;
				cvta.param.u64 %q0, %q0;
				mov.u32 %r8, buf;
				@%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], 256;
				@%p7 ` + form + ` [%r8], [%q0, {0}], [%r9];
				` + waitBar + dump(256),
		})
	}
	in := u32s(32, func(i int) uint32 { return uint32(i) })
	hs = append(hs, hand{
		covers: []string{"prefetch.tensormap"}, in: [][]byte{in}, want: in,
		maps: []Map{{Input: 0, Tiled: &tensormap.Tiled{Type: ptx.F32, Dims: []uint64{32}, Box: []uint32{32}}}},
		body: "mov.b64 %q0, map0;\ncvta.param.u64 %q0, %q0;\nprefetch.tensormap [%q0];\nst.global.u32 [%me], %t;",
	})
	return hs
}

// im2colForms: pixels of a bounding box at offsets, across rows and pictures.
func im2colForms() []hand {
	var hs []hand
	for _, f := range []struct {
		dims         []uint64 // C, W, [H,] N
		lower, upper []int32
		pixels       uint32
		at           []int
		offs         []int
		step         []uint32
		nan          bool
	}{
		{[]uint64{64, 9, 3}, []int32{-1}, []int32{-1}, 16, []int{0, 2, 0}, []int{1}, nil, false},
		{[]uint64{64, 7, 5, 2}, []int32{-1, -1}, []int32{-1, -1}, 32, []int{0, -1, -1, 0}, []int{0, 2}, nil, false},
		{[]uint64{64, 7, 5, 2}, []int32{-1, -1}, []int32{-1, -1}, 24, []int{0, 3, 2, 0}, []int{2, 1}, nil, false}, // crosses into the next picture
		{[]uint64{64, 5, 4, 3, 2}, []int32{-1, -1, -1}, []int32{-1, -1, -1}, 40, []int{0, 0, 1, -1, 0}, []int{1, 0, 2}, nil, false},
		{[]uint64{64, 9, 7, 2}, []int32{-1, -1}, []int32{-1, -1}, 36, []int{0, -1, -1, 0}, []int{1, 2}, []uint32{1, 2, 2, 1}, true},
		{[]uint64{64, 11, 2}, []int32{-2}, []int32{-1}, 12, []int{0, 1, 0}, []int{2}, []uint32{1, 3, 1}, false},
	} {
		rank := len(f.dims)
		total := 1
		for _, d := range f.dims {
			total *= int(d)
		}
		tensor := make([]byte, 2*total)
		for i := range total {
			le.PutUint16(tensor[2*i:], uint16(i*7+1))
		}
		strides := tensormap.DenseStrides(ptx.F16, f.dims)
		const channels = 64
		bytes := 2 * channels * int(f.pixels)
		want := make([]byte, bytes)
		// The base pixels in order, W fastest, from the start on.
		x := slices.Clone(f.at)
		for p := range int(f.pixels) {
			inside, base, mul := true, 0, int(f.dims[0])
			for j := 1; j < rank; j++ {
				y := x[j]
				if j <= rank-2 {
					y += f.offs[j-1]
				}
				inside = inside && y >= 0 && y < int(f.dims[j])
				base += y * mul
				mul *= int(f.dims[j])
			}
			for c := range channels {
				v := uint16(0)
				if f.nan {
					v = 0x7ff7
				}
				if inside {
					v = le.Uint16(tensor[2*(base+f.at[0]+c):])
				}
				le.PutUint16(want[swizzled(2*(channels*p+c), 128):], v)
			}
			for j := 1; j < rank; j++ {
				if x[j]++; f.step != nil {
					x[j] += int(f.step[j]) - 1
				}
				if j == rank-1 || x[j] <= int(f.dims[j])-1+int(f.upper[j-1]) {
					break
				}
				x[j] = int(f.lower[j-1])
			}
		}
		join := func(v []int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ", "), "[]") }
		form := fmt.Sprintf("cp.async.bulk.tensor.%dd.shared::cluster.global.im2col.mbarrier::complete_tx::bytes", rank)
		m := &tensormap.Im2col{
			Type: ptx.F16, Dims: f.dims, Strides: strides, Lower: f.lower, Upper: f.upper,
			ChannelsPerPixel: channels, PixelsPerColumn: f.pixels, Swizzle: tensormap.Swizzle128, ElementStrides: f.step, NaNFill: f.nan,
		}
		hs = append(hs, hand{
			name: fileName(fmt.Sprintf("%s.%d", form, f.pixels)), covers: []string{form}, in: [][]byte{tensor}, maps: []Map{{Input: 0, Im2col: m}},
			local: fmt.Sprintf("%s.shared .align 1024 .b8 buf[%d];", barDecl, bytes), want: want, elem: ptx.U16,
			body: initBar + fmt.Sprintf(`mov.b64 %%q0, map0;
				cvta.param.u64 %%q0, %%q0;
				mov.u32 %%r8, buf;
				@%%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%r9], %d;
				@%%p7 %s [%%r8], [%%q0, {%s}], [%%r9], {%s};
				`, bytes, form, join(f.at), join(f.offs)) + waitBar + dump(bytes),
		})
	}
	return hs
}

// bulkForms: one-dimensional bulk copies and reductions.
func bulkForms() []hand {
	in := randomBytes(256, 21)
	floats := u32s(64, func(i int) uint32 { return math.Float32bits(float32(i - 20)) })
	fill := `mad.wide.u32 %q0, %t, 8, %in0;
		ld.global.v2.u32 {%r1, %r2}, [%q0];
		mov.u32 %r8, buf;
		mad.lo.u32 %r3, %t, 8, %r8;
		st.shared.v2.u32 [%r3], {%r1, %r2};
		fence.proxy.async.shared::cta;
		bar.sync 0;
		setp.eq.u32 %p7, %t, 0;
		@!%p7 bra OUT;
		`
	return []hand{
		{
			covers: []string{"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"}, in: [][]byte{in}, want: in, elem: ptx.U8,
			local: barDecl + ".shared .align 16 .b8 buf[256];",
			body: fillBuf(256) + initBar + `mov.u32 %r8, buf;
				@%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], 256;
				@%p7 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r8], [%in0], 256, [%r9];
				` + waitBar + dump(256),
		},
		{ // what lanes wrote to global memory, copied from there; then they write over it
			covers: []string{"fence.proxy.async.global"}, in: [][]byte{in}, want: in, elem: ptx.U8,
			local: barDecl + ".shared .align 16 .b8 buf[256];",
			body: fillBuf(256) + initBar + `mad.wide.u32 %q0, %t, 8, %in0;
				mad.wide.u32 %q1, %t, 8, %out;
				ld.global.v2.u32 {%r1, %r2}, [%q0];
				st.global.v2.u32 [%q1], {%r1, %r2};
				fence.proxy.async.global;
				bar.sync 0;
				mov.u32 %r8, buf;
				@%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], 256;
				@%p7 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r8], [%out], 256, [%r9];
				` + waitBar + `bar.sync 0;
				mov.u32 %r1, 0;
				st.global.v2.u32 [%q1], {%r1, %r1};
				bar.sync 0;
				` + dump(256),
		},
		{
			covers: []string{"cp.async.bulk.global.shared::cta.bulk_group"}, in: [][]byte{in}, want: in, elem: ptx.U8, local: ".shared .align 16 .b8 buf[256];",
			body: fill + "cp.async.bulk.global.shared::cta.bulk_group [%out], [%r8], 256;\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nOUT:",
		},
		{
			covers: []string{"cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32"}, in: [][]byte{floats}, elem: ptx.F32, local: ".shared .align 16 .b8 buf[256];",
			out:  u32s(64, func(i int) uint32 { return math.Float32bits(float32(3 * i)) }),
			want: u32s(64, func(i int) uint32 { return math.Float32bits(float32(4*i - 20)) }),
			body: fill + "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%out], [%r8], 256;\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nOUT:",
		},
	}
}

// clusterForms: two blocks of a cluster, and what Hopper added around them.
func clusterForms() []hand {
	cluster := ".explicitcluster\n.reqnctapercluster 2, 1, 1"
	rank := "mov.u32 %r0, %cluster_ctarank;\nxor.b32 %r1, %r0, 1;\n"
	two := func(f func(rank, t int) uint32) []byte {
		return u32s(64, func(i int) uint32 { return f(i/32, i%32) })
	}
	store := "mad.lo.u32 %r20, %r0, 32, %t;\nmad.wide.u32 %q10, %r20, 4, %out;\nst.global.u32 [%q10], %r10;\n"
	tensor := make([]byte, 2*64*8)
	for i := range 64 * 8 {
		le.PutUint16(tensor[2*i:], uint16(i*7+1))
	}
	tile := make([]byte, len(tensor))
	for i := range 64 * 8 {
		copy(tile[swizzled(2*i, 128):][:2], tensor[2*i:])
	}
	sync := "barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;\n"
	// An mbarrier that both blocks have, for the lanes of the other.
	ready := `mov.u32 %r9, bar;
				mov.u32 %r8, buf;
				` + rank + `setp.eq.u32 %p7, %t, 0;
				@%p7 mbarrier.init.shared::cta.b64 [%r9], 32;
				@%p7 fence.mbarrier_init.release.cluster;
				` + sync
	multicast := "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
	im2col := "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster"
	multi := func(form, operands string, m Map) hand {
		return hand{
			covers: []string{form}, grid: 2, attr: cluster, in: [][]byte{tensor}, maps: []Map{m},
			local: barDecl + ".shared .align 1024 .b8 buf[1024];", want: append(slices.Clone(tile), tile...), elem: ptx.U16,
			body: initBar + rank + sync + `mov.b64 %q0, map0;
				cvta.param.u64 %q0, %q0;
				mov.u32 %r8, buf;
				@%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], 1024;
				setp.eq.and.u32 %p4, %r0, 0, %p7;
				mov.u16 %h0, 3;
				@%p4 ` + form + " [%r8], [%q0, " + operands + `, %h0;
				` + waitBar + "mad.wide.u32 %out, %r0, 1024, %out;\n" + dump(1024) + "\n" + sync,
		}
	}
	return []hand{
		{ // each block reads the other's shared memory, and adds to its word
			covers: []string{
				"mapa.shared::cluster.u32", "ld.shared::cluster.u32", "st.shared::cluster.u32", "atom.shared::cluster.add.u32", "getctarank.shared::cluster.u32",
				"barrier.cluster.arrive.release.aligned", "barrier.cluster.wait.acquire.aligned", "barrier.cluster.arrive.aligned", "barrier.cluster.wait.aligned",
			},
			name: "cluster", grid: 2, attr: cluster, local: ".shared .align 4 .b8 buf[132];\n.shared .align 4 .b8 land[128];",
			body: rank + `mov.u32 %r8, buf;
				mov.u32 %r7, land;
				mad.lo.u32 %r2, %t, 4, %r8;
				mad.lo.u32 %r3, %r0, 1000, %t;
				st.shared.u32 [%r2], %r3;
				setp.eq.u32 %p7, %t, 0;
				@%p7 st.shared.u32 [%r8+128], 5;
				` + sync + `mapa.shared::cluster.u32 %r4, %r2, %r1;
				ld.shared::cluster.u32 %r10, [%r4];
				mapa.shared::cluster.u32 %r5, %r8, %r1;
				atom.shared::cluster.add.u32 %r6, [%r5+128], 2;
				mad.lo.u32 %r11, %t, 4, %r7;
				mapa.shared::cluster.u32 %r12, %r11, %r1;
				st.shared::cluster.u32 [%r12], %r3;
				getctarank.shared::cluster.u32 %r13, %r12;
				barrier.cluster.arrive.aligned;
				barrier.cluster.wait.aligned;
				ld.shared.u32 %r14, [%r8+128];
				ld.shared.u32 %r15, [%r11];
				add.u32 %r10, %r10, %r14;
				add.u32 %r10, %r10, %r15;
				mad.lo.u32 %r10, %r13, 100000, %r10;
				` + store,
			want: two(func(r, t int) uint32 { return uint32(2*((1-r)*1000+t) + 5 + 64 + (1-r)*100000) }),
		},
		{ // the other block's mbarrier, from outside
			covers: []string{"mbarrier.arrive.release.cluster.shared::cluster.b64", "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64", "ld.shared::cluster.f32", "barrier.cluster.arrive.relaxed.aligned", "fence.acq_rel.cluster"},
			name:   "cluster.mbarrier", grid: 2, attr: cluster, local: barDecl + ".shared .align 4 .b8 buf[128];",
			body: ready + `mad.lo.u32 %r2, %t, 4, %r8;
				mad.lo.u32 %r3, %r0, 1000, %t;
				mapa.shared::cluster.u32 %r4, %r2, %r1;
				st.shared::cluster.u32 [%r4], %r3;
				mapa.shared::cluster.u32 %r5, %r9, %r1;
				mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r5];
				` + strings.Replace(waitBar, "try_wait.parity", "try_wait.parity.acquire.cluster", 1) + `ld.shared::cluster.f32 %r10, [%r2];
				fence.acq_rel.cluster;
				barrier.cluster.arrive.relaxed.aligned;
				barrier.cluster.wait.aligned;
				` + store,
			want: two(func(r, t int) uint32 { return uint32((1-r)*1000 + t) }),
		},
		{ // as the kernels write it: default scope, and four values of the other block at once
			covers: []string{"mbarrier.arrive.shared::cluster.b64", "mbarrier.try_wait.parity.shared::cta.b64", "ld.shared::cluster.v4.f32", "st.shared.v4.f32"},
			name:   "cluster.mbarrier.default", grid: 2, attr: cluster, local: barDecl + ".shared .align 16 .b8 buf[1024];",
			body: ready + `mapa.shared::cluster.u32 %r5, %r9, %r1;
				mbarrier.arrive.shared::cluster.b64 _, [%r5];
				` + waitBar + `mad.lo.u32 %r2, %t, 16, %r8;
				mad.lo.u32 %r3, %r0, 1000, %t;
				add.u32 %r4, %r3, 100;
				add.u32 %r6, %r3, 200;
				add.u32 %r7, %r3, 300;
				st.shared.v4.f32 [%r2], {%r3, %r4, %r6, %r7};
				` + sync + `mapa.shared::cluster.u32 %r4, %r2, %r1;
				ld.shared::cluster.v4.f32 {%r10, %r11, %r12, %r13}, [%r4];
				mad.lo.u32 %r11, %r11, 3, %r10;
				mad.lo.u32 %r12, %r12, 5, %r11;
				mad.lo.u32 %r10, %r13, 7, %r12;
				` + sync + store,
			want: two(func(r, t int) uint32 {
				v := (1-r)*1000 + t
				return uint32(v + 3*(v+100) + 5*(v+200) + 7*(v+300))
			}),
		},
		multi(multicast, "{0, 0}], [%r9]", Map{Input: 0, Tiled: &tensormap.Tiled{
			Type: ptx.F16, Dims: []uint64{64, 8}, Strides: []uint64{128}, Box: []uint32{64, 8}, Swizzle: tensormap.Swizzle128,
		}}),
		multi(im2col, "{0, 0, 0, 0}], [%r9], {0, 0}", Map{Input: 0, Im2col: &tensormap.Im2col{
			Type: ptx.F16, Dims: []uint64{64, 4, 2, 1}, Strides: []uint64{128, 512, 1024}, Lower: []int32{0, 0}, Upper: []int32{0, 0},
			ChannelsPerPixel: 64, PixelsPerColumn: 8, Swizzle: tensormap.Swizzle128,
		}}),
		{
			covers: []string{"setmaxnreg.dec.sync.aligned.u32", "setmaxnreg.inc.sync.aligned.u32"}, name: "setmaxnreg", block: 384, attr: ".maxntid 384, 1, 1\n.minnctapersm 1",
			body: `setp.ge.u32 %p0, %t, 128;
				@%p0 bra CONSUMER;
				setmaxnreg.dec.sync.aligned.u32 40;
				mov.u32 %r0, 40;
				bra.uni DONE;
				CONSUMER:
				setmaxnreg.inc.sync.aligned.u32 232;
				mov.u32 %r0, 232;
				DONE:
				st.global.u32 [%me], %r0;`,
			want: u32s(384, func(i int) uint32 {
				if i < 128 {
					return 40
				}
				return 232
			}),
		},
		{
			covers: []string{"griddepcontrol.wait", "griddepcontrol.launch_dependents"}, name: "griddepcontrol",
			body: "griddepcontrol.launch_dependents;\ngriddepcontrol.wait;\nst.global.u32 [%me], %t;", want: u32s(32, func(i int) uint32 { return uint32(i) }),
		},
	}
}

func major(mn bool) string {
	if mn {
		return "mn"
	}
	return "k"
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
