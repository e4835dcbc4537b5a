//go:build !cgo

package cpu

import (
	"math"
	"runtime"
)

// Loops is the plain-Go version of every loop, for builds without a C compiler.
type Loops struct {
	Name string
	nr   int
	mr   int
}

// HasWinograd says whether the build has the Winograd loops and those of the
// first layer; without them every convolution is direct.
const HasWinograd = false

// Compiler names what the loops were compiled with: the bits of results depend
// on it.
func Compiler() string { return "Go " + runtime.GOARCH }

// Alloc returns n zeroed values, or nil when there is no memory. Free gives
// them back.
func Alloc(n int) []float32 { return make([]float32, n) }

// Free releases what Alloc returned; the slice must not be used afterwards.
func Free([]float32) {}

// Sets returns the versions that this build can run, the best first.
func Sets() []*Loops { return []*Loops{{Name: "go", nr: 4, mr: 1}} }

// conv3x3 computes rows [row0,row1) of y = conv3x3(x) (+ bias), then ReLU if
// relu. x is H x W x C, y H x W x K. Four output channels and two pixels at a
// time keep eight sums in registers.
func (l *Loops) conv3x3(y, x []float32, w *Weights, h, width int, relu bool, row0, row1 int) {
	for k0 := 0; k0 < w.K; k0 += 4 {
		wp := w.data[k0*9*w.C:]
		var b [4]float32
		if w.bias != nil {
			copy(b[:], w.bias[k0:k0+4])
		}
		kn := min(4, w.K-k0)
		for p := row0; p < row1; p++ {
			for q := 0; q < width; q++ {
				s0, s1, s2, s3 := b[0], b[1], b[2], b[3]
				for r := max(0, 1-p); r < min(3, h+1-p); r++ {
					for s := max(0, 1-q); s < min(3, width+1-q); s++ {
						xs := x[((p+r-1)*width+q+s-1)*w.C:][:w.C]
						ws := wp[(r*3+s)*w.C*4:][:w.C*4]
						for c, v := range xs {
							u := ws[4*c : 4*c+4 : 4*c+4]
							s0 += float32(u[0] * v)
							s1 += float32(u[1] * v)
							s2 += float32(u[2] * v)
							s3 += float32(u[3] * v)
						}
					}
				}
				out := [4]float32{s0, s1, s2, s3}
				if relu {
					for i, v := range out {
						if v < 0 {
							out[i] = 0
						}
					}
				}
				copy(y[(p*width+q)*w.K+k0:], out[:kn])
			}
		}
	}
}

// gemm computes pixels [p0,p1) of y = f s, with s packed by PackMatrix.
func (l *Loops) gemm(y, f, s []float32, c, p0, p1 int) {
	for k0 := 0; k0 < c; k0 += 4 {
		sp := s[k0*c:]
		for p := p0; p < p1; p++ {
			var a [4]float32
			for j, v := range f[p*c:][:c] {
				u := sp[4*j : 4*j+4 : 4*j+4]
				a[0] += float32(u[0] * v)
				a[1] += float32(u[1] * v)
				a[2] += float32(u[2] * v)
				a[3] += float32(u[3] * v)
			}
			copy(y[p*c+k0:], a[:min(4, c-k0)])
		}
	}
}

// gram computes g[i][j] = sum over pixels [p0,p1) of f[p][i] f[p][j] for i in
// [i0,i1) and j in [i0,C), in chains of 256 pixels.
func (l *Loops) gram(g, f []float32, c, i0, i1, p0, p1 int) {
	for i := i0; i < i1; i++ {
		clear(g[i*c+i0 : (i+1)*c])
	}
	sum := make([]float32, c)
	for b := p0; b < p1; b += 256 {
		e := min(b+256, p1)
		for i := i0; i < i1; i++ {
			clear(sum)
			for p := b; p < e; p++ {
				row := f[p*c : (p+1)*c]
				a := row[i]
				if a == 0 { // half of a ReLU's outputs
					continue
				}
				for j := i0; j < c; j++ {
					sum[j] += float32(a * row[j])
				}
			}
			gi := g[i*c : (i+1)*c]
			for j := i0; j < c; j++ {
				gi[j] += sum[j]
			}
		}
	}
}

// normalize is y = (x - mean[c]) / std[c].
func (l *Loops) normalize(y, x, mean, std []float32) {
	c := len(mean)
	for i, v := range x {
		y[i] = (v - mean[i%c]) / std[i%c]
	}
}

