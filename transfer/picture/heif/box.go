package heif

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// Info is what the boxes of a file say about its first picture.
type Info struct {
	W, H  int  // as it is shown, turned
	AV1   bool // AVIF
	HEVC  bool // HEIC
	Alpha bool // there is a plane of transparency, which the HEVC decoder leaves out
	Deep  bool // HEVC of 4:4:4 with more than 8 bits, which its decoder does not know
	ICC   []byte

	// Codes of ITU-T H.273; 2 is not said.
	Primaries, Transfer, Matrix int
	FullRange                   bool

	// Turn is the EXIF orientation of what the AV1 decoder gives; the HEVC decoder
	// turns by itself.
	Turn int
}

var errBoxes = errors.New("its boxes are damaged")

// ErrFilm says that a file has no still picture.
var ErrFilm = errors.New("a film without a still picture")

// box is one box of ISO/IEC 14496-12.
type box struct {
	name string
	data []byte
}

// boxes cuts a box's content into boxes.
func boxes(b []byte) (all []box, err error) {
	for len(b) >= 8 {
		n, head := uint64(binary.BigEndian.Uint32(b)), uint64(8)
		switch n {
		case 0:
			n = uint64(len(b))
		case 1:
			if len(b) < 16 {
				return nil, errBoxes
			}
			n, head = binary.BigEndian.Uint64(b[8:]), 16
		}
		if n < head {
			return nil, errBoxes
		}
		if n > uint64(len(b)) { // cut off: the decoder says so
			n = uint64(len(b))
		}
		all = append(all, box{string(b[4:8]), b[head:n]})
		b = b[n:]
	}
	return all, nil
}

func find(all []box, name string) []byte {
	for _, b := range all {
		if b.name == name {
			return b.data
		}
	}
	return nil
}

// Brand reports whether a file is of this family.
func Brand(b []byte) bool {
	if len(b) < 12 || string(b[4:8]) != "ftyp" {
		return false
	}
	switch string(b[8:12]) {
	case "heic", "heix", "heim", "heis", "hevc", "hevx", "avif", "avis", "mif1", "msf1", "MiHE", "miaf":
		return true
	}
	return false
}

// Read reads the boxes.
func Read(b []byte) (Info, error) {
	in := Info{Primaries: 2, Transfer: 2, Matrix: 2, FullRange: true, Turn: 1}
	top, err := boxes(b)
	if err != nil {
		return in, err
	}
	meta := find(top, "meta")
	if len(meta) < 4 {
		if find(top, "moov") != nil {
			return in, ErrFilm
		}
		return in, errBoxes
	}
	inner, err := boxes(meta[4:])
	if err != nil {
		return in, err
	}
	id := 0
	if p := find(inner, "pitm"); len(p) >= 8 && p[0] > 0 {
		id = int(binary.BigEndian.Uint32(p[4:]))
	} else if len(p) >= 6 {
		id = int(binary.BigEndian.Uint16(p[4:]))
	}
	iprp, err := boxes(find(inner, "iprp"))
	if err != nil {
		return in, err
	}
	ipco, err := boxes(find(iprp, "ipco"))
	if err != nil {
		return in, err
	}
	for _, p := range ipco {
		in.AV1 = in.AV1 || p.name == "av1C"
		if p.name == "hvcC" {
			in.HEVC = true
			in.Deep = in.Deep || len(p.data) > 17 && p.data[16]&3 == 3 && p.data[17]&7 > 0 // chroma, depth of luma
		}
		if p.name == "auxC" && (bytes.Contains(p.data, []byte("auxiliary:alpha")) || bytes.Contains(p.data, []byte("hevc:2015:auxid:1"))) {
			in.Alpha = true
		}
	}
	own, err := associated(find(iprp, "ipma"), id, ipco)
	if err != nil {
		return in, err
	}
	angle, mirror := 0, -1
	for _, p := range own {
		switch {
		case p.name == "ispe" && len(p.data) >= 12:
			w, h := binary.BigEndian.Uint32(p.data[4:]), binary.BigEndian.Uint32(p.data[8:])
			if w > 1<<28 || h > 1<<28 {
				return in, errBoxes
			}
			in.W, in.H = int(w), int(h)
		case p.name == "clap" && len(p.data) >= 16: // a part of it; the AV1 decoder gives all
			v := func(i int) int { return int(binary.BigEndian.Uint32(p.data[4*i:])) }
			if wn, wd, hn, hd := v(0), v(1), v(2), v(3); !in.AV1 && wd > 0 && hd > 0 && wn/wd <= in.W && hn/hd <= in.H {
				in.W, in.H = wn/wd, hn/hd
			}
		case p.name == "irot" && len(p.data) >= 1:
			angle = int(p.data[0] & 3)
		case p.name == "imir" && len(p.data) >= 1:
			mirror = int(p.data[0] & 1)
		}
	}
	if in.W < 1 || in.H < 1 {
		return in, errors.New("it does not say how large it is")
	}
	if !in.colour(own) { // a grid leaves it to its tiles
		in.colour(ipco)
	}
	if angle&1 == 1 {
		in.W, in.H = in.H, in.W
	}
	if in.AV1 { // turned against the clock, then mirrored (0: top and bottom change places)
		in.Turn = [4][3]int{{1, 4, 2}, {8, 5, 7}, {3, 2, 4}, {6, 7, 5}}[angle][mirror+1]
	}
	return in, nil
}

// colour takes what the properties say about colours.
func (in *Info) colour(props []box) (said bool) {
	for _, p := range props {
		if p.name != "colr" || len(p.data) < 4 {
			continue
		}
		switch d := p.data[4:]; string(p.data[:4]) {
		case "prof", "rICC":
			if in.ICC == nil {
				in.ICC, said = d, true
			}
		case "nclx":
			if len(d) >= 7 && in.Matrix == 2 && in.Primaries == 2 {
				in.Primaries, in.Transfer, in.Matrix = int(binary.BigEndian.Uint16(d)), int(binary.BigEndian.Uint16(d[2:])), int(binary.BigEndian.Uint16(d[4:]))
				in.FullRange, said = d[6]&0x80 != 0, true
			}
		}
	}
	return said
}

// associated are the properties of an item, in order.
func associated(ipma []byte, id int, ipco []box) (own []box, err error) {
	if len(ipma) < 8 {
		return nil, errBoxes
	}
	version, wide := ipma[0], ipma[3]&1 == 1
	n, b := int(binary.BigEndian.Uint32(ipma[4:])), ipma[8:]
	take := func(k int) int {
		if len(b) < k {
			err = errBoxes
			b = nil
			return 0
		}
		v := 0
		for _, c := range b[:k] {
			v = v<<8 | int(c)
		}
		b = b[k:]
		return v
	}
	for range min(n, len(ipma)) {
		size := 2
		if version > 0 {
			size = 4
		}
		item := take(size)
		for range take(1) {
			i := 0
			if wide {
				i = take(2) & 0x7fff
			} else {
				i = take(1) & 0x7f
			}
			if item == id && i > 0 && i <= len(ipco) {
				own = append(own, ipco[i-1])
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return own, nil
}
