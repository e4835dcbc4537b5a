package picture

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// Colours whose OKLab others have published: white, and the primaries as CSS Color 4 and
// colour science libraries give them.
func TestOKLab(t *testing.T) {
	for _, c := range []struct {
		rgb  []float32
		want lab
	}{
		{[]float32{0, 0, 0}, lab{0, 0, 0}},
		{[]float32{1, 1, 1}, lab{1, 0, 0}},
		{[]float32{1, 0, 0}, lab{0.62796, 0.22486, 0.12585}},
		{[]float32{0, 1, 0}, lab{0.86644, -0.23389, 0.17950}},
		{[]float32{0, 0, 1}, lab{0.45201, -0.03246, -0.31153}},
		{[]float32{0.5, 0.5, 0.5}, lab{0.59818, 0, 0}},
	} {
		got := toLab(c.rgb)
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 1e-5 {
				t.Errorf("%v: %v, want %v", c.rgb, got, c.want)
			}
		}
	}
}

// Every colour of 8 bits comes back, to the bits of 16; a grey as one.
func TestOKLabBack(t *testing.T) {
	for r := 0; r < 256; r += 15 {
		for g := 0; g < 256; g += 15 {
			for b := 0; b < 256; b += 15 {
				in := []float32{float32(r) / 255, float32(g) / 255, float32(b) / 255}
				out := toLab(in).toRGB()
				for i := range 3 {
					if math.Abs(float64(in[i]-out[i])) > 1./65535 {
						t.Fatalf("%v comes back as %v", in, out)
					}
				}
				if r == g && g == b && (out[0] != out[1] || out[1] != out[2]) {
					t.Fatalf("grey %v comes back as %v", in, out)
				}
			}
		}
	}
}

// Chroma that sRGB does not have is given up; lightness and hue stay, and no more is
// given up than must be.
func TestGamut(t *testing.T) {
	outside := 0
	for _, l := range []float64{0.008, 0.05, 0.3, 0.5, 0.7, 0.95} {
		for turn := range 24 {
			hue := float64(turn) * math.Pi / 12
			in := lab{l, 0.3 * math.Cos(hue), 0.3 * math.Sin(hue)}
			if inGamut(in.linear()) {
				continue
			}
			outside++
			rgb := in.toRGB()
			got := toLab(rgb[:])
			chroma := math.Hypot(got[1], got[2])
			if math.Abs(got[0]-l) > 1e-4 {
				t.Errorf("lightness %v became %v", l, got[0])
			}
			if along := (got[1]*math.Cos(hue) + got[2]*math.Sin(hue)) / chroma; chroma > 0.01 && along < 1-1e-4 {
				t.Errorf("L %v: hue %v became %v", l, hue, math.Atan2(got[2], got[1]))
			}
			if least, most := min(rgb[0], rgb[1], rgb[2]), max(rgb[0], rgb[1], rgb[2]); least > 1e-3 && most < 1-1e-3 {
				t.Errorf("L %v, hue %v: %v is not at the rim", l, hue, rgb)
			}
		}
	}
	if outside < 60 {
		t.Errorf("only %d colours lie outside", outside)
	}
	for _, l := range []float64{-0.1, 0, 1, 1.2} {
		if rgb := (lab{l, 0.1, 0.2}).toRGB(); rgb != [3]float32{clamp(float32(l)), clamp(float32(l)), clamp(float32(l))} {
			t.Errorf("L %v: %v", l, rgb)
		}
	}
}

func TestWithChroma(t *testing.T) {
	p, of := gradient(23, 17, true), gradient(23, 17, false)
	slices.Reverse(of.RGB)
	keep := slices.Clone(p.RGB)
	got := p.WithChroma(of)
	if !slices.Equal(got.Alpha, p.Alpha) || !slices.Equal(p.RGB, keep) {
		t.Error("the alpha is another, or the picture was changed")
	}
	for i := 0; i < len(got.RGB); i += 3 {
		g, l, c := toLab(got.RGB[i:]), toLab(p.RGB[i:]), toLab(of.RGB[i:])
		if math.Abs(g[0]-l[0]) > 1e-4 {
			t.Fatalf("pixel %d: lightness %v, want %v", i/3, g[0], l[0])
		}
		if d := g[1]*c[2] - g[2]*c[1]; math.Abs(d) > 1e-4 || math.Hypot(g[1], g[2]) > math.Hypot(c[1], c[2])+1e-4 {
			t.Fatalf("pixel %d: colour %v, want that of %v", i/3, g, c)
		}
	}
	near(t, "of itself", p.WithChroma(p).RGB, doubles(p.RGB), 1e-4)

	// Of a grey picture, and of one of another extent, it is grey to the bit.
	for _, e := range [][2]int{{23, 17}, {5, 40}} {
		grey := gradient(e[0], e[1], false)
		for i := range grey.RGB {
			grey.RGB[i] = grey.RGB[i/3*3]
		}
		got := p.WithChroma(grey).RGB
		for i, v := range got {
			if g := got[i/3*3]; v != g {
				t.Fatalf("%v: pixel %d is not grey: %v, %v", e, i/3, g, v)
			}
		}
	}
	black := &Picture{W: 1, H: 1, RGB: []float32{0, 0, 0}}
	red := &Picture{W: 1, H: 1, RGB: []float32{1, 0, 0}}
	if got := black.WithChroma(red); fmt.Sprint(got.RGB) != "[0 0 0]" {
		t.Errorf("black with the chroma of red: %v", got.RGB)
	}
	if got := red.WithChroma(black); got.RGB[0] != got.RGB[1] || math.Abs(toLab(got.RGB)[0]-0.62796) > 1e-5 {
		t.Errorf("red without chroma: %v", got.RGB)
	}
}

func doubles(v []float32) (d []float64) {
	for _, x := range v {
		d = append(d, float64(x))
	}
	return d
}

func BenchmarkWithChroma(b *testing.B) {
	p, of := gradient(512, 384, false), gradient(512, 384, false)
	slices.Reverse(of.RGB)
	for b.Loop() {
		p.WithChroma(of)
	}
}
