package sim

import "github.com/stylize-gpu/stylize/gpu/ptx"

// The loops in which kernels spend most of their time: fma.rn.f32 of a whole
// warp, and the matrices of mma and wgmma. rows_amd64.s has them for processors
// with AVX2, some twenty times as fast and with the same bits: an fma rounds once
// there too, and so does a sum of products that are exact.

// matrices are the operands and sums of a product of matrices.
type matrices struct {
	a [16][16]float64          // by k, then row
	b [tileColumns][16]float64 // by column, then k
	d [tileColumns][16]float64 // by column, then row

	rows [16][16]float64 // a by row, then k
	from [4][32]uint32   // the registers that a was unpacked from, of type typ and depth k; NoType: from none
	typ  ptx.Type
	k    int
	at   [512]uint32   // addresses of the chunks of an operand
	out  [4][32]uint32 // results of an mma whose registers overlap those of C
	zero [32]uint32
}

// tileColumns is how many columns of a wgmma are multiplied at a time: as many as
// leave room in the first-level cache.
const tileColumns = 64

// transpose fills a from rows.
func (t *matrices) transpose() {
	t.typ = ptx.NoType
	for m := range t.rows {
		for k, v := range t.rows[m] {
			t.a[k][m] = v
		}
	}
}

// negate changes the signs of a.
func (t *matrices) negate() {
	t.typ = ptx.NoType
	for k := range t.a {
		for m := range t.a[k] {
			t.a[k][m] = -t.a[k][m]
		}
	}
}

// fragmentA fills a from the registers of a fragment. Loops multiply one fragment
// with several of B: when the registers hold what they did, so does a.
func (t *matrices) fragmentA(w *warp, regs []int32, k int, typ ptx.Type) {
	same := t.typ == typ && t.k == k
	for q, r := range regs {
		same = same && t.from[q] == w.r[r]
	}
	if same {
		return
	}
	perReg := 4 // elements of a row
	if typ != ptx.TF32 {
		perReg = 8
	}
	t.rows = [16][16]float64{}
	for q, r := range regs { // odd ones hold the lower eight rows
		t.from[q] = w.r[r]
		widen(t.rows[8*(q&1):][:8], perReg*(q>>1), w.r[r][:], typ)
	}
	t.transpose()
	t.typ, t.k = typ, k
}

// fmaRowGo is d = a*b + c in fp32, lane by lane, rounded once.
func fmaRowGo(d, a, b, c *[32]uint32) {
	for i := range d {
		d[i] = b32(fma32(f32(a[i]), f32(b[i]), f32(c[i])))
	}
}

// productsGo is d[n][m] = sum over k, upward, of a[k][m] * b[n][k], for an even
// number of columns n. Elements have 11 significant bits at most, so that their
// products are exact in fp64 and only the sums round.
func productsGo(d [][16]float64, a *[16][16]float64, b [][16]float64) {
	for n := range b {
		B, D := &b[n], &d[n]
		for m := 0; m < 16; m += 4 {
			var s0, s1, s2, s3 float64
			for k, v := range B {
				A := a[k][m : m+4 : m+4]
				s0 += A[0] * v
				s1 += A[1] * v
				s2 += A[2] * v
				s3 += A[3] * v
			}
			D[m], D[m+1], D[m+2], D[m+3] = s0, s1, s2, s3
		}
	}
}

// widenGo turns rows of 16 bytes into numbers: eight of 16 bits or four of tf32,
// into d[row][at:]. A fragment register of mma, whose lanes hold eight such rows
// one after the other, is one source.
func widenGo(d [][16]float64, at int, src []uint32, t ptx.Type) {
	for i, v := range src {
		row, e := &d[i/4], i&3
		switch t {
		case ptx.F16:
			row[at+2*e], row[at+2*e+1] = float64(h2f(uint16(v))), float64(h2f(uint16(v>>16)))
		case ptx.BF16:
			row[at+2*e], row[at+2*e+1] = float64(f32(v<<16)), float64(f32(v&^0xffff))
		default:
			row[at+e] = float64(f32(v &^ 0x1fff))
		}
	}
}

// widenAtGo is widenGo for rows of 16 bytes at addresses in shared memory.
func widenAtGo(d [][16]float64, at int, mem []byte, rows []uint32, t ptx.Type) {
	for i, a := range rows {
		b := mem[a : a+16 : a+16]
		widenGo(d[i:i+1], at, []uint32{le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:])}, t)
	}
}

// spanGo makes at = a + offset, and returns its least and greatest and the or of all.
func spanGo(at, a *[32]uint32, offset uint32) (first, last, all uint32) {
	first = ^uint32(0)
	for i, v := range a {
		v += offset
		at[i] = v
		first, last, all = min(first, v), max(last, v), all|v
	}
	return first, last, all
}

