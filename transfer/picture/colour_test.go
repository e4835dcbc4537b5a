package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"image"
	stdjpeg "image/jpeg"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stylize-gpu/stylize/transfer/picture/icc"
)

func profile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../testdata/icc", name+".icc"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// coloured checks that a picture of the chart comes out as p says, or as it is for nil.
func coloured(t *testing.T, name string, b []byte, p *icc.Profile, tol float64) {
	t.Helper()
	s, err := Decode(b, 0)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	got := s.Resize(24, 16, Bicubic)
	for q, c := range chart {
		px := []float32{c[0] / 255, c[1] / 255, c[2] / 255, 1}
		if p != nil {
			p.ToSRGB(px)
		}
		i := 3 * ((4+q/2*8)*24 + 6 + q%2*12)
		for c := range 3 {
			if d := math.Abs(float64(got.RGB[i+c]-px[c])) * 255; d > tol {
				t.Errorf("%s: quarter %d is %v, want %v", name, q, got.RGB[i:i+3], px[:3])
				break
			}
		}
	}
	if (s.Profile() != nil) != (p != nil) {
		t.Errorf("%s: has a profile: %v", name, s.Profile() != nil)
	}
}

func iccp(b []byte) []byte {
	var buf bytes.Buffer
	buf.WriteString("some name\x00\x00")
	z := zlib.NewWriter(&buf)
	z.Write(b)
	z.Close()
	return pngChunk("iCCP", buf.Bytes())
}

// app2 puts a profile into a JPEG, in pieces of n bytes.
func app2(b, profile []byte, n int) []byte {
	out := bytes.Clone(b[:2])
	pieces := (len(profile) + n - 1) / n
	for i := range pieces {
		seg := append([]byte("ICC_PROFILE\x00"), byte(i+1), byte(pieces))
		seg = append(seg, profile[i*n:min((i+1)*n, len(profile))]...)
		out = binary.BigEndian.AppendUint16(append(out, 0xff, 0xe2), uint16(len(seg)+2))
		out = append(out, seg...)
	}
	return append(out, b[2:]...)
}

// An embedded profile is honoured in every kind of file that has one.
func TestEmbeddedProfiles(t *testing.T) {
	p3 := profile(t, "p3_v4")
	lut := profile(t, "mft2")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	lossless, err := os.ReadFile("../../testdata/odd/animated.webp")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"a matrix": p3, "a table": lut} {
		p, err := icc.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		coloured(t, "PNG with "+name, chartPNG(t, iccp(b)), p, 0.5)
		coloured(t, "JPEG with "+name, app2(read("rgb.jpg"), b, 200), p, 6)
		coloured(t, "TIFF with "+name, tiffOf{order: binary.LittleEndian, bits: 16, photometric: 2, profile: b}.bytes(), p, 0.5)
		chunks := riffChunks(lossless[12:])
		chunks = append([]riff{chunks[0], {"ICCP", b}}, chunks[1:]...)
		coloured(t, "WebP with "+name, webpFile(chunks...), p, 0.5)
	}
	// A profile of another kind of colours says nothing; one of sRGB changes nothing.
	for _, name := range []string{"cmyk_mft2", "grey_v2"} {
		coloured(t, "PNG with "+name, chartPNG(t, iccp(profile(t, name))), nil, 0.1)
	}
	coloured(t, "PNG with a cut profile", chartPNG(t, iccp(p3[:200])), nil, 0.1)
	coloured(t, "JPEG without its second piece", app2(read("rgb.jpg"), p3[:200], 200), nil, 4)
}

