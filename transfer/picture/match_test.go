package picture

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// cloud is a picture whose colours lie around a mean, never near black or white.
func cloud(w, h int, seed uint64, mean, spread [3]float64, alpha bool) *Picture {
	r := rand.New(rand.NewPCG(seed, 1))
	p := &Picture{W: w, H: h}
	for range w * h {
		common := r.Float64() - 0.5
		for c := range 3 {
			p.RGB = append(p.RGB, float32(mean[c]+spread[c]*(0.6*common+0.4*(r.Float64()-0.5))))
		}
		if alpha {
			p.Alpha = append(p.Alpha, float32(r.IntN(3))/2)
		}
	}
	return p
}

// statistics are the moments in two passes: the mean, then the deviations from it.
func statistics(p *Picture) (mean [3]float64, cov matrix3) {
	weight := 0.0
	each := func(f func(a float64, x [3]float64)) {
		for i := range p.W * p.H {
			a := 1.0
			if p.Alpha != nil {
				a = float64(p.Alpha[i])
			}
			f(a, linearOf(p.RGB[3*i:]))
		}
	}
	each(func(a float64, x [3]float64) {
		weight += a
		for c := range 3 {
			mean[c] += a * x[c]
		}
	})
	for c := range 3 {
		mean[c] /= weight
	}
	each(func(a float64, x [3]float64) {
		for i := range 9 {
			cov[i/3][i%3] += a / weight * (x[i/3] - mean[i/3]) * (x[i%3] - mean[i%3])
		}
	})
	return mean, cov
}

func TestMatchColors(t *testing.T) {
	for seed := range uint64(6) {
		p := cloud(40, 30, seed, [3]float64{0.5, 0.6, 0.4}, [3]float64{0.4, 0.2, 0.5}, seed%2 == 1)
		to := cloud(33, 21, seed+50, [3]float64{0.6, 0.45, 0.55}, [3]float64{0.2, 0.3, 0.25}, seed%3 == 1)
		keep := slices.Clone(p.RGB)
		got := p.MatchColors(to)
		if !slices.Equal(got.Alpha, p.Alpha) || !slices.Equal(p.RGB, keep) {
			t.Error("the alpha is another, or the picture was changed")
		}
		if least, most := slices.Min(got.RGB), slices.Max(got.RGB); least <= 0 || most >= 1 {
			t.Fatalf("the case leaves the gamut: %v to %v", least, most)
		}
		m, c := statistics(got)
		wm, wc := statistics(to)
		for i := range 3 {
			if math.Abs(m[i]-wm[i]) > 1e-3 {
				t.Errorf("seed %d: mean %v, want %v", seed, m, wm)
			}
			for j := range 3 {
				if math.Abs(c[i][j]-wc[i][j]) > 1e-3*(wc[0][0]+wc[1][1]+wc[2][2]) {
					t.Errorf("seed %d: covariance %v, want %v", seed, c, wc)
				}
			}
		}
		near(t, "to itself", p.MatchColors(p).RGB, doubles(p.RGB), 1e-3)
	}
}

// The map is the symmetric one: of two diagonal covariances the ratio of the deviations.
func TestTransport(t *testing.T) {
	a := transport(matrix3{{0.04, 0, 0}, {0, 0.09, 0}, {0, 0, 0.01}}, matrix3{{0.16, 0, 0}, {0, 0.01, 0}, {0, 0, 0.01}})
	want := matrix3{{2, 0, 0}, {0, 1. / 3, 0}, {0, 0, 1}}
	for i := range 3 {
		for j := range 3 {
			if math.Abs(a[i][j]-want[i][j]) > 1e-4 {
				t.Fatalf("%v", a)
			}
		}
	}
	r := rand.New(rand.NewPCG(3, 3))
	spd := func() matrix3 {
		var b matrix3
		for i := range 9 {
			b[i/3][i%3] = r.Float64() - 0.5
		}
		b = b.times(b.transposed())
		for i := range 3 {
			b[i][i] += 0.01
		}
		return b
	}
	for range 200 {
		s, u := spd(), spd()
		a := transport(s, u)
		asa := a.times(s).times(a)
		for i := range 3 {
			for j := range 3 {
				if math.Abs(a[i][j]-a[j][i]) > 1e-6 || math.Abs(asa[i][j]-u[i][j]) > 2e-3 {
					t.Fatalf("A %v, ASA %v, want %v", a, asa, u)
				}
			}
		}
	}
}

