package picture

import (
	"math"

	"github.com/stylize-gpu/stylize/transfer/picture/icc"
)

// rounding is the variance that rounding to 8 bits leaves: 1/255 squared, over 12. What
// varies by no more than that is no colour to be stretched to another's.
const rounding = 1. / (255 * 255 * 12)

// MatchColors is p with its colours moved so that their mean and covariance, in linear
// light, are those of another picture:
//
//	y = A (x - mean(p)) + mean(to)
//	A = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2
//
// with S and T the covariances of p and of the other. Of all linear maps that do this, A
// moves colours least (optimal transport between Gaussians), and does not turn them. S
// gets a ridge of 1e-6 of its trace and the rounding of 8 bits, T gets none: matched to
// grey the result is grey, matched to one colour it is that colour.
//
// A pixel counts by its alpha, in both pictures; of nothing visible p stays as it is. What
// comes out beyond [0,1] is cut off there. The alpha is that of p.
func (p *Picture) MatchColors(to *Picture) *Picture {
	out := &Picture{W: p.W, H: p.H, RGB: make([]float32, len(p.RGB)), Alpha: p.Alpha}
	from, s, ok1 := p.moments()
	mean, t, ok2 := to.moments()
	if !ok1 || !ok2 {
		copy(out.RGB, p.RGB)
		return out
	}
	a := transport(s, t)
	parallel(p.H, func(lo, hi int) {
		for i := 3 * lo * p.W; i < 3*hi*p.W; i += 3 {
			x := linearOf(p.RGB[i:])
			for c := range 3 {
				v := mean[c]
				for k := range 3 {
					v += a[c][k] * (x[k] - from[k])
				}
				out.RGB[i+c] = clamp(float32(icc.FromLinear(min(max(v, 0), 1))))
			}
		}
	})
	return out
}

func linearOf(rgb []float32) [3]float64 {
	return [3]float64{icc.ToLinear(unit(rgb[0])), icc.ToLinear(unit(rgb[1])), icc.ToLinear(unit(rgb[2]))}
}

// moments are the mean and the covariance in linear light, weighted by alpha; not ok
// where nothing is visible. Rows are summed each for itself and then in their order.
func (p *Picture) moments() (mean [3]float64, cov matrix3, ok bool) {
	type sums struct {
		weight float64
		x      [3]float64
		xx     matrix3
	}
	rows := make([]sums, p.H)
	parallel(p.H, func(lo, hi int) {
		for y := lo; y < hi; y++ {
			row := &rows[y]
			for i := y * p.W; i < (y+1)*p.W; i++ {
				a := 1.0
				if p.Alpha != nil {
					a = unit(p.Alpha[i])
				}
				if a == 0 {
					continue
				}
				row.weight += a
				v := linearOf(p.RGB[3*i:])
				for c := range 3 {
					row.x[c] += a * v[c]
					for d := range 3 {
						row.xx[c][d] += a * v[c] * v[d]
					}
				}
			}
		}
	})
	weight := 0.0
	for _, row := range rows {
		weight += row.weight
		for c := range 3 {
			mean[c] += row.x[c]
			for d := range 3 {
				cov[c][d] += row.xx[c][d]
			}
		}
	}
	if weight == 0 {
		return mean, cov, false
	}
	for c := range 3 {
		mean[c] /= weight
	}
	for i := range 9 {
		cov[i/3][i%3] = cov[i/3][i%3]/weight - mean[i/3]*mean[i%3]
	}
	return mean, cov, true
}

// transport is A of MatchColors.
func transport(s, t matrix3) matrix3 {
	ridge := 1e-6*(s[0][0]+s[1][1]+s[2][2]) + rounding
	for i := range 3 {
		s[i][i] += ridge
	}
	root, inverse := s.of(math.Sqrt), s.of(func(v float64) float64 { return 1 / math.Sqrt(v) })
	middle := root.times(t).times(root).of(math.Sqrt)
	return inverse.times(middle).times(inverse)
}

type matrix3 [3][3]float64

func (m matrix3) times(n matrix3) (o matrix3) {
	for i := range 3 {
		for j := range 3 {
			o[i][j] = m[i][0]*n[0][j] + m[i][1]*n[1][j] + m[i][2]*n[2][j]
		}
	}
	return o
}

// of applies a function to the eigenvalues of a symmetric matrix that has none below 0;
// what rounding put there is 0.
func (m matrix3) of(f func(float64) float64) (o matrix3) {
	values, vectors := m.eigen()
	for k, v := range values {
		v = f(max(v, 0))
		for i := range 3 {
			for j := range 3 {
				o[i][j] += v * vectors[i][k] * vectors[j][k]
			}
		}
	}
	return o
}

// eigen is Jacobi's method: turns that make one pair of entries 0 after the other. Column
// k of vectors belongs to values[k].
func (m matrix3) eigen() (values [3]float64, vectors matrix3) {
	vectors = matrix3{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}
	for range 30 { // it squares the rest each time: five are enough
		if m[0][1] == 0 && m[0][2] == 0 && m[1][2] == 0 {
			break
		}
		for _, pq := range [][2]int{{0, 1}, {0, 2}, {1, 2}} {
			p, q := pq[0], pq[1]
			if m[p][q] == 0 {
				continue
			}
			// tan of the angle, the smaller of the two that do it
			theta := (m[q][q] - m[p][p]) / (2 * m[p][q])
			t := math.Copysign(1, theta) / (math.Abs(theta) + math.Hypot(theta, 1))
			c := 1 / math.Hypot(t, 1)
			turn := matrix3{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}
			turn[p][p], turn[q][q], turn[p][q], turn[q][p] = c, c, t*c, -t*c
			m = turn.transposed().times(m).times(turn)
			m[p][q], m[q][p] = 0, 0
			vectors = vectors.times(turn)
		}
	}
	return [3]float64{m[0][0], m[1][1], m[2][2]}, vectors
}

func (m matrix3) transposed() (o matrix3) {
	for i := range 3 {
		for j := range 3 {
			o[i][j] = m[j][i]
		}
	}
	return o
}