// samePatternGo reports whether the addresses, as seen from the first one, are from.
func samePatternGo(at, from *[32]uint32) bool {
	for i, a := range at {
		if a-at[0] != from[i] {
			return false
		}
	}
	return true
}

// loadQuadsGo loads the four words at each lane's address.
func loadQuadsGo(d0, d1, d2, d3 *[32]uint32, mem []byte, at *[32]uint32) {
	for i, a := range at {
		b := mem[a : a+16 : a+16]
		d0[i], d1[i], d2[i], d3[i] = le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:])
	}
}

// storeQuadsGo stores four words at each lane's address, in the order of the lanes.
func storeQuadsGo(mem []byte, at, s0, s1, s2, s3 *[32]uint32) {
	for i, a := range at {
		b := mem[a : a+16 : a+16]
		le.PutUint32(b, s0[i])
		le.PutUint32(b[4:], s1[i])
		le.PutUint32(b[8:], s2[i])
		le.PutUint32(b[12:], s3[i])
	}
}

// sideBySide are the addresses of quads of which each lane's follows the one before.
var sideBySide = func() (at [32]uint32) {
	for i := range at {
		at[i] = uint32(16 * i)
	}
	return at
}()

// loadRowGo loads a word for each lane from where they stand side by side.
func loadRowGo(d *[32]uint32, mem *[128]byte) {
	for i := range d {
		d[i] = le.Uint32(mem[4*i:])
	}
}

// storeRowGo is the inverse of loadRowGo.
func storeRowGo(mem *[128]byte, s *[32]uint32) {
	for i, v := range s {
		le.PutUint32(mem[4*i:], v)
	}
}

func broadcastGo[T uint32 | uint64](d *[32]T, v T) {
	for i := range d {
		d[i] = v
	}
}

// stridedGo reports whether each value is n more than the one before.
func stridedGo(a *[32]uint64, n uint64) bool {
	for i := 1; i < 32; i++ {
		if a[i]-a[i-1] != n {
			return false
		}
	}
	return true
}

// sumGo is d = c + products for a register of an accumulator, rounded once: lane
// 4m+j has row m of those from row on, in column 2j+odd.
func sumGo(d, c *[32]uint32, products *[8][16]float64, odd, row int) {
	for i := range d {
		d[i] = b32(float32(products[i&3*2+odd][row+i>>2] + float64(f32(c[i]))))
	}
}

// vector is a lane-wise instruction that does a whole warp with row, one of vectors.
func (l laneOp) vector(row any) func(w *warp, o *op, m uint32) {
	lanes := l.fn
	switch f := row.(type) {
	case func(d, a *[32]uint32):
		return func(w *warp, o *op, m uint32) {
			if m != full {
				lanes(w, o, m)
				return
			}
			f(&w.r[o.d], &w.r[o.a])
		}
	case func(d, a *[32]uint64):
		return func(w *warp, o *op, m uint32) {
			if m != full {
				lanes(w, o, m)
				return
			}
			f(&w.q[o.d], &w.q[o.a])
		}
	case func(d, a, b *[32]uint32):
		return func(w *warp, o *op, m uint32) {
			if m != full {
				lanes(w, o, m)
				return
			}
			f(&w.r[o.d], &w.r[o.a], &w.r[o.b])
		}
	case func(d, a, b, c *[32]uint32):
		return func(w *warp, o *op, m uint32) {
			if m != full {
				lanes(w, o, m)
				return
			}
			f(&w.r[o.d], &w.r[o.a], &w.r[o.b], &w.r[o.c])
		}
	case func(d, a, b *[32]uint64):
		return func(w *warp, o *op, m uint32) {
			if m != full {
				lanes(w, o, m)
				return
			}
			f(&w.q[o.d], &w.q[o.a], &w.q[o.b])
		}
	case func(d *[32]uint64, a *[32]uint32):
		return func(w *warp, o *op, m uint32) {
			if m != full {
				lanes(w, o, m)
				return
			}
			f(&w.q[o.d], &w.r[o.a])
		}
	case func(d *[32]uint64, a, b *[32]uint32):
		return func(w *warp, o *op, m uint32) {
			if m != full {
				lanes(w, o, m)
				return
			}
			f(&w.q[o.d], &w.r[o.a], &w.r[o.b])
		}
	case func(d, a *[32]uint64, b *[32]uint32):
		return func(w *warp, o *op, m uint32) {
			if m != full {
				lanes(w, o, m)
				return
			}
			f(&w.q[o.d], &w.q[o.a], &w.r[o.b])
		}
	}
	return lanes
}

// joinGo is dst = max(dst, src).
func joinGo(dst, src []uint32) {
	for i, v := range src {
		if v > dst[i] {
			dst[i] = v
		}
	}
}
