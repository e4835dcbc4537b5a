package conform

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// excluded lane-wise names have their own cases, for want of values to put in.
var excluded = map[string]bool{"cvta.to.global.u64": true}

// laneCases makes a case of every lane-wise instruction and comparison.
func laneCases() []*Case {
	var cs []*Case
	for _, name := range sim.LaneOps() {
		if excluded[name] {
			continue
		}
		f, err := formOf(name)
		if err != nil {
			cs = append(cs, &Case{Name: "no_oracle." + name}) // the tests say so
			continue
		}
		cs = append(cs, f.lanes(name, name+" %d, %s;"))
	}
	for _, cmp := range sim.Comparisons() {
		op, typ, _ := strings.Cut(cmp, ".")
		t := ptx.TypeNamed(typ)
		f := form{name: "setp." + cmp, dst: ptx.U32, src: []ptx.Type{t, t}}
		f.eval = func(a []uint64) uint64 {
			if compare(op, number(t, a[0]), number(t, a[1])) {
				return 1
			}
			return 0
		}
		cs = append(cs, f.lanes("setp."+cmp, "setp."+cmp+" %%p, %s;\n\tselp.u32 %d, 1, 0, %%p;"))
	}
	for _, f := range setForms() {
		cs = append(cs, f.lanes(f.name, f.name+" %d, %s;"))
	}
	for _, t := range []ptx.Type{ptx.F32, ptx.F64} {
		for _, kind := range []string{"finite", "infinite", "number", "notanumber", "normal", "subnormal"} {
			f := form{name: "testp." + kind + "." + t.String(), dst: ptx.U32, src: []ptx.Type{t}}
			fl := formats[t]
			f.eval = func(a []uint64) uint64 {
				n := fl.decode(a[0])
				small := n.v != nil && n.v.Sign() != 0 && n.v.MantExp(nil)-1 < fl.emin
				return uint64(one(map[string]bool{
					"finite": n.v != nil, "infinite": n.inf, "number": !n.nan, "notanumber": n.nan,
					"normal": n.v != nil && !small, "subnormal": small,
				}[kind]))
			}
			cs = append(cs, f.lanes(f.name, f.name+" %%p, %s;\n\tselp.u32 %d, 1, 0, %%p;"))
		}
	}
	for _, c := range []struct {
		cmp string
		t   ptx.Type
	}{{"lt", ptx.F32}, {"ne", ptx.F32}, {"neu", ptx.F32}, {"num", ptx.F32}, {"ge", ptx.F16}, {"equ", ptx.F16}} {
		f := form{name: "setp." + c.cmp + ".ftz." + c.t.String(), dst: ptx.U32, src: []ptx.Type{c.t, c.t}}
		f.eval = func(a []uint64) uint64 {
			return uint64(one(compare(c.cmp, flushedNumber(c.t, a[0]), flushedNumber(c.t, a[1]))))
		}
		cs = append(cs, f.lanes(f.name, f.name+" %%p, %s;\n\tselp.u32 %d, 1, 0, %%p;"))
	}
	for _, t := range []ptx.Type{ptx.F16x2, ptx.BF16x2} { // the lower comparison and the upper one
		for _, cmp := range []string{"eq", "lt", "geu", "nan"} {
			f := form{name: "setp." + cmp + "." + t.String(), dst: ptx.U32, src: []ptx.Type{t, t}}
			f.eval = func(a []uint64) uint64 {
				h := halfOf(t)
				return uint64(one(compare(cmp, number(h, a[0]&0xffff), number(h, a[1]&0xffff))) +
					2*one(compare(cmp, number(h, a[0]>>16), number(h, a[1]>>16))))
			}
			cs = append(cs, f.lanes(f.name, f.name+" %%p|%%p2, %s;\n\tselp.u32 %d, 1, 0, %%p;\n\t@%%p2 add.u32 %d, %d, 2;"))
		}
	}
	return cs
}

// flushedNumber is number with subnormals as zeros.
func flushedNumber(t ptx.Type, v uint64) num {
	n := number(t, v)
	if n.v != nil && n.v.Sign() != 0 && n.v.MantExp(nil)-1 < formats[t].emin {
		return finite(0)
	}
	return n
}

