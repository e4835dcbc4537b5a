package conform

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// product is a matrix product of whole numbers, so that any order of sums gives the same
// bits.
type product struct {
	form       string
	m, n, k    int
	a, b, c, d ptx.Type
	sat        bool
	arch, isa  string

	A, B, C []int // row by row
}

// random fills the matrices: integers of the whole range, floats so small that all sums
// are exact.
func (p *product) random() {
	r := rand.New(rand.NewPCG(uint64(p.k), uint64(len(p.form))))
	fill := func(n int, t ptx.Type) []int {
		v := make([]int, n)
		for i := range v {
			switch {
			case t == ptx.S32 && p.sat && i%3 > 0:
				v[i] = []int{math.MaxInt32, math.MinInt32}[i%3-1] - i*7 + 400
				v[i] = min(max(v[i], math.MinInt32), math.MaxInt32)
			case t == ptx.S32:
				v[i] = int(int32(r.Uint32()))
			case t.Float():
				v[i] = r.IntN(9) - 4
			default:
				v[i] = int(r.Uint32() & (1<<t.Bits() - 1))
				if t.Signed() {
					v[i] -= 1 << (t.Bits() - 1)
				}
			}
		}
		return v
	}
	p.A, p.B, p.C = fill(p.m*p.k, p.a), fill(p.k*p.n, p.b), fill(p.m*p.n, p.c)
}

// want is an element of A*B + C, encoded.
func (p *product) want(row, col int) uint64 {
	s := p.C[row*p.n+col]
	for k := range p.k {
		x, y := p.A[row*p.k+k], p.B[k*p.n+col]
		switch {
		case p.a == ptx.B1 && strings.Contains(p.form, "and"):
			s += x & y
		case p.a == ptx.B1:
			s += x ^ y
		default:
			s += x * y
		}
	}
	if p.sat {
		s = min(max(s, math.MinInt32), math.MaxInt32)
	}
	return number64(p.d, s)
}

// number64 encodes a whole number.
func number64(t ptx.Type, v int) uint64 {
	switch t {
	case ptx.TF32:
		t = ptx.F32
	case ptx.E4M3:
		return format{8, 4, -6, 0x7f}.encode(finite(float64(v)), nearestEven)
	case ptx.E5M2:
		return format{8, 3, -14, 0x7f}.encode(finite(float64(v)), nearestEven)
	default:
	}
	if f, ok := formats[t]; ok {
		return f.encode(finite(float64(v)), nearestEven)
	}
	return uint64(v) & (1<<t.Bits() - 1)
}

// pack makes a register of elements, the first in the lowest bits.
func pack(per, bits int, get func(e int) uint64) (v uint64) {
	for e := range per {
		v |= get(e) << (e * bits)
	}
	return v
}

// per is how many elements of a type a register has.
func per(t ptx.Type) int { return max(32/max(t.Bits(), 1), 1) }

