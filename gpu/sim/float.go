package sim

import (
	"math"
	"math/big"
	"math/bits"

	"github.com/stylize-gpu/stylize/gpu/half"
)

// The floating-point contract: every operation rounds once, to nearest even
// unless its name says otherwise; subnormals are kept. PTX leaves the bits of a NaN
// open; here they are those of sm_90 (gpu/sim/conform holds them against a GPU): in
// fp16, bf16 and fp32 the canonical NaN whatever payload went in, in fp64 an
// operand's, quiet, or nan64 where no operand is a NaN.
const (
	nan32   = 0x7fffffff
	nan16   = 0x7fff // fp16 and bf16
	nan64   = 0xfff8000000000000
	quiet64 = 1 << 51
)

func f32(b uint32) float32 { return math.Float32frombits(b) }

// b32 gives the bits of a result, with the canonical NaN.
func b32(f float32) uint32 {
	if f != f {
		return nan32
	}
	return math.Float32bits(f)
}

func f64(b uint64) float64 { return math.Float64frombits(b) }

func isNaN64(b uint64) bool { return b<<1 > 0x7ff<<53 }

func b64(f float64) uint64 { return nan3(f, 0, 0, 0) }

// nan2 gives the bits of a result of two operands, in the order in which a NaN
// among them wins.
func nan2(f float64, first, second uint64) uint64 { return nan3(f, first, second, 0) }

func nan3(f float64, first, second, third uint64) uint64 {
	switch {
	case f == f:
		return math.Float64bits(f)
	case isNaN64(first):
		return first | quiet64
	case isNaN64(second):
		return second | quiet64
	case isNaN64(third):
		return third | quiet64
	}
	return nan64
}

// nanOr32, nanOr64 and nanOr16 are v, or the NaN that abs and neg make of a.
func nanOr32(a, v uint32) uint32 {
	if a&0x7fffffff > 0x7f800000 {
		return nan32
	}
	return v
}

func nanOr64(a, v uint64) uint64 {
	if isNaN64(a) { // its sign stays, also behind neg
		return a | quiet64
	}
	return v
}

func nanOr16(a, v, inf uint32) uint32 {
	if a&0x7fff > inf {
		return nan16
	}
	return v
}

// nanTo32 is v, or the integer that a NaN becomes; from fp32 and fp16 it becomes 0.
func nanTo32(a uint64, v uint32) uint32 {
	if isNaN64(a) {
		return 1 << 31
	}
	return v
}

// f32to64 and f64to32 keep a NaN's sign and what its payload has room for.
func f32to64(a uint32) uint64 {
	if a&0x7fffffff > 0x7f800000 {
		return uint64(a>>31)<<63 | 0x7ff8<<48 | uint64(a&0x7fffff)<<29
	}
	return math.Float64bits(float64(f32(a)))
}

func f64to32(a uint64) uint32 {
	if isNaN64(a) {
		return uint32(a>>63)<<31 | 0x7fc00000 | uint32(a>>29)&0x3fffff
	}
	return math.Float32bits(float32(f64(a)))
}

// fma32 is a*b+c rounded once to fp32. The product is exact in fp64; the fp64
// sum is right after one more rounding unless it lies halfway between two fp32
// values, or among their subnormals, whose halfway points are elsewhere. A sum of
// zero, which padding makes often, is exact.
func fma32(a, b, c float32) float32 {
	p := float64(a) * float64(b)
	s := p + float64(c)
	bits := math.Float64bits(s)
	if bits&(1<<29-1) != 1<<28 && bits&^(1<<63) >= 0x3810000000000000 || s == 0 {
		return float32(s)
	}
	return float32(sumOdd(p, float64(c)))
}

