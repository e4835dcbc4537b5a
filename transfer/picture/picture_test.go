package picture

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/tools/cost"
	"github.com/stylize-gpu/stylize/transfer/picture/heif"
)

const dir = "../../testdata/pictures"

// chart is what every file shows: four quarters.
var chart = [4][3]float32{{220, 30, 40}, {30, 190, 60}, {40, 60, 210}, {230, 210, 50}}

func load(t *testing.T, name string) (*Source, *Picture) {
	t.Helper()
	s, err := Open(filepath.Join(dir, name), DefaultMaxPixels)
	if err != nil {
		t.Fatal(err)
	}
	return s, s.Resize(s.W, s.H, Bicubic)
}

// Every kind of file shows the same chart, the right way up.
func TestFormats(t *testing.T) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Run(e.Name(), func(t *testing.T) {
			s, p := load(t, e.Name())
			if s.W != 24 || s.H != 16 {
				t.Fatalf("%dx%d, want 24x16", s.W, s.H)
			}
			grey := strings.Contains(e.Name(), "grey") || strings.Contains(e.Name(), "bilevel")
			tol := float32(4)
			switch {
			case strings.Contains(e.Name(), "cmyk"), strings.Contains(e.Name(), "lossy"), strings.Contains(e.Name(), "progressive"), strings.Contains(e.Name(), "rgba"), strings.Contains(e.Name(), "alpha"):
				tol = 14 // subsampled colour, or 8-bit colour divided by a small alpha
			}
			if wantAlpha := strings.Contains(e.Name(), "alpha") || e.Name() == "rgba.png"; s.HasAlpha != wantAlpha {
				t.Errorf("alpha %v, want %v", s.HasAlpha, wantAlpha)
			}
			if e.Name() == "grey16.png" || e.Name() == "bilevel.png" {
				return // other contents; see below
			}
			for q, want := range chart {
				x, y := 18-12*((q+1)%2), 4+8*(q/2) // the middle of a quarter
				if s.HasAlpha && x < 12 {
					x = 9
				}
				i := y*p.W + x
				for c := range 3 {
					got, want := p.RGB[3*i+c]*255, want[c]
					if grey {
						w := chart[q]
						want = 0.299*w[0] + 0.587*w[1] + 0.114*w[2]
					}
					if d := got - want; d < -tol || d > tol {
						t.Errorf("quarter %d channel %d is %.0f, want %.0f", q, c, got, want)
					}
				}
				if s.HasAlpha {
					if got, want := p.Alpha[i]*255, float32(x)*255/23; math.Abs(float64(got-want)) > 1.5 {
						t.Errorf("alpha at %d is %.1f, want %.1f", x, got, want)
					}
				}
			}
		})
	}
}

