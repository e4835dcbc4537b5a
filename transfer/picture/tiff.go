package picture

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"

	"github.com/stylize-gpu/stylize/transfer/picture/jpeg"
)

// tiff is the first picture of a TIFF or BigTIFF: bilevel, grey, RGB, palette and
// CMYK, 1 to 64 bits, whole numbers and floating point, in strips or tiles,
// chunky or planar, with any further channels. golang.org/x/image/tiff reads the
// commonest of these, and turns some fax pictures black for white.
type tiff struct {
	order binary.ByteOrder
	file  []byte
	tags  map[int]field
	zstd  *zstd.Decoder // nil until a part needs it; all use one

	w, h          int
	bits, samples int
	compression   int
	photometric   int
	planar        bool
	float         bool
	predictor     int
	alpha         int // 0 none, 1 premultiplied, 2 straight
	colours       int // channels that are colours: 1, 3 or 4

	tileW, tileH int // of a tile or strip
}

// field is the value of a tag, as it stands in the file: a list of numbers.
type field struct {
	data  []byte
	size  int // bytes of a number
	order binary.ByteOrder
}

func (f field) len() int {
	if f.size == 0 {
		return 0
	}
	return len(f.data) / f.size
}

func (f field) at(i int) uint64 { return number(f.order, f.data[i*f.size:][:f.size]) }

// blob are the bytes of a tag of bytes.
func (t *tiff) blob(tag int) []byte {
	if f := t.tags[tag]; f.size == 1 {
		return f.data
	}
	return nil
}

// Tags.
const (
	tagSubfile      = 254
	tagWidth        = 256
	tagHeight       = 257
	tagBits         = 258
	tagCompression  = 259
	tagPhotometric  = 262
	tagFillOrder    = 266
	tagDescription  = 270
	tagStripOffsets = 273
	tagOrientation  = 274
	tagSamples      = 277
	tagRowsPerStrip = 278
	tagStripCounts  = 279
	tagPlanar       = 284
	tagT4Options    = 292
	tagPredictor    = 317
	tagColorMap     = 320
	tagTileWidth    = 322
	tagTileHeight   = 323
	tagTileOffsets  = 324
	tagTileCounts   = 325
	tagSubIFDs      = 330
	tagInkSet       = 332
	tagExtraSamples = 338
	tagSampleFormat = 339
	tagJPEGTables   = 347
	tagICC          = 34675
	tagDNGVersion   = 50706

	maxTIFFSamples = 64
)

func tiffConfig(b []byte) (w, h int, err error) {
	t, err := readTIFF(b)
	if err != nil {
		return 0, 0, err
	}
	return t.w, t.h, nil
}

// readTIFF reads the first directory of a picture.
func readTIFF(b []byte) (*tiff, error) {
	t, err := openTIFF(b)
	if err != nil {
		return nil, err
	}
	return t, t.understand()
}

