package picture

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// gradient has a colour of its own in every pixel.
func gradient(w, h int, alpha bool) *Picture {
	p := &Picture{W: w, H: h}
	for y := range h {
		for x := range w {
			p.RGB = append(p.RGB, float32(x)/float32(w), float32(y)/float32(h), float32((x+y)%7)/7)
			if alpha {
				p.Alpha = append(p.Alpha, float32(x%5)/4)
			}
		}
	}
	return p
}

const someKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// Every format keeps the key, beside all else that it keeps, and the pixels are the same.
func TestKey(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.png", "a.jpg", "a.webp", "a.tif", "a.avif"} {
		for _, o := range []SaveOptions{{Bits: 8, Metadata: `{"a":1}`}, {Bits: 8, Bare: true}, {Bits: 16, Metadata: "x"}} {
			for _, alpha := range []bool{false, true} {
				if o.Bits == 16 && name != "a.png" && name != "a.tif" {
					continue
				}
				p, path := gradient(33, 21, alpha), filepath.Join(dir, name)
				if err := p.Save(path, o); err != nil {
					t.Fatal(err)
				}
				if k, err := ReadKey(path); err != nil || k != "" {
					t.Errorf("%s without a key: %q, %v", name, k, err)
				}
				bare, err := Open(path, 0)
				if err != nil {
					t.Fatal(err)
				}
				o := o
				o.Key = someKey
				if err := p.Save(path, o); err != nil {
					t.Fatal(err)
				}
				if k, err := ReadKey(path); err != nil || k != someKey {
					t.Errorf("%s %+v: key %q, %v", name, o, k, err)
				}
				keyed, err := Open(path, 0)
				if err != nil {
					t.Fatalf("%s with a key: %v", name, err)
				}
				a, b := bare.Resize(33, 21, Point), keyed.Resize(33, 21, Point)
				if !slices.Equal(a.RGB, b.RGB) || !slices.Equal(a.Alpha, b.Alpha) {
					t.Errorf("%s: the key changes pixels", name)
				}
				if name == "a.png" && !o.Bare {
					if text, err := ReadText(path); err != nil || text != o.Metadata {
						t.Errorf("record %q, %v", text, err)
					}
				}
			}
		}
	}
}

// A file that is cut off anywhere, or is none, has no key, or its own.
func TestReadKeyOfAnything(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	for _, name := range []string{"a.png", "a.jpg", "a.webp", "a.tif", "a.avif"} {
		whole := filepath.Join(dir, name)
		if err := gradient(9, 9, false).Save(whole, SaveOptions{Key: someKey}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(whole)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(b) {
			if err := os.WriteFile(path, b[:n], 0o666); err != nil {
				t.Fatal(err)
			}
			if k, err := ReadKey(path); err != nil || k != "" && k != someKey {
				t.Fatalf("%s, %d bytes: %q, %v", name, n, k, err)
			}
			if name == "a.webp" && n < len(b) {
				if k, _ := ReadKey(path); k != "" {
					t.Fatalf("%s, %d of %d bytes has a key", name, n, len(b))
				}
			}
		}
		for i := range min(len(b), 200) { // damage
			c := slices.Clone(b)
			c[i] ^= 0x41
			if err := os.WriteFile(path, c, 0o666); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadKey(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := ReadKey(filepath.Join(dir, "none")); err == nil {
		t.Error("no error for a file that is not there")
	}
}

// Extent reads from the head what Open finds in the whole file, but for the turn.
func TestExtent(t *testing.T) {
	n := 0
	for _, root := range []string{"../../testdata/odd", "../../testdata/pictures", "../../testdata/jpeg"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			s, err := Open(path, 0)
			if err != nil {
				return nil
			}
			w, h, err := Extent(path)
			if straight, turned := w == s.W && h == s.H, w == s.H && h == s.W; err != nil || !straight && !turned {
				t.Errorf("%s: %dx%d, %v; it has %dx%d", path, w, h, err, s.W, s.H)
			}
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 20 {
		t.Errorf("only %d pictures", n)
	}
	for path, want := range map[string]string{"source_test.go": "no picture that can be read", ".": "is a folder", "none.png": "no such file"} {
		if _, _, err := Extent(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A photograph whose head is longer than what is read at first.
func TestExtentBehindLongHead(t *testing.T) {
	b, err := gradient(30, 20, false).jpeg(SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var long []byte
	long = append(long, b[:20]...)
	for range 3 {
		long = append(append(long, 0xff, 0xef, 0xff, 0xff), make([]byte, 0xfffd)...)
	}
	path := filepath.Join(t.TempDir(), "long.jpg")
	if err := os.WriteFile(path, append(long, b[20:]...), 0o666); err != nil {
		t.Fatal(err)
	}
	if w, h, err := Extent(path); err != nil || w != 30 || h != 20 {
		t.Errorf("%dx%d, %v", w, h, err)
	}
}

// A crop has the pixels that lie there upright, whichever way the file is turned, and a
// crop of a crop is one.
func TestCrop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	if err := gradient(23, 17, true).Save(path, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	for turn := 1; turn <= 8; turn++ {
		s, err := Open(path, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.turn = turn
		if turn >= 5 {
			s.W, s.H = s.H, s.W
		}
		whole := s.Resize(s.W, s.H, Point)
		c := s.Crop(2, 1, 12, 9).Crop(1, 3, 7, 5)
		got := c.Resize(7, 5, Point)
		for y := range 5 {
			for x := range 7 {
				for i := range 3 {
					if g, w := got.RGB[3*(7*y+x)+i], whole.RGB[3*(s.W*(y+4)+x+3)+i]; g != w {
						t.Fatalf("turn %d at %d,%d: %v, want %v", turn, x, y, g, w)
					}
				}
			}
		}
	}
}

// What is kept is what would be made, and its user may write to it.
func TestKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	if err := gradient(23, 17, true).Save(path, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := Open(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	kept.Keep()
	for range 2 {
		for i, f := range []Filter{Bicubic, Bilinear, Point} {
			for _, w := range []int{16, 23, 40} {
				a, b := s.Resize(w, 11, f), kept.Resize(w, 11, f)
				if !slices.Equal(a.RGB, b.RGB) || !slices.Equal(a.Alpha, b.Alpha) {
					t.Fatalf("filter %d to %d differs", i, w)
				}
				clear(b.RGB)
				clear(b.Alpha)
			}
		}
	}
	if n := len(kept.kept.made); n != 9 {
		t.Errorf("%d pictures are kept", n)
	}
	if c := kept.Crop(1, 1, 9, 9); len(c.kept.made) != 0 || fmt.Sprint(c.Resize(9, 9, Point).RGB) == fmt.Sprint(kept.Resize(9, 9, Point).RGB) {
		t.Error("a crop has what was kept of the whole")
	}
}
