package conform

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"sort"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// format is a binary floating-point format.
type format struct {
	bits uint // stored
	prec uint // of the significand, hidden bit included
	emin int  // of the smallest normal number
	nan  uint64
}

// formats have the NaN that sm_90 makes, except for fp64: see propagate.
var formats = map[ptx.Type]format{
	ptx.F16:  {16, 11, -14, 0x7fff},
	ptx.BF16: {16, 8, -126, 0x7fff},
	ptx.F32:  {32, 24, -126, 0x7fffffff},
	ptx.F64:  {64, 53, -1022, 0x7fffffffffffffff},
}

func (f format) fraction() uint { return f.prec - 1 }
func (f format) emax() int      { return 1 - f.emin }

// num is a value outside any format: exact.
type num struct {
	nan, inf, neg bool
	v             *big.Float // finite; its sign counts, also of zero
}

const exact = 4400 // bits that hold any sum of two fp64 products

func finite(v float64) num { return num{v: new(big.Float).SetPrec(exact).SetFloat64(v)} }

// decode reads a value.
func (f format) decode(b uint64) num {
	m := f.fraction()
	sign := b>>(f.bits-1)&1 == 1
	exp := int(b >> m & (1<<(f.bits-1-m) - 1))
	frac := b & (1<<m - 1)
	top := 1<<(f.bits-1-m) - 1
	switch {
	case exp == top && frac != 0:
		return num{nan: true}
	case exp == top:
		return num{inf: true, neg: sign}
	case exp == 0:
		exp = 1
	default:
		frac |= 1 << m
	}
	v := new(big.Float).SetPrec(exact).SetUint64(frac)
	v.SetMantExp(v, exp-1+f.emin-int(m))
	if sign {
		v.Neg(v)
	}
	return num{v: v, neg: sign}
}

type rounding uint8

const (
	nearestEven rounding = iota
	towardZero
	nearestAway
	downward
	upward
)

// directed is the rounding that a name asks for.
func directed(rest map[string]bool) rounding {
	switch {
	case rest["rz"]:
		return towardZero
	case rest["rm"]:
		return downward
	case rest["rp"]:
		return upward
	}
	return nearestEven
}

// encode rounds once.
func (f format) encode(n num, r rounding) uint64 {
	sign := uint64(0)
	if n.neg || n.v != nil && n.v.Signbit() {
		sign = 1 << (f.bits - 1)
	}
	m := f.fraction()
	infinity := uint64(1<<(f.bits-1-m)-1) << m
	switch {
	case n.nan:
		return f.nan
	case n.inf:
		return sign | infinity
	case n.v.Sign() == 0:
		return sign
	}
	e := max(n.v.MantExp(nil)-1, f.emin) // the value is in [2^e, 2^(e+1)) or subnormal
	scaled := new(big.Float).SetPrec(exact).SetMantExp(new(big.Float).Abs(n.v), int(m)-e)
	q, _ := scaled.Int(nil)
	rest := new(big.Float).SetPrec(exact).Sub(scaled, new(big.Float).SetPrec(exact).SetInt(q))
	half := rest.Cmp(big.NewFloat(0.5))
	away := r == downward && sign != 0 || r == upward && sign == 0
	if r == nearestEven && (half > 0 || half == 0 && q.Bit(0) == 1) || r == nearestAway && half >= 0 || away && rest.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	u := q.Uint64()
	if u >= 1<<(m+1) {
		u >>= 1
		e++
	}
	if e > f.emax() {
		if r == towardZero || (r == downward || r == upward) && !away {
			return sign | infinity - 1
		}
		return sign | infinity
	}
	if u>>m == 0 {
		return sign | u // subnormal
	}
	return sign | uint64(e-f.emin+1)<<m | u&(1<<m-1)
}

func add(a, b num) num {
	switch {
	case a.nan || b.nan || a.inf && b.inf && a.neg != b.neg:
		return num{nan: true}
	case a.inf:
		return a
	case b.inf:
		return b
	}
	v := new(big.Float).SetPrec(exact).Add(a.v, b.v)
	if v.Sign() == 0 { // exact zeros: negative only when both are
		v.Abs(v)
		if a.v.Sign() == 0 && b.v.Sign() == 0 && a.v.Signbit() && b.v.Signbit() {
			v.Neg(v)
		}
	}
	return num{v: v}
}

func negate(a num) num {
	a.neg = !a.neg
	if a.v != nil {
		a.v = new(big.Float).Neg(a.v)
	}
	return a
}

func mul(a, b num) num {
	neg := signOf(a) != signOf(b)
	switch {
	case a.nan || b.nan || a.inf && zero(b) || b.inf && zero(a):
		return num{nan: true}
	case a.inf || b.inf:
		return num{inf: true, neg: neg}
	}
	return num{v: new(big.Float).SetPrec(exact).Mul(a.v, b.v)}
}

func signOf(a num) bool { return a.neg || a.v != nil && a.v.Signbit() }
func zero(a num) bool   { return a.v != nil && a.v.Sign() == 0 }

