package jpeg

// The inverse transform of Loeffler, Ligtenberg and Moschytz in 32-bit integers,
// with 13 bits behind the point and two more kept between the passes: libjpeg's
// "islow", whose every rounding is part of what a file looks like.
const (
	c0298 = 2446 // 0.298631336 * 8192, and so on
	c0390 = 3196
	c0541 = 4433
	c0765 = 6270
	c0899 = 7373
	c1175 = 9633
	c1501 = 12299
	c1847 = 15137
	c1961 = 16069
	c2053 = 16819
	c2562 = 20995
	c3072 = 25172
)

// idct writes the 8x8 samples of a block.
func idct(b *[64]int16, q *[64]int32, dst []byte, stride int) {
	var w [64]int32
	flat := true
	for i := range 8 { // columns
		if b[8+i]|b[16+i]|b[24+i]|b[32+i]|b[40+i]|b[48+i]|b[56+i] == 0 {
			dc := int32(b[i]) * q[i] << 2
			for k := i; k < 64; k += 8 {
				w[k] = dc
			}
			flat = flat && (i == 0 || dc == 0)
			continue
		}
		flat = false
		o := pass(int32(b[i])*q[i], int32(b[8+i])*q[8+i], int32(b[16+i])*q[16+i], int32(b[24+i])*q[24+i],
			int32(b[32+i])*q[32+i], int32(b[40+i])*q[40+i], int32(b[48+i])*q[48+i], int32(b[56+i])*q[56+i], 1<<10)
		for k, v := range o {
			w[8*k+i] = v >> 11
		}
	}
	if flat { // one value for all
		v := level((w[0] + 16) >> 5)
		for range 8 {
			d := dst[:8:8]
			for i := range d {
				d[i] = v
			}
			if len(dst) < stride {
				return
			}
			dst = dst[stride:]
		}
		return
	}
	for i := range 8 { // rows
		s := w[8*i : 8*i+8 : 8*i+8]
		o := pass(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], 1<<17)
		d := dst[:8:8]
		for k, v := range o {
			d[k] = level(v >> 18)
		}
		if len(dst) < stride {
			return
		}
		dst = dst[stride:]
	}
}

// level adds the middle and clips.
func level(v int32) byte {
	if v += 128; uint32(v) > 255 {
		return byte(^(v >> 31)) // 0 below, 255 above
	}
	return byte(v)
}

// pass transforms one column or row; round is added to every result.
func pass(x0, x1, x2, x3, x4, x5, x6, x7, round int32) [8]int32 {
	z1 := (x2 + x6) * c0541
	t2, t3 := z1-x6*c1847, z1+x2*c0765
	t0, t1 := (x0+x4)<<13+round, (x0-x4)<<13+round
	e0, e3, e1, e2 := t0+t3, t0-t3, t1+t2, t1-t2

	z1, z2, z3, z4 := x7+x1, x5+x3, x7+x3, x5+x1
	z5 := (z3 + z4) * c1175
	z1, z2, z3, z4 = -z1*c0899, -z2*c2562, z5-z3*c1961, z5-z4*c0390
	o0, o1, o2, o3 := x7*c0298+z1+z3, x5*c2053+z2+z4, x3*c3072+z2+z3, x1*c1501+z1+z4
	return [8]int32{e0 + o3, e1 + o2, e2 + o1, e3 + o0, e3 - o0, e2 - o1, e1 - o2, e0 - o3}
}
