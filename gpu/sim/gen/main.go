// Command gen writes ops_gen.go: one loop over the lanes of a warp for every
// instruction that works lane by lane. Run it with go generate ./gpu/sim.
//
// Go's generics would call each lane's operation through a dictionary; text
// keeps the loops flat, which is what the simulator's speed rests on.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"log"
	"os"
	"regexp"
	"slices"
	"strings"
)

// op is one instruction: its result as a Go expression of the lanes A, B, C.
// files names the register file of D, A, B, C: r 32 bits, q 64 bits.
type op struct {
	name, files, expr string
	rare              bool // one loop is enough
}

var (
	ops  []op
	rare bool // of what add appends
)

// rows are the functions that do a whole warp's lanes at once (rows.go), by the
// name of the instruction.
var rows = map[string]string{"fma.rn.f32": "fmaRow(D, A, B, C)"}

func add(name, files, expr string) { ops = append(ops, op{name, files, expr, rare}) }

// each adds one op for several types.
func each(pattern, files, expr string, types ...string) {
	for _, t := range types {
		add(fmt.Sprintf(pattern, t), files, expr)
	}
}

func arithmetic() {
	for _, o := range []struct{ name, sign string }{{"add", "+"}, {"sub", "-"}} {
		each(o.name+".%s", "rrr", "A"+o.sign+"B", "s32", "u32")
		each(o.name+".%s", "qqq", "A"+o.sign+"B", "s64", "u64")
		each(o.name+".%s", "rrr", "(A"+o.sign+"B)&0xffff", "s16", "u16")
		each(o.name+"%s.f32", "rrr", "b32(f32(A)"+o.sign+"f32(B))", "", ".rn")
		each(o.name+"%s.f64", "qqq", "nan2(f64(A)"+o.sign+"f64(B), B, A)", "", ".rn")
		each(o.name+"%s.f16", "rrr", "uint32(f2h(h2f(uint16(A))"+o.sign+"h2f(uint16(B))))", "", ".rn")
		each(o.name+"%s.bf16", "rrr", "uint32(f2bf(bf2f(uint16(A))"+o.sign+"bf2f(uint16(B))))", "", ".rn")
		each(o.name+"%s.f16x2", "rrr", pair("f2h(h2f(%s)"+o.sign+"h2f(%s))"), "", ".rn")
		each(o.name+"%s.bf16x2", "rrr", pair("f2bf(bf2f(%s)"+o.sign+"bf2f(%s))"), "", ".rn")
	}
	each("mul%s.f32", "rrr", "b32(f32(A)*f32(B))", "", ".rn")
	each("mul%s.f64", "qqq", "nan2(f64(A)*f64(B), B, A)", "", ".rn")
	each("mul%s.f16", "rrr", "uint32(f2h(h2f(uint16(A))*h2f(uint16(B))))", "", ".rn")
	each("mul%s.bf16", "rrr", "uint32(fmaBF(uint16(A), uint16(B), 0x8000))", "", ".rn")
	each("mul%s.f16x2", "rrr", pair("f2h(h2f(%s)*h2f(%s))"), "", ".rn")
	each("mul%s.bf16x2", "rrr", pair("fmaBF(%s, %s, 0x8000)"), "", ".rn")
	for _, r := range []struct{ name, fn string }{{"rz", "towardZero"}, {"rm", "down"}, {"rp", "up"}} {
		add("add."+r.name+".f32", "rrr", "addTo(f32(A), f32(B), "+r.fn+")")
		add("sub."+r.name+".f32", "rrr", "addTo(f32(A), -f32(B), "+r.fn+")")
		add("mul."+r.name+".f32", "rrr", "roundTo(float64(f32(A))*float64(f32(B)), "+r.fn+")")
		add("fma."+r.name+".f32", "rrrr", "fmaTo(f32(A), f32(B), f32(C), "+r.fn+")")
	}
	each("mul.lo.%s", "rrr", "A*B", "s32", "u32")
	each("mul.lo.%s", "qqq", "A*B", "s64", "u64")
	each("mul.lo.%s", "rrr", "A*B&0xffff", "s16", "u16")
	add("mul.hi.s32", "rrr", "uint32(uint64(int64(int32(A))*int64(int32(B)))>>32)")
	add("mul.hi.u32", "rrr", "uint32(uint64(A)*uint64(B)>>32)")
	add("mul.hi.u64", "qqq", "mulHi(A, B)")
	add("mul.hi.s64", "qqq", "mulHiSigned(A, B)")
	add("mul.wide.s32", "qrr", "uint64(int64(int32(A))*int64(int32(B)))")
	add("mul.wide.u32", "qrr", "uint64(A)*uint64(B)")
	add("mul.wide.s16", "rrr", "uint32(int32(int16(A))*int32(int16(B)))")
	add("mul.wide.u16", "rrr", "uint32(uint16(A))*uint32(uint16(B))")
	each("mad.lo.%s", "rrrr", "A*B+C", "s32", "u32")
	each("mad.lo.%s", "qqqq", "A*B+C", "s64", "u64")
	each("mad.lo.%s", "rrrr", "(A*B+C)&0xffff", "s16", "u16")
	add("mad.hi.s32", "rrrr", "uint32(uint64(int64(int32(A))*int64(int32(B)))>>32)+C")
	add("mad.hi.u32", "rrrr", "uint32(uint64(A)*uint64(B)>>32)+C")
	add("mad.wide.s32", "qrrq", "uint64(int64(int32(A))*int64(int32(B)))+C")
	add("mad.wide.u32", "qrrq", "uint64(A)*uint64(B)+C")
	add("fma.rn.f32", "rrrr", "b32(fma32(f32(A), f32(B), f32(C)))")
	add("fma.rn.f64", "qqqq", "nan3(math.FMA(f64(A), f64(B), f64(C)), B, C, A)")
	add("fma.rn.f16", "rrrr", "uint32(fmaH(uint16(A), uint16(B), uint16(C)))")
	add("fma.rn.bf16", "rrrr", "uint32(fmaBF(uint16(A), uint16(B), uint16(C)))")
	for _, f := range []struct{ t, fn string }{{"f16x2", "fmaH"}, {"bf16x2", "fmaBF"}} {
		add("fma.rn."+f.t, "rrrr", fmt.Sprintf(
			"uint32(%s(uint16(A>>16), uint16(B>>16), uint16(C>>16)))<<16|uint32(%s(uint16(A), uint16(B), uint16(C)))", f.fn, f.fn))
	}
	add("div.rn.f32", "rrr", "b32(f32(A)/f32(B))")
	add("div.full.f32", "rrr", "b32(f32(A)/f32(B))")
	add("div.approx.f32", "rrr", "b32(divApprox(f32(A), f32(B)))")
	add("div.rn.f64", "qqq", "nan2(f64(A)/f64(B), A, B)")
	add("div.u32", "rrr", "div(A, B)")
	add("div.s32", "rrr", "uint32(sdiv(int32(A), int32(B)))")
	add("rem.u32", "rrr", "rem(A, B)")
	add("rem.s32", "rrr", "uint32(rem(int32(A), int32(B)))")
	add("div.u16", "rrr", "div(A, B)&0xffff")
	add("rem.u16", "rrr", "rem(A, B)&0xffff")
	add("div.u64", "qqq", "div(A, B)")
	add("div.s64", "qqq", "uint64(sdiv(int64(A), int64(B)))")
	add("rem.u64", "qqq", "rem(A, B)")
	add("rem.s64", "qqq", "uint64(rem(int64(A), int64(B)))")
	for _, o := range []string{"min", "max"} {
		add(o+".s32", "rrr", "uint32("+o+"(int32(A), int32(B)))")
		add(o+".u32", "rrr", o+"(A, B)")
		add(o+".s16", "rrr", "uint32(uint16("+o+"(int16(A), int16(B))))")
		add(o+".u16", "rrr", o+"(A, B)")
		add(o+".s64", "qqq", "uint64("+o+"(int64(A), int64(B)))")
		add(o+".u64", "qqq", o+"(A, B)")
		add(o+".f32", "rrr", o+"32(f32(A), f32(B))")
		add(o+".f64", "qqq", o+"64(A, B)")
		add(o+".NaN.f32", "rrr", o+"NaN32(f32(A), f32(B))")
		add(o+".f16", "rrr", "uint32(f2h(f32("+o+"32(h2f(uint16(A)), h2f(uint16(B))))))")
		add(o+".bf16", "rrr", "uint32(f2bf(f32("+o+"32(bf2f(uint16(A)), bf2f(uint16(B))))))")
		add(o+".f16x2", "rrr", pair("f2h(f32("+o+"32(h2f(%s), h2f(%s))))"))
		add(o+".bf16x2", "rrr", pair("f2bf(f32("+o+"32(bf2f(%s), bf2f(%s))))"))
	}
	add("sqrt.rn.f32", "rr", "b32(sqrt32(f32(A)))")
	add("sqrt.approx.f32", "rr", "b32(sqrt32(f32(A)))")
	add("sqrt.rn.f64", "qq", "nan2(math.Sqrt(f64(A)), A, A)")
	add("rcp.rn.f32", "rr", "b32(rcp32(f32(A)))")
	add("rcp.rn.f64", "qq", "nan2(1/f64(A), A, A)")
	add("rcp.approx.f32", "rr", "b32(rcp32(f32(A)))")
	add("rsqrt.approx.f32", "rr", "b32(rsqrt32(f32(A)))")
	for _, o := range []struct{ name, fn string }{{"ex2", "ex2"}, {"lg2", "lg2"}, {"sin", "sin32"}, {"cos", "cos32"}, {"tanh", "tanh32"}} {
		add(o.name+".approx.f32", "rr", "b32("+o.fn+"(f32(A)))")
	}
	add("neg.s32", "rr", "-A")
	add("neg.s64", "qq", "-A")
	add("neg.s16", "rr", "-A&0xffff")
	add("abs.s32", "rr", "uint32(max(int32(A), -int32(A)))")
	add("abs.s64", "qq", "uint64(max(int64(A), -int64(A)))")
	for _, o := range []struct{ name, sign string }{{"neg", "^"}, {"abs", "&^"}} {
		add(o.name+".f32", "rr", "nanOr32(A, A"+o.sign+"(1<<31))")
		add(o.name+".f64", "qq", "nanOr64(A, A"+o.sign+"(1<<63))")
		for _, t := range []struct{ name, inf string }{{"f16", "0x7c00"}, {"bf16", "0x7f80"}} {
			add(o.name+"."+t.name, "rr", "nanOr16(A, A"+o.sign+"0x8000, "+t.inf+")")
			add(o.name+"."+t.name+"x2", "rr", "nanOr16(A>>16, A>>16"+o.sign+"0x8000, "+t.inf+")<<16|nanOr16(A&0xffff, A&0xffff"+o.sign+"0x8000, "+t.inf+")")
		}
	}
	add("copysign.f32", "rrr", "B&^(1<<31)|A&(1<<31)")
	add("copysign.f64", "qqq", "B&^(1<<63)|A&(1<<63)")
}

