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
					w.trap(Uninitialised, o, lane, "shared address %#x was never written", k)
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

// element converts the parts of a 32-bit register to numbers.
type element struct {
	bytes int
	get   func(b uint32) float64 // of the low bits
}

var elements = map[ptx.Type]element{
	ptx.F16:  {2, func(b uint32) float64 { return float64(halves[uint16(b)]) }},
	ptx.BF16: {2, func(b uint32) float64 { return float64(bf2f(uint16(b))) }},
	ptx.TF32: {4, func(b uint32) float64 { return float64(f32(b &^ 0x1fff)) }},
}

// mma.sync.aligned.m16n8kK.row.col.f32.T.T.f32 d, a, b, c with T f16, bf16
// (K 8 or 16) or tf32 (K 4 or 8). Sums in fp64, rounds once.
func (d *decoder) mma() {
	ts := d.in.Types()
	if len(ts) != 4 || ts[0] != ptx.F32 || ts[3] != ptx.F32 || ts[1] != ts[2] || !d.in.Has("row") || !d.in.Has("col") {
		d.unsupported()
		return
	}
	el, ok := elements[ts[1]]
	K := map[string]int{"m16n8k4": 4, "m16n8k8": 8, "m16n8k16": 16}[d.in.Mods[2]]
	regsA := K * el.bytes / 8 // registers: 16*K elements over 32 lanes
	if !ok || K == 0 || regsA < 2 || regsA > 4 {
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
		var a [16][16]float64
		var b [8][16]float64 // by column: b[n][k]
		for i := range 32 {
			g, t := i>>2, i&3
			for q := range regsA {
				unpackTo(&a[g+8*(q&1)], el, w.r[A[q]][i], t, q>>1)
			}
			for q := range regsA / 2 {
				unpackTo(&b[g], el, w.r[B[q]][i], t, q)
			}
		}
		for i := range 32 {
			g, t := i>>2, i&3
			for q := range 4 {
				ar, br := &a[g+8*(q>>1)], &b[2*t+q&1]
				s := dot16(ar, br)
				w.r[D[q]][i] = b32(float32(s + float64(f32(w.r[C[q]][i]))))
			}
		}
	}
}

// unpackTo puts the one or two elements of a fragment register into its row:
// t is the lane in its group, q the register along k.
func unpackTo(row *[16]float64, el element, r uint32, t, q int) {
	if el.bytes == 2 {
		row[2*t+8*q], row[2*t+8*q+1] = el.get(r&0xffff), el.get(r>>16)
	} else {
		row[t+4*q] = el.get(r)
	}
}

// dot16 is a sum of 16 products in four chains.
func dot16(a, b *[16]float64) float64 {
	s0 := a[0]*b[0] + a[4]*b[4] + a[8]*b[8] + a[12]*b[12]
	s1 := a[1]*b[1] + a[5]*b[5] + a[9]*b[9] + a[13]*b[13]
	s2 := a[2]*b[2] + a[6]*b[6] + a[10]*b[10] + a[14]*b[14]
	s3 := a[3]*b[3] + a[7]*b[7] + a[11]*b[11] + a[15]*b[15]
	return (s0 + s1) + (s2 + s3)
}
