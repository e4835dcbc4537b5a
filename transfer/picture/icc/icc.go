// Package icc turns the colours of an ICC profile into sRGB, and back where the
// profile is three curves and a matrix.
//
// [Parse] reads profiles of grey, RGB and CMYK devices, versions 2 and 4: curves
// and matrices (curv, para, XYZ), and tables (mft1, mft2, mAB). [FromChroma] and
// [FromCode] make the profiles that a PNG describes without one. The conversion
// is littleCMS's relative colorimetric one, without black point compensation.
//
// Parse takes no memory on the word of the file: every count is held against the
// bytes that are there.
package icc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Profile is what a picture's numbers mean.
type Profile struct {
	channels int // 1, 3 or 4

	// A profile of curves and a matrix.
	curves   [3]curve
	toLinear mat // of the device's linear values to linear sRGB

	// A profile with tables: device to the connection space, one step after the other.
	steps []step
	lab   bool // the connection space is Lab
	scale labScale

	grey  [][3]float32 // 1 channel: every result
	ramps [3][]float32 // a matrix: its curves at every value of 16 bits
	data  []byte
}

// Channels is 1 for grey, 3 for RGB and 4 for CMYK.
func (p *Profile) Channels() int { return p.channels }

// Reversible reports whether [Profile.FromSRGB] works.
func (p *Profile) Reversible() bool { return p.channels == 3 && p.steps == nil }

// labScale says how a table encodes Lab.
type labScale int

const (
	labV4     labScale = iota // the whole range of the number
	labLegacy                 // 16 bits as version 2 has them: 0xff00 is L 100
)

// step is one element of a profile with tables. It works in place on up to 4 values.
type step interface{ apply(v *[4]float32) }

var errShort = errors.New("the colour profile is cut off")

// reader checks every access.
type reader []byte

func (r reader) at(off, n int) ([]byte, error) {
	if off < 0 || n < 0 || off > len(r) || n > len(r)-off {
		return nil, errShort
	}
	return r[off : off+n], nil
}

func be16(b []byte) int { return int(binary.BigEndian.Uint16(b)) }
func be32(b []byte) int { return int(binary.BigEndian.Uint32(b)) }
func fixed(b []byte) float64 {
	return float64(int32(binary.BigEndian.Uint32(b))) / 65536
}

// Parse reads a profile.
func Parse(b []byte) (*Profile, error) {
	if len(b) < 132 || string(b[36:40]) != "acsp" {
		return nil, errors.New("no ICC profile")
	}
	p := &Profile{data: b}
	switch space := string(b[16:20]); space {
	case "GRAY":
		p.channels = 1
	case "RGB ":
		p.channels = 3
	case "CMYK":
		p.channels = 4
	default:
		return nil, fmt.Errorf("a colour profile of the space %q", space)
	}
	switch pcs := string(b[20:24]); pcs {
	case "XYZ ":
	case "Lab ":
		p.lab = true
	default:
		return nil, fmt.Errorf("a colour profile that leads to %q", pcs)
	}
	tags, err := tagsOf(b)
	if err != nil {
		return nil, err
	}
	lut, ok := tags["A2B1"]
	if !ok {
		lut, ok = tags["A2B0"]
	}
	switch {
	case ok:
		err = p.table(lut)
	case p.channels == 1:
		err = p.greyCurve(tags)
	case p.channels == 3 && !p.lab:
		err = p.matrix(tags)
	default:
		err = errors.New("a colour profile without its table")
	}
	if err != nil {
		return nil, err
	}
	p.prepare()
	return p, nil
}

// tagsOf are the tags of a profile by name.
func tagsOf(b []byte) (map[string]reader, error) {
	r := reader(b)
	n := be32(b[128:])
	table, err := r.at(132, 12*min(n, len(b))) // at most what is there
	if err != nil {
		return nil, err
	}
	tags := map[string]reader{}
	for ; len(table) > 0; table = table[12:] {
		data, err := r.at(be32(table[4:]), be32(table[8:]))
		if err != nil {
			continue // a tag that nobody may ask for
		}
		tags[string(table[:4])] = data
	}
	return tags, nil
}