// integers are those that few programs hold: saturating, 24 bits, sums of absolute
// differences, dot products, pairs of 16 bits.
func integers() {
	add("add.sat.s32", "rrr", "satS32(int64(int32(A))+int64(int32(B)))")
	add("sub.sat.s32", "rrr", "satS32(int64(int32(A))-int64(int32(B)))")
	add("mul.hi.s16", "rrr", "uint32(uint16(int32(int16(A))*int32(int16(B))>>16))")
	add("mul.hi.u16", "rrr", "uint32(uint16(A))*uint32(uint16(B))>>16")
	add("mad.hi.s16", "rrrr", "uint32(uint16(int32(int16(A))*int32(int16(B))>>16+int32(C)))")
	add("mad.hi.u16", "rrrr", "(uint32(uint16(A))*uint32(uint16(B))>>16+C)&0xffff")
	add("mad.hi.s64", "qqqq", "mulHiSigned(A, B)+C")
	add("mad.hi.u64", "qqqq", "mulHi(A, B)+C")
	add("mad.hi.sat.s32", "rrrr", "satS32(int64(int32(A))*int64(int32(B))>>32+int64(int32(C)))")
	add("mad.wide.s16", "rrrr", "uint32(int32(int16(A))*int32(int16(B)))+C")
	add("mad.wide.u16", "rrrr", "uint32(uint16(A))*uint32(uint16(B))+C")
	for _, t := range []string{"s32", "u32"} {
		product := map[string]string{"s32": "mul24S(A, B)", "u32": "mul24U(A, B)"}[t]
		add("mul24.lo."+t, "rrr", "uint32("+product+")")
		add("mul24.hi."+t, "rrr", "uint32("+product+">>16)")
		add("mad24.lo."+t, "rrrr", "uint32("+product+")+C")
		add("mad24.hi."+t, "rrrr", "uint32("+product+">>16)+C")
	}
	add("mad24.hi.sat.s32", "rrrr", "satS32(mul24S(A, B)>>16+int64(int32(C)))")
	add("sad.s32", "rrrr", "C+uint32(max(int32(A), int32(B)))-uint32(min(int32(A), int32(B)))")
	add("sad.u16", "rrrr", "(C+max(A, B)-min(A, B))&0xffff")
	add("sad.s16", "rrrr", "(C+uint32(max(int16(A), int16(B)))-uint32(min(int16(A), int16(B))))&0xffff")
	add("sad.u64", "qqqq", "C+max(A, B)-min(A, B)")
	add("sad.s64", "qqqq", "C+uint64(max(int64(A), int64(B)))-uint64(min(int64(A), int64(B)))")
	add("div.s16", "rrr", "uint32(uint16(sdiv(int32(int16(A)), int32(int16(B)))))")
	add("rem.s16", "rrr", "uint32(uint16(rem(int32(int16(A)), int32(int16(B)))))")
	add("abs.s16", "rr", "uint32(uint16(max(int16(A), -int16(A))))")
	each("add.%s", "rrr", "(A+B)&0xffff|(A>>16+B>>16)<<16", "u16x2", "s16x2")
	for _, o := range []string{"min", "max"} {
		add(o+".u16x2", "rrr", o+"(A&0xffff, B&0xffff)|"+o+"(A>>16, B>>16)<<16")
		signed := func(relu string) string {
			half := func(of string) string {
				return fmt.Sprintf("uint32(uint16(%s(int16(A%s), int16(B%s))))", o, of, of)
			}
			if relu != "" {
				half = func(of string) string { return fmt.Sprintf("uint32(max(%s(int16(A%s), int16(B%s)), 0))", o, of, of) }
			}
			return half("") + "|" + half(">>16") + "<<16"
		}
		add(o+".s16x2", "rrr", signed(""))
		add(o+".relu.s16x2", "rrr", signed("relu"))
		add(o+".relu.s32", "rrr", "uint32(max("+o+"(int32(A), int32(B)), 0))")
	}
	for _, a := range []string{"s32", "u32"} {
		for _, b := range []string{"s32", "u32"} {
			signs := fmt.Sprintf("%t, %t", a == "s32", b == "s32")
			add("dp4a."+a+"."+b, "rrrr", "dp4a(A, B, C, "+signs+")")
			add("dp2a.lo."+a+"."+b, "rrrr", "dp2a(A, B, C, "+signs+")")
			add("dp2a.hi."+a+"."+b, "rrrr", "dp2a(A, B>>16, C, "+signs+")")
		}
	}
	for _, t := range []string{"b16", "u16", "s16", "b32", "u32", "s32", "f32"} {
		short := map[bool]string{true: "&0xffff"}[strings.HasSuffix(t, "16")] // a literal may be wider
		add("slct."+t+".s32", "rrrr", "pick(int32(C) >= 0, A, B)"+short)
		add("slct."+t+".f32", "rrrr", "pick(f32(C) >= 0, A, B)"+short)
		add("slct.ftz."+t+".f32", "rrrr", "pick(f32(flush(C)) >= 0, A, B)"+short)
	}
	for _, t := range []string{"b64", "u64", "s64", "f64"} {
		add("slct."+t+".s32", "qqqr", "pick(int32(C) >= 0, A, B)")
		add("slct."+t+".f32", "qqqr", "pick(f32(C) >= 0, A, B)")
		add("slct.ftz."+t+".f32", "qqqr", "pick(f32(flush(C)) >= 0, A, B)")
	}
}