// 16 bits are kept in and out.
func TestSixteenBits(t *testing.T) {
	_, p := load(t, "grey16.png")
	for i := range p.W * p.H {
		if got, want := p.RGB[3*i]*65535, float32(i*170); math.Abs(float64(got-want)) > 0.01 {
			t.Fatalf("value %d is %v, want %v", i, got, want)
		}
	}
	path := filepath.Join(t.TempDir(), "out.png")
	if err := p.Save(path, SaveOptions{Bits: 16}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	q := s.Resize(s.W, s.H, Bicubic)
	for i := range p.RGB {
		if p.RGB[i] != q.RGB[i] {
			t.Fatalf("value %d came back as %v, was %v", i, q.RGB[i], p.RGB[i])
		}
	}
}

func TestSaveKeepsAlphaAndText(t *testing.T) {
	_, p := load(t, "rgba.png")
	tmp := t.TempDir()
	path := filepath.Join(tmp, "out.png")
	const text = `{"a":"ü\u0000 <>"}`
	if err := p.Save(path, SaveOptions{Metadata: text}); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadText(path); err != nil || got != text {
		t.Errorf("text came back as %q, %v", got, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(bytes.NewReader(b)); err != nil {
		t.Errorf("another decoder refuses the file: %v", err)
	}
	s, err := Decode(b, 0)
	if err != nil {
		t.Fatal(err)
	}
	q := s.Resize(s.W, s.H, Bicubic)
	for i := range p.Alpha {
		if math.Abs(float64(p.Alpha[i]-q.Alpha[i])) > 1.0/510+1e-6 {
			t.Fatalf("alpha %d is %v, was %v", i, q.Alpha[i], p.Alpha[i])
		}
	}
	jpg := filepath.Join(tmp, "out.jpg") // no alpha there: laid on white
	if err := p.Save(jpg, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err = Open(jpg, 0)
	if err != nil {
		t.Fatal(err)
	}
	if w := s.Resize(s.W, s.H, Bicubic); w.RGB[0] < 0.95 || w.RGB[1] < 0.95 {
		t.Errorf("a transparent corner became %v in a JPEG", w.RGB[:3])
	}
}

// Transparent pixels do not bleed when shrinking.
func TestAlphaDoesNotBleed(t *testing.T) {
	p := &Picture{W: 8, H: 8, RGB: make([]float32, 192), Alpha: make([]float32, 64)}
	for i := range 64 {
		if i%8 < 4 { // left half: opaque red; right half: invisible green
			p.RGB[3*i], p.Alpha[i] = 1, 1
		} else {
			p.RGB[3*i+1] = 1
		}
	}
	for i, q := 0, p.Resize(3, 3, Bilinear); i < 9; i++ {
		if q.Alpha[i] > 0.01 && (q.RGB[3*i] < 0.99 || q.RGB[3*i+1] > 0.01) {
			t.Errorf("pixel %d became %v with alpha %v", i, q.RGB[3*i:3*i+3], q.Alpha[i])
		}
	}
}

// A style shows the mean of its visible colours where it is transparent.
func TestFillTransparent(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		c := color.NRGBA{200, 100, 0, 255}
		switch {
		case i < 32 && i%2 == 1:
			c = color.NRGBA{100, 200, 0, 255}
		case i >= 32: // hidden
			c = color.NRGBA{0, 0, 255, 0}
		}
		m.SetNRGBA(i%8, i/8, c)
	}
	decode := func() *Source {
		var buf bytes.Buffer
		if err := png.Encode(&buf, m); err != nil {
			t.Fatal(err)
		}
		s, err := Decode(buf.Bytes(), 0)
		if err != nil {
			t.Fatal(err)
		}
		s.FillTransparent()
		return s
	}
	p := decode().Resize(8, 8, Bicubic)
	for i := range 64 {
		want := []float32{150, 150, 0}
		switch {
		case i < 32 && i%2 == 1:
			want = []float32{100, 200, 0}
		case i < 32:
			want = []float32{200, 100, 0}
		}
		for c := range 3 {
			if d := math.Abs(float64(p.RGB[3*i+c]*255 - want[c])); d > 0.01 {
				t.Fatalf("pixel %d is %v, want %v", i, p.RGB[3*i:3*i+3], want)
			}
		}
		if hidden := p.Alpha[i] == 0; hidden != (i >= 32) {
			t.Fatalf("pixel %d has alpha %v", i, p.Alpha[i])
		}
	}
	for i := range 64 { // nothing is visible
		m.Pix[4*i+3] = 0
	}
	if p := decode().Resize(4, 4, Bilinear); p.RGB[0] != 0.5 {
		t.Errorf("a transparent picture is %v", p.RGB[:3])
	}
}

// The article's resize gives PIL's bits (tools/parity/resize.py).
func TestBilinearIsPIL(t *testing.T) {
	b, err := os.ReadFile("../../testdata/resize.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(b, &want); err != nil || len(want) == 0 {
		t.Fatal(err)
	}
	m := image.NewNRGBA(image.Rect(0, 0, 131, 97)) // tools/parity/resize.py has the same formula
	for y := range 97 {
		for x := range 131 {
			m.SetNRGBA(x, y, color.NRGBA{uint8(x*7 + y*3), uint8(x * y), uint8(x*x + 5*y), 255})
		}
	}
	var buf bytes.Buffer
	if err := png.Encode(&buf, m); err != nil {
		t.Fatal(err)
	}
	s, err := Decode(buf.Bytes(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for size, hash := range want {
		var w, h int
		fmt.Sscan(size, &w, &h)
		var pix []byte
		for _, v := range s.Resize(w, h, Bilinear).Quantize().RGB {
			pix = append(pix, byte(v*255+0.5))
		}
		if sum := sha256.Sum256(pix); hex.EncodeToString(sum[:]) != hash {
			t.Errorf("%s: other pixels than PIL's", size)
		}
	}
}

// A flat picture stays flat at any size, with every filter.
func TestResizeKeepsFlat(t *testing.T) {
	p := &Picture{W: 7, H: 5, RGB: make([]float32, 105)}
	for i := range p.RGB {
		p.RGB[i] = 0.37
	}
	for _, f := range []Filter{Bicubic, Bilinear, Point} {
		for _, s := range [][2]int{{1, 1}, {3, 2}, {7, 5}, {8, 6}, {97, 61}} {
			for i, v := range p.Resize(s[0], s[1], f).RGB {
				if math.Abs(float64(v)-0.37) > 1e-6 {
					t.Fatalf("%v: value %d is %v", s, i, v)
				}
			}
		}
	}
}

// The article stretches with cv2.resize, which samples two neighbours.
func TestPointIsBilinear(t *testing.T) {
	p := &Picture{W: 4, H: 1, RGB: []float32{0, 0, 0, 0.4, 0.4, 0.4, 0.8, 0.8, 0.8, 1, 1, 1}}
	got := p.Resize(8, 1, Point)
	for i, want := range []float32{0, 0.1, 0.3, 0.5, 0.7, 0.85, 0.95, 1} {
		if math.Abs(float64(got.RGB[3*i]-want)) > 1e-6 {
			t.Errorf("value %d is %v, want %v", i, got.RGB[3*i], want)
		}
	}
	half := p.Resize(2, 1, Point) // shrinking does not average
	if half.RGB[0] != 0.2 || math.Abs(float64(half.RGB[3])-0.9) > 1e-6 {
		t.Errorf("shrunk to %v", half.RGB)
	}
}

func TestFit(t *testing.T) {
	for _, c := range [][6]int{{640, 480, 512, 16, 512, 384}, {480, 640, 512, 16, 384, 512}, {1, 1, 64, 16, 64, 64}, {3000, 7, 512, 16, 512, 16}, {100, 99, 33, 16, 33, 33}} {
		if w, h := Fit(c[0], c[1], c[2], c[3]); w != c[4] || h != c[5] {
			t.Errorf("%dx%d at %d is %dx%d, want %dx%d", c[0], c[1], c[2], w, h, c[4], c[5])
		}
	}
}

func TestBadFiles(t *testing.T) {
	good, err := os.ReadFile(filepath.Join(dir, "rgb.png"))
	if err != nil {
		t.Fatal(err)
	}
	jpg, err := os.ReadFile(filepath.Join(dir, "rgb.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	huge := bytes.Clone(good)
	copy(huge[16:], []byte{0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0}) // 100000 x 100000
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":         {nil, "empty"},
		"text":          {[]byte("just some text, no picture"), "no picture that can be read"},
		"truncated png": {good[:len(good)/2], "cut off"},
		"truncated jpg": {jpg[:len(jpg)/2], "cut off"},
		"header only":   {good[:20], "cut off"},
		"bomb":          {fixCRC(huge), "10000 million pixels"},
		"heic":          {[]byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), "HEIC"},
	} {
		_, err := Decode(c.data, DefaultMaxPixels)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := Open(t.TempDir(), 0); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Open(os.DevNull, 0); err == nil || !strings.Contains(err.Error(), "device") {
		t.Errorf("a device: %v", err)
	}
	if _, err := Open("no/such/file.png", 0); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: %v", err)
	}
	for _, name := range []string{"a", "a.gif", "a.heic", "dir.png/a"} {
		if _, err := FormatOf(name); err == nil {
			t.Errorf("%s accepted for writing", name)
		}
	}
}

// fixCRC makes the checksum of IHDR fit again.
func fixCRC(b []byte) []byte {
	c := crc(b[12:29])
	b[29], b[30], b[31], b[32] = byte(c>>24), byte(c>>16), byte(c>>8), byte(c)
	return b
}

func crc(b []byte) uint32 {
	c := ^uint32(0)
	for _, x := range b {
		c ^= uint32(x)
		for range 8 {
			c = c>>1 ^ 0xedb88320&-(c&1)
		}
	}
	return ^c
}

func FuzzDecode(f *testing.F) {
	for _, dir := range []string{dir, "../../testdata/odd"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range entries {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				f.Fatal(err)
			}
			if !heif.Brand(b) { // a machine for each would be slow
				f.Add(b)
			}
		}
	}
	for _, depth := range []tiffOf{{bits: 16}, {bits: 32, float: true, scale: 1, predictor: 3, tile: 16}, {bits: 8, planar: true, big: true}} {
		depth.order, depth.photometric = binary.BigEndian, 2
		f.Add(depth.bytes())
	}
	for _, m := range []bmpOf{{bits: 8, compression: 1}, {bits: 4, compression: 2}, {bits: 32, compression: 3}, {bits: 8, header: 12}} {
		f.Add(m.bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if heif.Brand(b) {
			return
		}
		allocated, start := cost.Allocated(), time.Now()
		if s, err := Decode(b, 1<<14); err == nil {
			s.Resize(5, 4, Bicubic)
		}
		_, _ = findText(b)
		if n, took := cost.Allocated()-allocated, time.Since(start); n > cost.Memory || took > 4*cost.Time { // code that is fuzzed is instrumented
			t.Errorf("%d bytes allocated %d MB, in %v", len(b), n>>20, took)
		}
	})
}
