package half

import (
	"math"
	"testing"
)

// Every fp16 and bfloat16 comes back as it was.
func TestRoundTrip(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		if f := FromF16(h); f == f && ToF16(f) != h {
			t.Fatalf("fp16 %#04x is %g, which is %#04x", h, f, ToF16(f))
		}
		if f := FromBF16(h); f == f && ToBF16(f) != h {
			t.Fatalf("bf16 %#04x is %g, which is %#04x", h, f, ToBF16(f))
		}
	}
}

// binary16 exhaustively against arithmetic.
func TestValues(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		exp, man := int(h>>10&31), float64(h&1023)
		want := math.Ldexp(1+man/1024, exp-15)
		switch {
		case exp == 0:
			want = math.Ldexp(man, -24)
		case exp == 31 && man == 0:
			want = math.Inf(1)
		case exp == 31:
			want = math.NaN()
		}
		if h>>15 == 1 {
			want = -want
		}
		got := float64(FromF16(h))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%#04x is %v, want %v", h, got, want)
		}
	}
}

// nearest says whether to(f) is the nearest of two neighbours, and the even one
// between them.
func nearest(t *testing.T, name string, to func(float32) uint16, from func(uint16) float32, lo uint16) {
	t.Helper()
	a, b := float64(from(lo)), float64(from(lo+1))
	middle := float32((a + b) / 2)
	even := lo + lo&1
	for _, c := range []struct {
		f    float32
		want uint16
	}{
		{middle, even},
		{math.Nextafter32(middle, float32(a)), lo},
		{math.Nextafter32(middle, float32(b)), lo + 1},
	} {
		if got := to(c.f); got != c.want {
			t.Fatalf("%s: %g between %g and %g is %#04x, want %#04x", name, c.f, a, b, got, c.want)
		}
	}
}

func TestNearestEven(t *testing.T) {
	for lo := uint16(0); lo < 0x7bff; lo++ {
		nearest(t, "fp16", ToF16, FromF16, lo)
	}
	for lo := uint16(1); lo < 0x7f7f; lo++ {
		nearest(t, "bf16", ToBF16, FromBF16, lo)
	}
}

func TestEdges(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		name      string
		got, want uint32
	}{
		{"fp16 overflow", uint32(ToF16(65520)), 0x7c00},
		{"fp16 largest", uint32(ToF16(65519)), 0x7bff},
		{"fp16 -inf", uint32(ToF16(-inf)), 0xfc00},
		{"fp16 -0", uint32(ToF16(float32(math.Copysign(0, -1)))), 0x8000},
		{"fp16 NaN", uint32(ToF16(float32(math.NaN()))), 0x7fff},
		{"bf16 overflow", uint32(ToBF16(math.MaxFloat32)), 0x7f80},
		{"bf16 NaN", uint32(ToBF16(float32(math.NaN()))), 0x7fff},
		{"tf32 tie, away from zero", ToTF32(0x3f801000), 0x3f802000},
		{"tf32 below a tie", ToTF32(0x3f800fff), 0x3f800000},
		{"tf32 inf", ToTF32(math.Float32bits(inf)), math.Float32bits(inf)},
		{"tf32 NaN", ToTF32(0x7f800001), 0x7fffffff},
	} {
		if c.got != c.want {
			t.Errorf("%s is %#x, want %#x", c.name, c.got, c.want)
		}
	}
}
