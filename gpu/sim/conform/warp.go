package conform

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// fileName is a form's name as a file: no colons.
func fileName(form string) string { return strings.ReplaceAll(form, "::", "-") }

// hand is a case whose kernel is written out. The body has registers %t (thread
// in the block), %lane, %out, %in0… (addresses), %me (out + 4*%t), and
// temporaries %r0…, %q0…, %h0…, %p0….
type hand struct {
	name   string // of the file; Covers when empty
	covers []string
	arch   string
	isa    string // .version, where the usual one is too old
	block  int
	grid   int
	shared int
	in     [][]byte
	maps   []Map
	out    []byte // before the launch; or outLen zeros
	outLen int
	elem   ptx.Type
	tol    float64
	any    bool
	decl   string // module scope
	local  string // declarations in the body
	attr   string // performance directives
	body   string
	want   []byte
}

func (h hand) build() *Case {
	if h.name == "" {
		h.name = fileName(h.covers[0])
	}
	if h.arch == "" {
		h.arch = "sm_80"
	}
	if h.block == 0 {
		h.block = 32
	}
	if h.out == nil {
		h.out = make([]byte, max(h.outLen, len(h.want)))
	}
	if h.elem == ptx.NoType {
		h.elem = ptx.U32
	}
	c := &Case{
		Name: h.name, Covers: h.covers, Arch: h.arch, Grid: sim.Dim{X: max(h.grid, 1)}, Block: sim.Dim{X: h.block}, Shared: h.shared,
		Inputs: h.in, Maps: h.maps, Out: h.out, Want: h.want, Elem: h.elem, RelTol: h.tol, Anywhen: h.any,
	}
	sources[h.name] = func() string {
		var b strings.Builder
		b.WriteString(head(h.arch, h.isa))
		if h.decl != "" {
			b.WriteString(h.decl + "\n\n")
		}
		b.WriteString(".visible .entry t(\n\t.param .u64 out")
		for i := range h.in {
			fmt.Fprintf(&b, ",\n\t.param .u64 in%d", i)
		}
		for i := range h.maps {
			fmt.Fprintf(&b, ",\n\t.param .align 64 .b8 map%d[128]", i)
		}
		b.WriteString(")\n")
		if h.attr != "" {
			b.WriteString(h.attr + "\n")
		}
		b.WriteString("{\n\t.reg .pred %p<8>;\n\t.reg .b16 %h<16>;\n\t.reg .b32 %r<40>, %t, %lane;\n\t.reg .b64 %q<20>, %out, %me, %in<4>;\n")
		if h.local != "" {
			b.WriteString(indent(h.local))
		}
		b.WriteString("\tld.param.u64 %out, [out];\n\tmov.u32 %t, %tid.x;\n\tmov.u32 %lane, %laneid;\n\tmad.wide.u32 %me, %t, 4, %out;\n")
		for i := range h.in {
			fmt.Fprintf(&b, "\tld.param.u64 %%in%d, [in%d];\n", i, i)
		}
		b.WriteString(indent(h.body))
		b.WriteString("\tret;\n}\n")
		return b.String()
	}
	return c
}

func indent(s string) string {
	var b strings.Builder
	for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
		l = strings.TrimSpace(l)
		if !strings.HasSuffix(l, ":") {
			b.WriteByte('\t')
		}
		b.WriteString(l + "\n")
	}
	return b.String()
}

// u32s and friends make buffers.
func u32s(n int, f func(i int) uint32) []byte {
	var b []byte
	for i := range n {
		b = le.AppendUint32(b, f(i))
	}
	return b
}

func randomBytes(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 3))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func warpCases() []*Case {
	var hs []hand
	hs = append(hs, loadStoreForms()...)
	hs = append(hs, smallForms()...)
	hs = append(hs, shuffleForms()...)
	hs = append(hs, barrierForms()...)
	hs = append(hs, atomicForms()...)
	hs = append(hs, copyForms()...)
	hs = append(hs, matrixForms()...)
	hs = append(hs, mmaForms()...)
	hs = append(append(hs, productForms()...), wmmaForms()...)
	hs = append(hs, hintForms()...)
	var cs []*Case
	for _, h := range hs {
		cs = append(cs, h.build())
	}
	return cs
}

