package ref

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The oracles have no oracle but mathematics: adjoint identities, exact on
// integers, and finite differences.

func ints(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(r.IntN(9) - 4)
	}
	return v
}

func dot(a, b []float64) (s float64) {
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

var dims = []Dim{{1, 1, 1, 1}, {1, 1, 7, 3}, {2, 5, 4, 3}, {1, 6, 7, 2}}

// <dy, A x> = <A^T dy, x>.
func TestAdjoints(t *testing.T) {
	for i, d := range dims {
		r := rand.New(rand.NewPCG(uint64(i), 1))
		n := d.N * d.picture()
		x := ints(r, n)

		const k = 4
		w, zero := ints(r, k*9*d.C), make([]float64, k)
		dy, y, dx := ints(r, n/d.C*k), make([]float64, n/d.C*k), make([]float64, n)
		Conv3x3Fprop(y, x, w, zero, d, k)
		Conv3x3Dgrad(dx, dy, w, d, k)
		if a, b := dot(dy, y), dot(dx, x); a != b {
			t.Errorf("conv3x3 %v: %v != %v", d, a, b)
		}

		p := d.N * (d.H / 2) * (d.W / 2) * d.C
		dp, yp, dxp := ints(r, p), make([]float64, p), make([]float64, n)
		AvgPool2x2Fwd(yp, x, d)
		AvgPool2x2Bwd(dxp, dp, d)
		if a, b := dot(dp, yp), dot(dxp, x); a != b {
			t.Errorf("avgpool %v: %v != %v", d, a, b)
		}

		for _, wrap := range []bool{false, true} {
			most := min(d.H, d.W)
			if !wrap {
				most--
			}
			for p := 1; p <= most; p++ {
				e := d.N * (d.H + 2*p) * (d.W + 2*p) * d.C
				dy, y, dx := ints(r, e), make([]float64, e), make([]float64, n)
				PadFwd(y, x, d, p, wrap)
				PadBwd(dx, dy, d, p, wrap)
				if a, b := dot(dy, y), dot(dx, x); a != b {
					t.Errorf("pad %v by %d, wrap %v: %v != %v", d, p, wrap, a, b)
				}
			}
		}
	}
}

// What lies beyond the border, as numpy.pad has it.
func TestPad(t *testing.T) {
	x := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9}
	for _, c := range []struct {
		p    int
		wrap bool
		want []float64
	}{
		{1, false, []float64{5, 4, 5, 6, 5, 2, 1, 2, 3, 2, 5, 4, 5, 6, 5, 8, 7, 8, 9, 8, 5, 4, 5, 6, 5}},
		{1, true, []float64{9, 7, 8, 9, 7, 3, 1, 2, 3, 1, 6, 4, 5, 6, 4, 9, 7, 8, 9, 7, 3, 1, 2, 3, 1}},
	} {
		y := make([]float64, 25)
		if PadFwd(y, x, Dim{1, 3, 3, 1}, c.p, c.wrap); !slices.Equal(y, c.want) {
			t.Errorf("wrap %v: %v, want %v", c.wrap, y, c.want)
		}
	}
}

// The average is the weighted mean of all iterates, whatever it was before.
func TestAverage(t *testing.T) {
	for _, decay := range []float64{0, 0.5, 0.99} {
		avg := []float64{1e6}
		var sum, weights float64
		for i := range 50 {
			x := math.Sin(float64(i))
			Average(avg, []float64{x}, decay, i+1)
			sum, weights = sum*decay+x, weights*decay+1
			if want := sum / weights; !(math.Abs(avg[0]-want) <= 1e-9) {
				t.Fatalf("decay %v: %v after %d, want %v", decay, avg[0], i+1, want)
			}
		}
	}
}