func quo(a, b num) num {
	neg := signOf(a) != signOf(b)
	signed := func(v *big.Float) num {
		if neg {
			v.Neg(v)
		}
		return num{v: v, neg: neg}
	}
	switch {
	case a.nan || b.nan || a.inf && b.inf || zero(a) && zero(b):
		return num{nan: true}
	case a.inf || zero(b):
		return num{inf: true, neg: neg}
	case b.inf || zero(a):
		return signed(new(big.Float).SetPrec(exact))
	}
	// A quotient that is not exact never lies halfway for formats of up to
	// exact/2 bits, and these many digits tell on which side it is.
	return num{v: new(big.Float).SetPrec(exact).Quo(a.v, b.v), neg: neg}
}

func root(a num) num {
	switch {
	case a.nan || signOf(a) && !zero(a):
		return num{nan: true}
	case a.inf || zero(a):
		return a
	}
	return num{v: new(big.Float).SetPrec(600).Sqrt(a.v)}
}

// less orders numbers that are not NaN; -0 equals +0.
func less(a, b num) bool {
	switch {
	case a.inf && a.neg:
		return !b.inf || !b.neg
	case a.inf:
		return false
	case b.inf:
		return !b.neg
	}
	return a.v.Cmp(b.v) < 0
}

// form is one lane-wise instruction: the types of its operands, and its result.
type form struct {
	name string
	dst  ptx.Type
	src  []ptx.Type
	eval func(a []uint64) uint64
	ulps int    // 0: exact
	isa  string // see head
	// bound is how far a result may be from the true one, given want, which is that
	// rounded to fp32; nil: see ulps.
	bound func(a []uint64, want float64) float64
}

// mask keeps the bits of a type.
func mask(t ptx.Type, v uint64) uint64 {
	if n := t.Bits(); n < 64 {
		return v & (1<<n - 1)
	}
	return v
}

func signed(t ptx.Type, v uint64) *big.Int {
	v = mask(t, v)
	if n := t.Bits(); t.Signed() && v>>(n-1) == 1 {
		return new(big.Int).Sub(new(big.Int).SetUint64(v), new(big.Int).Lsh(big.NewInt(1), uint(n)))
	}
	return new(big.Int).SetUint64(v)
}

func wrap(t ptx.Type, v *big.Int) uint64 {
	m := new(big.Int).Lsh(big.NewInt(1), uint(t.Bits()))
	return new(big.Int).Mod(v, m).Uint64()
}

// halfOf returns the element type of a packed pair, or NoType.
func halfOf(t ptx.Type) ptx.Type {
	switch t {
	case ptx.F16x2:
		return ptx.F16
	case ptx.BF16x2:
		return ptx.BF16
	case ptx.U16x2:
		return ptx.U16
	case ptx.S16x2:
		return ptx.S16
	default:
		return ptx.NoType
	}
}

// double is the type of twice the width.
func double(t ptx.Type) ptx.Type {
	return map[ptx.Type]ptx.Type{ptx.U16: ptx.U32, ptx.S16: ptx.S32, ptx.U32: ptx.U64, ptx.S32: ptx.S64}[t]
}