// matrix reads a profile of three curves and a matrix.
func (p *Profile) matrix(tags map[string]reader) error {
	var m mat // columns are the colorants
	for c, name := range []string{"rXYZ", "gXYZ", "bXYZ"} {
		t := tags[name]
		if len(t) < 20 || string(t[:4]) != "XYZ " {
			return errors.New("a colour profile without its " + name)
		}
		for i := range 3 {
			m[i][c] = fixed(t[8+4*i:])
		}
	}
	for c, name := range []string{"rTRC", "gTRC", "bTRC"} {
		if c > 0 && bytes.Equal(tags[name], tags["rTRC"]) {
			p.curves[c] = p.curves[0]
			continue
		}
		cv, _, err := readCurve(tags[name])
		if err != nil {
			return err
		}
		p.curves[c] = cv
	}
	p.toLinear = xyzToSRGB.times(m)
	return nil
}

// greyCurve reads a grey profile of one curve.
func (p *Profile) greyCurve(tags map[string]reader) error {
	cv, _, err := readCurve(tags["kTRC"])
	if err != nil {
		return err
	}
	p.steps = []step{curves{cv}}
	if p.lab {
		p.steps = append(p.steps, neutral{1, float32(128.0 / 255)})
	} else {
		p.steps = append(p.steps, greyXYZ{})
	}
	return nil
}

// neutral makes Lab of a lightness; greyXYZ makes XYZ of a luminance.
type neutral struct{ l, ab float32 }

func (n neutral) apply(v *[4]float32) { v[0], v[1], v[2] = v[0]*n.l, n.ab, n.ab }

type greyXYZ struct{}

func (greyXYZ) apply(v *[4]float32) {
	y := v[0] / xyzRange
	v[0], v[1], v[2] = y*d50[0], y, y*d50[2]
}

// table reads an A2B tag.
func (p *Profile) table(t reader) error {
	if len(t) < 32 {
		return errShort
	}
	if in, out := int(t[8]), int(t[9]); in != p.channels || out != 3 {
		return fmt.Errorf("a colour profile whose table takes %d and gives %d values", in, out)
	}
	switch kind := string(t[:4]); kind {
	case "mft1", "mft2":
		return p.mft(t, kind == "mft2")
	case "mAB ":
		return p.mab(t)
	default:
		return fmt.Errorf("a colour profile whose table is of the type %q", kind)
	}
}

// mft reads the tables of version 2: input curves, a grid, output curves.
func (p *Profile) mft(t reader, wide bool) error {
	n, grid := p.channels, int(t[10])
	inLen, outLen, off, size := 256, 256, 48, 1
	if wide {
		if len(t) < 52 {
			return errShort
		}
		inLen, outLen, off, size = be16(t[48:]), be16(t[50:]), 52, 2
		if p.lab {
			p.scale = labLegacy
		}
	}
	if inLen < 2 || outLen < 2 || grid < 2 {
		return errors.New("a colour profile with an empty table")
	}
	set := func(n, entries int) (curves, error) {
		var cs curves
		for range n {
			v, err := numbers(t, off, entries, size)
			if err != nil {
				return nil, err
			}
			cs, off = append(cs, curve{v: v}), off+entries*size
		}
		return cs, nil
	}
	in, err := set(n, inLen)
	if err != nil {
		return err
	}
	g := []int{grid, grid, grid, grid}[:n]
	c, used, err := readGrid(t, off, g, size)
	if err != nil {
		return err
	}
	off += used
	out, err := set(3, outLen)
	if err != nil {
		return err
	}
	p.steps = []step{in, c, out}
	return nil
}