// mmaCase is the case of an mma.sync with fragments as the ISA's figures have them.
func mmaCase(p product) hand {
	p.random()
	size := 4
	if p.a == ptx.F64 {
		size = 8
	}
	var in, want []byte
	put := func(b []byte, v uint64) []byte { return append(b, le.AppendUint64(nil, v)[:size]...) }
	rows := p.m / 8
	nA, nB, nC := rows*p.k/4/per(p.a), p.k/4/per(p.a), 2*rows/per(p.c)
	bits := max(p.a.Bits(), 1)
	for i := range 32 {
		g, t := i/4, i%4
		for q := range nA {
			row, col := g+8*(q%rows), per(p.a)*t+4*per(p.a)*(q/rows)
			in = put(in, pack(per(p.a), bits, func(e int) uint64 { return number64(p.a, p.A[row*p.k+col+e]) }))
		}
		for q := range nB {
			row := per(p.a)*t + 4*per(p.a)*q
			in = put(in, pack(per(p.a), bits, func(e int) uint64 { return number64(p.b, p.B[(row+e)*p.n+g]) }))
		}
		of := func(q, e int) (row, col int) {
			if per(p.c) == 2 {
				return g + 8*q, 2*t + e
			}
			return g + 8*(q/2), 2*t + q%2
		}
		for q := range nC {
			in = put(in, pack(per(p.c), p.c.Bits(), func(e int) uint64 { row, col := of(q, e); return number64(p.c, p.C[row*p.n+col]) }))
			want = put(want, pack(per(p.c), p.c.Bits(), func(e int) uint64 { row, col := of(q, e); return p.want(row, col) }))
		}
	}
	n := nA + nB + nC
	var body strings.Builder
	fmt.Fprintf(&body, "mad.wide.u32 %%q0, %%t, %d, %%in0;\nmad.wide.u32 %%q1, %%t, %d, %%out;\n", size*n, size*nC)
	for i := range n {
		fmt.Fprintf(&body, "ld.global.b%d %%x%d, [%%q0+%d];\n", 8*size, i, size*i)
	}
	fmt.Fprintf(&body, "%s %s, %s, %s, %s;\n", p.form, registers(n, nC), registers(0, nA), registers(nA, nB), registers(nA+nB, nC))
	for i := range nC {
		fmt.Fprintf(&body, "st.global.b%d [%%q1+%d], %%x%d;\n", 8*size, size*i, n+i)
	}
	return hand{
		covers: []string{p.form}, arch: p.arch, isa: p.isa, in: [][]byte{in}, want: want, elem: ptx.TypeNamed(fmt.Sprintf("b%d", 8*size)),
		local: fmt.Sprintf(".reg .b%d %%x<%d>;", 8*size, n+nC), body: body.String(),
	}
}

// registers is {%xFROM, …}, n of them.
func registers(from, n int) string {
	var s []string
	for i := range n {
		s = append(s, fmt.Sprintf("%%x%d", from+i))
	}
	return "{" + strings.Join(s, ", ") + "}"
}

// productForms: mma.sync beyond mmaForms.
func productForms() []hand {
	var hs []hand
	add := func(m, n, k int, a, b, c ptx.Type, arch string, mods ...string) {
		p := product{m: m, n: n, k: k, a: a, b: b, c: c, d: c, arch: arch}
		sat, op := "", ""
		for _, mod := range mods {
			if mod == "satfinite" {
				p.sat, sat = true, ".satfinite"
			} else {
				op = "." + mod + ".popc"
			}
		}
		p.form = fmt.Sprintf("mma.sync.aligned.m%dn%dk%d.row.col%s.%v.%v.%v.%v%s", m, n, k, sat, c, a, b, c, op)
		if op != "" {
			p.isa = "7.1"
		}
		if a.Bits() == 8 && a.Float() {
			p.isa = "8.7"
		}
		hs = append(hs, mmaCase(p))
	}
	for _, k := range []int{8, 16} {
		add(16, 8, k, ptx.F16, ptx.F16, ptx.F16, "sm_80")
	}
	for _, s := range []struct {
		m, k int
		t    [2]ptx.Type
	}{
		{8, 16, [2]ptx.Type{ptx.S8, ptx.U8}},
		{16, 16, [2]ptx.Type{ptx.S8, ptx.U8}},
		{16, 32, [2]ptx.Type{ptx.S8, ptx.U8}},
		{8, 32, [2]ptx.Type{ptx.S4, ptx.U4}},
		{16, 32, [2]ptx.Type{ptx.S4, ptx.U4}},
		{16, 64, [2]ptx.Type{ptx.S4, ptx.U4}},
	} {
		for i := range 4 {
			a, b := s.t[i/2], s.t[i%2]
			add(s.m, 8, s.k, a, b, ptx.S32, "sm_80")
			add(s.m, 8, s.k, a, b, ptx.S32, "sm_80", "satfinite")
		}
	}
	for _, op := range []string{"xor", "and"} {
		add(8, 8, 128, ptx.B1, ptx.B1, ptx.S32, "sm_80", op)
		add(16, 8, 128, ptx.B1, ptx.B1, ptx.S32, "sm_80", op)
		add(16, 8, 256, ptx.B1, ptx.B1, ptx.S32, "sm_80", op)
	}
	add(8, 8, 4, ptx.F64, ptx.F64, ptx.F64, "sm_80")
	for _, k := range []int{4, 8, 16} {
		add(16, 8, k, ptx.F64, ptx.F64, ptx.F64, "sm_90a")
	}
	for _, c := range []ptx.Type{ptx.F32, ptx.F16} {
		for _, a := range []ptx.Type{ptx.E4M3, ptx.E5M2} {
			for _, b := range []ptx.Type{ptx.E4M3, ptx.E5M2} {
				for _, k := range []int{16, 32} {
					add(16, 8, k, a, b, c, "sm_90a")
				}
			}
		}
	}
	return hs
}