// setForms: ones, or 1.0, of the result's type where a comparison holds.
func setForms() (fs []form) {
	add := func(cmp, ftz string, d, s ptx.Type) {
		f := form{name: "set." + cmp + ftz + "." + d.String() + "." + s.String(), dst: d, src: []ptx.Type{s, s}}
		yes := uint64(1)<<d.Bits() - 1
		elem := s
		if h := halfOf(s); h != ptx.NoType {
			elem, yes = h, 0xffff
		}
		if d.Float() {
			of := d
			if h := halfOf(d); h != ptx.NoType {
				of = h
			}
			yes = formats[of].encode(finite(1), nearestEven)
		}
		f.eval = func(a []uint64) uint64 {
			var r uint64
			for i := 0; i < s.Bits(); i += elem.Bits() {
				x, y := a[0]>>i&(1<<elem.Bits()-1), a[1]>>i&(1<<elem.Bits()-1)
				if elem.Bits() == 64 {
					x, y = a[0], a[1]
				}
				n, m := number(elem, x), number(elem, y)
				if ftz != "" {
					n, m = flushedNumber(elem, x), flushedNumber(elem, y)
				}
				if compare(cmp, n, m) {
					r |= yes << i
				}
			}
			return r
		}
		fs = append(fs, f)
	}
	for _, cmp := range []string{"eq", "ge", "gt", "le", "lt"} {
		add(cmp, "", ptx.F16x2, ptx.F16x2)
		add(cmp, "", ptx.U32, ptx.F16x2)
	}
	for i, d := range []ptx.Type{ptx.U32, ptx.S32, ptx.F32} {
		for j, s := range []ptx.Type{ptx.B16, ptx.U16, ptx.S16, ptx.B32, ptx.U32, ptx.S32, ptx.B64, ptx.U64, ptx.S64, ptx.F32, ptx.F64} {
			cmps := []string{"eq", "ne", "lt", "le", "gt", "ge"}
			switch {
			case s.Float():
				cmps = append(cmps, "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan")
			case s == ptx.B16 || s == ptx.B32 || s == ptx.B64:
				cmps = cmps[:2]
			}
			add(cmps[(i+j)%len(cmps)], "", d, s)
			add(cmps[(i+j+3)%len(cmps)], "", d, s)
		}
		add("ltu", ".ftz", d, ptx.F32)
	}
	add("eq", "", ptx.U32, ptx.S32)
	add("gt", "", ptx.F32, ptx.F32)
	add("ge", ".ftz", ptx.F32, ptx.F32)
	add("ne", "", ptx.U32, ptx.F64)
	add("leu", "", ptx.F16x2, ptx.F16x2)
	add("ne", "", ptx.BF16x2, ptx.BF16x2)
	add("gt", "", ptx.U32, ptx.BF16x2)
	for _, d := range []ptx.Type{ptx.U16, ptx.S32, ptx.F16} {
		add("gt", "", d, ptx.F16)
		add("nan", "", d, ptx.F16)
	}
	add("le", ".ftz", ptx.F16, ptx.F16)
	add("lt", "", ptx.BF16, ptx.BF16)
	return fs
}

// special values by type, the ones that go wrong.
func special(t ptx.Type) []uint64 {
	if f, ok := formats[t]; ok {
		top := uint64(1) << (f.bits - 1)
		one := f.encode(finite(1), nearestEven)
		inf := f.encode(num{inf: true}, nearestEven)
		var vs []uint64
		for _, v := range []uint64{
			0, 1, 2, 1<<f.fraction() - 1, 1 << f.fraction(), 1<<f.fraction() + 1, one - 1, one, one + 1,
			f.encode(finite(0.1), nearestEven), f.encode(finite(1.5), nearestEven), f.encode(finite(2.5), nearestEven),
			f.encode(finite(3), nearestEven), f.encode(finite(1000.25), nearestEven), inf - 1, inf, inf + 1, f.nan,
		} {
			vs = append(vs, v, v|top)
		}
		if t == ptx.F32 { // where fp16, bf16 and integers begin and end
			for _, v := range []float64{65504, 65519.996, 65520, 6.1035156e-05, 5.9604645e-08, 2.9802322e-08, 2.980233e-08, 3.3895314e38, 2147483647, 4294967295, 0.49999997, 1.0009766, 1.0004883} {
				b := f.encode(finite(v), nearestEven)
				vs = append(vs, b, b|top)
			}
		}
		return vs
	}
	switch t {
	case ptx.F16x2, ptx.BF16x2:
		var vs []uint64
		h := special(halfOf(t))
		for i := range h {
			vs = append(vs, h[i]|h[(i*7+3)%len(h)]<<16)
		}
		return vs
	default:
		vs := []uint64{0, 1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256}
		for _, b := range []int{8, 16, 32, 64} {
			if b <= t.Bits() {
				vs = append(vs, 1<<(b-1)-1, 1<<(b-1), 1<<(b-1)+1, 1<<(b-1)<<1-1)
			}
		}
		for i := range vs {
			vs[i] = mask(t, vs[i])
		}
		return vs
	}
}