// directions are the rounding modes beside the nearest, with their names in Go.
var directions = []struct{ name, fn string }{{"rz", "towardZero"}, {"rm", "down"}, {"rp", "up"}}

// directed are divisions and roots that do not round to the nearest, and all of fp64.
func directed() {
	for _, r := range directions {
		add("div."+r.name+".f32", "rrr", "divTo(f32(A), f32(B), "+r.fn+")")
		add("rcp."+r.name+".f32", "rr", "divTo(1, f32(A), "+r.fn+")")
		add("sqrt."+r.name+".f32", "rr", "sqrtTo(f32(A), "+r.fn+")")
		for _, o := range []string{"add", "sub", "mul", "div"} {
			add(o+"."+r.name+".f64", "qqq", o+"64(A, B, "+r.fn+")")
		}
		add("fma."+r.name+".f64", "qqqq", "fma64(A, B, C, "+r.fn+")")
		add("rcp."+r.name+".f64", "qq", "rcp64(A, "+r.fn+")")
		add("sqrt."+r.name+".f64", "qq", "sqrt64(A, "+r.fn+")")
	}
	add("rcp.approx.ftz.f64", "qq", "rcpApprox64(A)")
	add("rsqrt.approx.ftz.f64", "qq", "rsqrtApprox64(A)")
	add("rsqrt.approx.f64", "qq", "nan2(1/math.Sqrt(f64(A)), A, A)")
	for _, o := range []string{"min", "max"} {
		for _, nan := range []string{"", ".NaN"} {
			fn := o + nan[min(1, len(nan)):] + "32"
			add(o+nan+".xorsign.abs.f32", "rrr", "withSign("+fn+"(f32(A&^(1<<31)), f32(B&^(1<<31))), A^B)")
		}
	}
}