// wmmaCase loads matrices, multiplies them and stores the result. Memory is global, shared or generic by turns; rows have room between them where a
// stride says so.
func wmmaCase(p product, rowA, rowB bool, turn int) hand {
	p.random()
	space := []string{".global", ".shared", ""}[turn%3]
	strided := turn%4 > 0
	// image lays a matrix out; stride is in elements.
	image := func(m []int, rows, columns int, byRow bool, t ptx.Type) (img []byte, stride int) {
		bits := t.Bits()
		stride = rows
		if byRow {
			stride = columns
		}
		if strided {
			stride += 128 / bits
		}
		lines := rows + columns - map[bool]int{true: columns, false: rows}[byRow]
		img = make([]byte, (lines*stride*bits/8+31)/32*32)
		for i, v := range m {
			at := i%columns*stride + i/columns
			if byRow {
				at = i/columns*stride + i%columns
			}
			for b := range bits {
				img[(at*bits+b)/8] |= byte(number64(t, v) >> b & 1 << ((at*bits + b) % 8))
			}
		}
		return img, stride
	}
	rowC := turn%2 == 0
	a, strideA := image(p.A, p.m, p.k, rowA, p.a)
	b, strideB := image(p.B, p.k, p.n, rowB, p.b)
	c, strideC := image(p.C, p.m, p.n, rowC, p.c)
	result := make([]int, p.m*p.n)
	want, strideD := image(result, p.m, p.n, !rowC, p.d)
	size := p.d.Bits() / 8
	for i := range result {
		row, col := i/p.n, i%p.n
		at := row*strideD + col
		if rowC {
			at = col*strideD + row
		}
		copy(want[at*size:(at+1)*size], le.AppendUint64(nil, p.want(row, col)))
	}
	in := append(append(append([]byte{}, a...), b...), c...)
	layout := func(byRow bool) string { return map[bool]string{true: "row", false: "col"}[byRow] }
	shape := fmt.Sprintf("m%dn%dk%d", p.m, p.n, p.k)
	regs := func(which string, t ptx.Type) int {
		if which == "a" || which == "b" {
			if t == ptx.F16 {
				return 8
			}
			n := map[string]int{"a": p.m, "b": p.n}[which] * p.k / 32
			return max(n*min(t.Bits(), 32)/32, 1)
		}
		return p.m * p.n / 32 / per(t)
	}
	class := func(t ptx.Type) string { return map[bool]string{true: "%y", false: "%x"}[t == ptx.F64] }
	n := 0
	list := func(count int, t ptx.Type) string {
		var s []string
		for range count {
			s = append(s, fmt.Sprintf("%s%d", class(t), n))
			n++
		}
		return "{" + strings.Join(s, ", ") + "}"
	}
	var body strings.Builder
	var covers []string
	base, shared := "%in0", ""
	loadBuf := func(threads, n int) string {
		return strings.Replace(loadBuf(threads, n), "fence.proxy.async.shared::cta;", "", 1)
	}
	switch space {
	case ".shared":
		body.WriteString(loadBuf(32, len(in)))
		base, shared = "%r30", ".shared .align 128 .b8 buf["+fmt.Sprint(len(in))+"];\n"
	case "":
		if turn%2 == 1 { // shared memory, generic
			body.WriteString(loadBuf(32, len(in)) + "cvt.u64.u32 %q10, %r30;\ncvta.shared.u64 %q10, %q10;\n")
			base, shared = "%q10", ".shared .align 128 .b8 buf["+fmt.Sprint(len(in))+"];\n"
		}
	}
	load := func(which string, at int, byRow bool, t ptx.Type, stride int) string {
		form := fmt.Sprintf("wmma.load.%s.sync.aligned.%s.%s%s.%v", which, layout(byRow), shape, space, t)
		covers = append(covers, form)
		l := list(regs(which, t), t)
		fmt.Fprintf(&body, "%s %s, [%s+%d]", form, l, base, at)
		if strided {
			fmt.Fprintf(&body, ", %d", stride)
		}
		body.WriteString(";\n")
		return l
	}
	la, lb := load("a", 0, rowA, p.a, strideA), load("b", len(a), rowB, p.b, strideB)
	lc := load("c", len(a)+len(b), rowC, p.c, strideC)
	ld := list(regs("d", p.d), p.d)
	types := fmt.Sprintf("%v.%v.%v.%v", p.d, p.a, p.b, p.c)
	if p.a == ptx.F16 {
		types = fmt.Sprintf("%v.%v", p.d, p.c)
	}
	op, sat := "", ""
	if p.a == ptx.B1 {
		op = "." + p.form + ".popc"
	}
	if p.sat {
		sat = ".satfinite"
	}
	mma := fmt.Sprintf("wmma.mma%s.sync.aligned.%s.%s.%s.%s%s", op, layout(rowA), layout(rowB), shape, types, sat)
	store := fmt.Sprintf("wmma.store.d.sync.aligned.%s.%s.global.%v", layout(!rowC), shape, p.d)
	if space != ".global" {
		store = strings.Replace(store, ".global", "", 1)
	}
	fmt.Fprintf(&body, "%s %s, %s, %s, %s;\n%s [%%out], %s", mma, ld, la, lb, lc, store, ld)
	if strided {
		body.WriteString(", %r29;\n")
	} else {
		body.WriteString(";\n")
	}
	return hand{
		name: fmt.Sprintf("wmma.%s.%s.%s.%s%s%s", shape, layout(rowA), layout(rowB), types, sat, op), covers: append(covers, mma, store),
		arch: "sm_80", isa: p.isa, in: [][]byte{in}, want: want, elem: ptx.U8,
		local: shared + fmt.Sprintf(".reg .b32 %%x<%d>;\n.reg .b64 %%y<%d>;", n, n),
		body:  fmt.Sprintf("mov.u32 %%r29, %d;\n", strideD) + body.String(),
	}
}

