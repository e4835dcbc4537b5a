package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Each pass of this build, cut into blocks for several threads, against the plain-Go
// twin on all values at once.
func TestLBFGSAgainstTwin(t *testing.T) {
	for _, set := range Sets() {
		pool := set.NewPool(3, -1)
		for _, c := range []struct{ h, w, history int }{{1, 1, 1}, {3, 5, 2}, {6, 17, 4}, {66, 33, 7}, {41, 130, 7}, {100, 132, 32}} {
			n := 3 * c.h * c.w
			r := rand.New(rand.NewPCG(uint64(n), 1))
			slots := c.history + 1
			fresh := func(n int) []float32 {
				v := Alloc(n)
				t.Cleanup(func() { Free(v) })
				for i := range v {
					v[i] = 1.4*r.Float32() - 0.2
				}
				return v
			}
			got := LBFGS{
				X: fresh(n), G: fresh(n), A: fresh(n), GA: fresh(n), D: fresh(n), S: fresh(slots * n), Y: fresh(slots * n), Z: fresh(n),
				Width: c.w, History: c.history, next: c.history / 2, smooth: 0.7, accept: n%2 == 0, by: 0.3, slope: 0.2, coef: make([]float32, 2*slots+1),
			}
			for i := range got.G {
				got.G[i] -= 0.5
				got.GA[i] -= 0.5
			}
			for i := range got.coef {
				got.coef[i] = r.Float32() - 0.5
			}
			got.coef[0] = 0
			want := got
			tensors := func(l *LBFGS) []*[]float32 { return []*[]float32{&l.X, &l.G, &l.A, &l.GA, &l.D, &l.S, &l.Y, &l.Z} }
			for _, v := range tensors(&want) {
				*v = slices.Clone(*v)
			}
			for pass, width := range map[lbfgsPass]int{lbfgsProducts: got.products() + extraSums, lbfgsDirection: 1, lbfgsStep: 0} {
				size := 3 * c.w * 7 // rows
				blocks := (n + size - 1) / size
				out, all := make([]float64, blocks*width), make([]float64, width)
				pool.lbfgs(&got, pass, size, out, width)
				want.pass(pass, 0, n, all)
				for i, w := range all {
					sum, scale := 0.0, 1.0
					largest := pass == lbfgsDirection || pass == lbfgsProducts && i == got.products()+sumMost
					for b := range blocks {
						if largest {
							sum = max(sum, out[b*width+i])
						} else {
							sum += out[b*width+i]
						}
						scale += float64(n) / 100
					}
					if !(math.Abs(sum-w) <= 1e-6*scale+1e-5*math.Abs(w)) {
						t.Fatalf("%s, %dx%d, history %d, pass %d: sum %d is %v, the twin's %v", set.Name, c.w, c.h, c.history, pass, i, sum, w)
					}
				}
				for i, v := range tensors(&got) {
					for j, x := range *v {
						if w := (*tensors(&want)[i])[j]; !(math.Abs(float64(x-w)) <= 2e-6) {
							t.Fatalf("%s, %dx%d, history %d, pass %d: value %d of tensor %d is %v, the twin's %v", set.Name, c.w, c.h, c.history, pass, j, i, x, w)
						}
					}
				}
			}
		}
		pool.Close()
	}
}
