package cpu

import "math"

// The loops: one row each.
var (
	NormalizeFwd  = newLoop("normalize_fwd", pixels, 0, normalizeFwd)     // y = (x - mean[c]) / std[c]
	NormalizeBwd  = newLoop("normalize_bwd", pixels, 0, normalizeBwd)     // dx = dy / std[c]
	ReLUFwd       = newLoop("relu_fwd", values, 0, reluFwd)               // y = max(x, 0)
	ReLUBwd       = newLoop("relu_bwd", values, 0, reluBwd)               // dx = dy where y > 0, else 0
	Add           = newLoop("add", values, 0, add)                        // y = a + b
	Mul           = newLoop("mul", pixels, 0, mul)                        // y = x mask, one value of the mask a pixel
	PadFwd        = newLoop("pad_fwd", paddedRows, 0, padFwd)             // y = x, continued by pad pixels beyond every border
	PadBwd        = newLoop("pad_bwd", rows, 0, padBwd)                   // dx = sum of dy at all places that read the pixel
	AvgPool2x2Fwd = newLoop("avgpool2x2_fwd", rowPairs, 0, avgPool2x2Fwd) // y = mean of 2x2 windows of x, an odd last row and column dropped
	AvgPool2x2Bwd = newLoop("avgpool2x2_bwd", rows, 0, avgPool2x2Bwd)     // dx = dy/4 in the window, 0 in a dropped row or column
	MaxPool2x2Fwd = newLoop("maxpool2x2_fwd", rowPairs, 0, maxPool2x2Fwd) // y = maximum of 2x2 windows of x, an odd last row and column dropped
	MaxPool2x2Bwd = newLoop("maxpool2x2_bwd", rows, 0, maxPool2x2Bwd)     // dx = dy at the first maximum of the window in x, 0 elsewhere
	MSEFwd        = newLoop("mse_fwd", values, 1, mseFwd)                 // sum (x - target)^2
	MSEBwd        = newLoop("mse_bwd", values, 0, mseBwd)                 // dx = scale (x - target)
	TVFwd         = newLoop("tv_fwd", rows, 1, tvFwd)                     // sum of the absolute differences of neighbours in x
	TVBwd         = newLoop("tv_bwd", rows, 0, tvBwd)                     // dx = scale * (sum of signs of differences)
	Adam          = newLoop("adam", values, 0, adam)                      // a step on x, m, v by gradient; see gpu.AdamParams for the formula
	Average       = newLoop("average", values, 0, average)                // average += (x - average) scale; x itself where scale is 1
	Record        = newLoop("record", values, 3, record)                  // sum x, sum (x - 0.5)^2, how many squares of gradient are not finite
)

// The twins of elementwise.c in plain Go: what a build without C runs, and what
// the tests of both builds compare with.

func normalizeFwd(a *Args, i0, i1 int, _ []float64) {
	c := a.C
	x, y := a.X[i0*c:i1*c], a.Y[i0*c:i1*c]
	for i, v := range x {
		y[i] = (v - a.Mean[i%c]) / a.Std[i%c]
	}
}

func normalizeBwd(a *Args, i0, i1 int, _ []float64) {
	c := a.C
	dy, dx := a.DY[i0*c:i1*c], a.DX[i0*c:i1*c]
	for i, v := range dy {
		dx[i] = v / a.Std[i%c]
	}
}

func mul(a *Args, i0, i1 int, _ []float64) {
	c := a.C
	x, y := a.X[i0*c:i1*c], a.Y[i0*c:i1*c]
	for i, m := range a.Mask[i0:i1] {
		for j := i * c; j < (i+1)*c; j++ {
			y[j] = x[j] * m
		}
	}
}

// padSource is which of n rows or columns lies at i, from -pad to n-1+pad.
func padSource(i, n int, wrap bool) int {
	switch {
	case i < 0 && wrap:
		return i + n
	case i < 0:
		return -i
	case i >= n && wrap:
		return i - n
	case i >= n:
		return 2*(n-1) - i
	}
	return i
}