// sumOdd is a+b rounded to odd: an inexact sum gets an odd last bit, so that
// rounding it again to fewer digits gives what one rounding would have given
// (Boldo and Melquiond, 2008).
func sumOdd(a, b float64) float64 {
	s := a + b
	if math.IsNaN(s) || math.IsInf(s, 0) {
		return s
	}
	bb := s - a // TwoSum (Knuth): e is exactly a+b-s
	e := (a - (s - bb)) + (b - bb)
	if e == 0 || math.Float64bits(s)&1 == 1 {
		return s
	}
	if (e > 0) == (s > 0) {
		return math.Float64frombits(math.Float64bits(s) + 1)
	}
	return math.Float64frombits(math.Float64bits(s) - 1)
}

func max32(a, b float32) uint32 {
	switch {
	case a != a:
		return b32(b)
	case b != b:
		return b32(a)
	case a == b: // -0 < +0
		return math.Float32bits(a) & math.Float32bits(b)
	case a > b:
		return math.Float32bits(a)
	}
	return math.Float32bits(b)
}

func min32(a, b float32) uint32 {
	switch {
	case a != a:
		return b32(b)
	case b != b:
		return b32(a)
	case a == b:
		return math.Float32bits(a) | math.Float32bits(b)
	case a < b:
		return math.Float32bits(a)
	}
	return math.Float32bits(b)
}

// max64 and min64 are the same in fp64; of two NaNs the second wins.
func max64(a, b uint64) uint64 {
	switch {
	case isNaN64(b) && isNaN64(a):
		return b | quiet64
	case isNaN64(a):
		return b
	case isNaN64(b):
		return a
	}
	return math.Float64bits(max(f64(a), f64(b)))
}

func min64(a, b uint64) uint64 {
	if isNaN64(a) || isNaN64(b) {
		return max64(a, b)
	}
	return math.Float64bits(min(f64(a), f64(b)))
}

// maxNaN32 and minNaN32 are the .NaN forms: a NaN wins.
func maxNaN32(a, b float32) uint32 {
	if a != a || b != b {
		return nan32
	}
	return max32(a, b)
}

func minNaN32(a, b float32) uint32 {
	if a != a || b != b {
		return nan32
	}
	return min32(a, b)
}

func sqrt32(a float32) float32 { return float32(math.Sqrt(float64(a))) }
func rsqrt32(a float32) float32 {
	return float32(1 / math.Sqrt(float64(a)))
}
func rcp32(a float32) float32  { return 1 / a }
func ex2(a float32) float32    { return float32(math.Exp2(float64(a))) }
func lg2(a float32) float32    { return float32(math.Log2(float64(a))) }
func tanh32(a float32) float32 { return float32(math.Tanh(float64(a))) }

// divApprox is div.approx.f32 as NVIDIA's assembler writes it: a times the
// reciprocal of b, which is flushed to zero where it is subnormal. So a quotient by
// more than 2^126 is 0, or NaN where a is infinite, as the ISA has it.
func divApprox(a, b float32) float32 {
	if b < 0x1p-126 && b > -0x1p-126 {
		a, b = a*0x1p24, b*0x1p24
	}
	r := 1 / b
	if r < 0x1p-126 && r > -0x1p-126 {
		r *= 0
	}
	return a * r
}

// turns is a/2pi without its whole part: sin.approx and cos.approx multiply by an
// fp32 constant, toward zero, before the GPU's function of turns. This is what limits
// them to small arguments, and makes whole turns of those beyond 2^26.
func turns(a float32) float64 {
	const perRadian = 0x1.45f306p-3 // 1/2pi in fp32
	exact := float64(a) * perRadian
	t := float64(float32(exact))
	if math.Abs(t) > math.Abs(exact) {
		t = float64(math.Nextafter32(float32(t), 0))
	}
	return t - math.Trunc(t)
}

func sin32(a float32) float32 {
	t := turns(a)
	if t == 0 || a < 0x1p-126 && a > -0x1p-126 { // the ISA's table: subnormals give a zero of their sign
		return a * 0
	}
	return float32(math.Sin(2 * math.Pi * t))
}