// halves are the forms of fp16 and bf16 with modifiers, one by one and in pairs.
func halves() {
	type of struct{ name, files, expr string } // expr of x, y, z, each 16 bits
	both := func(name, t string, n int, expr string) {
		at := func(shift string) string {
			e := expr
			for i, v := range []string{"X", "Y", "Z"} {
				e = strings.ReplaceAll(e, v, "uint16("+string(rune('A'+i))+shift+")")
			}
			return "uint32(" + e + ")"
		}
		files := "rrrr"[:n+1]
		add(name+"."+t, files, at(""))
		add(name+"."+t+"x2", files, at(">>16")+"<<16|"+at(""))
	}
	flushed := func(expr string) string {
		for _, v := range []string{"X", "Y", "Z"} {
			expr = strings.ReplaceAll(expr, v, "flush16("+v+")")
		}
		return "flush16(" + expr + ")"
	}
	for _, o := range []of{
		{"add", "", "f2h(h2f(X)+h2f(Y))"}, {"sub", "", "f2h(h2f(X)-h2f(Y))"}, {"mul", "", "f2h(h2f(X)*h2f(Y))"}, {"fma", "", "fmaH(X, Y, Z)"},
	} {
		n, modes := 2, []string{"", ".rn"}
		if o.name == "fma" {
			n, modes = 3, []string{".rn"}
		}
		for _, m := range modes {
			both(o.name+m+".ftz", "f16", n, flushed(o.expr))
			both(o.name+m+".sat", "f16", n, "sat16("+o.expr+")")
			both(o.name+m+".ftz.sat", "f16", n, "sat16("+flushed(o.expr)+")")
		}
	}
	both("fma.rn.relu", "f16", 3, "relu16(fmaH(X, Y, Z))")
	both("fma.rn.ftz.relu", "f16", 3, "relu16("+flushed("fmaH(X, Y, Z)")+")")
	both("fma.rn.relu", "bf16", 3, "relu16(fmaBF(X, Y, Z))")
	for _, o := range []string{"min", "max"} {
		for _, t := range []struct{ name, to, from string }{{"f16", "f2h", "h2f"}, {"bf16", "f2bf", "bf2f"}} {
			for _, nan := range []string{"", ".NaN"} {
				fn := o + nan[min(1, len(nan)):] + "32"
				plain := fmt.Sprintf("%s(f32(%s(%s(X), %s(Y))))", t.to, fn, t.from, t.from)
				sign := fmt.Sprintf("withSign16(%s(f32(%s(%s(X&0x7fff), %s(Y&0x7fff)))), X^Y)", t.to, fn, t.from, t.from)
				if nan != "" {
					both(o+nan, t.name, 2, plain)
				}
				both(o+nan+".xorsign.abs", t.name, 2, sign)
				if t.name == "f16" {
					both(o+".ftz"+nan, t.name, 2, flushed(plain))
					both(o+".ftz"+nan+".xorsign.abs", t.name, 2, flushed(sign))
				}
			}
		}
	}
	both("neg.ftz", "f16", 1, flushed("uint16(nanOr16(uint32(X), uint32(X)^0x8000, 0x7c00))"))
	both("abs.ftz", "f16", 1, flushed("uint16(nanOr16(uint32(X), uint32(X)&^0x8000, 0x7c00))"))
	both("tanh.approx", "f16", 1, "f2h(tanh32(h2f(X)))")
	both("tanh.approx", "bf16", 1, "f2bf(tanh32(bf2f(X)))")
	both("ex2.approx", "f16", 1, "f2h(ex2(h2f(X)))")
	both("ex2.approx.ftz", "bf16", 1, "flushBF(f2bf(ex2(bf2f(flushBF(X)))))")
}

// saturating adds the .sat form of what works on fp32, and aliases the mad form of fma.
func saturating() {
	for _, o := range slices.Clone(ops) {
		name, isFloat := strings.CutSuffix(o.name, ".f32")
		op, _, _ := strings.Cut(o.name, ".")
		if isFloat && slices.Contains([]string{"add", "sub", "mul", "fma"}, op) {
			add(name+".sat.f32", o.files, "b32(sat(f32("+o.expr+")))")
		}
	}
	for _, o := range slices.Clone(ops) {
		if rest, is := strings.CutPrefix(o.name, "fma."); is && (strings.HasSuffix(rest, ".f32") || strings.HasSuffix(rest, ".f64")) {
			add("mad."+rest, o.files, o.expr)
			if row, ok := rows[o.name]; ok {
				rows["mad."+rest] = row
			}
		}
	}
}

// pair applies an expression of two halves to the upper and the lower ones.
func pair(e string) string {
	hi := fmt.Sprintf(e, "uint16(A>>16)", "uint16(B>>16)")
	lo := fmt.Sprintf(e, "uint16(A)", "uint16(B)")
	return "uint32(" + hi + ")<<16|uint32(" + lo + ")"
}