// mab reads the tables of version 4: A curves, a grid, M curves, a matrix, B curves.
func (p *Profile) mab(t reader) error {
	set := func(off, n int) error {
		if off == 0 {
			return nil
		}
		var cs curves
		for range n {
			if off > len(t) {
				return errShort
			}
			cv, used, err := readCurve(t[off:])
			if err != nil {
				return err
			}
			cs, off = append(cs, cv), off+(used+3)/4*4
		}
		p.steps = append(p.steps, cs)
		return nil
	}
	b, m, mc, clut, a := be32(t[12:]), be32(t[16:]), be32(t[20:]), be32(t[24:]), be32(t[28:])
	if err := set(a, p.channels); err != nil {
		return err
	}
	if clut != 0 {
		h, err := t.at(clut, 20)
		if err != nil {
			return err
		}
		g := make([]int, p.channels)
		for i := range g {
			g[i] = int(h[i])
		}
		size := int(h[16])
		if size != 1 && size != 2 {
			return errors.New("a colour profile with a table of neither 8 nor 16 bits")
		}
		c, _, err := readGrid(t, clut+20, g, size)
		if err != nil {
			return err
		}
		p.steps = append(p.steps, c)
	} else if p.channels != 3 {
		return errors.New("a colour profile without its table")
	}
	if err := set(mc, 3); err != nil {
		return err
	}
	if m != 0 {
		e, err := t.at(m, 48)
		if err != nil {
			return err
		}
		var s affine
		for i := range 9 {
			s.m[i/3][i%3] = float32(fixed(e[4*i:]))
		}
		for i := range 3 {
			s.add[i] = float32(fixed(e[36+4*i:]))
		}
		p.steps = append(p.steps, s)
	}
	return set(b, 3)
}

// numbers reads 8- or 16-bit values as 0 to 1.
func numbers(t reader, off, n, size int) ([]float32, error) {
	if n > len(t) {
		return nil, errShort
	}
	b, err := t.at(off, n*size)
	if err != nil {
		return nil, err
	}
	v := make([]float32, n)
	for i := range v {
		if size == 1 {
			v[i] = float32(b[i]) / 255
		} else {
			v[i] = float32(be16(b[2*i:])) / 65535
		}
	}
	return v, nil
}

// curves is one curve for each value.
type curves []curve

func (c curves) apply(v *[4]float32) {
	for i, cv := range c {
		v[i] = cv.at(v[i])
	}
}

// affine is a matrix and an offset.
type affine struct {
	m   [3][3]float32
	add [3]float32
}

func (a affine) apply(v *[4]float32) {
	var o [3]float32
	for i, row := range a.m {
		o[i] = row[0]*v[0] + row[1]*v[1] + row[2]*v[2] + a.add[i]
	}
	v[0], v[1], v[2] = o[0], o[1], o[2]
}

// xyzRange is the largest XYZ value of 16 bits.
const xyzRange = 1 + 32767.0/32768

// linear takes what the steps left to linear sRGB.
func (p *Profile) linear(v *[4]float32) {
	x, y, z := v[0]*xyzRange, v[1]*xyzRange, v[2]*xyzRange
	if p.lab {
		l, a, b := v[0]*100, v[1]*255-128, v[2]*255-128
		if p.scale == labLegacy {
			const k = 65535.0 / 65280
			l, a, b = v[0]*100*k, v[1]*255*k-128, v[2]*255*k-128
		}
		fy := (l + 16) / 116
		x, y, z = d50[0]*cube(fy+a/500), cube(fy), d50[2]*cube(fy-b/200)
	}
	m := &xyzToSRGB32
	v[0], v[1], v[2] = m[0][0]*x+m[0][1]*y+m[0][2]*z, m[1][0]*x+m[1][1]*y+m[1][2]*z, m[2][0]*x+m[2][1]*y+m[2][2]*z
}

// cube is the inverse of Lab's cube root.
func cube(t float32) float32 {
	if t > 24.0/116 {
		return t * t * t
	}
	return (t - 16.0/116) * 108 / 841
}

// prepare tabulates what a grey profile gives, and the curves of a matrix.
func (p *Profile) prepare() {
	if p.channels == 3 && p.steps == nil {
		for i, c := range p.curves {
			if i > 0 && &c.v[0] == &p.curves[0].v[0] {
				p.ramps[i] = p.ramps[0]
				continue
			}
			if p.ramps[i] = c.v; len(c.v) != fine {
				p.ramps[i] = clipped(func(x float64) float64 { return float64(c.at(float32(x))) }, fine).v
			}
		}
	}
	if p.channels != 1 {
		return
	}
	grey := make([][3]float32, 65536)
	for i := range grey {
		v := [4]float32{float32(i) / 65535}
		p.one(&v)
		grey[i] = [3]float32{v[0], v[1], v[2]}
	}
	p.grey = grey
}

