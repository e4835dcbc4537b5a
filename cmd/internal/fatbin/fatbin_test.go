package fatbin

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile("testdata/" + name + ".fatbin")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// The three ways in which nvcc 13 stores one source give one text.
func TestParse(t *testing.T) {
	for _, name := range []string{"plain", "lz4", "zstd"} {
		images, err := Parse(read(t, name))
		if err != nil || len(images) != 1 || images[0].Arch != "sm_80" {
			t.Fatalf("%s: %v, %v", name, images, err)
		}
		p := string(images[0].PTX)
		if !strings.Contains(p, ".visible .entry _Z3addPKfS0_Pfi(") || !strings.HasSuffix(strings.TrimSpace(p), "}") {
			t.Errorf("%s: %s", name, p)
		}
		if want, err := Parse(read(t, "plain")); err != nil || p != string(want[0].PTX) {
			t.Errorf("%s differs from plain (%v)", name, err)
		}
	}
}

func TestParseBad(t *testing.T) {
	edit := func(name string, at int, v ...byte) []byte {
		b := read(t, name)
		copy(b[at:], v)
		return b
	}
	for _, c := range []struct {
		data []byte
		want string
	}{
		{nil, "does not begin"},
		{edit("plain", 4, 2), "version 2"},
		{read(t, "plain")[:200], "cut short"},
		{edit("plain", 16+8, 0xff, 0xff, 0xff), "bytes, 1048 are left"},
		{edit("plain", 16+4, 3, 0, 0, 0), "says 3+"},
		{edit("zstd", 16+56, 0xff, 0xff, 0xff, 0xff), "more than"},
		{edit("zstd", 16+56, 9, 0, 0, 0), "entry 0 (PTX for sm_80): "},
		{edit("lz4", 16+56, 9, 0, 0, 0), "entry 0 (PTX for sm_80): "},
		{edit("lz4", 16+16, 0xff, 0xff), "compressed bytes"},
		{edit("lz4", 16+80, 0xff), "entry 0 (PTX for sm_80): "},
	} {
		if _, err := Parse(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}

func TestChoose(t *testing.T) {
	ptx := func(arch string) Image { return Image{Arch: arch, PTX: []byte(arch)} }
	for _, c := range []struct {
		device, want string
		images       []Image
	}{
		{"sm_90a", "sm_90a", []Image{ptx("sm_80"), ptx("sm_90"), ptx("sm_90a"), ptx("sm_100")}},
		{"sm_90", "sm_90", []Image{ptx("sm_80"), ptx("sm_90a"), ptx("sm_90")}},
		{"sm_80", "sm_75", []Image{ptx("sm_52"), ptx("sm_75"), ptx("sm_90"), {Arch: "sm_80"}}},
		{"sm_90a", "sm_80", []Image{ptx("sm_100f"), ptx("sm_80")}},
	} {
		got, err := Choose(c.images, c.device)
		if err != nil || string(got.PTX) != c.want {
			t.Errorf("%s of %v: %v, %v", c.device, c.images, got, err)
		}
	}
	_, err := Choose([]Image{{Arch: "sm_80"}, ptx("sm_100")}, "sm_90")
	if err == nil || !strings.Contains(err.Error(), "only machine code for sm_80, PTX for sm_100") || !strings.Contains(err.Error(), "code=compute_90") {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"plain", "lz4", "zstd"} {
		b := read(f, name)
		f.Add(b)
		f.Add(b[:len(b)-9])
		f.Add(append(bytes.Clone(b[:16]), bytes.Repeat(b[16:], 2)...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		images, err := Parse(data)
		if err != nil {
			return
		}
		for _, m := range images {
			if len(m.PTX) > MaxPTX {
				t.Errorf("%d bytes", len(m.PTX))
			}
		}
		_, _ = Choose(images, "sm_90a")
	})
}
