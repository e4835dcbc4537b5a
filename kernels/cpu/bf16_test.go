//go:build cgo

package cpu

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// allTiles are the loops in bf16 of this machine: AMX where it is there, and the twins.
func allTiles() []*Tiles {
	var all []*Tiles
	if t := AMX(); t != nil {
		all = append(all, t)
	}
	for _, l := range Sets() {
		t := l.Tiles()
		t.Name += " with " + l.Name
		all = append(all, t)
	}
	return all
}

// kinds of numbers that a product of tiles treats differently, as bits of bf16.
var kinds = []struct {
	name string
	bits func(r *rand.Rand) uint16
}{
	{"ordinary", func(r *rand.Rand) uint16 { return exponent(r, 120+r.IntN(8)) }},
	{"any bits", func(r *rand.Rand) uint16 { return uint16(r.Uint32()) }},
	{"products near 2^-126", func(r *rand.Rand) uint16 { return exponent(r, 60+r.IntN(4)) }},
	{"subnormal operands", func(r *rand.Rand) uint16 { return exponent(r, max(0, r.IntN(80)-20)) }},
	{"wide exponents", func(r *rand.Rand) uint16 { return exponent(r, 97+r.IntN(60)) }},
	{"infinities and NaN", func(r *rand.Rand) uint16 {
		if r.IntN(64) > 0 {
			return exponent(r, 120+r.IntN(8))
		}
		return uint16(r.IntN(2))<<15 | 0x7f80 | uint16(r.IntN(2))
	}},
	{"overflow", func(r *rand.Rand) uint16 { return exponent(r, 188+r.IntN(4)) }},
	{"sums at 2^-126", func(r *rand.Rand) uint16 { return exponent(r, 63+r.IntN(2)) }},
}

func exponent(r *rand.Rand, e int) uint16 { return uint16(r.Uint32())&0x807f | uint16(e)<<7 }

// A product of tiles is what tile.h says, in exact arithmetic; and the same on AMX and on
// every twin, for two thousand random tiles.
func TestTileDot(t *testing.T) {
	all := allTiles()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			seed := uint64(len(k.name))
			r := rand.New(rand.NewPCG(seed, 5))
			a, b := make([]uint16, 512), make([]uint16, 512)
			for round := range 250 {
				for i := range a {
					a[i], b[i] = k.bits(r), k.bits(r)
				}
				given := make([]float32, 256)
				for i := range given {
					if round%2 == 1 {
						given[i] = math.Float32frombits(uint32(k.bits(r))<<16 | r.Uint32()&0xffff)
					}
				}
				var want []float32
				if round < 4 {
					want = exactDot(given, a, b)
				}
				for _, tiles := range all {
					got := append([]float32(nil), given...)
					tiles.dot(got, a, b)
					if want == nil {
						want = got
					}
					for i := range got {
						if x, y := got[i], want[i]; math.Float32bits(x) != math.Float32bits(y) && (x == x || y == y) { // of a NaN only that it is one
							t.Fatalf("%s, seed %d, round %d: value %d of %v is %g (%#08x), want %g (%#08x)",
								tiles.Name, seed, round, i, given[i], x, math.Float32bits(x), y, math.Float32bits(y))
						}
					}
				}
			}
		})
	}
}

func exactDot(c []float32, a, b []uint16) []float32 {
	of := func(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }
	out := make([]float32, 256)
	for m := range 16 {
		for n := range 16 {
			var e, o float32
			for k := range 16 {
				e = exactFMA(of(a[32*m+2*k]), of(b[32*k+2*n]), e)
				o = exactFMA(of(a[32*m+2*k+1]), of(b[32*k+2*n+1]), o)
			}
			out[16*m+n] = exactFMA(1, c[16*m+n], exactFMA(1, e, o))
		}
	}
	return out
}

// exactFMA is F of tile.h.
func exactFMA(a, b, c float32) float32 {
	flush := func(v float32) float32 {
		if math.Float32bits(v)&0x7f800000 == 0 {
			return math.Float32frombits(math.Float32bits(v) & 0x80000000)
		}
		return v
	}
	a, b, c = flush(a), flush(b), flush(c)
	special := func(v float32) bool { return v-v != 0 }
	if special(a) || special(b) || special(c) {
		return float32(float64(a)*float64(b) + float64(c)) // infinite or not a number, in any precision
	}
	p := new(big.Float).SetPrec(600).SetFloat64(float64(a) * float64(b)) // exact: 8 bits each
	sum := new(big.Float).SetPrec(600).Add(p, new(big.Float).SetFloat64(float64(c)))
	if sum.Sign() == 0 {
		return float32(float64(a)*float64(b) + float64(c)) // for the sign of the zero
	}
	r := new(big.Float).SetPrec(24).SetMode(big.ToNearestEven).Set(sum)
	if r.MantExp(nil) < -125 { // below 2^-126, with 24 bits and any exponent
		return float32(math.Copysign(0, float64(sum.Sign())))
	}
	v, _ := r.Float32()
	return v
}

// Maps and plain tensors hold the same numbers, rounded to nearest even; and the pads of a
// map are zero whatever was there before.
func TestMaps(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, l := range Sets() {
		tiles, pool := l.Tiles(), l.NewPool(2, -1)
		defer pool.Close()
		for _, s := range []struct{ h, w, c int }{{1, 1, 32}, {5, 7, 64}, {16, 16, 96}, {33, 17, 32}} {
			t.Run(fmt.Sprintf("%s %dx%dx%d", l.Name, s.h, s.w, s.c), func(t *testing.T) {
				x, back, m := Alloc(s.h*s.w*s.c), Alloc(s.h*s.w*s.c), Alloc(MapLen(s.h, s.w, s.c))
				defer Free(x)
				defer Free(back)
				defer Free(m)
				for i := range x {
					x[i] = math.Float32frombits(r.Uint32())
				}
				for i := range m {
					m[i] = float32(math.NaN())
				}
				pool.TilesFromPlain(tiles, m, x, s.h, s.w, s.c)
				pool.TilesToPlain(tiles, back, m, s.h, s.w, s.c)
				for i, v := range x {
					b := math.Float32bits(v)
					want := (b + 0x7fff + b>>16&1) &^ 0xffff
					switch size := b & 0x7fffffff; {
					case size > 0x7f800000:
						want = b&^0xffff | 0x400000
					case size < 0x800000:
						want = b & 0x80000000
					}
					if got := math.Float32bits(back[i]); got != want {
						t.Fatalf("%#08x became %#08x, want %#08x", b, got, want)
					}
				}
				sum := 0
				for i, v := range halvesOf(m) {
					pixel := i / 32 % mapPixels(s.h, s.w)
					row, col := pixel/(s.w+1)-1, pixel%(s.w+1)-1
					if inside := row >= 0 && row < s.h && col >= 0; inside {
						sum++
					} else if pixel < (s.h+2)*(s.w+1)+40 && v != 0 {
						t.Fatalf("the pad at row %d, column %d is %#04x", row, col, v)
					}
				}
				if sum != s.h*s.w*s.c {
					t.Fatalf("%d values of %d", sum, s.h*s.w*s.c)
				}
			})
		}
	}
}

func halvesOf(m []float32) []uint16 {
	var all []uint16
	for _, v := range m {
		b := math.Float32bits(v)
		all = append(all, uint16(b), uint16(b>>16))
	}
	return all
}
