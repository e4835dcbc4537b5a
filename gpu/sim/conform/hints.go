package conform

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

// hintForms: loads and stores with cache operators, hints and orders, prefetches, atomics
// of every type, barriers and comparisons in their rarer forms.
func hintForms() []hand {
	in := randomBytes(128, 31)
	at := func(i int) uint32 { return le.Uint32(in[4*i:]) }
	wide := randomBytes(256, 32)
	at64 := func(i int) uint64 { return le.Uint64(wide[8*i:]) }
	loads := []string{
		"ld.acquire.sys.u32", "ld.global.ca.u32", "ld.global.lu.u32", "ld.global.cv.u32", "ld.global.nc.L1::no_allocate.L2::128B.f32",
		"ld.global.L1::evict_last.u32", "ld.weak.global.L2::256B.u32", "ldu.global.u32", "ld.mmio.relaxed.sys.global.u32",
	}
	var load strings.Builder
	load.WriteString("mad.wide.u32 %q0, %t, 4, %in0;\nmad.wide.u32 %q1, %t, 8, %in1;\nmov.u32 %r5, 0;\n")
	for _, l := range loads {
		fmt.Fprintf(&load, "%s %%r0, [%%q0];\nadd.u32 %%r5, %%r5, %%r0;\n", l)
	}
	load.WriteString(`createpolicy.fractional.L2::evict_last.b64 %q2, 1.0;
		ld.global.L2::cache_hint.u32 %r0, [%q0], %q2;
		add.u32 %r5, %r5, %r0;
		ld.u16 %h0, [%q0];
		cvt.u32.u16 %r0, %h0;
		add.u32 %r5, %r5, %r0;
		ld.global.cg.b64 %q3, [%q1];
		ld.relaxed.gpu.global.u64 %q4, [%q1];
		add.u64 %q3, %q3, %q4;
		cvt.u32.u64 %r0, %q3;
		add.u32 %r5, %r5, %r0;
		mov.u64 %q5, spot;
		st.local.u32 [%q5], %r5;
		ld.local.s8 %r1, [%q5];
		mov.u64 %q6, table;
		and.b32 %r2, %t, 3;
		mad.wide.u32 %q6, %r2, 4, %q6;
		ld.const.f32 %r3, [%q6];
		add.u32 %r1, %r1, %r3;
		add.u32 %r5, %r5, %r1;
		st.global.u32 [%me], %r5;`)
	stores := []string{"st.global.wt.u32", "st.global.cs.f32"}
	var store strings.Builder
	store.WriteString(`mad.wide.u32 %q0, %t, 4, %in0;
		ld.global.u32 %r0, [%q0];
		mov.u32 %r9, buf;
		add.u32 %r8, %r9, %t;
		st.shared.b8 [%r8], %r0;
		mad.lo.u32 %r7, %t, 4, %r9;
		st.volatile.shared.u32 [%r7+32], %r0;
		st.relaxed.cta.shared.u32 [%r7+160], %t;
		ld.shared.u8 %r1, [%r8];
		ld.shared.u32 %r2, [%r7+32];
		ld.shared.u32 %r3, [%r7+160];
		add.u32 %r1, %r1, %r2;
		add.u32 %r1, %r1, %r3;
		createpolicy.fractional.L2::evict_first.b64 %q2, 0.5;
		st.global.L2::cache_hint.u32 [%me], %r1, %q2;
		`)
	for k, s := range stores {
		fmt.Fprintf(&store, "%s [%%me+%d], %%r0;\n", s, 128*(k+1))
	}
	covers := strings.Fields
	hs := []hand{
		{
			name: "ld.hints", isa: "8.2", in: [][]byte{in, wide}, decl: ".const .align 4 .f32 table[4] = {1.0, 2.0, -3.5, 0.25};", local: ".local .align 4 .b8 spot[4];",
			covers: append(covers("ld.global.L2::cache_hint.u32 ld.u16 ld.global.cg.b64 ld.relaxed.gpu.global.u64 ld.local.s8 ld.const.f32 createpolicy.fractional.L2::evict_last.b64"), loads...),
			want: u32s(32, func(i int) uint32 {
				v := uint32(len(loads)+1)*at(i) + at(i)&0xffff + uint32(2*at64(i))
				return v + uint32(int32(int8(v))) + math.Float32bits([]float32{1, 2, -3.5, 0.25}[i%4])
			}),
			body: load.String(),
		},
		{
			name: "st.hints", isa: "7.4", in: [][]byte{in}, local: ".shared .align 4 .b8 buf[288];",
			covers: append(covers("st.shared.b8 st.volatile.shared.u32 st.relaxed.cta.shared.u32 st.global.L2::cache_hint.u32"), stores...),
			want:   slices.Concat(u32s(32, func(i int) uint32 { return at(i)&0xff + at(i) + uint32(i) }), in, in),
			body:   store.String(),
		},
		{ // hints change nothing
			name: "hints", isa: "7.4", in: [][]byte{in}, want: in,
			covers: covers("prefetch.global.L2::evict_last prefetchu.L1 createpolicy.range.global.L2::evict_last.L2::evict_first.b64 applypriority.global.L2::evict_normal pmevent pmevent.mask discard.global.L2"),
			local:  "",
			decl:   ".global .align 128 .b8 scratch[128];",
			body: `mad.wide.u32 %q0, %t, 4, %in0;
				ld.global.u32 %r0, [%q0];
				prefetch.global.L2::evict_last [%q0];
				prefetchu.L1 [%q0];
				createpolicy.range.global.L2::evict_last.L2::evict_first.b64 %q1, [%in0], 64, 128;
				mov.u64 %q2, scratch;
				applypriority.global.L2::evict_normal [%q2], 128;
				discard.global.L2 [%q2], 128;
				pmevent 3;
				pmevent.mask 5;
				st.global.u32 [%me], %r0;`,
		},
		{ // the first does not copy, the second copies
			name: "cp.async.hints", isa: "7.5", in: [][]byte{randomBytes(1024, 33)}, local: ".shared .align 16 .b8 buf[1024];", elem: ptx.U8,
			covers: covers("cp.async.cg.shared.global.L2::128B cp.async.cg.shared.global.L2::cache_hint cp.async.cg.shared.global"),
			want: func() []byte {
				w := randomBytes(1024, 33)
				for i := range 32 {
					if i%3 == 0 {
						clear(w[512+16*i : 512+16*i+16])
					}
				}
				return w
			}(),
			body: `mov.u32 %r0, buf;
				mad.lo.u32 %r1, %t, 16, %r0;
				mad.wide.u32 %q0, %t, 16, %in0;
				mad.wide.u32 %q1, %t, 16, %out;
				createpolicy.fractional.L2::evict_last.b64 %q2, 1.0;
				rem.u32 %r2, %t, 3;
				setp.eq.u32 %p0, %r2, 0;
				and.b32 %r3, %t, 1;
				setp.eq.u32 %p1, %r3, 0;
				@%p1 cp.async.cg.shared.global.L2::128B [%r1], [%q0], 16;
				@!%p1 cp.async.cg.shared.global.L2::cache_hint [%r1], [%q0], 16, %q2;
				cp.async.cg.shared.global [%r1+512], [%q0+512], 16, %p0;
				cp.async.wait_all;
				ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r1];
				st.global.v4.u32 [%q1], {%r4, %r5, %r6, %r7};
				ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r1+512];
				st.global.v4.u32 [%q1+512], {%r4, %r5, %r6, %r7};`,
		},
		{ // three threads of four arrive, all wait; votes
			name: "barrier.forms", isa: "8.0", arch: "sm_90a", block: 128, local: ".shared .align 4 .b8 buf[512];",
			covers: covers("barrier.sync.aligned barrier.arrive barrier.red.or.pred barrier.cta.sync.aligned bar.cta.red.popc.u32 barrier.sync"),
			body: `mov.u32 %r0, buf;
				mad.lo.u32 %r1, %t, 4, %r0;
				st.shared.u32 [%r1], %t;
				barrier.sync.aligned 1;
				xor.b32 %r2, %t, 127;
				mad.lo.u32 %r2, %r2, 4, %r0;
				ld.shared.u32 %r3, [%r2];
				barrier.cta.sync.aligned 2;
				setp.lt.u32 %p0, %t, 96;
				@%p0 bra FIRST;
				st.shared.u32 [%r1], 7;
				barrier.arrive 3, 128;
				bra.uni MET;
				FIRST:
				barrier.sync 3, 128;
				ld.shared.u32 %r4, [%r0+400];
				add.u32 %r3, %r3, %r4;
				MET:
				setp.eq.u32 %p1, %t, 50;
				barrier.red.or.pred %p2, 4, %p1;
				@%p2 add.u32 %r3, %r3, 1000;
				and.b32 %r5, %t, 3;
				setp.eq.u32 %p3, %r5, 1;
				bar.cta.red.popc.u32 %r6, 5, %p3;
				mad.lo.u32 %r3, %r6, 10000, %r3;
				st.global.u32 [%me], %r3;`,
			want: u32s(128, func(i int) uint32 {
				v := uint32(127-i) + 1000 + 32*10000
				if i < 96 {
					v += 7
				}
				return v
			}),
		},
		{ // special registers as vectors, bytes of registers
			name: "mov.parts", in: [][]byte{in}, isa: "8.0", arch: "sm_90a", covers: covers("mov.v4.u32 mov.b32 mov.b16"), local: ".reg .b8 %b<6>;",
			body: `mov.v4.u32 {%r0, %r1, %r2, %r3}, %tid;
				mov.v4.u32 {%r4, %r5, %r6, %r7}, %ntid;
				mad.lo.u32 %r0, %r4, 1000, %r0;
				add.u32 %r0, %r0, %r1;
				mad.wide.u32 %q0, %t, 4, %in0;
				ld.global.u32 %r8, [%q0];
				mov.b32 {%b0, %b1, %b2, %b3}, %r8;
				mov.b32 %r9, {%b3, %b2, %b1, %b0};
				cvt.u16.u32 %h0, %r8;
				mov.b16 {%b4, %b5}, %h0;
				mov.b16 %h1, {%b5, %b4};
				cvt.u32.u16 %r10, %h1;
				xor.b32 %r9, %r9, %r10;
				add.u32 %r0, %r0, %r9;
				st.global.u32 [%me], %r0;`,
			want: u32s(32, func(i int) uint32 {
				v := at(i)
				swapped := v<<24 | v>>8&0xff<<16 | v>>16&0xff<<8 | v>>24
				return uint32(32000+i) + (swapped ^ (v&0xff<<8 | v>>8&0xff))
			}),
		},
		{
			name: "compare.combined", in: [][]byte{in, wide}, covers: covers("setp.lt.and.u64 setp.gtu.ftz.or.f32 set.lt.and.s32.f32 selp.b16 sub.cc.u32 subc.u32"),
			body: `mad.wide.u32 %q0, %t, 4, %in0;
				mad.wide.u32 %q1, %t, 8, %in1;
				ld.global.u32 %r0, [%q0];
				ld.global.u64 %q2, [%q1];
				shr.u32 %r1, %r0, 9;
				and.b32 %r1, %r1, 1;
				setp.ne.u32 %p3, %r1, 0;
				mov.u64 %q3, 0x8000000000000000;
				setp.lt.and.u64 %p0|%p1, %q2, %q3, !%p3;
				selp.u32 %r2, 1, 0, %p0;
				@%p1 add.u32 %r2, %r2, 2;
				mov.b32 %r3, 0x00000001;
				and.b32 %r4, %r0, 0x807fffff;
				setp.gtu.ftz.or.f32 %p2, %r4, %r3, %p3;
				@%p2 add.u32 %r2, %r2, 4;
				set.lt.and.s32.f32 %r5, %r4, %r3, %p3;
				and.b32 %r5, %r5, 8;
				add.u32 %r2, %r2, %r5;
				cvt.u16.u32 %h0, %r0;
				mov.u16 %h1, 0x100;
				selp.b16 %h2, %h0, %h1, %p3;
				cvt.u32.u16 %r6, %h2;
				shl.b32 %r6, %r6, 8;
				add.u32 %r2, %r2, %r6;
				sub.cc.u32 %r7, %t, %r0;
				subc.u32 %r8, 0, 0;
				xor.b32 %r2, %r2, %r8;
				st.global.u32 [%me], %r2;`,
			want: u32s(32, func(i int) uint32 {
				v, p3 := at(i), at(i)>>9&1 != 0
				r := uint32(0)
				if less := at64(i) < 1<<63; less && !p3 {
					r++
				} else if !less && !p3 {
					r += 2
				}
				if p3 { // both are zeros, flushed: not greater
					r += 4
				}
				small := math.Float32frombits(v & 0x807fffff) // as it is, without .ftz
				if small < math.Float32frombits(1) && p3 {
					r += 8
				}
				h := uint32(0x100)
				if p3 {
					h = v & 0xffff
				}
				r += h << 8
				if uint32(i) < v {
					r ^= 0xffffffff
				}
				return r
			}),
		},
		{
			name: "lop3.predicate", isa: "8.2", in: [][]byte{in, wide}, covers: covers("lop3.or.b32 lop3.and.b32 bfi.b64"),
			body: `mad.wide.u32 %q0, %t, 4, %in0;
				mad.wide.u32 %q1, %t, 8, %in1;
				ld.global.u32 %r0, [%q0];
				ld.global.u64 %q2, [%q1];
				and.b32 %r1, %t, 1;
				setp.ne.u32 %p0, %r1, 0;
				lop3.or.b32 %r2|%p1, %r0, 2, 0, 0xc0, %p0;
				lop3.and.b32 _|%p2, %r0, 4, 0, 0xc0, !%p0;
				@%p1 add.u32 %r2, %r2, 100;
				@%p2 add.u32 %r2, %r2, 1000;
				not.b64 %q3, %q2;
				bfi.b64 %q4, %q3, %q2, 40, 13;
				shr.u64 %q5, %q4, 32;
				cvt.u32.u64 %r3, %q5;
				cvt.u32.u64 %r4, %q4;
				xor.b32 %r3, %r3, %r4;
				add.u32 %r2, %r2, %r3;
				st.global.u32 [%me], %r2;`,
			want: u32s(32, func(i int) uint32 {
				r := at(i) & 2
				if at(i)&2 != 0 || i&1 != 0 {
					r += 100
				}
				if at(i)&4 != 0 && i&1 == 0 {
					r += 1000
				}
				v := at64(i)
				for k := range 13 { // bit by bit
					v = v&^(1<<(40+k)) | ^at64(i)>>k&1<<(40+k)
				}
				return r + (uint32(v>>32) ^ uint32(v))
			}),
		},
	}
	return append(hs, atomicForms2()...)
}

