package jpeg

import (
	"errors"
	"math/bits"
)

// Sampling says how much chroma is kept.
type Sampling int

// The samplings.
const (
	S444 Sampling = iota // all of it
	S422                 // half across
	S420                 // half across and down
)

// Encode writes RGB pixels, three bytes each, as a baseline JPEG of a quality from
// 1 to 100, the way libjpeg does: its tables, transform and rounding, with codes
// made for the picture. icc, if not nil, goes along as the profile.
func Encode(pix []byte, w, h, quality int, s Sampling, icc []byte) ([]byte, error) {
	if w < 1 || h < 1 || w > 65535 || h > 65535 {
		return nil, errors.New("a JPEG has 1 to 65535 pixels on each side")
	}
	e := &encoder{w: w, h: h, hs: 1, vs: 1}
	if s != S444 {
		e.hs = 2
	}
	if s == S420 {
		e.vs = 2
	}
	e.tables(quality)
	e.planes(pix)
	e.blocks()
	e.out = append(e.out, 0xff, 0xd8)
	e.segment(0xe0, []byte("JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"))
	e.profile(icc)
	for i := range e.quant {
		seg := []byte{byte(i)}
		for k := range 64 {
			seg = append(seg, byte(e.quant[i][natural[k]]))
		}
		e.segment(0xdb, seg)
	}
	e.segment(0xc0, []byte{8, byte(h >> 8), byte(h), byte(w >> 8), byte(w), 3, 1, byte(e.hs<<4 | e.vs), 0, 2, 0x11, 1, 3, 0x11, 1})
	e.scan(func(table int, symbol byte, _ uint32, _ int) { e.count[table][symbol]++ })
	for i := range e.code {
		counts, values := optimal(e.count[i])
		e.code[i] = codes(counts, values)
		e.segment(0xc4, append(append([]byte{byte(i&1<<4 | i>>1)}, counts[:]...), values...))
	}
	e.segment(0xda, []byte{3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0})
	e.scan(func(table int, symbol byte, extra uint32, n int) {
		c := e.code[table][symbol]
		e.put(c.bits, c.n)
		e.put(extra, n)
	})
	e.put(0x7f, 7) // fill the last byte with ones
	return append(e.out, 0xff, 0xd9), nil
}

type code struct {
	bits uint32
	n    int
}

type encoder struct {
	w, h, hs, vs int
	quant        [2][64]int32 // natural order
	plane        [3][]byte    // padded to whole MCUs
	stride       [3]int
	coef         [3][]int16 // 64 a block
	count        [4][257]int
	code         [4][256]code // luma DC, luma AC, chroma DC, chroma AC
	out          []byte
	acc          uint64
	n            int
}

func (e *encoder) segment(marker byte, data []byte) {
	n := len(data) + 2
	e.out = append(append(e.out, 0xff, marker, byte(n>>8), byte(n)), data...)
}

// profile writes an ICC profile in pieces.
func (e *encoder) profile(icc []byte) {
	const most = 65519
	pieces := ceil(len(icc), most)
	for i := range pieces {
		seg := append([]byte("ICC_PROFILE\x00"), byte(i+1), byte(pieces))
		e.segment(0xe2, append(seg, icc[i*most:min((i+1)*most, len(icc))]...))
	}
}

// The tables of the standard, K.1, for quality 50.
var standard = [2][64]int32{
	{
		16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
		14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
		18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
		49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
	},
	{
		17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
		24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
	},
}

func (e *encoder) tables(quality int) {
	quality = min(max(quality, 1), 100)
	scale := int32(200 - 2*quality)
	if quality < 50 {
		scale = int32(5000 / quality)
	}
	for i := range e.quant {
		for k, v := range standard[i] {
			e.quant[i][k] = min(max((v*scale+50)/100, 1), 255)
		}
	}
}

// planes converts to YCbCr, and halves the chroma where that is wanted.
func (e *encoder) planes(pix []byte) {
	mcux, mcuy := ceil(e.w, 8*e.hs), ceil(e.h, 8*e.vs)
	for i := range e.plane {
		s, rows := 8*mcux, 8*mcuy
		if i == 0 {
			s, rows = s*e.hs, rows*e.vs
		}
		e.stride[i], e.plane[i] = s, make([]byte, s*rows)
	}
	rows := ceil(e.h, e.vs) // of chroma
	each(rows, func(lo, hi int) {
		full := make([][2][]byte, e.vs)
		for v := range full {
			full[v] = [2][]byte{make([]byte, e.stride[0]), make([]byte, e.stride[0])}
		}
		for y := lo; y < hi; y++ {
			for v := range e.vs {
				row := min(y*e.vs+v, e.h-1)
				luma := e.plane[0][(y*e.vs+v)*e.stride[0]:][:e.stride[0]]
				toYCbCr(luma, full[v][0], full[v][1], pix[3*row*e.w:3*(row+1)*e.w])
			}
			for c := range 2 {
				e.halve(e.plane[c+1][y*e.stride[c+1]:][:e.stride[c+1]], full, c)
			}
		}
	})
	for i, p := range e.plane { // rows below the picture repeat the last
		s, last := e.stride[i], rows
		if i == 0 {
			last *= e.vs
		}
		for y := last; y < len(p)/s; y++ {
			copy(p[y*s:(y+1)*s], p[(last-1)*s:])
		}
	}
}

