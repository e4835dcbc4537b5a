package icc

import "math"

// mat is a matrix of colours.
type mat [3][3]float64

func (m mat) times(n mat) (o mat) {
	for i := range 3 {
		for j := range 3 {
			o[i][j] = m[i][0]*n[0][j] + m[i][1]*n[1][j] + m[i][2]*n[2][j]
		}
	}
	return o
}

func (m mat) on(v [3]float64) (o [3]float64) {
	for i := range 3 {
		o[i] = m[i][0]*v[0] + m[i][1]*v[1] + m[i][2]*v[2]
	}
	return o
}

func (m mat) inverted() (o mat) {
	minor := func(i, j int) float64 {
		a, b, c, d := (i+1)%3, (i+2)%3, (j+1)%3, (j+2)%3
		return m[a][c]*m[b][d] - m[a][d]*m[b][c]
	}
	det := m[0][0]*minor(0, 0) + m[0][1]*minor(0, 1) + m[0][2]*minor(0, 2)
	for i := range 3 {
		for j := range 3 {
			o[j][i] = minor(i, j) / det
		}
	}
	return o
}

func (m mat) float32() (o [3][3]float32) {
	for i := range 3 {
		for j := range 3 {
			o[i][j] = float32(m[i][j])
		}
	}
	return o
}

// Chroma are the chromaticities of a white and three primaries, x and y of each.
type Chroma struct{ White, Red, Green, Blue [2]float64 }

// SRGBChroma are those of sRGB.
var SRGBChroma = Chroma{d65, [2]float64{0.64, 0.33}, [2]float64{0.30, 0.60}, [2]float64{0.15, 0.06}}

var (
	d65 = [2]float64{0.3127, 0.3290}
	d50 = [3]float32{0.9642, 1, 0.8249} // the white of the connection space

	xyzToSRGB   = SRGBChroma.matrix().inverted()
	xyzToSRGB32 = xyzToSRGB.float32()
)

func xyz(c [2]float64) [3]float64 { return [3]float64{c[0] / c[1], 1, (1 - c[0] - c[1]) / c[1]} }

// matrix takes linear values to XYZ, adapted to D50 by Bradford's method.
func (c Chroma) matrix() mat {
	var m mat
	for j, p := range [][2]float64{c.Red, c.Green, c.Blue} {
		v := xyz(p)
		for i := range 3 {
			m[i][j] = v[i]
		}
	}
	white := xyz(c.White)
	s := m.inverted().on(white) // so that 1, 1, 1 is white
	for i := range 3 {
		for j := range 3 {
			m[i][j] *= s[j]
		}
	}
	bradford := mat{{0.8951, 0.2664, -0.1614}, {-0.7502, 1.7135, 0.0367}, {0.0389, -0.0685, 1.0296}}
	from, to := bradford.on(white), bradford.on([3]float64{float64(d50[0]), 1, float64(d50[2])})
	var scale mat
	for i := range 3 {
		scale[i][i] = to[i] / from[i]
	}
	return bradford.inverted().times(scale).times(bradford).times(m)
}

// valid reports whether the primaries span colours at all.
func (c Chroma) valid() bool {
	for _, p := range [][2]float64{c.White, c.Red, c.Green, c.Blue} {
		if !(p[1] > 0.001) || p[0] < 0 || p[0]+p[1] > 1.001 {
			return false
		}
	}
	area := (c.Green[0]-c.Red[0])*(c.Blue[1]-c.Red[1]) - (c.Green[1]-c.Red[1])*(c.Blue[0]-c.Red[0])
	return math.Abs(area) > 0.01
}

// FromChroma is the profile of primaries and a gamma (the exponent that makes the
// values linear; 0 is sRGB's curve), or nil where the primaries are nonsense.
func FromChroma(c Chroma, gamma float64) *Profile {
	if gamma == 0 {
		return fromCurve(c, srgbDecode())
	}
	if !(gamma > 0.1 && gamma < 10) {
		return nil
	}
	return fromCurve(c, clipped(func(x float64) float64 { return math.Pow(x, gamma) }, fine))
}

func fromCurve(c Chroma, cv curve) *Profile {
	if !c.valid() {
		return nil
	}
	p := &Profile{channels: 3, curves: [3]curve{cv, cv, cv}, toLinear: xyzToSRGB.times(c.matrix())}
	p.prepare()
	return p
}

// FromCode is the profile of two code points of ITU-T H.273 (as PNG's cICP chunk
// and HEIF's nclx have them), or nil for those that say nothing or are unknown.
// What is brighter than white in HDR codes (PQ, HLG) is white.
func FromCode(primaries, transfer int) *Profile {
	c := Chroma{White: d65}
	switch primaries {
	case 1:
		c = SRGBChroma
	case 4:
		c = Chroma{[2]float64{0.310, 0.316}, [2]float64{0.67, 0.33}, [2]float64{0.21, 0.71}, [2]float64{0.14, 0.08}}
	case 5:
		c.Red, c.Green, c.Blue = [2]float64{0.64, 0.33}, [2]float64{0.29, 0.60}, [2]float64{0.15, 0.06}
	case 6, 7:
		c.Red, c.Green, c.Blue = [2]float64{0.630, 0.340}, [2]float64{0.310, 0.595}, [2]float64{0.155, 0.070}
	case 9:
		c.Red, c.Green, c.Blue = [2]float64{0.708, 0.292}, [2]float64{0.170, 0.797}, [2]float64{0.131, 0.046}
	case 11:
		c = Chroma{[2]float64{0.314, 0.351}, [2]float64{0.680, 0.320}, [2]float64{0.265, 0.690}, [2]float64{0.150, 0.060}}
	case 12:
		c.Red, c.Green, c.Blue = [2]float64{0.680, 0.320}, [2]float64{0.265, 0.690}, [2]float64{0.150, 0.060}
	default:
		return nil
	}
	switch transfer {
	case 1, 6, 14, 15, 13: // television's curves are shown like sRGB's, as browsers do
		return fromCurve(c, srgbDecode())
	case 4:
		return FromChroma(c, 2.2)
	case 5:
		return FromChroma(c, 2.8)
	case 8:
		return FromChroma(c, 1)
	case 16:
		return fromCurve(c, clipped(pq, fine))
	case 18:
		return fromCurve(c, clipped(hlg, fine))
	}
	return nil
}

// pq is SMPTE ST 2084 with white at 203 cd/m² (ITU-R BT.2408).
func pq(x float64) float64 {
	const m1, m2, c1, c2, c3 = 2610.0 / 16384, 2523.0 / 32, 3424.0 / 4096, 2413.0 / 128, 2392.0 / 128
	e := math.Pow(x, 1/m2)
	return 10000.0 / 203 * math.Pow(max(e-c1, 0)/(c2-c3*e), 1/m1)
}

// hlg is ARIB STD-B67 with white at its 75 %.
func hlg(x float64) float64 {
	const a, b, c = 0.17883277, 0.28466892, 0.55991073
	l := x * x / 3
	if x > 0.5 {
		l = (math.Exp((x-c)/a) + b) / 12
	}
	const white = 0.26496256 // of 0.75
	return l / white
}
