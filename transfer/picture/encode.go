package picture

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/HugoSmits86/nativewebp"

	"github.com/stylize-gpu/stylize/transfer/picture/heif"
	"github.com/stylize-gpu/stylize/transfer/picture/icc"
	"github.com/stylize-gpu/stylize/transfer/picture/jpeg"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/openfile"
)

// Format is a kind of file that can be written.
type Format int

// The formats.
const (
	PNG Format = iota
	JPEG
	WebP // lossless
	TIFF
	AVIF
)

// writes are the formats: the extension, and the name in a sentence.
var writes = map[Format][2]string{PNG: {"png", "PNG"}, JPEG: {"jpg", "JPEG"}, WebP: {"webp", "WebP"}, TIFF: {"tif", "TIFF"}, AVIF: {"avif", "AVIF"}}

// Written are the extensions of what can be written, as a sentence has them.
const Written = ".png, .jpg, .webp, .tif or .avif"

// Lossy reports whether the format loses something, as much as the quality says.
func (f Format) Lossy() bool { return f == JPEG || f == AVIF }

// Deep reports whether the format can have 16 bits.
func (f Format) Deep() bool { return f == PNG || f == TIFF }

// ParseFormat reads png, jpg, webp, tif or avif.
func ParseFormat(name string) (Format, error) {
	for f, names := range writes {
		if names[0] == name {
			return f, nil
		}
	}
	return 0, errors.New("give png, jpg, webp, tif or avif")
}

// Extension is that of a file of the format, with its point.
func (f Format) Extension() string { return "." + writes[f][0] }

func (f Format) String() string { return writes[f][1] }

// FormatOf chooses by the extension of a name.
func FormatOf(path string) (Format, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".png":
		return PNG, nil
	case ".jpg", ".jpeg":
		return JPEG, nil
	case ".webp":
		return WebP, nil
	case ".tif", ".tiff":
		return TIFF, nil
	case ".avif":
		return AVIF, nil
	case "":
		return 0, fmt.Errorf("%s: give the name an extension, "+Written, path)
	default:
		return 0, fmt.Errorf("%s: pictures are written as "+Written+", not %s", path, ext)
	}
}

// SaveOptions says how to write.
type SaveOptions struct {
	Bits     int    // 8 or 16 per channel, of PNG and TIFF; 0 is 8
	Quality  int    // JPEG and AVIF, 1 to 100; 0 is 95
	Metadata string // stored in a PNG under [Keyword]
	Bare     bool   // leave Metadata out
	Key      string // names what the picture is, 64 hexadecimal digits; stored in any format, see [ReadKey]

	Subsampling string       // chroma of JPEG and AVIF: 444, 422 or 420; empty is 444 from quality 90, below it 420
	Profile     *icc.Profile // write the picture in these colours, which are reversible; nil is sRGB
}

// Subsamplings are what SaveOptions.Subsampling may be.
var Subsamplings = []string{"444", "422", "420"}

// Keyword names the text that a PNG carries about how it was made.
const Keyword = "stylize"