// formOf derives a form from the instruction's name.
func formOf(name string) (form, error) {
	parts := strings.Split(name, ".")
	op, mods := parts[0], parts[1:]
	var types []ptx.Type
	rest := map[string]bool{}
	for _, m := range mods {
		if t := ptx.TypeNamed(m); t != ptx.NoType {
			types = append(types, t)
		} else {
			rest[m] = true
		}
	}
	if len(types) == 0 {
		return form{}, fmt.Errorf("%s: no type", name)
	}
	t := types[len(types)-1]
	f := form{name: name, dst: t}
	srcs := func(ts ...ptx.Type) { f.src = ts }
	if h := halfOf(t); h != ptx.NoType && op != "cvt" { // element by element
		inner, err := formOf(strings.Replace(name, t.String(), h.String(), 1))
		if err != nil {
			return form{}, err
		}
		for range inner.src {
			f.src = append(f.src, t)
		}
		f.eval = func(a []uint64) uint64 {
			lo, hi := make([]uint64, len(a)), make([]uint64, len(a))
			for i, v := range a {
				lo[i], hi[i] = v&0xffff, v>>16&0xffff
			}
			return inner.eval(hi)<<16 | inner.eval(lo)
		}
		return f, nil
	}
	fl, isFloat := formats[t]
	bin := func(g func(x, y *big.Int) *big.Int) {
		srcs(t, t)
		f.eval = func(a []uint64) uint64 { return wrap(t, g(signed(t, a[0]), signed(t, a[1]))) }
	}
	floatBin := func(g func(x, y num) num) {
		srcs(t, t)
		f.eval = func(a []uint64) uint64 { return fl.encode(g(fl.decode(a[0]), fl.decode(a[1])), directed(rest)) }
	}
	// A sum of zero of which the parts have other signs is negative when it is rounded down.
	sum := func(x, y num) num {
		n := add(x, y)
		if zero(n) && rest["rm"] && (signOf(x) || signOf(y)) {
			n = negate(num{v: new(big.Float).Abs(n.v)})
		}
		return n
	}
	// The errors of .approx are the ISA's (9.7.3, Floating Point Instructions).
	relative := func(e float64) {
		f.bound = func(_ []uint64, want float64) float64 { return e * math.Abs(want) }
	}
	approx := func(g func(float64) float64) {
		srcs(t)
		f.eval = func(a []uint64) uint64 {
			return fl.encode(fromFloat(g(value(t, le.AppendUint64(nil, a[0])))), nearestEven)
		}
	}
	bigOp := map[string]func(z, x, y *big.Int) *big.Int{
		"add": (*big.Int).Add, "sub": (*big.Int).Sub, "and": (*big.Int).And, "or": (*big.Int).Or, "xor": (*big.Int).Xor,
	}
	switch op {
	case "add", "sub":
		if isFloat {
			floatBin(func(x, y num) num {
				if op == "sub" {
					y = negate(y)
				}
				return sum(x, y)
			})
		} else if rest["sat"] {
			srcs(t, t)
			f.eval = func(a []uint64) uint64 { return clamp(t, bigOp[op](new(big.Int), signed(t, a[0]), signed(t, a[1]))) }
		} else {
			bin(func(x, y *big.Int) *big.Int { return bigOp[op](new(big.Int), x, y) })
		}
	case "and", "or", "xor":
		bin(func(x, y *big.Int) *big.Int { return bigOp[op](new(big.Int), x, y) })
	case "mul", "mad":
		if isFloat && op == "mad" { // another name of fma
			return formOf2(name, "fma"+name[3:])
		}
		if isFloat {
			floatBin(mul)
			break
		}
		srcs(t, t)
		third := t
		shift := uint(0)
		if rest["wide"] {
			f.dst = double(t)
			third = f.dst
		}
		if rest["hi"] {
			shift = uint(t.Bits())
		}
		if op == "mad" {
			srcs(t, t, third)
		}
		f.eval = func(a []uint64) uint64 {
			p := new(big.Int).Mul(signed(t, a[0]), signed(t, a[1]))
			p.Rsh(p, shift) // arithmetic: rounds down
			if op == "mad" {
				p.Add(p, signed(third, a[2]))
			}
			if rest["sat"] {
				return clamp(t, p)
			}
			return wrap(f.dst, p)
		}
	case "mul24", "mad24":
		srcs(t, t)
		if op == "mad24" {
			srcs(t, t, t)
		}
		low := func(v uint64) *big.Int { // 24 bits, with their sign
			n := new(big.Int).SetUint64(v & 0xffffff)
			if t.Signed() && n.Bit(23) == 1 {
				n.Sub(n, big.NewInt(1<<24))
			}
			return n
		}
		f.eval = func(a []uint64) uint64 {
			p := new(big.Int).Mul(low(a[0]), low(a[1]))
			if rest["hi"] { // of 48 bits
				p.Rsh(p, 16)
			}
			p = signed(t, wrap(t, p))
			if op == "mad24" {
				p.Add(p, signed(t, a[2]))
			}
			if rest["sat"] {
				return clamp(t, p)
			}
			return wrap(t, p)
		}
	case "dp4a", "dp2a":
		srcs(types[0], types[1], ptx.S32)
		f.dst = ptx.S32
		f.eval = func(a []uint64) uint64 {
			sum := signed(ptx.S32, a[2])
			for i := range map[string]int{"dp4a": 4, "dp2a": 2}[op] {
				n, j := 8, i
				if op == "dp2a" {
					n = 16
				}
				if rest["hi"] {
					j += 2
				}
				of := func(t ptx.Type, v uint64, n int) *big.Int {
					return signed(map[int]ptx.Type{8: map[bool]ptx.Type{true: ptx.S8, false: ptx.U8}[t.Signed()], 16: map[bool]ptx.Type{true: ptx.S16, false: ptx.U16}[t.Signed()]}[n], v)
				}
				sum.Add(sum, new(big.Int).Mul(of(types[0], a[0]>>(n*i), n), of(types[1], a[1]>>(8*j), 8)))
			}
			return wrap(ptx.S32, sum)
		}
	case "slct":
		f.dst = types[0]
		srcs(types[0], types[0], types[1])
		f.eval = func(a []uint64) uint64 {
			c := number(types[1], a[2])
			if rest["ftz"] && a[2]&0x7f800000 == 0 {
				c = finite(0)
			}
			if !c.nan && !less(c, finite(0)) {
				return a[0]
			}
			return a[1]
		}
		return f, nil
	case "szext":
		srcs(t, ptx.U32)
		f.eval = func(a []uint64) uint64 { // bit by bit
			n := int(a[1] & 31)
			if rest["clamp"] {
				n = int(min(a[1], 32))
			}
			var r uint64
			for i := range 32 {
				switch {
				case i < n:
					r |= a[0] & (1 << i)
				case t.Signed() && n > 0:
					r |= a[0] >> (n - 1) & 1 << i
				}
			}
			return r
		}
	case "bmsk":
		srcs(ptx.U32, ptx.U32)
		f.eval = func(a []uint64) uint64 {
			pos, n := a[0], a[1]
			if !rest["clamp"] {
				pos, n = pos&31, n&31
			}
			var r uint64
			for i := range uint64(32) {
				if i >= pos && i-pos < n {
					r |= 1 << i
				}
			}
			return r
		}
	case "fma":
		srcs(t, t, t)
		f.eval = func(a []uint64) uint64 {
			return fl.encode(sum(mul(fl.decode(a[0]), fl.decode(a[1])), fl.decode(a[2])), directed(rest))
		}
	case "div":
		if isFloat {
			floatBin(quo)
			if rest["approx"] || rest["full"] {
				f.ulps = 2
			}
			if rest["approx"] { // beyond 2^126: 0, or NaN if the dividend is infinite
				divide := f.eval
				f.eval = func(a []uint64) uint64 {
					x, y := fl.decode(a[0]), fl.decode(a[1])
					switch {
					case x.nan || y.nan || y.inf || !less(finite(0x1p126), y) && !less(y, finite(-0x1p126)):
						return divide(a)
					case x.inf:
						return fl.nan
					}
					return (a[0] ^ a[1]) & 0x80000000
				}
			}
			break
		}
		bin(func(x, y *big.Int) *big.Int {
			if y.Sign() == 0 {
				return big.NewInt(-1)
			}
			return new(big.Int).Quo(x, y)
		})
	case "rem":
		bin(func(x, y *big.Int) *big.Int {
			if y.Sign() == 0 { // open in the ISA
				return big.NewInt(-1)
			}
			return new(big.Int).Rem(x, y)
		})
	case "min", "max":
		if isFloat {
			propagate := rest["NaN"]
			floatBin(func(x, y num) num {
				switch {
				case propagate && (x.nan || y.nan):
					return num{nan: true}
				case x.nan:
					return y
				case y.nan:
					return x
				}
				lt := less(x, y) || !less(y, x) && signOf(x) && !signOf(y)
				if lt == (op == "min") {
					return x
				}
				return y
			})
			break
		}
		bin(func(x, y *big.Int) *big.Int {
			if (x.Cmp(y) < 0) == (op == "max") {
				x = y
			}
			if rest["relu"] && x.Sign() < 0 {
				return new(big.Int)
			}
			return x
		})
	case "sqrt":
		srcs(t)
		if rest["approx"] {
			relative(0x1p-23)
		}
		f.eval = func(a []uint64) uint64 { return fl.encode(root(fl.decode(a[0])), directed(rest)) }
	case "rcp":
		srcs(t)
		if rest["approx"] && t == ptx.F64 { // of the upper halves
			f.gross(func(x num) num { return quo(finite(1), x) })
			return f, nil
		}
		if rest["approx"] {
			f.ulps = 1
		}
		f.eval = func(a []uint64) uint64 { return fl.encode(quo(finite(1), fl.decode(a[0])), directed(rest)) }
	case "rsqrt":
		if t == ptx.F64 {
			srcs(t)
			if rest["ftz"] {
				f.gross(func(x num) num { return quo(finite(1), root(x)) })
				return f, nil
			}
			f.eval = func(a []uint64) uint64 { return fl.encode(quo(finite(1), root(fl.decode(a[0]))), nearestEven) }
			relative(0x1p-50)
			break
		}
		approx(func(x float64) float64 { return 1 / math.Sqrt(x) })
		relative(math.Exp2(-22.9))
	case "ex2":
		approx(math.Exp2)
		relative(map[ptx.Type]float64{ptx.F32: 0x1p-22, ptx.F16: math.Exp2(-9.9), ptx.BF16: 0x1p-7}[t])
	case "lg2":
		approx(math.Log2)
		f.bound = func(a []uint64, want float64) float64 {
			if x := math.Float32frombits(uint32(a[0])); x > 0.5 && x < 2 {
				return 0x1p-22
			}
			return 0x1p-22 * math.Abs(want)
		}
	case "sin", "cos":
		// The ISA promises 2^-20.5 in [-2pi, 2pi], 2^-14.7 in [-100pi, 100pi] and nothing
		// beyond. What grows is the error of the angle: NVIDIA's assembler multiplies by
		// 1/2pi in fp32, toward zero, before the function itself. With that in the
		// expectation the first bound holds for all arguments. A subnormal gives zero.
		g := math.Sin
		if op == "cos" {
			g = math.Cos
		}
		approx(func(x float64) float64 {
			turns := mul(fromFloat(x), fl.decode(0x3e22f983))
			if !turns.nan && !turns.inf {
				turns = fl.decode(fl.encode(turns, towardZero))
				t, _ := turns.v.Float64()
				return g(2 * math.Pi * (t - math.Trunc(t)))
			}
			return math.NaN()
		})
		f.bound = func([]uint64, float64) float64 { return math.Exp2(-20.5) }
	case "tanh":
		approx(math.Tanh)
		if relative(0x1p-11); t != ptx.F32 {
			e := map[ptx.Type]float64{ptx.F16: math.Exp2(-10.987), ptx.BF16: 0x1p-8}[t]
			f.bound = func([]uint64, float64) float64 { return e }
		}
	case "neg", "abs":
		srcs(t)
		top := uint64(1) << (t.Bits() - 1)
		switch {
		case isFloat:
			f.eval = func(a []uint64) uint64 {
				switch {
				case fl.decode(a[0]).nan:
					return fl.nan
				case op == "neg":
					return a[0] ^ top
				}
				return a[0] &^ top
			}
		case op == "neg":
			f.eval = func(a []uint64) uint64 { return wrap(t, new(big.Int).Neg(signed(t, a[0]))) }
		default:
			f.eval = func(a []uint64) uint64 { return wrap(t, new(big.Int).Abs(signed(t, a[0]))) }
		}
	case "copysign":
		srcs(t, t)
		top := uint64(1) << (t.Bits() - 1)
		f.eval = func(a []uint64) uint64 { return a[1]&^top | a[0]&top }
	case "not":
		srcs(t)
		f.eval = func(a []uint64) uint64 { return mask(t, ^a[0]) }
	case "cnot":
		srcs(t)
		f.eval = func(a []uint64) uint64 {
			if a[0] == 0 {
				return 1
			}
			return 0
		}
	case "shl":
		srcs(t, ptx.U32)
		f.eval = func(a []uint64) uint64 { return wrap(t, new(big.Int).Lsh(signed(t, a[0]), uint(min(a[1], 64)))) }
	case "shr":
		srcs(t, ptx.U32)
		f.eval = func(a []uint64) uint64 { return wrap(t, new(big.Int).Rsh(signed(t, a[0]), uint(min(a[1], 64)))) }
	case "shf":
		srcs(t, t, ptx.U32)
		f.eval = func(a []uint64) uint64 {
			n := uint(a[2] & 31)
			if rest["clamp"] {
				n = uint(min(a[2], 32))
			}
			w := new(big.Int).SetUint64(a[1]<<32 | a[0])
			if rest["r"] {
				return w.Rsh(w, n).Uint64() & 0xffffffff
			}
			return w.Lsh(w, n).Rsh(w, 32).Uint64() & 0xffffffff
		}
	case "bfe":
		srcs(t, ptx.U32, ptx.U32)
		f.eval = func(a []uint64) uint64 { // bit by bit, as the ISA's pseudocode
			pos, n := int(a[1]&0xff), int(a[2]&0xff)
			sbit := uint64(0)
			if t.Signed() && n > 0 {
				sbit = a[0] >> min(pos+n-1, t.Bits()-1) & 1
			}
			var r uint64
			for i := range t.Bits() {
				bit := sbit
				if i < n && pos+i < t.Bits() {
					bit = a[0] >> (pos + i) & 1
				}
				r |= bit << i
			}
			return r
		}
	case "brev":
		srcs(t)
		f.eval = func(a []uint64) uint64 {
			var r uint64
			for i := range t.Bits() {
				r |= a[0] >> i & 1 << (t.Bits() - 1 - i)
			}
			return r
		}
	case "popc", "clz", "bfind":
		srcs(t)
		f.dst = ptx.U32
		f.eval = func(a []uint64) uint64 {
			switch op {
			case "popc":
				n := uint64(0)
				for i := range t.Bits() {
					n += a[0] >> i & 1
				}
				return n
			case "bfind":
				v := signed(t, a[0])
				if v.Sign() < 0 { // the highest zero
					v.Not(v)
				}
				switch n := v.BitLen() - 1; {
				case n < 0:
					return 0xffffffff
				case rest["shiftamt"]:
					return uint64(t.Bits() - 1 - n)
				default:
					return uint64(n)
				}
			}
			return uint64(t.Bits() - bits.Len64(a[0]))
		}
	case "prmt":
		srcs(t, t, t)
		f.eval = func(a []uint64) uint64 {
			var r uint64
			for i := range 4 {
				sel := a[2] >> (4 * i) & 15
				k, j := int(a[2]&3), i
				switch {
				case rest["f4e"]:
					sel = uint64(k + j)
				case rest["b4e"]:
					sel = uint64(k - j + 8)
				case rest["rc8"]:
					sel = uint64(k)
				case rest["ecl"]:
					sel = uint64(max(j, k))
				case rest["ecr"]:
					sel = uint64(min(j, k))
				case rest["rc16"]:
					sel = uint64(k&1*2 + j&1)
				}
				if len(rest) > 0 {
					sel &= 7
				}
				b := (a[1]<<32 | a[0]) >> (8 * (sel & 7)) & 0xff
				if sel&8 != 0 {
					b = b >> 7 * 0xff
				}
				r |= b << (8 * i)
			}
			return r
		}
	case "sad":
		srcs(t, t, t)
		f.eval = func(a []uint64) uint64 {
			d := new(big.Int).Sub(signed(t, a[0]), signed(t, a[1]))
			return wrap(t, d.Abs(d).Add(d, signed(t, a[2])))
		}
	case "mov":
		srcs(t)
		f.eval = func(a []uint64) uint64 { return a[0] }
	case "cvt":
		return convert(name, types, rest)
	default:
		return form{}, fmt.Errorf("%s: no oracle", name)
	}
	if t == ptx.F64 {
		f.propagate(op)
	}
	if rest["xorsign"] {
		eval, top := f.eval, uint64(1)<<(t.Bits()-1)
		f.eval = func(a []uint64) uint64 {
			r := eval([]uint64{a[0] &^ top, a[1] &^ top})
			if fl.decode(r).nan {
				return r
			}
			return r | (a[0]^a[1])&top
		}
	}
	if rest["ftz"] {
		f.flushed(fl)
	}
	if eval := f.eval; isFloat && (rest["sat"] || rest["relu"]) {
		f.eval = func(a []uint64) uint64 {
			r := eval(a)
			n := fl.decode(r)
			switch {
			case n.nan && rest["relu"]:
				return r
			case n.nan || signOf(n):
				return 0
			case rest["sat"] && less(finite(1), n):
				return fl.encode(finite(1), nearestEven)
			}
			return r
		}
	}
	return f, nil
}