func logic() {
	for _, o := range []struct{ name, sign string }{{"and", "&"}, {"or", "|"}, {"xor", "^"}} {
		add(o.name+".b16", "rrr", "A"+o.sign+"B")
		add(o.name+".b32", "rrr", "A"+o.sign+"B")
		add(o.name+".b64", "qqq", "A"+o.sign+"B")
	}
	add("not.b16", "rr", "^A&0xffff")
	add("not.b32", "rr", "^A")
	add("not.b64", "qq", "^A")
	add("cnot.b32", "rr", "one(A==0)")
	add("shl.b16", "rrr", "shl32(A, B)&0xffff")
	add("shl.b32", "rrr", "shl32(A, B)")
	add("shl.b64", "qqr", "shl64(A, B)")
	each("shr.%s", "rrr", "shr32(A, B)", "u16", "b16", "u32", "b32")
	add("shr.s16", "rrr", "uint32(uint16(int16(A)>>min(B, 15)))")
	add("shr.s32", "rrr", "sar32(A, B)")
	each("shr.%s", "qqr", "shr64(A, B)", "u64", "b64")
	add("shr.s64", "qqr", "sar64(A, B)")
	add("shf.l.wrap.b32", "rrrr", "uint32((uint64(B)<<32|uint64(A))<<(C&31)>>32)")
	add("shf.r.wrap.b32", "rrrr", "uint32((uint64(B)<<32|uint64(A))>>(C&31))")
	add("shf.l.clamp.b32", "rrrr", "uint32((uint64(B)<<32|uint64(A))<<min(C, 32)>>32)")
	add("shf.r.clamp.b32", "rrrr", "uint32((uint64(B)<<32|uint64(A))>>min(C, 32))")
	add("bfe.u32", "rrrr", "bfeU32(A, B, C)")
	add("bfe.s32", "rrrr", "bfeS32(A, B, C)")
	add("brev.b32", "rr", "bits.Reverse32(A)")
	add("popc.b32", "rr", "uint32(bits.OnesCount32(A))")
	add("popc.b64", "rq", "uint32(bits.OnesCount64(A))")
	add("clz.b32", "rr", "uint32(bits.LeadingZeros32(A))")
	add("clz.b64", "rq", "uint32(bits.LeadingZeros64(A))")
	each("bfind.%s", "rr", "uint32(31-bits.LeadingZeros32(A))", "u32")
	add("cnot.b16", "rr", "one(A==0)")
	add("cnot.b64", "qq", "uint64(one(A==0))")
	add("bfe.u64", "qqrr", "bfeU64(A, B, C)")
	add("bfe.s64", "qqrr", "bfeS64(A, B, C)")
	add("brev.b64", "qq", "bits.Reverse64(A)")
	for _, t := range []struct{ name, files, of string }{
		{"u32", "rr", "uint64(A)<<32"}, {"s32", "rr", "uint64(A^uint32(int32(A)>>31))<<32"}, {"u64", "rq", "A"}, {"s64", "rq", "A^uint64(int64(A)>>63)"},
	} {
		if t.name != "u32" {
			add("bfind."+t.name, t.files, "bfind("+t.of+", "+t.name[1:]+")")
		}
		add("bfind.shiftamt."+t.name, t.files, "bfindShift("+t.of+")")
	}
	for _, m := range []string{"wrap", "clamp"} {
		wide := map[string]string{"wrap": "false", "clamp": "B > 31"}[m]
		add("szext."+m+".s32", "rrr", "szext(A, B, "+wide+", true)")
		add("szext."+m+".u32", "rrr", "szext(A, B, "+wide+", false)")
		add("bmsk."+m+".b32", "rrr", "bmsk(A, B, "+map[string]string{"wrap": "false", "clamp": "true"}[m]+")")
	}
	for _, m := range []string{"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"} {
		add("prmt.b32."+m, "rrrr", "prmt(A, B, "+m+"[C&3])")
	}
	add("prmt.b32", "rrrr", "prmt(A, B, C)")
	add("sad.u32", "rrrr", "C+max(A, B)-min(A, B)")
}

func moves() {
	each("mov.%s", "rr", "A", "b16", "u16", "s16", "b32", "u32", "s32", "f32")
	each("mov.%s", "qq", "A", "b64", "u64", "s64", "f64")
	each("cvta.to.global%s", "qq", "A", ".u64")
}

func conversions() {
	// Integers: source signedness extends, destination width truncates.
	ints := []struct {
		t    string
		bits int
	}{{"u8", 8}, {"s8", 8}, {"u16", 16}, {"s16", 16}, {"u32", 32}, {"s32", 32}, {"u64", 64}, {"s64", 64}}
	for _, s := range ints {
		src := "uint64(A)"
		if s.t[0] == 's' {
			src = fmt.Sprintf("uint64(int64(int%d(A)))", s.bits)
		} else if s.bits < 64 {
			src = fmt.Sprintf("uint64(uint%d(A))", s.bits)
		}
		fa := "r"
		if s.bits == 64 {
			fa = "q"
		}
		for _, d := range ints {
			switch d.bits {
			case 64:
				add("cvt."+d.t+"."+s.t, "q"+fa, src)
			case 32:
				add("cvt."+d.t+"."+s.t, "r"+fa, "uint32("+src+")")
			case 8:
				e := "uint32(uint8(" + src + "))"
				if d.t == "s8" { // into a 16-bit register, with its sign
					e = "uint32(uint16(int8(" + src + ")))"
				}
				add("cvt."+d.t+"."+s.t, "r"+fa, e)
			default:
				add("cvt."+d.t+"."+s.t, "r"+fa, "uint32(uint16("+src+"))")
			}
		}
		signed := src
		if s.t[0] == 's' {
			signed = "int64(" + src + ")"
		}
		add("cvt.rn.f32."+s.t, "r"+fa, "b32(float32("+signed+"))")
		add("cvt.rn.f64."+s.t, "q"+fa, "b64(float64("+signed+"))")
		add("cvt.rn.f16."+s.t, "r"+fa, "uint32(f2h(float32("+signed+")))")
	}
	for _, r := range []struct{ mode, fn string }{{"rni", "math.RoundToEven"}, {"rzi", "math.Trunc"}, {"rmi", "math.Floor"}, {"rpi", "math.Ceil"}} {
		add("cvt."+r.mode+".s32.f32", "rr", "toS32("+r.fn+"(float64(f32(A))))")
		add("cvt."+r.mode+".u32.f32", "rr", "toU32("+r.fn+"(float64(f32(A))))")
		add("cvt."+r.mode+".f32.f32", "rr", "b32(float32("+r.fn+"(float64(f32(A)))))")
		add("cvt."+r.mode+".f64.f64", "qq", "nan2("+r.fn+"(f64(A)), A, A)")
		add("cvt."+r.mode+".s32.f64", "rq", "nanTo32(A, toS32("+r.fn+"(f64(A))))")
		add("cvt."+r.mode+".u32.f64", "rq", "nanTo32(A, toU32("+r.fn+"(f64(A))))")
		add("cvt."+r.mode+".s32.f16", "rr", "toS32("+r.fn+"(float64(h2f(uint16(A)))))")
	}
	add("cvt.f32.f16", "rr", "b32(h2f(uint16(A)))")
	add("cvt.f32.bf16", "rr", "A<<16") // NaN payloads too
	add("cvt.rn.f16.f32", "rr", "uint32(f2h(f32(A)))")
	add("cvt.rz.f16.f32", "rr", "uint32(f2hz(f32(A)))")
	add("cvt.rn.bf16.f32", "rr", "uint32(f2bf(f32(A)))")
	add("cvt.rz.bf16.f32", "rr", "uint32(f2bfz(f32(A)))")
	add("cvt.rn.f16x2.f32", "rrr", "uint32(f2h(f32(A)))<<16|uint32(f2h(f32(B)))")
	add("cvt.rz.f16x2.f32", "rrr", "uint32(f2hz(f32(A)))<<16|uint32(f2hz(f32(B)))")
	add("cvt.rn.bf16x2.f32", "rrr", "uint32(f2bf(f32(A)))<<16|uint32(f2bf(f32(B)))")
	add("cvt.rz.bf16x2.f32", "rrr", "uint32(f2bfz(f32(A)))<<16|uint32(f2bfz(f32(B)))")
	add("cvt.rn.relu.f16x2.f32", "rrr", "uint32(f2h(relu(A)))<<16|uint32(f2h(relu(B)))")
	add("cvt.rn.relu.bf16x2.f32", "rrr", "uint32(f2bf(relu(A)))<<16|uint32(f2bf(relu(B)))")
	add("cvt.rna.tf32.f32", "rr", "tf32rna(A)")
	add("cvt.rn.tf32.f32", "rr", "tf32rn(A)")
	add("cvt.f64.f32", "qr", "f32to64(A)")
	add("cvt.rn.f32.f64", "rq", "f64to32(A)")
	add("cvt.sat.f32.f32", "rr", "b32(sat(f32(A)))")
}

