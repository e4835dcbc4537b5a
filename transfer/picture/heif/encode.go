package heif

import (
	"bytes"
	"context"
	_ "embed" // the encoder
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

//go:embed avifenc.wasm.gz
var avifEncoder []byte

var encoderCompiled = sync.OnceValues(func() (*compiled, error) { return compile(avifEncoder) })

// Sampling is how much of the chroma an AVIF keeps; the values are libavif's.
type Sampling int

// The samplings.
const (
	S444 Sampling = 1 + iota
	S422
	S420
)

// MaxSide is the most pixels a side of an AVIF has.
const MaxSide = 1 << 16

// speed is libaom's fastest. At 640x480 and quality 90 it takes a fifteenth of the time
// of speed 4, for a file that is a tenth larger.
const speed = 10

// EncodeAVIF compresses a picture, with libavif and libaom, at a quality of 1 to 100. pix
// is RGBA of 8 bits, multiplied by alpha, and belongs to the encoder from now on. The
// colours are those of the profile; nil is sRGB. Same input, same bytes.
func EncodeAVIF(pix []byte, w, h, quality int, s Sampling, profile []byte) ([]byte, error) {
	if w < 1 || h < 1 || w > MaxSide || h > MaxSide || len(pix) != 4*w*h {
		return nil, fmt.Errorf("an AVIF has 1 to %d pixels on each side", MaxSide)
	}
	m, err := encoderCompiled()
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	mod, err := m.instance(ctx, 1<<32)
	if err != nil {
		return nil, err
	}
	defer mod.Close(ctx)
	c := &caller{ctx: ctx, mod: mod}
	in, size := c.room(len(pix), pix), c.room(8, make([]byte, 8))
	out := c.call("encode", in, uint64(w), uint64(h), size, uint64(quality), uint64(quality), speed, uint64(s))
	n := c.words(size, 1)[0]
	if c.err == nil && (out == 0 || n == 0) {
		c.err = errors.New("its encoder gives up, as it does for want of memory; write a .png")
	}
	b := c.read(out, n)
	if c.err != nil {
		return nil, c.err
	}
	return withColour(b, profile)
}

// withColour says what the colours of an AVIF mean: the encoder leaves that open. They
// are sRGB, in YCbCr of BT.601, unless a profile says otherwise.
func withColour(b, profile []byte) ([]byte, error) {
	nclx := bytes.Index(b, []byte("colrnclx"))
	if nclx < 0 || len(b) < nclx+8+6 {
		return nil, errBoxes
	}
	be := binary.BigEndian
	if profile == nil {
		be.PutUint16(b[nclx+8:], 1)
		be.PutUint16(b[nclx+10:], 13)
	}
	be.PutUint16(b[nclx+12:], 6)
	if profile == nil {
		return b, nil
	}
	return withProfile(b, profile)
}

// withProfile adds a profile to the properties of the first picture. What stands behind
// the properties moves, and the places in iloc with it.
func withProfile(b, profile []byte) ([]byte, error) {
	// at is where a box begins that all the names lead to, one in the other.
	at := func(names ...string) (lo, hi int) {
		lo, hi = 0, len(b)
		for depth, name := range names {
			for found := false; !found; {
				if hi-lo < 8 {
					return 0, 0
				}
				n := int(binary.BigEndian.Uint32(b[lo:]))
				if n < 8 || n > hi-lo {
					return 0, 0
				}
				if string(b[lo+4:lo+8]) != name {
					lo += n
					continue
				}
				found, hi = true, lo+n
			}
			if depth < len(names)-1 {
				if lo += 8; name == "meta" {
					lo += 4 // its version
				}
			}
		}
		return lo, hi
	}
	iloc, ilocEnd := at("meta", "iloc")
	pitm, pitmEnd := at("meta", "pitm")
	ipco, ipcoEnd := at("meta", "iprp", "ipco")
	ipma, ipmaEnd := at("meta", "iprp", "ipma")
	if pitmEnd-pitm != 14 || ipcoEnd == 0 || ipmaEnd-ipma < 16 || ilocEnd-iloc < 16 || ipma < ipcoEnd {
		return nil, errBoxes
	}
	be := binary.BigEndian
	props, err := boxes(b[ipco+8 : ipcoEnd])
	if err != nil || len(props) > 126 {
		return nil, errBoxes
	}
	colr := append(be.AppendUint32(nil, uint32(12+len(profile))), "colrprof"...)
	colr = append(colr, profile...)
	moved := len(colr) + 1

	// The association: one byte more in the entry of the picture.
	own, id := 0, b[pitm+12:pitmEnd]
	for p, n := ipma+16, int(be.Uint32(b[ipma+12:])); n > 0 && p+3 <= ipmaEnd; n-- {
		if bytes.Equal(b[p:p+2], id) {
			own = p + 2
		}
		p += 3 + int(b[p+2])
	}
	if own == 0 || be.Uint32(b[ipma+8:]) != 0 || own+1+int(b[own]) > ipmaEnd {
		return nil, errBoxes
	}
	end := own + 1 + int(b[own])

	// The places of the items: version 0, words of 32 bits.
	if be.Uint32(b[iloc+8:]) != 0 || b[iloc+12] != 0x44 || b[iloc+13] != 0 {
		return nil, errBoxes
	}
	for p, n := iloc+16, int(be.Uint16(b[iloc+14:])); n > 0; n-- {
		if p+6 > ilocEnd {
			return nil, errBoxes
		}
		extents := int(be.Uint16(b[p+4:]))
		if p += 6; p+8*extents > ilocEnd {
			return nil, errBoxes
		}
		for range extents {
			be.PutUint32(b[p:], be.Uint32(b[p:])+uint32(moved))
			p += 8
		}
	}
	grow := func(box, by int) { be.PutUint32(b[box:], be.Uint32(b[box:])+uint32(by)) }
	meta, _ := at("meta")
	iprp, _ := at("meta", "iprp")
	b[own]++
	for _, box := range []int{meta, iprp} {
		grow(box, moved)
	}
	grow(ipco, len(colr))
	grow(ipma, 1)
	out := make([]byte, 0, len(b)+moved)
	out = append(append(out, b[:ipcoEnd]...), colr...)
	out = append(append(out, b[ipcoEnd:end]...), byte(len(props)+1))
	return append(out, b[end:]...), nil
}
