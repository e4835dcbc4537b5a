package conform

import (
	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

// foreignForms are what PTX of others does and this module's kernels do not: sources and
// results of another width than the type, generic addresses of matrices, patterns of a
// swizzle that begin anywhere, boxes wider than their tensor.
func foreignForms() []hand {
	bytes, matrix := u32s(4, func(i int) uint32 { return 0x80c0_7f3f + uint32(i) }), make([]byte, 128)
	for i := range 64 {
		le.PutUint16(matrix[2*i:], uint16(i*257+3))
	}
	fragment := u32s(32, func(i int) uint32 { return le.Uint32(matrix[4*i:]) })
	rows := make([]byte, 1024) // 8 rows of 64
	for i := range 512 {
		le.PutUint16(rows[2*i:], uint16(i*3+1))
	}
	const at = 128
	shifted := make([]byte, 1024)
	for i := range 512 {
		le.PutUint16(shifted[swizzled(at+2*i, 128)-at:], le.Uint16(rows[2*i:]))
	}
	var narrow []byte // the left half of a box
	for r := range 4 {
		narrow = append(narrow, matrix[32*r:32*r+16]...)
	}
	return []hand{
		{ // a register that is wider than the result has its sign
			name: "foreign.cvt-into-32-bits", covers: []string{"cvt.s16.s8", "cvt.s16.s32"}, in: [][]byte{bytes}, block: 4, outLen: 32,
			want: append(u32s(4, func(i int) uint32 { return uint32(int32(int8(0x3f + i))) }), u32s(4, func(i int) uint32 { return uint32(int32(int16(0x7f3f + i))) })...),
			body: `mad.wide.u32 %q0, %t, 4, %in0;
				ld.global.u32 %r0, [%q0];
				cvt.s16.s8 %r1, %r0;
				cvt.s16.s32 %r2, %r0;
				st.global.u32 [%me], %r1;
				st.global.u32 [%me+16], %r2;`,
		},
		{ // of a source that is wider than the type the low half counts
			name: "foreign.wide-sources", covers: []string{"st.global.u32", "cvt.s64.s32"}, block: 1,
			want: u32s(4, func(i int) uint32 { return []uint32{0x89abcdef, 0xcdef, 0x89abcdef, 0xffffffff}[i] }),
			body: `mov.b64 %q0, 0x0123456789abcdef;
				st.global.u32 [%out], %q0;
				mov.u32 %r0, 0;
				st.global.u32 [%out+4], %r0;
				st.global.u16 [%out+4], %q0;
				cvt.s64.s32 %q1, %q0;
				st.global.u64 [%out+8], %q1;`,
		},
		{ // without .shared the address is generic
			name: "foreign.ldmatrix-generic", covers: []string{"ldmatrix.sync.aligned.m8n8.x1.b16"}, local: ".shared .align 16 .b8 buf[128];", in: [][]byte{matrix}, want: fragment,
			body: loadBuf(32, 128) + `mov.u64 %q0, buf;
				cvta.shared.u64 %q0, %q0;
				and.b32 %r0, %t, 7;
				mad.wide.u32 %q0, %r0, 16, %q0;
				ldmatrix.sync.aligned.m8n8.x1.b16 {%r1}, [%q0];
				st.global.u32 [%me], %r1;`,
		},
		{
			name: "foreign.stmatrix-generic", covers: []string{"stmatrix.sync.aligned.m8n8.x1.b16"}, arch: "sm_90a", local: ".shared .align 16 .b8 buf[128];", in: [][]byte{fragment}, want: matrix, elem: ptx.U16,
			body: `mad.wide.u32 %q1, %t, 4, %in0;
				ld.global.u32 %r1, [%q1];
				mov.u64 %q0, buf;
				cvta.shared.u64 %q0, %q0;
				and.b32 %r0, %t, 7;
				mad.wide.u32 %q0, %r0, 16, %q0;
				stmatrix.sync.aligned.m8n8.x1.b16 [%q0], {%r1};
				bar.sync 0;
				mov.u32 %r2, buf;
				mad.lo.u32 %r2, %t, 4, %r2;
				ld.shared.u32 %r3, [%r2];
				st.global.u32 [%me], %r3;`,
		},
		{ // the swizzle mixes bits of the address, wherever the box begins
			name: "foreign.swizzle-at-128", covers: []string{"cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"},
			in: [][]byte{rows}, want: shifted, elem: ptx.U16,
			maps:  []Map{{Input: 0, Tiled: &tensormap.Tiled{Type: ptx.F16, Dims: []uint64{64, 8}, Strides: []uint64{128}, Box: []uint32{64, 8}, Swizzle: tensormap.Swizzle128}}},
			local: barDecl + ".shared .align 1024 .b8 all[2048];", block: 32,
			body: initBar + `mov.b64 %q0, map0;
				cvta.param.u64 %q0, %q0;
				mov.u32 %r8, all;
				add.u32 %r8, %r8, 128;
				@%p7 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], 1024;
				@%p7 cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r8], [%q0, {0, 0}], [%r9];
				` + waitBar + `mad.lo.u32 %r10, %t, 32, %r8;
				ld.shared.v4.u32 {%r0, %r1, %r2, %r3}, [%r10];
				ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r10+16];
				mad.wide.u32 %q1, %t, 32, %out;
				st.global.v4.u32 [%q1], {%r0, %r1, %r2, %r3};
				st.global.v4.u32 [%q1+16], {%r4, %r5, %r6, %r7};`,
		},
		{ // what lies outside of the tensor is not read, and may be anything
			name: "foreign.store-wider-than-tensor", covers: []string{"cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group"},
			in: [][]byte{matrix}, want: narrow, elem: ptx.U16,
			maps:  []Map{{Input: -1, Tiled: &tensormap.Tiled{Type: ptx.F16, Dims: []uint64{8, 4}, Strides: []uint64{16}, Box: []uint32{16, 4}}}},
			local: ".shared .align 128 .b8 buf[128];", block: 16,
			body: `and.b32 %r0, %t, 3;
				shr.u32 %r1, %t, 2;
				shl.b32 %r1, %r1, 5;
				mad.lo.u32 %r1, %r0, 4, %r1;
				cvt.u64.u32 %q1, %r1;
				add.u64 %q1, %in0, %q1;
				ld.global.u32 %r2, [%q1];
				mov.u32 %r8, buf;
				add.u32 %r3, %r8, %r1;
				st.shared.u32 [%r3], %r2;
				fence.proxy.async.shared::cta;
				bar.sync 0;
				mov.b64 %q0, map0;
				cvta.param.u64 %q0, %q0;
				setp.ne.u32 %p7, %t, 0;
				@%p7 bra OUT;
				cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%q0, {0, 0}], [%r8];
				cp.async.bulk.commit_group;
				cp.async.bulk.wait_group.read 0;
				OUT:`,
		},
	}
}