// CMYK goes through its profile, and grey through a profile of grey or of RGB.
func TestProfilesOfOtherColours(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(dir, "cmyk.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	b = app2(b, profile(t, "cmyk_mft2"), 1000)
	s, err := Decode(b, 0)
	if err != nil || s.Profile() == nil || s.HasAlpha {
		t.Fatalf("CMYK: its profile is not used, or it has alpha (%v)", err)
	}
	p, err := icc.Parse(profile(t, "cmyk_mft2"))
	if err != nil {
		t.Fatal(err)
	}
	row := make([]float32, 4*24)
	if s.row(0, row); row[3] != 1 {
		t.Errorf("CMYK has the alpha %v", row[3])
	}
	ink := s.img.(*image.CMYK)
	got := s.Resize(24, 16, Bicubic)
	for i := range 24 * 16 {
		px := make([]float32, 4)
		for c := range px {
			px[c] = float32(ink.Pix[4*i+c]) / 255
		}
		p.ToSRGB(px)
		for c := range 3 {
			if d := math.Abs(float64(got.RGB[3*i+c] - px[c])); d > 1e-5 {
				t.Fatalf("CMYK pixel %d is %v, want %v", i, got.RGB[3*i:3*i+3], px)
			}
		}
	}
	m := image.NewGray(image.Rect(0, 0, 16, 16))
	for i := range m.Pix {
		m.Pix[i] = 100
	}
	var buf bytes.Buffer
	if err := stdjpeg.Encode(&buf, m, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"grey_v2", "adobe_v2"} {
		s, err := Decode(app2(buf.Bytes(), profile(t, name), 1000), 0)
		if err != nil {
			t.Fatal(err)
		}
		p, err := icc.Parse(profile(t, name))
		if err != nil {
			t.Fatal(err)
		}
		px := []float32{100.0 / 255, 100.0 / 255, 100.0 / 255, 1}
		p.ToSRGB(px)
		if got := s.Resize(1, 1, Bicubic); math.Abs(float64(got.RGB[0]-px[0])) > 1e-3 {
			t.Errorf("grey with %s is %v, want %v", name, got.RGB, px)
		}
	}
}

// PNG's own chunks, in their order of precedence.
func TestPNGColour(t *testing.T) {
	be := func(v ...uint32) (b []byte) {
		for _, x := range v {
			b = binary.BigEndian.AppendUint32(b, x)
		}
		return b
	}
	p3, err := icc.Parse(profile(t, "p3_v4"))
	if err != nil {
		t.Fatal(err)
	}
	adobe, err := icc.Parse(profile(t, "adobe_v2"))
	if err != nil {
		t.Fatal(err)
	}
	cicp := pngChunk("cICP", []byte{12, 13, 0, 1})
	srgb := pngChunk("sRGB", []byte{0})
	gama := pngChunk("gAMA", be(100000))
	chrm := pngChunk("cHRM", be(31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)) // Adobe RGB
	adobeGamma := pngChunk("gAMA", be(45470))
	linear := icc.FromChroma(icc.SRGBChroma, 1)
	for name, c := range map[string]struct {
		chunks [][]byte
		want   *icc.Profile
	}{
		"cICP":                       {[][]byte{cicp}, p3},
		"cICP before iCCP":           {[][]byte{iccp(profile(t, "adobe_v2")), cicp}, p3},
		"cICP that says nothing":     {[][]byte{pngChunk("cICP", []byte{2, 2, 0, 1}), iccp(profile(t, "adobe_v2"))}, adobe},
		"cICP of video":              {[][]byte{pngChunk("cICP", []byte{12, 13, 0, 0})}, nil},
		"cICP of sRGB before gAMA":   {[][]byte{pngChunk("cICP", []byte{1, 13, 0, 1}), gama}, nil},
		"iCCP before sRGB":           {[][]byte{srgb, iccp(profile(t, "p3_v4"))}, p3},
		"sRGB before gAMA":           {[][]byte{gama, chrm, srgb}, nil},
		"gAMA 1":                     {[][]byte{gama}, linear},
		"gAMA as everybody writes":   {[][]byte{pngChunk("gAMA", be(45455)), pngChunk("cHRM", be(31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))}, nil},
		"gAMA of nothing":            {[][]byte{pngChunk("gAMA", be(0))}, nil},
		"cHRM of nonsense":           {[][]byte{pngChunk("cHRM", be(1, 2, 3, 4, 5, 6, 7, 8))}, nil},
		"cHRM with a wrong checksum": {[][]byte{append(bytes.Clone(chrm[:len(chrm)-1]), 0)}, nil},
		"cHRM":                       {[][]byte{adobeGamma, chrm}, icc.FromChroma(icc.Chroma{White: [2]float64{0.3127, 0.3290}, Red: [2]float64{0.64, 0.33}, Green: [2]float64{0.21, 0.71}, Blue: [2]float64{0.15, 0.06}}, 0)},
	} {
		coloured(t, name, chartPNG(t, c.chunks...), c.want, 0.6)
	}
}

// Results say that they are sRGB, or come in the profile that was asked for.
func TestResultsAreTagged(t *testing.T) {
	s, err := Decode(chartPNG(t, iccp(profile(t, "p3_v4"))), 0)
	if err != nil {
		t.Fatal(err)
	}
	p := s.Resize(s.W, s.H, Bicubic)
	tmp := t.TempDir()
	for _, name := range []string{"out.png", "out.jpg", "out.webp", "out.tif"} {
		path := filepath.Join(tmp, name)
		if err := p.Save(path, SaveOptions{Metadata: "made"}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if tag := map[string]string{"out.png": "sRGB\x01", "out.jpg": "ICC_PROFILE", "out.webp": "ICCP", "out.tif": "acsp"}[name]; !bytes.Contains(b, []byte(tag)) {
			t.Errorf("%s says nothing of its colours", name)
		}
		if s, err := Decode(b, 0); err != nil || s.Profile() != nil {
			t.Errorf("%s is not read as sRGB (%v)", name, err)
		}
		if err := p.Save(path, SaveOptions{Profile: s.Profile(), Metadata: "made", Bits: 16}); err != nil {
			t.Fatal(err)
		}
		kept, err := Open(path, 0)
		if err != nil {
			t.Fatal(err)
		}
		if kept.Profile() == nil {
			t.Errorf("%s has lost the profile", name)
		}
		q := kept.Resize(p.W, p.H, Bicubic)
		for i, v := range p.RGB {
			if d := math.Abs(float64(v - q.RGB[i])); d > map[string]float64{"out.png": 0.001, "out.jpg": 0.08, "out.webp": 0.012, "out.tif": 0.001}[name] {
				t.Fatalf("%s in its profile: value %d is %v, was %v", name, i, q.RGB[i], v)
			}
		}
		if name == "out.png" {
			if text, err := ReadText(path); err != nil || text != "made" {
				t.Errorf("its text is %q, %v", text, err)
			}
		}
	}
}

// Lossless formats give back what they got, with its transparency.
func TestLosslessOutputs(t *testing.T) {
	p := &Picture{W: 37, H: 23, RGB: make([]float32, 3*37*23)}
	for i := range p.RGB {
		p.RGB[i] = float32(i*7919%65536) / 65535
	}
	alpha := &Picture{W: p.W, H: p.H, RGB: p.RGB, Alpha: make([]float32, p.W*p.H)}
	for i := range alpha.Alpha {
		alpha.Alpha[i] = float32(1+i%255) / 255
	}
	for _, c := range []struct {
		name string
		bits int
		p    *Picture
	}{
		{"a.png", 8, p},
		{"a.webp", 8, p},
		{"a.tif", 8, p},
		{"a.tiff", 16, p},
		{"a.png", 16, p},
		{"b.png", 8, alpha},
		{"b.webp", 8, alpha},
		{"b.tif", 8, alpha},
		{"b.tif", 16, alpha},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := c.p.Save(path, SaveOptions{Bits: c.bits}); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, 0)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		px, top := make([]float32, 4*s.W), float64(int(1)<<c.bits-1)
		for y := range s.H {
			s.row(y, px)
			for i, v := range px {
				want := float32(1)
				if at := y*s.W + i/4; i%4 < 3 {
					want = c.p.RGB[3*at+i%4]
				} else if c.p.Alpha != nil {
					want = c.p.Alpha[at]
				}
				if d := math.Abs(float64(v - want)); d > 0.501/top {
					t.Fatalf("%s of %d bits: value %d of row %d is %v, was %v", c.name, c.bits, i, y, v, want)
				}
			}
		}
	}
	if err := (&Picture{W: 1<<14 + 1, H: 1, RGB: make([]float32, 3*(1<<14+1))}).Save(filepath.Join(t.TempDir(), "x.webp"), SaveOptions{}); err == nil {
		t.Error("a WebP of 16385 pixels is written")
	}
}

// From quality 90 on a JPEG keeps all of its chroma.
func TestSubsampling(t *testing.T) {
	s, err := Decode(chartPNG(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	p := s.Resize(s.W, s.H, Bicubic)
	for _, c := range []struct {
		o    SaveOptions
		want byte // of the luma in SOF0
	}{
		{SaveOptions{}, 0x11},
		{SaveOptions{Quality: 90}, 0x11},
		{SaveOptions{Quality: 89}, 0x22},
		{SaveOptions{Quality: 50, Subsampling: "444"}, 0x11},
		{SaveOptions{Subsampling: "420"}, 0x22},
		{SaveOptions{Subsampling: "422"}, 0x21},
	} {
		path := filepath.Join(t.TempDir(), "out.jpg")
		if err := p.Save(path, c.o); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sof := bytes.Index(b, []byte{0xff, 0xc0, 0, 17})
		if sof < 0 || b[sof+11] != c.want {
			t.Errorf("%+v: sampling %#x, want %#x", c.o, b[sof+11], c.want)
		}
	}
}
