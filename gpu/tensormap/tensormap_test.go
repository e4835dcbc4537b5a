package tensormap

import (
	"slices"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// A swizzle of a span puts the 16-byte chunks of row r, of that span, at chunk
// c^r', where r' counts rows of 128 bytes modulo the chunks of a span; what is
// swizzled twice is where it was.
func TestSwizzle(t *testing.T) {
	for s, span := range map[Swizzle]uint32{SwizzleNone: 0, Swizzle32: 32, Swizzle64: 64, Swizzle128: 128} {
		if s.Span() != span {
			t.Errorf("swizzle %d spans %d bytes, want %d", s, s.Span(), span)
		}
		for a := range uint32(4096) {
			want := a
			if chunks := span / 16; chunks > 0 {
				want = a&^(16*(chunks-1)) | (a/16%chunks^a/128%chunks)*16
			}
			if got := s.Apply(a); got != want || s.Apply(got) != a {
				t.Fatalf("swizzle %d of %#x is %#x, want %#x", s, a, got, want)
			}
		}
	}
}

func TestDenseStrides(t *testing.T) {
	if got := DenseStrides(ptx.F16, []uint64{64, 16, 8}); !slices.Equal(got, []uint64{128, 2048}) {
		t.Errorf("strides %v", got)
	}
	if got := DenseStrides(ptx.F32, []uint64{32}); len(got) != 0 {
		t.Errorf("a vector has strides %v", got)
	}
}