// atomicForms2: one thread after the other adds to words of every type; numbers are so
// small that sums are exact in any order.
func atomicForms2() []hand {
	var hs []hand
	sum := func(t ptx.Type, from int) uint64 { return number64(t, from+31*32/2) }
	pair := func(t ptx.Type, from int) uint64 { return sum(t, from)<<16 | sum(t, from+1) }
	convert := map[ptx.Type]string{
		ptx.F16: "cvt.rn.f16.u32 %h0, %t;\n", ptx.BF16: "cvt.rn.bf16.f32 %h0, 0f3F800000;\n",
		ptx.F16x2: "cvt.rn.f32.u32 %r0, %t;\ncvt.rn.f16x2.f32 %r1, %r0, %r0;\n", ptx.BF16x2: "cvt.rn.bf16x2.f32 %r1, 0f3F800000, 0f40000000;\n",
		ptx.F64: "cvt.rn.f64.u32 %q1, %t;\n",
	}
	for _, t := range []ptx.Type{ptx.F16, ptx.F16x2, ptx.BF16, ptx.BF16x2, ptx.F64} {
		arch, reg, from, result := "sm_80", "%r1", 2, "%r5"
		out, want := le.AppendUint32(nil, uint32(number64(ptx.F16, from)<<16|number64(ptx.F16, from+1))), le.AppendUint32(nil, uint32(pair(ptx.F16, from)))
		noftz := ".noftz"
		switch t {
		case ptx.F16, ptx.BF16:
			reg, result = "%h0", "%h5"
			out, want = le.AppendUint16(nil, uint16(number64(t, -500))), le.AppendUint16(nil, uint16(sum(t, -500)))
			if t == ptx.BF16 { // ones: it has eight bits
				out, want = le.AppendUint16(nil, uint16(number64(t, 10))), le.AppendUint16(nil, uint16(number64(t, 42)))
			}
		case ptx.BF16x2:
			out = le.AppendUint32(nil, uint32(number64(ptx.BF16, 10)<<16|number64(ptx.BF16, -20)))
			want = le.AppendUint32(nil, uint32(number64(ptx.BF16, 42)<<16|number64(ptx.BF16, 44)))
		case ptx.F64:
			reg, result, noftz = "%q1", "%q5", ""
			out, want = le.AppendUint64(nil, math.Float64bits(0.5)), le.AppendUint64(nil, math.Float64bits(496.5))
		default: // pairs of fp16
		}
		if strings.HasPrefix(t.String(), "bf") {
			arch = "sm_90a"
		}
		atom, red := fmt.Sprintf("atom.global.add%s.%v", noftz, t), fmt.Sprintf("red.global.add%s.%v", noftz, t)
		hs = append(hs, hand{
			name: atom, covers: []string{atom, red}, arch: arch, out: out, want: want, elem: ptx.TypeNamed(fmt.Sprintf("b%d", 8*len(out))),
			body: convert[t] + fmt.Sprintf(`setp.lt.u32 %%p0, %%t, 16;
				@%%p0 %s %s, [%%out], %s;
				@!%%p0 %s [%%out], %s;`, atom, result, reg, red, reg),
		})
	}
	ints := []struct {
		form string
		from uint64
		f    func(v uint64, t int) uint64
	}{
		{"atom.global.min.s64 %q5, [%out], %q1", 100, func(v uint64, t int) uint64 { return uint64(min(int64(v), int64(t)-20)) }},
		{"atom.global.max.u64 %q5, [%out], %q1", 7, func(v uint64, t int) uint64 { return max(v, uint64(int64(t)-20)) }},
		{"atom.global.and.b64 %q5, [%out], %q1", 0xffff0000ffff00ff, func(v uint64, t int) uint64 { return v & uint64(int64(t)-20) }},
	}
	for _, f := range ints {
		v := f.from
		for t := range 32 {
			v = f.f(v, t)
		}
		hs = append(hs, hand{
			covers: []string{strings.Fields(f.form)[0]}, out: le.AppendUint64(nil, f.from), want: le.AppendUint64(nil, v), elem: ptx.U64,
			body: "cvt.s64.s32 %q1, %t;\nsub.s64 %q1, %q1, 20;\n" + f.form + ";",
		})
	}
	return append(hs,
		hand{
			name: "atom.orders", isa: "7.4", out: u32s(4, func(int) uint32 { return 1 }), want: u32s(4, func(i int) uint32 { return []uint32{1 + 496, 31 | 1, 1 + 496, 1 + 496}[i] }),
			covers: []string{"atom.acq_rel.gpu.global.add.s32", "atom.relaxed.sys.global.or.b32", "atom.global.L2::cache_hint.add.u32", "red.release.gpu.global.add.u32", "createpolicy.fractional.L2::evict_last.b64"},
			body: `atom.acq_rel.gpu.global.add.s32 %r0, [%out], %t;
				atom.relaxed.sys.global.or.b32 %r0, [%out+4], %t;
				createpolicy.fractional.L2::evict_last.b64 %q1, 1.0;
				atom.global.L2::cache_hint.add.u32 %r0, [%out+8], %t, %q1;
				red.release.gpu.global.add.u32 [%out+12], %t;`,
		},
		hand{ // generic: global and shared memory
			name: "atom.add.f32", covers: []string{"atom.add.f32"}, local: ".shared .align 4 .b8 buf[4];", elem: ptx.F32,
			out: u32s(2, func(int) uint32 { return math.Float32bits(2) }), want: u32s(2, func(i int) uint32 { return math.Float32bits([]float32{498, 496}[i]) }),
			body: `cvt.rn.f32.u32 %r0, %t;
				mov.u64 %q1, buf;
				cvta.shared.u64 %q1, %q1;
				setp.eq.u32 %p0, %t, 0;
				@%p0 st.u32 [%q1], 0;
				bar.sync 0;
				atom.add.f32 %r1, [%out], %r0;
				atom.add.f32 %r1, [%q1], %r0;
				bar.sync 0;
				@!%p0 bra OUT;
				ld.u32 %r2, [%q1];
				st.global.u32 [%out+4], %r2;
				OUT:`,
		},
		hand{ // threads turn a half from 5 to 6, one after the other
			name: "atom.global.cas.b16", covers: []string{"atom.global.cas.b16"}, out: u32s(2, func(int) uint32 { return 0x00050007 }),
			want: u32s(2, func(i int) uint32 { return []uint32{0x00060007, 0x00050007}[i] }),
			body: `mov.u16 %h1, 5;
				mov.u16 %h2, 6;
				atom.global.cas.b16 %h3, [%out+2], %h1, %h2;
				atom.global.cas.b16 %h3, [%out], %h1, %h2;`,
		},
		hand{
			name: "atom.vectors", arch: "sm_90a", isa: "8.3", elem: ptx.F32,
			covers: []string{"atom.global.v4.f32.add", "red.global.v2.f32.add", "atom.global.v2.add.noftz.f16x2", "red.global.v2.min.noftz.bf16x2", "red.global.v4.max.noftz.f16"},
			out: slices.Concat(u32s(6, func(i int) uint32 { return math.Float32bits(float32(i)) }), u32s(2, func(int) uint32 { return 0x3c004000 }),
				u32s(2, func(int) uint32 { return 0x40404120 }), u32s(2, func(int) uint32 { return 0x4400c400 }), u32s(1, func(int) uint32 { return 0 })),
			want: slices.Concat(u32s(6, func(i int) uint32 { return math.Float32bits(float32(i) + []float32{496, 992, 496, 0, 496, 992}[i]) }),
				u32s(2, func(i int) uint32 {
					return uint32(number64(ptx.F16, 1+496)<<16 | number64(ptx.F16, 2+496))
				}),
				u32s(2, func(int) uint32 { return 0 }), u32s(2, func(int) uint32 { return uint32(number64(ptx.F16, 31)<<16 | number64(ptx.F16, 31)) }),
				u32s(1, func(int) uint32 { return 0 })),
			body: `cvt.rn.f32.u32 %r0, %t;
				add.f32 %r1, %r0, %r0;
				mov.b32 %r2, 0;
				atom.global.v4.f32.add {%r4, %r5, %r6, %r7}, [%out], {%r0, %r1, %r0, %r2};
				setp.eq.u32 %p0, %t, 40;
				@%p0 st.global.u32 [%out+48], %r5;
				red.global.v2.f32.add [%out+16], {%r0, %r1};
				cvt.rn.f16x2.f32 %r8, %r0, %r0;
				atom.global.v2.add.noftz.f16x2 {%r9, %r10}, [%out+24], {%r8, %r8};
				cvt.rn.bf16x2.f32 %r11, %r0, %r0;
				red.global.v2.min.noftz.bf16x2 [%out+32], {%r11, %r11};
				cvt.rn.f16.f32 %h0, %r0;
				red.global.v4.max.noftz.f16 [%out+40], {%h0, %h0, %h0, %h0};`,
		})
}

