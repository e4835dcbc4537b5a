//go:build !cgo

package cpu

import "runtime"

// Loops is the plain-Go version of the convolutions and products, for builds
// without a C compiler.
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

func alloc(n int) []float32 { return make([]float32, n) }

// Free releases what Alloc returned; the slice must not be used afterwards.
func Free([]float32) {}

// Fences is false: Go checks every access by itself.
func Fences() bool { return false }

// Fence does nothing.
func Fence([]float32, bool) {}

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
