package picture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math/bits"

	"github.com/stylize-gpu/stylize/transfer/picture/icc"
)

var errCut = errors.New("it ends too early")

// bmp is a Windows or OS/2 bitmap: all depths, palettes of both kinds, bit masks
// and run lengths. golang.org/x/image/bmp reads the commonest of them only.
type bmp struct {
	w, h        int
	topDown     bool
	depth       int
	compression uint32
	masks       [4]uint32 // red, green, blue, alpha
	palette     [][3]byte
	pixels      []byte
	profile     *icc.Profile
}

// Compressions.
const (
	bmpRGB       = 0
	bmpRLE8      = 1
	bmpRLE4      = 2
	bmpBitfields = 3
	bmpJPEG      = 4
	bmpPNG       = 5
	bmpAlphaBits = 6
)

func bmpConfig(b []byte) (w, h int, err error) {
	m, err := bmpHeader(b)
	if err != nil {
		return 0, 0, err
	}
	return m.w, m.h, nil
}

func bmpHeader(b []byte) (*bmp, error) {
	if len(b) < 26 {
		return nil, errCut
	}
	le16, le32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	offset, size := int64(le32(b[10:])), int(le32(b[14:]))
	m := &bmp{}
	entry, colours := 4, 0
	var height int32
	info := b[14:]
	switch {
	case size == 12: // OS/2 1
		m.w, height = int(le16(info[4:])), int32(le16(info[6:]))
		m.depth, entry = int(le16(info[10:])), 3
	case size >= 16 && size <= 124 && size <= len(info):
		m.w, height = int(int32(le32(info[4:]))), int32(le32(info[8:]))
		m.depth = int(le16(info[14:]))
		if size >= 20 {
			m.compression = le32(info[16:])
		}
		if size >= 36 {
			colours = int(le32(info[32:]))
		}
	default:
		return nil, unsupported(fmt.Sprintf("a BMP with a header of %d bytes", size))
	}
	if size == 64 && m.compression >= bmpBitfields { // these numbers mean other things to OS/2
		return nil, unsupported("an OS/2 bitmap with its own compression")
	}
	m.h, m.topDown = int(height), height < 0
	if m.topDown {
		m.h = -m.h
	}
	if m.w < 1 || m.h < 1 || m.w > 1<<28 || m.h > 1<<28 {
		return nil, fmt.Errorf("it has %dx%d pixels", m.w, m.h)
	}
	at := 14 + size
	switch m.compression {
	case bmpRGB:
		switch m.depth {
		case 16:
			m.masks = [4]uint32{0x7c00, 0x3e0, 0x1f}
		case 32:
			m.masks = [4]uint32{0xff0000, 0xff00, 0xff}
		}
	case bmpBitfields, bmpAlphaBits:
		from := info[40:min(len(info), 56)] // in the header, or behind it
		n := 3
		if size >= 56 || m.compression == bmpAlphaBits {
			n = 4
		}
		if len(from) < 4*n {
			return nil, errCut
		}
		for i := range n {
			m.masks[i] = le32(from[4*i:])
		}
		if m.depth != 16 && m.depth != 32 {
			return nil, unsupported(fmt.Sprintf("a BMP with masks of %d bits", m.depth))
		}
	case bmpRLE8, bmpRLE4:
		if m.compression == bmpRLE8 && m.depth != 8 || m.compression == bmpRLE4 && m.depth != 4 {
			return nil, fmt.Errorf("run lengths of %d bits", m.depth)
		}
	case bmpJPEG:
		return nil, unsupported("a JPEG in a BMP")
	case bmpPNG:
		return nil, unsupported("a PNG in a BMP")
	default:
		return nil, unsupported(fmt.Sprintf("a BMP with the compression %d", m.compression))
	}
	switch m.depth {
	case 1, 2, 4, 8:
		n := 1 << m.depth
		if colours > 0 && colours < n {
			n = colours
		}
		if room := (offset - int64(at)) / int64(entry); room > 0 && room < int64(n) { // some store fewer
			n = int(room)
		}
		if at+n*entry > len(b) {
			return nil, errCut
		}
		m.palette = make([][3]byte, 1<<m.depth)
		for i := range n {
			c := b[at+i*entry:]
			m.palette[i] = [3]byte{c[2], c[1], c[0]}
		}
	case 16, 24, 32:
	default:
		return nil, unsupported(fmt.Sprintf("a BMP of %d bits", m.depth))
	}
	if offset > int64(len(b)) {
		return nil, errCut
	}
	m.pixels = b[offset:]
	if size == 124 && le32(info[56:]) == 0x4d424544 { // 'MBED'
		if from, n := uint64(le32(info[112:])), uint64(le32(info[116:])); from+n <= uint64(len(info)) {
			m.profile = parsed(info[from : from+n])
		}
	}
	return m, nil
}