func padFwd(a *Args, i0, i1 int, _ []float64) {
	w, c, p := a.W, a.C, a.Pad
	row := (w + 2*p) * c
	for r := i0; r < i1; r++ {
		x, y := a.X[padSource(r-p, a.H, a.Wrap)*w*c:][:w*c], a.Y[r*row:][:row]
		copy(y[p*c:], x)
		for s := range p {
			copy(y[s*c:][:c], x[padSource(s-p, w, a.Wrap)*c:])
			copy(y[(p+w+s)*c:][:c], x[padSource(w+s, w, a.Wrap)*c:])
		}
	}
}

func padBwd(a *Args, i0, i1 int, _ []float64) {
	h, w, c, p := a.H, a.W, a.C, a.Pad
	row := (w + 2*p) * c
	for y := i0; y < i1; y++ {
		dx := a.DX[y*w*c:][:w*c]
		clear(dx)
		// The rows that read this one: before the picture, its own, behind it.
		before, behind := p-y, 2*(h-1)-y+p
		if a.Wrap {
			before, behind = y-h+p, y+h+p
		}
		if before >= p {
			before = -1
		}
		if behind < h+p || behind >= h+2*p {
			behind = -1
		}
		for _, r := range [3]int{before, y + p, behind} {
			if r < 0 {
				continue
			}
			dy := a.DY[r*row:][:row]
			for s := range p {
				addTo(dx[padSource(s-p, w, a.Wrap)*c:][:c], dy[s*c:])
			}
			addTo(dx, dy[p*c:])
			for s := p + w; s < w+2*p; s++ {
				addTo(dx[padSource(s-p, w, a.Wrap)*c:][:c], dy[s*c:])
			}
		}
	}
}

func addTo(sum, v []float32) {
	for i := range sum {
		sum[i] += v[i]
	}
}

func reluFwd(a *Args, i0, i1 int, _ []float64) {
	x, y := a.X[i0:i1], a.Y[i0:i1]
	for i, v := range x {
		if v < 0 {
			v = 0
		}
		y[i] = v
	}
}

func reluBwd(a *Args, i0, i1 int, _ []float64) {
	dy, y, dx := a.DY[i0:i1], a.Y[i0:i1], a.DX[i0:i1]
	for i, v := range y {
		g := dy[i]
		if !(v > 0) {
			g = 0
		}
		dx[i] = g
	}
}

func add(a *Args, i0, i1 int, _ []float64) {
	s, t, y := a.A[i0:i1], a.B[i0:i1], a.Y[i0:i1]
	for i, v := range s {
		y[i] = v + t[i]
	}
}

func avgPool2x2Fwd(a *Args, i0, i1 int, _ []float64) {
	x, y, w, c := a.X, a.Y, a.W, a.C
	q := w / 2
	for p := i0; p < i1; p++ {
		for j := range q {
			up, o := (2*p*w+2*j)*c, (p*q+j)*c
			down := up + w*c
			for i := range c {
				y[o+i] = (x[up+i] + x[up+c+i] + x[down+i] + x[down+c+i]) * 0.25
			}
		}
	}
}

func avgPool2x2Bwd(a *Args, i0, i1 int, _ []float64) {
	h, w, c := a.H, a.W, a.C
	for y := i0; y < i1; y++ {
		for x := range w {
			o := a.DX[(y*w+x)*c:][:c]
			if y/2 >= h/2 || x/2 >= w/2 {
				clear(o)
				continue
			}
			g := a.DY[(y/2*(w/2)+x/2)*c:][:c]
			for i, v := range g {
				o[i] = v * 0.25
			}
		}
	}
}

// firstMax is which value of a 2x2 window is its first maximum, row by row; a NaN is
// larger than any number.
func firstMax(v [4]float32) (where int) {
	for i, f := range v {
		if f > v[where] || f != f {
			where = i
		}
	}
	return where
}

func maxPool2x2Fwd(a *Args, i0, i1 int, _ []float64) {
	x, y, w, c := a.X, a.Y, a.W, a.C
	q := w / 2
	for p := i0; p < i1; p++ {
		for j := range q {
			up, o := (2*p*w+2*j)*c, (p*q+j)*c
			down := up + w*c
			for i := range c {
				v := [4]float32{x[up+i], x[up+c+i], x[down+i], x[down+c+i]}
				y[o+i] = v[firstMax(v)]
			}
		}
	}
}

