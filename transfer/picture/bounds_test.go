package picture

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/HugoSmits86/nativewebp"

	"github.com/stylize-gpu/stylize/tools/cost"
)

// withinBounds fails where a file takes more than it may: the property that is fuzzed.
func withinBounds(t *testing.T, b []byte, maxPixels int) {
	t.Helper()
	honest := int64(len(b)) * 4
	if f := formatOf(b); f != nil {
		if w, h, err := f.extents(b); err == nil && int64(w)*int64(h) <= int64(maxPixels) {
			honest += int64(w) * int64(h) * f.perPixel
		}
	}
	var err error
	peak, took := cost.Of(func() { _, err = Decode(b, maxPixels) })
	if peak > honest+cost.Memory || took > cost.Time+time.Duration(honest)*20*time.Nanosecond {
		t.Errorf("%d bytes took %d MB and %v; their pixels are worth %d MB (%v)", len(b), peak>>20, took, honest>>20, err)
	}
}

// scanBomb is a progressive JPEG of many scans, each a run of empty blocks.
func scanBomb(w, h, scans int) []byte {
	be := binary.BigEndian
	segment := func(marker byte, data ...byte) []byte {
		return append(be.AppendUint16([]byte{0xff, marker}, uint16(len(data)+2)), data...)
	}
	b := []byte{0xff, 0xd8}
	b = append(b, segment(0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...)...)
	code := func(class, symbol byte) []byte {
		return segment(0xc4, append(append([]byte{class, 1}, make([]byte, 15)...), symbol)...)
	}
	b = append(append(b, code(0x10, 0xe0)...), code(0, 0)...)
	frame := be.AppendUint16(be.AppendUint16([]byte{8}, uint16(h)), uint16(w))
	b = append(b, segment(0xc2, append(frame, 1, 1, 0x11, 0)...)...)
	blocks := (w + 7) / 8 * ((h + 7) / 8)
	b = append(append(b, segment(0xda, 1, 1, 0, 0, 0, 0)...), make([]byte, blocks/8+1)...)
	var body []byte // 0 and fourteen ones for each 32767 blocks
	var acc, n uint
	for range blocks/32767 + 2 {
		acc, n = acc<<15|1<<14-1, n+15
		for ; n >= 8; n -= 8 {
			v := byte(acc >> (n - 8))
			if body = append(body, v); v == 0xff {
				body = append(body, 0)
			}
		}
	}
	for k := range scans {
		at := byte(1 + k%63)
		b = append(append(b, segment(0xda, 1, 1, 0, at, at, 0)...), body...)
	}
	return append(b, 0xff, 0xd9)
}

// tagBomb is a TIFF of 24x16 whose directory has many tags of the same megabytes.
func tagBomb(bytesOfData int) []byte {
	le := binary.LittleEndian
	good := tiffOf{bits: 8, photometric: 2}
	good.order = le
	b := good.bytes()
	at := le.Uint32(b[4:])
	n := int(le.Uint16(b[at:]))
	dir := bytes.Clone(b[at+2:][:12*n])
	data := uint32(len(b))
	b = append(b, make([]byte, bytesOfData)...)
	for tag := range 60000 {
		dir = le.AppendUint16(le.AppendUint16(dir, uint16(1000+tag)), 1)
		dir = le.AppendUint32(le.AppendUint32(dir, uint32(bytesOfData)), data)
	}
	le.PutUint32(b[4:], uint32(len(b)))
	return append(le.AppendUint16(b, uint16(len(dir)/12)), dir...)
}

// tiffBomb is a TIFF of any tags, its strips being all the same bytes.
func tiffBomb(w, h, bits, samples, compression, tile, parts int, data []byte) []byte {
	le := binary.LittleEndian
	b := append([]byte("II*\x00\x00\x00\x00\x00"), data...)
	b = append(b, make([]byte, len(b)&1)...)
	offsets := uint32(len(b))
	for range parts {
		b = le.AppendUint32(b, 8)
	}
	counts := uint32(len(b))
	for range parts {
		b = le.AppendUint32(b, uint32(len(data)))
	}
	le.PutUint32(b[4:], uint32(len(b)))
	var dir []byte
	n := 0
	put := func(tag, count int, v uint32) {
		dir = le.AppendUint32(le.AppendUint32(le.AppendUint16(le.AppendUint16(dir, uint16(tag)), 4), uint32(count)), v)
		n++
	}
	for _, e := range [][2]int{{tagWidth, w}, {tagHeight, h}, {tagBits, bits}, {tagCompression, compression}, {tagPhotometric, 1}, {tagSamples, samples}, {tagTileWidth, tile}, {tagTileHeight, tile}} {
		put(e[0], 1, uint32(e[1]))
	}
	put(tagTileOffsets, parts, offsets)
	put(tagTileCounts, parts, counts)
	return append(append(le.AppendUint16(b, uint16(n)), dir...), 0, 0, 0, 0)
}

