package picture

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/transfer/picture/heif"
	"github.com/stylize-gpu/stylize/transfer/picture/icc"
)

// An AVIF comes back as it was, but for what the quality loses; with its alpha, its
// profile and its key, and with the same bytes whenever it is written.
func TestWriteAVIF(t *testing.T) {
	const w, h = 61, 45
	p := &Picture{W: w, H: h, RGB: make([]float32, 3*w*h)}
	for i := range w * h {
		x, y := float64(i%w)/w, float64(i/w)/h
		p.RGB[3*i], p.RGB[3*i+1], p.RGB[3*i+2] = float32(x), float32(0.5+0.4*math.Sin(9*x*y)), float32(y)
	}
	soft := &Picture{W: w, H: h, RGB: p.RGB, Alpha: make([]float32, w*h)}
	for i := range soft.Alpha {
		soft.Alpha[i] = float32(0.4 + 0.6*float64(i%w)/w)
	}
	key := strings.Repeat("5e", 32)
	for _, c := range []struct {
		name string
		p    *Picture
		o    SaveOptions
		psnr float64 // of the pixels; alpha takes digits of them
	}{
		{"quality 95", p, SaveOptions{}, 40},
		{"quality 60", p, SaveOptions{Quality: 60}, 33},
		{"422", p, SaveOptions{Quality: 95, Subsampling: "422"}, 38},
		{"a key", p, SaveOptions{Key: key}, 40},
		{"a profile", p, SaveOptions{Profile: icc.FromCode(12, 13)}, 38},
		{"a profile and a key", p, SaveOptions{Profile: icc.FromCode(12, 13), Key: key}, 38},
		{"alpha", soft, SaveOptions{}, 38},
		{"alpha, a profile, a key", soft, SaveOptions{Profile: icc.FromCode(12, 13), Key: key}, 36},
	} {
		b, err := c.p.Encode(AVIF, c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if again, err := c.p.Encode(AVIF, c.o); err != nil || !bytes.Equal(b, again) {
			t.Errorf("%s: other bytes the second time (%v)", c.name, err)
		}
		path := filepath.Join(t.TempDir(), "a.avif")
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		if k, err := ReadKey(path); err != nil || k != c.o.Key {
			t.Errorf("%s: key %q, %v", c.name, k, err)
		}
		in, err := heif.Read(b)
		if err != nil || in.W != w || in.H != h || in.Matrix != 6 || !in.FullRange {
			t.Errorf("%s: %+v, %v", c.name, in, err)
		}
		if c.o.Profile == nil && (in.Primaries != 1 || in.Transfer != 13 || in.ICC != nil) || c.o.Profile != nil && !bytes.Equal(in.ICC, c.o.Profile.Encode()) {
			t.Errorf("%s: it says that its colours are %d, %d, and has a profile of %d bytes", c.name, in.Primaries, in.Transfer, len(in.ICC))
		}
		s, err := Open(path, 0)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var sum, alpha float64
		px := make([]float32, 4*w)
		for y := range h {
			s.row(y, px)
			for x := range w {
				for k := range 3 {
					d := float64(px[4*x+k] - p.RGB[3*(y*w+x)+k])
					sum += d * d
				}
				want := float32(1)
				if c.p.Alpha != nil {
					want = c.p.Alpha[y*w+x]
				}
				alpha = max(alpha, math.Abs(float64(px[4*x+3]-want)))
			}
		}
		psnr := -10 * math.Log10(sum/(3*w*h))
		if psnr < c.psnr || alpha > 0.02 {
			t.Errorf("%s: %.1f dB, alpha is up to %.3f off", c.name, psnr, alpha)
		}
		t.Logf("%s: %d bytes, %.1f dB, alpha up to %.4f off", c.name, len(b), psnr, alpha)
	}
	if _, err := (&Picture{W: 1<<16 + 1, H: 1, RGB: make([]float32, 3*(1<<16+1))}).Encode(AVIF, SaveOptions{}); err == nil {
		t.Error("an AVIF of 65537 pixels is written")
	}
}