func decodeBMP(_ context.Context, b []byte) (raw, error) {
	m, err := bmpHeader(b)
	if err != nil {
		return raw{}, err
	}
	r := raw{channels: 3, profile: m.profile, turn: 1}
	if m.compression == bmpRLE8 || m.compression == bmpRLE4 {
		r.img = m.runs()
		return r, nil
	}
	stride := (int64(m.w)*int64(m.depth) + 31) / 32 * 4
	used := (int64(m.w)*int64(m.depth) + 7) / 8 // the last row may lack its filling
	if stride*int64(m.h-1)+used > int64(len(m.pixels)) {
		return r, errCut
	}
	canvas := image.Rect(0, 0, m.w, m.h)
	rows := func(f func(src []byte, y int)) {
		for y := range m.h {
			at := y
			if !m.topDown {
				at = m.h - 1 - y
			}
			f(m.pixels[int64(at)*stride:][:used], y)
		}
	}
	if m.masks[3] != 0 { // with alpha
		img := image.NewNRGBA(canvas)
		rows(func(src []byte, y int) { m.masked(img.Pix[y*img.Stride:], src, 4) })
		r.img = img
		return r, nil
	}
	img := &rgb{make([]byte, 3*m.w*m.h), canvas}
	r.img = img
	rows(func(src []byte, y int) {
		dst := img.pix[3*m.w*y:]
		switch m.depth {
		case 24:
			for x := range m.w {
				dst[3*x], dst[3*x+1], dst[3*x+2] = src[3*x+2], src[3*x+1], src[3*x]
			}
		case 16, 32:
			m.masked(dst, src, 3)
		default:
			per := 8 / m.depth
			for x := range m.w {
				v := src[x/per] >> (8 - m.depth - x%per*m.depth) & (1<<m.depth - 1)
				copy(dst[3*x:], m.palette[v][:])
			}
		}
	})
	return r, nil
}

// masked takes n values out of each pixel of 16 or 32 bits, and widens them to 8.
func (m *bmp) masked(dst, src []byte, n int) {
	for x := range m.w {
		var p uint32
		if m.depth == 16 {
			p = uint32(binary.LittleEndian.Uint16(src[2*x:]))
		} else {
			p = binary.LittleEndian.Uint32(src[4*x:])
		}
		for c := range n {
			mask := m.masks[c]
			if mask == 0 {
				continue
			}
			low := bits.TrailingZeros32(mask)
			top := uint64(mask >> low)
			dst[n*x+c] = byte((uint64(p&mask>>low)*255 + top/2) / top)
		}
	}
}

// runs decodes run lengths. What they skip, and what is cut off, is the palette's
// first colour.
func (m *bmp) runs() image.Image {
	index := make([]byte, m.w*m.h) // rows from below
	x, y := 0, 0
	put := func(v byte) {
		if x < m.w && y < m.h {
			index[y*m.w+x] = v
		}
		x++
	}
	four := m.compression == bmpRLE4
	p := m.pixels
loop:
	for len(p) >= 2 && y < m.h {
		n, v := int(p[0]), p[1]
		p = p[2:]
		switch {
		case n > 0:
			for i := range n {
				switch {
				case !four:
					put(v)
				case i&1 == 0:
					put(v >> 4)
				default:
					put(v & 15)
				}
			}
		case v == 0:
			x, y = 0, y+1
		case v == 1:
			break loop
		case v == 2:
			if len(p) < 2 {
				break loop
			}
			x, y = x+int(p[0]), y+int(p[1])
			p = p[2:]
		default: // values as they are, filled to 16 bits
			n := int(v)
			if four {
				n = (n + 1) / 2
			}
			for i := range int(v) {
				k := i
				if four {
					k = i / 2
				}
				if k >= len(p) {
					break loop
				}
				switch {
				case !four:
					put(p[k])
				case i&1 == 0:
					put(p[k] >> 4)
				default:
					put(p[k] & 15)
				}
			}
			p = p[min(n+n&1, len(p)):]
		}
	}
	img := &rgb{make([]byte, 3*m.w*m.h), image.Rect(0, 0, m.w, m.h)}
	for y := range m.h {
		src := y
		if !m.topDown {
			src = m.h - 1 - y
		}
		for x := range m.w {
			copy(img.pix[3*(y*m.w+x):], m.palette[index[src*m.w+x]][:])
		}
	}
	return img
}
