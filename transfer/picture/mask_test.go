package picture

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"strings"
	"testing"
)

// drawn is a source of 8-bit pixels, not premultiplied.
func drawn(w, h int, at func(x, y int) color.NRGBA) *Source {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, at(x, y))
		}
	}
	return &Source{W: w, H: h, HasAlpha: !m.Opaque(), img: m, turn: 1, bounds: m.Bounds()}
}

// greys is a source whose rows are these values.
func greys(rows ...[]uint8) *Source {
	return drawn(len(rows[0]), len(rows), func(x, y int) color.NRGBA {
		return color.NRGBA{rows[y][x], rows[y][x], rows[y][x], 255}
	})
}

func near(t *testing.T, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !(math.Abs(float64(got[i])-want[i]) <= tol) {
			t.Fatalf("%s: value %d is %v, want %v (%v)", what, i, got[i], want[i], got)
		}
	}
}

func mask(t *testing.T, s *Source, w, h int) *Mask {
	t.Helper()
	m, err := s.Mask(w, h)
	if err != nil || m.W != w || m.H != h || len(m.V) != w*h {
		t.Fatalf("%v, %v", m, err)
	}
	return m
}

// Values that were computed by hand.
func TestMaskByHand(t *testing.T) {
	near(t, "as it is", mask(t, greys([]uint8{0, 51, 255}), 3, 1).V, []float64{0, 0.2, 1}, 1e-7)
	near(t, "to one pixel", mask(t, greys([]uint8{0, 255}, []uint8{255, 255}), 1, 1).V, []float64{0.75}, 1e-7)
	near(t, "one pixel of white", mask(t, greys([]uint8{255}), 2, 3).V, []float64{1, 1, 1, 1, 1, 1}, 0)
	// 3 to 2: each takes one pixel and half of the middle one.
	near(t, "3 to 2", mask(t, greys([]uint8{255, 0, 0}), 2, 1).V, []float64{2. / 3, 0}, 1e-7)
	near(t, "tall", mask(t, greys([]uint8{0}, []uint8{255}, []uint8{255}), 1, 2).V, []float64{1. / 3, 1}, 1e-7)
	// 2 to 4: centres lie at -1/4, 1/4, 3/4 and 5/4 of the two.
	near(t, "2 to 4", mask(t, greys([]uint8{0, 255}), 4, 1).V, []float64{0, 0.25, 0.75, 1}, 1e-7)

	colours := []color.NRGBA{{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 255, 51}, {255, 255, 255, 0}}
	s := drawn(5, 1, func(x, _ int) color.NRGBA { return colours[x] })
	near(t, "luma times alpha", mask(t, s, 5, 1).V, []float64{0.2126, 0.7152, 0.0722, 0.2, 0}, 1e-7)
	a, err := s.Alpha(5, 1)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "alpha", a.V, []float64{1, 1, 1, 0.2, 0}, 1e-7)
	if a, err = greys([]uint8{0, 0}).Alpha(1, 1); err != nil || a.V[0] != 1 {
		t.Errorf("the alpha of an opaque picture: %v, %v", a, err)
	}

	// What has values beyond 1, or none, stays in range.
	f := &Source{W: 3, H: 1, turn: 1, bounds: image.Rect(0, 0, 3, 1), img: &floats{[]float32{7, 7, 7, 1, -3, -3, -3, 1, float32(math.NaN()), 0, 0, 1}, image.Rect(0, 0, 3, 1), false}}
	near(t, "floats", mask(t, f, 3, 1).V, []float64{1, 0, 0}, 1e-7)
}

// Against the integral of the source over each output pixel, or the line between two.
func TestMaskReference(t *testing.T) {
	for _, e := range [][4]int{{1, 1, 1, 1}, {1, 1, 5, 3}, {7, 5, 7, 5}, {17, 31, 5, 9}, {31, 17, 30, 16}, {5, 400, 3, 97}, {9, 6, 25, 11}, {64, 48, 16, 12}, {2, 3, 300, 1}} {
		sw, sh, w, h := e[0], e[1], e[2], e[3]
		at := func(x, y int) uint8 { return uint8(17 + 31*x + 7*y*y + x*y) }
		s := drawn(sw, sh, func(x, y int) color.NRGBA { return color.NRGBA{at(x, y), at(x, y), at(x, y), 255} })
		weight := func(n, out, i, j int) float64 {
			scale := float64(n) / float64(out)
			if n >= out {
				return max(0, min(float64(i+1)*scale, float64(j+1))-max(float64(i)*scale, float64(j))) / scale
			}
			c := min(max((float64(i)+0.5)*scale-0.5, 0), float64(n-1))
			return max(0, 1-math.Abs(c-float64(j)))
		}
		var want []float64
		for y := range h {
			for x := range w {
				sum := 0.0
				for v := range sh {
					for u := range sw {
						sum += weight(sw, w, x, u) * weight(sh, h, y, v) * float64(at(u, v)) / 255
					}
				}
				want = append(want, sum)
			}
		}
		near(t, fmt.Sprint(e), mask(t, s, w, h).V, want, 1e-6)
		white := drawn(sw, sh, func(int, int) color.NRGBA { return color.NRGBA{255, 255, 255, 255} })
		for _, v := range mask(t, white, w, h).V {
			if v != 1 {
				t.Fatalf("%v: white is %v", e, v)
			}
		}
	}
}