// A gradient is what the loss does when one value moves.
func TestFiniteDifferences(t *testing.T) {
	const eps = 1e-6
	check := func(t *testing.T, name string, x []float64, loss func(x []float64) float64, grad []float64) {
		t.Helper()
		for i := range x {
			keep := x[i]
			x[i] = keep + eps
			up := loss(x)
			x[i] = keep - eps
			down := loss(x)
			x[i] = keep
			if want := (up - down) / (2 * eps); !(math.Abs(grad[i]-want) <= 1e-6*(1+math.Abs(want))) {
				t.Errorf("%s: gradient %d is %v, differences give %v", name, i, grad[i], want)
			}
		}
	}
	for i, d := range dims {
		r := rand.New(rand.NewPCG(uint64(i), 2))
		n := d.N * d.picture()
		random := func(n int) []float64 {
			v := make([]float64, n)
			for i := range v {
				v[i] = r.Float64()*2 - 1
			}
			return v
		}
		x, target, l := random(n), random(n), make([]float64, d.N)
		sum := func() (s float64) {
			for _, v := range l {
				s += v
			}
			return s
		}
		by := func(w float64) []float64 { // another weight for each picture
			all := make([]float64, d.N)
			for i := range all {
				all[i] = w + float64(i)
			}
			return all
		}
		g := make([]float64, n)
		MSEBwd(g, x, target, by(3))
		check(t, "mse", x, func(x []float64) float64 { MSEFwd(l, x, target, by(3)); return sum() }, g)
		TVBwd(g, x, d, by(2))
		check(t, "tv", x, func(x []float64) float64 { TVFwd(l, x, d, by(2)); return sum() }, g)

		e := d.N * d.C * d.C
		gt, dg, gram := random(e), make([]float64, e), make([]float64, e)
		GramFwd(gram, x, d)
		MSEBwd(dg, gram, gt, by(5))
		GramBwd(g, dg, x, d)
		check(t, "gram", x, func(x []float64) float64 { GramFwd(gram, x, d); MSEFwd(l, gram, gt, by(5)); return sum() }, g)

		mean, std := []float32{.4, .5, .6}, []float32{.2, .3, .25}
		if d.C == 3 {
			y := make([]float64, n)
			NormalizeFwd(y, x, d, mean, std)
			MSEBwd(g, y, target, by(1))
			NormalizeBwd(g, g, d, std)
			check(t, "normalize", x, func(x []float64) float64 {
				NormalizeFwd(y, x, d, mean, std)
				MSEFwd(l, y, target, by(1))
				return sum()
			}, g)
		}
	}
}

// Ties, where the derivative of |x| is taken as 0; and the guards of Adam.
func TestCorners(t *testing.T) {
	g := make([]float64, 4)
	TVBwd(g, []float64{1, 1, 1, 1}, Dim{1, 2, 2, 1}, []float64{1})
	for _, v := range g {
		if v != 0 {
			t.Errorf("gradient %v on a flat picture", g)
		}
	}
	x, m, v := []float64{0.5, 2, -1}, make([]float64, 3), make([]float64, 3)
	p := AdamParams{LR: 0.01, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}
	Adam(x, m, v, []float64{1, 1, 1}, 0, math.Inf(1), p)
	if x[0] != 0.5 || x[1] != 2 {
		t.Errorf("a step was taken on an infinite loss: %v", x)
	}
	Adam(x, m, v, []float64{math.NaN(), 1, 1}, 0, 1, p)
	if x[0] != 0.5 || x[1] != 1 || x[2] != 0 {
		t.Errorf("after a NaN gradient and two clamped steps: %v", x)
	}
	p.Clamp = 1 // before the step: the result leaves the range by the step
	x[1] = 3
	Adam(x, m, v, []float64{0, -1, 1}, 1, 1, p)
	if x[1] <= 1 || x[1] > 1.02 {
		t.Errorf("clamp before the step gives %v", x[1])
	}
	y := make([]float64, 2)
	ReLUFwd(y, []float64{math.NaN(), -1})
	if y[0] == y[0] || y[1] != 0 {
		t.Errorf("relu(NaN, -1) = %v", y)
	}
}

