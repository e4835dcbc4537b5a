package sim

import (
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// Matrix products of a warp: mma.sync and wmma. Those of fp16, bf16 and tf32 with sums
// in fp32 (mmaFloats) are what kernels spend their time in; all others go element by
// element.

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

// matmul is D = A*B + C of m x n x k elements.
type matmul struct {
	m, n, k    int
	a, b, c, d ptx.Type
	satfinite  bool
	and        bool // b1: popc(a&b), else popc(a^b)
}

// shape reads "m16n8k32".
func shape(s string) (m, n, k int, ok bool) {
	s, ok = strings.CutPrefix(s, "m")
	ms, rest, ok1 := strings.Cut(s, "n")
	ns, ks, ok2 := strings.Cut(rest, "k")
	m, err1 := strconv.Atoi(ms)
	n, err2 := strconv.Atoi(ns)
	k, err3 := strconv.Atoi(ks)
	return m, n, k, ok && ok1 && ok2 && err1 == nil && err2 == nil && err3 == nil
}

// mmaShapes are the shapes of mma.sync by the type of A, beside those of mmaFloats.
var mmaShapes = map[ptx.Type]string{
	ptx.F16:  "m16n8k8 m16n8k16", // with sums in fp16
	ptx.E4M3: "m16n8k16 m16n8k32", ptx.E5M2: "m16n8k16 m16n8k32",
	ptx.S8: "m8n8k16 m16n8k16 m16n8k32", ptx.U8: "m8n8k16 m16n8k16 m16n8k32",
	ptx.S4: "m8n8k32 m16n8k32 m16n8k64", ptx.U4: "m8n8k32 m16n8k32 m16n8k64",
	ptx.B1:  "m8n8k128 m16n8k128 m16n8k256",
	ptx.F64: "m8n8k4 m16n8k4 m16n8k8 m16n8k16",
}

// matmul decodes what mma and wmma share: types D, A, B, C behind a shape.
func (d *decoder) matmul(shapes string, ts []ptx.Type) *matmul {
	p := &matmul{d: ts[0], a: ts[1], b: ts[2], c: ts[3], satfinite: d.in.Has("satfinite"), and: d.in.Has("and")}
	ok := false
	for _, mod := range d.in.Mods {
		if m, n, k, is := shape(mod); is && slices.Contains(strings.Fields(shapes), mod) {
			p.m, p.n, p.k, ok = m, n, k, true
		}
	}
	if !ok || d.in.Has("rz") || d.in.Has("rm") || d.in.Has("rp") || d.in.Has("rn") && p.a != ptx.F64 ||
		(d.in.Has("popc") && d.in.Has("xor") != p.and) != (p.a == ptx.B1) {
		d.unsupported()
	}
	class := func(t ptx.Type) ptx.Type { // of types that may be mixed
		if c := map[ptx.Type]ptx.Type{ptx.U8: ptx.S8, ptx.U4: ptx.S4, ptx.E5M2: ptx.E4M3}[t]; c != ptx.NoType {
			return c
		}
		return t
	}
	if class(p.a) != class(p.b) || p.satfinite && class(p.a) != ptx.S8 && class(p.a) != ptx.S4 {
		d.unsupported()
	}
	sums := map[ptx.Type][]ptx.Type{
		ptx.F16: {ptx.F16, ptx.F32}, ptx.BF16: {ptx.F32}, ptx.TF32: {ptx.F32}, ptx.E4M3: {ptx.F16, ptx.F32},
		ptx.S8: {ptx.S32}, ptx.S4: {ptx.S32}, ptx.B1: {ptx.S32}, ptx.F64: {ptx.F64},
	}[class(p.a)]
	if !slices.Contains(sums, p.c) || !slices.Contains(sums, p.d) {
		d.unsupported()
	}
	return p
}

// mma.sync.aligned.SHAPE.row.col[.satfinite].TD.TA.TB.TC[.xor.popc|.and.popc] d, a, b, c
func (d *decoder) mma() {
	ts := d.in.Types()
	if len(ts) != 4 || !strings.HasPrefix(d.form(), "sync.aligned.m") || !d.in.Has("row") || !d.in.Has("col") {
		d.unsupported()
	}
	if elementBytes(ts[1]) > 0 && ts[1] == ts[2] && ts[0] == ptx.F32 && ts[3] == ptx.F32 {
		if _, _, k, ok := shape(d.in.Mods[2]); ok && len(d.in.Mods) == 9 && slices.Contains([]string{"m16n8k4", "m16n8k8", "m16n8k16"}, d.in.Mods[2]) {
			d.mmaFloats(ts[1], k)
			return
		}
		d.unsupported()
	}
	p := d.matmul(mmaShapes[ts[1]], ts)
	if p.c != p.d {
		d.unsupported()
	}
	d.multiply(p, fragmentA(p.m, p.k, p.a.Bits()), fragmentB(p.k, p.n, p.b.Bits()), fragmentC(p.m, p.n, p.c.Bits()), fragmentC(p.m, p.n, p.d.Bits()))
}

// fragment says which element of a matrix each lane holds in each of its registers.
// at[(q*32+lane)*per+e] is where element e of register q of a lane stands in the matrix,
// row by row.
type fragment struct {
	bits, per int
	at        []uint16
}

// regs is the number of registers of a lane.
func (f *fragment) regs() int { return len(f.at) / 32 / f.per }

// add appends a register: place gives row and column for lane 4g+t and element e.
func (f *fragment) add(columns int, place func(g, t, e int) (row, col int)) {
	for lane := range 32 {
		for e := range f.per {
			row, col := place(lane>>2, lane&3, e)
			f.at = append(f.at, uint16(row*columns+col))
		}
	}
}

func newFragment(bits int) *fragment { return &fragment{bits: bits, per: max(32/bits, 1)} }

// fragmentA, fragmentB and fragmentC are the layouts of the PTX ISA for mma: A in blocks
// of up to 16 rows, B in blocks of 8 columns, C and D in both.
func fragmentA(m, k, bits int) *fragment {
	f := newFragment(bits)
	for from := 0; from < m; from += 16 {
		halves := min(m, 16) / 8
		for q := range halves * k / (4 * f.per) {
			f.add(k, func(g, t, e int) (int, int) { return from + g + q%halves*8, f.per*t + e + 4*f.per*(q/halves) })
		}
	}
	return f
}

func fragmentB(k, n, bits int) *fragment {
	f := newFragment(bits)
	for from := 0; from < n; from += 8 {
		for q := range k / (4 * f.per) {
			f.add(n, func(g, t, e int) (int, int) { return f.per*t + e + 4*f.per*q, from + g })
		}
	}
	return f
}

func fragmentC(m, n, bits int) *fragment {
	f := newFragment(bits)
	for from := 0; from < m; from += 16 {
		for left := 0; left < n; left += 8 {
			for q := range min(m, 16) / 4 / f.per {
				f.add(n, func(g, t, e int) (int, int) {
					i := q*f.per + e // row g has two elements of the lane, row g+8 two more
					return from + g + i/2*8, left + 2*t + i%2
				})
			}
		}
	}
	return f
}

// gather takes a matrix, each element in its low bits, out of the lanes' registers.
func (f *fragment) gather(w *warp, regs []int32, m []uint64) {
	at := f.at
	mask := uint32(uint64(1)<<f.bits - 1)
	for _, r := range regs {
		for lane := range 32 {
			if f.bits == 64 {
				m[at[0]], at = w.q[r][lane], at[1:]
				continue
			}
			v := w.r[r][lane]
			for e, i := range at[:f.per] {
				m[i] = uint64(v >> (e * f.bits) & mask)
			}
			at = at[f.per:]
		}
	}
}

// scatter is the inverse of gather.
func (f *fragment) scatter(w *warp, regs []int32, m []uint64) {
	at := f.at
	for _, r := range regs {
		for lane := range 32 {
			if f.bits == 64 {
				w.q[r][lane], at = m[at[0]], at[1:]
				continue
			}
			var v uint32
			for e, i := range at[:f.per] {
				v |= uint32(m[i]) << (e * f.bits)
			}
			w.r[r][lane], at = v, at[f.per:]
		}
	}
}

// registersOf returns the registers of a fragment's operand.
func (d *decoder) registersOf(arg int, f *fragment, result bool) []int32 {
	elems := vec(d.in.Args[arg])
	if len(elems) != f.regs() {
		d.fail("operand %d has %d registers, want %d", arg+1, len(elems), f.regs())
	}
	var rs []int32
	for _, e := range elems {
		switch {
		case f.bits == 64 && result:
			rs = append(rs, d.dst64(e))
		case f.bits == 64:
			rs = append(rs, d.src64(e))
		case result:
			rs = append(rs, d.dst32(e))
		default:
			rs = append(rs, d.src32(e))
		}
	}
	return rs
}

// multiply decodes operands d, a, b, c.
func (d *decoder) multiply(p *matmul, fa, fb, fc, fd *fragment) {
	d.args(4, 4)
	if p.a == ptx.B1 { // 32 at a time
		q := *p
		q.k /= 32
		p = &q
		fa, fb = fragmentA(p.m, p.k, 32), fragmentB(p.k, p.n, 32)
	}
	rd, ra, rb, rc := d.registersOf(0, fd, true), d.registersOf(1, fa, false), d.registersOf(2, fb, false), d.registersOf(3, fc, false)
	d.o.sync = aligned
	d.o.fn = func(w *warp, _ *op, _ uint32) {
		var a, b, c [1024]uint64
		fa.gather(w, ra, a[:])
		fb.gather(w, rb, b[:])
		fc.gather(w, rc, c[:])
		p.run(a[:], b[:], c[:])
		fd.scatter(w, rd, c[:])
	}
}

// run makes D of C.
func (p *matmul) run(a, b, c []uint64) {
	row := func(i int) []uint64 { return a[i*p.k:][:p.k] }
	for i := range p.m {
		for j := range p.n {
			v := &c[i*p.n+j]
			switch p.d {
			case ptx.S32:
				*v = p.integer(row(i), b[j:], int64(int32(*v)))
			case ptx.F64: // an fma for each k
				sum := *v
				for k, x := range row(i) {
					y := b[k*p.n+j]
					sum = nan3(math.FMA(f64(x), f64(y), f64(sum)), y, sum, x)
				}
				*v = sum
			default:
				*v = p.float(row(i), b[j:], *v)
			}
		}
	}
}

func (p *matmul) integer(a, b []uint64, sum int64) uint64 {
	for k, x := range a {
		y := b[k*p.n]
		switch {
		case p.a == ptx.B1 && p.and:
			sum += int64(bits.OnesCount32(uint32(x & y)))
		case p.a == ptx.B1:
			sum += int64(bits.OnesCount32(uint32(x ^ y)))
		default:
			sum += integer(p.a, x) * integer(p.b, y)
		}
	}
	if p.satfinite {
		sum = min(max(sum, math.MinInt32), math.MaxInt32)
	}
	return uint64(uint32(sum))
}

// integer is the value of the low bits of v.
func integer(t ptx.Type, v uint64) int64 {
	n := t.Bits()
	if t.Signed() {
		return int64(v) << (64 - n) >> (64 - n)
	}
	return int64(v)
}

// float sums in fp64 and rounds once to fp16 or fp32.
func (p *matmul) float(a, b []uint64, c uint64) uint64 {
	var sum float64
	for k, x := range a {
		sum += narrow(p.a, uint32(x)) * narrow(p.b, uint32(b[k*p.n]))
	}
	from := float64(f32(uint32(c)))
	if p.c == ptx.F16 {
		from = float64(h2f(uint16(c)))
	}
	if p.d == ptx.F16 {
		return uint64(round16(sum, from, f2h))
	}
	return uint64(b32(float32(sumOdd(sum, from))))
}

// narrow is the value of an element of a matrix product.
func narrow(t ptx.Type, v uint32) float64 {
	switch t {
	case ptx.F16:
		return float64(h2f(uint16(v)))
	case ptx.BF16:
		return float64(bf2f(uint16(v)))
	case ptx.TF32:
		return float64(f32(v &^ 0x1fff))
	case ptx.E4M3:
		return float64(e4m3(uint8(v)))
	default:
		return float64(e5m2(uint8(v)))
	}
}

// mma.sync.aligned.m16n8kK.row.col.f32.T.T.f32 d, a, b, c with T f16, bf16
// (K 8 or 16) or tf32 (K 4 or 8). Sums in fp64, rounds once.
func (d *decoder) mmaFloats(typ ptx.Type, k int) {
	size := elementBytes(typ)
	regsA := k * size / 8 // registers: 16*k elements over 32 lanes
	if regsA < 2 || regsA > 4 {
		d.unsupported()
	}
	d.args(4, 4)
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
		if k*size < 32 {
			t.b = [tileColumns][16]float64{}
		}
		t.fragmentA(w, A[:regsA], k, typ)
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