// toYCbCr converts a row, and repeats its last pixel to the end.
func toYCbCr(y, cb, cr, rgb []byte) {
	n := len(rgb) / 3
	for x := range n {
		r, g, b := int32(rgb[3*x]), int32(rgb[3*x+1]), int32(rgb[3*x+2])
		const chroma = 128<<16 + 1<<15 - 1
		y[x] = byte((19595*r + 38470*g + 7471*b + 1<<15) >> 16)
		cb[x] = byte((-11059*r - 21709*g + 32768*b + chroma) >> 16)
		cr[x] = byte((32768*r - 27439*g - 5329*b + chroma) >> 16)
	}
	for _, p := range [][]byte{y, cb, cr} {
		for x := n; x < len(p); x++ {
			p[x] = p[n-1]
		}
	}
}

// halve brings one or two rows of full extent to one of chroma. The rounding goes
// up and down in turns.
func (e *encoder) halve(dst []byte, full [][2][]byte, c int) {
	switch {
	case e.hs == 1:
		copy(dst, full[0][c])
	case e.vs == 1:
		for x := range dst {
			dst[x] = byte((int32(full[0][c][2*x]) + int32(full[0][c][2*x+1]) + int32(x&1)) >> 1)
		}
	default:
		for x := range dst {
			a, b := full[0][c][2*x:2*x+2], full[1][c][2*x:2*x+2]
			dst[x] = byte((int32(a[0]) + int32(a[1]) + int32(b[0]) + int32(b[1]) + 1 + int32(x&1)) >> 2)
		}
	}
}

// blocks transforms and quantises everything.
func (e *encoder) blocks() {
	for i, p := range e.plane {
		s := e.stride[i]
		bw, bh := s/8, len(p)/s/8
		q := &e.quant[min(i, 1)]
		coef := make([]int16, 64*bw*bh)
		e.coef[i] = coef
		each(bh, func(lo, hi int) {
			var b [64]int32
			for y := lo; y < hi; y++ {
				for x := range bw {
					for k := range 64 {
						b[k] = int32(p[(8*y+k/8)*s+8*x+k%8]) - 128
					}
					fdct(&b)
					out := coef[64*(y*bw+x):][:64]
					for k := range 64 {
						v, d := b[natural[k]], 8*q[natural[k]]
						if v < 0 {
							out[k] = int16(-((-v + d/2) / d))
						} else {
							out[k] = int16((v + d/2) / d)
						}
					}
				}
			}
		})
	}
}

// fdct is the transform whose inverse idct is; results are 8 times too large.
func fdct(b *[64]int32) {
	for i := 0; i < 64; i += 8 {
		forward(b, i, 1, 11, 0, 2)
	}
	for i := range 8 {
		forward(b, i, 8, 15, 2, 0)
	}
}

// forward transforms 8 values `step` apart. Products drop `shift` bits, sums drop
// `down` or gain `up`.
func forward(b *[64]int32, at, step int, shift, down, up uint) {
	v := func(i int) *int32 { return &b[at+i*step] }
	s0, d0 := *v(0)+*v(7), *v(0)-*v(7)
	s1, d1 := *v(1)+*v(6), *v(1)-*v(6)
	s2, d2 := *v(2)+*v(5), *v(2)-*v(5)
	s3, d3 := *v(3)+*v(4), *v(3)-*v(4)
	half := int32(1) << shift >> 1
	a0, a3, a1, a2 := s0+s3, s0-s3, s1+s2, s1-s2
	sum := func(x int32) int32 { return (x<<up + int32(1)<<down>>1) >> down }
	z1 := (a2 + a3) * c0541
	*v(0), *v(4) = sum(a0+a1), sum(a0-a1)
	*v(2), *v(6) = (z1+a3*c0765+half)>>shift, (z1-a2*c1847+half)>>shift

	z1, z2, z3, z4 := d3+d0, d2+d1, d3+d1, d2+d0
	z5 := (z3 + z4) * c1175
	z1, z2, z3, z4 = -z1*c0899, -z2*c2562, z5-z3*c1961, z5-z4*c0390
	*v(7), *v(5) = (d3*c0298+z1+z3+half)>>shift, (d2*c2053+z2+z4+half)>>shift
	*v(3), *v(1) = (d1*c3072+z2+z3+half)>>shift, (d0*c1501+z1+z4+half)>>shift
}