// one converts one colour to sRGB.
func (p *Profile) one(v *[4]float32) {
	if p.steps == nil {
		r, g, b := float64(p.curves[0].at(v[0])), float64(p.curves[1].at(v[1])), float64(p.curves[2].at(v[2]))
		for i, m := range p.toLinear {
			v[i] = float32(m[0]*r + m[1]*g + m[2]*b)
		}
	} else {
		for _, s := range p.steps {
			s.apply(v)
		}
		p.linear(v)
	}
	encode := srgbEncode()
	for i := range 3 {
		v[i] = encode.at(v[i])
	}
}

// ToSRGB converts pixels of four values each in place: the first Channels of them
// are read, the first three written.
func (p *Profile) ToSRGB(px []float32) {
	if p.grey != nil {
		for ; len(px) >= 4; px = px[4:] {
			g := &p.grey[index16(px[0])]
			px[0], px[1], px[2] = g[0], g[1], g[2]
		}
		return
	}
	if p.steps == nil {
		p.matrixToSRGB(px)
		return
	}
	var last, got [4]float32 // neighbours are often equal
	last[0] = -1
	for ; len(px) >= 4; px = px[4:] {
		v := [4]float32{px[0], px[1], px[2]}
		if p.channels == 4 {
			v[3] = px[3]
		}
		if v != last {
			last = v
			p.one(&v)
			got = v
		}
		px[0], px[1], px[2] = got[0], got[1], got[2]
	}
}

// matrixToSRGB is what phones' pictures take, so it is quick: three look-ups, a
// matrix, and three look-ups with a line between two points.
func (p *Profile) matrixToSRGB(px []float32) {
	r, g, b := (*[fine]float32)(p.ramps[0]), (*[fine]float32)(p.ramps[1]), (*[fine]float32)(p.ramps[2])
	m, encode := p.toLinear.float32(), (*[encodePoints]float32)(srgbEncode().v)
	const top = encodePoints - 1
	for ; len(px) >= 4; px = px[4:] {
		x, y, z := r[index16(px[0])], g[index16(px[1])], b[index16(px[2])]
		for i := range 3 {
			v := (m[i][0]*x + m[i][1]*y + m[i][2]*z) * top
			switch {
			case !(v > 0): // also what is not a number
				px[i] = 0
			case v >= top:
				px[i] = 1
			default:
				k := int(v)
				px[i] = encode[k] + (encode[k+1]-encode[k])*(v-float32(k))
			}
		}
	}
}

func index16(v float32) uint16 {
	switch {
	case !(v > 0):
		return 0
	case v >= 1:
		return 65535
	}
	return uint16(v*65535 + 0.5)
}

// FromSRGB converts pixels of four values each from sRGB into the profile, in
// place. The profile must be [Profile.Reversible].
func (p *Profile) FromSRGB(px []float32) {
	back, decode := p.toLinear.inverted(), srgbDecode()
	var inverse [3]curve
	for i, c := range p.curves {
		inverse[i] = c.inverted()
	}
	for ; len(px) >= 4; px = px[4:] {
		r, g, b := float64(decode.at(px[0])), float64(decode.at(px[1])), float64(decode.at(px[2]))
		for i, m := range back {
			px[i] = inverse[i].at(float32(m[0]*r + m[1]*g + m[2]*b))
		}
	}
}

// SRGB reports whether the profile is sRGB, or so near that 8 bits see no difference.
func (p *Profile) SRGB() bool {
	for i := range 9 * 9 * 9 {
		in := [4]float32{float32(i%9) / 8, float32(i/9%9) / 8, float32(i/81) / 8}
		if p.channels == 1 {
			in[1], in[2] = in[0], in[0]
		}
		out := in
		p.ToSRGB(out[:])
		for c := range 3 {
			if math.Abs(float64(in[c]-out[c])) > 1.0/255 {
				return false
			}
		}
	}
	return p.channels != 4
}

func clamp(v float32) float32 { return min(max(v, 0), 1) }
