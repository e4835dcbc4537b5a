// Package ref holds the oracle of every operation: the formula as loops, sums
// in float64, nothing clever. It is what a kernel is compared with, so it
// shares no code with any of them and imports none of the project.
//
// Tensors are dense NHWC slices. T is float32 to check one operation in
// isolation, float64 to follow a whole program without rounding.
package ref

import (
	"math"
	"slices"
)

// Float is the element type of an oracle.
type Float interface{ ~float32 | ~float64 }

// Dim is the extent of a picture tensor.
type Dim struct{ N, H, W, C int }

func (d Dim) at(n, h, w, c int) int { return ((n*d.H+h)*d.W+w)*d.C + c }
func (d Dim) picture() int          { return d.H * d.W * d.C }

// NormalizeFwd is y = (x - mean[c]) / std[c].
func NormalizeFwd[T Float](y, x []T, d Dim, mean, std []float32) {
	for i := range x {
		c := i % d.C
		y[i] = (x[i] - T(mean[c])) / T(std[c])
	}
}

// NormalizeBwd is dx = dy / std[c].
func NormalizeBwd[T Float](dx, dy []T, d Dim, std []float32) {
	for i := range dy {
		dx[i] = dy[i] / T(std[i%d.C])
	}
}

// Conv3x3Fprop is y[n,p,q,k] = b[k] + sum_{r,s,c} w[k,r,s,c] x[n,p+r-1,q+s-1,c],
// stride 1, x zero outside the picture. x has extent d, y d with C = k.
func Conv3x3Fprop[T Float](y, x, w, b []T, d Dim, k int) {
	i := 0
	for n := range d.N {
		for p := range d.H {
			for q := range d.W {
				for o := range k {
					sum := float64(b[o])
					for r := range 3 {
						for s := range 3 {
							h, v := p+r-1, q+s-1
							if h < 0 || v < 0 || h >= d.H || v >= d.W {
								continue
							}
							xi, wi := d.at(n, h, v, 0), ((o*3+r)*3+s)*d.C
							for c := range d.C {
								sum += float64(w[wi+c]) * float64(x[xi+c])
							}
						}
					}
					y[i] = T(sum)
					i++
				}
			}
		}
	}
}

// Conv3x3Dgrad is dx[n,h,w,c] = sum_{r,s,k} w[k,r,s,c] dy[n,h-r+1,w-s+1,k], the
// gradient of Conv3x3 with respect to x. dx has extent d, dy d with C = k.
func Conv3x3Dgrad[T Float](dx, dy, w []T, d Dim, k int) {
	dk := Dim{d.N, d.H, d.W, k}
	sum := make([]float64, d.C)
	for n := range d.N {
		for h := range d.H {
			for v := range d.W {
				clear(sum)
				for r := range 3 {
					for s := range 3 {
						p, q := h-r+1, v-s+1
						if p < 0 || q < 0 || p >= d.H || q >= d.W {
							continue
						}
						yi := dk.at(n, p, q, 0)
						for o := range k {
							g, wi := float64(dy[yi+o]), ((o*3+r)*3+s)*d.C
							for c := range d.C {
								sum[c] += float64(w[wi+c]) * g
							}
						}
					}
				}
				i := d.at(n, h, v, 0)
				for c := range d.C {
					dx[i+c] = T(sum[c])
				}
			}
		}
	}
}

// ReLUFwd is y = max(x, 0). A NaN stays a NaN.
func ReLUFwd[T Float](y, x []T) {
	for i, v := range x {
		if v < 0 {
			v = 0
		}
		y[i] = v
	}
}

// ReLUBwd is dx = dy where the output y of ReLU is positive, else 0.
func ReLUBwd[T Float](dx, dy, y []T) {
	for i := range dy {
		if y[i] > 0 {
			dx[i] = dy[i]
		} else {
			dx[i] = 0
		}
	}
}

