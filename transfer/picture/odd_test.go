package picture

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// shows checks that bytes decode to the chart within tol of 255.
func shows(t *testing.T, name string, b []byte, tol float64) {
	t.Helper()
	s, err := Decode(b, DefaultMaxPixels)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if s.W != 24 || s.H != 16 {
		t.Errorf("%s: %dx%d, want 24x16", name, s.W, s.H)
		return
	}
	p := s.Resize(24, 16, Bicubic)
	for i := range 24 * 16 {
		if s.HasAlpha && i%24 < 4 { // nearly transparent: its colour is rounded away
			continue
		}
		want := chart[i%24/12+2*(i/24/8)]
		for c := range 3 {
			w := want[c]
			if strings.Contains(name, "grey") {
				w = 0.299*want[0] + 0.587*want[1] + 0.114*want[2]
			}
			if d := math.Abs(float64(p.RGB[3*i+c]*255 - w)); d > tol {
				t.Errorf("%s: pixel %d channel %d is %.1f, want %.1f", name, i, c, p.RGB[3*i+c]*255, w)
				return
			}
		}
	}
}

// What other programs write and other readers trip over.
func TestOddFiles(t *testing.T) {
	const dir = "../../testdata/odd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), "exact") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		s, err := Decode(b, DefaultMaxPixels)
		if what, ok := strings.CutPrefix(e.Name(), "named_"); ok {
			what, _, _ = strings.Cut(what, ".")
			if err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "damaged") {
				t.Errorf("%s: %v", e.Name(), err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", e.Name(), err)
			continue
		}
		if want := strings.HasPrefix(e.Name(), "alpha"); s.HasAlpha != want {
			t.Errorf("%s: alpha %v", e.Name(), s.HasAlpha)
		}
		if strings.HasPrefix(e.Name(), "fax") {
			p := s.Resize(24, 16, Bicubic)
			for i := range 24 * 16 {
				if want := float32(i % 24 / 12); p.RGB[3*i] != want {
					t.Errorf("%s: pixel %d is %v, want %v", e.Name(), i, p.RGB[3*i], want)
					break
				}
			}
			continue
		}
		if !strings.Contains(e.Name(), "lossy") {
			shows(t, e.Name(), b, 1)
			continue
		}
		p := s.Resize(24, 16, Bicubic) // the middles of the quarters
		for q, want := range chart {
			i := 3 * ((4+q/2*8)*24 + 6 + q%2*12)
			for c := range 3 {
				w := want[c]
				if strings.Contains(e.Name(), "grey") {
					w = 0.299*want[0] + 0.587*want[1] + 0.114*want[2]
				}
				if d := math.Abs(float64(p.RGB[i+c]*255 - w)); d > 14 {
					t.Errorf("%s: quarter %d channel %d is %.0f, want %.0f", e.Name(), q, c, p.RGB[i+c]*255, w)
				}
			}
		}
	}
}

// Lossy WebP gives libwebp's bits.
func TestWebPIsExact(t *testing.T) {
	b, err := os.ReadFile("../../testdata/odd/exact.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(b, &want); err != nil || len(want) == 0 {
		t.Fatal(err)
	}
	for name, hash := range want {
		s, err := Open(filepath.Join("../../testdata/odd", name), 0)
		if err != nil {
			t.Fatal(err)
		}
		var pix []byte
		row := make([]float32, 4*s.W)
		for y := range s.H {
			s.row(y, row)
			for i, v := range row {
				if i%4 < 3 || s.HasAlpha {
					pix = append(pix, byte(v*255+0.5))
				}
			}
		}
		if sum := sha256.Sum256(pix); hex.EncodeToString(sum[:]) != hash {
			t.Errorf("%s: other pixels than libwebp's", name)
		}
	}
}

type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// tiffOf writes the chart as a TIFF.
type tiffOf struct {
	order       byteOrder
	big         bool
	bits        int
	float       bool
	planar      bool
	tile        int // 0: strips of 5 rows
	predictor   int
	compression int
	extra       []uint64 // kinds of further channels
	photometric int      // 0, 1 (grey) or 2
	longTurn    int      // orientation, as LONG
	scale       float64  // of floating point
	profile     []byte
	shorts      [][]int // further tags, and what they say
}

