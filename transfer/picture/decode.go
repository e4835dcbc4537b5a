// Package picture reads, resizes and writes pictures. In between a picture is
// fp32 RGB in [0,1], (H,W,3), with an alpha plane beside it where the file had
// one. PNG (8 and 16 bit, palette, grey), JPEG (also CMYK), WebP, TIFF, BMP and
// GIF are read, turned upright by their EXIF tag; PNG and JPEG are written.
//
// A file from outside is checked for its extents before it is decoded, and a
// decoder that panics is an error. The package imports vgg/atomicfile.
package picture

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	_ "image/gif"  // reader
	_ "image/jpeg" // reader
	_ "image/png"  // reader
	"os"
	"slices"

	"github.com/bep/imagemeta"
	_ "golang.org/x/image/bmp"  // reader
	_ "golang.org/x/image/tiff" // reader
	_ "golang.org/x/image/webp" // reader
)

// DefaultMaxPixels bounds what is decoded unless the user says otherwise: more
// than any camera, less than what fills a small machine.
const DefaultMaxPixels = 150_000_000

const maxFile = 1 << 30 // bytes

// SizeError refuses a picture of more pixels than the caller allows, before it
// is decoded.
type SizeError struct{ W, H, MaxPixels int }

func (e *SizeError) Error() string {
	return fmt.Sprintf("the picture has %dx%d = %g million pixels, more than the %g million allowed", e.W, e.H, float64(e.W)*float64(e.H)/1e6, float64(e.MaxPixels)/1e6)
}

// Source is a decoded file, upright, not yet converted.
type Source struct {
	Path     string
	W, H     int // upright
	HasAlpha bool
	SHA256   string // of the file

	img    image.Image
	turn   int  // EXIF orientation, 1 to 8
	studio bool // YCbCr of the range 16 to 235, as lossy WebP has it
	bounds image.Rectangle
}

// Open reads and decodes a file of at most maxPixels pixels, or of any number
// when that is 0. A larger one is a *[SizeError].
func Open(path string, maxPixels int) (*Source, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no such file; check the name and the folder", path)
	case err != nil:
		return nil, fmt.Errorf("%s: cannot be read: %w", path, err)
	case st.IsDir():
		return nil, fmt.Errorf("%s: is a folder; give one picture", path)
	case st.Size() > maxFile:
		return nil, fmt.Errorf("%s: is %d MB, more than any picture; give another file", path, st.Size()>>20)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", path, err)
	}
	s, err := Decode(b, maxPixels)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.Path = path
	return s, nil
}

// Decode decodes the bytes of a file.
func Decode(b []byte, maxPixels int) (s *Source, err error) {
	defer func() {
		if r := recover(); r != nil { // a decoder's bug must not take the program down
			s, err = nil, fmt.Errorf("the picture is damaged (%v); save it again with another program", r)
		}
	}()
	if len(b) == 0 {
		return nil, errors.New("the file is empty; give a picture")
	}
	cfg, format, err := image.DecodeConfig(bytes.NewReader(b))
	if errors.Is(err, image.ErrFormat) {
		return nil, fmt.Errorf("is no picture that can be read (%s); convert it to PNG or JPEG", kindOf(b))
	}
	if err != nil {
		return nil, fmt.Errorf("the %s picture is damaged or cut off (%w); save it again", format, err)
	}
	if cfg.Width < 1 || cfg.Height < 1 {
		return nil, fmt.Errorf("the %s picture has %dx%d pixels", format, cfg.Width, cfg.Height)
	}
	if maxPixels > 0 && int64(cfg.Width)*int64(cfg.Height) > int64(maxPixels) {
		return nil, &SizeError{cfg.Width, cfg.Height, maxPixels}
	}
	img, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("the %s picture is damaged or cut off (%w); save it again", format, err)
	}
	canvas := image.Rect(0, 0, cfg.Width, cfg.Height)
	if format == "gif" && img.Bounds() != canvas { // a first frame smaller than its canvas
		full := image.NewNRGBA(canvas)
		draw.Draw(full, img.Bounds(), img, img.Bounds().Min, draw.Src)
		img = full
	}
	sum := sha256.Sum256(b)
	s = &Source{img: img, turn: orientation(b, format), studio: format == "webp", bounds: img.Bounds(), SHA256: hex.EncodeToString(sum[:])}
	s.W, s.H = s.bounds.Dx(), s.bounds.Dy()
	if s.turn >= 5 {
		s.W, s.H = s.H, s.W
	}
	if o, ok := img.(interface{ Opaque() bool }); ok {
		s.HasAlpha = !o.Opaque()
	}
	return s, nil
}