// Steps of LBFGS, which keeps Py and products, against the recursion as it is written
// down (Nocedal and Wright, Numerical Optimization, algorithm 7.4), on every s and y.
func TestLBFGSIsTheTwoLoops(t *testing.T) {
	const h, w, history = 5, 7, 4
	const e = 3 * h * w
	r := rand.New(rand.NewPCG(7, 1))
	goal, stiff := make([]float64, e), make([]float64, e)
	x := make([]float64, e)
	for i := range x {
		x[i], goal[i], stiff[i] = r.Float64(), 1.2*r.Float64()-0.1, 1+9*r.Float64()
	}
	// The smooth part of the error counts more; not quadratic.
	evaluate := func(x []float64) (loss float64, g []float64) {
		g = make([]float64, e)
		for i, v := range x {
			d := v - goal[i]
			loss += stiff[i] * (d*d/2 + d*d*d*d/4)
			g[i] = stiff[i] * (d + d*d*d)
		}
		g0 := Smoothed(g, w)
		for i := range g {
			g[i] += 30 * g0[i]
		}
		return loss, g
	}
	const slots = history + 1
	m := LBFGSMemory[float64]{
		A: make([]float64, e), GA: make([]float64, e), D: make([]float64, e), S: make([]float64, slots*e), Y: make([]float64, slots*e), Control: make([]float64, 10+2*slots*slots),
	}
	var s, y [][]float64
	smooth, tried := 0.0, 0
	p := func(v []float64) []float64 {
		b := Smoothed(v, w)
		for i := range b {
			b[i] = v[i] - smooth*b[i]
		}
		return b
	}
	a, ga := []float64(nil), []float64(nil)
	for n := range 14 {
		_, g := evaluate(x)
		at := slices.Clone(x)
		loss := 100 / float64(n+1) // it always falls
		LBFGS(x, g, loss, m, LBFGSParams{Width: w, History: history, First: 0.05, Most: 0.5, Rise: 0.2})

		if a != nil {
			ds, dy := make([]float64, e), make([]float64, e)
			for i := range ds {
				ds[i], dy[i] = at[i]-a[i], g[i]-ga[i]
			}
			if dot(ds, dy) > 1e-10*dot(dy, p(dy)) {
				s, y = append(s, ds), append(y, dy)
				s, y = s[max(len(s)-history, 0):], y[max(len(y)-history, 0):]
			}
		}
		a, ga = at, g
		free, down := make([]float64, e), make([]float64, e)
		for i := range free {
			if !(a[i] <= 0 && g[i] > 0 || a[i] >= 1 && g[i] < 0) {
				free[i], down[i] = 1, g[i]
			}
		}
		q, alpha := slices.Clone(down), make([]float64, len(s))
		for i := len(s) - 1; i >= 0; i-- {
			alpha[i] = dot(s[i], q) / dot(s[i], y[i])
			for j := range q {
				q[j] -= alpha[i] * y[i][j]
			}
		}
		q = p(q)
		if last := len(s) - 1; last >= 0 {
			by := dot(s[last], y[last]) / dot(y[last], p(y[last]))
			for j := range q {
				q[j] *= by
			}
		}
		for i := range s {
			beta := dot(y[i], q) / dot(s[i], y[i])
			for j := range q {
				q[j] += (alpha[i] - beta) * s[i][j]
			}
		}
		if len(s) == 0 || !(dot(q, down) > 0) {
			s, y = nil, nil
			most := 0.0
			for j, v := range g {
				most = max(most, math.Abs(v))
				q[j] = down[j]
			}
			for j := range q {
				q[j] *= 0.05 / most
			}
			smooth = min(max((4*dot(down, Smoothed(down, w))/dot(down, down)-1)/3, 0), 0.9)
		} else {
			tried++
		}
		longest := 0.0
		for j := range q {
			longest = max(longest, math.Abs(free[j]*q[j]))
		}
		for j := range q {
			want := min(max(a[j]-min(1, 0.5/longest)*free[j]*q[j], 0), 1)
			if math.Abs(x[j]-want) > 1e-9 {
				t.Fatalf("step %d: value %d is %v, the two loops say %v", n+1, j, x[j], want)
			}
		}
	}
	if tried < 10 || smooth < 0.1 {
		t.Errorf("%d steps were of pairs, and k is %v: hardly tried", tried, smooth)
	}
}
