package main

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/transfer/picture/icc"
)

// A PNG tells the names and hashes of its inputs, and nothing of the machine.
func TestMetadataIsDiscreet(t *testing.T) {
	dir := samples(t)
	mustRun(t, filepath.Join(dir, "content.png"), filepath.Join(dir, "style.jpg"), "-o", "out.png", small, quick, rnd, "--init", filepath.Join(dir, "style.jpg"), "-q")
	text, err := picture.ReadText("out.png")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, filepath.Dir(dir)) || strings.Contains(text, "/") || strings.Contains(text, `\\`) {
		t.Errorf("it tells the folder: %s", text)
	}
	var rec transfer.Record
	if err := json.Unmarshal([]byte(text), &rec); err != nil {
		t.Fatal(err)
	}
	if d := rec.Device; d.Kind != "cpu" || d.Name != "" || d.Detail != "" || d.Free != 0 || d.Memory != 0 || d.Threads != 0 {
		t.Errorf("it tells of the machine: %+v", d)
	}
	if rec.Content.Path != "content.png" || rec.Options.Init != "style.jpg" || rec.Init.Path != "style.jpg" || len(rec.Style.SHA256) != 64 {
		t.Errorf("names are missing: %+v", rec)
	}
	mustRun(t, "rerun", "out.png", "-o", "again.png")

	mustRun(t, "content.png", "style.jpg", "-o", "bare.png", small, quick, rnd, "--no-metadata", "-q")
	if text, err := picture.ReadText("bare.png"); err == nil {
		t.Errorf("--no-metadata wrote %s", text)
	}
	if b, err := os.ReadFile("bare.png"); err != nil || bytes.Contains(b, []byte("content.png")) {
		t.Errorf("--no-metadata left a name behind (%v)", err)
	}
}

// rerun knows its inputs by their content, whatever they are called now.
func TestRerunFindsByContent(t *testing.T) {
	samples(t)
	mustRun(t, "content.png", "style.jpg", "-o", "out.png", small, quick, rnd, "-q")
	want, _ := os.ReadFile("out.png")
	for old, now := range map[string]string{"content.png": "archive/2024/a.png", "style.jpg": "archive/b.jpg"} {
		if err := os.MkdirAll(filepath.Dir(now), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(old, now); err != nil {
			t.Fatal(err)
		}
	}
	// Another picture of the same name stands where it was.
	other := image.NewNRGBA(image.Rect(0, 0, 20, 20))
	writePNG(t, "content.png", other)
	if code, _, stderr := stylize(context.Background(), "rerun", "out.png", "-o", "x.png"); code != exitUsage {
		t.Errorf("without the folder: exit %d, %s", code, stderr)
	}
	mustRun(t, "rerun", "out.png", "-o", "again.png", "--folder", "archive")
	if got, _ := os.ReadFile("again.png"); !bytes.Equal(got, want) {
		t.Error("rerun wrote another file")
	}
}

func TestFileFlags(t *testing.T) {
	samples(t)
	mustRun(t, "content.png", "style.jpg", "-o", "a.jpg", small, "-n", "1", rnd, "-q")
	mustRun(t, "content.png", "style.jpg", "-o", "b.jpg", small, "-n", "1", rnd, "-q", "--subsampling", "420")
	a, _ := os.ReadFile("a.jpg")
	b, _ := os.ReadFile("b.jpg")
	if len(b) >= len(a) || len(b) == 0 {
		t.Errorf("444 has %d bytes, 420 has %d", len(a), len(b))
	}
	for _, args := range [][]string{{"-o", "c.webp"}, {"-o", "c.tif", "--bits", "16"}, {"-o", "c.avif", "--quality", "80", "--subsampling", "422"}} {
		mustRun(t, append([]string{"content.png", "style.jpg", small, "-n", "1", rnd, "-q"}, args...)...)
		if s, err := picture.Open(args[1], 0); err != nil || s.W != 32 || s.H != 22 {
			t.Errorf("%v: %v", args, err)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", "x.png", "--subsampling", "420"}, "of a JPEG or an AVIF"},
		{[]string{"-o", "x.jpg", "--subsampling", "410"}, "give 444, 422 or 420"},
		{[]string{"-o", "x.jpg", "--no-metadata"}, "of a PNG alone"},
		{[]string{"-o", "x.webp", "--bits", "16"}, "a WebP has 8 bits"},
		{[]string{"-o", "x.tif", "--quality", "90"}, "a TIFF, which loses nothing"},
		{[]string{"-o", "x.avif", "--bits", "16"}, "an AVIF has 8 bits"},
	} {
		code, _, stderr := stylize(context.Background(), append([]string{"content.png", "style.jpg", small, "-n", "1", rnd}, c.args...)...)
		if code != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d, %s", c.args, code, stderr)
		}
	}
}

// --keep-profile paints in sRGB and writes the colours that the content came in.
func TestKeepProfile(t *testing.T) {
	table, err := os.ReadFile("../../testdata/icc/mft2.icc")
	if err != nil {
		t.Fatal(err)
	}
	samples(t)
	p := &picture.Picture{W: 32, H: 32, RGB: make([]float32, 3*32*32)}
	for i := range p.RGB {
		p.RGB[i] = 0.3 + float32(i%96)/300
	}
	if err := p.Save("p3.png", picture.SaveOptions{Profile: icc.FromCode(12, 13)}); err != nil {
		t.Fatal(err)
	}
	args := []string{"style.jpg", "-n", "1", "--optimizer", "adam", "--lr", "1e-9", "--style-weight", "0", small, rnd, "-q"}
	mustRun(t, append([]string{"p3.png"}, append(args, "-o", "srgb.png")...)...)
	mustRun(t, append([]string{"p3.png"}, append(args, "-o", "kept.png", "--keep-profile")...)...)
	mustRun(t, append([]string{"content.png"}, append(args, "-o", "plain.png", "--keep-profile")...)...)
	for name, want := range map[string]bool{"srgb.png": false, "kept.png": true, "plain.png": false} {
		s, err := picture.Open(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Profile() != nil; got != want {
			t.Errorf("%s has a profile of its own: %v", name, got)
		}
		if q := s.Resize(32, 32, picture.Point); name != "plain.png" {
			for i, v := range p.RGB {
				if d := v - q.RGB[i]; d > 0.006 || d < -0.006 {
					t.Fatalf("%s: value %d is %v, was %v", name, i, q.RGB[i], v)
				}
			}
		}
	}
	b, err := os.ReadFile("plain.png") // with a profile that leads one way
	if err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	z.WriteString("iCCPtable\x00\x00")
	w := zlib.NewWriter(&z)
	w.Write(table)
	w.Close()
	chunk := append(binary.BigEndian.AppendUint32(nil, uint32(z.Len()-4)), z.Bytes()...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(z.Bytes()))
	if err := os.WriteFile("table.png", slices.Concat(b[:33], chunk, b[33:]), 0o666); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := stylize(context.Background(), append([]string{"table.png"}, append(args, "-o", "x.png", "--keep-profile")...)...)
	if code != exitUsage || !strings.Contains(stderr, "one way only") {
		t.Errorf("a table: exit %d, %s", code, stderr)
	}
}