// formOf2 is formOf for another name of a form.
func formOf2(name, other string) (form, error) {
	f, err := formOf(other)
	f.name = name
	return f, err
}

// gross is an approximation of fp64 that looks at the upper half of its operand, flushed,
// and gives the upper half of a result: 20 bits of fraction.
func (f *form) gross(g func(num) num) {
	fl := formats[ptx.F64]
	flush := func(v uint64) uint64 {
		if v&(0x7ff<<52) == 0 {
			return v & (1 << 63)
		}
		return v
	}
	upper := format{32, 21, -1022, 0}
	f.eval = func(a []uint64) uint64 {
		x := fl.decode(flush(a[0]) &^ (1<<32 - 1))
		n := g(x)
		if n.nan {
			if x.nan {
				return (a[0] | 1<<51) &^ (1<<32 - 1)
			}
			return 0xfff8 << 48
		}
		return flush(upper.encode(n, nearestEven) << 32)
	}
	f.bound = func(_ []uint64, want float64) float64 { return 0x1p-20 * math.Abs(want) }
}

// clamp keeps a number in the range of an integer type.
func clamp(t ptx.Type, v *big.Int) uint64 {
	return saturate(t, num{v: new(big.Float).SetPrec(exact).SetInt(v)})
}

// flushed makes subnormal operands and results zeros of their sign.
func (f *form) flushed(fl format) {
	flush := func(v uint64) uint64 {
		if v>>fl.fraction()&(1<<(fl.bits-1-fl.fraction())-1) == 0 {
			return v & (1 << (fl.bits - 1))
		}
		return v
	}
	all := func(a []uint64) (b []uint64) {
		for _, v := range a {
			b = append(b, flush(v))
		}
		return b
	}
	eval, bound := f.eval, f.bound
	f.eval = func(a []uint64) uint64 { return flush(eval(all(a))) }
	if bound != nil {
		f.bound = func(a []uint64, want float64) float64 { return bound(all(a), want) }
	}
}