func cos32(a float32) float32 { return float32(math.Cos(2 * math.Pi * turns(a))) }

// Half and bfloat16: gpu/half by the names that ops_gen.go uses.

func h2f(h uint16) float32  { return half.FromF16(h) }
func f2h(f float32) uint16  { return half.ToF16(f) }
func bf2f(h uint16) float32 { return half.FromBF16(h) }
func f2bf(f float32) uint16 { return half.ToBF16(f) }

// f2hz rounds to fp16 toward zero; too large becomes the largest finite.
func f2hz(f float32) uint16 {
	b := math.Float32bits(f)
	s := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return nan16
	case b == 0x7f800000:
		return s | 0x7c00
	case b >= 0x47800000:
		return s | 0x7bff
	case b < 0x38800000:
		return s | uint16(math.Trunc(float64(math.Float32frombits(b))*(1<<24)))
	}
	return s | uint16((b-0x38000000)>>13)
}

func f2bfz(f float32) uint16 {
	if f != f {
		return nan16
	}
	return uint16(math.Float32bits(f) >> 16)
}

// tf32rna rounds to tf32, ties away from zero. Of a NaN the lower bits go, and with
// them one that has no others: then it is an infinity.
func tf32rna(b uint32) uint32 {
	if b&0x7fffffff > 0x7f800000 {
		return b &^ 0x1fff
	}
	return half.ToTF32(b)
}

// tf32rn rounds to tf32, to nearest even.
func tf32rn(b uint32) uint32 {
	switch {
	case b&0x7fffffff > 0x7f800000:
		return nan32 &^ 0x1fff
	case b&0x7fffffff == 0x7f800000:
		return b
	}
	return (b + 0xfff + b>>13&1) &^ 0x1fff
}

// e5m2 is the upper byte of an fp16.
func e5m2(b uint8) float32 { return h2f(uint16(b) << 8) }

// e4m3 has no infinities: of the greatest exponent only 0x7f is a NaN.
func e4m3(b uint8) float32 {
	exp, frac := int(b>>3&15), int(b&7)
	var v float64
	switch {
	case b&0x7f == 0x7f:
		return f32(nan32)
	case exp == 0:
		v = math.Ldexp(float64(frac), -9)
	default:
		v = math.Ldexp(float64(8+frac), exp-10)
	}
	return float32(math.Copysign(v, float64(1-2*int(b>>7))))
}

// fmaH and fmaBF are one rounding of a*b+c in their format.
func fmaH(a, b, c uint16) uint16 {
	return round16(float64(h2f(a))*float64(h2f(b)), float64(h2f(c)), f2h)
}

func fmaBF(a, b, c uint16) uint16 {
	return round16(float64(bf2f(a))*float64(bf2f(b)), float64(bf2f(c)), f2bf)
}

// round16 rounds p+c to 16 bits. The sum is rounded to odd, in fp64 and again
// in fp32: both keep what the last rounding needs to be right.
func round16(p, c float64, to func(float32) uint16) uint16 {
	s := sumOdd(p, c)
	if math.IsNaN(s) || math.IsInf(s, 0) || s == 0 {
		return to(float32(s))
	}
	f := float32(s)
	if float64(f) != s && math.Float32bits(f)&1 == 0 { // back to the side it came from, odd
		b := math.Float32bits(f)
		if (math.Abs(s) > math.Abs(float64(f))) && b&0x7fffffff < 0x7f7fffff {
			b++
		} else if math.Abs(s) < math.Abs(float64(f)) {
			b--
		}
		f = math.Float32frombits(b)
	}
	return to(f)
}

