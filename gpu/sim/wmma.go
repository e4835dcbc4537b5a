package sim

import (
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// wmma keeps matrices in fragments of which the PTX ISA does not say what they hold.
// Here it is what mma has in its operands, block after block, whether the matrix stands
// in memory by rows or by columns; where the ISA has more registers than that takes (fp16),
// the others hold the same again. So may a GPU; a kernel that rests on it is not portable.

// wmmaShapes are the shapes of wmma by the type of A.
var wmmaShapes = map[ptx.Type]string{
	ptx.F16: "m16n16k16 m32n8k16 m8n32k16", ptx.BF16: "m16n16k16 m32n8k16 m8n32k16",
	ptx.S8: "m16n16k16 m32n8k16 m8n32k16", ptx.U8: "m16n16k16 m32n8k16 m8n32k16",
	ptx.TF32: "m16n16k8", ptx.F64: "m8n8k4", ptx.S4: "m8n8k32", ptx.U4: "m8n8k32", ptx.B1: "m8n8k128",
}

// wmmaFragment is the fragment of matrix a, b, c or d, and the rows and columns of the
// matrix. Types below a byte are words of 8 or 32 elements.
func wmmaFragment(which string, m, n, k int, t ptx.Type) (f *fragment, rows, columns int) {
	bits := t.Bits()
	if bits < 8 {
		k, bits = k*bits/32, 32
	}
	switch which {
	case "a":
		f, rows, columns = fragmentA(m, k, bits), m, k
	case "b":
		f, rows, columns = fragmentB(k, n, bits), k, n
	default:
		return fragmentC(m, n, bits), m, n
	}
	return repeated(f, t), rows, columns
}

// repeated fills the eight registers that fp16 has.
func repeated(f *fragment, t ptx.Type) *fragment {
	if t == ptx.F16 {
		f.at = slices.Repeat(f.at, 8/f.regs())
	}
	return f
}

func (d *decoder) wmma() {
	in := d.in
	d.o.sync = aligned
	if len(in.Mods) > 0 && (in.Mods[0] == "load" || in.Mods[0] == "store") {
		d.wmmaMove(in.Mods[0] == "store")
		return
	}
	ts := in.Types()
	if !strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(d.form("xor", "and"), "mma."), "popc."), "sync.aligned.") || !in.Has("mma") {
		d.unsupported()
	}
	if len(ts) == 2 { // D and C: A and B are fp16
		ts = []ptx.Type{ts[0], ptx.F16, ptx.F16, ts[1]}
	}
	if len(ts) != 4 || ts[1] != ts[2] || ts[1] != ptx.F16 && ts[0] != ts[3] ||
		ts[1].Bits() < 8 && !strings.Contains(d.form(), "row.col") {
		d.unsupported()
	}
	p := d.matmul(wmmaShapes[ts[1]], ts)
	fa, fb := repeated(fragmentA(p.m, p.k, p.a.Bits()), p.a), repeated(fragmentB(p.k, p.n, p.b.Bits()), p.b)
	d.multiply(p, fa, fb, fragmentC(p.m, p.n, p.c.Bits()), fragmentC(p.m, p.n, p.d.Bits()))
}

