// Package half converts between fp32 and the short floats of tensor cores: fp16,
// bfloat16 and tf32. Conversions round once, to nearest even where they do not say
// otherwise; subnormals are kept, and every NaN becomes the one that a GPU makes.
//
//	type   sign exponent fraction   largest   smallest normal
//	fp16      1        5       10     65504   6.1e-5
//	bf16      1        8        7    3.4e38   1.2e-38
//	tf32      1        8       10    3.4e38   1.2e-38, stored as fp32 with 13 bits zero
//
// It imports nothing.
package half

import "math"

// nan is what fp16 and bfloat16 have for every NaN, nan32 what tf32 has.
const (
	nan   = 0x7fff
	nan32 = 0x7fffffff
)

// halves holds the fp32 value of every fp16.
var halves = func() *[1 << 16]float32 {
	t := new([1 << 16]float32)
	for i := range t {
		s, e, f := uint32(i>>15)<<31, uint32(i>>10)&31, uint32(i&1023)
		switch e {
		case 0:
			t[i] = float32(f) / (1 << 24)
			if s != 0 {
				t[i] = math.Float32frombits(math.Float32bits(t[i]) | s)
			}
		case 31:
			t[i] = math.Float32frombits(s | 0xff<<23 | f<<13)
		default:
			t[i] = math.Float32frombits(s | (e+112)<<23 | f<<13)
		}
	}
	return t
}()

// FromF16 is the value of an fp16.
func FromF16(h uint16) float32 { return halves[h] }

// ToF16 rounds to fp16, as cvt.rn.f16.f32 does; too large becomes infinite.
func ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	s := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return nan
	case b >= 0x47800000:
		return s | 0x7c00
	case b < 0x38800000: // subnormal: the grid is 2^-24
		return s | uint16(math.RoundToEven(float64(math.Float32frombits(b))*(1<<24)))
	}
	b += 0xfff + b>>13&1
	return s | uint16((b-0x38000000)>>13)
}

// FromBF16 is the value of a bfloat16.
func FromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// ToBF16 rounds to bfloat16, as cvt.rn.bf16.f32 does.
func ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if f != f {
		return nan
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// ToTF32 rounds the bits of an fp32 to tf32, ties away from zero, as
// cvt.rna.tf32.f32 does.
func ToTF32(b uint32) uint32 {
	if b&0x7f800000 == 0x7f800000 {
		if b&0x7fffff != 0 {
			return nan32
		}
		return b
	}
	return (b + 0x1000) &^ 0x1fff
}
