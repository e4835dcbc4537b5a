// Package picture reads, resizes and writes pictures. In between a picture is
// fp32 sRGB in [0,1], (H,W,3), with an alpha plane beside it where the file had
// one. PNG, JPEG, WebP, AVIF, HEIC, TIFF, BMP and GIF are read, each with its usual
// depths and layouts, turned upright by their EXIF tag and converted to sRGB by
// their profile; PNG, JPEG, AVIF, lossless WebP and TIFF are written.
//
// A file from outside is checked for its extents before it is decoded: what it takes
// to decode, in memory and time, is bounded by them. A decoder that panics is an
// error. What is legal but not read is named.
package picture

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/png"
	"io"
	"time"

	"github.com/stylize-gpu/stylize/transfer/picture/icc"
	"github.com/stylize-gpu/stylize/transfer/picture/jpeg"
	"github.com/stylize-gpu/stylize/vgg/openfile"
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

	img     image.Image
	turn    int          // EXIF orientation, 1 to 8
	profile *icc.Profile // nil is sRGB
	fill    bool
	bounds  image.Rectangle
	left    int // of what Crop left, upright
	top     int
	kept    *resized // what Resize made, where it is to remember it
}

// Limits bound what a file may ask for. Zero is no limit.
type Limits struct {
	Pixels int
	Bytes  int64 // of memory while it is decoded
}

// MemoryError refuses a picture that takes more memory than there is, before it is
// decoded.
type MemoryError struct {
	W, H       int
	Need, Have int64 // bytes
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("decoding its %dx%d pixels takes up to %d MB, and %d MB of memory are free; shrink it", e.W, e.H, e.Need>>20, e.Have>>20)
}

// Open reads and decodes a file of at most maxPixels pixels, or of any number
// when that is 0. A larger one is a *[SizeError].
func Open(path string, maxPixels int) (*Source, error) {
	return OpenContext(context.Background(), path, Limits{Pixels: maxPixels})
}

// OpenContext is Open within limits, until ctx is done.
func OpenContext(ctx context.Context, path string, l Limits) (*Source, error) {
	b, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	return DecodeNamed(ctx, b, path, l)
}

// DecodeNamed is DecodeContext of what a file of that name has, which errors begin with.
func DecodeNamed(ctx context.Context, b []byte, name string, l Limits) (*Source, error) {
	s, err := DecodeContext(ctx, b, l)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.Path = name
	return s, nil
}

// ReadFile reads a file whole, for [Decode]. What cannot be a picture, as a folder, is an
// error.
func ReadFile(path string) ([]byte, error) { return openfile.Read(path, maxFile) }

// headBytes is how much of a file has its extents, but for rare ones.
const headBytes = 1 << 16

// Extent reads the extents of a picture from the head of its file, as they are
// stored: a photograph may yet be turned by its EXIF tag. Decode may still find that
// the rest is damaged.
func Extent(path string) (w, h int, err error) {
	in, size, err := openfile.Regular(path)
	if err != nil {
		return 0, 0, err
	}
	defer in.Close()
	head := make([]byte, min(headBytes, size))
	n, err := io.ReadFull(in, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return 0, 0, fmt.Errorf("%s: cannot be read: %w", path, err)
	}
	if w, h, err = extent(head[:n]); err != nil && n == headBytes { // its head is longer, or it has a directory at the end
		b, e := ReadFile(path)
		if e != nil {
			return 0, 0, e
		}
		w, h, err = extent(b)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	return w, h, nil
}

// extent finds the format and reads its header.
func extent(b []byte) (w, h int, err error) {
	f, err := known(b)
	if err != nil {
		return 0, 0, err
	}
	return f.extents(b)
}

// known is the format of a file, or why it is none.
func known(b []byte) (*format, error) {
	if len(b) == 0 {
		return nil, errors.New("the file is empty; give a picture")
	}
	f := formatOf(b)
	if f == nil {
		return nil, errors.New("is no picture that can be read (" + kindOf(b))
	}
	return f, nil
}

// Decode decodes the bytes of a file.
func Decode(b []byte, maxPixels int) (*Source, error) {
	return DecodeContext(context.Background(), b, Limits{Pixels: maxPixels})
}

// What a picture may take to decode: ten times what the slowest takes on an idle
// machine. It is the last resort; the decoders bound what they do by themselves.
const (
	decodeTime  = 30 * time.Second
	decodePixel = 4 * time.Microsecond
)

var errSlow = errors.New("it takes far longer to decode than a picture of its size; save it again with another program")

// DecodeContext is Decode within limits. It returns ctx.Err() as soon as ctx is done,
// whatever the decoder does.
func DecodeContext(ctx context.Context, b []byte, l Limits) (*Source, error) {
	f, err := known(b)
	if err != nil {
		return nil, err
	}
	w, h, err := f.extents(b)
	if err != nil {
		return nil, err
	}
	area := int64(w) * int64(h)
	if l.Pixels > 0 && area > int64(l.Pixels) {
		return nil, &SizeError{w, h, l.Pixels}
	}
	if need := area * f.perPixel; l.Bytes > 0 && need > l.Bytes {
		return nil, &MemoryError{w, h, need, l.Bytes}
	}
	timed, cancel := context.WithTimeoutCause(ctx, decodeTime+time.Duration(area)*decodePixel, errSlow)
	defer cancel()
	type result struct {
		s   *Source
		err error
	}
	done := make(chan result, 1)
	go func() {
		s, err := f.source(timed, b)
		done <- result{s, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-timed.Done():
	}
	switch {
	case r.s != nil:
		return r.s, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case timed.Err() != nil:
		return nil, fmt.Errorf("the %s picture: %w", f.name, errSlow)
	}
	return nil, r.err
}

// extents reads the extents of a picture, and its source the rest. A decoder's bug must
// not take the program down.
func (f *format) extents(b []byte) (w, h int, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the picture is damaged (%v); save it again with another program", r)
		}
	}()
	if w, h, err = f.config(b); err != nil {
		return 0, 0, f.explain(err)
	}
	if w < 1 || h < 1 {
		return 0, 0, fmt.Errorf("the %s picture has %dx%d pixels", f.name, w, h)
	}
	return w, h, nil
}

