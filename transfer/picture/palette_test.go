package picture

import (
	"math"
	"reflect"
	"testing"
)

// patches is a picture of some colours, each in so many pixels, and scattered.
func patches(colours [][3]float32, count []int) *Picture {
	var list [][3]float32
	for k, c := range colours {
		for range count[k] {
			list = append(list, c)
		}
	}
	p := &Picture{W: len(list), H: 1}
	for i := range list {
		c := list[i*7919%len(list)] // 7919 is a prime that divides no length used here
		p.RGB = append(p.RGB, c[0], c[1], c[2])
	}
	return p
}

func closeTo(a, b [3]float32, tol float64) bool {
	for c := range 3 {
		if !(math.Abs(float64(a[c]-b[c])) <= tol) {
			return false
		}
	}
	return true
}

// Colours that are few come back as they are, the most frequent first.
func TestPalette(t *testing.T) {
	colours := [][3]float32{{0.1, 0.2, 0.7}, {0.9, 0.8, 0.1}, {0.5, 0.5, 0.5}, {1, 0, 0}, {0, 0, 0}}
	count := []int{500, 300, 120, 40, 4}
	p := patches(colours, count)
	for _, n := range []int{5, 9} {
		got := p.Palette(n)
		if len(got) != 5 {
			t.Fatalf("%d colours: %v", len(got), got)
		}
		for k, c := range colours {
			if !closeTo(got[k], c, 1e-3) {
				t.Errorf("colour %d is %v, want %v", k, got[k], c)
			}
		}
		if g := got[2]; g[0] != g[1] || g[1] != g[2] {
			t.Errorf("a grey is %v", g)
		}
	}
	if got := p.Palette(2); len(got) != 2 || !closeTo(got[1], colours[1], 0.1) {
		t.Errorf("two colours: %v", got)
	}
	if got := p.Palette(0); len(got) != 0 {
		t.Errorf("no colours: %v", got)
	}
	alike := patches([][3]float32{{0.499, 0.499, 0.499}, {0.501, 0.501, 0.501}}, []int{30, 10})
	if got := alike.Palette(4); len(got) != 1 || !closeTo(got[0], [3]float32{0.4995, 0.4995, 0.4995}, 1e-3) {
		t.Errorf("colours that nobody tells apart: %v", got)
	}
	g := gradient(97, 61, true)
	if a, b := g.Palette(8), g.Palette(8); len(a) != 8 || !reflect.DeepEqual(a, b) {
		t.Errorf("%v, then %v", a, b)
	}
}

// What is hidden is no colour of it, and what is half visible counts half.
func TestPaletteAlpha(t *testing.T) {
	p := &Picture{W: 4, H: 1, RGB: []float32{1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1}, Alpha: []float32{1, 0.4, 0.4, 0}}
	got := p.Palette(4)
	if len(got) != 2 || !closeTo(got[0], [3]float32{1, 0, 0}, 1e-3) || !closeTo(got[1], [3]float32{0, 1, 0}, 1e-3) {
		t.Errorf("%v", got)
	}
	p.Alpha = make([]float32, 4)
	if got := p.Palette(3); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// No centre can be moved so that the colours lie nearer: each is the mean of its own.
func TestPaletteIsMeans(t *testing.T) {
	p := cloud(64, 48, 9, [3]float64{0.5, 0.5, 0.5}, [3]float64{0.8, 0.5, 0.6}, false)
	got := p.Palette(6)
	if len(got) != 6 {
		t.Fatalf("%v", got)
	}
	var centres []lab
	for _, c := range got {
		centres = append(centres, toLab(c[:]))
	}
	sum, n := make([]lab, 6), make([]float64, 6)
	for _, q := range p.colours() {
		k := nearest(centres, q.lab)
		n[k] += q.weight
		for c := range 3 {
			sum[k][c] += q.weight * q.lab[c]
		}
	}
	for k := range 6 {
		if d := math.Sqrt(sum[k].over(n[k]).distance(centres[k])); d > 0.004 {
			t.Errorf("centre %d is %v from the mean of its own", k, d)
		}
		if k > 0 && n[k] > 1.1*n[k-1] {
			t.Errorf("%v are not in order", n)
		}
	}
}