// memory gives the type of loads and stores of a register type, and its size.
func memory(t ptx.Type) (string, int) {
	n := t.Bits() / 8
	return map[int]string{1: "u8", 2: "u16", 4: "u32", 8: "u64"}[n], n
}

// register names: a class for each width.
func register(t ptx.Type) string {
	switch t.Bits() {
	case 8, 16:
		return "%h"
	case 64:
		return "%q"
	default:
		return "%s"
	}
}

// step is 1, or 11 for conversions of which there are many alike.
func step(name string) uint64 {
	parts := strings.Split(name, ".")
	if parts[0] == "cvt" && len(parts) > 3 && (parts[1] == "sat" || strings.HasSuffix(parts[1], "i") && parts[2] != "s32" ||
		parts[1] == "rz" || parts[1] == "rm" || parts[1] == "rp" || strings.HasSuffix(name, ".bf16")) {
		return 11
	}
	return 1
}

// lanes makes the case: every special value with every other, or all values of
// a 16-bit operand, then random ones. In text, %d is the result, %s the sources.
func (f form) lanes(file, text string) *Case {
	rnd := rand.New(rand.NewPCG(7, uint64(len(f.name))))
	var rows [][]uint64
	if len(f.src) == 1 && f.src[0].Bits() == 16 {
		for v := uint64(0); v < 1<<16; v += step(f.name) {
			rows = append(rows, []uint64{v})
		}
	}
	sp := make([][]uint64, len(f.src))
	for i, t := range f.src {
		sp[i] = special(t)
	}
	for _, a := range sp[0] {
		if len(f.src) == 1 {
			rows = append(rows, []uint64{a})
			continue
		}
		for _, b := range sp[1] {
			row := []uint64{a, b}
			if len(f.src) == 3 {
				row = append(row, sp[2][rnd.IntN(len(sp[2]))])
			}
			rows = append(rows, row)
		}
	}
	for n := (len(rows)+200+255)/256*256 - len(rows); n > 0; n-- {
		row := make([]uint64, len(f.src))
		for i, t := range f.src {
			row[i] = mask(t, rnd.Uint64())
			if fm, ok := formats[t]; ok && rnd.IntN(2) == 0 { // of moderate size
				row[i] = fm.encode(finite(rnd.NormFloat64()*8), nearestEven)
			}
		}
		rows = append(rows, row)
	}
	dstMem, size := memory(f.dst)
	c := &Case{
		Name: file, Covers: []string{f.name}, Arch: archOf(f.name), Grid: sim.Dim{X: len(rows) / 256}, Block: sim.Dim{X: 256},
		Out: make([]byte, size*len(rows)), Elem: f.dst, ULPs: f.ulps,
	}
	if f.isa == "" {
		f.isa = isaOf(f.name)
	}
	for i := range f.src {
		_, n := memory(f.src[i])
		in := make([]byte, 0, n*len(rows))
		for _, r := range rows {
			in = append(in, le.AppendUint64(nil, r[i])[:n]...)
		}
		c.Inputs = append(c.Inputs, in)
	}
	for _, r := range rows {
		want := le.AppendUint64(nil, mask(f.dst, f.eval(r)))[:size]
		c.Want = append(c.Want, want...)
		if f.bound != nil {
			v, b := value(f.dst, want), 0.0
			if !math.IsInf(v, 0) {
				fm := formats[f.dst]
				b = f.bound(r, v) + math.Ldexp(math.Abs(v), -int(fm.prec)) + math.Ldexp(1, fm.emin-int(fm.prec)) // want is rounded itself
			}
			c.Bounds = append(c.Bounds, b)
		}
	}
	sources[file] = func() string { return f.source(c, text, dstMem, size) }
	return c
}