// openTIFF reads the first directory, also of EXIF data.
func openTIFF(b []byte) (*tiff, error) {
	t := &tiff{file: b, order: binary.LittleEndian, tags: map[int]field{}}
	if b[0] == 'M' {
		t.order = binary.BigEndian
	}
	big := b[2]+b[3] == '+'
	if big {
		d, err := t.at(8, 8)
		if err != nil {
			return nil, err
		}
		if err := t.directory(t.order.Uint64(d), 8, 20, 8); err != nil {
			return nil, err
		}
	} else {
		d, err := t.at(4, 4)
		if err != nil {
			return nil, err
		}
		if err := t.directory(uint64(t.order.Uint32(d)), 2, 12, 4); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// orientation is 1 to 8.
func (t *tiff) orientation() int {
	if v := t.one(tagOrientation, 1); v >= 1 && v <= 8 {
		return v
	}
	return 1
}

// at are n bytes of the file.
func (t *tiff) at(off, n uint64) ([]byte, error) {
	if off > uint64(len(t.file)) || n > uint64(len(t.file))-off {
		return nil, errCut
	}
	return t.file[off : off+n], nil
}

func (t *tiff) number(b []byte) uint64 { return number(t.order, b) }

func number(order binary.ByteOrder, b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(order.Uint16(b))
	case 4:
		return uint64(order.Uint32(b))
	}
	return order.Uint64(b)
}

// directory reads entries of so many bytes, with counts and offsets of `word`.
func (t *tiff) directory(off, countSize, entry, word uint64) error {
	c, err := t.at(off, countSize)
	if err != nil {
		return err
	}
	n := t.number(c)
	if n > uint64(len(t.file))/entry {
		return errCut
	}
	all, err := t.at(off+countSize, n*entry)
	if err != nil {
		return err
	}
	sizes := map[int]uint64{1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
	for ; len(all) > 0; all = all[entry:] {
		e := all[:entry]
		tag, size, count := int(t.number(e[:2])), sizes[int(t.number(e[2:4]))], t.number(e[4:4+word])
		if size == 0 || count > uint64(len(t.file)) { // fractions say nothing about pixels
			continue
		}
		data := e[4+word:]
		if count*size > word {
			if data, err = t.at(t.number(data), count*size); err != nil {
				continue // asked for, it is missing
			}
		}
		t.tags[tag] = field{data[:count*size], int(size), t.order}
	}
	return nil
}

func (t *tiff) one(tag, other int) int {
	if f := t.tags[tag]; f.len() > 0 && f.at(0) <= math.MaxInt32 {
		return int(f.at(0))
	}
	return other
}

// understand checks what the tags say together.
func (t *tiff) understand() error {
	t.w, t.h = t.one(tagWidth, 0), t.one(tagHeight, 0)
	t.samples, t.compression = t.one(tagSamples, 1), t.one(tagCompression, 1)
	t.photometric = t.one(tagPhotometric, -1)
	t.planar = t.one(tagPlanar, 1) == 2 && t.samples > 1
	t.predictor = t.one(tagPredictor, 1)
	t.bits = t.one(tagBits, 1)
	switch small := t.one(tagSubfile, 0)&1 == 1; {
	case t.tags[tagDNGVersion].len() == 4, small && t.tags[tagSubIFDs].len() > 0, matches(t.file[4:], "\x10\x00\x00\x00CR\x02"):
		return unsupported("a raw file of a camera") // what stands first is a small preview
	}
	if t.w < 1 || t.h < 1 || t.w > 1<<28 || t.h > 1<<28 {
		return errors.New("it does not say how large it is")
	}
	if t.samples < 1 || t.samples > maxTIFFSamples {
		return unsupported(fmt.Sprintf("a TIFF of %d channels", t.samples))
	}
	for i := range min(t.tags[tagBits].len(), t.samples) {
		if t.tags[tagBits].at(i) != uint64(t.bits) {
			return unsupported("a TIFF whose channels have different depths")
		}
	}
	for i := range min(t.tags[tagSampleFormat].len(), t.samples) {
		switch t.tags[tagSampleFormat].at(i) {
		case 1, 4: // whole numbers, or not said
		case 3:
			t.float = true
		case 2:
			return unsupported("a TIFF of signed numbers")
		default:
			return unsupported("a TIFF of complex numbers")
		}
	}
	switch {
	case t.float && t.bits != 16 && t.bits != 32 && t.bits != 64:
		return unsupported(fmt.Sprintf("a TIFF of floating point with %d bits", t.bits))
	case !t.float && (t.bits < 1 || t.bits > 16 && t.bits != 32):
		return unsupported(fmt.Sprintf("a TIFF of %d bits", t.bits))
	}
	switch t.photometric {
	case 0, 1:
		t.colours = 1
	case 2:
		t.colours = 3
	case 3:
		t.colours = 1
		if t.bits > 8 || t.float || t.tags[tagColorMap].len() < 3<<t.bits {
			return errors.New("its palette is missing")
		}
	case 5:
		if t.one(tagInkSet, 1) != 1 {
			return unsupported("a TIFF of other inks than CMYK")
		}
		t.colours = 4
	case 6:
		t.colours = 3
		if t.compression != 7 {
			return unsupported("a TIFF of YCbCr without JPEG")
		}
	case 4:
		return unsupported("a TIFF that is a mask")
	case 8, 9, 10:
		return unsupported("a TIFF of Lab colours")
	case 32803, 34892:
		return unsupported("a raw file of a camera")
	case 32844, 32845:
		return unsupported("a TIFF of LogLuv colours")
	case -1:
		return errors.New("it does not say what its values mean")
	default:
		return unsupported(fmt.Sprintf("a TIFF with the colours %d", t.photometric))
	}
	if t.samples < t.colours {
		return errors.New("it has fewer channels than colours")
	}
	if t.samples > t.colours && t.photometric != 3 {
		switch extra := t.one(tagExtraSamples, -1); {
		case extra == 1 || extra == 2:
			t.alpha = extra
		case extra == -1 && t.tags[tagExtraSamples].len() == 0 && t.samples == t.colours+1 && t.colours != 4:
			t.alpha = 2
		}
	}
	t.tileW, t.tileH = t.one(tagTileWidth, 0), t.one(tagTileHeight, 0)
	if t.tileW == 0 || t.tileH == 0 {
		t.tileW, t.tileH = t.w, min(max(t.one(tagRowsPerStrip, t.h), 1), t.h)
	}
	// A tile may be a little larger than the picture, not more: nobody unpacks gigabytes of nothing.
	if area := int64(t.w) * int64(t.h); int64(t.tileW)*int64(t.tileH) > 4*area+1<<20 || t.tileW > t.w+1<<16 || t.tileH > t.h+1<<16 {
		return errors.New("a part of it is impossibly large")
	}
	// Each part costs something, however few pixels it has.
	across, down := ceilDiv(t.w, t.tileW), ceilDiv(t.h, t.tileH)
	if area := int64(t.w) * int64(t.h); int64(across)*int64(down) > 1<<16+area/256 {
		return errors.New("it is cut into impossibly many parts")
	}
	// Nor does it unpack to much more than pixels: it may have channels that nobody shows.
	stride := (int64(t.tileW)*int64(t.bits)*int64(t.perChunk()) + 7) / 8
	if stride*int64(t.tileH) > 1<<25+24*int64(t.w)*int64(t.h) {
		return errors.New("a part of it unpacks to impossibly much")
	}
	switch t.compression {
	case 1, 5, 8, 32946, 32773, 50000, 7:
	case 2, 3, 4:
		if t.bits != 1 || t.samples != 1 {
			return errors.New("fax codes of more than one bit")
		}
		if t.compression == 3 && t.one(tagT4Options, 0)&1 != 0 {
			return unsupported("a TIFF of two-dimensional Group 3 fax codes")
		}
		if t.compression == 2 {
			return unsupported("a TIFF of fax codes without line ends")
		}
	default:
		names := map[int]string{
			6: "old-style JPEG", 34661: "JBIG", 34676: "LogLuv codes", 34677: "LogLuv codes", 34712: "JPEG 2000", 33003: "JPEG 2000", 33005: "JPEG 2000",
			34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA", 50001: "WebP", 50002: "JPEG XL", 32766: "NeXT codes", 32809: "ThunderScan codes",
		}
		if n := names[t.compression]; n != "" {
			return unsupported("a TIFF of " + n)
		}
		return unsupported(fmt.Sprintf("a TIFF with the compression %d", t.compression))
	}
	switch {
	case t.predictor == 1:
	case t.predictor == 2 && !t.float && (t.bits == 8 || t.bits == 16 || t.bits == 32):
	case t.predictor == 3 && t.float:
	default:
		return unsupported(fmt.Sprintf("a TIFF of %d bits with the predictor %d", t.bits, t.predictor))
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func decodeTIFF(ctx context.Context, b []byte) (raw, error) {
	t, err := readTIFF(b)
	if err != nil {
		return raw{}, err
	}
	defer func() {
		if t.zstd != nil {
			t.zstd.Close()
		}
	}()
	r := raw{channels: t.colours, profile: parsed(t.blob(tagICC)), turn: t.orientation()}
	if t.photometric == 3 {
		r.channels = 3
	}
	out := newTIFFImage(t)
	offsets, counts := t.tags[tagTileOffsets], t.tags[tagTileCounts]
	if offsets.len() == 0 {
		offsets, counts = t.tags[tagStripOffsets], t.tags[tagStripCounts]
	}
	across, down := ceilDiv(t.w, t.tileW), ceilDiv(t.h, t.tileH)
	planes := 1
	if t.planar {
		planes = t.samples
	}
	if offsets.len() < across*down*planes {
		return r, errCut
	}
	for p := range planes {
		if p >= t.colours && (p > t.colours || t.alpha == 0) { // a channel that is not shown
			break
		}
		for y := range down {
			for x := range across {
				i := (p*down+y)*across + x
				rows := t.tileH
				if t.tileW == t.w { // the last strip may be shorter
					rows = min(rows, t.h-y*t.tileH)
				}
				if err := ctx.Err(); err != nil {
					return r, err
				}
				n := uint64(len(b)) - min(offsets.at(i), uint64(len(b)))
				if i < counts.len() {
					n = counts.at(i)
				}
				data, err := t.at(offsets.at(i), n)
				if err != nil {
					return r, err
				}
				data, samples, err := t.unpack(ctx, data, rows)
				if err != nil {
					return r, err
				}
				t.place(out, data, samples, p, x*t.tileW, y*t.tileH, rows)
			}
		}
	}
	r.img = out.image(t)
	return r, nil
}

// perChunk is how many samples a pixel has in one strip or tile.
func (t *tiff) perChunk() int {
	if t.planar {
		return 1
	}
	return t.samples
}

// unpack gives the rows of a strip or tile, with whole bytes for each row.
func (t *tiff) unpack(ctx context.Context, data []byte, rows int) (out []byte, samples int, err error) {
	samples = t.perChunk()
	stride := (t.tileW*t.bits*samples + 7) / 8
	size := stride * rows
	if t.compression == 7 {
		return t.unpackJPEG(ctx, data, samples, rows)
	}
	if t.one(tagFillOrder, 1) == 2 {
		data = slices.Clone(data)
		for i, v := range data {
			data[i] = bits.Reverse8(v)
		}
	}
	switch t.compression {
	case 1:
		if len(data) < size {
			return nil, 0, errCut
		}
		out = data[:size]
		if t.predictor != 1 {
			out = slices.Clone(out)
		}
	case 5:
		out, err = exactly(lzw.NewReader(until(ctx, data), lzw.MSB, 8), size)
	case 8, 32946:
		var z io.Reader
		if z, err = zlib.NewReader(until(ctx, data)); err == nil {
			out, err = exactly(z, size)
		}
	case 32773:
		out, err = packBits(data, size)
	case 50000:
		if t.zstd == nil {
			t.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(1<<26))
		}
		if err == nil {
			err = t.zstd.Reset(until(ctx, data))
		}
		if err == nil {
			out, err = exactly(t.zstd, size)
		}
	case 3, 4:
		sub := ccitt.Group3
		if t.compression == 4 {
			sub = ccitt.Group4
		}
		align := t.compression == 3 && t.one(tagT4Options, 0)&4 != 0
		out, err = exactly(ccitt.NewReader(until(ctx, data), ccitt.MSB, sub, t.tileW, rows, &ccitt.Options{Invert: true, Align: align}), size)
	}
	if err != nil {
		return nil, 0, err
	}
	for y := range rows {
		t.unpredict(out[y*stride:(y+1)*stride], samples)
	}
	return out, samples, nil
}

// exactly reads n bytes, growing as they come: a file cannot claim more than it has.
func exactly(r io.Reader, n int) ([]byte, error) {
	out := make([]byte, 0, min(n, 1<<20))
	for len(out) < n {
		if len(out) == cap(out) {
			out = append(make([]byte, 0, min(2*cap(out), n)), out...)
		}
		k, err := r.Read(out[len(out):cap(out)])
		if out = out[:len(out)+k]; err != nil && len(out) < n {
			if errors.Is(err, io.EOF) {
				err = errCut
			}
			return nil, err
		}
	}
	return out, nil
}

func packBits(b []byte, n int) ([]byte, error) {
	var out []byte
	for len(out) < n {
		if len(b) < 2 {
			return nil, errCut
		}
		switch c := int(int8(b[0])); {
		case c >= 0:
			if len(b) < c+2 {
				return nil, errCut
			}
			out = append(out, b[1:c+2]...)
			b = b[c+2:]
		case c == -128:
			b = b[1:]
		default:
			out = append(out, bytes.Repeat(b[1:2], 1-c)...)
			b = b[2:]
		}
	}
	return out[:n], nil
}

// unpackJPEG decodes a strip or tile that is a JPEG of its own.
func (t *tiff) unpackJPEG(ctx context.Context, data []byte, samples, rows int) ([]byte, int, error) {
	if t.bits != 8 {
		return nil, 0, jpeg.Unsupported(fmt.Sprintf("a TIFF of JPEG with %d bits", t.bits))
	}
	if w, h, err := jpeg.Config(data); err != nil {
		return nil, 0, err
	} else if w > t.tileW+16 || h > t.tileH+16 { // some are whole blocks
		return nil, 0, errors.New("a JPEG larger than its place")
	}
	transform := 0
	if t.photometric == 6 {
		transform = 1
	}
	m, err := jpeg.DecodeTables(ctx, t.blob(tagJPEGTables), data, transform)
	if err != nil {
		return nil, 0, err
	}
	if m.Channels != samples || m.W < min(t.tileW, t.w) || m.H < rows {
		return nil, 0, errors.New("a JPEG of another size than its place")
	}
	if m.W == t.tileW {
		return m.Pix, samples, nil
	}
	out := make([]byte, t.tileW*rows*samples)
	for y := range rows {
		copy(out[y*t.tileW*samples:(y+1)*t.tileW*samples], m.Pix[y*m.W*samples:(y+1)*m.W*samples])
	}
	return out, samples, nil
}

// unpredict adds up the differences of a row.
func (t *tiff) unpredict(row []byte, samples int) {
	switch {
	case t.predictor == 2 && t.bits == 8:
		for i := samples; i < len(row); i++ {
			row[i] += row[i-samples]
		}
	case t.predictor == 2 && t.bits == 16:
		for i := 2 * samples; i+2 <= len(row); i += 2 {
			t.order.PutUint16(row[i:], t.order.Uint16(row[i:])+t.order.Uint16(row[i-2*samples:]))
		}
	case t.predictor == 2:
		for i := 4 * samples; i+4 <= len(row); i += 4 {
			t.order.PutUint32(row[i:], t.order.Uint32(row[i:])+t.order.Uint32(row[i-4*samples:]))
		}
	case t.predictor == 3: // bytes of equal weight stand together, the highest first
		for i := samples; i < len(row); i++ {
			row[i] += row[i-samples]
		}
		size := t.bits / 8
		n := len(row) / size
		mixed := slices.Clone(row)
		for i := range n {
			for k := range size {
				at := i*size + k
				if t.order == binary.ByteOrder(binary.LittleEndian) {
					at = i*size + size - 1 - k
				}
				row[at] = mixed[k*n+i]
			}
		}
	}
}

// tiffImage collects samples: 8 bits where the file has no more, else float32.
type tiffImage struct {
	channels int // colours and alpha
	bytes    []byte
	floats   []float32
}

func newTIFFImage(t *tiff) *tiffImage {
	m := &tiffImage{channels: t.colours}
	if t.alpha != 0 {
		m.channels++
	}
	if t.bits <= 8 && !t.float {
		m.bytes = make([]byte, t.w*t.h*m.channels)
	} else {
		m.floats = make([]float32, t.w*t.h*m.channels)
	}
	return m
}

// place puts a strip or tile where it belongs. With planes it is channel p.
func (t *tiff) place(m *tiffImage, data []byte, samples, p, x0, y0, rows int) {
	stride := (t.tileW*t.bits*samples + 7) / 8
	cols, keep := min(t.tileW, t.w-x0), m.channels
	if t.planar {
		keep = 1
	}
	for y := range min(rows, t.h-y0) {
		row := data[y*stride : (y+1)*stride]
		at := ((y0+y)*t.w+x0)*m.channels + p
		if t.bits == 8 && !t.float && samples == m.channels {
			copy(m.bytes[at:at+cols*samples], row)
			continue
		}
		for x := range cols {
			for c := range keep {
				i := x*samples + c
				if m.bytes != nil {
					v := t.whole(row, i)
					if t.photometric != 3 { // an index stays one
						v = v * 255 / (1<<t.bits - 1)
					}
					m.bytes[at+x*m.channels+c] = byte(v)
				} else {
					m.floats[at+x*m.channels+c] = t.value(row, i)
				}
			}
		}
	}
}

// whole is sample i of a row of whole numbers.
func (t *tiff) whole(row []byte, i int) uint64 {
	switch t.bits {
	case 8:
		return uint64(row[i])
	case 16, 32:
		return t.number(row[i*t.bits/8:][:t.bits/8])
	}
	v := uint64(0)
	for k := i * t.bits; k < (i+1)*t.bits; k++ {
		v = v<<1 | uint64(row[k/8]>>(7-k%8)&1)
	}
	return v
}

// value is sample i of a row as a fraction.
func (t *tiff) value(row []byte, i int) float32 {
	if !t.float {
		return float32(float64(t.whole(row, i)) / float64(uint64(1)<<t.bits-1))
	}
	var v float32
	switch b := row[i*t.bits/8:]; t.bits {
	case 16:
		v = halfToFloat(t.order.Uint16(b))
	case 32:
		v = math.Float32frombits(t.order.Uint32(b))
	default:
		v = float32(math.Float64frombits(t.order.Uint64(b)))
	}
	if v != v {
		return 0
	}
	return v
}

// halfToFloat widens a number of 16 bits.
func halfToFloat(h uint16) float32 {
	sign, exp, frac := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 != 0 {
		sign = -1
	}
	switch exp {
	case 0:
		return float32(sign * math.Ldexp(frac, -24))
	case 31:
		return float32(sign * math.Inf(1))
	}
	return float32(sign * math.Ldexp(1+frac/1024, exp-15))
}

// image makes a picture of the samples.
func (m *tiffImage) image(t *tiff) image.Image {
	canvas := image.Rect(0, 0, t.w, t.h)
	n := t.w * t.h
	if m.floats != nil {
		return m.wide(t, canvas)
	}
	if t.photometric == 0 {
		for i := range n {
			m.bytes[i*m.channels] = ^m.bytes[i*m.channels]
		}
	}
	switch {
	case t.photometric == 3:
		out, pal := make([]byte, 3*n), make([]uint64, 3<<t.bits)
		for i := range pal {
			pal[i] = t.tags[tagColorMap].at(i)
		}
		wide := slices.Max(pal) > 255 // some write 8 bits
		for i, v := range m.bytes {
			for c := range 3 {
				e := pal[c<<t.bits+int(v)]
				if wide {
					e >>= 8
				}
				out[3*i+c] = byte(e)
			}
		}
		return &rgb{out, canvas}
	case m.channels == 1:
		return &image.Gray{Pix: m.bytes, Stride: t.w, Rect: canvas}
	case t.colours == 4:
		if m.channels == 4 {
			return &image.CMYK{Pix: m.bytes, Stride: 4 * t.w, Rect: canvas}
		}
		out := make([]byte, 4*n) // without its alpha
		for i := range n {
			copy(out[4*i:4*i+4], m.bytes[5*i:])
		}
		return &image.CMYK{Pix: out, Stride: 4 * t.w, Rect: canvas}
	case m.channels == 3:
		return &rgb{m.bytes, canvas}
	}
	img := image.NewNRGBA(canvas)
	for i := range n {
		s, d := m.bytes[i*m.channels:(i+1)*m.channels], img.Pix[4*i:4*i+4]
		a := s[len(s)-1]
		for c := range 3 {
			d[c] = s[min(c, len(s)-2)]
			if t.alpha == 1 && a > 0 {
				d[c] = byte(min((int(d[c])*255+int(a)/2)/int(a), 255))
			}
		}
		d[3] = a
	}
	return img
}

// wide makes a picture of more than 8 bits. Numbers of floating point are 0 to 1;
// where they go beyond 1.5 they are taken for 0 to 255, or 0 to 65535.
func (m *tiffImage) wide(t *tiff, canvas image.Rectangle) image.Image {
	scale := float32(1)
	if t.float {
		switch top := slices.Max(m.floats); {
		case top > 255.5:
			scale = 1.0 / 65535
		case top > 1.5:
			scale = 1.0 / 255
		}
	}
	n := t.w * t.h
	if t.colours == 4 {
		img := image.NewCMYK(canvas)
		for i := range n {
			for c := range 4 {
				img.Pix[4*i+c] = byte(clamp(m.floats[i*m.channels+c]*scale)*255 + 0.5)
			}
		}
		return img
	}
	img := &floats{pix: make([]float32, 4*n), rect: canvas, alpha: t.alpha != 0}
	for i := range n {
		s, d := m.floats[i*m.channels:(i+1)*m.channels], img.pix[4*i:4*i+4]
		d[3] = 1
		if t.alpha != 0 {
			d[3] = clamp(s[len(s)-1] * scale)
			s = s[:len(s)-1]
		}
		for c := range 3 {
			v := s[min(c, len(s)-1)] * scale
			if t.alpha == 1 && d[3] > 0 {
				v /= d[3]
			}
			if t.photometric == 0 {
				v = 1 - v
			}
			d[c] = clamp(v)
		}
	}
	return img
}
