package icc

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

const dir = "../../../testdata/icc"

func load(tb testing.TB, name string) *Profile {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name+".icc"))
	if err != nil {
		tb.Fatal(err)
	}
	p, err := Parse(b)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return p
}

// Every kind of profile gives littleCMS's colours, to a level of 8 bits and its
// rounding (tools/parity/colour.py made both).
func TestLittleCMS(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(dir, "lcms.json"))
	if err != nil {
		t.Fatal(err)
	}
	var table map[string]struct{ Device, SRGB [][]float64 }
	if err := json.Unmarshal(b, &table); err != nil {
		t.Fatal(err)
	}
	if len(table) < 12 {
		t.Fatalf("%d profiles", len(table))
	}
	for name, want := range table {
		t.Run(name, func(t *testing.T) {
			p, worst := load(t, name), 0.0
			if got := p.Channels(); got != len(want.Device[0]) {
				t.Fatalf("%d channels", got)
			}
			for i, d := range want.Device {
				px := make([]float32, 4)
				for c, v := range d {
					px[c] = float32(v) / 255
				}
				p.ToSRGB(px)
				for c, v := range want.SRGB[i] {
					diff := math.Abs(float64(px[c])*255 - v)
					worst = max(worst, diff)
					if diff > 1.1 {
						t.Errorf("%v is %.2f %.2f %.2f, littleCMS says %v", d, px[0]*255, px[1]*255, px[2]*255, want.SRGB[i])
						break
					}
				}
			}
			t.Logf("at most %.2f of 255", worst)
		})
	}
}

// A matrix profile leads there and back.
func TestBack(t *testing.T) {
	for _, name := range []string{"p3_v4", "adobe_v2", "table_curve", "prophoto_v2"} {
		p := load(t, name)
		if !p.Reversible() {
			t.Fatalf("%s cannot be reversed", name)
		}
		var in []float32
		for i := range 1000 {
			in = append(in, float32(i%10)/9, float32(i/10%10)/9, float32(i/100)/9, 0.5)
		}
		there := append([]float32{}, in...)
		p.FromSRGB(there)
		back := append([]float32{}, there...)
		p.ToSRGB(back)
		kept := 0
		for i := 0; i < len(in); i += 4 {
			if px := there[i : i+3]; min(px[0], px[1], px[2]) <= 0 || max(px[0], px[1], px[2]) >= 1 {
				continue // outside the profile
			}
			kept++
			for c := i; c < i+4; c++ {
				if d := back[c] - in[c]; d > 0.002 || d < -0.002 {
					t.Fatalf("%s: %v came back as %v", name, in[i:i+4], back[i:i+4])
				}
			}
		}
		if kept < 500 {
			t.Errorf("%s: only %d colours of 1000 lie in it", name, kept)
		}
	}
	if load(t, "mft2").Reversible() || load(t, "grey_v2").Reversible() {
		t.Error("a table claims to be reversible")
	}
}

func TestSRGBIsKnown(t *testing.T) {
	for name, p := range map[string]*Profile{
		"chroma and curve": FromChroma(SRGBChroma, 0), "its code": FromCode(1, 13), "television's code": FromCode(1, 1),
	} {
		if !p.SRGB() {
			t.Errorf("%s: not known as sRGB", name)
		}
	}
	for name, p := range map[string]*Profile{
		"Display P3": FromCode(12, 13), "gamma 2.2": FromChroma(SRGBChroma, 2.2), "PQ": FromCode(9, 16),
		"p3_v4": load(t, "p3_v4"), "cmyk": load(t, "cmyk_mft2"), "grey gamma 1.8": load(t, "grey_v2"),
	} {
		if p.SRGB() {
			t.Errorf("%s is taken for sRGB", name)
		}
	}
	if FromCode(2, 2) != nil || FromCode(1, 99) != nil || FromChroma(Chroma{}, 2.2) != nil || FromChroma(SRGBChroma, -1) != nil {
		t.Error("a profile of nonsense")
	}
}

// The codes mean known colours: P3 red as the ICC profile has it, white as white,
// and 203 cd/m² of PQ and 75 % of HLG as white.
func TestCodes(t *testing.T) {
	a, b := []float32{0.8, 0.3, 0.1, 1}, []float32{0.8, 0.3, 0.1, 1}
	FromCode(12, 13).ToSRGB(a)
	load(t, "p3_v4").ToSRGB(b)
	for c := range 3 {
		if d := a[c] - b[c]; d > 0.002 || d < -0.002 {
			t.Errorf("the code of Display P3 gives %v, its profile %v", a, b)
		}
	}
	for _, c := range []struct {
		primaries, transfer int
		white               float32
	}{{1, 8, 1}, {4, 4, 1}, {5, 5, 1}, {6, 6, 1}, {9, 14, 1}, {11, 13, 1}, {9, 16, 0.5807}, {9, 18, 0.75}} {
		px := []float32{c.white, c.white, c.white, 0}
		FromCode(c.primaries, c.transfer).ToSRGB(px)
		for i := range 3 {
			if math.Abs(float64(px[i])-1) > 0.002 {
				t.Errorf("white of %d/%d is %v", c.primaries, c.transfer, px)
				break
			}
		}
	}
}

// What is written reads back as the same colours; sRGB is small and is itself.
func TestEncode(t *testing.T) {
	p, err := Parse(SRGB())
	if err != nil || !p.SRGB() || len(SRGB()) > 500 {
		t.Errorf("sRGB: %d bytes, %v", len(SRGB()), err)
	}
	for name, p := range map[string]*Profile{"P3": FromCode(12, 13), "gamma 1.8": FromChroma(SRGBChroma, 1.8), "BT.2020": FromCode(9, 1)} {
		q, err := Parse(p.Encode())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range 1000 {
			a := []float32{float32(i%10) / 9, float32(i/10%10) / 9, float32(i/100) / 9, 1}
			b := append([]float32{}, a...)
			p.ToSRGB(a)
			q.ToSRGB(b)
			for c := range 3 {
				if d := math.Abs(float64(a[c] - b[c])); d > 0.003 {
					t.Fatalf("%s: %v became %v", name, a, b)
				}
			}
		}
	}
}

// Cut anywhere, or with any byte changed, a profile is an error or converts.
func TestDamaged(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(dir, "*.icc"))
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(b); i += 1 + i/4 {
			try(b[:i])
			c := append([]byte{}, b...)
			c[i] ^= 0xff
			try(c)
		}
	}
}

func try(b []byte) {
	if p, err := Parse(b); err == nil {
		px := []float32{0.1, 0.9, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0}
		p.ToSRGB(px)
		if p.Reversible() {
			p.FromSRGB(px)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.icc"))
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(_ *testing.T, b []byte) { try(b) })
}

func BenchmarkToSRGB(b *testing.B) {
	for _, name := range []string{"p3_v4", "mft2", "cmyk_mft2"} {
		p, px := load(b, name), make([]float32, 4*4096)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for i := range px {
					px[i] = float32(i*7919%4096) / 4095
				}
				p.ToSRGB(px)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/pixel")
		})
	}
}