func archOf(name string) string {
	has := func(part string) bool { return strings.Contains(name, part) }
	switch {
	case has("e4m3") || has("e5m2"), has("u16x2") && !has("f16x2"), has("s16x2"), has("relu.s32"), has("xorsign"),
		strings.HasPrefix(name, "cvt.") && has("tf32") && !has("rna"), strings.HasPrefix(name, "tanh") && has("bf16"), has("ex2") && has("bf16"),
		strings.HasPrefix(name, "set") && has("bf16"), strings.HasPrefix(name, "cvt") && has("bf16") && !has("bf16.f32") && !has("bf16x2.f32"):
		return "sm_90a"
	case strings.Contains(name, "bf16") && !strings.HasPrefix(name, "cvt.rn") && !strings.HasPrefix(name, "fma") &&
		!strings.HasPrefix(name, "m") && !strings.HasPrefix(name, "neg") && !strings.HasPrefix(name, "abs"),
		strings.HasPrefix(name, "mul") && strings.Contains(name, "bf16"), name == "cvt.rn.tf32.f32":
		return "sm_90a" // add, sub, mul, setp on bfloat16 came with sm_90
	}
	return "sm_80"
}

// isaOf is the version with which a form came, where its target alone does not ask for it.
func isaOf(name string) string {
	op, _, _ := strings.Cut(name, ".")
	switch {
	case op == "bmsk" || op == "szext":
		return "7.6"
	case strings.Contains(name, "e4m3") || strings.Contains(name, "e5m2") || strings.Contains(name, "tf32") && strings.Contains(name, "relu"):
		return "8.1"
	}
	return ""
}

// sources writes the files of cases, by name; TestFiles holds the committed
// ones against it.
var sources = map[string]func() string{}

const header = `.version %s
.target %s
.address_size 64

`

// head begins a file. A form that came with a later version of the ISA names it.
func head(arch, isa string) string {
	switch {
	case isa != "":
	case arch == "sm_80":
		isa = "7.0"
	default:
		isa = "8.0"
	}
	return fmt.Sprintf(header, isa, arch)
}

// source is the kernel of a lane-wise case: a thread for each element.
func (f form) source(c *Case, text, dstMem string, size int) string {
	var b strings.Builder
	b.WriteString(head(c.Arch, f.isa))
	b.WriteString(".visible .entry t(.param .u64 out")
	for i := range f.src {
		fmt.Fprintf(&b, ", .param .u64 in%d", i)
	}
	b.WriteString(")\n{\n\t.reg .pred %p;\n\t.reg .b32 %i, %c, %n;\n\t.reg .b64 %a;\n")
	if strings.Contains(text, "%p2") {
		b.WriteString("\t.reg .pred %p2;\n")
	}
	var args []string
	for i, t := range f.src {
		r := fmt.Sprintf("%s%d", register(t), i)
		fmt.Fprintf(&b, "\t.reg .b%d %s;\n", max(t.Bits(), 16), r)
		args = append(args, r)
	}
	fmt.Fprintf(&b, "\t.reg .b%d %%d;\n", max(f.dst.Bits(), 16))
	b.WriteString("\tmov.u32 %c, %ctaid.x;\n\tmov.u32 %n, %ntid.x;\n\tmov.u32 %i, %tid.x;\n\tmad.lo.s32 %i, %c, %n, %i;\n")
	address := func(param string, n int) {
		fmt.Fprintf(&b, "\tmul.wide.u32 %%a, %%i, %d;\n\t.reg .b64 %%b_%s;\n\tld.param.u64 %%b_%s, [%s];\n\tadd.s64 %%a, %%a, %%b_%s;\n", n, param, param, param, param)
	}
	for i, t := range f.src {
		m, n := memory(t)
		address(fmt.Sprintf("in%d", i), n)
		fmt.Fprintf(&b, "\tld.global.%s %s, [%%a];\n", m, args[i])
	}
	text = strings.ReplaceAll(text, "%%", "\x00")
	text = strings.ReplaceAll(text, "%s", strings.Join(args, ", "))
	b.WriteString("\t" + strings.ReplaceAll(text, "\x00", "%") + "\n")
	address("out", size)
	fmt.Fprintf(&b, "\tst.global.%s [%%a], %%d;\n\tret;\n}\n", dstMem)
	return b.String()
}