// kindOf guesses what somebody took for a picture.
func kindOf(b []byte) string {
	switch {
	case len(b) > 12 && string(b[4:8]) == "ftyp" && slices.Contains([]string{"heic", "heix", "hevc", "mif1", "msf1"}, string(b[8:12])):
		return "it is HEIC"
	case len(b) > 12 && string(b[4:12]) == "ftypavif":
		return "it is AVIF"
	case bytes.HasPrefix(b, []byte("%PDF")):
		return "it is a PDF"
	case bytes.HasPrefix(b, []byte("8BPS")):
		return "it is a Photoshop file"
	case bytes.Contains(b[:min(len(b), 512)], []byte("<svg")):
		return "it is an SVG drawing"
	}
	return "PNG, JPEG, WebP, TIFF, BMP and GIF are"
}

// orientation reads the EXIF tag; 1 when there is none or it cannot be read.
func orientation(b []byte, format string) int {
	kind, ok := map[string]imagemeta.ImageFormat{
		"jpeg": imagemeta.JPEG, "png": imagemeta.PNG, "webp": imagemeta.WebP, "tiff": imagemeta.TIFF,
	}[format]
	if !ok {
		return 1
	}
	turn := 1
	_, err := imagemeta.Decode(imagemeta.Options{
		R: bytes.NewReader(b), ImageFormat: kind, Sources: imagemeta.EXIF,
		ShouldHandleTag: func(t imagemeta.TagInfo) bool { return t.Tag == "Orientation" && t.Namespace == "IFD0" },
		HandleTag: func(t imagemeta.TagInfo) error {
			if v, ok := t.Value.(uint16); ok && v >= 1 && v <= 8 {
				turn = int(v)
			}
			return nil
		},
	})
	if err != nil {
		return 1 // damaged metadata does not spoil a picture that decodes
	}
	return turn
}

// row converts one upright row to straight RGBA in [0,1], 4 values a pixel.
func (s *Source) row(y int, dst []float32) {
	at := func(x int) (int, int) { return x, y } // upright (x,y) -> stored (column,row)
	w, h := s.bounds.Dx()-1, s.bounds.Dy()-1
	switch s.turn {
	case 2:
		at = func(x int) (int, int) { return w - x, y }
	case 3:
		at = func(x int) (int, int) { return w - x, h - y }
	case 4:
		at = func(x int) (int, int) { return x, h - y }
	case 5:
		at = func(x int) (int, int) { return y, x }
	case 6:
		at = func(x int) (int, int) { return y, h - x }
	case 7:
		at = func(x int) (int, int) { return w - y, h - x }
	case 8:
		at = func(x int) (int, int) { return w - y, x }
	}
	origin := s.bounds.Min
	for x := range s.W {
		u, v := at(x)
		u, v = u+origin.X, v+origin.Y
		d := dst[4*x : 4*x+4 : 4*x+4]
		switch m := s.img.(type) { // the common kinds without 16-bit detours
		case *image.YCbCr:
			yi, ci := m.YOffset(u, v), m.COffset(u, v)
			s.yuv(d, m.Y[yi], m.Cb[ci], m.Cr[ci])
			d[3] = 1
		case *image.NYCbCrA:
			yi, ci := m.YOffset(u, v), m.COffset(u, v)
			s.yuv(d, m.Y[yi], m.Cb[ci], m.Cr[ci])
			d[3] = float32(m.A[m.AOffset(u, v)]) / 255
		case *image.NRGBA:
			p := m.Pix[m.PixOffset(u, v):]
			d[0], d[1], d[2], d[3] = float32(p[0])/255, float32(p[1])/255, float32(p[2])/255, float32(p[3])/255
		case *image.Gray:
			g := float32(m.Pix[m.PixOffset(u, v)]) / 255
			d[0], d[1], d[2], d[3] = g, g, g, 1
		default:
			c := color.NRGBA64Model.Convert(s.img.At(u, v)).(color.NRGBA64)
			d[0], d[1], d[2], d[3] = float32(c.R)/65535, float32(c.G)/65535, float32(c.B)/65535, float32(c.A)/65535
		}
	}
}

// yuv converts one pixel. JPEG uses the whole range of a byte; WebP the studio
// range of BT.601, which Go's decoder hands on as if it were JPEG's.
func (s *Source) yuv(d []float32, y, cb, cr uint8) {
	if s.studio {
		l, u, v := 1.164383*(float32(y)-16), float32(cb)-128, float32(cr)-128
		d[0] = clamp((l + 1.596027*v) / 255)
		d[1] = clamp((l - 0.391762*u - 0.812968*v) / 255)
		d[2] = clamp((l + 2.017232*u) / 255)
		return
	}
	r, g, b := color.YCbCrToRGB(y, cb, cr)
	d[0], d[1], d[2] = float32(r)/255, float32(g)/255, float32(b)/255
}