// loadStoreForms: every lane moves its elements from an input to the output,
// through shared or local memory where the form says so.
func loadStoreForms() []hand {
	var hs []hand
	suffix := func(n int) string {
		if n == 1 {
			return ""
		}
		return fmt.Sprintf(".v%d", n)
	}
	for _, t := range []ptx.Type{ptx.U8, ptx.S8, ptx.U16, ptx.S16, ptx.B16, ptx.U32, ptx.S32, ptx.B32, ptx.F32, ptx.U64, ptx.S64, ptx.B64, ptx.F64} {
		for _, n := range []int{1, 2, 4} {
			size := t.Bits() / 8 * n
			if size > 16 {
				continue
			}
			reg := map[int]string{8: "%h", 16: "%h", 32: "%r", 64: "%q1"}[t.Bits()]
			var regs []string
			for i := range n {
				regs = append(regs, fmt.Sprintf("%s%d", reg, i+1))
			}
			list := strings.Join(regs, ", ")
			if n > 1 {
				list = "{" + list + "}"
			}
			form := suffix(n) + "." + t.String()
			in := randomBytes(32*size, uint64(size))
			src := fmt.Sprintf("mad.wide.u32 %%q0, %%t, %d, %%in0;\n", size)
			dst := fmt.Sprintf("mad.wide.u32 %%q0, %%t, %d, %%out;\n", size)
			for _, ld := range []string{"ld.global", "ld.global.nc", "ld.volatile.global", "ld"} {
				if ld == "ld.volatile.global" && n > 1 || ld == "ld" && t != ptx.U32 && t != ptx.F32 && t != ptx.U64 {
					continue
				}
				st := map[string]string{"ld.volatile.global": "st.volatile.global", "ld": "st"}[ld]
				if st == "" {
					st = "st.global"
				}
				covers := []string{ld + form}
				if ld != "ld.global.nc" {
					covers = append(covers, st+form)
				}
				hs = append(hs, hand{
					covers: covers, in: [][]byte{in}, want: in, elem: ptx.U8,
					body: src + ld + form + " " + list + ", [%q0];\n" + dst + st + form + " [%q0], " + list + ";",
				})
			}
			for _, space := range []string{"shared", "local"} {
				if space == "local" && (t != ptx.U32 && t != ptx.U64 && t != ptx.F32) {
					continue
				}
				// in reverse: lane 31-t reads what lane t wrote
				body := src + "ld.global" + form + " " + list + ", [%q0];\n"
				want := in
				decl := fmt.Sprintf(".%s .align 16 .b8 buf[%d];", space, 32*size)
				if space == "shared" {
					want = nil
					for i := 31; i >= 0; i-- {
						want = append(want, in[i*size:(i+1)*size]...)
					}
					body += fmt.Sprintf("mov.u32 %%r10, buf;\nmad.lo.u32 %%r11, %%t, %d, %%r10;\nst.shared%s [%%r11], %s;\nbar.sync 0;\n", size, form, list)
					body += fmt.Sprintf("sub.u32 %%r12, 31, %%t;\nmad.lo.u32 %%r11, %%r12, %d, %%r10;\nld.shared%s %s, [%%r11];\n", size, form, list)
				} else {
					body += fmt.Sprintf("mov.u64 %%q10, buf;\nmad.wide.u32 %%q10, %%t, %d, %%q10;\nst.local%s [%%q10], %s;\nld.local%s %s, [%%q10];\n", size, form, list, form, list)
				}
				hs = append(hs, hand{
					name: fileName("ld." + space + form), covers: []string{"ld." + space + form, "st." + space + form},
					in: [][]byte{in}, want: want, elem: ptx.U8, local: decl,
					body: body + dst + "st.global" + form + " [%q0], " + list + ";",
				})
			}
		}
	}
	wide := make([]byte, 0, 32*8)
	narrow := randomBytes(32*4, 8)
	for i := range 32 {
		wide = le.AppendUint64(wide, uint64(int64(int8(narrow[4*i])))+uint64(le.Uint16(narrow[4*i+2:])))
	}
	hs = append(hs, hand{ // narrow loads extend to 64-bit registers
		name: "ld.widening", covers: []string{"ld.global.s8", "ld.global.u16"}, in: [][]byte{narrow}, want: wide, elem: ptx.U64,
		body: "mad.wide.u32 %q0, %t, 4, %in0;\nld.global.s8 %q1, [%q0];\nld.global.u16 %q2, [%q0+2];\nadd.s64 %q1, %q1, %q2;\nmad.wide.u32 %q3, %t, 8, %out;\nst.global.u64 [%q3], %q1;",
	})
	for _, m := range []string{"ld.relaxed.gpu.global.u32", "ld.acquire.gpu.global.u32"} {
		st := strings.Replace(strings.Replace(m, "ld.", "st.", 1), "acquire", "release", 1)
		in := randomBytes(128, 5)
		hs = append(hs, hand{
			covers: []string{m, st}, in: [][]byte{in}, want: in,
			body: "mad.wide.u32 %q0, %t, 4, %in0;\n" + m + " %r0, [%q0];\n" + st + " [%me], %r0;",
		})
	}
	return hs
}