func (f *format) source(ctx context.Context, b []byte) (s *Source, err error) {
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("the picture is damaged (%v); save it again with another program", r)
		}
	}()
	r, err := f.decode(ctx, b)
	if err != nil {
		return nil, f.explain(err)
	}
	sum := sha256.Sum256(b)
	s = &Source{img: r.img, turn: r.turn, bounds: r.img.Bounds(), SHA256: hex.EncodeToString(sum[:])}
	s.profile = usable(r.profile, r.channels)
	s.W, s.H = s.bounds.Dx(), s.bounds.Dy()
	if s.turn >= 5 {
		s.W, s.H = s.H, s.W
	}
	if o, ok := r.img.(interface{ Opaque() bool }); ok {
		s.HasAlpha = !o.Opaque()
	}
	return s, nil
}

// until reads bytes until ctx is done.
func until(ctx context.Context, b []byte) io.Reader { return &reading{ctx, bytes.NewReader(b)} }

type reading struct {
	ctx context.Context
	r   *bytes.Reader
}

func (r *reading) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b[:min(len(b), 1<<12)])
}

// Profile is the one whose colours the picture was stored in, nil for sRGB.
func (s *Source) Profile() *icc.Profile { return s.profile }

// FillTransparent has Resize put the mean of the visible colours where the picture
// is transparent, in the measure in which it is: for a style, whose hidden colours
// (often black) are no part of it. The alpha stays. A picture of which nothing is
// visible is an error.
func (s *Source) FillTransparent() error {
	s.fill = true
	if s.HasAlpha && !s.visible() {
		return errors.New("is transparent everywhere: there is no style to see; give another picture")
	}
	return nil
}

// visible reports whether any pixel of a picture with alpha is.
func (s *Source) visible() bool {
	row := make([]float32, 4*s.W)
	for y := range s.H {
		s.row(y, row)
		for x := range s.W {
			if row[4*x+3] > 0 {
				return true
			}
		}
	}
	return false
}

// raw is what a decoder hands over.
type raw struct {
	img      image.Image
	channels int          // that a profile is to have: 1, 3 or 4
	profile  *icc.Profile // nil is sRGB
	turn     int          // EXIF orientation, 1 to 8
}

// format is a kind of file.
type format struct {
	name   string
	magic  []string // what it begins with; ? is any byte
	config func(b []byte) (w, h int, err error)
	decode func(ctx context.Context, b []byte) (raw, error)

	perPixel int64 // bytes that decoding takes, at most
}

var formats = []format{
	{"PNG", []string{string(pngMagic)}, pngConfig, decodePNG, 12},
	{"JPEG", []string{"\xff\xd8\xff"}, jpeg.Config, decodeJPEG, 16},
	{"WebP", []string{"RIFF????WEBPVP8"}, webpConfig, decodeWebP, 16},
	{"TIFF", []string{"II*\x00", "MM\x00*", "II+\x00", "MM\x00+"}, tiffConfig, decodeTIFF, 40},
	{"BMP", []string{"BM????\x00\x00\x00\x00", "BM"}, bmpConfig, decodeBMP, 8},
	{"GIF", []string{"GIF87a", "GIF89a"}, gifConfig, decodeGIF, 8},
	{"AVIF", []string{"????ftypavif", "????ftypavis"}, heifConfig, decodeHEIF, 40},
	{"HEIC", []string{"????ftyphe", "????ftypmif1", "????ftypmsf1", "????ftypmiaf"}, heifConfig, decodeHEIF, 40},
}