// moreConversions are those that saturate, between integers and floats of every width and
// rounding, and of fp8.
func moreConversions() {
	type kind struct {
		t      string
		bits   int
		signed bool
	}
	ints := []kind{{"u8", 8, false}, {"s8", 8, true}, {"u16", 16, false}, {"s16", 16, true}, {"u32", 32, false}, {"s32", 32, true}, {"u64", 64, false}, {"s64", 64, true}}
	file := func(bits int) string { return map[bool]string{true: "q", false: "r"}[bits == 64] }
	// result is an expression of 64 bits as a register holds it.
	result := func(d kind, e string) string {
		switch {
		case d.bits == 64:
			return e
		case d.bits == 32:
			return "uint32(" + e + ")"
		case d.t == "s8":
			return "uint32(uint16(int8(" + e + ")))"
		}
		return fmt.Sprintf("uint32(uint%d(%s))", d.bits, e)
	}
	for _, s := range ints {
		value := fmt.Sprintf("uint64(uint%d(A))", s.bits)
		if s.signed {
			value = fmt.Sprintf("int64(int%d(A))", s.bits)
		}
		for _, d := range ints {
			if d.bits > s.bits && (d.signed || !s.signed) || d.bits == s.bits && d.signed == s.signed {
				continue // holds every value
			}
			if d.bits >= s.bits && !d.signed && !s.signed {
				continue
			}
			fn := "clampU"
			if s.signed {
				fn = "clampS"
			}
			lo, hi := "0", fmt.Sprintf("1<<%d-1", d.bits)
			if d.signed {
				lo, hi = fmt.Sprintf("-1<<%d", d.bits-1), fmt.Sprintf("1<<%d-1", d.bits-1)
			}
			if fn == "clampU" {
				add("cvt.sat."+d.t+"."+s.t, file(d.bits)+file(s.bits), result(d, "clampU("+value+", "+hi+")"))
			} else {
				add("cvt.sat."+d.t+"."+s.t, file(d.bits)+file(s.bits), result(d, "clampS("+value+", "+lo+", "+hi+")"))
			}
		}
		odd := "oddU(" + value + ")"
		if s.signed {
			odd = "oddS(" + value + ")"
		}
		for _, r := range directions {
			add("cvt."+r.name+".f32."+s.t, "r"+file(s.bits), "roundTo("+odd+", "+r.fn+")")
			add("cvt."+r.name+".f16."+s.t, "r"+file(s.bits), "uint32(halfTo("+odd+", "+r.fn+"))")
			if s.bits == 64 {
				add("cvt."+r.name+".f64."+s.t, "qq", "int64To("+fmt.Sprint(s.signed)+", A, "+r.fn+")")
			} else {
				add("cvt."+r.name+".f64."+s.t, "q"+file(s.bits), "b64(float64("+value+"))")
			}
		}
		if s.bits == 8 {
			continue
		}
		add("cvt.rn.bf16."+s.t, "r"+file(s.bits), "uint32(short("+odd+", f2bf))")
	}
	for _, r := range []struct{ mode, fn string }{{"rni", "math.RoundToEven"}, {"rzi", "math.Trunc"}, {"rmi", "math.Floor"}, {"rpi", "math.Ceil"}} {
		for _, s := range []struct{ t, files, value string }{
			{"f16", "r", "float64(h2f(uint16(A)))"}, {"bf16", "r", "float64(bf2f(uint16(A)))"}, {"f32", "r", "float64(f32(A))"}, {"f64", "q", "f64(A)"},
		} {
			for _, d := range ints {
				if s.t == "bf16" && d.bits == 8 {
					continue
				}
				name := "cvt." + r.mode + "." + d.t + "." + s.t
				whole := r.fn + "(" + s.value + ")"
				nan := "0"
				if s.t == "f64" || d.bits == 64 {
					nan = fmt.Sprintf("1<<%d", d.bits-1)
				}
				e := result(d, fmt.Sprintf("toWhole(%s, %d, %t, %s)", whole, d.bits, d.signed, nan))
				if s.t == "f32" {
					add("cvt."+r.mode+".ftz."+d.t+".f32", file(d.bits)+"r", strings.ReplaceAll(e, "f32(A)", "f32(flush(A))"))
				}
				if (s.t == "f32" || s.t == "f64") && d.bits == 32 || s.t == "f16" && d.t == "s32" {
					continue // above
				}
				add(name, file(d.bits)+s.files, e)
			}
		}
		add("cvt."+r.mode+".f16.f16", "rr", "uint32(f2h(float32("+r.fn+"(float64(h2f(uint16(A)))))))")
		whole := "b32(float32(" + r.fn + "(float64(f32(A)))))"
		add("cvt."+r.mode+".sat.f32.f32", "rr", "b32(sat(f32("+whole+")))")
		flushed := strings.ReplaceAll(whole, "f32(A)", "f32(flush(A))")
		add("cvt."+r.mode+".ftz.f32.f32", "rr", flushed)
		add("cvt."+r.mode+".ftz.sat.f32.f32", "rr", "b32(sat(f32("+flushed+")))")
	}
	add("cvt.ftz.f32.f32", "rr", "b32(f32(flush(A)))")
	add("cvt.ftz.sat.f32.f32", "rr", "b32(sat(f32(flush(A))))")
	add("cvt.sat.f32.f16", "rr", "b32(sat(h2f(uint16(A))))")
	add("cvt.ftz.f64.f32", "qr", "f32to64(flush(A))")
	add("cvt.f64.f16", "qr", "f32to64(b32(h2f(uint16(A))))")
	add("cvt.rn.ftz.f32.f64", "rq", "flush(f64to32(A))")
	add("cvt.rn.f16.f64", "rq", "uint32(short(f64(A), f2h))")
	add("cvt.rn.sat.f32.f64", "rq", "b32(sat(f32(f64to32(A))))")
	for _, r := range directions {
		add("cvt."+r.name+".f32.f64", "rq", "f64to32To(A, "+r.fn+")")
		add("cvt."+r.name+".ftz.f32.f64", "rq", "flush(f64to32To(A, "+r.fn+"))")
		add("cvt."+r.name+".f16.f64", "rq", "uint32(halfTo(f64(A), "+r.fn+"))")
		if r.name != "rz" {
			add("cvt."+r.name+".f16.f32", "rr", "uint32(halfTo(float64(f32(A)), "+r.fn+"))")
		}
	}
	for _, r := range []struct{ mode, h, bf string }{{"rn", "f2h", "f2bf"}, {"rz", "f2hz", "f2bfz"}} {
		add("cvt."+r.mode+".sat.f16.f32", "rr", "uint32(sat16("+r.h+"(f32(A))))")
		add("cvt."+r.mode+".ftz.f16.f32", "rr", "uint32("+r.h+"(f32(flush(A))))")
		add("cvt."+r.mode+".ftz.sat.f16.f32", "rr", "uint32(sat16("+r.h+"(f32(flush(A)))))")
		add("cvt."+r.mode+".relu.f16.f32", "rr", "uint32("+r.h+"(relu(A)))")
		add("cvt."+r.mode+".relu.bf16.f32", "rr", "uint32("+r.bf+"(relu(A)))")
		if r.mode == "rz" {
			add("cvt.rz.relu.f16x2.f32", "rrr", "uint32(f2hz(relu(A)))<<16|uint32(f2hz(relu(B)))")
			add("cvt.rz.relu.bf16x2.f32", "rrr", "uint32(f2bfz(relu(A)))<<16|uint32(f2bfz(relu(B)))")
		}
	}
	add("cvt.rz.tf32.f32", "rr", "tf32rz(A)")
	add("cvt.rn.relu.tf32.f32", "rr", "tf32rn(math.Float32bits(relu(A)))")
	add("cvt.rz.relu.tf32.f32", "rr", "tf32rz(math.Float32bits(relu(A)))")
	for _, t := range []struct{ name, to, from string }{{"e4m3x2", "toE4M3", "e4m3"}, {"e5m2x2", "toE5M2", "e5m2"}} {
		for _, relu := range []struct{ name, f32, f16 string }{{"", "f32(%s)", "h2f(uint16(%s))"}, {".relu", "relu(%s)", "relu(b32(h2f(uint16(%s))))"}} {
			pair := func(pattern, hi, lo string) string {
				return "uint32(" + t.to + "(" + fmt.Sprintf(pattern, hi) + "))<<8|uint32(" + t.to + "(" + fmt.Sprintf(pattern, lo) + "))"
			}
			add("cvt.rn.satfinite"+relu.name+"."+t.name+".f32", "rrr", pair(relu.f32, "A", "B"))
			add("cvt.rn.satfinite"+relu.name+"."+t.name+".f16x2", "rr", pair(relu.f16, "A>>16", "A"))
			wide := func(of string) string { return "uint32(f2h(" + t.from + "(uint8(" + of + "))))" }
			if relu.name != "" {
				wide = func(of string) string { return "uint32(relu16(f2h(" + t.from + "(uint8(" + of + ")))))" }
			}
			add("cvt.rn"+relu.name+".f16x2."+t.name, "rr", wide("A>>8")+"<<16|"+wide("A"))
		}
	}
	const value = "int64(int32(%s))"
	for _, d := range []kind{{"u16", 16, false}, {"s16", 16, true}, {"u8", 8, false}, {"s8", 8, true}, {"u4", 4, false}, {"s4", 4, true}, {"u2", 2, false}, {"s2", 2, true}} {
		lo, hi := "0", fmt.Sprintf("1<<%d-1", d.bits)
		if d.signed {
			lo, hi = fmt.Sprintf("-1<<%d", d.bits-1), fmt.Sprintf("1<<%d-1", d.bits-1)
		}
		part := func(of string) string {
			return fmt.Sprintf("uint32(clampS("+value+", %s, %s))&(1<<%d-1)", of, lo, hi, d.bits)
		}
		name := "cvt.pack.sat." + d.t + ".s32"
		if d.bits == 16 {
			add(name, "rrr", part("A")+"<<16|"+part("B"))
		} else {
			add(name+".b32", "rrrr", fmt.Sprintf("C<<%d|(%s)<<%d|%s", 2*d.bits, part("A"), d.bits, part("B")))
		}
	}
}

