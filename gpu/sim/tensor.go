package sim

import (
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
	x := &access{space: ptx.Shared, bytes: 16}
	d.address(d.in.Args[1], x)
	d.o.sync = aligned
	trans := d.in.Has("trans")
	d.o.fn = func(w *warp, o *op, _ uint32) {
		w.profileAccess(o, x, uint32(1)<<(8*n)-1)
		var rows [32][]byte
		for i := range 8 * n {
			rows[i] = w.matrixRow(o, x, i, false)
		}
		for j := range n {
			R := &w.r[dst[j]]
			for i := range 32 {
				if trans {
					k := i >> 2 * 2
					R[i] = uint32(le.Uint16(rows[8*j+i&3*2][k:])) | uint32(le.Uint16(rows[8*j+i&3*2+1][k:]))<<16
				} else {
					R[i] = le.Uint32(rows[8*j+i>>2][4*(i&3):])
				}
			}
		}
	}
}

// matrixRow checks and returns the 16 bytes of a row.
func (w *warp) matrixRow(o *op, x *access, lane int, write bool) []byte {
	addr := w.address(o, x, lane)
	if addr>>rankShift != 0 {
		w.trap(OutOfBounds, o, lane, "%#x is not an address of this block's shared memory", addr)
	}
	c, off := w.c, uint32(addr)
	w.bounds(o, c, off, 16, lane)
	if w.vc != nil {
		h := w.how(o, lane, false)
		if write {
			w.noteShared(o, c, off, 16, lane, true, h)
		} else {
			for k := off; k < off+16; k += 4 {
				if le.Uint32(c.init[k:]) != 0x01010101 {
					w.trap(Uninitialised, o, lane, "%s was never written", c.where(k))
				}
				cl := &c.cells[k/4]
				if t := w.read(cl, h, 15); t != 0 {
					w.sharedConflict(o, c, k, lane, h, "read", cl, t)
				}
			}
		}
	}
	return c.smem[off : off+16 : off+16]
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
	d.address(d.in.Args[0], x)
	src := d.matrixRegs(d.in.Args[1], n, d.src32)
	d.o.sync = aligned
	trans := d.in.Has("trans")
	d.o.fn = func(w *warp, o *op, _ uint32) {
		w.profileAccess(o, x, uint32(1)<<(8*n)-1)
		var rows [32][]byte
		for i := range 8 * n {
			rows[i] = w.matrixRow(o, x, i, true)
		}
		for j := range n {
			R := &w.r[src[j]]
			for i := range 32 {
				if trans {
					k := i >> 2 * 2
					le.PutUint16(rows[8*j+i&3*2][k:], uint16(R[i]))
					le.PutUint16(rows[8*j+i&3*2+1][k:], uint16(R[i]>>16))
				} else {
					le.PutUint32(rows[8*j+i>>2][4*(i&3):], R[i])
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
	d.o.sync = aligned
	d.o.fn = func(w *warp, _ *op, _ uint32) {
		a, b := &w.g.rowsA, (*[8][16]float64)(w.g.rowsB[:8]) // b by column: b[n][k]
		if K*size < 32 {
			*a, *b = [16][16]float64{}, [8][16]float64{}
		}
		for q := range regsA {
			unpackFragment(a[8*(q&1):8*(q&1)+8], &w.r[A[q]], typ, q>>1)
		}
		for q := range regsA / 2 {
			unpackFragment(b[:], &w.r[B[q]], typ, q)
		}
		d0, d1, d2, d3 := &w.r[D[0]], &w.r[D[1]], &w.r[D[2]], &w.r[D[3]]
		c0, c1, c2, c3 := &w.r[C[0]], &w.r[C[1]], &w.r[C[2]], &w.r[C[3]]
		for i := range 32 {
			g, t := i>>2, i&3
			s := dots(&a[g], &a[g+8], &b[2*t], &b[2*t+1])
			d0[i], d1[i] = b32(float32(s[0]+float64(f32(c0[i])))), b32(float32(s[1]+float64(f32(c1[i]))))
			d2[i], d3[i] = b32(float32(s[2]+float64(f32(c2[i])))), b32(float32(s[3]+float64(f32(c3[i]))))
		}
	}
}

// unpackFragment spreads a fragment register over the eight rows it covers:
// two elements of 16 bits a lane, or one of tf32; q counts registers along k.
func unpackFragment(rows [][16]float64, r *[32]uint32, typ ptx.Type, q int) {
	switch typ {
	case ptx.F16:
		for i, v := range r {
			row, k := &rows[i>>2], (2*(i&3)+8*q)&14
			row[k], row[k+1] = float64(h2f(uint16(v))), float64(h2f(uint16(v>>16)))
		}
	case ptx.BF16:
		for i, v := range r {
			row, k := &rows[i>>2], (2*(i&3)+8*q)&14
			row[k], row[k+1] = float64(f32(v<<16)), float64(f32(v&^0xffff))
		}
	default:
		for i, v := range r {
			rows[i>>2][(i&3+4*q)&15] = float64(f32(v &^ 0x1fff))
		}
	}
}

// dots is the four sums of 16 products of two rows with two columns.
func dots(lo, hi, c0, c1 *[16]float64) (s [4]float64) {
	var s0, s1, s2, s3 float64
	for k := range lo {
		a, b, c, d := lo[k], hi[k], c0[k], c1[k]
		s0 += a * c
		s1 += a * d
		s2 += b * c
		s3 += b * d
	}
	return [4]float64{s0, s1, s2, s3}
}