// AvgPool2x2Fwd is the mean of 2x2 windows; x has extent d, y half of it, rounded down.
func AvgPool2x2Fwd[T Float](y, x []T, d Dim) {
	o := Dim{d.N, d.H / 2, d.W / 2, d.C}
	for n := range o.N {
		for p := range o.H {
			for q := range o.W {
				for c := range o.C {
					y[o.at(n, p, q, c)] = (x[d.at(n, 2*p, 2*q, c)] + x[d.at(n, 2*p, 2*q+1, c)] +
						x[d.at(n, 2*p+1, 2*q, c)] + x[d.at(n, 2*p+1, 2*q+1, c)]) / 4
				}
			}
		}
	}
}

// AvgPool2x2Bwd is dx = dy/4 inside the windows and 0 in a dropped last row or
// column; dx has extent d.
func AvgPool2x2Bwd[T Float](dx, dy []T, d Dim) {
	o := Dim{d.N, d.H / 2, d.W / 2, d.C}
	for n := range d.N {
		for h := range d.H {
			for w := range d.W {
				for c := range d.C {
					var g T
					if h/2 < o.H && w/2 < o.W {
						g = dy[o.at(n, h/2, w/2, c)] / 4
					}
					dx[d.at(n, h, w, c)] = g
				}
			}
		}
	}
}

// firstMax is which value of the window of x with upper left (h,w) is its first
// maximum, counted row by row; a NaN is larger than any number.
func firstMax[T Float](x []T, d Dim, n, h, w, c int) (where int, most T) {
	most = x[d.at(n, h, w, c)]
	for i := 1; i < 4; i++ {
		if v := x[d.at(n, h+i/2, w+i%2, c)]; v > most || v != v {
			where, most = i, v
		}
	}
	return where, most
}

// MaxPool2x2Fwd is the maximum of 2x2 windows; x has extent d, y half of it, rounded down.
func MaxPool2x2Fwd[T Float](y, x []T, d Dim) {
	o := Dim{d.N, d.H / 2, d.W / 2, d.C}
	for n := range o.N {
		for p := range o.H {
			for q := range o.W {
				for c := range o.C {
					_, y[o.at(n, p, q, c)] = firstMax(x, d, n, 2*p, 2*q, c)
				}
			}
		}
	}
}

// MaxPool2x2Bwd is dx = dy at the first maximum of each window of x and 0 elsewhere;
// x and dx have extent d.
func MaxPool2x2Bwd[T Float](dx, dy, x []T, d Dim) {
	o := Dim{d.N, d.H / 2, d.W / 2, d.C}
	clear(dx)
	for n := range o.N {
		for p := range o.H {
			for q := range o.W {
				for c := range o.C {
					where, _ := firstMax(x, d, n, 2*p, 2*q, c)
					dx[d.at(n, 2*p+where/2, 2*q+where%2, c)] = dy[o.at(n, p, q, c)]
				}
			}
		}
	}
}

// GramFwd is g[n,i,j] = sum_p f[n,p,i] f[n,p,j] / (C H W).
func GramFwd[T Float](g, f []T, d Dim) {
	pix, scale := d.H*d.W, 1/(float64(d.C)*float64(d.H)*float64(d.W))
	for n := range d.N {
		fn := f[n*d.picture():]
		for i := range d.C {
			for j := range d.C {
				var sum float64
				for p := range pix {
					sum += float64(fn[p*d.C+i]) * float64(fn[p*d.C+j])
				}
				g[(n*d.C+i)*d.C+j] = T(sum * scale)
			}
		}
	}
}

// GramBwd is df[n,p,i] = sum_j (dg[n,i,j] + dg[n,j,i]) f[n,p,j] / (C H W).
func GramBwd[T Float](df, dg, f []T, d Dim) {
	pix, scale := d.H*d.W, 1/(float64(d.C)*float64(d.H)*float64(d.W))
	for n := range d.N {
		gn := dg[n*d.C*d.C:]
		for p := range pix {
			at := n*d.picture() + p*d.C
			for i := range d.C {
				var sum float64
				for j := range d.C {
					sum += (float64(gn[i*d.C+j]) + float64(gn[j*d.C+i])) * float64(f[at+j])
				}
				df[at+i] = T(sum * scale)
			}
		}
	}
}

