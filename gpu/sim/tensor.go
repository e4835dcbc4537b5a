package sim

import (
	"slices"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// Matrix instructions of a warp, with the fragment layouts of the PTX ISA:
// lane = 4*g + t holds row g and columns 2t, 2t+1 of an 8x8 tile of 16-bit
// elements.

// matrices reads .x1, .x2 or .x4 of ldmatrix and stmatrix.
func (d *decoder) matrices() int {
	for n, m := range map[int]string{1: "x1", 2: "x2", 4: "x4"} {
		if d.in.Has(m) {
			return n
		}
	}
	d.unsupported()
	return 0
}

func (d *decoder) matrixRegs(a ptx.Operand, n int, get func(ptx.Operand) int32) (r [4]int32) {
	elems := vec(a)
	if len(elems) != n {
		d.fail("%d registers for %d matrices", len(elems), n)
		return r
	}
	for i, e := range elems {
		r[i] = get(e)
	}
	return r
}

// ldmatrix.sync.aligned.m8n8.xN[.trans].shared.b16 {d…}, [a]: lanes 8j…8j+7
// give the addresses of the rows of matrix j.
func (d *decoder) ldmatrix() {
	n := d.matrices()
	if d.form("x1", "x2", "x4", "trans", "shared", "shared::cta") != "sync.aligned.m8n8.b16" {
		d.unsupported()
		return
	}
	if n == 0 || !d.args(2, 2) {
		return
	}
	dst := d.matrixRegs(d.in.Args[0], n, d.dst32)
	x := &access{space: ptx.Shared, bytes: 16, n: 4}
	d.matrixAddress(d.in.Args[1], x)
	d.o.sync = aligned
	trans := d.in.Has("trans")
	d.o.fn = func(w *warp, o *op, _ uint32) {
		at, smem := w.matrixRows(o, x, n), w.c.smem
		for j := range n {
			R, row := &w.r[dst[j]], at[8*j:8*j+8]
			for i := range R {
				if trans {
					k := uint32(i >> 2 * 2)
					R[i] = uint32(le.Uint16(smem[row[i&3*2]+k:])) | uint32(le.Uint16(smem[row[i&3*2+1]+k:]))<<16
				} else {
					R[i] = le.Uint32(smem[row[i>>2]+uint32(4*(i&3)):])
				}
			}
		}
	}
}

// matrixAddress is the address of a row. Without a state space it is generic: an address of
// shared memory alone, as other instructions take it, then lies in no memory.
func (d *decoder) matrixAddress(a ptx.Operand, x *access) {
	d.address(a, x)
	if d.in.Has("shared") || d.in.Has("shared::cta") {
		return
	}
	if m, ok := a.(*ptx.Mem); !ok || !x.base64 || !register(m.Base) {
		d.fail("without .shared the address is generic: a 64-bit register, by cvta.shared")
	}
	d.o.imm -= int64(sharedBase)
}

func register(a ptx.Operand) bool {
	_, ok := a.(*ptx.Reg)
	return ok
}

// matrixRows checks the rows of n matrices, 16 bytes each, and returns where they
// stand in shared memory.
func (w *warp) matrixRows(o *op, x *access, n int) (at [32]uint32) {
	lanes := full >> (32 - 8*n)
	w.profileAccess(o, x, lanes)
	if !x.store && w.ownShared(o, x, lanes, &at) {
		if w.vc != nil {
			w.noteLoads(o, x, lanes, &at)
		}
		return at
	}
	for i := range 8 * n {
		addr := w.address(o, x, i)
		if addr>>rankShift != 0 {
			w.trap(OutOfBounds, o, i, "%#x is not an address of this block's shared memory", addr)
		}
		at[i] = uint32(addr)
		w.touchShared(o, addr, 16, i, x.store, false)
	}
	return at
}

// stmatrix is the inverse of ldmatrix.
func (d *decoder) stmatrix() {
	n := d.matrices()
	if d.form("x1", "x2", "x4", "trans", "shared", "shared::cta") != "sync.aligned.m8n8.b16" {
		d.unsupported()
		return
	}
	if n == 0 || !d.args(2, 2) {
		return
	}
	x := &access{space: ptx.Shared, bytes: 16, store: true}
	d.matrixAddress(d.in.Args[0], x)
	src := d.matrixRegs(d.in.Args[1], n, d.src32)
	d.o.sync = aligned
	trans := d.in.Has("trans")
	d.o.fn = func(w *warp, o *op, _ uint32) {
		at, smem := w.matrixRows(o, x, n), w.c.smem
		for j := range n {
			R, row := &w.r[src[j]], at[8*j:8*j+8]
			for i := range R {
				if trans {
					k := uint32(i >> 2 * 2)
					le.PutUint16(smem[row[i&3*2]+k:], uint16(R[i]))
					le.PutUint16(smem[row[i&3*2+1]+k:], uint16(R[i]>>16))
				} else {
					le.PutUint32(smem[row[i>>2]+uint32(4*(i&3)):], R[i])
				}
			}
		}
	}
}

// movmatrix.sync.aligned.m8n8.trans.b16 d, a
func (d *decoder) movmatrix() {
	if d.form() != "sync.aligned.m8n8.trans.b16" {
		d.unsupported()
		return
	}
	if !d.args(2, 2) {
		return
	}
	d.o.d, d.o.a, d.o.sync = d.dst32(d.in.Args[0]), d.src32(d.in.Args[1]), aligned
	d.o.fn = func(w *warp, o *op, _ uint32) {
		A := w.r[o.a]
		at := func(row, col int) uint32 { return A[4*row+col/2] >> (16 * (col & 1)) & 0xffff }
		for i := range 32 {
			r, c := i>>2, i&3*2
			w.r[o.d][i] = at(c, r) | at(c+1, r)<<16
		}
	}
}

// elementBytes is the size of an element of mma and wgmma, 0 for types that
// they do not take here.
func elementBytes(t ptx.Type) int {
	switch t {
	case ptx.F16, ptx.BF16:
		return 2
	case ptx.TF32:
		return 4
	default:
		return 0
	}
}

// mma.sync.aligned.m16n8kK.row.col.f32.T.T.f32 d, a, b, c with T f16, bf16
// (K 8 or 16) or tf32 (K 4 or 8). Sums in fp64, rounds once.
func (d *decoder) mma() {
	ts := d.in.Types()
	if len(ts) != 4 || ts[0] != ptx.F32 || ts[3] != ptx.F32 || ts[1] != ts[2] || !d.in.Has("row") || !d.in.Has("col") {
		d.unsupported()
		return
	}
	typ := ts[1]
	size := elementBytes(typ)
	K := map[string]int{"m16n8k4": 4, "m16n8k8": 8, "m16n8k16": 16}[d.in.Mods[2]]
	regsA := K * size / 8 // registers: 16*K elements over 32 lanes
	if size == 0 || K == 0 || regsA < 2 || regsA > 4 {
		d.unsupported()
		return
	}
	if !d.args(4, 4) {
		return
	}
	var D, A, B, C [4]int32
	for _, v := range []struct {
		to  *[4]int32
		arg int
		n   int
		get func(ptx.Operand) int32
	}{{&D, 0, 4, d.dst32}, {&A, 1, regsA, d.src32}, {&B, 2, regsA / 2, d.src32}, {&C, 3, 4, d.src32}} {
		elems := vec(d.in.Args[v.arg])
		if len(elems) != v.n {
			d.fail("operand %d has %d registers, want %d", v.arg+1, len(elems), v.n)
			return
		}
		for i, e := range elems {
			v.to[i] = v.get(e)
		}
	}
	overlaps := false
	for q, r := range D {
		overlaps = overlaps || slices.Contains(C[q+1:], r)
	}
	d.o.sync = aligned
	d.o.fn = func(w *warp, _ *op, _ uint32) {
		t := &w.g.tile
		if K*size < 32 {
			t.b = [tileColumns][16]float64{}
		}
		t.fragmentA(w, A[:regsA], K, typ)
		for q := range regsA / 2 {
			widen(t.b[:8], 16/size*q, w.r[B[q]][:], typ)
		}
		products(t.d[:8], &t.a, t.b[:8])
		out := [4]*[32]uint32{&w.r[D[0]], &w.r[D[1]], &w.r[D[2]], &w.r[D[3]]}
		if overlaps { // a result that is a later one's C
			out = [4]*[32]uint32{&t.out[0], &t.out[1], &t.out[2], &t.out[3]}
		}
		for q, c := range C {
			sum(out[q], &w.r[c], (*[8][16]float64)(t.d[:8]), q&1, 8*(q>>1))
		}
		if overlaps {
			for q, r := range D {
				w.r[r] = t.out[q]
			}
		}
	}
}