// smallForms: parameters, special registers, packing, selection, predicates,
// branches, fences.
func smallForms() []hand {
	lane := func(f func(i int) uint32) []byte { return u32s(32, f) }
	in := u32s(32, func(i int) uint32 { return uint32(i*i*2654435761 + 12345) })
	at := func(i int) uint32 { return le.Uint32(in[4*i:]) }
	load := "mad.wide.u32 %q0, %t, 4, %in0;\nld.global.u32 %r0, [%q0];\n"
	hs := []hand{
		{
			covers: []string{"ld.param.s32", "ld.param.u64", "ld.param.u32", "ld.param.b32", "ld.param.f32", "ld.param.b64", "mov.b64", "cvta.param.u64", "ld.u64"}, name: "ld.param", arch: "sm_90a", // cvta.param wants a later .version
			in: [][]byte{in}, want: lane(func(int) uint32 { return 7 }),
			body: `ld.param.u64 %q0, [in0];
				ld.param.u32 %r0, [in0];
				ld.param.b32 %r1, [in0+4];
				ld.param.f32 %r2, [in0+4];
				ld.param.b64 %q1, [in0];
				cvt.u32.u64 %r3, %q0;
				shr.u64 %q2, %q0, 32;
				cvt.u32.u64 %r4, %q2;
				mov.b64 %q4, in0;
				cvta.param.u64 %q5, %q4;
				ld.u64 %q6, [%q5];
				ld.param.s32 %q7, [in0];
				cvt.s64.s32 %q8, %r0;
				xor.b64 %q7, %q7, %q8;
				or.b64 %q6, %q6, %q7;
				setp.eq.u32 %p0, %r0, %r3;
				setp.eq.u32 %p1, %r1, %r4;
				setp.eq.u32 %p2, %r2, %r4;
				setp.eq.u64 %p3, %q1, %q0;
				setp.eq.u64 %p4, %q6, %q0;
				and.pred %p0, %p0, %p3;
				and.pred %p1, %p1, %p4;
				selp.u32 %r5, 1, 0, %p0;
				selp.u32 %r6, 2, 0, %p1;
				selp.u32 %r7, 4, 0, %p2;
				add.u32 %r5, %r5, %r6;
				add.u32 %r5, %r5, %r7;
				st.global.u32 [%me], %r5;`,
		},
		{
			covers: []string{"cvta.to.global.u64", "cvta.shared.u64", "cvta.to.shared.u64", "isspacep.shared", "isspacep.global", "ld.shared.u32", "st.u32"}, name: "cvta",
			in: [][]byte{in}, local: ".shared .align 4 .b8 buf[128];",
			want: lane(func(i int) uint32 { return at(i) + 3 }),
			body: `cvta.to.global.u64 %q1, %in0;
				mad.wide.u32 %q0, %t, 4, %q1;
				ld.global.u32 %r0, [%q0];
				mov.u64 %q2, buf;
				cvta.shared.u64 %q3, %q2;
				mad.wide.u32 %q4, %t, 4, %q3;
				st.u32 [%q4], %r0;
				cvta.to.shared.u64 %q5, %q4;
				cvt.u32.u64 %r1, %q5;
				ld.shared.u32 %r2, [%r1];
				isspacep.shared %p0, %q4;
				isspacep.global %p1, %q0;
				selp.u32 %r3, 1, 0, %p0;
				selp.u32 %r4, 2, 0, %p1;
				add.u32 %r2, %r2, %r3;
				add.u32 %r2, %r2, %r4;
				st.global.u32 [%me], %r2;`,
		},
		{
			covers: []string{"ld.const.u32", "ld.const.v2.u32"}, decl: ".const .align 8 .u32 table[34] = {5, 7, 11, 13, 17};\n.global .align 4 .u32 counter = 3;",
			want: lane(func(i int) uint32 {
				c := []uint32{5, 7, 11, 13, 17}
				v := func(k int) uint32 {
					if k < 5 {
						return c[k]
					}
					return 0
				}
				return v(i) + v(i&^1)*v(i|1) + 3
			}),
			body: `mov.u64 %q0, table;
				mad.wide.u32 %q1, %t, 4, %q0;
				ld.const.u32 %r0, [%q1];
				and.b32 %r1, %t, 30;
				mad.wide.u32 %q1, %r1, 4, %q0;
				ld.const.v2.u32 {%r2, %r3}, [%q1];
				mad.lo.u32 %r0, %r2, %r3, %r0;
				ld.global.u32 %r4, [counter];
				add.u32 %r0, %r0, %r4;
				st.global.u32 [%me], %r0;`,
		},
		{
			covers: []string{"bfi.b32"}, in: [][]byte{in},
			want: lane(func(i int) uint32 {
				r := at(31 - i)
				for k := range 13 { // bit by bit
					if p := i + k; p < 32 {
						r = r&^(1<<p) | at(i)>>k&1<<p
					}
				}
				return r
			}),
			body: load + `sub.u32 %r1, 31, %t;
				mad.wide.u32 %q0, %r1, 4, %in0;
				ld.global.u32 %r2, [%q0];
				bfi.b32 %r3, %r0, %r2, %t, 13;
				st.global.u32 [%me], %r3;`,
		},
		{
			covers: []string{"lop3.b32"}, in: [][]byte{in},
			want: lane(func(i int) uint32 { return (at(i) & uint32(i)) ^ ^uint32(0x5555aaaa) }),
			body: load + "lop3.b32 %r3, %r0, %t, 0x5555aaaa, 149;\nst.global.u32 [%me], %r3;", // ~((a&b)^c)
		},
		{
			covers: []string{"selp.b32", "selp.u16", "selp.b64", "selp.f64", "selp.f32", "selp.s32", "selp.u32"}, name: "selp", in: [][]byte{in},
			want: lane(func(i int) uint32 {
				if i&1 == 1 {
					return at(i)&0xffff + 3*at(i)
				}
				return 77 + 3*uint32(i)
			}),
			body: load + `and.b32 %r1, %t, 1;
				setp.ne.u32 %p0, %r1, 0;
				cvt.u16.u32 %h0, %r0;
				selp.u16 %h1, %h0, 77, %p0;
				cvt.u32.u16 %r2, %h1;
				selp.b32 %r3, %r0, %t, %p0;
				cvt.u64.u32 %q1, %r0;
				cvt.u64.u32 %q2, %t;
				selp.b64 %q3, %q1, %q2, %p0;
				selp.f64 %q3, %q3, %q2, %p0;
				cvt.u32.u64 %r4, %q3;
				selp.f32 %r5, %r0, %t, %p0;
				selp.s32 %r6, %r5, %r5, !%p0;
				selp.u32 %r6, %r6, %r0, %p0;
				selp.u32 %r6, %r6, %r5, %p0;
				add.u32 %r2, %r2, %r3;
				add.u32 %r2, %r2, %r4;
				add.u32 %r2, %r2, %r6;
				st.global.u32 [%me], %r2;`,
		},
		{
			covers: []string{"and.pred", "or.pred", "xor.pred", "not.pred", "mov.pred", "setp.lt.and.u32", "setp.gt.or.u32", "setp.eq.xor.u32"}, name: "predicates",
			want: lane(func(i int) uint32 {
				a, b, c := i&1 != 0, i&2 != 0, i&4 != 0
				r := uint32(0)
				for k, v := range []bool{a && b, a || !b, a != b, !c, c, i < 9 && a, i > 20 || b, (i == 5) != c, i >= 9 && a, true, false} {
					if v {
						r |= 1 << k
					}
				}
				return r
			}),
			body: `and.b32 %r0, %t, 1;
				setp.ne.u32 %p0, %r0, 0;
				and.b32 %r0, %t, 2;
				setp.ne.u32 %p1, %r0, 0;
				and.b32 %r0, %t, 4;
				setp.ne.u32 %p2, %r0, 0;
				mov.u32 %r1, 0;
				and.pred %p3, %p0, %p1;
				@%p3 or.b32 %r1, %r1, 1;
				or.pred %p3, %p0, !%p1;
				@%p3 or.b32 %r1, %r1, 2;
				xor.pred %p3, %p0, %p1;
				@%p3 or.b32 %r1, %r1, 4;
				not.pred %p3, %p2;
				@%p3 or.b32 %r1, %r1, 8;
				mov.pred %p4, %p2;
				@%p4 or.b32 %r1, %r1, 16;
				setp.lt.and.u32 %p3|%p5, %t, 9, %p0;
				@%p3 or.b32 %r1, %r1, 32;
				@%p5 or.b32 %r1, %r1, 256;
				setp.gt.or.u32 %p3, %t, 20, %p1;
				@%p3 or.b32 %r1, %r1, 64;
				setp.eq.xor.u32 %p3, %t, 5, %p2;
				@%p3 or.b32 %r1, %r1, 128;
				mov.pred %p4, -1;
				@%p4 or.b32 %r1, %r1, 512;
				mov.pred %p4, 0;
				@%p4 or.b32 %r1, %r1, 1024;
				st.global.u32 [%me], %r1;`,
		},
		{ // lane t goes round t times; odd lanes leave early
			covers: []string{"bra", "bra.uni", "ret"}, name: "bra",
			want: lane(func(i int) uint32 {
				if i&1 == 1 {
					return uint32(1000 + i)
				}
				return uint32(i * (i + 1) / 2)
			}),
			body: `and.b32 %r0, %t, 1;
				setp.ne.u32 %p0, %r0, 0;
				@%p0 bra ODD;
				mov.u32 %r1, 0;
				mov.u32 %r2, %t;
				LOOP:
				setp.eq.u32 %p1, %r2, 0;
				@%p1 bra DONE;
				add.u32 %r1, %r1, %r2;
				sub.u32 %r2, %r2, 1;
				bra.uni LOOP;
				ODD:
				add.u32 %r1, %t, 1000;
				st.global.u32 [%me], %r1;
				ret;
				DONE:
				st.global.u32 [%me], %r1;`,
		},
		{
			covers: []string{"exit", "nanosleep.u32", "membar.gl", "membar.cta", "membar.sys", "fence.acq_rel.gpu", "fence.sc.gpu", "fence.acq_rel.cta", "prefetch.global.L2", "prefetch.global.L1"}, name: "fences",
			want: lane(func(i int) uint32 { return uint32(i) }),
			body: `membar.gl;
				membar.cta;
				membar.sys;
				fence.acq_rel.gpu;
				fence.sc.gpu;
				fence.acq_rel.cta;
				nanosleep.u32 20;
				prefetch.global.L2 [%out];
				prefetch.global.L1 [%out];
				st.global.u32 [%me], %t;
				exit;`,
		},
		{
			covers: []string{"mov.b32", "mov.b64", "mov.f32"}, name: "mov.vectors", in: [][]byte{in},
			want: lane(func(i int) uint32 {
				return bits.RotateLeft32(at(i), 16) ^ at(i) ^ (at(i)>>16 | at(i)<<16&0xffff0000) ^ 0x3f800000
			}),
			body: load + `mov.b32 {%h0, %h1}, %r0;
				mov.b32 %r1, {%h1, %h0};
				mov.b64 %q1, {%r0, %r1};
				mov.b64 {%r2, %r3}, %q1;
				mov.b64 {%h2, %h3, %h4, %h5}, %q1;
				mov.b64 %q2, {%h4, %h5, %h2, %h3};
				mov.b64 {%r4, %r5}, %q2;
				mov.f32 %r6, 0f3F800000;
				xor.b32 %r7, %r3, %r5;
				xor.b32 %r7, %r7, %r4;
				xor.b32 %r7, %r7, %r6;
				st.global.u32 [%me], %r7;`,
		},
	}
	// Special registers: one block of 8x2x2 threads in a grid of 3.
	regs := []struct {
		name string
		want func(block, t int) uint32
	}{
		{"tid.x", func(_, t int) uint32 { return uint32(t) }},
		{"tid.y", func(int, int) uint32 { return 0 }},
		{"tid.z", func(int, int) uint32 { return 0 }},
		{"ntid.x", func(int, int) uint32 { return 64 }},
		{"ntid.y", func(int, int) uint32 { return 1 }},
		{"ntid.z", func(int, int) uint32 { return 1 }},
		{"ctaid.x", func(b, _ int) uint32 { return uint32(b) }},
		{"ctaid.y", func(int, int) uint32 { return 0 }},
		{"ctaid.z", func(int, int) uint32 { return 0 }},
		{"nctaid.x", func(int, int) uint32 { return 3 }},
		{"nctaid.y", func(int, int) uint32 { return 1 }},
		{"nctaid.z", func(int, int) uint32 { return 1 }},
		{"laneid", func(_, t int) uint32 { return uint32(t % 32) }},
		{"lanemask_eq", func(_, t int) uint32 { return 1 << (t % 32) }},
		{"lanemask_lt", func(_, t int) uint32 { return 1<<(t%32) - 1 }},
		{"lanemask_le", func(_, t int) uint32 { return uint32(uint64(2)<<(t%32) - 1) }},
		{"lanemask_gt", func(_, t int) uint32 { return ^uint32(uint64(2)<<(t%32) - 1) }},
		{"lanemask_ge", func(_, t int) uint32 { return ^uint32(uint64(1)<<(t%32) - 1) }},
	}
	var body strings.Builder
	var want []byte
	n := len(regs)
	fmt.Fprintf(&body, "mov.u32 %%r1, %%ctaid.x;\nmad.lo.u32 %%r2, %%r1, 64, %%t;\nmad.wide.u32 %%q0, %%r2, %d, %%out;\n", 4*n)
	for i, r := range regs {
		fmt.Fprintf(&body, "mov.u32 %%r0, %%%s;\nst.global.u32 [%%q0+%d], %%r0;\n", r.name, 4*i)
	}
	for b := range 3 {
		for t := range 64 {
			for _, r := range regs {
				want = le.AppendUint32(want, r.want(b, t))
			}
		}
	}
	hs = append(hs, hand{name: "special", covers: []string{"mov.u32"}, grid: 3, block: 64, body: body.String(), want: want})
	return hs
}

