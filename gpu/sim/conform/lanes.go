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
	return cs
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

// lanes makes the case: every special value with every other, or all values of
// a 16-bit operand, then random ones. In text, %d is the result, %s the sources.
func (f form) lanes(file, text string) *Case {
	rnd := rand.New(rand.NewPCG(7, uint64(len(f.name))))
	var rows [][]uint64
	if len(f.src) == 1 && f.src[0].Bits() == 16 {
		for v := range uint64(1 << 16) {
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
				b = f.bound(r, v) + math.Abs(v)*0x1p-24 // want is rounded itself
			}
			c.Bounds = append(c.Bounds, b)
		}
	}
	sources[file] = func() string { return f.source(c, text, dstMem, size) }
	return c
}

func archOf(name string) string {
	switch {
	case strings.Contains(name, "bf16") && !strings.HasPrefix(name, "cvt.rn") && !strings.HasPrefix(name, "fma") &&
		!strings.HasPrefix(name, "m") && !strings.HasPrefix(name, "neg") && !strings.HasPrefix(name, "abs"),
		strings.HasPrefix(name, "mul") && strings.Contains(name, "bf16"), name == "cvt.rn.tf32.f32":
		return "sm_90a" // add, sub, mul, setp on bfloat16 came with sm_90
	}
	return "sm_80"
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