func zlibOf(zeros int) []byte {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	for ; zeros > 0; zeros -= 1 << 20 {
		if _, err := w.Write(make([]byte, min(zeros, 1<<20))); err != nil {
			panic(err)
		}
	}
	w.Close()
	return z.Bytes()
}

// canvasBomb is a WebP that says it has one pixel, and has 16 million.
func canvasBomb(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := nativewebp.Encode(&buf, image.NewNRGBA(image.Rect(0, 0, 4096, 4096)), nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range riffChunks(buf.Bytes()[12:]) {
		if c.name == "VP8L" {
			return webpFile(riff{"VP8X", make([]byte, 10)}, c)
		}
	}
	t.Fatal("no VP8L")
	return nil
}

// Files that ask for far more than they are: each ends within bounds.
func TestBombs(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want string // in the error; empty if the picture is right
	}{
		{"scans of a progressive JPEG", scanBomb(6000, 6000, 3000), "more scans than any program writes"},
		{"scans of a small one", scanBomb(100, 100, 100000), "more scans than any program writes"},
		{"tags of a TIFF", tagBomb(2 << 20), ""},
		{"tiny tiles of a TIFF", tiffBomb(700, 700, 8, 1, 50000, 1, 700*700, []byte("(\xb5/\xfd\x04\x00\x01\x00\x00\x00")), "impossibly many parts"},
		{"channels of a TIFF", tiffBomb(2000, 2000, 64, 64, 8, 2000, 1, zlibOf(100<<20)), "64 bits"},
		{"more channels of a TIFF", tiffBomb(2000, 2000, 32, 64, 8, 2000, 1, zlibOf(100<<20)), "unpacks to impossibly much"},
		{"canvas of a WebP", canvasBomb(t), "larger than its canvas"},
	} {
		withinBounds(t, c.b, 40_000_000)
		_, err := Decode(c.b, 40_000_000)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	// A picture of honest scans is none.
	if _, err := Decode(scanBomb(100, 100, 64), 1<<20); err != nil {
		t.Errorf("64 scans: %v", err)
	}
}

// A picture is refused for its memory before it takes it.
func TestMemoryLimit(t *testing.T) {
	b := scanBomb(4000, 4000, 1)
	var err error
	peak, _ := cost.Of(func() { _, err = DecodeContext(t.Context(), b, Limits{Bytes: 100 << 20}) })
	var too *MemoryError
	if !errors.As(err, &too) || too.W != 4000 || too.Need < 100<<20 || peak > 20<<20 {
		t.Errorf("%v after %d MB", err, peak>>20)
	}
	if _, err := DecodeContext(t.Context(), b, Limits{Bytes: 1 << 30}); err != nil {
		t.Error(err)
	}
}

// Whatever a decoder does, its end is that of the context.
func TestDecodeIsInterrupted(t *testing.T) {
	slow := &format{name: "slow", config: func([]byte) (int, int, error) { return 1, 1, nil }, decode: func(context.Context, []byte) (raw, error) {
		time.Sleep(time.Minute)
		return raw{}, nil
	}}
	formats = append([]format{*slow}, formats...)
	formats[0].magic = []string{"slow"}
	defer func() { formats = formats[1:] }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := DecodeContext(ctx, []byte("slow"), Limits{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	// And our own decoders end then too.
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for _, dir := range []string{"../../testdata/odd", "../../testdata/jpeg"} {
		names, _ := filepath.Glob(dir + "/*.*")
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			f := formatOf(b)
			if f == nil || f.name == "BMP" || f.name == "JPEG" && len(b) < 100 {
				continue
			}
			if _, err := Decode(b, 0); err != nil {
				continue
			}
			if _, err := f.decode(done, b); err == nil {
				t.Errorf("%s is decoded when nobody waits for it", name)
			}
		}
	}
}