// shuffleForms: shfl, vote, match, redux, activemask.
func shuffleForms() []hand {
	in := u32s(32, func(i int) uint32 { return uint32(i*i*40503 + 7) })
	at := func(i int) uint32 { return le.Uint32(in[4*i:]) }
	load := "mad.wide.u32 %q0, %t, 4, %in0;\nld.global.u32 %r0, [%q0];\n"
	var hs []hand
	for _, m := range []struct {
		mode string
		// source lane for lane i, operand b, segments of width w; ok as the ISA has it
		from func(i, b, w int) (int, bool)
		c    func(w int) int
	}{
		{"up", func(i, b, w int) (int, bool) { return i - b, i%w >= b }, func(w int) int { return (32 - w) << 8 }},
		{"down", func(i, b, w int) (int, bool) { return i + b, i%w+b < w }, func(w int) int { return (32-w)<<8 | 31 }},
		{"bfly", func(i, b, w int) (int, bool) { return i ^ b, (i^b)/w == i/w }, func(w int) int { return (32-w)<<8 | 31 }},
		{"idx", func(i, b, w int) (int, bool) { return i/w*w + b%w, true }, func(w int) int { return (32-w)<<8 | 31 }},
	} {
		var body strings.Builder
		var want []byte
		steps := [][2]int{{1, 32}, {3, 8}, {16, 32}, {5, 16}, {0, 4}}
		body.WriteString(load + fmt.Sprintf("mad.wide.u32 %%q1, %%t, %d, %%out;\n", 8*len(steps)))
		for k, s := range steps {
			fmt.Fprintf(&body, "shfl.sync.%s.b32 %%r1|%%p0, %%r0, %d, %d, 0xffffffff;\nselp.u32 %%r2, 1, 0, %%p0;\nst.global.v2.u32 [%%q1+%d], {%%r1, %%r2};\n",
				m.mode, s[0], m.c(s[1]), 8*k)
		}
		for i := range 32 {
			for _, s := range steps {
				j, ok := m.from(i, s[0], s[1])
				v, p := at(i), uint32(0)
				if ok {
					v, p = at(j), 1
				}
				want = le.AppendUint32(le.AppendUint32(want, v), p)
			}
		}
		hs = append(hs, hand{covers: []string{"shfl.sync." + m.mode + ".b32"}, in: [][]byte{in}, body: body.String(), want: want})
	}
	odd := "and.b32 %r1, %r0, 4;\nsetp.ne.u32 %p0, %r1, 0;\n"
	var ballot uint32
	for i := range 32 {
		ballot |= at(i) >> 2 & 1 << i
	}
	flags := func(all, anyOf, uni bool) uint32 {
		r := uint32(0)
		for k, v := range []bool{all, anyOf, uni} {
			if v {
				r |= 1 << k
			}
		}
		return r
	}
	hs = append(hs, hand{
		covers: []string{"vote.sync.ballot.b32"}, in: [][]byte{in}, want: u32s(32, func(int) uint32 { return ballot }),
		body: load + odd + "vote.sync.ballot.b32 %r2, %p0, 0xffffffff;\nst.global.u32 [%me], %r2;",
	}, hand{
		covers: []string{"vote.sync.all.pred", "vote.sync.any.pred", "vote.sync.uni.pred"}, name: "vote", in: [][]byte{in},
		want: u32s(32, func(int) uint32 { return flags(false, true, false) | flags(true, true, true)<<4 }),
		body: load + odd + `vote.sync.all.pred %p1, %p0, 0xffffffff;
			vote.sync.any.pred %p2, %p0, 0xffffffff;
			vote.sync.uni.pred %p3, %p0, 0xffffffff;
			setp.lt.u32 %p4, %t, 32;
			mov.u32 %r2, 0;
			@%p1 or.b32 %r2, %r2, 1;
			@%p2 or.b32 %r2, %r2, 2;
			@%p3 or.b32 %r2, %r2, 4;
			vote.sync.all.pred %p1, %p4, 0xffffffff;
			vote.sync.any.pred %p2, %p4, 0xffffffff;
			vote.sync.uni.pred %p3, %p4, 0xffffffff;
			@%p1 or.b32 %r2, %r2, 16;
			@%p2 or.b32 %r2, %r2, 32;
			@%p3 or.b32 %r2, %r2, 64;
			st.global.u32 [%me], %r2;`,
	}, hand{
		covers: []string{"match.any.sync.b32"}, in: [][]byte{in},
		want: u32s(32, func(i int) uint32 {
			r := uint32(0)
			for j := range 32 {
				if at(j)&7 == at(i)&7 {
					r |= 1 << j
				}
			}
			return r
		}),
		body: load + "and.b32 %r1, %r0, 7;\nmatch.any.sync.b32 %r2, %r1, 0xffffffff;\nst.global.u32 [%me], %r2;",
	}, hand{ // half the warp diverges and is active alone
		covers: []string{"activemask.b32"},
		want: u32s(32, func(i int) uint32 {
			if i < 16 {
				return 0xffff
			}
			return 0
		}),
		body: "setp.ge.u32 %p0, %t, 16;\n@%p0 bra OUT;\nactivemask.b32 %r0;\nst.global.u32 [%me], %r0;\nOUT:",
	}, hand{
		covers: []string{"elect.sync"}, arch: "sm_90a",
		want: u32s(32, func(i int) uint32 {
			if i == 0 {
				return 100
			}
			return 0
		}),
		body: "elect.sync %r0|%p0, 0xffffffff;\nadd.u32 %r1, %r0, 100;\nselp.u32 %r1, %r1, 0, %p0;\nst.global.u32 [%me], %r1;",
	})
	for _, op := range []string{"add.u32", "add.s32", "min.u32", "min.s32", "max.u32", "max.s32", "and.b32", "or.b32", "xor.b32"} {
		acc := at(0)
		for i := 1; i < 32; i++ {
			v := at(i)
			switch op {
			case "add.u32", "add.s32":
				acc += v
			case "min.u32":
				acc = min(acc, v)
			case "max.u32":
				acc = max(acc, v)
			case "min.s32":
				acc = uint32(min(int32(acc), int32(v)))
			case "max.s32":
				acc = uint32(max(int32(acc), int32(v)))
			case "and.b32":
				acc &= v
			case "or.b32":
				acc |= v
			default:
				acc ^= v
			}
		}
		hs = append(hs, hand{
			covers: []string{"redux.sync." + op}, in: [][]byte{in}, want: u32s(32, func(int) uint32 { return acc }),
			body: load + "redux.sync." + op + " %r1, %r0, 0xffffffff;\nst.global.u32 [%me], %r1;",
		})
	}
	return hs
}

