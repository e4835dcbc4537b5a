package picture

import (
	"math"

	"github.com/stylize-gpu/stylize/transfer/picture/icc"
)

// lab is a colour in OKLab (Björn Ottosson, bottosson.github.io/posts/oklab): lightness,
// from 0 to 1, and two axes of colour, whose length is the chroma. Equal steps look
// about equal, and a change of chroma does not change how light a colour looks.
type lab [3]float64

// noChroma is what rounding leaves of the chroma of a grey.
const noChroma = 1e-6

// toLab converts sRGB in [0,1].
func toLab(rgb []float32) lab {
	r, g, b := icc.ToLinear(unit(rgb[0])), icc.ToLinear(unit(rgb[1])), icc.ToLinear(unit(rgb[2]))
	l := math.Cbrt(0.4122214708*r + 0.5363325363*g + 0.0514459929*b)
	m := math.Cbrt(0.2119034982*r + 0.6806995451*g + 0.1073969566*b)
	s := math.Cbrt(0.0883024619*r + 0.2817188376*g + 0.6299787005*b)
	return lab{
		0.2104542553*l + 0.7936177850*m - 0.0040720468*s,
		1.9779984951*l - 2.4285922050*m + 0.4505937099*s,
		0.0259040371*l + 0.7827717662*m - 0.8086757660*s,
	}
}

// linear is the colour in linear light, with the primaries of sRGB.
func (c lab) linear() (rgb [3]float64) {
	l := c[0] + 0.3963377774*c[1] + 0.2158037573*c[2]
	m := c[0] - 0.1055613458*c[1] - 0.0638541728*c[2]
	s := c[0] - 0.0894841775*c[1] - 1.2914855480*c[2]
	l, m, s = l*l*l, m*m*m, s*s*s
	return [3]float64{
		+4.0767416621*l - 3.3077115913*m + 0.2309699292*s,
		-1.2684380046*l + 2.6097574011*m - 0.3413193965*s,
		-0.0041960863*l - 0.7034186147*m + 1.7076147010*s,
	}
}

// toRGB converts to sRGB in [0,1]. A colour that sRGB does not have keeps its lightness
// and hue and gives up chroma: channels that are cut off would change both. A grey has
// three equal values.
func (c lab) toRGB() [3]float32 {
	c[0] = min(max(c[0], 0), 1)
	if c[0] == 0 || c[0] == 1 || math.Hypot(c[1], c[2]) < noChroma {
		v := clamp(float32(icc.FromLinear(c[0] * c[0] * c[0])))
		return [3]float32{v, v, v}
	}
	rgb := c.linear()
	if !inGamut(rgb) {
		lo, hi := 0.0, 1.0 // shares of the chroma: in gamut, and not
		rgb = lab{c[0]}.linear()
		for range 20 {
			t := (lo + hi) / 2
			if less := (lab{c[0], t * c[1], t * c[2]}).linear(); inGamut(less) {
				lo, rgb = t, less
			} else {
				hi = t
			}
		}
	}
	var out [3]float32
	for i, v := range rgb {
		out[i] = clamp(float32(icc.FromLinear(min(max(v, 0), 1))))
	}
	return out
}

// inGamut allows for the rounding of the matrices, whose digits are eight to ten, in
// proportion: of black there is none.
func inGamut(rgb [3]float64) bool {
	const eps = 1e-6
	most := max(rgb[0], rgb[1], rgb[2])
	return min(rgb[0], rgb[1], rgb[2]) >= -eps*most && most <= 1+eps
}

// WithChroma is a picture with the lightness of p and the hue and chroma of another, in
// OKLab. What of them sRGB does not have at that lightness is nearer to grey. Where the
// other is grey the result is exactly grey. Another of another extent is resampled to
// that of p; the alpha is that of p.
func (p *Picture) WithChroma(of *Picture) *Picture {
	of = of.Resize(p.W, p.H, Bicubic)
	out := &Picture{W: p.W, H: p.H, RGB: make([]float32, len(p.RGB)), Alpha: p.Alpha}
	parallel(p.H, func(lo, hi int) {
		for i := 3 * lo * p.W; i < 3*hi*p.W; i += 3 {
			colour := toLab(of.RGB[i:])
			colour[0] = toLab(p.RGB[i:])[0]
			rgb := colour.toRGB()
			copy(out.RGB[i:], rgb[:])
		}
	})
	return out
}
