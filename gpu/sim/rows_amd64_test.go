package sim

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// The loops in assembly give the bits of those in Go.
func TestRows(t *testing.T) {
	if !avx2 {
		t.Skip("this processor has no AVX2 with FMA and F16C")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	t.Run("fma", func(t *testing.T) {
		edges := []uint32{
			0, 1, 0x007fffff, 0x00800000, 0x33800000, 0x34000000, 0x39800000, 0x3f7fffff, 0x3f800000, 0x3f800001, 0x3f800800,
			0x4b800000, 0x5f000000, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fc12345, 0x7fffffff,
		}
		pick := func() uint32 {
			switch rnd.IntN(3) {
			case 0:
				return edges[rnd.IntN(len(edges))] | rnd.Uint32()&(1<<31)
			case 1:
				return rnd.Uint32()
			}
			return 0x3f800000 ^ rnd.Uint32()&0x81ffffff // near one: sums cancel and tie
		}
		for range 1 << 15 {
			var a, b, c, got, want [32]uint32
			for i := range a {
				a[i], b[i], c[i] = pick(), pick(), pick()
			}
			fmaRowGo(&want, &a, &b, &c)
			fmaAVX2(&got, &a, &b, &c)
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("fma(%#08x, %#08x, %#08x) is %#08x, want %#08x", a[i], b[i], c[i], got[i], want[i])
				}
			}
			fmaAVX2(&a, &a, &b, &c)
			if a != want {
				t.Fatal("fma into an operand differs")
			}
		}
	})
	same := func(t *testing.T, what string, got, want [][16]float64) {
		t.Helper()
		for n := range want {
			for m, v := range want[n] {
				if g := got[n][m]; math.Float64bits(g) != math.Float64bits(v) && (g == g || v == v) {
					t.Fatalf("%s: [%d][%d] is %v, want %v", what, n, m, g, v)
				}
			}
		}
	}
	types := []ptx.Type{ptx.F16, ptx.BF16, ptx.TF32}
	t.Run("widen", func(t *testing.T) {
		for _, typ := range types {
			for at := 0; at < 16; at += 32 / typ.Bits() * 4 {
				for start := uint32(0); start < 1<<16; start += 64 {
					var got, want [8][16]float64
					var src [32]uint32
					for i := range src {
						src[i] = start + uint32(2*i) | (start+uint32(2*i)+1)<<16
						if typ == ptx.TF32 {
							src[i] = rnd.Uint32()
						}
					}
					widenGo(want[:], at, src[:], typ)
					widen(got[:], at, src[:], typ)
					same(t, typ.String(), got[:], want[:])
				}
			}
		}
	})
	t.Run("products", func(t *testing.T) {
		for i := range 3000 {
			typ := types[i%3]
			var x matrices
			fill := func(d [][16]float64) {
				var src [4 * 16]uint32
				for at := 0; at < 16; at += 32 / typ.Bits() * 4 {
					for i := range src {
						if src[i] = rnd.Uint32(); i%32 > 0 || rnd.IntN(8) > 0 { // mostly no NaN and no infinity
							src[i] &= 0xbfffbfff
						}
					}
					widenGo(d, at, src[:4*len(d)], typ)
				}
			}
			fill(x.rows[:])
			x.transpose()
			n := 2 * (1 + rnd.IntN(tileColumns/2))
			for at := 0; at < n; at += 16 {
				fill(x.b[at:min(at+16, n)])
			}
			var want [tileColumns][16]float64
			productsGo(want[:n], &x.a, x.b[:n])
			productsAVX2(&x.d[0], &x.a, &x.b[0], n)
			same(t, typ.String(), x.d[:], want[:])
		}
	})
}