// scan calls emit for every symbol in order: its table, the symbol, and the bits
// behind it.
func (e *encoder) scan(emit func(table int, symbol byte, extra uint32, n int)) {
	mcux, mcuy := ceil(e.w, 8*e.hs), ceil(e.h, 8*e.vs)
	var (
		pred  [3]int16
		empty [64]int16
	)
	for y := range mcuy {
		for x := range mcux {
			for i := range e.coef {
				hs, vs := 1, 1
				if i == 0 {
					hs, vs = e.hs, e.vs
				}
				for v := range vs {
					for h := range hs {
						if i == 0 && (8*(x*hs+h) >= e.w || 8*(y*vs+v) >= e.h) { // beside the picture: as cheap as can be
							empty[0] = pred[0]
							block(empty[:], pred[0], 0, emit)
							continue
						}
						at := 64 * ((y*vs+v)*e.stride[i]/8 + x*hs + h)
						pred[i] = block(e.coef[i][at:][:64], pred[i], 2*min(i, 1), emit)
					}
				}
			}
		}
	}
}

func block(b []int16, pred int16, table int, emit func(int, byte, uint32, int)) int16 {
	value := func(table int, run int, v int32) {
		a, x := v, v
		if v < 0 {
			a, x = -v, v-1
		}
		n := bits.Len32(uint32(a))
		emit(table, byte(run<<4|n), uint32(x)&(1<<n-1), n)
	}
	value(table, 0, int32(b[0])-int32(pred))
	run := 0
	for _, v := range b[1:] {
		if v == 0 {
			run++
			continue
		}
		for ; run > 15; run -= 16 {
			emit(table+1, 0xf0, 0, 0)
		}
		value(table+1, run, int32(v))
		run = 0
	}
	if run > 0 {
		emit(table+1, 0, 0, 0)
	}
	return b[0]
}

func (e *encoder) put(v uint32, n int) {
	e.acc, e.n = e.acc<<n|uint64(v), e.n+n
	for e.n >= 8 {
		c := byte(e.acc >> (e.n - 8))
		e.out = append(e.out, c)
		if c == 0xff {
			e.out = append(e.out, 0)
		}
		e.n -= 8
	}
}

// optimal makes the shortest codes of at most 16 bits for symbols that occur so
// often (K.2). No code is all ones: a symbol that never occurs takes that one.
func optimal(count [257]int) (counts [16]byte, values []byte) {
	count[256] = 1
	var size, next [257]int
	for i := range next {
		next[i] = -1
	}
	for {
		a, b := -1, -1 // the two rarest; the larger symbol of equals
		for i, n := range count {
			if n == 0 {
				continue
			}
			if a < 0 || n <= count[a] {
				a, b = i, a
			} else if b < 0 || n <= count[b] {
				b = i
			}
		}
		if b < 0 {
			break
		}
		count[a] += count[b]
		count[b] = 0
		for size[a]++; next[a] >= 0; size[a]++ {
			a = next[a]
		}
		next[a] = b
		for size[b]++; next[b] >= 0; size[b]++ {
			b = next[b]
		}
	}
	var lengths [258]int
	for _, n := range size {
		lengths[n]++
	}
	lengths[0] = 0
	for l := len(lengths) - 1; l > 16; l-- {
		for lengths[l] > 0 { // a pair moves up, and splits a shorter code
			j := l - 2
			for lengths[j] == 0 {
				j--
			}
			lengths[l] -= 2
			lengths[l-1]++
			lengths[j+1] += 2
			lengths[j]--
		}
	}
	longest := 16
	for longest > 0 && lengths[longest] == 0 {
		longest--
	}
	lengths[longest]-- // the code of all ones
	for i := range counts {
		counts[i] = byte(lengths[i+1])
	}
	for l := 1; l < len(lengths); l++ {
		for i := range 256 {
			if size[i] == l {
				values = append(values, byte(i))
			}
		}
	}
	return counts, values
}

func codes(counts [16]byte, values []byte) (c [256]code) {
	next, k := uint32(0), 0
	for l, n := range counts {
		for range n {
			c[values[k]] = code{next, l + 1}
			next++
			k++
		}
		next <<= 1
	}
	return c
}
