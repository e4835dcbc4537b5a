package conform

import (
	"math"
	"math/big"
	"math/bits"
	"slices"
)

// callForms are what nvcc makes of wide integers, of functions that it does not inline and
// of switches, and text that hand-written PTX has.
func callForms() []hand {
	var a, b []byte // 128 bits for each of 32 threads, edges among them
	edges := []uint64{0, 1, 1<<63 - 1, 1 << 63, ^uint64(0), 0xffffffff, 1 << 32, 0x0123456789abcdef}
	num := func(i, k int) uint64 {
		if i < 16 {
			return edges[(i*(k+3)+k)%len(edges)]
		}
		return uint64(i*7+k+1) * 0x9e3779b97f4a7c15
	}
	var sum, diff, prod []byte
	for i := range 32 {
		x := []uint64{num(i, 0), num(i, 1)}
		y := []uint64{num(i, 2), num(i, 3)}
		for k := range 2 {
			a, b = le.AppendUint64(a, x[k]), le.AppendUint64(b, y[k])
		}
		X, Y := wide(x), wide(y)
		sum = append(sum, low128(new(big.Int).Add(X, Y))...)
		diff = append(diff, low128(new(big.Int).Sub(X, Y))...)
		p := new(big.Int).Mul(wide(x[:1]), wide(y[:1]))
		prod = append(prod, low128(p.Add(p, wide([]uint64{y[1]})))...)
	}
	load := func(body string) string {
		return `mad.wide.u32 %q0, %t, 16, %in0;
				mad.wide.u32 %q1, %t, 16, %in1;
				mad.wide.u32 %q2, %t, 16, %out;
				` + body
	}
	words := `ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%q0];
				ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%q1];
				`
	store := `
				st.global.v4.u32 [%q2], {%r0, %r1, %r2, %r3};`
	fib := []uint32{0, 1, 1, 2, 3, 5, 8, 13}
	return []hand{
		{
			name: "carry.add-32", covers: []string{"add.cc.u32", "addc.cc.u32", "addc.u32"}, in: [][]byte{a, b}, want: sum,
			body: load(words + `add.cc.u32 %r0, %r0, %r4;
				addc.cc.u32 %r1, %r1, %r5;
				addc.cc.u32 %r2, %r2, %r6;
				addc.u32 %r3, %r3, %r7;` + store),
		},
		{
			name: "carry.sub-32", covers: []string{"sub.cc.s32", "subc.cc.s32", "subc.s32"}, in: [][]byte{a, b}, want: diff,
			body: load(words + `sub.cc.s32 %r0, %r0, %r4;
				subc.cc.s32 %r1, %r1, %r5;
				subc.cc.s32 %r2, %r2, %r6;
				subc.s32 %r3, %r3, %r7;` + store),
		},
		{
			name: "carry.add-64", covers: []string{"add.cc.u64", "addc.u64"}, in: [][]byte{a, b}, want: sum,
			body: load(`ld.global.v2.u64 {%q3, %q4}, [%q0];
				ld.global.v2.u64 {%q5, %q6}, [%q1];
				add.cc.u64 %q3, %q3, %q5;
				addc.u64 %q4, %q4, %q6;
				st.global.v2.u64 [%q2], {%q3, %q4};`),
		},
		{
			name: "carry.sub-64", covers: []string{"sub.cc.u64", "subc.u64"}, in: [][]byte{a, b}, want: diff,
			body: load(`ld.global.v2.u64 {%q3, %q4}, [%q0];
				ld.global.v2.u64 {%q5, %q6}, [%q1];
				sub.cc.u64 %q3, %q3, %q5;
				subc.u64 %q4, %q4, %q6;
				st.global.v2.u64 [%q2], {%q3, %q4};`),
		},
		{ // 64 x 64 + 64 bits in columns of 32
			name: "carry.mad-32", covers: []string{"mad.lo.cc.u32", "madc.hi.u32", "madc.lo.cc.u32", "madc.hi.cc.u32", "addc.u32"}, in: [][]byte{a, b}, want: prod,
			body: load(words + `mad.lo.cc.u32 %r8, %r0, %r4, %r6;
				madc.hi.cc.u32 %r9, %r0, %r4, %r7;
				addc.u32 %r10, 0, 0;
				mad.lo.cc.u32 %r9, %r1, %r4, %r9;
				madc.hi.cc.u32 %r10, %r1, %r4, %r10;
				addc.u32 %r11, 0, 0;
				mad.lo.cc.u32 %r9, %r0, %r5, %r9;
				madc.hi.cc.u32 %r10, %r0, %r5, %r10;
				addc.u32 %r11, %r11, 0;
				mad.lo.cc.u32 %r10, %r1, %r5, %r10;
				madc.hi.u32 %r11, %r1, %r5, %r11;
				mov.u32 %r0, %r8;
				mov.u32 %r1, %r9;
				mov.u32 %r2, %r10;
				mov.u32 %r3, %r11;
				add.cc.u32 %r12, %r12, %r12;
				madc.lo.cc.u32 %r13, %r0, %r1, %r2;` + store),
		},
		{ // halves of the warp call from two places; struct results, and a call that some lanes make
			name: "call.function", covers: []string{"call.uni"}, want: u32s(32, func(i int) uint32 {
				if i%3 == 0 {
					return uint32(i*5 + i + 3)
				}
				return uint32(7*(i+1) + 7 + 3)
			}),
			decl: `.func (.param .align 4 .b8 r[8]) pair(.param .b32 x, .param .b32 y)
{
	.reg .b32 %a, %b;
	ld.param.b32 %a, [x];
	ld.param.b32 %b, [y];
	mul.lo.u32 %b, %a, %b;
	add.u32 %a, %a, 3;
	st.param.b32 [r], %b;
	st.param.b32 [r+4], %a;
	ret;
}`,
			body: `rem.u32 %r0, %t, 3;
				setp.eq.u32 %p0, %r0, 0;
				@%p0 bra LEFT;
				mov.u32 %r1, 7;
				add.u32 %r2, %t, 1;
				{
				.param .b32 x;
				.param .b32 y;
				.param .align 4 .b8 z[8];
				st.param.b32 [x], %r1;
				st.param.b32 [y], %r2;
				call.uni (z), pair, (x, y);
				ld.param.b32 %r3, [z];
				ld.param.b32 %r4, [z+4];
				}
				bra OUT;
				LEFT:
				mov.u32 %r2, 5;
				{
				.param .b32 x;
				.param .b32 y;
				.param .align 4 .b8 z[8];
				st.param.b32 [x], %t;
				st.param.b32 [y], %r2;
				call.uni (z), pair, (x, y);
				ld.param.b32 %r3, [z];
				ld.param.b32 %r4, [z+4];
				}
				OUT:
				add.u32 %r3, %r3, %r4;
				st.global.u32 [%me], %r3;`,
		},
		{ // calls itself twice, each lane to its own depth
			name: "call.recursion", covers: []string{"call"}, want: u32s(32, func(i int) uint32 { return fib[i%8] }),
			decl: `.func (.param .b32 r) fib(.param .b32 n)
{
	.reg .pred %p;
	.reg .b32 %n, %a, %b;
	ld.param.b32 %n, [n];
	mov.b32 %b, %n;
	setp.lt.u32 %p, %n, 2;
	@%p bra DONE;
	sub.u32 %a, %n, 1;
	{
	.param .b32 x;
	.param .b32 y;
	st.param.b32 [x], %a;
	call (y), fib, (x);
	ld.param.b32 %b, [y];
	}
	sub.u32 %a, %n, 2;
	{
	.param .b32 x;
	.param .b32 y;
	st.param.b32 [x], %a;
	call (y), fib, (x);
	ld.param.b32 %a, [y];
	}
	add.u32 %b, %b, %a;
	DONE:
	st.param.b32 [r], %b;
	ret;
}`,
			body: `and.b32 %r0, %t, 7;
				{
				.param .b32 x;
				.param .b32 y;
				st.param.b32 [x], %r0;
				call (y), fib, (x);
				ld.param.b32 %r1, [y];
				}
				st.global.u32 [%me], %r1;`,
		},
		{
			name: "brx.idx", covers: []string{"brx.idx"}, want: u32s(32, func(i int) uint32 { return []uint32{10, 21, 21, 40}[i%4] }),
			body: `and.b32 %r0, %t, 3;
				mov.u32 %r1, 0;
				TABLE: .branchtargets A, B, B, C;
				brx.idx %r0, TABLE;
				A: mov.u32 %r1, 10;
				bra OUT;
				B: mov.u32 %r1, 21;
				bra OUT;
				C: mov.u32 %r1, 40;
				OUT:
				st.global.u32 [%me], %r1;`,
		},
		{
			name: "foreign.match-all", covers: []string{"match.all.sync.b32", "match.all.sync.b64", "match.any.sync.b64"}, outLen: 384,
			want: append(append(u32s(32, func(i int) uint32 {
				if i < 16 {
					return 0xffff
				}
				return 0
			}), u32s(32, func(i int) uint32 { return 0xffffffff })...), u32s(32, func(i int) uint32 { return bits.RotateLeft32(0x11111111, i%4) })...),
			body: `shr.u32 %r0, %t, 4;
				mul.lo.u32 %r1, %r0, %t;
				setp.eq.u32 %p0, %r0, 0;
				selp.b32 %r2, 0xffff, 0xffff0000, %p0;
				match.all.sync.b32 %r3|%p1, %r1, %r2;
				@!%p1 mov.u32 %r3, 0;
				st.global.u32 [%me], %r3;
				mov.u64 %q0, 0x100000007;
				match.all.sync.b64 %r3, %q0, 0xffffffff;
				st.global.u32 [%me+128], %r3;
				and.b32 %r0, %t, 3;
				cvt.u64.u32 %q1, %r0;
				shl.b64 %q1, %q1, 40;
				match.any.sync.b64 %r3, %q1, 0xffffffff;
				st.global.u32 [%me+256], %r3;`,
		},
		{ // lists that end early, floats of either width, vectors, addresses and bytes of them
			name: "foreign.initial-values", covers: []string{"ld.u32", "ld.global.u8", "ld.const.v2.f32", "ld.global.f64"},
			decl: `.global .align 4 .b8 text[8] = {104, 105, 0x21, -1};
.const .align 8 .f32 floats[][2] = {{0f3F800000, 1.5}, {-2.0, 0d4010000000000000}, {1e3}};
.global .align 8 .f64 doubles[2] = {0f3F800000, 0d3FF8000000000000};
.global .align 4 .u32 table[2][3] = {{1, 2, (1<<4)|3}, {-1, 0x1ffffffff}};
.global .align 16 .v4 .u32 quad = {5, 6, 7, 8};
.global .attribute(.managed) .align 4 .b32 bits[2] = {1.5, 7};
.global .align 8 .u64 places[4] = {text, generic(table)+4, floats+8, generic(quad)};
.const .align 8 .u64 place[1] = {doubles};
.global .align 8 .u8 bytes[8] = {0xff(table), 0xff00(table), 0xff0000(table), 0xff000000(table), 0xff00000000(table), 0xff0000000000(table), 0xff000000000000(table), 0xff00000000000000(table)};`,
			block: 1,
			want: slices.Concat([]byte{104, 105, 33, 255, 0, 0, 0, 0}, u32s(6, func(i int) uint32 {
				return math.Float32bits([]float32{1, 1.5, -2, 4, 1000, 0}[i])
			}), le.AppendUint64(le.AppendUint64(nil, math.Float64bits(1)), math.Float64bits(1.5)),
				u32s(6, func(i int) uint32 { return []uint32{1, 2, 19, ^uint32(0), ^uint32(0), 0}[i] }),
				u32s(4, func(i int) uint32 { return uint32(5 + i) }), u32s(2, func(i int) uint32 { return []uint32{0x3fc00000, 7}[i] }),
				u32s(6, func(i int) uint32 {
					return []uint32{0xff216968, 2, 0xc0000000, 5, 0, ^uint32(0)}[i]
				}),
				le.AppendUint64(nil, math.Float64bits(1.5))),
			body: `ld.global.u64 %q1, [text];
				st.global.u64 [%out], %q1;
				ld.const.v2.f32 {%r0, %r1}, [floats];
				st.global.v2.u32 [%out+8], {%r0, %r1};
				ld.const.v2.f32 {%r0, %r1}, [floats+8];
				st.global.v2.u32 [%out+16], {%r0, %r1};
				ld.const.v2.f32 {%r0, %r1}, [floats+16];
				st.global.v2.u32 [%out+24], {%r0, %r1};
				ld.global.f64 %q1, [doubles];
				st.global.u64 [%out+32], %q1;
				ld.global.f64 %q1, [doubles+8];
				st.global.u64 [%out+40], %q1;
				mov.u64 %q2, table;
				mov.u64 %q3, %out;
				mov.u32 %r3, 0;
				COPY:
				ld.global.u32 %r0, [%q2];
				st.global.u32 [%q3+48], %r0;
				add.u64 %q2, %q2, 4;
				add.u64 %q3, %q3, 4;
				add.u32 %r3, %r3, 1;
				setp.lt.u32 %p0, %r3, 6;
				@%p0 bra COPY;
				ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [quad];
				st.global.u32 [%out+72], %r0;
				st.global.u32 [%out+76], %r1;
				st.global.u32 [%out+80], %r2;
				st.global.u32 [%out+84], %r3;
				ld.global.u32 %r0, [bits];
				ld.global.u32 %r1, [bits+4];
				st.global.u32 [%out+88], %r0;
				st.global.u32 [%out+92], %r1;
				ld.global.u64 %q1, [places];
				ld.global.u32 %r0, [%q1];
				st.global.u32 [%out+96], %r0;
				ld.global.u64 %q1, [places+8];
				ld.u32 %r0, [%q1];
				st.global.u32 [%out+100], %r0;
				ld.global.u64 %q1, [places+16];
				ld.const.u32 %r0, [%q1];
				st.global.u32 [%out+104], %r0;
				ld.global.u64 %q1, [places+24];
				ld.u32 %r0, [%q1];
				st.global.u32 [%out+108], %r0;
				ld.global.u8 %r0, [bytes+7];
				st.global.u32 [%out+112], %r0;
				ld.global.u64 %q1, [bytes];
				ld.global.u32 %r0, [%q1+12];
				st.global.u32 [%out+116], %r0;
				ld.const.u64 %q1, [place];
				ld.global.u64 %q2, [%q1+8];
				st.global.u64 [%out+120], %q2;`,
		},
		{ // vector registers, constant expressions, modifiers in another order, variables of a kernel
			name: "foreign.text", covers: []string{"vote.ballot.sync.b32", "ld.global.v2.u32"}, in: [][]byte{u32s(64, func(i int) uint32 { return uint32(i * i) })},
			want: u32s(32, func(i int) uint32 {
				return uint32(4*i*i+(2*i+1)*(2*i+1)) + 17 - 3*5 + ^uint32(5)&0xff + 0xffff0000>>16 + 9
			}),
			local: ".reg .v2 .b32 %v;\n\t.global .u32 nine = 3*3;",
			body: `mad.wide.u32 %q0, %t, (1+1)*4, %in0;
				ld.global.v2.u32 %v, [%q0];
				add.u32 %r0, %v.x, %v.y;
				add.u32 %r0, %r0, 0x11-3*5;
				add.u32 %r0, %r0, ~5&0xff;
				setp.ge.u32 %p0, %t, 1<<4;
				vote.ballot.sync.b32 %r1, %p0, 0xffffffff;
				shr.u32 %r1, %r1, 16;
				add.u32 %r0, %r0, %r1;
				ld.global.u32 %r2, [nine];
				add.u32 %r0, %r0, %r2;
				st.global.u32 [%me], %r0;`,
		},
	}
}

// wide is the number of which the low 64 bits come first.
func wide(w []uint64) *big.Int {
	n := new(big.Int)
	for i := len(w) - 1; i >= 0; i-- {
		n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(w[i]))
	}
	return n
}

// low128 is the low 128 bits of a number, in two's complement.
func low128(n *big.Int) []byte {
	m := new(big.Int).Mod(n, new(big.Int).Lsh(big.NewInt(1), 128))
	low := new(big.Int).And(m, new(big.Int).SetUint64(^uint64(0)))
	return le.AppendUint64(le.AppendUint64(nil, low.Uint64()), m.Rsh(m, 64).Uint64())
}
