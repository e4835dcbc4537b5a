package cpu

import (
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
)

// Every loop on random operands: this build's function, cut into blocks for several
// threads, against the plain-Go twin on a picture at once. With C that compares the
// two languages, without it the cut with none.
func TestLoopsAgainstTwins(t *testing.T) {
	if len(table) == 0 {
		t.Fatal("no loops")
	}
	set := Sets()[0]
	pool := set.NewPool(3, -1)
	defer pool.Close()
	for _, l := range table {
		t.Run(l.name, func(t *testing.T) {
			if l.twin == nil {
				t.Fatal("no twin in elementwise.go")
			}
			if c := reflect.ValueOf(l.c); c.Kind() == reflect.Pointer && c.IsNil() {
				t.Fatal("no line in the table of elementwise.c")
			}
			// Odd extents; the last has several blocks of every unit, and its rows are longer than a block.
			for _, e := range [][3]int{{2, 2, 1}, {7, 5, 3}, {33, 70, 64}, {5, 250, 160}} {
				testLoop(t, pool, l, e[0], e[1], e[2])
			}
		})
	}
}

func testLoop(t *testing.T, pool *Pool, l *Loop, h, w, c int) {
	t.Helper()
	const pictures = 2
	r := rand.New(rand.NewPCG(uint64(h), uint64(w)))
	got, want := make([]Args, pictures), make([]Args, pictures)
	var before [pictures][][]float32
	for n := range got {
		got[n] = Args{
			H: h, W: w, C: c, Scale: 0.7, Mean: make([]float32, c), Std: make([]float32, c),
			Adam: NewAdamStep(0.1, 0.9, 0.999, 1e-8, 3, n), // clamps after, and before
			Pad:  min(h, w) - 1, Wrap: n == 1,
		}
		for i := range c {
			got[n].Mean[i], got[n].Std[i] = r.Float32(), r.Float32()+0.1
		}
		want[n] = got[n]
		theirs := tensors(&want[n])
		for i, s := range tensors(&got[n]) {
			size := (h + 2*got[n].Pad) * (w + 2*got[n].Pad) * c
			*s = Alloc(size)
			*theirs[i] = make([]float32, size)
			t.Cleanup(func() { Free(*s) })
			for j := range *s {
				(*s)[j] = 2*r.Float32() - 1
			}
		}
		for i, v := range got[n].V {
			got[n].V[i] = v * v
		}
		// A value that Adam leaves alone, infinite when squared. The first lies in a
		// picture's last block, the second in its first.
		got[n].Gradient[(h*w*c-1)*(1-n)] = 1e30
		for i, s := range tensors(&got[n]) {
			copy(*theirs[i], *s)
			before[n] = append(before[n], slices.Clone(*s))
		}
	}

	sums := pool.Loop(l, got...)
	if len(sums) != pictures*l.sums {
		t.Fatalf("%d sums, want %d of each of %d pictures", len(sums), l.sums, pictures)
	}
	idle := true
	for n := range want {
		units, _ := l.cut.units(&want[n])
		wantSums := make([]float64, l.sums)
		l.twin(&want[n], 0, units, wantSums)
		for i, s := range wantSums { // the order of the terms differs
			if d := math.Abs(sums[n*l.sums+i] - s); !(d <= 1e-12*math.Abs(s)) {
				t.Errorf("%dx%dx%d picture %d: sum %d is %v, the twin's %v", h, w, c, n, i, sums[n*l.sums+i], s)
			}
			idle = idle && s == 0
		}
		mine, theirs := tensors(&got[n]), tensors(&want[n])
		for i := range mine {
			idle = idle && slices.Equal(*theirs[i], before[n][i])
			for j, v := range *mine[i] {
				if u := (*theirs[i])[j]; math.Float32bits(v) != math.Float32bits(u) && !contracted(v, u) {
					t.Fatalf("%dx%dx%d picture %d: value %d of %s is %v, the twin's %v", h, w, c, n, j, tensorNames[i], v, u)
				}
			}
		}
	}
	if idle {
		t.Error("the twin computes nothing")
	}
}

var tensorNames = []string{"x", "y", "dx", "dy", "a", "b", "target", "mask", "gradient", "m", "v", "average"}

func tensors(a *Args) []*[]float32 {
	return []*[]float32{&a.X, &a.Y, &a.DX, &a.DY, &a.A, &a.B, &a.Target, &a.Mask, &a.Gradient, &a.M, &a.V, &a.Average}
}

// contracted reports whether two values differ by no more than a C compiler may
// make of a product and a sum where a processor has both in one instruction
// without being asked: not on amd64.
func contracted(v, u float32) bool {
	return runtime.GOARCH != "amd64" && math.Abs(float64(v-u)) <= 1e-6
}
