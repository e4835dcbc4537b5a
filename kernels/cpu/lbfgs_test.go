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
		for _, c := range []struct{ n, history int }{{3, 1}, {300, 4}, {5001, 7}, {40000, 32}} {
			r := rand.New(rand.NewPCG(uint64(c.n), 1))
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
				X: fresh(c.n), G: fresh(c.n), A: fresh(c.n), GA: fresh(c.n), D: fresh(c.n), S: fresh(slots * c.n), Y: fresh(slots * c.n),
				History: c.history, next: c.history / 2, accept: c.n%2 == 0, by: 0.3, coef: make([]float32, 2*slots+1),
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
			tensors := func(l *LBFGS) []*[]float32 { return []*[]float32{&l.X, &l.G, &l.A, &l.GA, &l.D, &l.S, &l.Y} }
			for _, v := range tensors(&want) {
				*v = slices.Clone(*v)
			}
			for pass, width := range map[lbfgsPass]int{lbfgsProducts: got.products() + extraSums, lbfgsDirection: 1, lbfgsStep: 0} {
				const size = 4096
				blocks := (c.n + size - 1) / size
				out, all := make([]float64, blocks*width), make([]float64, width)
				pool.lbfgs(&got, pass, size, out, width)
				want.pass(pass, 0, c.n, all)
				for i, w := range all {
					sum, scale := 0.0, 1.0
					for b := range blocks {
						if pass == lbfgsDirection || i == width-1 { // the largest
							sum = max(sum, out[b*width+i])
						} else {
							sum += out[b*width+i]
						}
						scale += float64(c.n) / 100
					}
					if !(math.Abs(sum-w) <= 1e-6*scale+1e-5*math.Abs(w)) {
						t.Fatalf("%s, %d values, history %d, pass %d: sum %d is %v, the twin's %v", set.Name, c.n, c.history, pass, i, sum, w)
					}
				}
				for i, v := range tensors(&got) {
					for j, x := range *v {
						if w := (*tensors(&want)[i])[j]; !(math.Abs(float64(x-w)) <= 2e-6) {
							t.Fatalf("%s, %d values, history %d, pass %d: value %d of tensor %d is %v, the twin's %v", set.Name, c.n, c.history, pass, j, i, x, w)
						}
					}
				}
			}
		}
		pool.Close()
	}
}