func maxPool2x2Bwd(a *Args, i0, i1 int, _ []float64) {
	h, w, c := a.H, a.W, a.C
	for y := i0; y < i1; y++ {
		for x := range w {
			o := a.DX[(y*w+x)*c:][:c]
			if y/2 >= h/2 || x/2 >= w/2 {
				clear(o)
				continue
			}
			g := a.DY[(y/2*(w/2)+x/2)*c:][:c]
			up := (y/2*2*w + x/2*2) * c
			down, here := up+w*c, y%2*2+x%2
			for i, v := range g {
				if firstMax([4]float32{a.X[up+i], a.X[up+c+i], a.X[down+i], a.X[down+c+i]}) != here {
					v = 0
				}
				o[i] = v
			}
		}
	}
}

func mseFwd(a *Args, i0, i1 int, sums []float64) {
	x, target := a.X[i0:i1], a.Target[i0:i1]
	var sum float64
	for i, v := range x {
		d := float64(v) - float64(target[i])
		sum += float64(d * d)
	}
	sums[0] = sum
}

func mseBwd(a *Args, i0, i1 int, _ []float64) {
	x, target, dx := a.X[i0:i1], a.Target[i0:i1], a.DX[i0:i1]
	for i, v := range x {
		dx[i] = a.Scale * (v - target[i])
	}
}

func tvFwd(a *Args, i0, i1 int, sums []float64) {
	c, row := a.C, a.W*a.C
	var sum float64
	for y := i0; y < i1; y++ {
		p := a.X[y*row:]
		for i := range row {
			if i+c < row {
				sum += math.Abs(float64(p[i+c] - p[i]))
			}
			if y+1 < a.H {
				sum += math.Abs(float64(p[i+row] - p[i]))
			}
		}
	}
	sums[0] = sum
}

func tvBwd(a *Args, i0, i1 int, _ []float64) {
	x, c, row := a.X, a.C, a.W*a.C
	for y := i0; y < i1; y++ {
		for j := range row {
			i := y*row + j
			var s float32
			if y > 0 {
				s += sign(x[i] - x[i-row])
			}
			if y+1 < a.H {
				s += sign(x[i] - x[i+row])
			}
			if j >= c {
				s += sign(x[i] - x[i-c])
			}
			if j+c < row {
				s += sign(x[i] - x[i+c])
			}
			a.DX[i] = a.Scale * s
		}
	}
}

func sign(v float32) float32 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}

func adam(a *Args, i0, i1 int, _ []float64) {
	x, m, v, s := a.X[i0:i1], a.M[i0:i1], a.V[i0:i1], a.Adam
	for i, g := range a.Gradient[i0:i1] {
		if sq := g * g; sq-sq != 0 { // would make the second moment infinite: leave the value alone
			continue
		}
		xi := x[i]
		if s.Clamp == 1 {
			xi = min(max(xi, 0), 1)
		}
		mi := m[i] + float32((g-m[i])*s.OneMinusBeta1)
		vi := float32(v[i]*s.Beta2) + float32(float32(s.OneMinusBeta2*g)*g)
		xi -= float32(s.StepSize*mi) / (float32(math.Sqrt(float64(vi)))/s.SqrtC2 + s.Eps)
		if s.Clamp == 0 {
			xi = min(max(xi, 0), 1)
		}
		x[i], m[i], v[i] = xi, mi, vi
	}
}

func average(a *Args, i0, i1 int, _ []float64) {
	x, mean := a.X[i0:i1], a.Average[i0:i1]
	if a.Scale == 1 { // whatever the average was
		copy(mean, x)
		return
	}
	for i, v := range x {
		mean[i] += float32((v - mean[i]) * a.Scale)
	}
}

func record(a *Args, i0, i1 int, sums []float64) {
	x, g := a.X[i0:i1], a.Gradient[i0:i1]
	var s, q, bad float64
	for i, v := range x {
		d := float64(v) - 0.5
		s += float64(v)
		q += float64(d * d)
		if sq := g[i] * g[i]; sq-sq != 0 {
			bad++
		}
	}
	sums[0], sums[1], sums[2] = s, q, bad
}
