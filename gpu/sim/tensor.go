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
	x := &access{space: ptx.Shared, bytes: 16, n: 4}
	d.matrixAddress(d.in.Args[1], x)
	d.o.sync = aligned
	trans := d.in.Has("trans")
	d.o.fn = func(w *warp, o *op, _ uint32) {
		at, smem := w.matrixRows(o, x, n), w.c.smem
		for j := range n {
			R, row := &w.r[dst[j]], at[8*j:8*j+8]
			if !trans { // a row for each four lanes
				for k, a := range row {
					b, four := smem[a:a+16:a+16], R[4*k:4*k+4:4*k+4]
					four[0], four[1], four[2], four[3] = le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:])
				}
				continue
			}
			for i := range R {
				k := uint32(i >> 2 * 2)
				R[i] = uint32(le.Uint16(smem[row[i&3*2]+k:])) | uint32(le.Uint16(smem[row[i&3*2+1]+k:]))<<16
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