// barrierForms: values cross warps through shared memory.
func barrierForms() []hand {
	exchange := `mov.u32 %r0, buf;
		mad.lo.u32 %r1, %t, 4, %r0;
		mul.lo.u32 %r2, %t, 3;
		st.shared.u32 [%r1], %r2;
		BARRIER
		xor.b32 %r3, %t, 96;
		mad.lo.u32 %r1, %r3, 4, %r0;
		ld.shared.u32 %r4, [%r1];
		st.global.u32 [%me], %r4;`
	want := u32s(128, func(i int) uint32 { return uint32(i^96) * 3 })
	buf := ".shared .align 4 .b8 buf[512];"
	with := func(s string) string { return strings.Replace(exchange, "BARRIER", s, 1) }
	count := uint32(0)
	for i := range 128 {
		if i%5 == 0 {
			count++
		}
	}
	return []hand{
		{covers: []string{"bar.sync"}, block: 128, local: buf, body: with("bar.sync 3;"), want: want},
		{covers: []string{"barrier.sync"}, block: 128, local: buf, body: with("barrier.sync 2, 128;"), want: want},
		{ // warps 2 and 3 produce, 0 and 1 consume
			covers: []string{"bar.arrive"}, block: 128, local: buf,
			body: `mov.u32 %r0, buf;
				mad.lo.u32 %r1, %t, 4, %r0;
				setp.lt.u32 %p0, %t, 64;
				@%p0 bra CONSUME;
				st.shared.u32 [%r1], %t;
				bar.arrive 1, 128;
				mov.u32 %r4, 9;
				bra.uni DONE;
				CONSUME:
				bar.sync 1, 128;
				ld.shared.u32 %r4, [%r1+256];
				DONE:
				st.global.u32 [%me], %r4;`,
			want: u32s(128, func(i int) uint32 {
				if i < 64 {
					return uint32(i + 64)
				}
				return 9
			}),
		},
		{
			covers: []string{"bar.red.popc.u32", "bar.red.and.pred", "bar.red.or.pred"}, name: "bar.red", block: 128,
			body: `rem.u32 %r0, %t, 5;
				setp.eq.u32 %p0, %r0, 0;
				bar.red.popc.u32 %r1, 1, %p0;
				bar.red.and.pred %p1, 1, %p0;
				bar.red.or.pred %p2, 1, 128, !%p0;
				@%p1 add.u32 %r1, %r1, 1000;
				@%p2 add.u32 %r1, %r1, 2000;
				st.global.u32 [%me], %r1;`,
			want: u32s(128, func(int) uint32 { return count + 2000 }),
		},
		{
			covers: []string{"bar.warp.sync"}, local: buf,
			body: `mov.u32 %r0, buf;
				mad.lo.u32 %r1, %t, 4, %r0;
				st.shared.u32 [%r1], %t;
				bar.warp.sync 0xffffffff;
				xor.b32 %r3, %t, 5;
				mad.lo.u32 %r1, %r3, 4, %r0;
				ld.shared.u32 %r4, [%r1];
				st.global.u32 [%me], %r4;`,
			want: u32s(32, func(i int) uint32 { return uint32(i ^ 5) }),
		},
	}
}

