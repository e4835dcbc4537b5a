package kerneltest

import (
	"fmt"
	"math"
)

// Diff says how far got is from want.
type Diff struct {
	RelL2 float64 // |got-want| / |want|, or |got-want| where want is all zero
	Max   float64 // largest |got-want|
	At    int     // its index; the first element that is not finite, if any
	Bits  int     // elements that differ at all
	Bad   string  // set when the two cannot be compared: lengths, NaN, Inf
}

// Compare measures got against want. A value that is not finite on one side
// only makes the difference Bad, never small.
func Compare(got []float32, want []float64) Diff {
	d := Diff{At: -1}
	if len(got) != len(want) {
		d.Bad = fmt.Sprintf("length %d, want %d", len(got), len(want))
		return d
	}
	var num, den float64
	for i, w := range want {
		g := float64(got[i])
		if math.IsNaN(g) || math.IsInf(g, 0) || math.IsNaN(w) || math.IsInf(w, 0) {
			if g == w || (math.IsNaN(g) && math.IsNaN(w)) {
				continue
			}
			d.Bad, d.At = fmt.Sprintf("element %d is %v, want %v", i, g, w), i
			return d
		}
		if got[i] != float32(w) {
			d.Bits++
		}
		e := math.Abs(g - w)
		if e > d.Max {
			d.Max, d.At = e, i
		}
		num += e * e
		den += w * w
	}
	d.RelL2 = math.Sqrt(num)
	if den > 0 {
		d.RelL2 = math.Sqrt(num / den)
	}
	return d
}

// Within reports whether the difference is comparable and at most tol, relative
// L2; tol 0 wants the same value in every element.
func (d Diff) Within(tol float64) bool {
	if d.Bad != "" {
		return false
	}
	if tol == 0 {
		return d.Bits == 0
	}
	return d.RelL2 <= tol
}

func (d Diff) String() string {
	if d.Bad != "" {
		return d.Bad
	}
	return fmt.Sprintf("relative L2 %.3g, largest %.3g at %d, %d elements differ", d.RelL2, d.Max, d.At, d.Bits)
}