// flushing adds the .ftz form of what works on fp32: subnormal operands and results are
// zeros of their sign. nvcc writes some of them without any option.
func flushing() {
	known := map[string]bool{
		"add": true, "sub": true, "mul": true, "fma": true, "div": true, "min": true, "max": true, "abs": true, "neg": true, "sqrt": true,
		"rcp": true, "rsqrt": true, "ex2": true, "lg2": true, "sin": true, "cos": true,
	}
	for _, o := range slices.Clone(ops) {
		name, isFloat := strings.CutSuffix(o.name, ".f32")
		if op, _, _ := strings.Cut(o.name, "."); !isFloat || !known[op] {
			continue
		}
		name, sign := strings.CutSuffix(name, ".xorsign.abs")
		name, nan := strings.CutSuffix(name, ".NaN")
		name += ".ftz"
		if nan {
			name += ".NaN"
		}
		if sign {
			name += ".xorsign.abs"
		}
		expr := o.expr
		for _, v := range []string{"A", "B", "C"} {
			expr = operand[v].ReplaceAllString(expr, "${1}flush("+v+")${2}")
		}
		add(name+".f32", o.files, "flush("+expr+")")
	}
}

// operand finds A, B and C where they stand alone.
var operand = map[string]*regexp.Regexp{
	"A": regexp.MustCompile(`(^|[^\w.])A($|\W)`), "B": regexp.MustCompile(`(^|[^\w.])B($|\W)`), "C": regexp.MustCompile(`(^|[^\w.])C($|\W)`),
}