// MSEFwd is l[n] = weight[n] * mean((a[n] - b[n])^2). b holds as many pictures as a, or one.
func MSEFwd[T Float](l, a, b []T, weight []float64) {
	e := len(a) / len(weight)
	for i := range weight {
		var sum float64
		for j := range e {
			d := float64(a[i*e+j]) - float64(b[(i*e+j)%len(b)])
			sum += d * d
		}
		l[i] = T(weight[i] * sum / float64(e))
	}
}

// MSEBwd is da[n] = weight[n] * 2 (a[n] - b[n]) / elements of a picture.
func MSEBwd[T Float](da, a, b []T, weight []float64) {
	e := len(a) / len(weight)
	for i := range a {
		da[i] = T(2 * weight[i/e] / float64(e) * (float64(a[i]) - float64(b[i%len(b)])))
	}
}

// TVFwd is l[n] = weight[n] * (sum |x[h+1] - x[h]| + sum |x[w+1] - x[w]|) / elements of a picture.
func TVFwd[T Float](l, x []T, d Dim, weight []float64) {
	for n := range d.N {
		var sum float64
		for h := range d.H {
			for w := range d.W {
				for c := range d.C {
					v := float64(x[d.at(n, h, w, c)])
					if h+1 < d.H {
						sum += math.Abs(float64(x[d.at(n, h+1, w, c)]) - v)
					}
					if w+1 < d.W {
						sum += math.Abs(float64(x[d.at(n, h, w+1, c)]) - v)
					}
				}
			}
		}
		l[n] = T(weight[n] * sum / float64(d.picture()))
	}
}

// TVBwd is the derivative of TV, with sign(0) = 0.
func TVBwd[T Float](dx, x []T, d Dim, weight []float64) {
	for n := range d.N {
		k := weight[n] / float64(d.picture())
		for h := range d.H {
			for w := range d.W {
				for c := range d.C {
					v, sum := x[d.at(n, h, w, c)], 0.0
					if h > 0 {
						sum += sign(v - x[d.at(n, h-1, w, c)])
					}
					if h+1 < d.H {
						sum += sign(v - x[d.at(n, h+1, w, c)])
					}
					if w > 0 {
						sum += sign(v - x[d.at(n, h, w-1, c)])
					}
					if w+1 < d.W {
						sum += sign(v - x[d.at(n, h, w+1, c)])
					}
					dx[d.at(n, h, w, c)] = T(k * sum)
				}
			}
		}
	}
}

func sign[T Float](v T) float64 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}

// Add is y = a + b.
func Add[T Float](y, a, b []T) {
	for i := range a {
		y[i] = a[i] + b[i]
	}
}

// Mul is y = x times a mask of one channel.
func Mul[T Float](y, x, mask []T) {
	c := len(x) / len(mask)
	for i, v := range x {
		y[i] = v * mask[i/c]
	}
}

// padSource is which of n rows or columns lies at i, from -p to n-1+p.
func padSource(i, n int, wrap bool) int {
	switch {
	case wrap:
		return (i + n) % n
	case i < 0:
		return -i
	case i >= n:
		return 2*(n-1) - i
	}
	return i
}

// PadFwd continues x, of extent d, by p pixels beyond every border: mirrored at the
// outermost pixels, or with wrap as if pictures lay side by side.
func PadFwd[T Float](y, x []T, d Dim, p int, wrap bool) {
	o := Dim{d.N, d.H + 2*p, d.W + 2*p, d.C}
	for n := range o.N {
		for r := range o.H {
			for s := range o.W {
				from := d.at(n, padSource(r-p, d.H, wrap), padSource(s-p, d.W, wrap), 0)
				copy(y[o.at(n, r, s, 0):][:d.C], x[from:])
			}
		}
	}
}

