package jpeg

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	stdjpeg "image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const dir = "../../../testdata/jpeg"

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Every sampling, baseline and progressive, with and without restart markers,
// gives the bits of libjpeg-turbo (tools/parity/jpegs.py made the files).
func TestLibjpeg(t *testing.T) {
	var want map[string]string
	if err := json.Unmarshal(read(t, "libjpeg.json"), &want); err != nil {
		t.Fatal(err)
	}
	if len(want) < 64 {
		t.Fatalf("only %d files", len(want))
	}
	for name, hash := range want {
		b := read(t, name)
		m, err := Decode(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if w, h, err := Config(b); err != nil || w != m.W || h != m.H || len(m.Pix) != w*h*m.Channels {
			t.Errorf("%s: %dx%d and %v before, %dx%d after", name, w, h, err, m.W, m.H)
		}
		if sum := sha256.Sum256(m.Pix); hex.EncodeToString(sum[:]) != hash {
			t.Errorf("%s: other pixels than libjpeg's", name)
		}
	}
}

// Cut in the middle a file is an error; without its last two bytes it is not.
func TestCut(t *testing.T) {
	for _, name := range []string{"2x2.jpg", "2x2_progressive.jpg", "2x2_restart.jpg", "2x2_progressive_restart.jpg"} {
		b := read(t, name)
		if _, err := Decode(b[:len(b)*2/3]); err == nil {
			t.Errorf("%s: two thirds of it decode", name)
		}
		if _, err := Decode(b[:len(b)-2]); err != nil {
			t.Errorf("%s without its end: %v", name, err)
		}
	}
}

// What is not read is named, not called damaged.
func TestUnsupported(t *testing.T) {
	b := read(t, "1x1.jpg")
	sof := bytes.Index(b, []byte{0xff, 0xc0})
	for _, c := range []struct {
		at    int
		value byte
		want  string
	}{
		{sof + 1, 0xc3, "lossless"},
		{sof + 1, 0xc9, "arithmetic"},
		{sof + 1, 0xc5, "hierarchical"},
		{sof + 4, 12, "12 bits"},
		{sof + 9, 2, "2 components"},
	} {
		d := bytes.Clone(b)
		d[c.at] = c.value
		_, err := Decode(d)
		var u Unsupported
		if !errors.As(err, &u) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.want, err)
		}
	}
}

// Every quality and sampling gives the file that libjpeg writes, to the byte.
func TestEncode(t *testing.T) {
	var want map[string]string
	if err := json.Unmarshal(read(t, "encoded.json"), &want); err != nil {
		t.Fatal(err)
	}
	const w, h = 37, 29 // tools/parity/jpegs.py has the same formula
	var pix []byte
	for y := range h {
		for x := range w {
			pix = append(pix, byte(x*7+y*3), byte(x*y), byte(x*x+5*y))
		}
	}
	for name, hash := range want {
		var quality int
		var sampling string
		fmt.Sscan(name, &quality, &sampling)
		s := map[string]Sampling{"444": S444, "422": S422, "420": S420}[sampling]
		b, err := Encode(pix, w, h, quality, s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != hash {
			t.Errorf("%s: another file than libjpeg's", name)
		}
		if _, err := stdjpeg.Decode(bytes.NewReader(b)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, err := Encode(pix, w, h, 90, S444, bytes.Repeat([]byte("profile"), 20000))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := Decode(b); err != nil || len(m.ICC) != 140000 {
		t.Errorf("a large profile came back as %d bytes, %v", len(m.ICC), err)
	}
	if _, err := Encode(nil, 65536, 1, 90, S444, nil); err == nil {
		t.Error("65536 pixels are accepted")
	}
}

// The profile comes in pieces, in any order.
func TestProfile(t *testing.T) {
	piece := func(i, n byte, s string) []byte {
		seg := append([]byte("ICC_PROFILE\x00"), i, n)
		seg = append(seg, s...)
		return append([]byte{0xff, 0xe2, 0, byte(len(seg) + 2)}, seg...)
	}
	b := read(t, "1x1.jpg")
	d := bytes.Clone(b[:2])
	d = append(append(append(d, piece(2, 2, "world")...), piece(1, 2, "hello ")...), b[2:]...)
	m, err := Decode(d)
	if err != nil || string(m.ICC) != "hello world" {
		t.Errorf("profile %q, %v", m.ICC, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"2x2.jpg", "2x2_progressive_restart.jpg", "cmyk.jpg", "three_scans.jpg", "1x1_2x2_1x1.jpg"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		if w, h, err := Config(b); err == nil && w*h <= 1<<14 {
			_, _ = Decode(b)
		}
	})
}

var benchFile = flag.String("jpeg", "", "the JPEG that BenchmarkDecode decodes")

// BenchmarkDecode decodes 24 megapixels, or the file of -jpeg, in turns with the
// standard library's decoder, which filters no chroma and leaves the conversion to
// RGB to others. It reports the median of each and of the ratios.
func BenchmarkDecode(b *testing.B) {
	file, err := os.ReadFile(*benchFile)
	if *benchFile == "" {
		const w, h = 6000, 4000
		r, pix := rand.New(rand.NewPCG(1, 2)), make([]byte, 3*w*h)
		for i := range w * h {
			x, y := i%w, i/w
			noise := r.IntN(13)
			pix[3*i], pix[3*i+1], pix[3*i+2] = byte(x*y/50000%240+noise), byte(x/25+noise), byte(y/17+noise)
		}
		file, err = Encode(pix, w, h, 90, S420, nil)
	}
	if err != nil {
		b.Fatal(err)
	}
	var ours, std, ratio []float64
	timed := func(f func() error) float64 {
		runtime.GC()
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start).Seconds()
	}
	for b.Loop() {
		ours = append(ours, timed(func() error { _, err := Decode(file); return err }))
		std = append(std, timed(func() error { _, err := stdjpeg.Decode(bytes.NewReader(file)); return err }))
		ratio = append(ratio, ours[len(ours)-1]/std[len(std)-1])
	}
	median := func(v []float64) float64 {
		slices.Sort(v)
		return v[len(v)/2]
	}
	b.ReportMetric(1e3*median(ours), "ms")
	b.ReportMetric(1e3*median(std), "ms-std")
	b.ReportMetric(median(ratio), "ratio")
}