// propagate makes the NaNs of fp64 those of sm_90: an operand's, quiet, the first in
// the order of the table; or fff8000000000000 where no operand is one.
func (f *form) propagate(op string) {
	order, ok := map[string][]int{
		"add": {1, 0}, "sub": {1, 0}, "mul": {1, 0}, "fma": {1, 2, 0}, "min": {1, 0}, "max": {1, 0},
		"div": {0, 1}, "rcp": {0}, "sqrt": {0}, "rsqrt": {0}, "neg": {0}, "abs": {0},
	}[op]
	if !ok {
		return
	}
	fl, eval := formats[ptx.F64], f.eval
	f.eval = func(a []uint64) uint64 {
		r := eval(a)
		if !fl.decode(r).nan {
			return r
		}
		for _, i := range order {
			if fl.decode(a[i]).nan {
				return a[i] | 1<<51
			}
		}
		return 0xfff8 << 48
	}
}

func fromFloat(v float64) num {
	switch {
	case math.IsNaN(v):
		return num{nan: true}
	case math.IsInf(v, 0):
		return num{inf: true, neg: v < 0}
	}
	return finite(v)
}

// compare evaluates a comparison of setp and set.
func compare(cmp string, x, y num) bool {
	un := x.nan || y.nan
	switch cmp {
	case "nan":
		return un
	case "num":
		return !un
	}
	if c, unordered := strings.CutSuffix(cmp, "u"); unordered {
		return un || compare(c, x, y)
	}
	if un {
		return false
	}
	lt, gt := less(x, y), less(y, x)
	switch cmp {
	case "eq":
		return !lt && !gt
	case "ne":
		return lt || gt
	case "lt", "lo":
		return lt
	case "le", "ls":
		return !gt
	case "gt", "hi":
		return gt
	default:
		return !lt // ge, hs
	}
}