// Save writes a picture, whole or not at all, and says what its colours mean. A
// JPEG has no alpha: the picture is laid on white.
func (p *Picture) Save(path string, o SaveOptions) error {
	format, err := FormatOf(path)
	if err != nil {
		return err
	}
	b, err := p.Encode(format, o)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// Encode returns the bytes of a file.
func (p *Picture) Encode(format Format, o SaveOptions) ([]byte, error) {
	switch format {
	case JPEG:
		b, err := p.jpeg(o)
		if err != nil || o.Key == "" {
			return b, err
		}
		return jpegWithKey(b, o.Key)
	case WebP:
		return p.webp(o)
	case TIFF:
		return p.tiff(o)
	case AVIF:
		return p.avif(o)
	default:
		b, err := p.png(o)
		if err != nil || o.Key == "" {
			return b, err
		}
		return withChunk(b, pngKey(o.Key))
	}
}

func (p *Picture) jpeg(o SaveOptions) ([]byte, error) {
	o.Quality, o.Subsampling = o.Loss()
	sampling := map[string]jpeg.Sampling{"444": jpeg.S444, "422": jpeg.S422, "420": jpeg.S420}[o.Subsampling]
	q := p.onWhite().in(o.Profile)
	pix := make([]byte, len(q.RGB))
	for i, v := range q.RGB {
		pix[i] = uint8(clamp(v)*255 + 0.5)
	}
	return jpeg.Encode(pix, q.W, q.H, o.Quality, sampling, o.profile())
}

// Loss is the quality and the subsampling that apply to what loses something.
func (o SaveOptions) Loss() (quality int, subsampling string) {
	quality, subsampling = cmp.Or(o.Quality, 95), o.Subsampling
	if subsampling == "" {
		subsampling = "444"
		if quality < 90 {
			subsampling = "420"
		}
	}
	return quality, subsampling
}

// avif writes an AVIF of 8 bits. Its key stands in a box at the end, which readers skip.
func (p *Picture) avif(o SaveOptions) ([]byte, error) {
	if p.W > heif.MaxSide || p.H > heif.MaxSide {
		return nil, fmt.Errorf("an AVIF has at most %d pixels on each side; write a .png", heif.MaxSide)
	}
	quality, subsampling := o.Loss()
	sampling := map[string]heif.Sampling{"444": heif.S444, "422": heif.S422, "420": heif.S420}[subsampling]
	img := p.in(o.Profile).toNRGBA()
	for px := img.Pix; len(px) > 0; px = px[4:] { // the encoder takes alpha out of them again
		if a := int(px[3]); a < 255 {
			for c := range 3 {
				px[c] = byte((int(px[c])*a + 127) / 255)
			}
		}
	}
	var profile []byte
	if o.Profile != nil {
		profile = o.Profile.Encode()
	}
	b, err := heif.EncodeAVIF(img.Pix, p.W, p.H, quality, sampling, profile)
	if err != nil || o.Key == "" {
		return b, err
	}
	return append(b, avifKey(o.Key)...), nil
}

func (p *Picture) png(o SaveOptions) ([]byte, error) {
	q := p.in(o.Profile)
	var img image.Image = q.toNRGBA()
	if o.Bits == 16 {
		img = q.toNRGBA64()
	}
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		return nil, err
	}
	colour := pngChunk("sRGB", []byte{1}) // relative colorimetric
	if o.Profile != nil {
		var z bytes.Buffer
		z.WriteString("content\x00\x00")
		w := zlib.NewWriter(&z)
		if _, err := w.Write(o.Profile.Encode()); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		colour = pngChunk("iCCP", z.Bytes())
	}
	b, err := withChunk(buf.Bytes(), colour)
	if err != nil || o.Metadata == "" || o.Bare {
		return b, err
	}
	text := append([]byte(Keyword), 0, 0, 0, 0, 0) // not compressed, no language, no translation
	return withChunk(b, pngChunk("iTXt", append(text, o.Metadata...)))
}

// webp writes a lossless WebP.
func (p *Picture) webp(o SaveOptions) ([]byte, error) {
	if p.W > 1<<14 || p.H > 1<<14 {
		return nil, errors.New("a WebP has at most 16384 pixels on each side; write a .png")
	}
	img := p.in(o.Profile).toNRGBA()
	var buf bytes.Buffer
	if err := nativewebp.Encode(&buf, img, nil); err != nil {
		return nil, err
	}
	head := make([]byte, 10)
	head[0] = webpProfile
	if !img.Opaque() {
		head[0] |= webpAlpha
	}
	put24(head[4:], p.W-1)
	put24(head[7:], p.H-1)
	chunks := []riff{{"VP8X", head}, {"ICCP", o.profile()}}
	for _, c := range riffChunks(buf.Bytes()[12:]) {
		if c.name == "VP8L" {
			chunks = append(chunks, c)
		}
	}
	if o.Key != "" { // what readers do not know stands at the end
		chunks = append(chunks, riff{webpKey, []byte(keyText + o.Key)})
	}
	return webpFile(chunks...), nil
}