// atomicForms: 64 threads work on one word; old values come out in any order,
// the final one is fixed.
func atomicForms() []hand {
	var hs []hand
	for _, space := range []string{"global", "shared"} {
		for _, op := range []struct {
			form  string
			start uint32
			arg   string
			step  func(old uint32, t int) uint32
		}{
			{"add.u32", 5, "add.u32 %r1, %t, 1;", func(o uint32, t int) uint32 { return o + uint32(t) + 1 }},
			{"add.s32", 5, "add.u32 %r1, %t, 1;", func(o uint32, t int) uint32 { return o + uint32(t) + 1 }},
			{"add.f32", math.Float32bits(2), "cvt.rn.f32.u32 %r1, %t;", func(o uint32, t int) uint32 {
				return math.Float32bits(math.Float32frombits(o) + float32(t))
			}},
			{"min.s32", 1000, "sub.s32 %r1, 20, %t;", func(o uint32, t int) uint32 { return uint32(min(int32(o), int32(20-t))) }},
			{"max.s32", 0xffffff00, "sub.s32 %r1, 20, %t;", func(o uint32, t int) uint32 { return uint32(max(int32(o), int32(20-t))) }},
			{"min.u32", 1000, "add.u32 %r1, %t, 30;", func(o uint32, t int) uint32 { return min(o, uint32(t+30)) }},
			{"max.u32", 40, "add.u32 %r1, %t, 30;", func(o uint32, t int) uint32 { return max(o, uint32(t+30)) }},
			{"and.b32", 0xffffffff, "or.b32 %r1, %t, 0xf0;", func(o uint32, t int) uint32 { return o & uint32(t|0xf0) }},
			{"or.b32", 0, "shl.b32 %r1, 1, %t;", func(o uint32, t int) uint32 { return o | uint32(uint64(1)<<t) }},
			{"xor.b32", 99, "mul.lo.u32 %r1, %t, 77;", func(o uint32, t int) uint32 { return o ^ uint32(t*77) }},
			{"inc.u32", 3, "mov.u32 %r1, 40;", func(o uint32, _ int) uint32 {
				if o >= 40 {
					return 0
				}
				return o + 1
			}},
			{"dec.u32", 3, "mov.u32 %r1, 40;", func(o uint32, _ int) uint32 {
				if o == 0 || o > 40 {
					return 40
				}
				return o - 1
			}},
		} {
			final := op.start
			for t := range 64 {
				final = op.step(final, t)
			}
			addr, before, after := "%out", "", "ld.global.u32 %r3, [%out];\n"
			out := u32s(64, func(i int) uint32 { return op.start })
			if space == "shared" {
				addr = "%r9"
				before = "mov.u32 %r9, buf;\nld.global.u32 %r8, [%out];\nsetp.eq.u32 %p7, %t, 0;\n@%p7 st.shared.u32 [%r9], %r8;\nbar.sync 0;\n"
				after = "ld.shared.u32 %r3, [%r9];\n"
			}
			red := "red." + space + "." + op.form
			hs = append(hs, hand{
				covers: []string{red}, block: 64, local: ".shared .align 4 .b8 buf[4];", out: out,
				body: before + op.arg + "\n" + red + " [" + addr + "], %r1;\nbar.sync 0;\n" + after + "bar.sync 0;\nst.global.u32 [%me], %r3;",
				want: u32s(64, func(int) uint32 { return final }),
			})
			// The old values: all of them, for operations whose sequence does not
			// depend on order.
			if op.form == "inc.u32" || op.form == "dec.u32" {
				var olds []uint32
				for v, t := op.start, 0; t < 64; t++ {
					olds = append(olds, v)
					v = op.step(v, t)
				}
				atom := "atom." + space + "." + op.form
				hs = append(hs, hand{
					covers: []string{atom}, block: 64, local: ".shared .align 4 .b8 buf[4];", out: u32s(65, func(int) uint32 { return op.start })[:260],
					body: before + op.arg + "\n" + atom + " %r2, [" + addr + "], %r1;\nbar.sync 0;\nst.global.u32 [%me+4], %r2;",
					want: append(slices.Clone(u32s(1, func(int) uint32 {
						if space == "global" {
							return final
						}
						return op.start
					})), u32s(64, func(i int) uint32 { return olds[i] })...), any: true,
				})
			} else {
				atom := "atom." + space + "." + op.form
				hs = append(hs, hand{ // one thread: the old value is fixed
					covers: []string{atom}, block: 32, local: ".shared .align 4 .b8 buf[4];", out: out[:8],
					body: before + op.arg + "\nsetp.eq.u32 %p0, %t, 7;\n@!%p0 bra OUT;\n" + atom + " %r2, [" + addr + "], %r1;\n" + after + "st.global.u32 [%out], %r3;\nst.global.u32 [%out+4], %r2;\nOUT:",
					want: u32s(2, func(i int) uint32 { return []uint32{op.step(op.start, 7), op.start}[i] }),
				})
			}
		}
		hs = append(hs, exchangeForms(space)...)
	}
	return hs
}

func exchangeForms(space string) []hand {
	addr, before, after := "%out", "", "ld.global.u32 %r3, [%out];\n"
	if space == "shared" {
		addr = "%r9"
		before = "mov.u32 %r9, buf;\nld.global.u32 %r8, [%out];\nsetp.eq.u32 %p7, %t, 0;\n@%p7 st.shared.u32 [%r9], %r8;\nbar.sync 0;\n"
		after = "ld.shared.u32 %r3, [%r9];\n"
	}
	return []hand{
		{ // all old values and the last new one are the start and the arguments
			covers: []string{"atom." + space + ".exch.b32"}, block: 64, local: ".shared .align 4 .b8 buf[4];", out: u32s(65, func(int) uint32 { return 500 }),
			body: before + "add.u32 %r1, %t, 1;\natom." + space + ".exch.b32 %r2, [" + addr + "], %r1;\nbar.sync 0;\n" + after +
				"bar.sync 0;\nst.global.u32 [%me+4], %r2;\nsetp.eq.u32 %p6, %t, 0;\n@%p6 st.global.u32 [%out], %r3;",
			want: u32s(65, func(i int) uint32 {
				if i == 0 {
					return 500
				}
				return uint32(i)
			}), any: true,
		},
		{ // a counter by compare and swap; the losers try again
			covers: []string{"atom." + space + ".cas.b32"}, block: 64, local: ".shared .align 4 .b8 buf[4];", out: u32s(1, func(int) uint32 { return 7 }),
			body: before + "mov.u32 %r1, 7;\nTRY:\nadd.u32 %r2, %r1, 3;\natom." + space + ".cas.b32 %r4, [" + addr + "], %r1, %r2;\nsetp.ne.u32 %p0, %r4, %r1;\nmov.u32 %r1, %r4;\n@%p0 bra TRY;\nbar.sync 0;\n" +
				after + "bar.sync 0;\nsetp.eq.u32 %p1, %t, 0;\n@%p1 st.global.u32 [%out], %r3;",
			want: u32s(1, func(int) uint32 { return 7 + 64*3 }),
		},
		{
			covers: []string{"atom." + space + ".add.u64", "atom." + space + ".cas.b64", "atom." + space + ".exch.b64"}, name: "atom." + space + ".64", block: 32,
			local: ".shared .align 8 .b8 buf[8];", in: [][]byte{randomBytes(8, 4)},
			body: `mov.u32 %r9, buf;
				ld.global.u64 %q1, [%in0];
				setp.eq.u32 %p0, %t, 3;
				@!%p0 bra OUT;
				` + map[string]string{"shared": "st.shared.u64 [%r9], %q1;", "global": "st.global.u64 [%out], %q1;"}[space] + `
				mov.u64 %q2, 0x100000001;
				atom.` + space + `.add.u64 %q3, [` + addr + `], %q2;
				add.u64 %q4, %q3, %q2;
				atom.` + space + `.cas.b64 %q5, [` + addr + `], %q4, %q2;
				atom.` + space + `.exch.b64 %q6, [` + addr + `], %q1;
				st.global.u64 [%out+8], %q3;
				st.global.u64 [%out+16], %q5;
				st.global.u64 [%out+24], %q6;
				OUT:`,
			out: make([]byte, 32),
			want: func() []byte {
				v := le.Uint64(randomBytes(8, 4))
				b := le.AppendUint64(nil, map[string]uint64{"shared": 0, "global": v}[space])
				b = le.AppendUint64(b, v)
				b = le.AppendUint64(b, v+0x100000001)
				return le.AppendUint64(b, 0x100000001)
			}(),
		},
	}
}