// number reads a value of any type.
func number(t ptx.Type, v uint64) num {
	if f, ok := formats[t]; ok {
		return f.decode(v)
	}
	return num{v: new(big.Float).SetPrec(exact).SetInt(signed(t, v))}
}

// fp8 is the value of a byte as E4M3 or E5M2.
func fp8(t ptx.Type, b uint64) num {
	frac, bias := uint(3), 7
	if t == ptx.E5M2 {
		frac, bias = 2, 15
	}
	exp, m := int(b&0x7f>>frac), float64(b&(1<<frac-1))
	neg := b&0x80 != 0
	switch {
	case t == ptx.E4M3 && b&0x7f == 0x7f, t == ptx.E5M2 && b&0x7f > 0x7c:
		return num{nan: true}
	case t == ptx.E5M2 && b&0x7f == 0x7c:
		return num{inf: true, neg: neg}
	case exp == 0:
		exp = 1
	default:
		m += float64(uint(1) << frac)
	}
	v := math.Ldexp(m, exp-bias-int(frac))
	if neg {
		v = math.Copysign(v, -1)
	}
	return num{v: finite(v).v, neg: neg}
}

// toFP8 finds the nearest of the bytes, which grow with their values, the even one of two; what is too large becomes the
// largest that is finite.
func toFP8(t ptx.Type, n num) uint64 {
	if n.nan {
		return 0x7f
	}
	sign := uint64(0)
	if signOf(n) {
		sign = 0x80
	}
	largest := map[ptx.Type]uint64{ptx.E4M3: 0x7e, ptx.E5M2: 0x7b}[t]
	if n.inf {
		return sign | largest
	}
	size := new(big.Float).Abs(n.v)
	distance := func(b uint64) *big.Float {
		d := new(big.Float).SetPrec(exact).Sub(fp8(t, b).v, size)
		return d.Abs(d)
	}
	best := uint64(sort.Search(int(largest), func(b int) bool { return fp8(t, uint64(b)).v.Cmp(size) >= 0 })) // from above
	if best > 0 {
		if c := distance(best - 1).Cmp(distance(best)); c < 0 || c == 0 && best%2 == 1 {
			best--
		}
	}
	return sign | best
}