func (o tiffOf) bytes() []byte {
	colours := 3
	if o.photometric < 2 {
		colours = 1
	}
	channels := colours + len(o.extra)
	weight := 1.0
	if len(o.extra) > 0 && o.extra[0] == 1 { // premultiplied
		weight = 0.5
	}
	sample := func(x, y, c int) float64 {
		q := chart[x/12+2*(y/8)]
		switch {
		case c >= colours:
			return []float64{0.5, 1}[(c-colours)&1]
		case colours == 1:
			v := float64(0.299*q[0]+0.587*q[1]+0.114*q[2]) / 255
			if o.photometric == 0 {
				v = 1 - v
			}
			return v * weight
		}
		return float64(q[c]) / 255 * weight
	}
	put := func(row []byte, v float64) []byte {
		switch {
		case o.float && o.bits == 64:
			return o.order.AppendUint64(row, math.Float64bits(v*o.scale))
		case o.float:
			return o.order.AppendUint32(row, math.Float32bits(float32(v*o.scale)))
		case o.bits == 8:
			return append(row, byte(v*255+0.5))
		case o.bits == 16:
			return o.order.AppendUint16(row, uint16(v*65535+0.5))
		}
		return o.order.AppendUint32(row, uint32(v*0xffffffff))
	}
	w, h := 24, 5
	if o.tile > 0 {
		w, h = o.tile, o.tile
	}
	planes, per := 1, channels
	if o.planar {
		planes, per = channels, 1
	}
	var chunks [][]byte
	for p := range planes {
		for y0 := 0; y0 < 16; y0 += h {
			for x0 := 0; x0 < 24; x0 += w {
				var chunk []byte
				for y := y0; y < y0+h; y++ {
					if o.tile == 0 && y >= 16 {
						break
					}
					var row []byte
					for x := x0; x < x0+w; x++ {
						for c := range per {
							row = put(row, sample(min(x, 23), min(y, 15), p+c))
						}
					}
					chunk = append(chunk, o.predict(row, per)...)
				}
				chunks = append(chunks, o.pack(chunk))
			}
		}
	}
	return o.file(channels, w, h, chunks)
}

func (o tiffOf) predict(row []byte, per int) []byte {
	size := o.bits / 8
	switch o.predictor {
	case 2:
		for i := len(row) - size; i >= per*size; i -= size {
			switch o.bits {
			case 8:
				row[i] -= row[i-per]
			case 16:
				o.order.PutUint16(row[i:], o.order.Uint16(row[i:])-o.order.Uint16(row[i-2*per:]))
			case 32:
				o.order.PutUint32(row[i:], o.order.Uint32(row[i:])-o.order.Uint32(row[i-4*per:]))
			}
		}
	case 3:
		n, out := len(row)/size, make([]byte, len(row))
		for i := range n {
			for k := range size {
				from := k
				if o.order == byteOrder(binary.LittleEndian) {
					from = size - 1 - k
				}
				out[k*n+i] = row[i*size+from]
			}
		}
		for i := len(out) - 1; i >= per; i-- {
			out[i] -= out[i-per]
		}
		return out
	}
	return row
}

func (o tiffOf) pack(b []byte) []byte {
	var buf bytes.Buffer
	switch o.compression {
	case 8:
		z := zlib.NewWriter(&buf)
		z.Write(b)
		z.Close()
	case 50000:
		z, _ := zstd.NewWriter(&buf)
		z.Write(b)
		z.Close()
	case 32773:
		for ; len(b) > 0; b = b[min(len(b), 100):] {
			n := min(len(b), 100)
			buf.WriteByte(byte(n - 1))
			buf.Write(b[:n])
			buf.WriteByte(0x80) // says nothing
		}
	default:
		return b
	}
	return buf.Bytes()
}

