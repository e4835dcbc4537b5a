package icc

import (
	"encoding/binary"
	"math"
	"sync"
	"unicode/utf16"
)

// SRGB is a small profile of sRGB, as bytes.
var SRGB = sync.OnceValue(func() []byte {
	para := []byte("para\x00\x00\x00\x00\x00\x03\x00\x00")
	for _, v := range []float64{2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045} {
		para = appendFixed(para, v)
	}
	return encode("sRGB", SRGBChroma.matrix(), para, para, para)
})

// Encode gives the bytes of a profile: those it was parsed from, or new ones for
// one that was made. It must be [Profile.Reversible] then.
func (p *Profile) Encode() []byte {
	if p.data != nil {
		return p.data
	}
	const points = 1024
	tag := func(c curve) []byte {
		b := binary.BigEndian.AppendUint32([]byte("curv\x00\x00\x00\x00"), points)
		for i := range points {
			b = binary.BigEndian.AppendUint16(b, uint16(c.at(float32(i)/(points-1))*65535+0.5))
		}
		return b
	}
	m := SRGBChroma.matrix().times(p.toLinear)
	return encode("colours of the content", m, tag(p.curves[0]), tag(p.curves[1]), tag(p.curves[2]))
}

func appendFixed(b []byte, v float64) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(int32(math.Round(v*65536))))
}

// encode writes a display profile of version 4. m takes linear values to XYZ.
func encode(name string, m mat, curves ...[]byte) []byte {
	text := func(s string) []byte {
		b := []byte("mluc\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0cenUS")
		b = binary.BigEndian.AppendUint32(b, uint32(2*len(s)))
		b = binary.BigEndian.AppendUint32(b, 28)
		for _, u := range utf16.Encode([]rune(s)) {
			b = binary.BigEndian.AppendUint16(b, u)
		}
		return b
	}
	triple := func(x, y, z float64) []byte {
		return appendFixed(appendFixed(appendFixed([]byte("XYZ \x00\x00\x00\x00"), x), y), z)
	}
	tags := []struct {
		name string
		data []byte
	}{
		{"desc", text(name)},
		{"cprt", text("CC0")},
		{"wtpt", triple(float64(d50[0]), 1, float64(d50[2]))},
		{"rXYZ", triple(m[0][0], m[1][0], m[2][0])},
		{"gXYZ", triple(m[0][1], m[1][1], m[2][1])},
		{"bXYZ", triple(m[0][2], m[1][2], m[2][2])},
		{"rTRC", curves[0]},
		{"gTRC", curves[1]},
		{"bTRC", curves[2]},
	}
	var table, body []byte
	table = binary.BigEndian.AppendUint32(table, uint32(len(tags)))
	base, last := 128+4+12*len(tags), ""
	at := 0
	for _, t := range tags {
		if string(t.data) != last { // equal curves are stored once
			at, last = base+len(body), string(t.data)
			body = append(body, t.data...)
			for len(body)%4 != 0 {
				body = append(body, 0)
			}
		}
		table = append(table, t.name...)
		table = binary.BigEndian.AppendUint32(table, uint32(at))
		table = binary.BigEndian.AppendUint32(table, uint32(len(t.data)))
	}
	head := make([]byte, 128)
	binary.BigEndian.PutUint32(head, uint32(base+len(body)))
	copy(head[8:], "\x04\x30\x00\x00mntrRGB XYZ ")
	binary.BigEndian.PutUint16(head[24:], 2026) // a day, the same for all
	binary.BigEndian.PutUint16(head[26:], 1)
	binary.BigEndian.PutUint16(head[28:], 1)
	copy(head[36:], "acsp")
	binary.BigEndian.PutUint32(head[64:], 1) // relative colorimetric
	copy(head[68:], appendFixed(appendFixed(appendFixed(nil, float64(d50[0])), 1), float64(d50[2])))
	return append(append(head, table...), body...)
}
