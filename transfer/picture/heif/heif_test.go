package heif

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

const dir = "../../../testdata/odd"

func files(tb testing.TB) map[string][]byte {
	tb.Helper()
	all := map[string][]byte{}
	for _, ext := range []string{"avif", "heic"} {
		names, err := filepath.Glob(filepath.Join(dir, "*."+ext))
		if err != nil || len(names) == 0 {
			tb.Fatalf("no %s files", ext)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				tb.Fatal(err)
			}
			all[filepath.Base(name)] = b
		}
	}
	return all
}

// The boxes say what the decoders give.
func TestBoxes(t *testing.T) {
	for name, b := range files(t) {
		in, err := Read(b)
		if err != nil || !Brand(b) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if in.W != 24 || in.H != 16 || in.AV1 != (filepath.Ext(name) == ".avif") || in.Turn < 1 || in.Turn > 8 {
			t.Errorf("%s: %+v", name, in)
		}
		m, err := Decode(t.Context(), b, in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		w, h := m.W, m.H
		if in.Turn >= 5 {
			w, h = h, w
		}
		if w != in.W || h != in.H {
			t.Errorf("%s: %dx%d, its boxes say %dx%d", name, w, h, in.W, in.H)
		}
	}
}

// Cut anywhere, a file is an error and nothing worse.
func TestCut(t *testing.T) {
	for name, b := range files(t) {
		for n := 0; n < len(b); n += 1 + len(b)/7 {
			in, err := Read(b[:n])
			if err != nil {
				continue
			}
			if _, err := Decode(t.Context(), b[:n], in); err == nil && n < len(b)/2 {
				t.Errorf("%s: %d bytes of %d decode", name, n, len(b))
			}
		}
	}
	if _, err := Decode(t.Context(), bytes.Repeat([]byte("nonsense"), 100), Info{W: 4, H: 4, AV1: true}); err == nil {
		t.Error("nonsense decodes")
	}
}

// A file that says it is small gets the memory of a small one.
func TestSaysSmall(t *testing.T) {
	const side = 2048
	b, err := EncodeAVIF(bytes.Repeat([]byte{9, 200, 77, 255}, side*side), side, side, 50, S444, nil)
	if err != nil {
		t.Fatal(err)
	}
	in, err := Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(t.Context(), b, in); err != nil {
		t.Fatal(err)
	}
	ispe := bytes.Index(b, []byte("ispe")) + 8
	binary.BigEndian.PutUint32(b[ispe:], 16)
	binary.BigEndian.PutUint32(b[ispe+4:], 16)
	if in, err = Read(b); err != nil || in.W != 16 {
		t.Fatalf("%+v, %v", in, err)
	}
	if _, err := Decode(t.Context(), b, in); err == nil {
		t.Error("a file of 2048x2048 that says 16x16 decodes")
	}
	// What decoding it takes is more than what a small picture may have.
	m, err := avifCompiled()
	if err != nil {
		t.Fatal(err)
	}
	mod, err := m.instance(t.Context(), 16*16*perPixel)
	if err != nil {
		t.Fatal(err)
	}
	defer mod.Close(t.Context())
	c := &caller{ctx: t.Context(), mod: mod, most: side * side}
	if m, err := c.avif(b); err == nil && c.err == nil {
		t.Errorf("%dx%d in the memory of 16x16", m.W, m.H)
	}
	if n := mod.Memory().Size(); n > 40<<20 {
		t.Errorf("it took %d bytes", n)
	}
}

func FuzzRead(f *testing.F) {
	for _, b := range files(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if in, err := Read(b); err == nil && (in.W < 1 || in.H < 1 || in.Turn < 1 || in.Turn > 8) {
			t.Errorf("%+v", in)
		}
	})
}