func TestEigen(t *testing.T) {
	for _, m := range []matrix3{
		{},
		{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
		{{1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
		{{2, -1, 0}, {-1, 2, -1}, {0, -1, 2}},
		{{1e-12, 1e-13, 0}, {1e-13, 1, 0.5}, {0, 0.5, 1e6}},
		{{0, 1, 0}, {1, 0, 0}, {0, 0, 5}},
	} {
		values, v := m.eigen()
		size := 0.0
		for i := range 9 {
			size = max(size, math.Abs(m[i/3][i%3]))
		}
		id := v.transposed().times(v)
		back := v.times(matrix3{{values[0]}, {0, values[1]}, {0, 0, values[2]}}).times(v.transposed())
		for i := range 9 {
			one := 0.0
			if i/3 == i%3 {
				one = 1
			}
			if math.Abs(id[i/3][i%3]-one) > 1e-14 || math.Abs(back[i/3][i%3]-m[i/3][i%3]) > 1e-14*size {
				t.Errorf("%v: values %v, vectors %v, together %v", m, values, v, back)
			}
		}
	}
}

// Pictures that vary in less than three directions, or not at all.
func TestMatchColorsDegenerate(t *testing.T) {
	flat := func(r, g, b float32) *Picture {
		return &Picture{W: 2, H: 2, RGB: []float32{r, g, b, r, g, b, r, g, b, r, g, b}}
	}
	grey := func(w, h int) *Picture {
		p := gradient(w, h, false)
		for i := range p.RGB {
			p.RGB[i] = p.RGB[i/3*3]
		}
		return p
	}
	hidden := gradient(9, 9, false)
	hidden.Alpha = make([]float32, 81)
	all := map[string]*Picture{
		"black": flat(0, 0, 0), "white": flat(1, 1, 1), "blue": flat(0.1, 0.2, 0.8), "grey": grey(16, 9),
		"pixel": {W: 1, H: 1, RGB: []float32{0.3, 0.2, 0.9}}, "coloured": gradient(16, 9, false), "hidden": hidden,
		"half hidden": {W: 2, H: 1, RGB: []float32{1, 0, 0, 0, 1, 0}, Alpha: []float32{1, 0}},
	}
	for a, p := range all {
		for b, to := range all {
			what := a + " to " + b
			got := p.MatchColors(to)
			for i, v := range got.RGB {
				if !(v >= 0 && v <= 1) {
					t.Fatalf("%s: value %v", what, v)
				}
				if g := got.RGB[i/3*3]; (b == "grey" || b == "white" || b == "black") && a != "hidden" && math.Abs(float64(v-g)) > 1e-4 {
					t.Fatalf("%s: pixel %d is not grey: %v, %v", what, i/3, g, v)
				}
			}
			switch {
			case a == "hidden" || b == "hidden":
				if !slices.Equal(got.RGB, p.RGB) {
					t.Errorf("%s: changed", what)
				}
			case to.W == 2:
				for i, v := range got.RGB {
					if math.Abs(float64(v-to.RGB[i%3])) > 1e-4 {
						t.Fatalf("%s: %v, want %v", what, got.RGB, to.RGB[:3])
					}
				}
			case p.W <= 2: // one colour: the mean of the other
				mean, _ := statistics(to)
				if x := linearOf(got.RGB); fmt.Sprintf("%.4f", x) != fmt.Sprintf("%.4f", mean) {
					t.Errorf("%s: %v, want %v", what, x, mean)
				}
			}
		}
	}
	// The noise of rounding is not blown up to colours.
	noisy := cloud(64, 64, 5, [3]float64{0.5, 0.5, 0.5}, [3]float64{0.002, 0.002, 0.002}, false)
	_, cov := statistics(noisy.MatchColors(all["coloured"]))
	_, full := statistics(all["coloured"])
	if cov[0][0] > full[0][0]/4 {
		t.Errorf("noise of variance below that of 8 bits becomes %v of %v", cov[0][0], full[0][0])
	}
}

func BenchmarkMatchColors(b *testing.B) {
	p := gradient(512, 384, false)
	for b.Loop() {
		p.MatchColors(p)
	}
}
