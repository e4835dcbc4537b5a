package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// Format is a kind of file that can be written.
type Format int

// The formats.
const (
	PNG Format = iota
	JPEG
)

// FormatOf chooses by the extension of a name.
func FormatOf(path string) (Format, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".png":
		return PNG, nil
	case ".jpg", ".jpeg":
		return JPEG, nil
	case "":
		return 0, fmt.Errorf("%s: give the name an extension, .png or .jpg", path)
	default:
		return 0, fmt.Errorf("%s: pictures are written as .png or .jpg, not %s", path, ext)
	}
}

// SaveOptions says how to write.
type SaveOptions struct {
	Bits     int    // 8 or 16 per channel, PNG only; 0 is 8
	Quality  int    // JPEG, 1 to 100; 0 is 95
	Metadata string // stored in a PNG under [Keyword]
}

// Keyword names the text that a PNG carries about how it was made.
const Keyword = "stylize"

// Save writes a picture, whole or not at all. A JPEG has no alpha: the picture
// is laid on white.
func (p *Picture) Save(path string, o SaveOptions) error {
	format, err := FormatOf(path)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	switch {
	case format == JPEG:
		if o.Quality == 0 {
			o.Quality = 95
		}
		err = jpeg.Encode(&buf, p.onWhite().toNRGBA(), &jpeg.Options{Quality: o.Quality})
	case o.Bits == 16:
		err = png.Encode(&buf, p.toNRGBA64())
	default:
		err = png.Encode(&buf, p.toNRGBA())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	b := buf.Bytes()
	if format == PNG && o.Metadata != "" {
		if b, err = withText(b, Keyword, o.Metadata); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

func (p *Picture) toNRGBA() *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, p.W, p.H))
	for i := range p.W * p.H {
		d := m.Pix[4*i : 4*i+4]
		for c := range 3 {
			d[c] = uint8(clamp(p.RGB[3*i+c])*255 + 0.5)
		}
		d[3] = 255
		if p.Alpha != nil {
			d[3] = uint8(clamp(p.Alpha[i])*255 + 0.5)
		}
	}
	return m
}

func (p *Picture) toNRGBA64() *image.NRGBA64 {
	m := image.NewNRGBA64(image.Rect(0, 0, p.W, p.H))
	put := func(d []byte, v float32) { binary.BigEndian.PutUint16(d, uint16(clamp(v)*65535+0.5)) }
	for i := range p.W * p.H {
		d := m.Pix[8*i : 8*i+8]
		for c := range 3 {
			put(d[2*c:], p.RGB[3*i+c])
		}
		put(d[6:], 1)
		if p.Alpha != nil {
			put(d[6:], p.Alpha[i])
		}
	}
	return m
}

func (p *Picture) onWhite() *Picture {
	if p.Alpha == nil {
		return p
	}
	q := &Picture{W: p.W, H: p.H, RGB: make([]float32, len(p.RGB))}
	for i, a := range p.Alpha {
		for c := range 3 {
			q.RGB[3*i+c] = p.RGB[3*i+c]*a + 1 - a
		}
	}
	return q
}

var pngMagic = []byte("\x89PNG\r\n\x1a\n")

// withText inserts an iTXt chunk (PNG specification 11.3.3.4) behind IHDR.
func withText(b []byte, keyword, text string) ([]byte, error) {
	const ihdrEnd = 8 + 4 + 4 + 13 + 4
	if len(b) < ihdrEnd || !bytes.HasPrefix(b, pngMagic) {
		return nil, errors.New("not a PNG stream")
	}
	data := append([]byte("iTXt"+keyword), 0, 0, 0, 0, 0) // not compressed, no language, no translation
	data = append(data, text...)
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(data)-4))
	chunk = append(chunk, data...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(data))
	out := append([]byte(nil), b[:ihdrEnd]...)
	out = append(out, chunk...)
	return append(out, b[ihdrEnd:]...), nil
}

// ReadText returns the text that Save stored in a PNG file.
func ReadText(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: cannot be read: %w", path, err)
	}
	s, err := findText(b)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func findText(b []byte) (string, error) {
	if !bytes.HasPrefix(b, pngMagic) {
		return "", errors.New("is no PNG; only a PNG remembers how it was made")
	}
	for b = b[8:]; len(b) >= 12; {
		n := uint64(binary.BigEndian.Uint32(b))
		if n+12 > uint64(len(b)) {
			return "", errors.New("the PNG is cut off")
		}
		data := b[8 : 8+n]
		if string(b[4:8]) == "iTXt" && bytes.HasPrefix(data, []byte(Keyword+"\x00\x00\x00\x00\x00")) {
			if crc32.ChecksumIEEE(b[4:8+n]) != binary.BigEndian.Uint32(b[8+n:]) {
				return "", errors.New("the PNG's record of how it was made is damaged")
			}
			return string(data[len(Keyword)+5:]), nil
		}
		b = b[12+n:]
	}
	return "", errors.New("does not say how it was made: it was not written by stylize, or was saved again by another program")
}