// tiff writes one strip, packed by zlib with differences.
func (p *Picture) tiff(o SaveOptions) ([]byte, error) {
	q, samples, size := p.in(o.Profile), 3, 1
	if o.Bits == 16 {
		size = 2
	}
	if p.Alpha != nil {
		samples = 4
	}
	le := binary.LittleEndian
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	row := make([]byte, 0, p.W*samples*size)
	last := make([]uint16, samples)
	for i := range p.W * p.H {
		if i%p.W == 0 {
			row = row[:0]
			clear(last)
		}
		for c := range samples {
			v := float32(0)
			if c == 3 {
				v = clamp(q.Alpha[i])
			} else {
				v = clamp(q.RGB[3*i+c])
			}
			if size == 1 {
				n := uint16(v*255 + 0.5)
				row, last[c] = append(row, byte(n-last[c])), n
			} else {
				n := uint16(v*65535 + 0.5)
				row, last[c] = le.AppendUint16(row, n-last[c]), n
			}
		}
		if i%p.W == p.W-1 {
			if _, err := w.Write(row); err != nil {
				return nil, err
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	const short, long, undefined = 3, 4, 7
	type entry struct {
		tag, kind, count int
		data             []byte
	}
	out := []byte("II*\x00\x00\x00\x00\x00")
	if o.Key != "" {
		out = append(out, keyText+o.Key+"\x00"...)
		out = append(out, make([]byte, len(out)&1)...)
	}
	const ascii = 2
	number := func(tag, v int) entry { return entry{tag, long, 1, le.AppendUint32(nil, uint32(v))} }
	var depth []byte
	for range samples {
		depth = le.AppendUint16(depth, uint16(8*size))
	}
	profile := o.profile()
	entries := []entry{
		number(tagWidth, p.W), number(tagHeight, p.H),
		{tagBits, short, samples, depth},
		number(tagCompression, 8), number(tagPhotometric, 2),
	}
	if o.Key != "" {
		entries = append(entries, entry{tagDescription, ascii, len(keyText + o.Key + "\x00"), []byte(keyText + o.Key + "\x00")})
	}
	entries = append(entries, []entry{
		number(tagStripOffsets, len(out)), number(tagSamples, samples), number(tagRowsPerStrip, p.H), number(tagStripCounts, z.Len()), number(tagPredictor, 2),
	}...)
	if samples == 4 {
		entries = append(entries, number(tagExtraSamples, 2))
	}
	entries = append(entries, entry{tagICC, undefined, len(profile), profile})
	out = append(out, z.Bytes()...)
	dir := le.AppendUint16(nil, uint16(len(entries)))
	for _, e := range entries {
		dir = le.AppendUint16(le.AppendUint16(dir, uint16(e.tag)), uint16(e.kind))
		dir = le.AppendUint32(dir, uint32(e.count))
		switch {
		case e.tag == tagDescription:
			dir = le.AppendUint32(dir, 8) // it stands behind the header
		case len(e.data) > 4:
			out = append(out, make([]byte, len(out)&1)...)
			dir = le.AppendUint32(dir, uint32(len(out)))
			out = append(out, e.data...)
		default:
			dir = append(dir, e.data...)
		}
	}
	out = append(out, make([]byte, len(out)&1)...)
	if int64(len(out)) > 1<<32-1<<16 {
		return nil, errors.New("it is too large for a TIFF; write a .png")
	}
	le.PutUint32(out[4:], uint32(len(out)))
	return le.AppendUint32(append(out, dir...), 0), nil
}

// profile is the one to embed, as bytes.
func (o SaveOptions) profile() []byte {
	if o.Profile == nil {
		return icc.SRGB()
	}
	return o.Profile.Encode()
}

// in converts a picture to the colours of a profile; nil is sRGB.
func (p *Picture) in(profile *icc.Profile) *Picture {
	if profile == nil {
		return p
	}
	px := make([]float32, 4*p.W*p.H)
	for i := range p.W * p.H {
		copy(px[4*i:4*i+3], p.RGB[3*i:])
	}
	profile.FromSRGB(px)
	q := &Picture{W: p.W, H: p.H, RGB: make([]float32, len(p.RGB)), Alpha: p.Alpha}
	for i := range p.W * p.H {
		copy(q.RGB[3*i:3*i+3], px[4*i:])
	}
	return q
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

// pngChunk makes a chunk.
func pngChunk(name string, data []byte) []byte {
	b := append([]byte(name), data...)
	out := append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), b...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(b))
}

// withChunk inserts a chunk behind IHDR.
func withChunk(b, chunk []byte) ([]byte, error) {
	const ihdrEnd = 8 + 4 + 4 + 13 + 4
	if len(b) < ihdrEnd || !bytes.HasPrefix(b, pngMagic) {
		return nil, errors.New("not a PNG stream")
	}
	return slices.Concat(b[:ihdrEnd], chunk, b[ihdrEnd:]), nil
}

// ReadText returns the text that Save stored in a PNG file.
func ReadText(path string) (string, error) {
	b, err := openfile.Read(path, maxFile)
	if err != nil {
		return "", err
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