func formatOf(b []byte) *format {
	for i, f := range formats {
		for _, m := range f.magic {
			if matches(b, m) {
				return &formats[i]
			}
		}
	}
	return nil
}

func matches(b []byte, magic string) bool {
	if len(b) < len(magic) {
		return false
	}
	for i, c := range []byte(magic) {
		if c != '?' && b[i] != c {
			return false
		}
	}
	return true
}

// unsupported names a picture that is as it should be, of a kind that is not read.
type unsupported string

func (u unsupported) Error() string { return string(u) }

// explain tells a picture that is not read from one that is damaged.
func (f *format) explain(err error) error {
	var (
		ours  unsupported
		jpg   jpeg.Unsupported
		pngs  png.UnsupportedError
		named = ""
	)
	switch {
	case errors.As(err, &ours):
		named = string(ours)
	case errors.As(err, &jpg):
		named = string(jpg)
	case errors.As(err, &pngs):
		named = "a PNG with " + string(pngs)
	}
	if named != "" {
		return fmt.Errorf("is %s, which is not read; convert it to PNG", named)
	}
	return fmt.Errorf("the %s picture is damaged or cut off (%w); save it again", f.name, err)
}

func decodeJPEG(ctx context.Context, b []byte) (raw, error) {
	m, err := jpeg.DecodeContext(ctx, b)
	if err != nil {
		return raw{}, err
	}
	r := raw{channels: m.Channels, profile: parsed(m.ICC), turn: orientation(m.EXIF)}
	canvas := image.Rect(0, 0, m.W, m.H)
	switch m.Channels {
	case 1:
		r.img = &image.Gray{Pix: m.Pix, Stride: m.W, Rect: canvas}
	case 3:
		r.img = &rgb{m.Pix, canvas}
	default:
		r.img = &image.CMYK{Pix: m.Pix, Stride: 4 * m.W, Rect: canvas}
	}
	return r, nil
}

func gifConfig(b []byte) (w, h int, err error) {
	c, err := gif.DecodeConfig(bytes.NewReader(b))
	return c.Width, c.Height, err
}

func decodeGIF(ctx context.Context, b []byte) (raw, error) {
	img, err := gif.Decode(until(ctx, b))
	if err != nil {
		return raw{}, err
	}
	w, h, err := gifConfig(b)
	if err != nil {
		return raw{}, err
	}
	return raw{img: onCanvas(img, image.Rect(0, 0, w, h)), channels: 3, turn: 1}, nil
}

// onCanvas lays a first frame that is smaller than its canvas on it.
func onCanvas(img image.Image, canvas image.Rectangle) image.Image {
	if img.Bounds() == canvas {
		return img
	}
	full := image.NewNRGBA(canvas)
	draw.Draw(full, img.Bounds(), img, img.Bounds().Min, draw.Src)
	return full
}

// rgb is 8 bits of each colour, opaque, from (0,0).
type rgb struct {
	pix  []byte
	rect image.Rectangle
}

func (m *rgb) Bounds() image.Rectangle { return m.rect }
func (m *rgb) ColorModel() color.Model { return color.RGBAModel }
func (m *rgb) Opaque() bool            { return true }
func (m *rgb) At(x, y int) color.Color {
	p := m.pix[3*(y*m.rect.Max.X+x):]
	return color.RGBA{p[0], p[1], p[2], 255}
}

// floats is straight RGBA of any range, from (0,0).
type floats struct {
	pix   []float32
	rect  image.Rectangle
	alpha bool
}

func (m *floats) Bounds() image.Rectangle { return m.rect }
func (m *floats) ColorModel() color.Model { return color.NRGBA64Model }
func (m *floats) Opaque() bool            { return !m.alpha }
func (m *floats) At(x, y int) color.Color {
	p, v := m.pix[4*(y*m.rect.Max.X+x):], func(f float32) uint16 { return uint16(clamp(f)*65535 + 0.5) }
	return color.NRGBA64{v(p[0]), v(p[1]), v(p[2]), v(p[3])}
}

const convert = "convert it to PNG or JPEG"