// convert is formOf for cvt.
func convert(name string, types []ptx.Type, rest map[string]bool) (form, error) {
	d, s := types[0], types[len(types)-1]
	f := form{name: name, dst: d, src: []ptx.Type{s}}
	r := directed(rest)
	whole8 := map[ptx.Type]ptx.Type{ptx.E4M3x2: ptx.E4M3, ptx.E5M2x2: ptx.E5M2}
	relu := func(n num) num {
		if rest["relu"] && !n.nan && signOf(n) {
			return finite(0)
		}
		return n
	}
	toInteger := rest["rni"] || rest["rzi"] || rest["rmi"] || rest["rpi"]
	switch {
	case rest["pack"]: // into the low bits of the last operand, if there is one
		n := d.Bits()
		s = types[1]
		f.src = []ptx.Type{s, s}
		if f.dst = ptx.U32; n < 16 {
			f.src = append(f.src, ptx.U32)
		}
		f.eval = func(a []uint64) uint64 {
			v := uint64(0)
			if n < 16 {
				v = a[2]
			}
			v = v<<n | clamp(d, signed(s, a[0]))
			return (v<<n | clamp(d, signed(s, a[1]))) & 0xffffffff
		}
	case whole8[d] != ptx.NoType && s == ptx.F32: // two sources, the first goes to the upper byte
		f.src = []ptx.Type{s, s}
		f.eval = func(a []uint64) uint64 {
			return toFP8(whole8[d], relu(number(s, a[0])))<<8 | toFP8(whole8[d], relu(number(s, a[1])))
		}
	case whole8[d] != ptx.NoType:
		f.eval = func(a []uint64) uint64 {
			return toFP8(whole8[d], relu(number(ptx.F16, a[0]>>16)))<<8 | toFP8(whole8[d], relu(number(ptx.F16, a[0]&0xffff)))
		}
	case whole8[s] != ptx.NoType:
		h := formats[ptx.F16]
		f.eval = func(a []uint64) uint64 {
			return h.encode(relu(fp8(whole8[s], a[0]>>8)), r)<<16 | h.encode(relu(fp8(whole8[s], a[0]&0xff)), r)
		}
	case halfOf(d) != ptx.NoType: // two sources, the first goes to the upper half
		h := formats[halfOf(d)]
		f.src = []ptx.Type{s, s}
		f.eval = func(a []uint64) uint64 {
			return h.encode(relu(number(s, a[0])), r)<<16 | h.encode(relu(number(s, a[1])), r)
		}
	case d == ptx.TF32:
		tf := format{19, 11, -126, 0} // the upper bits of fp32
		if rest["rna"] {
			r = nearestAway
		}
		f.eval = func(a []uint64) uint64 {
			n := number(s, a[0])
			switch {
			case n.nan && rest["rna"]: // its upper bits, an infinity if they are all zero
				return a[0] &^ 0x1fff
			case n.nan:
				return 0x7fffe000
			}
			return tf.encode(relu(n), r) << 13
		}
	case d == ptx.F32 && s == ptx.BF16: // the upper half, also of a NaN
		f.eval = func(a []uint64) uint64 { return a[0] << 16 }
	case d == ptx.F64 && s == ptx.F32 || d == ptx.F32 && s == ptx.F64: // a NaN's sign and upper bits stay
		f.eval = func(a []uint64) uint64 {
			n := number(s, a[0])
			if !n.nan {
				return formats[d].encode(n, r)
			}
			from, to := formats[s], formats[d]
			sign, frac := a[0]>>(from.bits-1), a[0]<<(64-from.fraction())>>(64-to.fraction())
			infinity := to.encode(num{inf: true}, r)
			return sign<<(to.bits-1) | infinity | 1<<(to.fraction()-1) | frac
		}
	case d == ptx.F64 && s == ptx.F16: // a NaN goes through fp32; not recorded
		f.eval = func(a []uint64) uint64 {
			if n := number(s, a[0]); !n.nan {
				return formats[d].encode(n, r)
			}
			return 0x7fffffffe0000000
		}
	case d.Float() && !toInteger:
		f.eval = func(a []uint64) uint64 { return formats[d].encode(relu(number(s, a[0])), r) }
	case s.Float(): // to an integer, or to a whole number
		f.eval = func(a []uint64) uint64 {
			n := number(s, a[0])
			if n.nan {
				switch {
				case d == ptx.F64: // as other operations of fp64; not recorded
					return a[0] | 1<<51
				case d.Float():
					return formats[d].nan
				case s == ptx.F64 || d.Bits() == 64:
					return 1 << (d.Bits() - 1)
				}
				return 0
			}
			if !n.inf {
				n = whole(n, rest)
			}
			if d.Float() {
				return formats[d].encode(n, nearestEven)
			}
			return saturate(d, n)
		}
	case rest["sat"]:
		f.eval = func(a []uint64) uint64 { return clamp(d, signed(s, a[0])) }
	default:
		f.eval = func(a []uint64) uint64 { return wrap(d, signed(s, a[0])) }
	}
	if fs, ok := formats[s]; ok && rest["ftz"] {
		eval := f.eval
		f.eval = func(a []uint64) uint64 {
			if s == ptx.F32 && a[0]&0x7f800000 == 0 {
				return eval([]uint64{a[0] & 0x80000000})
			}
			r := eval(a)
			if fs.bits == 64 && r&0x7f800000 == 0 { // the fp32 that comes of it
				return r & 0x80000000
			}
			return r
		}
	}
	if fd, ok := formats[d]; ok && rest["sat"] {
		eval := f.eval
		f.eval = func(a []uint64) uint64 {
			r := eval(a)
			n := fd.decode(r)
			switch {
			case n.nan || signOf(n):
				return 0
			case less(finite(1), n):
				return fd.encode(finite(1), nearestEven)
			}
			return r
		}
	}
	return f, nil
}