func (o tiffOf) file(channels, w, h int, chunks [][]byte) []byte {
	word, head := 4, []byte("II*\x00")
	if o.order == byteOrder(binary.BigEndian) {
		head = []byte("MM\x00*")
	}
	if o.big {
		word = 8
		head = []byte("II+\x00\x08\x00\x00\x00")
		if o.order == byteOrder(binary.BigEndian) {
			head = []byte("MM\x00+\x00\x08\x00\x00")
		}
	}
	number := func(b []byte, v uint64) []byte {
		if o.big {
			return o.order.AppendUint64(b, v)
		}
		return o.order.AppendUint32(b, uint32(v))
	}
	out := slices.Concat(head, make([]byte, word)) // where the directory is, later
	var offsets, counts []uint64
	for _, c := range chunks {
		offsets, counts = append(offsets, uint64(len(out))), append(counts, uint64(len(c)))
		out = append(out, c...)
	}
	all := func(v uint64) []uint64 {
		s := make([]uint64, channels)
		for i := range s {
			s[i] = v
		}
		return s
	}
	format := uint64(1)
	if o.float {
		format = 3
	}
	planar := uint64(1)
	if o.planar {
		planar = 2
	}
	type entry struct {
		tag, kind int // kind 3 SHORT, 4 LONG, 7 bytes
		v         []uint64
	}
	entries := []entry{
		{256, 3, []uint64{24}},
		{257, 3, []uint64{16}},
		{258, 3, all(uint64(o.bits))},
		{259, 3, []uint64{uint64(max(o.compression, 1))}},
		{262, 3, []uint64{uint64(o.photometric)}},
		{277, 3, []uint64{uint64(channels)}},
		{284, 3, []uint64{planar}},
		{317, 3, []uint64{uint64(max(o.predictor, 1))}},
		{339, 3, all(format)},
	}
	for _, s := range o.shorts {
		e := entry{s[0], 3, nil}
		for _, v := range s[1:] {
			e.v = append(e.v, uint64(v))
		}
		entries = append(entries, e)
	}
	if o.longTurn > 0 {
		entries = append(entries, entry{274, 4, []uint64{uint64(o.longTurn)}})
	}
	if o.tile > 0 {
		entries = append(entries, entry{322, 3, []uint64{uint64(w)}}, entry{323, 3, []uint64{uint64(h)}}, entry{324, 4, offsets}, entry{325, 4, counts})
	} else {
		entries = append(entries, entry{278, 3, []uint64{uint64(h)}}, entry{273, 4, offsets}, entry{279, 4, counts})
	}
	if len(o.extra) > 0 {
		entries = append(entries, entry{338, 3, o.extra})
	}
	if o.profile != nil {
		e := entry{34675, 7, nil}
		for _, v := range o.profile {
			e.v = append(e.v, uint64(v))
		}
		entries = append(entries, e)
	}
	var dir []byte
	if o.big {
		dir = o.order.AppendUint64(dir, uint64(len(entries)))
	} else {
		dir = o.order.AppendUint16(dir, uint16(len(entries)))
	}
	for _, e := range entries {
		var data []byte
		for _, v := range e.v {
			switch e.kind {
			case 7:
				data = append(data, byte(v))
			case 3:
				data = o.order.AppendUint16(data, uint16(v))
			default:
				data = o.order.AppendUint32(data, uint32(v))
			}
		}
		dir = o.order.AppendUint16(dir, uint16(e.tag))
		dir = o.order.AppendUint16(dir, uint16(e.kind))
		dir = number(dir, uint64(len(e.v)))
		if len(data) > word {
			dir = number(dir, uint64(len(out)))
			out = append(out, data...)
		} else {
			dir = append(dir, append(data, make([]byte, word-len(data))...)...)
		}
	}
	at := number(nil, uint64(len(out)))
	copy(out[len(head):], at)
	return append(out, number(dir, 0)...)
}