// PadBwd gives every value of dy to the pixel that PadFwd has read there; dx has extent d.
func PadBwd[T Float](dx, dy []T, d Dim, p int, wrap bool) {
	o := Dim{d.N, d.H + 2*p, d.W + 2*p, d.C}
	sum := make([]float64, len(dx))
	for n := range o.N {
		for r := range o.H {
			for s := range o.W {
				to := d.at(n, padSource(r-p, d.H, wrap), padSource(s-p, d.W, wrap), 0)
				for c := range d.C {
					sum[to+c] += float64(dy[o.at(n, r, s, c)])
				}
			}
		}
	}
	for i, v := range sum {
		dx[i] = T(v)
	}
}

// Average takes iterate x, the t-th from 1 on, into the mean of one picture, in which
// one counts decay times what the next does.
func Average[T Float](avg, x []T, decay float64, t int) {
	count, weight := 0.0, 1.0 // of all iterates: 1 + decay + decay^2 + ...
	for range t {
		count += weight
		weight *= decay
	}
	for i, v := range x {
		avg[i] = T(float64(v)/count + float64(avg[i])*(count-1)/count)
	}
}

// Total is l[n] = (content, sum of styles, tv, their sum) and each[n] the terms; each term has one value a picture.
func Total[T Float](l, each []T, content, style [][]T, tv []T) {
	for n := range tv {
		var c, s float64
		for _, t := range content {
			c += float64(t[n])
		}
		for _, t := range style {
			s += float64(t[n])
		}
		l[4*n], l[4*n+1], l[4*n+2], l[4*n+3] = T(c), T(s), tv[n], T(c+s+float64(tv[n]))
		for i, t := range append(append(append([][]T{}, content...), style...), tv) {
			each[n*(len(content)+len(style)+1)+i] = t[n]
		}
	}
}

// AdamParams are the constants of one step; Clamp is 0 after, 1 before, 2 never.
type AdamParams struct {
	LR, Beta1, Beta2, Eps float64
	Clamp                 int
}

// Adam takes step number t+1 (t steps are done) on one picture:
//
//	m += (g - m)(1 - beta1);  v = beta2 v + (1 - beta2) g g
//	x -= lr/(1 - beta1^t) m / (sqrt(v)/sqrt(1 - beta2^t) + eps)
//
// Nothing changes when total is not finite; an element whose squared gradient is
// not finite is left alone, for its second moment would stay infinite.
func Adam[T Float](x, m, v, g []T, t int, total T, a AdamParams) {
	if !finite(total) {
		return
	}
	c1, c2 := 1-math.Pow(a.Beta1, float64(t+1)), math.Sqrt(1-math.Pow(a.Beta2, float64(t+1)))
	for i := range x {
		if !finite(g[i] * g[i]) {
			continue
		}
		gi, xi := float64(g[i]), float64(x[i])
		if a.Clamp == 1 {
			xi = min(max(xi, 0), 1)
		}
		mi := float64(m[i]) + (gi-float64(m[i]))*(1-a.Beta1)
		vi := float64(v[i])*a.Beta2 + (1-a.Beta2)*gi*gi
		xi -= a.LR / c1 * mi / (math.Sqrt(vi)/c2 + a.Eps)
		if a.Clamp == 0 {
			xi = min(max(xi, 0), 1)
		}
		x[i], m[i], v[i] = T(xi), T(mi), T(vi)
	}
}

// LBFGSParams are the constants of a step of projected L-BFGS on a picture of so many
// columns, three channels.
type LBFGSParams struct {
	Width, History    int
	First, Most, Rise float64
}

// LBFGSMemory is what it keeps for one picture: the last point accepted, its
// gradient, the direction, slots of pairs one after another, and the control, whose
// columns are accepted, pairs, next, loss, most, factor, refusals, step, longest,
// smooth, then the products of each s with every y, and of each Py. Y has Py.
type LBFGSMemory[T Float] struct{ A, GA, D, S, Y, Control []T }

