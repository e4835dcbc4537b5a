// Package ref holds the oracle of every operation: the formula as loops, sums
// in float64, nothing clever. It is what a kernel is compared with, so it
// shares no code with any of them and imports nothing.
//
// Tensors are dense NHWC slices. T is float32 to check one operation in
// isolation, float64 to follow a whole program without rounding.
package ref

import "math"

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

// MSEFwd is l[n] = scale * mean((a[n] - b[n])^2). b holds as many pictures as a, or one.
func MSEFwd[T Float](l, a, b []T, n int, scale float32) {
	e := len(a) / n
	for i := range n {
		var sum float64
		for j := range e {
			d := float64(a[i*e+j]) - float64(b[(i*e+j)%len(b)])
			sum += d * d
		}
		l[i] = T(float64(scale) * sum / float64(e))
	}
}

// MSEBwd is da[n] = scale * 2 (a[n] - b[n]) / elements of a picture.
func MSEBwd[T Float](da, a, b []T, n int, scale float32) {
	e := len(a) / n
	for i := range a {
		da[i] = T(2 * float64(scale) / float64(e) * (float64(a[i]) - float64(b[i%len(b)])))
	}
}

// TVFwd is l[n] = scale * (sum |x[h+1] - x[h]| + sum |x[w+1] - x[w]|) / elements of a picture.
func TVFwd[T Float](l, x []T, d Dim, scale float32) {
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
		l[n] = T(float64(scale) * sum / float64(d.picture()))
	}
}

// TVBwd is the derivative of TV, with sign(0) = 0.
func TVBwd[T Float](dx, x []T, d Dim, scale float32) {
	k := float64(scale) / float64(d.picture())
	for n := range d.N {
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

// Total is l[n] = (content, sum of styles, tv, their sum); each term has one value a picture.
func Total[T Float](l []T, content, style [][]T, tv []T) {
	for n := range tv {
		var c, s float64
		for _, t := range content {
			c += float64(t[n])
		}
		for _, t := range style {
			s += float64(t[n])
		}
		l[4*n], l[4*n+1], l[4*n+2], l[4*n+3] = T(c), T(s), tv[n], T(c+s+float64(tv[n]))
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

func finite[T Float](v T) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }

// Record fills one row of a picture: the four losses of total, mean and
// standard deviation (n-1) of x, and 1 when total and every squared gradient are finite.
func Record[T Float](row, x, g, total []T) {
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
	row[4], row[5], row[6] = T(mean), T(math.Sqrt(dev/max(float64(len(x)-1), 1))), ok
}