// strangers are what somebody may take for a picture that is read: what they are, what
// helps, and what they begin with.
var strangers = []struct {
	is, cure string
	magic    []string
}{
	{"the raw file of a camera", "develop it to a TIFF or JPEG", []string{"????ftypcrx ", "FUJIFILMCCD-RAW", "IIU\x00", "IIRO", "IIRS", "MMOR", "FOVb"}},
	{"a film", "give a picture of it as PNG or JPEG", []string{"????ftyp", "\x1aE\xdf\xa3", "RIFF????AVI "}},
	{"a PDF", convert, []string{"%PDF"}},
	{"PostScript", convert, []string{"%!PS"}},
	{"a Photoshop file", convert, []string{"8BPS"}},
	{"a GIMP file", convert, []string{"gimp xcf"}},
	{"JPEG XL", convert, []string{"\xff\x0a", "\x00\x00\x00\x0cJXL "}},
	{"JPEG 2000", convert, []string{"\x00\x00\x00\x0cjP  ", "\xff\x4f\xff\x51"}},
	{"OpenEXR", convert, []string{"\x76\x2f\x31\x01"}},
	{"a Radiance HDR picture", convert, []string{"#?RADIANCE"}},
	{"a DDS texture", convert, []string{"DDS "}},
	{"an icon", convert, []string{"\x00\x00\x01\x00"}},
	{"a PCX picture", convert, []string{"\x0a\x05\x01"}},
	{"a QOI picture", convert, []string{"qoif"}},
	{"an archive", "unpack it, and give a picture from it", []string{"PK\x03\x04", "\x1f\x8b", "Rar!", "7z\xbc\xaf", "\xfd7zXZ", "\x28\xb5\x2f\xfd"}},
}

// kindOf guesses what a file is that is no picture that is read, and what helps.
func kindOf(b []byte) string {
	for _, s := range strangers {
		for _, m := range s.magic {
			if matches(b, m) {
				return "it is " + s.is + "); " + s.cure
			}
		}
	}
	head := bytes.ToLower(b[:min(len(b), 512)])
	switch {
	case len(b) > 2 && b[0] == 'P' && b[1] >= '1' && b[1] <= '7' && bytes.IndexByte([]byte(" \t\r\n"), b[2]) >= 0:
		return "it is a Netpbm picture); " + convert
	case bytes.Contains(head, []byte("<html")), bytes.Contains(head, []byte("<!doctype html")):
		return "it is a web page); download the picture itself"
	case bytes.Contains(head, []byte("<svg")):
		return "it is an SVG drawing); " + convert
	}
	return "PNG, JPEG, WebP, AVIF, HEIC, TIFF, BMP and GIF are); " + convert
}

// orientation reads the tag in EXIF data; 1 when there is none or it cannot be
// read: damaged metadata does not spoil a picture that decodes.
func orientation(exif []byte) int {
	exif = bytes.TrimPrefix(exif, []byte("Exif\x00\x00"))
	if !matches(exif, "II*\x00") && !matches(exif, "MM\x00*") {
		return 1
	}
	t, err := openTIFF(exif)
	if err != nil {
		return 1
	}
	return t.orientation()
}

// row converts one upright row to straight RGBA in [0,1], 4 values a pixel.
func (s *Source) row(y int, dst []float32) {
	y += s.top
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
		u, v := at(x + s.left)
		u, v = u+origin.X, v+origin.Y
		d := dst[4*x : 4*x+4 : 4*x+4]
		switch m := s.img.(type) { // the common kinds without 16-bit detours
		case *rgb:
			p := m.pix[3*(v*s.bounds.Max.X+u):]
			d[0], d[1], d[2], d[3] = float32(p[0])/255, float32(p[1])/255, float32(p[2])/255, 1
		case *image.NRGBA:
			p := m.Pix[m.PixOffset(u, v):]
			d[0], d[1], d[2], d[3] = float32(p[0])/255, float32(p[1])/255, float32(p[2])/255, float32(p[3])/255
		case *image.Gray:
			g := float32(m.Pix[m.PixOffset(u, v)]) / 255
			d[0], d[1], d[2], d[3] = g, g, g, 1
		case *image.CMYK:
			p := m.Pix[m.PixOffset(u, v):]
			if s.profile != nil {
				d[0], d[1], d[2], d[3] = float32(p[0])/255, float32(p[1])/255, float32(p[2])/255, float32(p[3])/255
				continue
			}
			k := float32(255-p[3]) / (255 * 255)
			d[0], d[1], d[2], d[3] = float32(255-p[0])*k, float32(255-p[1])*k, float32(255-p[2])*k, 1
		case *floats:
			copy(d, m.pix[4*(v*s.bounds.Max.X+u):])
		default:
			c := color.NRGBA64Model.Convert(s.img.At(u, v)).(color.NRGBA64)
			d[0], d[1], d[2], d[3] = float32(c.R)/65535, float32(c.G)/65535, float32(c.B)/65535, float32(c.A)/65535
		}
	}
	if s.profile == nil {
		return
	}
	s.profile.ToSRGB(dst[:4*s.W])
	if s.profile.Channels() == 4 {
		for i := 3; i < 4*s.W; i += 4 {
			dst[i] = 1
		}
	}
}