// copyForms: cp.async, with sources that end early.
func copyForms() []hand {
	var hs []hand
	for _, f := range []struct {
		form string
		size int
	}{{"cp.async.cg.shared.global", 16}, {"cp.async.ca.shared.global", 16}, {"cp.async.ca.shared.global", 8}, {"cp.async.ca.shared.global", 4}} {
		in := randomBytes(32*f.size, uint64(f.size))
		want := slices.Clone(in)
		for i := range 32 { // lane i copies i%(size+1) bytes, the rest is zero
			clear(want[i*f.size+i%(f.size+1) : (i+1)*f.size])
		}
		words := f.size / 4
		var tail strings.Builder
		for w := range words {
			fmt.Fprintf(&tail, "ld.shared.u32 %%r5, [%%r1+%d];\nst.global.u32 [%%q1+%d], %%r5;\n", 4*w, 4*w)
		}
		hs = append(hs, hand{
			name: fmt.Sprintf("%s.%d", f.form, f.size), covers: []string{f.form, "cp.async.commit_group", "cp.async.wait_group"},
			local: ".shared .align 16 .b8 buf[512];", in: [][]byte{in}, want: want, elem: ptx.U8,
			body: fmt.Sprintf(`mov.u32 %%r0, buf;
				mad.lo.u32 %%r1, %%t, %d, %%r0;
				mad.wide.u32 %%q0, %%t, %d, %%in0;
				mad.wide.u32 %%q1, %%t, %d, %%out;
				rem.u32 %%r2, %%t, %d;
				%s [%%r1], [%%q0], %d, %%r2;
				cp.async.commit_group;
				cp.async.commit_group;
				cp.async.wait_group 1;
				`, f.size, f.size, f.size, f.size+1, f.form, f.size) + tail.String(),
		})
	}
	in := randomBytes(512, 9)
	hs = append(hs, hand{
		covers: []string{"cp.async.wait_all"}, local: ".shared .align 16 .b8 buf[512];", in: [][]byte{in}, want: in, elem: ptx.U8,
		body: `mov.u32 %r0, buf;
			mad.lo.u32 %r1, %t, 16, %r0;
			mad.wide.u32 %q0, %t, 16, %in0;
			mad.wide.u32 %q1, %t, 16, %out;
			cp.async.cg.shared.global [%r1], [%q0], 16;
			cp.async.wait_all;
			ld.shared.v4.u32 {%r2, %r3, %r4, %r5}, [%r1];
			st.global.v4.u32 [%q1], {%r2, %r3, %r4, %r5};`,
	}, hand{ // an mbarrier counts the copies' arrivals
		covers: []string{"cp.async.mbarrier.arrive.noinc.shared.b64", "mbarrier.init.shared.b64", "mbarrier.test_wait.shared.b64", "mbarrier.arrive.shared.b64"}, name: "cp.async.mbarrier",
		local: ".shared .align 16 .b8 buf[512];\n.shared .align 8 .b8 bar[8];", in: [][]byte{in}, want: in, elem: ptx.U8,
		body: `mov.u32 %r0, buf;
			mov.u32 %r9, bar;
			setp.eq.u32 %p0, %t, 0;
			@%p0 mbarrier.init.shared.b64 [%r9], 64;
			bar.sync 0;
			mad.lo.u32 %r1, %t, 16, %r0;
			mad.wide.u32 %q0, %t, 16, %in0;
			mad.wide.u32 %q1, %t, 16, %out;
			cp.async.cg.shared.global [%r1], [%q0], 16;
			cp.async.mbarrier.arrive.noinc.shared.b64 [%r9];
			mbarrier.arrive.shared.b64 %q2, [%r9];
			WAIT:
			mbarrier.test_wait.shared.b64 %p1, [%r9], %q2;
			@!%p1 bra WAIT;
			ld.shared.v4.u32 {%r2, %r3, %r4, %r5}, [%r1];
			st.global.v4.u32 [%q1], {%r2, %r3, %r4, %r5};`,
	})
	return hs
}

