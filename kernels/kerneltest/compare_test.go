package kerneltest

import (
	"math"
	"testing"
)

// A comparator that accepts NaN accepts every broken kernel.
func TestCompareRefuses(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name string
		got  []float32
		want []float64
		tol  float64
		ok   bool
	}{
		{"equal", []float32{1, -2}, []float64{1, -2}, 0, true},
		{"one ulp off, exact", []float32{1, math.Nextafter32(2, 3)}, []float64{1, 2}, 0, false},
		{"one ulp off, 1e-6", []float32{1, math.Nextafter32(2, 3)}, []float64{1, 2}, 1e-6, true},
		{"NaN for a number", []float32{1, float32(nan)}, []float64{1, 2}, 1e30, false},
		{"number for NaN", []float32{1, 2}, []float64{1, nan}, 1e30, false},
		{"NaN for NaN", []float32{1, float32(nan)}, []float64{1, nan}, 0, true},
		{"Inf for a number", []float32{float32(inf)}, []float64{1}, 1e30, false},
		{"-Inf for Inf", []float32{float32(-inf)}, []float64{inf}, 1e30, false},
		{"-0 for 0", []float32{float32(math.Copysign(0, -1))}, []float64{0}, 0, true},
		{"length", []float32{1}, []float64{1, 2}, 1e30, false},
		{"want all zero", []float32{1e-3}, []float64{0}, 1e-4, false},
		{"empty", nil, nil, 0, true},
	} {
		if got := Compare(c.got, c.want); got.Within(c.tol) != c.ok {
			t.Errorf("%s: within %g is %v: %v", c.name, c.tol, !c.ok, got)
		}
	}
}
