package icc

import (
	"errors"
	"math"
	"sort"
	"sync"
)

// curve is a function of [0,1], as equally spaced values with lines between them.
// A formula also holds beyond.
type curve struct {
	v []float32
	f func(float64) float64 // nil for a table
}

func (c curve) at(x float32) float32 {
	n := len(c.v) - 1
	if !(x > 0 && x < 1) {
		switch {
		case c.f != nil && x != 0 && x != 1 && x == x:
			return float32(c.f(float64(x)))
		case x >= 1:
			return c.v[n]
		}
		return c.v[0]
	}
	f := x * float32(n)
	i := int(f)
	if i >= n {
		return c.v[n]
	}
	f -= float32(i)
	return c.v[i] + (c.v[i+1]-c.v[i])*f
}

// fine is how many values a formula is tabulated at: every value of 16 bits, so
// of 8 bits too, is one of them.
const fine = 65536

// formula tabulates a function.
func formula(f func(float64) float64, n int) curve {
	c := curve{make([]float32, n), f}
	for i := range c.v {
		if v := f(float64(i) / float64(n-1)); v == v {
			c.v[i] = float32(v)
		}
	}
	return c
}

// clipped tabulates a function whose values end at 0 and 1.
func clipped(f func(float64) float64, n int) curve {
	c := formula(func(x float64) float64 { return min(max(f(x), 0), 1) }, n)
	c.f = nil
	return c
}

// inverted is the inverse of a curve that does not fall.
func (c curve) inverted() curve {
	up := make([]float32, len(c.v)) // made monotonous
	for i, v := range c.v {
		up[i] = v
		if i > 0 {
			up[i] = max(v, up[i-1])
		}
	}
	return clipped(func(y float64) float64 {
		i := sort.Search(len(up), func(i int) bool { return float64(up[i]) >= y })
		switch {
		case i == 0:
			return 0
		case i == len(up):
			return 1
		}
		lo, hi := float64(up[i-1]), float64(up[i])
		return (float64(i-1) + (y-lo)/(hi-lo)) / float64(len(up)-1)
	}, fine)
}

// readCurve reads a curv or para tag, and says how many bytes it took.
func readCurve(t reader) (curve, int, error) {
	if len(t) < 12 {
		return curve{}, 0, errors.New("a colour profile without its curve")
	}
	switch string(t[:4]) {
	case "curv":
		n := be32(t[8:])
		if n == 0 {
			return curve{[]float32{0, 1}, func(x float64) float64 { return x }}, 12, nil
		}
		v, err := numbers(t, 12, n, 2)
		if err != nil {
			return curve{}, 0, err
		}
		if n == 1 { // one number is an exponent, 8.8 bits
			g := float64(be16(t[12:])) / 256
			return formula(func(x float64) float64 { return math.Pow(max(x, 0), g) }, fine), 14, nil
		}
		return curve{v: v}, 12 + 2*n, nil
	case "para":
		kind := be16(t[8:])
		if kind > 4 {
			return curve{}, 0, errors.New("a colour profile with an unknown curve")
		}
		n := []int{1, 3, 4, 5, 7}[kind]
		b, err := t.at(12, 4*n)
		if err != nil {
			return curve{}, 0, err
		}
		var q [7]float64 // g a b c d e f
		for i := range n {
			q[i] = fixed(b[4*i:])
		}
		return formula(parametric(kind, q), fine), 12 + 4*n, nil
	}
	return curve{}, 0, errors.New("a colour profile with an unknown curve")
}

// parametric is a formula of ICC.1, table 68.
func parametric(kind int, q [7]float64) func(float64) float64 {
	g, a, b, c, d, e, f := q[0], q[1], q[2], q[3], q[4], q[5], q[6]
	pow := func(x float64) float64 { return math.Pow(max(a*x+b, 0), g) }
	switch kind {
	case 0:
		return func(x float64) float64 { return math.Pow(max(x, 0), g) }
	case 1, 2: // c is added on both sides of -b/a; type 1 has none
		return func(x float64) float64 {
			if a*x+b >= 0 {
				return pow(x) + c
			}
			return c
		}
	}
	return func(x float64) float64 { // type 3 has neither e nor f
		if x >= d {
			return pow(x) + e
		}
		return c*x + f
	}
}

const encodePoints = 4097

// The curve of sRGB, IEC 61966-2-1. A run without profiles does not tabulate it.
// Encoding takes any value, so its table is one that stays in the cache: lines
// between 4097 points are within 2e-5 of it.
var (
	srgbDecode = sync.OnceValue(func() curve { return clipped(ToLinear, fine) })
	srgbEncode = sync.OnceValue(func() curve { return clipped(FromLinear, encodePoints) })
)

// ToLinear decodes a value of sRGB, in [0,1], to linear light.
func ToLinear(x float64) float64 {
	if x <= 0.04045 {
		return x / 12.92
	}
	return math.Pow((x+0.055)/1.055, 2.4)
}

// FromLinear encodes linear light, in [0,1], as sRGB.
func FromLinear(x float64) float64 {
	if x <= 0.0031308 {
		return x * 12.92
	}
	return 1.055*math.Pow(x, 1/2.4) - 0.055
}