// matrixForms: ldmatrix, stmatrix and movmatrix on 256 (or fewer) unique values.
func matrixForms() []hand {
	var hs []hand
	values := make([]byte, 512) // 256 halves, the value is the index
	for i := range 256 {
		le.PutUint16(values[2*i:], uint16(i*257+3))
	}
	elem := func(m, row, col int) uint32 { return uint32(le.Uint16(values[2*(64*m+8*row+col):])) }
	for _, n := range []int{1, 2, 4} {
		for _, trans := range []string{"", ".trans"} {
			var regs []string
			for i := range n {
				regs = append(regs, fmt.Sprintf("%%r%d", i+10))
			}
			list := "{" + strings.Join(regs, ", ") + "}"
			fragment := func(i, m int) uint32 {
				a, b := i>>2, 2*(i&3)
				if trans == "" {
					return elem(m, a, b) | elem(m, a, b+1)<<16
				}
				return elem(m, b, a) | elem(m, b+1, a)<<16
			}
			fill := `mov.u32 %r0, buf;
				mad.lo.u32 %r1, %t, 16, %r0;
				mad.wide.u32 %q0, %t, 16, %in0;
				ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%q0];
				st.shared.v4.u32 [%r1], {%r2, %r3, %r4, %r5};
				bar.sync 0;
				`
			var want []byte
			for i := range 32 {
				for m := range n {
					want = le.AppendUint32(want, fragment(i, m))
				}
			}
			var store strings.Builder
			fmt.Fprintf(&store, "mad.wide.u32 %%q1, %%t, %d, %%out;\n", 4*n)
			for m := range n {
				fmt.Fprintf(&store, "st.global.u32 [%%q1+%d], %s;\n", 4*m, regs[m])
			}
			ld := fmt.Sprintf("ldmatrix.sync.aligned.m8n8.x%d%s.shared.b16", n, trans)
			hs = append(hs, hand{
				covers: []string{ld}, local: ".shared .align 16 .b8 buf[512];", in: [][]byte{values}, want: want,
				body: fill + ld + " " + list + ", [%r1];\n" + store.String(),
			})
			// stmatrix writes fragments of unique values; memory must hold the matrix.
			st := fmt.Sprintf("stmatrix.sync.aligned.m8n8.x%d%s.shared.b16", n, trans)
			frags := u32s(32*n, func(k int) uint32 { return fragment(k/n, k%n) })
			var load strings.Builder
			fmt.Fprintf(&load, "mad.wide.u32 %%q1, %%t, %d, %%in0;\n", 4*n)
			for m := range n {
				fmt.Fprintf(&load, "ld.global.u32 %s, [%%q1+%d];\n", regs[m], 4*m)
			}
			hs = append(hs, hand{
				covers: []string{st}, arch: "sm_90a", local: ".shared .align 16 .b8 buf[512];", in: [][]byte{frags}, want: values[:128*n], elem: ptx.U16,
				body: load.String() + "mov.u32 %r0, buf;\nmad.lo.u32 %r1, %t, 16, %r0;\n" + st + " [%r1], " + list + ";\nbar.sync 0;\n" +
					fmt.Sprintf("setp.ge.u32 %%p0, %%t, %d;\n@%%p0 bra OUT;\nmad.wide.u32 %%q0, %%t, 16, %%out;\nld.shared.v4.u32 {%%r2, %%r3, %%r4, %%r5}, [%%r1];\nst.global.v4.u32 [%%q0], {%%r2, %%r3, %%r4, %%r5};\nOUT:", 8*n),
			})
		}
	}
	in := u32s(32, func(i int) uint32 { return uint32(2*i) | uint32(2*i+1)<<16 })
	hs = append(hs, hand{
		covers: []string{"movmatrix.sync.aligned.m8n8.trans.b16"}, in: [][]byte{in}, arch: "sm_90a", // needs a later .version than sm_80's
		want: u32s(32, func(i int) uint32 {
			r, c := i>>2, 2*(i&3)
			return uint32(8*c+r) | uint32(8*(c+1)+r)<<16
		}),
		body: "mad.wide.u32 %q0, %t, 4, %in0;\nld.global.u32 %r0, [%q0];\nmovmatrix.sync.aligned.m8n8.trans.b16 %r1, %r0;\nst.global.u32 [%me], %r1;",
	})
	return hs
}

// encode16 rounds a small whole number to a 16-bit type or tf32.
func encodeElem(t ptx.Type, v int) uint32 {
	switch t {
	case ptx.F16, ptx.BF16:
		return uint32(formats[t].encode(finite(float64(v)), nearestEven))
	default:
		return math.Float32bits(float32(v))
	}
}

// mmaForms: whole numbers, so that any order of sums gives the same bits.
func mmaForms() []hand {
	var hs []hand
	for _, f := range []struct {
		shape string
		t     ptx.Type
		k     int
	}{
		{"m16n8k16", ptx.F16, 16},
		{"m16n8k8", ptx.F16, 8},
		{"m16n8k16", ptx.BF16, 16},
		{"m16n8k8", ptx.BF16, 8},
		{"m16n8k8", ptx.TF32, 8},
		{"m16n8k4", ptx.TF32, 4},
	} {
		r := rand.New(rand.NewPCG(uint64(f.k), uint64(f.t)))
		a, b, c := make([]int, 16*f.k), make([]int, f.k*8), make([]int, 16*8)
		for _, m := range [][]int{a, b, c} {
			for i := range m {
				m[i] = r.IntN(9) - 4
			}
		}
		per := 1 // elements of a register
		if f.t != ptx.TF32 {
			per = 2
		}
		nA, nB := 16*f.k/32/per, 8*f.k/32/per
		var frag, want []byte
		pack := func(get func(e int) int) uint32 {
			v := encodeElem(f.t, get(0))
			if per == 2 {
				v |= encodeElem(f.t, get(1)) << 16
			}
			return v
		}
		for i := range 32 {
			g, t := i/4, i%4
			for q := range nA {
				frag = le.AppendUint32(frag, pack(func(e int) int { return a[(g+8*(q%2))*f.k+per*t+e+4*per*(q/2)] }))
			}
			for q := range nB {
				frag = le.AppendUint32(frag, pack(func(e int) int { return b[(per*t+e+4*per*q)*8+g] }))
			}
			for q := range 4 {
				row, col := g+8*(q/2), 2*t+q%2
				frag = le.AppendUint32(frag, math.Float32bits(float32(c[row*8+col])))
				s := c[row*8+col]
				for k := range f.k {
					s += a[row*f.k+k] * b[k*8+col]
				}
				want = le.AppendUint32(want, math.Float32bits(float32(s)))
			}
		}
		n := nA + nB + 4
		var load strings.Builder
		fmt.Fprintf(&load, "mad.wide.u32 %%q0, %%t, %d, %%in0;\nmad.wide.u32 %%q1, %%t, 16, %%out;\n", 4*n)
		names := func(from, n int) string {
			var s []string
			for i := range n {
				s = append(s, fmt.Sprintf("%%r%d", from+i))
			}
			return "{" + strings.Join(s, ", ") + "}"
		}
		for i := range n {
			fmt.Fprintf(&load, "ld.global.u32 %%r%d, [%%q0+%d];\n", i, 4*i)
		}
		form := fmt.Sprintf("mma.sync.aligned.%s.row.col.f32.%v.%v.f32", f.shape, f.t, f.t)
		hs = append(hs, hand{
			covers: []string{form}, in: [][]byte{frag}, want: want, elem: ptx.F32,
			body: load.String() + fmt.Sprintf("%s %s, %s, %s, %s;\nst.global.v4.u32 [%%q1], %s;", form,
				names(20, 4), names(0, nA), names(nA, nB), names(nA+nB, 4), names(20, 4)),
		})
	}
	return hs
}