// whole rounds to an integer, by the mode's name.
func whole(n num, mode map[string]bool) num {
	neg := n.v.Signbit()
	q, _ := n.v.Int(nil) // toward zero
	rest := new(big.Float).SetPrec(exact).Sub(n.v, new(big.Float).SetPrec(exact).SetInt(q))
	away := big.NewInt(1)
	if neg {
		away.Neg(away)
	}
	c := rest.Abs(rest).Cmp(big.NewFloat(0.5))
	switch {
	case mode["rni"] && (c > 0 || c == 0 && q.Bit(0) == 1),
		mode["rmi"] && neg && rest.Sign() != 0,
		mode["rpi"] && !neg && rest.Sign() != 0:
		q.Add(q, away)
	}
	v := new(big.Float).SetPrec(exact).SetInt(q)
	if neg && v.Sign() == 0 {
		v.Neg(v)
	}
	return num{v: v}
}

// saturate clamps to an integer type.
func saturate(t ptx.Type, n num) uint64 {
	bits := uint(t.Bits())
	lo, hi := new(big.Int), new(big.Int).Lsh(big.NewInt(1), bits)
	if t.Signed() {
		hi.Rsh(hi, 1)
		lo.Neg(hi)
	}
	hi.Sub(hi, big.NewInt(1))
	if n.inf {
		if n.neg {
			return wrap(t, lo)
		}
		return wrap(t, hi)
	}
	q, _ := n.v.Int(nil)
	switch {
	case q.Cmp(lo) < 0:
		q = lo
	case q.Cmp(hi) > 0:
		q = hi
	}
	return wrap(t, q)
}