// relu is y = max(x, 0).
func (l *Loops) relu(y, x []float32) {
	for i, v := range x {
		if v < 0 {
			v = 0
		}
		y[i] = v
	}
}

// reluGrad is dx = dy where y > 0, else 0.
func (l *Loops) reluGrad(dx, dy, y []float32) {
	for i, v := range y {
		g := dy[i]
		if !(v > 0) {
			g = 0
		}
		dx[i] = g
	}
}

// add is y = a + b.
func (l *Loops) add(y, a, b []float32) {
	for i, v := range a {
		y[i] = v + b[i]
	}
}

// avgPool computes rows [row0,row1) of y from x, H x W x C.
func (l *Loops) avgPool(y, x []float32, h, w, c, row0, row1 int) {
	q := w / 2
	for p := row0; p < row1; p++ {
		for j := range q {
			a, o := (2*p*w+2*j)*c, (p*q+j)*c
			b := a + w*c
			for i := range c {
				y[o+i] = (x[a+i] + x[a+c+i] + x[b+i] + x[b+c+i]) * 0.25
			}
		}
	}
}

// avgPoolGrad computes rows [row0,row1) of dx, H x W x C.
func (l *Loops) avgPoolGrad(dx, dy []float32, h, w, c, row0, row1 int) {
	for y := row0; y < row1; y++ {
		for x := range w {
			o := dx[(y*w+x)*c:][:c]
			if y/2 >= h/2 || x/2 >= w/2 {
				clear(o)
				continue
			}
			g := dy[(y/2*(w/2)+x/2)*c:][:c]
			for i, v := range g {
				o[i] = v * 0.25
			}
		}
	}
}

// sumSqDiff is sum (a-b)^2.
func (l *Loops) sumSqDiff(a, b []float32) (sum float64) {
	for i, v := range a {
		d := float64(v) - float64(b[i])
		sum += float64(d * d)
	}
	return sum
}

// scaledDiff is y = k (a - b).
func (l *Loops) scaledDiff(y, a, b []float32, k float32) {
	for i, v := range a {
		y[i] = k * (v - b[i])
	}
}

// tv sums the absolute differences to the right and below of rows [row0,row1).
func (l *Loops) tv(x []float32, h, w, c, row0, row1 int) (sum float64) {
	row := w * c
	for y := row0; y < row1; y++ {
		p := x[y*row:]
		for i := range row {
			if i+c < row {
				sum += math.Abs(float64(p[i+c] - p[i]))
			}
			if y+1 < h {
				sum += math.Abs(float64(p[i+row] - p[i]))
			}
		}
	}
	return sum
}

// tvGrad computes rows [row0,row1) of dx = k * (sum of signs of differences).
func (l *Loops) tvGrad(dx, x []float32, h, w, c int, k float32, row0, row1 int) {
	row := w * c
	for y := row0; y < row1; y++ {
		for j := range row {
			i := y*row + j
			var s float32
			if y > 0 {
				s += sign(x[i] - x[i-row])
			}
			if y+1 < h {
				s += sign(x[i] - x[i+row])
			}
			if j >= c {
				s += sign(x[i] - x[i-c])
			}
			if j+c < row {
				s += sign(x[i] - x[i+c])
			}
			dx[i] = k * s
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

// adam takes one step on a range of values; see gpu.AdamParams for the formula.
func (l *Loops) adam(x, m, v, g []float32, a AdamStep) {
	for i, gi := range g {
		if sq := gi * gi; sq-sq != 0 { // would make the second moment infinite: leave the value alone
			continue
		}
		xi := x[i]
		if a.Clamp == 1 {
			xi = min(max(xi, 0), 1)
		}
		mi := m[i] + float32((gi-m[i])*a.OneMinusBeta1)
		vi := float32(v[i]*a.Beta2) + float32(float32(a.OneMinusBeta2*gi)*gi)
		xi -= float32(a.StepSize*mi) / (float32(math.Sqrt(float64(vi)))/a.SqrtC2 + a.Eps)
		if a.Clamp == 0 {
			xi = min(max(xi, 0), 1)
		}
		x[i], m[i], v[i] = xi, mi, vi
	}
}

// stats adds sum x and sum (x-center)^2 to s and clears s[2] when the square
// of a value of g is not finite.
func (l *Loops) stats(x, g []float32, center float64, s *[3]float64) {
	for i, v := range x {
		d := float64(v) - center
		s[0] += float64(v)
		s[1] += float64(d * d)
		if sq := g[i] * g[i]; sq-sq != 0 {
			s[2] = 0
		}
	}
}