// Every byte order, layout, depth, predictor and compression of TIFF.
func TestTIFF(t *testing.T) {
	n := 0
	for _, order := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, big := range []bool{false, true} {
			for _, planar := range []bool{false, true} {
				for _, tile := range []int{0, 16} {
					for _, depth := range []tiffOf{{bits: 8}, {bits: 16}, {bits: 32}, {bits: 32, float: true, scale: 1}, {bits: 32, float: true, scale: 255}, {bits: 64, float: true, scale: 65535}} {
						for _, compression := range []int{1, 8, 32773, 50000} {
							for _, predictor := range []int{1, 2} {
								o := depth
								if predictor == 2 && o.float {
									predictor = 3
								}
								o.order, o.big, o.planar, o.tile, o.compression, o.predictor, o.photometric = order, big, planar, tile, compression, predictor, 2
								n++
								shows(t, fmt.Sprintf("%+v", o), o.bytes(), 0.51)
								if t.Failed() {
									return
								}
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d files", n)
	le := binary.LittleEndian
	for name, o := range map[string]tiffOf{
		"grey":                     {bits: 8, photometric: 1},
		"grey, white is zero":      {bits: 8, photometric: 0},
		"grey of 16 bits":          {bits: 16, photometric: 0},
		"grey with alpha":          {bits: 8, photometric: 1, extra: []uint64{2}},
		"grey with 16 bits alpha":  {bits: 16, photometric: 1, extra: []uint64{2}},
		"alpha and more":           {bits: 8, photometric: 2, extra: []uint64{2, 0, 0}},
		"two channels of no name":  {bits: 8, photometric: 2, extra: []uint64{0, 0}},
		"planar with no name":      {bits: 8, photometric: 2, extra: []uint64{0, 0}, planar: true},
		"premultiplied alpha":      {bits: 8, photometric: 2, extra: []uint64{1}},
		"premultiplied 16 bits":    {bits: 16, photometric: 2, extra: []uint64{1}},
		"premultiplied grey":       {bits: 8, photometric: 1, extra: []uint64{1}},
		"planar with alpha":        {bits: 16, photometric: 2, extra: []uint64{2}, planar: true},
		"orientation 1 as a LONG":  {bits: 8, photometric: 2, longTurn: 1},
		"orientation 99 as a LONG": {bits: 8, photometric: 2, longTurn: 99},
	} {
		o.order = le
		shows(t, name, o.bytes(), 1)
		s, err := Decode(o.bytes(), 0)
		if want := len(o.extra) > 0 && o.extra[0] != 0; err != nil || s.HasAlpha != want {
			t.Errorf("%s: alpha is not %v (%v)", name, want, err)
		}
	}
	s, err := Decode(tiffOf{order: le, bits: 8, photometric: 2, longTurn: 3}.bytes(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if p := s.Resize(24, 16, Bicubic); math.Abs(float64(p.RGB[2]*255-chart[3][2])) > 1 {
		t.Errorf("orientation 3 as a LONG: the first pixel is %v", p.RGB[:3])
	}
}

// What is not read is named for what it is, and never called damaged.
func TestNamed(t *testing.T) {
	le := binary.LittleEndian
	with := func(tag, value int) []byte { // an entry of a SHORT replaced
		b := tiffOf{order: le, bits: 8, photometric: 2}.bytes()
		at := bytes.LastIndex(b, []byte{byte(tag), byte(tag >> 8), 3, 0, 1, 0, 0, 0})
		le.PutUint16(b[at+8:], uint16(value))
		return b
	}
	bmp := bmpOf{bits: 24}.bytes()
	bmp[30] = 5
	heic, err := os.ReadFile("../../testdata/odd/lossy.heic")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"compression":  {with(259, 34925), "a TIFF of LZMA"},
		"old JPEG":     {with(259, 6), "old-style JPEG"},
		"no such":      {with(259, 4711), "compression 4711"},
		"Lab":          {with(262, 8), "Lab"},
		"camera":       {with(262, 32803), "raw file of a camera"},
		"DNG":          {tiffOf{order: le, bits: 8, photometric: 2, shorts: [][]int{{50706, 1, 4, 0, 0}}}.bytes(), "raw file of a camera"},
		"NEF":          {tiffOf{order: le, bits: 8, photometric: 2, shorts: [][]int{{254, 1}, {330, 8}}}.bytes(), "raw file of a camera"},
		"CR2":          {[]byte("II*\x00\x10\x00\x00\x00CR\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), "raw file of a camera"},
		"predictor":    {with(317, 7), "predictor 7"},
		"PNG in a BMP": {bmp, "a PNG in a BMP"},
		"film":         {[]byte("\x00\x00\x00\x18ftypmsf1\x00\x00\x00\x00msf1hevc\x00\x00\x00\x10moov12345678"), "a film"},
		"CgBI":         {slices.Concat(chartPNG(t)[:8], pngChunk("CgBI", []byte{0x50, 0, 0x20, 2}), chartPNG(t)[8:]), "iPhones"},
		"no codec":     {bytes.ReplaceAll(heic, []byte("hvcC"), []byte("avcC")), "neither HEVC nor AV1"},
	} {
		_, err := Decode(c.b, 0)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), "convert it") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A small picture is read where there is no larger one behind it.
	shows(t, "a reduced picture", tiffOf{order: le, bits: 8, photometric: 2, shorts: [][]int{{254, 1}}}.bytes(), 1)
}

// What is no picture that is read is called by its name, with what helps.
func TestStrangers(t *testing.T) {
	for b, want := range map[string]string{
		"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42": "a film); give a picture of it",
		"\x1aE\xdf\xa3....": "a film); give a picture of it",
		"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom": "camera); develop it",
		"FUJIFILMCCD-RAW 0201":                             "camera); develop it",
		"IIU\x00\x18\x00\x00\x00":                          "camera); develop it",
		"\n<!DOCTYPE HTML><title>404</title>":              "a web page); download the picture",
		"<?xml version=\"1.0\"?>\n<html lang=en>":          "a web page); download the picture",
		"<?xml version=\"1.0\"?>\n<svg width=\"9\">":       "an SVG drawing); convert it",
		"PK\x03\x04....":                                   "an archive); unpack it",
		"\x1f\x8b\x08":                                     "an archive); unpack it",
		"P6\n2 2\n255\n":                                   "a Netpbm picture); convert it",
		"\x00\x00\x01\x00\x01\x00":                         "an icon); convert it",
		"\xff\x0a and so on":                               "JPEG XL); convert it",
		"\x00\x00\x00\x0cjP  \r\n\x87\n":                   "JPEG 2000); convert it",
		"\x76\x2f\x31\x01....":                             "OpenEXR); convert it",
		"PNG":                                              "GIF are); convert it",
		"Pa is how another begins":                         "GIF are); convert it",
	} {
		if _, err := Decode([]byte(b), 0); err == nil || !strings.HasPrefix(err.Error(), "is no picture that can be read (") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

// bmpOf writes the chart as a BMP.
type bmpOf struct {
	bits        int
	header      int // 40 if 0
	compression uint32
	masks       []uint32
	topDown     bool
	short       bool // only the colours that there are
}

func (o bmpOf) bytes() []byte {
	le := binary.LittleEndian
	if o.header == 0 {
		o.header = 40
	}
	var pixels []byte
	widen := func(v float32, mask uint32) uint32 {
		low := 0
		for mask>>low&1 == 0 {
			low++
		}
		return uint32(float64(v)/255*float64(mask>>low)+0.5) << low
	}
	masks := o.masks
	if masks == nil && o.bits == 16 {
		masks = []uint32{0x7c00, 0x3e0, 0x1f}
	}
	if masks == nil {
		masks = []uint32{0xff0000, 0xff00, 0xff}
	}
	for i := range 16 {
		y := 15 - i
		if o.topDown {
			y = i
		}
		var row []byte
		index := func(x int) byte { return byte(x/12 + 2*(y/8)) }
		for x := range 24 {
			c := chart[index(x)]
			v := widen(c[0], masks[0]) | widen(c[1], masks[1]) | widen(c[2], masks[2])
			if len(masks) > 3 {
				v |= masks[3]
			}
			switch o.bits {
			case 24:
				row = append(row, byte(c[2]), byte(c[1]), byte(c[0]))
			case 16:
				row = le.AppendUint16(row, uint16(v))
			case 32:
				row = le.AppendUint32(row, v)
			case 8:
				row = append(row, index(x))
			case 4:
				if x%2 == 0 {
					row = append(row, index(x)<<4|index(x+1))
				}
			case 2:
				if x%4 == 0 {
					row = append(row, index(x)*0x55)
				}
			}
		}
		switch o.compression {
		case 1: // a run, and values as they are
			row = []byte{12, index(0), 0, 11}
			for x := 12; x < 23; x++ {
				row = append(row, index(x))
			}
			row = append(row, 0, 1, index(23), 0, 0)
		case 2:
			row = []byte{12, index(0) * 0x11, 0, 7, index(12) * 0x11, index(12) * 0x11, index(12) * 0x11, index(12) * 0x11, 5, index(12) * 0x11, 0, 0}
		}
		for o.compression != 1 && o.compression != 2 && len(row)%4 != 0 {
			row = append(row, 0)
		}
		pixels = append(pixels, row...)
	}
	head := make([]byte, o.header)
	le.PutUint32(head, uint32(o.header))
	if o.header == 12 {
		le.PutUint16(head[4:], 24)
		le.PutUint16(head[6:], 16)
		le.PutUint16(head[8:], 1)
		le.PutUint16(head[10:], uint16(o.bits))
	} else {
		h := int32(16)
		if o.topDown {
			h = -h
		}
		le.PutUint32(head[4:], 24)
		le.PutUint32(head[8:], uint32(h))
		le.PutUint16(head[12:], 1)
		le.PutUint16(head[14:], uint16(o.bits))
		le.PutUint32(head[16:], o.compression)
	}
	if o.compression == 3 || o.compression == 6 {
		var m []byte
		for _, v := range masks {
			m = le.AppendUint32(m, v)
		}
		if o.header == 40 {
			head = append(head, m...)
		} else {
			copy(head[40:], m)
		}
	}
	if o.bits <= 8 {
		for i := range 1 << o.bits {
			if o.short && i == 4 {
				break
			}
			var c [3]float32
			if i < 4 {
				c = chart[i]
			}
			head = append(head, byte(c[2]), byte(c[1]), byte(c[0]))
			if o.header != 12 {
				head = append(head, 0)
			}
		}
	}
	file := []byte("BM")
	file = le.AppendUint32(file, uint32(14+len(head)+len(pixels)))
	file = append(file, 0, 0, 0, 0)
	file = le.AppendUint32(file, uint32(14+len(head)))
	return append(append(file, head...), pixels...)
}

func TestBMP(t *testing.T) {
	for name, c := range map[string]struct {
		bmpOf
		tol float64
	}{
		"24 bits":                 {bmpOf{bits: 24}, 0.1},
		"top down":                {bmpOf{bits: 24, topDown: true}, 0.1},
		"32 bits":                 {bmpOf{bits: 32}, 0.1},
		"555":                     {bmpOf{bits: 16}, 4.2},
		"565":                     {bmpOf{bits: 16, compression: 3, masks: []uint32{0xf800, 0x7e0, 0x1f}}, 4.2},
		"masks in another order":  {bmpOf{bits: 32, compression: 3, masks: []uint32{0xff, 0xff00, 0xff0000}}, 0.1},
		"masks of ten bits":       {bmpOf{bits: 32, compression: 3, masks: []uint32{0x3ff00000, 0xffc00, 0x3ff}}, 0.5},
		"masks in a large header": {bmpOf{bits: 32, header: 108, compression: 3, masks: []uint32{0xff000000, 0xff0000, 0xff00, 0xff}}, 0.1},
		"masks with alpha behind": {bmpOf{bits: 32, compression: 6, masks: []uint32{0xff0000, 0xff00, 0xff, 0xff000000}}, 0.1},
		"the largest header":      {bmpOf{bits: 24, header: 124}, 0.1},
		"OS/2, 24 bits":           {bmpOf{bits: 24, header: 12}, 0.1},
		"OS/2, palette":           {bmpOf{bits: 8, header: 12}, 0.1},
		"OS/2 2, palette":         {bmpOf{bits: 4, header: 64}, 0.1},
		"palette of 256":          {bmpOf{bits: 8}, 0.1},
		"palette cut short":       {bmpOf{bits: 8, short: true}, 0.1},
		"palette of 16":           {bmpOf{bits: 4, topDown: true}, 0.1},
		"palette of 4":            {bmpOf{bits: 2}, 0.1},
		"runs of bytes":           {bmpOf{bits: 8, compression: 1}, 0.1},
		"runs of half bytes":      {bmpOf{bits: 4, compression: 2}, 0.1},
	} {
		b := c.bytes()
		shows(t, name, b, c.tol)
		if s, err := Decode(b, 0); err == nil && s.HasAlpha {
			t.Errorf("%s: has alpha", name)
		}
		if c.compression == 1 || c.compression == 2 {
			continue // run lengths may end anywhere
		}
		if _, err := Decode(b[:len(b)-30], 0); err == nil || !strings.Contains(err.Error(), "cut off") {
			t.Errorf("%s, cut off: %v", name, err)
		}
	}
}

// chartPNG is the chart with chunks behind its header.
func chartPNG(t *testing.T, chunks ...[]byte) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, 24, 16))
	for y := range 16 {
		for x := range 24 {
			c := chart[x/12+2*(y/8)]
			m.SetNRGBA(x, y, color.NRGBA{uint8(c[0]), uint8(c[1]), uint8(c[2]), 255})
		}
	}
	var buf bytes.Buffer
	if err := png.Encode(&buf, m); err != nil {
		t.Fatal(err)
	}
	b := buf.Bytes()
	out := bytes.Clone(b[:33])
	for _, c := range chunks {
		out = append(out, c...)
	}
	return append(out, b[33:]...)
}

// A damaged chunk that is not needed, and an end that is missing, do not matter.
func TestPNGRepairs(t *testing.T) {
	bad := pngChunk("tEXt", []byte("Comment\x00hello"))
	bad[10] ^= 1
	shows(t, "a wrong checksum", chartPNG(t, bad), 0.1)
	profile := pngChunk("iCCP", []byte("P3\x00\x00nonsense"))
	shows(t, "a profile of nonsense", chartPNG(t, profile), 0.1)
	profile[12] ^= 1
	shows(t, "a profile with a wrong checksum", chartPNG(t, profile), 0.1)
	whole := chartPNG(t)
	shows(t, "no end", whole[:len(whole)-12], 0.1)
	shows(t, "more behind the end", append(bytes.Clone(whole), "more"...), 0.1)
	for _, n := range []int{13, 20, 40} { // in the pixels
		if _, err := Decode(whole[:len(whole)-n], 0); err == nil || !strings.Contains(err.Error(), "cut off") {
			t.Errorf("without the last %d bytes: %v", n, err)
		}
	}
	pixels := bytes.Clone(whole)
	pixels[bytes.Index(pixels, []byte("IDAT"))+9] ^= 1
	if _, err := Decode(pixels, 0); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged pixels: %v", err)
	}
}

// The orientation is found wherever it may stand, as a SHORT and as a LONG, and
// nonsense is none. (TestFormats shows what each does.)
func TestOrientationIsFound(t *testing.T) {
	exif := func(order byteOrder, kind uint16, turn uint32) []byte {
		b := []byte("MM\x00*")
		if order == byteOrder(binary.LittleEndian) {
			b = []byte("II*\x00")
		}
		b = order.AppendUint32(b, 8)
		b = order.AppendUint16(b, 1)
		b = order.AppendUint16(order.AppendUint16(b, 0x112), kind)
		b = order.AppendUint32(b, 1)
		if kind == 3 {
			b = order.AppendUint16(order.AppendUint16(b, uint16(turn)), 0)
		} else {
			b = order.AppendUint32(b, turn)
		}
		return order.AppendUint32(b, 0)
	}
	jpg, err := os.ReadFile(filepath.Join(dir, "rgb.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	lossless, err := os.ReadFile("../../testdata/odd/animated.webp")
	if err != nil {
		t.Fatal(err)
	}
	for turn := range uint32(10) {
		want := int(turn)
		if turn < 1 || turn > 8 {
			want = 1
		}
		for _, order := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
			for _, kind := range []uint16{3, 4} {
				e := exif(order, kind, turn)
				seg := append([]byte("Exif\x00\x00"), e...)
				seg = append(binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(seg)+2)), seg...)
				for name, b := range map[string][]byte{
					"PNG":                    chartPNG(t, pngChunk("eXIf", e)),
					"JPEG":                   append(append(bytes.Clone(jpg[:2]), seg...), jpg[2:]...),
					"WebP":                   webpFile(append(riffChunks(lossless[12:]), riff{"EXIF", e})...),
					"WebP, EXIF with a name": webpFile(append(riffChunks(lossless[12:]), riff{"EXIF", append([]byte("Exif\x00\x00"), e...)})...),
					"TIFF":                   tiffOf{order: order, bits: 8, photometric: 2, longTurn: want}.bytes(),
				} {
					s, err := Decode(b, 0)
					if err != nil || s.turn != want || (s.W == 16) != (want >= 5) {
						t.Errorf("%s with %d of kind %d: %v, turned by %+v", name, turn, kind, err, s)
					}
				}
			}
		}
	}
	for turn := 2; turn <= 8; turn++ { // AVIF has boxes of its own; TestOddFiles shows the pixels
		if s, err := Open(fmt.Sprintf("../../testdata/odd/lossy_turned_%d.avif", turn), 0); err != nil || s.turn != turn {
			t.Errorf("AVIF with %d: %v, turned by %+v", turn, err, s)
		}
	}
	for n := range 26 { // cut anywhere it is no orientation, and no error
		if s, err := Decode(chartPNG(t, pngChunk("eXIf", exif(binary.BigEndian, 3, 6)[:n])), 0); err != nil || n < 20 && s.turn != 1 {
			t.Errorf("EXIF of %d bytes: %v", n, err)
		}
	}
}
