package jpeg

import "bytes"

// What the components of a file mean.
type space int

const (
	asStored space = iota // grey, RGB or CMYK
	ycc
	ycck
)

// space goes by the markers as libjpeg does.
func (d *decoder) space() space {
	switch len(d.comp) {
	case 3:
		ids := [3]int{d.comp[0].id, d.comp[1].id, d.comp[2].id}
		switch {
		case d.jfif:
			return ycc
		case d.adobe:
			if d.transform == 0 {
				return asStored
			}
			return ycc
		case ids == [3]int{'R', 'G', 'B'}:
			return asStored
		}
		return ycc
	case 4:
		if d.adobe && d.transform != 0 {
			return ycck
		}
	}
	return asStored
}

// colours brings the planes to the picture's extent and makes pixels of them.
func (d *decoder) colours() (*Image, error) {
	n := len(d.comp)
	for i := range d.comp {
		if d.comp[i].plane == nil { // a component that no scan had
			if n > 1 && i == 0 {
				return nil, errCut
			}
			d.comp[i].plane = bytes.Repeat([]byte{128}, 64*d.comp[i].bw*d.comp[i].bh)
		}
	}
	m := &Image{W: d.w, H: d.h, Channels: n, Pix: make([]byte, d.w*d.h*n)}
	what := d.space()
	each(d.h, func(lo, hi int) {
		up := make([]upsampler, n)
		for i := range up {
			up[i] = newUpsampler(&d.comp[i], d.hMax, d.vMax)
		}
		rows := make([][]byte, n)
		for y := lo; y < hi; y++ {
			for i := range up {
				rows[i] = up[i].row(y)[:d.w]
			}
			out := m.Pix[y*d.w*n : (y+1)*d.w*n]
			switch {
			case n == 1:
				copy(out, rows[0])
			case what == ycc:
				ycbcr(out, rows[0], rows[1], rows[2])
			default:
				interleave(out, rows, what)
			}
			if n == 4 && d.inverted {
				for i := range out {
					out[i] = ^out[i]
				}
			}
		}
	})
	return m, nil
}

// The products of libjpeg's conversion, 16 bits behind the point.
var products = func() (t [256]struct{ r, g1, g2, b int32 }) {
	const half = 1 << 15
	for i := range t {
		x := int32(i) - 128
		t[i].r = (91881*x + half) >> 16
		t[i].b = (116130*x + half) >> 16
		t[i].g1 = -22554*x + half // of Cb
		t[i].g2 = -46802 * x      // of Cr
	}
	return t
}()

func clip(v int32) byte {
	if uint32(v) > 255 {
		return byte(^(v >> 31))
	}
	return byte(v)
}

func ycbcr(out, y, cb, cr []byte) {
	cb, cr = cb[:len(y)], cr[:len(y)]
	for i, l := range y {
		u, v, l := &products[cb[i]], &products[cr[i]], int32(l)
		o := out[3*i : 3*i+3 : 3*i+3]
		o[0], o[1], o[2] = clip(l+v.r), clip(l+(u.g1+v.g2)>>16), clip(l+u.b)
	}
}

// interleave takes RGB, CMYK and YCCK.
func interleave(out []byte, rows [][]byte, what space) {
	n := len(rows)
	for c, row := range rows {
		for i, v := range row {
			out[n*i+c] = v
		}
	}
	if what != ycck {
		return
	}
	for ; len(out) >= 4; out = out[4:] {
		u, v, l := &products[out[1]], &products[out[2]], int32(out[0])
		out[0], out[1], out[2] = ^clip(l+v.r), ^clip(l+(u.g1+v.g2)>>16), ^clip(l+u.b)
	}
}

// upsampler gives rows of a component at the picture's extent.
type upsampler struct {
	*component
	eh, ev int // how many pixels a sample spans
	fancy  bool
	out    []byte
	sums   []int32
	at     int // the row in out
}

func newUpsampler(c *component, hMax, vMax int) upsampler {
	u := upsampler{component: c, eh: hMax / c.h, ev: vMax / c.v, at: -1}
	switch {
	case u.eh == 2 && u.ev <= 2:
		u.fancy = c.w > 2
	case u.eh == 1 && u.ev == 2:
		u.fancy = true
	}
	if u.eh > 1 || u.ev > 1 {
		u.out, u.sums = make([]byte, c.w*u.eh+u.eh), make([]int32, c.w)
	}
	return u
}

func (u *upsampler) line(y int) []byte {
	y = min(max(y, 0), u.rows-1)
	return u.plane[y*u.stride():][:u.w]
}

// row is row y of the picture; it is valid until the next call.
func (u *upsampler) row(y int) []byte {
	if u.eh == 1 && u.ev == 1 {
		return u.line(y)
	}
	in := u.line(y / u.ev)
	if !u.fancy { // repeated
		if u.at != y/u.ev {
			u.at = y / u.ev
			for i, v := range in {
				o := u.out[i*u.eh : (i+1)*u.eh]
				for j := range o {
					o[j] = v
				}
			}
		}
		return u.out
	}
	near := u.line(y/u.ev - 1 + 2*(y&1)) // of two rows per sample: the one above the first, below the second
	out := u.out
	switch {
	case u.eh == 1: // 3 parts of a sample, 1 of its neighbour
		bias := 1 + int32(y&1)
		for i, v := range in {
			out[i] = byte((3*int32(v) + int32(near[i]) + bias) >> 2)
		}
	case u.ev == 1:
		last := len(in) - 1
		out[0], out[2*last+1] = in[0], in[last]
		for i, v := range in[:last] {
			a, b := int32(v), int32(in[i+1])
			out[2*i+1], out[2*i+2] = byte((3*a+b+2)>>2), byte((3*b+a+1)>>2)
		}
	default:
		s := u.sums
		for i, v := range in {
			s[i] = 3*int32(v) + int32(near[i])
		}
		last := len(s) - 1
		out[0], out[2*last+1] = byte((4*s[0]+8)>>4), byte((4*s[last]+7)>>4)
		for i, a := range s[:last] {
			b := s[i+1]
			out[2*i+1], out[2*i+2] = byte((3*a+b+7)>>4), byte((3*b+a+8)>>4)
		}
	}
	return out
}
