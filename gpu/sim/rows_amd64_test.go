package sim

import (
	"math"
	"math/rand/v2"
	"slices"
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
	t.Run("widen at", func(t *testing.T) {
		mem := make([]byte, 4096)
		for range 200 {
			for i := range mem {
				mem[i] = byte(rnd.Uint32())
			}
			typ := types[rnd.IntN(3)]
			rows := make([]uint32, 1+rnd.IntN(tileColumns))
			for i := range rows {
				rows[i] = uint32(16 * rnd.IntN(len(mem)/16))
			}
			var got, want [tileColumns][16]float64
			at := 8 * rnd.IntN(2)
			widenAtGo(want[:], at, mem, rows, typ)
			widenAt(got[:], at, mem, rows, typ)
			same(t, typ.String(), got[:], want[:])
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

// Every vector gives the bits of the lanes' loop, also into its own operands.
func TestVectors(t *testing.T) {
	if !avx2 {
		t.Skip("this processor has no AVX2 with FMA and F16C")
	}
	rnd := rand.New(rand.NewPCG(1, 3))
	edges := []uint32{0, 1, 31, 32, 33, 63, 64, 0x3ff, 0x7c00, 0x7c01, 0xfc00, 0x7fffff, 0x800000, 0x3f800000, 0x7f800000, 0x7f800001, 0x7fc00000, 0x7fffffff}
	word := func() uint32 {
		switch rnd.IntN(3) {
		case 0:
			return edges[rnd.IntN(len(edges))] ^ rnd.Uint32()&(1<<31)
		case 1:
			return uint32(rnd.IntN(70))
		}
		return rnd.Uint32()
	}
	fresh := func() (r [4][32]uint32, q [4][32]uint64) {
		for k := range r {
			for i := range r[k] {
				r[k][i], q[k][i] = word(), uint64(word())<<32|uint64(word())
			}
		}
		return r, q
	}
	masks := []uint32{full, full, full, 1, 0x7fffffff, 0x55555555, 0}
	for name, row := range vectors {
		l := laneOps[name]
		fn := l.vector(row)
		for range 600 {
			r, q := fresh()
			rw, qw := r, q
			got, want := &warp{r: r[:], q: q[:]}, &warp{r: rw[:], q: qw[:]}
			o := &op{d: rnd.Int32N(4), a: rnd.Int32N(4), b: rnd.Int32N(4), c: rnd.Int32N(4)}
			m := masks[rnd.IntN(len(masks))]
			fn(got, o, m)
			for x := m; x != 0; x &= x - 1 { // lane by lane
				l.fn(want, o, x&-x)
			}
			if r != rw || q != qw {
				t.Fatalf("%s: d%d a%d b%d c%d lanes %#x differ", name, o.d, o.a, o.b, o.c, m)
			}
		}
	}
	for name, f := range vectorComparisons {
		for range 600 {
			r, _ := fresh()
			a, b := &r[rnd.IntN(4)], &r[rnd.IntN(4)]
			if got, want := f(a, b), compare32[name](a, b); got != want {
				t.Fatalf("%s gives lanes %#x, want %#x of %x and %x", name, got, want, *a, *b)
			}
		}
	}
	t.Run("span", func(t *testing.T) {
		for range 2000 {
			r, _ := fresh()
			var got, want [32]uint32
			k := word()
			a, b, c := spanAVX2(&got, &r[0], k)
			x, y, z := spanGo(&want, &r[0], k)
			if got != want || a != x || b != y || c != z {
				t.Fatalf("%x %x %x, want %x %x %x of %x + %x", a, b, c, x, y, z, r[0], k)
			}
		}
	})
	t.Run("pattern", func(t *testing.T) {
		for range 500 {
			r, _ := fresh()
			at, from, off := r[0], r[0], rnd.IntN(40)
			for i := range from {
				if from[i] -= at[0]; i == off {
					from[i] ^= 1 << rnd.IntN(32)
				}
			}
			if got, want := samePatternAVX2(&at, &from), samePatternGo(&at, &from); got != want || want != (off > 31) {
				t.Fatalf("%v, want %v of %x by %x", got, want, at, from)
			}
		}
	})
	t.Run("quads", func(t *testing.T) {
		mem := make([]byte, 1024)
		for i := range mem {
			mem[i] = byte(rnd.Uint32())
		}
		for range 500 {
			var at [32]uint32
			for i := range at {
				at[i] = uint32(16 * rnd.IntN(64))
			}
			var got, want [4][32]uint32
			loadQuadsAVX2(&got[0], &got[1], &got[2], &got[3], &mem[0], &at)
			loadQuadsGo(&want[0], &want[1], &want[2], &want[3], mem, &at)
			if got != want {
				t.Fatalf("%x, want %x", got, want)
			}
			stored, plain := slices.Clone(mem), slices.Clone(mem)
			r, _ := fresh()
			storeQuadsAVX2(&stored[0], &at, &r[0], &r[1], &r[2], &r[3])
			storeQuadsGo(plain, &at, &r[0], &r[1], &r[2], &r[3])
			if !slices.Equal(stored, plain) {
				t.Fatalf("%x, want %x", stored, plain)
			}
		}
	})
	t.Run("rows", func(t *testing.T) {
		for range 100 {
			r, q := fresh()
			var got, want [32]uint32
			var mem, plain [128]byte
			storeRow(&mem, &r[0])
			storeRowGo(&plain, &r[0])
			loadRow(&got, &mem)
			loadRowGo(&want, &plain)
			if mem != plain || got != want || got != r[0] {
				t.Fatalf("%x and %x, want %x", mem, got, want)
			}
			broadcastWordsAVX2(&got, r[1][0])
			broadcastGo(&want, r[1][0])
			var gotLong, wantLong [32]uint64
			broadcastLongsAVX2(&gotLong, q[0][0])
			broadcastGo(&wantLong, q[0][0])
			if got != want || gotLong != wantLong {
				t.Fatalf("%x and %x, want %x and %x", got, gotLong, want, wantLong)
			}
		}
	})
	t.Run("strided", func(t *testing.T) {
		for range 200 {
			n, off := uint64(word()), rnd.IntN(40)
			a := [32]uint64{uint64(word()) << 32}
			for i := 1; i < 32; i++ {
				if a[i] = a[i-1] + n; i == off {
					a[i] ^= 1 << rnd.IntN(64)
				}
			}
			if got, want := stridedAVX2(&a, n), stridedGo(&a, n); got != want || want != (off == 0 || off > 31) {
				t.Fatalf("%v, want %v of %x by %d", got, want, a, n)
			}
		}
	})
	t.Run("join", func(t *testing.T) {
		for n := range 40 {
			got, src := make([]uint32, n), make([]uint32, n)
			for i := range src {
				got[i], src[i] = word(), word()
			}
			want := slices.Clone(got)
			joinGo(want, src)
			joinRow(got, src)
			if !slices.Equal(got, want) {
				t.Fatalf("%x, want %x", got, want)
			}
		}
	})
	t.Run("sum", func(t *testing.T) {
		for i := range 4000 {
			r, _ := fresh()
			var p [8][16]float64
			for n := range p {
				for m := range p[n] {
					p[n][m] = float64(f32(word()))
					if rnd.IntN(2) == 0 { // what rounds
						p[n][m] *= 1 + rnd.Float64()
					}
				}
			}
			var got, want [32]uint32
			sumGo(&want, &r[0], &p, i&1, i&2*4)
			sumAVX2(&got, &r[0], &p[i&1][i&2*4])
			if got != want {
				t.Fatalf("%x, want %x", got, want)
			}
			if sumAVX2(&r[0], &r[0], &p[i&1][i&2*4]); r[0] != want {
				t.Fatal("a sum into its operand differs")
			}
		}
	})
}
