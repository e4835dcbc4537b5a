package sim

import (
	"math"
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

// one16 is 1.0 in fp16, or 0.
func one16(b bool) uint32 { return one(b) * 0x3c00 }

// ones16 is sixteen bits of b.
func ones16(b bool) uint32 { return one(b) * 0xffff }

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