// asyncForms: what Hopper has beside the common copies and barriers. Cases of two blocks
// are clusters.
func asyncForms() []hand {
	cluster := ".explicitcluster\n.reqnctapercluster 2, 1, 1"
	rank := "mov.u32 %r0, %cluster_ctarank;\nxor.b32 %r1, %r0, 1;\n"
	sync := "barrier.cluster.arrive;\nbarrier.cluster.wait.acquire;\n"
	in := randomBytes(256, 41)
	words := u32s(64, func(i int) uint32 { return uint32(i * 3) })
	fill := `mad.wide.u32 %q0, %t, 8, %in0;
		ld.global.v2.u32 {%r11, %r12}, [%q0];
		mov.u32 %r8, buf;
		mad.lo.u32 %r13, %t, 8, %r8;
		st.shared.v2.u32 [%r13], {%r11, %r12};
		fence.proxy.async;
		bar.sync 0;
		`
	done := "cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nOUT:"
	halves := func(t ptx.Type, f func(i int) int) []byte {
		var b []byte
		for i := range 128 {
			b = le.AppendUint16(b, uint16(number64(t, f(i))))
		}
		return b
	}
	reduce := func(form string, before, add, after []byte, t ptx.Type) hand {
		return hand{
			covers: []string{form, "fence.proxy.async"}, in: [][]byte{add}, out: before, want: after, elem: t, local: ".shared .align 16 .b8 buf[256];",
			body: fill + "setp.eq.u32 %p7, %t, 0;\n@!%p7 bra OUT;\n" + form + " [%out], [%r8], 256;\n" + done,
		}
	}
	tensor := u32s(8*6, func(i int) uint32 { return uint32(1000 + i) })
	tensorAfter := slices.Clone(tensor)
	for y := range 4 {
		for x := range 4 {
			if i := (y+3)*8 + x + 2; y+3 < 6 {
				le.PutUint32(tensorAfter[4*i:], uint32(1000+i)+uint32((4*y+x)*3))
			}
		}
	}
	five := make([]byte, 2*16*2*2*2*2)
	for i := range len(five) / 2 {
		le.PutUint16(five[2*i:], uint16(i*5+1))
	}
	return []hand{
		reduce("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32", words, words, u32s(64, func(i int) uint32 { return uint32(6 * i) }), ptx.U32),
		reduce("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.noftz.bf16", halves(ptx.BF16, func(i int) int { return i }), halves(ptx.BF16, func(i int) int { return i - 100 }),
			halves(ptx.BF16, func(i int) int { return 2*i - 100 }), ptx.BF16),
		reduce("cp.reduce.async.bulk.global.shared::cta.bulk_group.min.f16", halves(ptx.F16, func(i int) int { return i }), halves(ptx.F16, func(i int) int { return 100 - i }),
			halves(ptx.F16, func(i int) int { return min(i, 100-i) }), ptx.F16),
		{
			name: "bulk.hints", isa: "8.6", in: [][]byte{in}, want: in, elem: ptx.U8, local: barDecl + ".shared .align 16 .b8 buf[256];\n.shared .align 16 .b8 land[256];",
			covers: []string{"cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes", "cp.async.bulk.prefetch.L2.global", "cp.async.bulk.global.shared::cta.bulk_group.L2::cache_hint"},
			body: initBar + `mov.u32 %r8, land;
				@!%p7 bra OUT;
				cp.async.bulk.prefetch.L2.global [%in0], 256;
				mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], 256;
				cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [%r8], [%in0], 256, [%r9];
				` + waitBar + `createpolicy.fractional.L2::evict_first.b64 %q2, 1.0;
				cp.async.bulk.global.shared::cta.bulk_group.L2::cache_hint [%out], [%r8], 256, %q2;
				` + done,
		},
		{
			name: "bulk.cluster", grid: 2, attr: cluster, in: [][]byte{in}, want: append(slices.Clone(in), in...), elem: ptx.U8,
			local:  barDecl + ".shared .align 16 .b8 buf[256];\n.shared .align 16 .b8 land[256];",
			covers: []string{"cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes", "barrier.cluster.arrive", "barrier.cluster.wait.acquire", "mapa.shared::cluster.u32"},
			body: fill + initBar + rank + `@%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], 256;
				` + sync + `mov.u32 %r2, land;
				mapa.shared::cluster.u32 %r3, %r2, %r1;
				mapa.shared::cluster.u32 %r4, %r9, %r1;
				@%p7 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r3], [%r8], 256, [%r4];
				` + waitBar + `mad.lo.u32 %r5, %t, 8, %r2;
				ld.shared.v2.u32 {%r6, %r7}, [%r5];
				mad.wide.u32 %out, %r0, 256, %out;
				mad.wide.u32 %q1, %t, 8, %out;
				st.global.v2.u32 [%q1], {%r6, %r7};
				` + sync,
		},
		{
			name: "bulk.multicast", grid: 2, attr: cluster, in: [][]byte{in}, want: append(slices.Clone(in), in...), elem: ptx.U8,
			local:  barDecl + ".shared .align 16 .b8 land[256];",
			covers: []string{"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster"},
			body: initBar + rank + `@%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], 256;
				` + sync + `mov.u32 %r2, land;
				mov.u16 %h0, 3;
				setp.eq.and.u32 %p4, %r0, 1, %p7;
				@%p4 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r2], [%in0], 256, [%r9], %h0;
				` + waitBar + `mad.lo.u32 %r5, %t, 8, %r2;
				ld.shared.v2.u32 {%r6, %r7}, [%r5];
				mad.wide.u32 %out, %r0, 256, %out;
				mad.wide.u32 %q1, %t, 8, %out;
				st.global.v2.u32 [%q1], {%r6, %r7};
				` + sync,
		},
		{ // each lane sends to the other block: words, a vector, and additions that meet
			name: "st.async", isa: "8.1", grid: 2, attr: cluster, local: barDecl + ".shared .align 16 .b8 land[1028];",
			covers: []string{
				"st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32", "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.b64",
				"red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32",
			},
			body: initBar + rank + `mov.u32 %r2, land;
				@%p7 st.shared.u32 [%r2+1024], 5;
				@%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], 768;
				` + sync + `mapa.shared::cluster.u32 %r3, %r2, %r1;
				mapa.shared::cluster.u32 %r4, %r9, %r1;
				mad.lo.u32 %r5, %r0, 1000, %t;
				mad.lo.u32 %r6, %t, 4, %r3;
				st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r6], %r5, [%r4];
				mad.lo.u32 %r6, %t, 16, %r3;
				cvt.u64.u32 %q1, %r5;
				not.b64 %q2, %q1;
				st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.b64 [%r6+256], {%q1, %q2}, [%r4];
				red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%r3+1024], %t, [%r4];
				` + waitBar + `mad.lo.u32 %r6, %t, 4, %r2;
				ld.shared.u32 %r10, [%r6];
				mad.lo.u32 %r6, %t, 16, %r2;
				ld.shared.v4.u32 {%r11, %r12, %r13, %r14}, [%r6+256];
				ld.shared.u32 %r15, [%r2+1024];
				mad.lo.u32 %r10, %r11, 3, %r10;
				sub.u32 %r10, %r10, %r13;
				sub.u32 %r10, %r10, %r14;
				add.u32 %r10, %r10, %r12;
				mad.lo.u32 %r10, %r15, 100000, %r10;
				mad.lo.u32 %r20, %r0, 32, %t;
				mad.wide.u32 %q10, %r20, 4, %out;
				st.global.u32 [%q10], %r10;
				` + sync,
			want: u32s(64, func(i int) uint32 {
				v := uint32((1-i/32)*1000 + i%32)
				return 4*v - ^v + 1 + (5+496)*100000
			}),
		},
		{ // threads leave the barrier for good; counts that states hold
			name: "mbarrier.drop", isa: "8.0", block: 64, local: barDecl,
			covers: []string{
				"mbarrier.init.b64", "mbarrier.arrive.noComplete.shared.b64", "mbarrier.arrive_drop.shared.b64", "mbarrier.arrive_drop.expect_tx.shared::cta.b64",
				"mbarrier.try_wait.acquire.cta.shared::cta.b64", "mbarrier.pending_count.b64", "mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64", "mbarrier.inval.shared.b64",
			},
			body: `mov.u32 %r9, bar;
				mov.u64 %q1, bar;
				cvta.shared.u64 %q1, %q1;
				setp.eq.u32 %p7, %t, 0;
				@%p7 mbarrier.init.b64 [%q1], 10;
				@%p7 fence.mbarrier_init.release.cluster;
				bar.sync 0;
				mov.u32 %r5, 0;
				@!%p7 bra DONE;
				mbarrier.arrive.noComplete.shared.b64 %q2, [%r9], 3;
				mbarrier.pending_count.b64 %r1, %q2;
				mbarrier.arrive_drop.shared.b64 %q3, [%r9];
				mbarrier.pending_count.b64 %r2, %q3;
				mbarrier.arrive_drop.expect_tx.shared::cta.b64 %q4, [%r9], 64;
				mbarrier.pending_count.b64 %r3, %q4;
				mbarrier.arrive.shared.b64 %q5, [%r9], 5;
				mbarrier.pending_count.b64 %r4, %q5;
				mad.lo.u32 %r5, %r1, 100, %r2;
				mad.lo.u32 %r5, %r5, 100, %r3;
				mad.lo.u32 %r5, %r5, 100, %r4;
				mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%r9], 64;
				LEFT:
				mbarrier.try_wait.acquire.cta.shared::cta.b64 %p1, [%r9], %q5;
				@!%p1 bra LEFT;
				mbarrier.arrive.shared.b64 _, [%r9], 8;
				WAIT:
				mbarrier.test_wait.parity.shared::cta.b64 %p6, [%r9], 1;
				@!%p6 bra WAIT;
				DONE:
				bar.sync 0;
				@%p7 mbarrier.inval.shared.b64 [%r9];
				st.global.u32 [%me], %r5;`,
			want: u32s(64, func(i int) uint32 {
				if i == 0 {
					return 10070605
				}
				return 0
			}),
		},
		{
			covers: []string{"wmma.load.c.sync.aligned.col.m16n16k16.global.s32", "wmma.store.d.sync.aligned.row.m16n16k16.shared.s32"}, name: "wmma.store.shared",
			in: [][]byte{u32s(256, func(i int) uint32 { return uint32(i * i) })}, want: u32s(256, func(i int) uint32 { c := uint32(i%16*16 + i/16); return c * c }),
			local: ".shared .align 32 .b8 buf[1024];\n.reg .b32 %x<8>;",
			body: "mov.u32 %r8, buf;\nwmma.load.c.sync.aligned.col.m16n16k16.global.s32 " + registers(0, 8) + ", [%in0];\nwmma.store.d.sync.aligned.row.m16n16k16.shared.s32 [%r8], " +
				registers(0, 8) + ";\nbar.sync 0;\n" + dump(1024),
		},
		{ // fences of every scope around what blocks tell each other
			name: "fence.forms", isa: "8.6", grid: 2, attr: cluster, local: ".shared .align 4 .b8 buf[128];", in: [][]byte{make([]byte, 128)},
			covers: []string{
				"fence.sc.sys", "fence.acquire.gpu", "fence.release.cluster", "fence.proxy.alias", "fence.proxy.tensormap::generic.acquire.gpu", "fence.proxy.tensormap::generic.release.cta",
				"fence.acquire.sync_restrict::shared::cluster.cluster", "fence.release.sync_restrict::shared::cta.cluster", "barrier.cluster.arrive.relaxed",
			},
			body: rank + `mov.u32 %r2, buf;
				mad.lo.u32 %r3, %t, 4, %r2;
				mapa.shared::cluster.u32 %r4, %r3, %r1;
				mad.lo.u32 %r5, %r0, 100, %t;
				fence.proxy.alias;
				fence.proxy.tensormap::generic.release.cta;
				fence.proxy.tensormap::generic.acquire.gpu [%in0], 128;
				barrier.cluster.arrive;
				barrier.cluster.wait;
				st.shared::cluster.u32 [%r4], %r5;
				fence.release.cluster;
				fence.sc.sys;
				fence.release.sync_restrict::shared::cta.cluster;
				barrier.cluster.arrive;
				barrier.cluster.wait;
				fence.acquire.sync_restrict::shared::cluster.cluster;
				fence.acquire.gpu;
				ld.shared.u32 %r6, [%r3];
				mad.lo.u32 %r20, %r0, 32, %t;
				mad.wide.u32 %q10, %r20, 4, %out;
				st.global.u32 [%q10], %r6;
				barrier.cluster.arrive.relaxed;
				barrier.cluster.wait;`,
			want: u32s(64, func(i int) uint32 { return uint32((1-i/32)*100 + i%32) }),
		},
		{
			covers: []string{"cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group", "cp.async.bulk.prefetch.tensor.2d.L2.global.tile"}, name: "cp.reduce.tensor",
			in: [][]byte{u32s(16, func(i int) uint32 { return uint32(3 * i) })}, out: tensor, want: tensorAfter, local: ".shared .align 128 .b8 buf[128];",
			maps: []Map{{Input: -1, Tiled: &tensormap.Tiled{Type: ptx.U32, Dims: []uint64{8, 6}, Strides: []uint64{32}, Box: []uint32{4, 4}}}},
			body: `setp.ge.u32 %p0, %t, 16;
				@%p0 bra SKIP;
				mad.wide.u32 %q0, %t, 4, %in0;
				ld.global.u32 %r1, [%q0];
				mov.u32 %r8, buf;
				mad.lo.u32 %r2, %t, 4, %r8;
				st.shared.u32 [%r2], %r1;
				fence.proxy.async.shared::cta;
				SKIP:
				bar.sync 0;
				mov.b64 %q1, map0;
				cvta.param.u64 %q1, %q1;
				setp.eq.u32 %p7, %t, 0;
				@!%p7 bra OUT;
				cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%q1, {2, 3}];
				cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%q1, {2, 3}], [%r8];
				` + done,
		},
		{ // .tile is what a copy is without a word
			covers: []string{"cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes"}, name: "cp.async.bulk.tensor.plain",
			in: [][]byte{five}, want: five, elem: ptx.U16, local: barDecl + fmt.Sprintf(".shared .align 128 .b8 buf[%d];", len(five)),
			maps: []Map{{Input: 0, Tiled: &tensormap.Tiled{
				Type: ptx.U16, Dims: []uint64{16, 2, 2, 2, 2}, Strides: tensormap.DenseStrides(ptx.U16, []uint64{16, 2, 2, 2, 2}), Box: []uint32{16, 2, 2, 2, 2},
			}}},
			body: initBar + fmt.Sprintf(`mov.b64 %%q0, map0;
				cvta.param.u64 %%q0, %%q0;
				mov.u32 %%r8, buf;
				@%%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%r9], %d;
				@%%p7 cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%%r8], [%%q0, {0, 0, 0, 0, 0}], [%%r9];
				`, len(five)) + waitBar + dump(len(five)),
		},
		{
			covers: []string{"stmatrix.sync.aligned.m8n8.x1.trans.shared::cta.b16"}, in: [][]byte{u32s(32, func(i int) uint32 { return uint32(2*i) | uint32(2*i+1)<<16 })},
			local: ".shared .align 16 .b8 buf[128];", elem: ptx.U16,
			want: func() []byte {
				b := make([]byte, 128)
				for i := range 32 {
					for e := range 2 { // row i/4, column 2(i%4)+e of what the lanes hold, across
						le.PutUint16(b[2*(8*(2*(i%4)+e)+i/4):], uint16(2*i+e))
					}
				}
				return b
			}(),
			body: `mad.wide.u32 %q0, %t, 4, %in0;
				ld.global.u32 %r1, [%q0];
				mov.u32 %r8, buf;
				and.b32 %r2, %t, 7;
				mad.lo.u32 %r3, %r2, 16, %r8;
				stmatrix.sync.aligned.m8n8.x1.trans.shared::cta.b16 [%r3], {%r1};
				bar.sync 0;
				` + dump(128),
		},
	}
}