// A mask follows the turn and the part that is shown, as its picture does.
func TestMaskUpright(t *testing.T) {
	s := greys([]uint8{10, 20, 30}, []uint8{40, 50, 60})
	s.turn, s.W, s.H = 6, 2, 3 // a quarter to the right
	want := []float64{40 / 255., 10 / 255., 50 / 255., 20 / 255., 60 / 255., 30 / 255.}
	near(t, "turned", mask(t, s, 2, 3).V, want, 1e-7)
	near(t, "cropped", mask(t, s.Crop(1, 1, 1, 2), 1, 2).V, []float64{20 / 255., 30 / 255.}, 1e-7)
}

func TestMaskErrors(t *testing.T) {
	if _, err := greys([]uint8{0, 0}, []uint8{0, 0}).Mask(2, 2); err == nil || err.Error() != "it covers nothing: it is black everywhere" {
		t.Errorf("black: %v", err)
	}
	clear := drawn(3, 3, func(int, int) color.NRGBA { return color.NRGBA{255, 255, 255, 0} })
	if _, err := clear.Mask(3, 3); err == nil || !strings.Contains(err.Error(), "covers nothing") {
		t.Errorf("white and transparent: %v", err)
	}
	if _, err := clear.Alpha(3, 3); err == nil || err.Error() != "it covers nothing: it is transparent everywhere" {
		t.Errorf("transparent: %v", err)
	}
	for _, c := range []struct {
		mw, mh, w, h int
		same         bool
	}{
		{512, 384, 512, 384, true},
		{4000, 3000, 512, 384, true},
		{100, 75, 4000, 3000, true},
		{512, 384, 384, 512, false},
		{512, 384, 512, 512, false},
		{512, 385, 512, 384, true}, // rounding
		{512, 386, 512, 384, false},
		{2000, 21, 1000, 10, true}, // 10.5 of 10
		{2000, 23, 1000, 10, false},
		{1000, 10, 2000, 23, false},
		{640, 361, 1920, 1080, true},
		{640, 363, 1920, 1080, false},
		{1, 1, 500, 400, true},
		{1, 1, 1, 1, true},
		{16, 9, 1024, 768, false},
	} {
		err := (&Source{W: c.mw, H: c.mh}).SameAspect(c.w, c.h)
		if (err == nil) != c.same {
			t.Errorf("%dx%d on %dx%d: %v", c.mw, c.mh, c.w, c.h, err)
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), fmt.Sprintf("%dx%d, the picture has %dx%d", c.mw, c.mh, c.w, c.h))) {
			t.Errorf("%v", err)
		}
	}
}

// Against the two-dimensional sum, normalised where it leaves the mask.
func TestFeather(t *testing.T) {
	for _, e := range [][2]int{{1, 1}, {9, 7}, {3, 40}, {1, 25}} {
		m := &Mask{W: e[0], H: e[1]}
		for i := range e[0] * e[1] {
			m.V = append(m.V, float32(i*i%7)/6)
		}
		keep := slices.Clone(m.V)
		for _, radius := range []float64{0.5, 2, 5, 300, math.Inf(1)} {
			sigma := radius / 2
			var want []float64
			for y := range m.H {
				for x := range m.W {
					var sum, all float64
					for v := range m.H {
						for u := range m.W {
							dx, dy := float64(u-x), float64(v-y)
							if reach := math.Ceil(4 * sigma); math.Abs(dx) > reach || math.Abs(dy) > reach {
								continue
							}
							k := math.Exp(-(dx*dx + dy*dy) / (2 * sigma * sigma))
							sum, all = sum+k*float64(m.V[v*m.W+u]), all+k
						}
					}
					want = append(want, sum/all)
				}
			}
			near(t, fmt.Sprint(e, radius), m.Feather(radius).V, want, 1e-6)
		}
		if !slices.Equal(m.V, keep) {
			t.Error("the mask itself was changed")
		}
		for _, none := range []float64{0, -1, math.NaN(), math.Inf(-1)} {
			if !slices.Equal(m.Feather(none).V, m.V) {
				t.Errorf("radius %v changes the mask", none)
			}
		}
	}
	// By hand: exp(-1/2) beside 1, of sigma 1, at the rim of two pixels.
	e := math.Exp(-0.5)
	near(t, "by hand", (&Mask{W: 2, H: 1, V: []float32{1, 0}}).Feather(2).V, []float64{1 / (1 + e), e / (1 + e)}, 1e-7)
	near(t, "of ones", (&Mask{W: 3, H: 1, V: []float32{1, 1, 1}}).Feather(1.7).V, []float64{1, 1, 1}, 0)
}