// LBFGS takes a step on one picture x with gradient g and loss total, as
// gpu.LBFGSParams says it. The two loops are on whole vectors, but for the products with
// y of earlier steps, of which only Py is kept.
func LBFGS[T Float](x, g []T, total T, m LBFGSMemory[T], p LBFGSParams) {
	const accepted, pairs, next, loss, most, factor, refusals, step, longest, smooth, products = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
	c, e, slots := m.Control, len(x), p.History+1
	ok := finite(total)
	for _, v := range g {
		ok = ok && finite(v*v)
	}
	n := int(c[next])
	slot := func(v []T, i int) []T { return v[i*e:][:e] }
	s, u := slot(m.S, n), slot(m.Y, n) // what the pair would be
	y := make([]float64, e)
	for i := range x {
		s[i], y[i] = x[i]-m.A[i], float64(g[i])-float64(m.GA[i])
	}
	for i, v := range Smoothed(y, p.Width) {
		u[i] = T(y[i] - float64(c[smooth])*v)
	}
	la := float64(c[loss])
	again := true // a direction is to be made
	var own []float64
	switch {
	case !ok || c[accepted] > 0 && c[refusals] < 8 && float64(total) > la+p.Rise*math.Abs(la):
		c[refusals]++
		c[factor] = T(0.3 * float64(c[factor]))
		if again = c[refusals] >= 2; again {
			c[pairs] = 0
		}
	default:
		if sy := product(s, y); c[accepted] > 0 && sy > 1e-10*product(u, y) {
			own = make([]float64, 2*slots) // products of the new y, which the control has rounded
			for i := range slots {
				own[i], own[slots+i] = product(slot(m.S, i), y), product(slot(m.Y, i), y)
				c[products+i*slots+n] = T(own[i])
				c[products+(slots+i)*slots+n], c[products+(slots+n)*slots+i] = T(own[slots+i]), T(own[slots+i])
			}
			c[pairs] = min(c[pairs]+1, T(p.History))
			c[next] = T((n + 1) % slots)
		}
		copy(m.A, x)
		copy(m.GA, g)
		c[accepted]++
		c[loss], c[factor], c[refusals], c[most] = total, 1, 0, 0
		for _, v := range g {
			c[most] = max(c[most], v, -v)
		}
	}
	if c[accepted] == 0 { // nowhere to go back to: the next evaluation is of the same x
		c[step] = 0
		return
	}
	if again {
		free := make([]float64, e)
		down := make([]float64, e) // the free part of the gradient
		for i, a := range m.A {
			if atBound := a <= 0 && m.GA[i] > 0 || a >= 1 && m.GA[i] < 0; !atBound {
				free[i], down[i] = 1, float64(m.GA[i])
			}
		}
		if d := recursion(down, m, own, slots, p.Width); d != nil {
			for i := range d {
				m.D[i] = T(-free[i] * d[i])
			}
		} else { // no descent, or no pairs
			c[pairs] = 0
			if c[refusals] == 0 {
				c[smooth] = 0
				if r := product(down, Smoothed(down, p.Width)) / product(down, down); r > 0 {
					c[smooth] = T(min(max((4*r-1)/3, 0), 0.9))
				}
			}
			by := 0.0
			if c[most] > 0 {
				by = p.First / float64(c[most])
			}
			for i := range m.D {
				m.D[i] = T(-by * down[i])
			}
		}
	}
	c[longest] = 0
	for _, d := range m.D {
		c[longest] = max(c[longest], d, -d)
	}
	by := float64(c[factor])
	if l := float64(c[longest]); l > p.Most {
		by *= p.Most / l
	}
	c[step] = T(by * float64(c[longest]))
	for i := range x {
		x[i] = T(min(max(float64(m.A[i])+by*float64(m.D[i]), 0), 1))
	}
}