// wmma.load.{a,b,c}.sync.aligned.LAYOUT.SHAPE[.space].TYPE r, [p][, stride]
// wmma.store.d.sync.aligned.LAYOUT.SHAPE[.space].TYPE [p], r[, stride]
func (d *decoder) wmmaMove(store bool) {
	in := d.in
	t := in.Type()
	if len(in.Mods) < 7 || in.Mods[2] != "sync" || in.Mods[3] != "aligned" {
		d.unsupported()
	}
	which, layout, size := in.Mods[1], in.Mods[4], in.Mods[5]
	of := []ptx.Type{t} // types that A may then have
	if which == "c" || which == "d" {
		of = map[ptx.Type][]ptx.Type{
			ptx.F16: {ptx.F16}, ptx.F32: {ptx.F16, ptx.TF32}, ptx.F64: {ptx.F64}, ptx.S32: {ptx.S8, ptx.S4, ptx.B1},
		}[t]
	}
	m, n, k, ok := shape(size)
	ok = ok && slices.ContainsFunc(of, func(a ptx.Type) bool { return slices.Contains(strings.Fields(wmmaShapes[a]), size) })
	if !ok || layout != "row" && layout != "col" || !slices.Contains([]string{"a", "b", "c", "d"}, which) || store != (which == "d") {
		d.unsupported()
	}
	byRow := layout == "row"
	if t.Bits() < 8 && byRow != (which == "a") {
		d.unsupported()
	}
	f, rows, columns := wmmaFragment(which, m, n, k, t)
	d.args(2, 3)
	x := &access{space: d.space(), bytes: f.bits / 8, store: store}
	if x.space != ptx.NoSpace && x.space != ptx.Global && x.space != ptx.Shared {
		d.unsupported()
	}
	memory, values := 1, 0
	if store {
		memory, values = 0, 1
	}
	d.address(in.Args[memory], x)
	regs := d.registersOf(values, f, !store)
	leading := rows // distance of columns
	if byRow {
		leading = columns
	}
	leading *= f.bits / t.Bits()
	d.o.b = d.k32(uint32(leading))
	if len(in.Args) == 3 {
		d.o.b = d.src32(in.Args[2])
	}
	// The ISA wants rows aligned to the bytes of a fragment; CUDA's wmma.hpp, which
	// programs are written by, to 16 bytes where fragments are larger.
	align := uint64(min(16, len(regs)*max(f.bits, 32)/8))
	// Elements of a register that stand side by side are accessed at once.
	run := 1
	if byRow == (which != "b") {
		run = f.per
	}
	x.bytes *= run
	d.o.fn = func(w *warp, o *op, _ uint32) {
		base, stride := w.address(o, x, 0), uint64(w.r[o.b][0])*uint64(t.Bits())/8
		for i := range 32 {
			if w.address(o, x, i) != base || w.r[o.b][i] != w.r[o.b][0] {
				w.trap(Misuse, o, i, "lanes 0 and %d have different addresses or strides", i)
			}
		}
		if base%align != 0 || stride%align != 0 {
			w.trap(Misaligned, o, 0, "a matrix at %#x with rows or columns %d bytes apart, want multiples of %d", base, stride, align)
		}
		var at [32]uint64
		for q, r := range regs {
			for e := 0; e < f.per; e += run {
				for i := range at {
					n := int(f.at[(32*q+i)*f.per+e])
					row, col := n/columns, n%columns
					if !byRow {
						row, col = col, row
					}
					at[i] = base + uint64(row)*stride + uint64(col*f.bits/8)
				}
				w.matrixElements(o, x, r, e*f.bits, &at)
			}
		}
	}
}

// matrixElements moves x.bytes of a register of each lane, from a bit on.
func (w *warp) matrixElements(o *op, x *access, r int32, bit int, at *[32]uint64) {
	w.profileMatrix(o, x, at)
	mask := uint32(uint64(1)<<(8*x.bytes) - 1)
	for i, a := range at {
		b := w.touch(o, x.space, a, x.bytes, i, x.store, false, false)
		switch {
		case x.bytes == 8 && x.store:
			le.PutUint64(b, w.q[r][i])
		case x.bytes == 8:
			w.q[r][i] = le.Uint64(b)
		case x.store:
			putBytes(b, x.bytes, w.r[r][i]>>bit)
		default:
			w.r[r][i] = w.r[r][i]&^(mask<<bit) | getBytes(b, x.bytes)<<bit
		}
	}
}

// profileMatrix is profileAccess of an instruction that has an address for each step.
func (w *warp) profileMatrix(o *op, x *access, at *[32]uint64) {
	p := &w.g.prof
	if p.global == nil {
		return
	}
	addr := func(i int) uint64 { return at[i] }
	switch {
	case x.space == ptx.Global || at[0] >= globalBase:
		p.sectors(o.pc, full, x.bytes, addr)
	case x.space == ptx.Shared || at[0] >= sharedBase && at[0] < sharedBase+windowBytes:
		p.wavefronts(o.pc, full, x.bytes, addr)
	}
}

func getBytes(b []byte, n int) (v uint32) {
	for i := range n {
		v |= uint32(b[i]) << (8 * i)
	}
	return v
}

func putBytes(b []byte, n int, v uint32) {
	for i := range n {
		b[i] = byte(v >> (8 * i))
	}
}