// comparisons become functions of two registers to a mask of lanes.
func comparisons(b *bytes.Buffer) {
	cmps := []struct{ name, sign string }{{"eq", "=="}, {"ne", "!="}, {"lt", "<"}, {"le", "<="}, {"gt", ">"}, {"ge", ">="}}
	types := []struct{ t, file, conv string }{
		{"s32", "uint32", "int32(%s)"},
		{"u32", "uint32", "%s"},
		{"b32", "uint32", "%s"},
		{"s16", "uint32", "int16(%s)"},
		{"u16", "uint32", "uint16(%s)"},
		{"b16", "uint32", "uint16(%s)"},
		{"s64", "uint64", "int64(%s)"},
		{"u64", "uint64", "%s"},
		{"b64", "uint64", "%s"},
		{"f32", "uint32", "f32(%s)"},
		{"f64", "uint64", "f64(%s)"},
		{"f16", "uint32", "h2f(uint16(%s))"},
		{"bf16", "uint32", "bf2f(uint16(%s))"},
	}
	var tab32, tab64 strings.Builder
	emit := func(name, t, file, cond string) {
		fn := "cmp_" + name + "_" + t
		fmt.Fprintf(b, "func %s(a, b *[32]%s) (r uint32) {\n\tfor i := range a {\n\t\tif %s {\n\t\t\tr |= 1 << i\n\t\t}\n\t}\n\treturn r\n}\n\n", fn, file, cond)
		tab := &tab32
		if file == "uint64" {
			tab = &tab64
		}
		fmt.Fprintf(tab, "\t%q: %s,\n", name+"."+t, fn)
	}
	for _, t := range types {
		x, y := fmt.Sprintf(t.conv, "a[i]"), fmt.Sprintf(t.conv, "b[i]")
		float := strings.Contains(t.t, "f")
		for _, c := range cmps {
			if t.t[0] == 'b' && !float && c.name != "eq" && c.name != "ne" {
				continue
			}
			cond := x + " " + c.sign + " " + y
			if float && c.name == "ne" { // ordered: false for NaN
				cond = x + " < " + y + " || " + x + " > " + y
			}
			emit(c.name, t.t, t.file, cond)
			if float { // unordered: true for NaN
				un := x + " != " + x + " || " + y + " != " + y
				emit(c.name+"u", t.t, t.file, cond+" || "+un)
			}
		}
		if float {
			un := x + " != " + x + " || " + y + " != " + y
			emit("nan", t.t, t.file, un)
			emit("num", t.t, t.file, "!("+un+")")
		}
		if t.t[0] == 'u' {
			emit("lo", t.t, t.file, x+" < "+y)
			emit("ls", t.t, t.file, x+" <= "+y)
			emit("hi", t.t, t.file, x+" > "+y)
			emit("hs", t.t, t.file, x+" >= "+y)
		}
	}
	fmt.Fprintf(b, "var compare32 = map[string]func(a, b *[32]uint32) uint32{\n%s}\n\n", tab32.String())
	fmt.Fprintf(b, "var compare64 = map[string]func(a, b *[32]uint64) uint32{\n%s}\n", tab64.String())
}

func main() {
	arithmetic()
	logic()
	moves()
	conversions()
	rare = true
	integers()
	directed()
	halves()
	moreConversions()
	rare = false
	flushing()
	rare = true
	saturating()
	var b bytes.Buffer
	b.WriteString("// Code generated by gpu/sim/gen; DO NOT EDIT.\n\npackage sim\n\nimport (\n\t\"math\"\n\t\"math/bits\"\n)\n\n")
	b.WriteString("// laneOps are the instructions that work lane by lane, by name.\nvar laneOps = map[string]laneOp{\n")
	fn := func(name string) string { return "op_" + strings.ReplaceAll(name, ".", "_") }
	seen := map[string]bool{}
	for _, o := range ops {
		if seen[o.name] {
			log.Fatalf("%s is listed twice", o.name)
		}
		seen[o.name] = true
		fmt.Fprintf(&b, "\t%q: {%q, %s},\n", o.name, o.files, fn(o.name))
	}
	b.WriteString("}\n\n")
	for _, o := range ops {
		lhs, rhs, expr := []string{"D"}, []string{"&w." + o.files[:1] + "[o.d]"}, o.expr
		for i, f := range o.files[1:] {
			v := string(rune('A' + i))
			lhs = append(lhs, v)
			rhs = append(rhs, fmt.Sprintf("&w.%c[o.%c]", f, 'a'+rune(i)))
		}
		expr = index(expr)
		if o.rare && rows[o.name] == "" {
			fmt.Fprintf(&b, "func %s(w *warp, o *op, m uint32) {\n\t%s := %s\n\tfor ; m != 0; m &= m - 1 {\n\t\ti := bits.TrailingZeros32(m) & 31\n\t\tD[i] = %s\n\t}\n}\n\n",
				fn(o.name), strings.Join(lhs, ", "), strings.Join(rhs, ", "), expr)
			continue
		}
		all, ok := rows[o.name]
		if !ok {
			all = "for i := range D {\nD[i] = " + expr + "\n}"
		}
		fmt.Fprintf(&b, "func %s(w *warp, o *op, m uint32) {\n\t%s := %s\n\tif m == full {\n%s\n\t\treturn\n\t}\n\tfor ; m != 0; m &= m - 1 {\n\t\ti := bits.TrailingZeros32(m) & 31\n\t\tD[i] = %s\n\t}\n}\n\n",
			fn(o.name), strings.Join(lhs, ", "), strings.Join(rhs, ", "), all, expr)
	}
	comparisons(&b)
	src, err := format.Source(b.Bytes())
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("ops_gen.go", src, 0o644); err != nil {
		log.Fatal(err)
	}
}

// index turns the operands A, B, C of an expression into A[i], B[i], C[i].
func index(e string) string {
	var b strings.Builder
	for i := range len(e) {
		c := e[i]
		b.WriteByte(c)
		if c < 'A' || c > 'C' {
			continue
		}
		before := i > 0 && (isWord(e[i-1]) || e[i-1] == '.')
		after := i+1 < len(e) && isWord(e[i+1])
		if !before && !after {
			b.WriteString("[i]")
		}
	}
	return b.String()
}

func isWord(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