func one(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// relu keeps a NaN, as cvt.relu does.
func relu(b uint32) float32 { return f32(maxNaN32(f32(b), 0)) }

func sat(f float32) float32 {
	if f != f {
		return 0
	}
	return min(max(f, 0), 1)
}

func mulHi(a, b uint64) uint64 {
	hi, _ := bits.Mul64(a, b)
	return hi
}

// Integer helpers whose behaviour at the edges PTX defines.

func shl32(a, b uint32) uint32 { return a << min(b, 32) }
func shr32(a, b uint32) uint32 { return a >> min(b, 32) }
func sar32(a, b uint32) uint32 { return uint32(int32(a) >> min(b, 31)) }
func shl64(a uint64, b uint32) uint64 {
	return a << min(b, 64)
}
func shr64(a uint64, b uint32) uint64 { return a >> min(b, 64) }
func sar64(a uint64, b uint32) uint64 { return uint64(int64(a) >> min(b, 63)) }

// PTX leaves division by zero open: quotient and remainder are all ones on sm_90.
func div[T uint32 | uint64](a, b T) T {
	if b == 0 {
		return ^T(0)
	}
	return a / b
}

func sdiv[T int32 | int64](a, b T) T {
	if b == 0 {
		return -1
	}
	return a / b
}

func rem[T uint32 | uint64 | int32 | int64](a, b T) T {
	if b == 0 {
		return ^T(0)
	}
	return a % b
}

// bfi inserts n bits of a into b at pos.
func bfi32(a, b, pos, n uint32) uint32 {
	pos, n = pos&0xff, n&0xff
	if pos > 31 || n == 0 {
		return b
	}
	mask := uint32(uint64(1)<<min(n, 32)-1) << pos
	return b&^mask | a<<pos&mask
}

func bfeU32(a, pos, n uint32) uint32 {
	pos, n = pos&0xff, n&0xff
	return uint32(uint64(shr32(a, pos)) & (uint64(1)<<min(n, 32) - 1))
}

// bfeS32 extracts with the sign of the field's top bit, which beyond bit 31 is
// that of bit 31.
func bfeS32(a, pos, n uint32) uint32 {
	pos, n = pos&0xff, n&0xff
	if n == 0 {
		return 0
	}
	v := int64(int32(a)) >> min(pos, 31)
	if pos+n >= 32 {
		return uint32(v)
	}
	return uint32(v << (64 - n) >> (64 - n))
}

// lop3 is any function of three bits, given by its table.
func lop3(a, b, c, lut uint32) uint32 {
	var r uint32
	for i := range uint32(8) {
		if lut>>i&1 == 0 {
			continue
		}
		x, y, z := a, b, c
		if i&4 == 0 {
			x = ^x
		}
		if i&2 == 0 {
			y = ^y
		}
		if i&1 == 0 {
			z = ^z
		}
		r |= x & y & z
	}
	return r
}

// prmt picks four bytes out of eight; the top bit of a selector spreads the
// sign instead.
func prmt(a, b, sel uint32) uint32 {
	v := uint64(b)<<32 | uint64(a)
	var r uint32
	for i := range uint32(4) {
		s := sel >> (4 * i)
		x := uint32(v>>(8*(s&7))) & 0xff
		if s&8 != 0 {
			x = uint32(int32(int8(x))>>7) & 0xff
		}
		r |= x << (8 * i)
	}
	return r
}

// toInt converts with saturation; NaN is 0, as cvt has it.
func toInt(f float64, lo, hi float64) int64 {
	switch {
	case f != f:
		return 0
	case f <= lo:
		return int64(lo)
	case f >= hi:
		return int64(hi)
	}
	return int64(f)
}

func toS32(f float64) uint32 { return uint32(toInt(f, math.MinInt32, math.MaxInt32)) }
func toU32(f float64) uint32 { return uint32(toInt(f, 0, math.MaxUint32)) }

// flush makes a subnormal of fp32 a zero of its sign.
func flush(a uint32) uint32 {
	if a&0x7f800000 == 0 {
		return a & (1 << 31)
	}
	return a
}

// direction is where a directed rounding goes.
type direction uint8

const (
	towardZero direction = iota
	down
	up
)

// roundTo gives the bits of v in fp32, rounded in a direction. v is exact, or rounded to
// odd, which leaves it on the same side of every value of fp32.
func roundTo(v float64, d direction) uint32 {
	f := float32(v)
	w := float64(f)
	switch {
	case v != v:
		return nan32
	case w > v && (d == down || d == towardZero && v > 0):
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	case w < v && (d == up || d == towardZero && v < 0):
		f = math.Nextafter32(f, float32(math.Inf(1)))
	}
	return math.Float32bits(f)
}

// addTo is a+b. A sum of zero of which the parts have other signs is negative when it is
// rounded down.
func addTo(a, b float32, d direction) uint32 { return sumTo(float64(a), float64(b), d) }

// fmaTo is ab+c; the product is exact in fp64.
func fmaTo(a, b, c float32, d direction) uint32 {
	return sumTo(float64(a)*float64(b), float64(c), d)
}

func sumTo(a, b float64, d direction) uint32 {
	s := sumOdd(a, b)
	if s == 0 && d == down && (math.Signbit(a) || math.Signbit(b)) {
		return 1 << 31
	}
	return roundTo(s, d)
}

// mulHiSigned is the upper half of a product of signed numbers.
func mulHiSigned(a, b uint64) uint64 {
	hi := mulHi(a, b)
	if int64(a) < 0 {
		hi -= b
	}
	if int64(b) < 0 {
		hi -= a
	}
	return hi
}

// pick is a or b.
func pick[T uint32 | uint64](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

func satS32(v int64) uint32 { return uint32(min(max(v, math.MinInt32), math.MaxInt32)) }

// mul24S and mul24U multiply the low 24 bits.
func mul24S(a, b uint32) int64  { return int64(int32(a<<8)>>8) * int64(int32(b<<8)>>8) }
func mul24U(a, b uint32) uint64 { return uint64(a&0xffffff) * uint64(b&0xffffff) }

// dp4a is c plus the products of four bytes; dp2a of two halves of a and two bytes of b.
func dp4a(a, b, c uint32, signedA, signedB bool) uint32 {
	for i := range 4 {
		c += part(a, 8, i, signedA) * part(b, 8, i, signedB)
	}
	return c
}

func dp2a(a, b, c uint32, signedA, signedB bool) uint32 {
	for i := range 2 {
		c += part(a, 16, i, signedA) * part(b, 8, i, signedB)
	}
	return c
}

// part is element i of n bits, extended to 32.
func part(v uint32, n, i int, signed bool) uint32 {
	v <<= 32 - n - n*i
	if signed {
		return uint32(int32(v) >> (32 - n))
	}
	return v >> (32 - n)
}

func bfeU64(a uint64, pos, n uint32) uint64 {
	pos, n = pos&0xff, n&0xff
	if n > 63 {
		return shr64(a, pos)
	}
	return shr64(a, pos) & (1<<n - 1)
}

func bfeS64(a uint64, pos, n uint32) uint64 {
	pos, n = pos&0xff, n&0xff
	if n == 0 {
		return 0
	}
	v := int64(a) >> min(pos, 63)
	if pos+n >= 64 {
		return uint64(v)
	}
	return uint64(v << (64 - n) >> (64 - n))
}

// bfi64 inserts n bits of a into b at pos.
func bfi64(a, b uint64, pos, n uint32) uint64 {
	pos, n = pos&0xff, n&0xff
	if pos > 63 || n == 0 {
		return b
	}
	mask := ^uint64(0)
	if n < 64 {
		mask = 1<<n - 1
	}
	mask <<= pos
	return b&^mask | a<<pos&mask
}

// bfind is the place of the highest bit of v, which stands at the top of 64 bits, or
// ^0; bfindShift how far it is from the top.
func bfind(v uint64, width int) uint32 {
	if v == 0 {
		return full
	}
	return uint32(width - 1 - bits.LeadingZeros64(v))
}

func bfindShift(v uint64) uint32 {
	if v == 0 {
		return full
	}
	return uint32(bits.LeadingZeros64(v))
}

// szext keeps the low n bits, and extends them by their sign.
func szext(a, n uint32, wide, signed bool) uint32 {
	n &= 31
	switch {
	case wide:
		return a
	case n == 0:
		return 0
	case signed:
		return uint32(int32(a<<(32-n)) >> (32 - n))
	}
	return a & (1<<n - 1)
}

// bmsk is n ones from a place on.
func bmsk(pos, n uint32, clamp bool) uint32 {
	if clamp {
		if pos > 31 {
			return 0
		}
		n = min(n, 32)
	} else {
		pos, n = pos&31, n&31
	}
	return uint32((uint64(1)<<n - 1) << pos)
}

// The selectors of prmt's modes.
var (
	f4e  = [4]uint32{0x3210, 0x4321, 0x5432, 0x6543}
	b4e  = [4]uint32{0x5670, 0x6701, 0x7012, 0x0123}
	rc8  = [4]uint32{0x0000, 0x1111, 0x2222, 0x3333}
	ecl  = [4]uint32{0x3210, 0x3211, 0x3222, 0x3333}
	ecr  = [4]uint32{0x0000, 0x1110, 0x2210, 0x3210}
	rc16 = [4]uint32{0x1010, 0x3232, 0x1010, 0x3232}
)

// withSign gives a result its sign, unless it is a NaN.
func withSign(v, sign uint32) uint32 {
	if v&0x7fffffff > 0x7f800000 {
		return v
	}
	return v | sign&(1<<31)
}

func withSign16(v, sign uint16) uint16 {
	if v == nan16 {
		return v
	}
	return v | sign&(1<<15)
}

// flush16 makes a subnormal of fp16 a zero of its sign, flushBF one of bf16.
func flush16(a uint16) uint16 {
	if a&0x7c00 == 0 {
		return a & 0x8000
	}
	return a
}

func flushBF(a uint16) uint16 {
	if a&0x7f80 == 0 {
		return a & 0x8000
	}
	return a
}

// sat16 clamps to [0, 1] in fp16; a NaN is 0. relu16 makes negative values 0.
func sat16(a uint16) uint16 {
	switch {
	case a > 0x7c00:
		return 0
	case a > 0x3c00:
		return 0x3c00
	}
	return a
}

func relu16(a uint16) uint16 {
	if a > 0x8000 && a&0x7fff == nan16 {
		return nan16
	}
	if a >= 0x8000 {
		return 0
	}
	return a
}

// divTo and sqrtTo are a/b and the root of a in fp32, rounded in a direction. A result that
// is not exact never lies so near to a value of fp32 that fp64 would take it for that.
func divTo(a, b float32, d direction) uint32 {
	return roundTo(float64(a)/float64(b), d)
}

func sqrtTo(a float32, d direction) uint32 {
	return roundTo(math.Sqrt(float64(a)), d)
}

func sgn(v float64) int {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}

// Directed roundings of fp64: the nearest value, moved when the exact result, of any
// precision, lies on the other side.

func add64(a, b uint64, d direction) uint64 {
	return sum64(nan2(f64(a)+f64(b), b, a), a, b, d)
}

func sub64(a, b uint64, d direction) uint64 {
	return sum64(nan2(f64(a)-f64(b), b, a), a, b^1<<63, d)
}

func sum64(r, a, b uint64, d direction) uint64 {
	x, y := f64(a), f64(b)
	if unbounded(x, y) {
		return r
	}
	if f64(r) == 0 {
		return zeroTo(r, d, math.Signbit(x) || math.Signbit(y))
	}
	return to64(r, d, new(big.Float).SetPrec(4400).Add(big.NewFloat(x), big.NewFloat(y)))
}

func mul64(a, b uint64, d direction) uint64 {
	r := nan2(f64(a)*f64(b), b, a)
	if unbounded(f64(a), f64(b)) {
		return r
	}
	return to64(r, d, new(big.Float).SetPrec(4400).Mul(big.NewFloat(f64(a)), big.NewFloat(f64(b))))
}

func fma64(a, b, c uint64, d direction) uint64 {
	x, y, z := f64(a), f64(b), f64(c)
	r := nan3(math.FMA(x, y, z), b, c, a)
	if unbounded(x, y) || unbounded(z, z) {
		return r
	}
	v := new(big.Float).SetPrec(4400).Mul(big.NewFloat(x), big.NewFloat(y))
	if v.Add(v, big.NewFloat(z)); v.Sign() == 0 {
		return zeroTo(r, d, math.Signbit(x) != math.Signbit(y) || math.Signbit(z))
	}
	return to64(r, d, v)
}

func div64(a, b uint64, d direction) uint64 {
	x, y := f64(a), f64(b)
	r := nan2(x/y, a, b)
	if unbounded(x, y) || x == 0 || y == 0 {
		return r
	}
	return to64(r, d, new(big.Float).SetPrec(4400).Quo(big.NewFloat(x), big.NewFloat(y)))
}

func rcp64(a uint64, d direction) uint64 {
	x := f64(a)
	r := nan2(1/x, a, a)
	if unbounded(x, x) || x == 0 {
		return r
	}
	return to64(r, d, new(big.Float).SetPrec(4400).Quo(big.NewFloat(1), big.NewFloat(x)))
}

func sqrt64(a uint64, d direction) uint64 {
	x := f64(a)
	r := nan2(math.Sqrt(x), a, a)
	if unbounded(x, x) || x <= 0 {
		return r
	}
	return to64(r, d, new(big.Float).SetPrec(300).Sqrt(big.NewFloat(x)))
}

func unbounded(x, y float64) bool {
	return x != x || y != y || math.IsInf(x, 0) || math.IsInf(y, 0)
}

// zeroTo is an exact sum of zero: negative where it is rounded down and a part is.
func zeroTo(r uint64, d direction, negative bool) uint64 {
	if d == down && negative {
		return 1 << 63
	}
	return r
}

// to64 moves r, the nearest value to v, in a direction.
func to64(r uint64, d direction, v *big.Float) uint64 {
	f := f64(r)
	c := 0 // the exact value is greater
	if math.IsInf(f, 0) {
		c = -sgn(f)
	} else {
		c = v.Cmp(big.NewFloat(f))
	}
	switch {
	case c < 0 && (d == down || d == towardZero && v.Sign() > 0):
		f = math.Nextafter(f, math.Inf(-1))
	case c > 0 && (d == up || d == towardZero && v.Sign() < 0):
		f = math.Nextafter(f, math.Inf(1))
	}
	return math.Float64bits(f)
}

// rcpApprox64 and rsqrtApprox64 work on the upper halves of fp64 alone.
func rcpApprox64(a uint64) uint64 {
	return upper64(a, func(x float64) float64 { return 1 / x })
}

func rsqrtApprox64(a uint64) uint64 {
	return upper64(a, func(x float64) float64 { return 1 / math.Sqrt(x) })
}

func upper64(a uint64, f func(float64) float64) uint64 {
	flush := func(v uint64) uint64 {
		if v&(0x7ff<<52) == 0 {
			return v & (1 << 63)
		}
		return v
	}
	a = flush(a) &^ (1<<32 - 1)
	r := nan2(f(f64(a)), a, a)
	if !isNaN64(r) && r<<1 < 0x7ff<<53 {
		r += 1 << 31 // to the nearest
	}
	return flush(r &^ (1<<32 - 1))
}

// clampS and clampU keep a number in a range.
func clampS(v, lo int64, hi uint64) uint64 {
	switch {
	case v < lo:
		return uint64(lo)
	case v > 0 && uint64(v) > hi:
		return hi
	}
	return uint64(v)
}

func clampU(v, hi uint64) uint64 { return min(v, hi) }

// oddU and oddS are a whole number in fp64, rounded to odd.
func oddU(v uint64) float64 {
	n := bits.Len64(v) - 53
	if n <= 0 {
		return float64(v)
	}
	m := v >> n
	if v&(1<<n-1) != 0 {
		m |= 1
	}
	return math.Ldexp(float64(m), n)
}

func oddS(v int64) float64 {
	if v < 0 {
		return -oddU(uint64(-v))
	}
	return oddU(uint64(v))
}

// int64To is a whole number of 64 bits in fp64, rounded in a direction.
func int64To(signed bool, a uint64, d direction) uint64 {
	f, v := float64(a), new(big.Float).SetPrec(64).SetUint64(a)
	if signed {
		f = float64(int64(a))
		v.SetInt64(int64(a))
	}
	return to64(math.Float64bits(f), d, v)
}

// toWhole converts a whole number to an integer of so many bits, with saturation.
func toWhole(f float64, n int, signed bool, nan uint64) uint64 {
	if f != f {
		return nan
	}
	if signed {
		top := math.Ldexp(1, n-1)
		switch {
		case f >= top:
			return 1<<(n-1) - 1
		case f <= -top:
			return -(1 << (n - 1))
		}
		return uint64(int64(f))
	}
	switch {
	case f >= math.Ldexp(1, n):
		return ^uint64(0) >> (64 - n)
	case f <= 0:
		return 0
	}
	return uint64(f)
}

// short rounds v, exact or rounded to odd, to 16 bits.
func short(v float64, to func(float32) uint16) uint16 { return round16(v, math.Copysign(0, v), to) }

// halfTo rounds v, exact or rounded to odd, to fp16 in a direction.
func halfTo(v float64, d direction) uint16 {
	h := short(v, f2h)
	w := float64(h2f(h))
	toward := func(away bool) { // from zero, or to it
		switch {
		case away && h&0x7fff == 0:
			h = h&0x8000 | 1
		case away:
			h++
		default:
			h--
		}
	}
	switch {
	case v != v:
	case w > v && (d == down || d == towardZero && v > 0):
		if w == 0 { // from -0 or 0 to the smallest negative
			return 0x8001
		}
		toward(w < 0)
	case w < v && (d == up || d == towardZero && v < 0):
		if w == 0 {
			return 1
		}
		toward(w > 0)
	}
	return h
}

// f64to32To is f64to32 in a direction.
func f64to32To(a uint64, d direction) uint32 {
	if isNaN64(a) {
		return f64to32(a)
	}
	return roundTo(f64(a), d)
}

// tf32rz cuts to tf32.
func tf32rz(b uint32) uint32 {
	if b&0x7fffffff > 0x7f800000 {
		return nan32 &^ 0x1fff
	}
	return b &^ 0x1fff
}

// toE4M3 and toE5M2 round to fp8, to nearest even; what is too large becomes the largest
// finite value.
func toE4M3(f float32) uint8 { return toFP8(f, 3, -6, 0x7e) }
func toE5M2(f float32) uint8 { return toFP8(f, 2, -14, 0x7b) }

func toFP8(f float32, fraction, emin int, largest uint8) uint8 {
	sign := uint8(math.Float32bits(f) >> 24 & 0x80)
	v := math.Abs(float64(f))
	switch {
	case f != f:
		return 0x7f
	case v == 0:
		return sign
	case math.IsInf(v, 0):
		return sign | largest
	}
	e := max(math.Ilogb(v), emin)
	m := math.RoundToEven(math.Ldexp(v, fraction-e)) // with the hidden bit
	b := int(m) + (e-emin)<<fraction                 // a carry goes on into the exponent
	return sign | uint8(min(b, int(largest)))
}