func product[A, B Float](a []A, b []B) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// Smoothed is the mean over 3x3 pixels with weights 1 2 1 down and across, each channel
// by itself; beyond the border is 0.
func Smoothed(v []float64, width int) []float64 {
	b := make([]float64, len(v))
	height := len(v) / 3 / width
	for i := range b {
		y, x := i/3/width, i/3%width
		for dy := -1; dy <= 1; dy++ {
			for dx := -1; dx <= 1; dx++ {
				if y+dy >= 0 && y+dy < height && x+dx >= 0 && x+dx < width {
					b[i] += float64((2-dy*dy)*(2-dx*dx)) / 16 * v[i+3*(dy*width+dx)]
				}
			}
		}
	}
	return b
}

// recursion is what the pairs make of the free part of the gradient; nil if there are
// none, or if it does not descend. own are the products of the newest y, where this step
// made it.
func recursion[T Float](gradient []float64, m LBFGSMemory[T], own []float64, slots, width int) []float64 {
	const pairs, next, smooth, products = 1, 2, 9, 10
	c, e := m.Control, len(gradient)
	count := int(c[pairs])
	if count == 0 {
		return nil
	}
	at := func(age int) (i int, s, u []T) { // age 0 is the newest
		i = (int(c[next]) - 1 - age + 2*slots) % slots
		return i, m.S[i*e:][:e], m.Y[i*e:][:e]
	}
	newest, _, _ := at(0)
	sy := func(i, j int) float64 { // of s of slot i, or of Py if i is so many more
		if own != nil && j == newest {
			return own[i]
		}
		return float64(c[products+i*slots+j])
	}
	yy := func(i, j int) float64 {
		if i == newest {
			i, j = j, i
		}
		return sy(slots+i, j)
	}
	d := slices.Clone(gradient) // P times what is left of the gradient
	for i, v := range Smoothed(gradient, width) {
		d[i] -= float64(c[smooth]) * v
	}
	alpha := make([]float64, count)
	for age := range count {
		i, s, u := at(age)
		sq := product(s, gradient)
		for newer := range age {
			j, _, _ := at(newer)
			sq -= alpha[newer] * sy(i, j)
		}
		alpha[age] = sq / sy(i, i)
		for k := range d {
			d[k] -= alpha[age] * float64(u[k])
		}
	}
	h := max(sy(newest, newest)/max(yy(newest, newest), 1e-30), 1e-12)
	for k := range d {
		d[k] *= h
	}
	delta := make([]float64, count)
	for age := count - 1; age >= 0; age-- {
		i, s, u := at(age)
		yd := product(u, gradient)
		for all := range count {
			j, _, _ := at(all)
			yd -= alpha[all] * yy(i, j)
		}
		yd *= h
		for older := age + 1; older < count; older++ {
			j, _, _ := at(older)
			yd += delta[older] * sy(j, i)
		}
		delta[age] = alpha[age] - yd/sy(i, i)
		for k := range d {
			d[k] += delta[age] * float64(s[k])
		}
	}
	if !(product(d, gradient) > 0) {
		return nil
	}
	return d
}

func finite[T Float](v T) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }

// Record fills one row of a picture: the four losses of total, mean and
// standard deviation (n-1) of x, 1 when total and every squared gradient are finite,
// step and refused of LBFGS's control (0 without), and each term of the loss. With a
// point to go back to, up to nine refusals in a row are no failure.
func Record[T Float](row, x, g, total, each, control []T) {
	var sum, dev float64
	for _, v := range x {
		sum += float64(v)
	}
	mean := sum / float64(len(x))
	for _, v := range x {
		dev += (float64(v) - mean) * (float64(v) - mean)
	}
	ok := T(1)
	if !finite(total[3]) {
		ok = 0
	}
	for _, v := range g {
		if !finite(v * v) {
			ok = 0
		}
	}
	copy(row, total[:4])
	row[7], row[8] = 0, 0
	if control != nil {
		row[7] = control[7]
		if control[6] > 0 {
			row[8] = 1
		}
		if control[0] > 0 && control[6] < 10 {
			ok = 1
		}
	}
	row[4], row[5], row[6] = T(mean), T(math.Sqrt(dev/max(float64(len(x)-1), 1))), ok
	copy(row[9:], each)
}