// wmmaForms: every shape and type, in every layout.
func wmmaForms() []hand {
	var hs []hand
	turn := 0
	add := func(m, n, k int, a, c, d ptx.Type, sat bool, form string) {
		for i := range 4 {
			rowA, rowB := i&1 == 0, i&2 == 0
			if a.Bits() < 8 && (!rowA || rowB) {
				continue
			}
			p := product{form: form, m: m, n: n, k: k, a: a, b: a, c: c, d: d, sat: sat}
			if form == "and" {
				p.isa = "7.1"
			}
			hs = append(hs, wmmaCase(p, rowA, rowB, turn))
			turn += 5
		}
	}
	for _, s := range [][2]int{{16, 16}, {32, 8}, {8, 32}} {
		for _, c := range []ptx.Type{ptx.F16, ptx.F32} {
			for _, d := range []ptx.Type{ptx.F16, ptx.F32} {
				add(s[0], s[1], 16, ptx.F16, c, d, false, "")
			}
		}
		add(s[0], s[1], 16, ptx.BF16, ptx.F32, ptx.F32, false, "")
		for _, a := range []ptx.Type{ptx.S8, ptx.U8} {
			add(s[0], s[1], 16, a, ptx.S32, ptx.S32, false, "")
			add(s[0], s[1], 16, a, ptx.S32, ptx.S32, true, "")
		}
	}
	add(16, 16, 8, ptx.TF32, ptx.F32, ptx.F32, false, "")
	add(8, 8, 4, ptx.F64, ptx.F64, ptx.F64, false, "")
	for _, a := range []ptx.Type{ptx.S4, ptx.U4} {
		add(8, 8, 32, a, ptx.S32, ptx.S32, false, "")
		add(8, 8, 32, a, ptx.S32, ptx.S32, true, "")
	}
	add(8, 8, 128, ptx.B1, ptx.S32, ptx.S32, false, "xor")
	add(8, 8, 128, ptx.B1, ptx.S32, ptx.S32, false, "and")
	return hs
}
