package jpeg

import (
	"encoding/binary"
	"errors"
)

// huffman decodes by a table of the next lookBits bits, and longer codes one
// length after the other.
type huffman struct {
	look   [1 << lookBits]uint16 // length<<8 | value; 0 is a longer code
	values []byte
	max    [18]int32 // largest code of a length, shifted to 16 bits, plus 1
	offset [17]int32 // index of a length's first value less its first code
}

const lookBits = 9

func newHuffman(counts, values []byte) (*huffman, error) {
	h := &huffman{values: append([]byte(nil), values...)}
	code, k := int32(0), int32(0)
	for l := 1; l <= 16; l++ {
		h.offset[l] = k - code
		for range counts[l-1] {
			if code >= 1<<l {
				return nil, errors.New("an impossible table of codes")
			}
			if l <= lookBits {
				at := code << (lookBits - l)
				for i := range int32(1) << (lookBits - l) {
					h.look[at+i] = uint16(l)<<8 | uint16(values[k])
				}
			}
			code++
			k++
		}
		h.max[l] = code << (16 - l)
		code <<= 1
	}
	h.max[17] = 1 << 17
	return h, nil
}

// bitReader reads entropy-coded data. Behind the data, at a marker or at the end of
// the file, it gives zeros and counts them.
type bitReader struct {
	b      []byte
	pos    int
	acc    uint64 // the next n bits, at the top
	n      int
	padded int // of the n, zeros that are not in the file
}

// fill makes at least 32 bits ready.
func (r *bitReader) fill() {
	if r.n >= 32 {
		return
	}
	if r.pos+4 <= len(r.b) {
		v := binary.BigEndian.Uint32(r.b[r.pos:])
		if (^v-0x01010101)&v&0x80808080 == 0 { // no byte is 0xff
			r.acc |= uint64(v) << (32 - r.n)
			r.n += 32
			r.pos += 4
			return
		}
	}
	for r.n <= 56 {
		var c byte
		switch {
		case r.pos >= len(r.b):
			r.padded += 8
		case r.b[r.pos] != 0xff:
			c = r.b[r.pos]
			r.pos++
		case r.pos+1 < len(r.b) && r.b[r.pos+1] == 0:
			c = 0xff
			r.pos += 2
		case r.pos+1 < len(r.b) && r.b[r.pos+1] == 0xff: // a filling byte
			r.pos++
			continue
		default:
			r.padded += 8
		}
		r.acc |= uint64(c) << (56 - r.n)
		r.n += 8
	}
}

func (r *bitReader) drop(n int) {
	r.acc <<= uint(n)
	r.n -= n
}

// get returns up to 16 bits, which fill has made ready.
func (r *bitReader) get(n int) int32 {
	v := int32(r.acc >> (64 - uint(n)))
	if n == 0 {
		return 0
	}
	r.drop(n)
	return v
}

// cut reports whether bits were used that the file does not have.
func (r *bitReader) cut() bool { return r.n < r.padded }

// symbol decodes one code; fill must have been called.
func (r *bitReader) symbol(h *huffman) byte {
	if e := h.look[r.acc>>(64-lookBits)]; e != 0 {
		r.drop(int(e >> 8))
		return byte(e)
	}
	code := int32(r.acc >> 48)
	l := lookBits + 1
	for l <= 16 && code >= h.max[l] {
		l++
	}
	if l > 16 { // no such code
		r.drop(16)
		return 0
	}
	r.drop(l)
	i := h.offset[l] + code>>(16-l)
	if i < 0 || int(i) >= len(h.values) {
		return 0
	}
	return h.values[i]
}

// extend makes a signed number of n bits (figure F.12).
func extend(v int32, n int) int32 {
	if n > 0 && v < 1<<(n-1) {
		return v - 1<<n + 1
	}
	return v
}

// next moves behind the next restart marker. What stands before it is left out.
func (r *bitReader) next() error {
	r.acc, r.n, r.padded = 0, 0, 0
	for ; r.pos+1 < len(r.b); r.pos++ {
		if m := r.b[r.pos+1]; r.b[r.pos] == 0xff && m != 0 && m != 0xff {
			if m < 0xd0 || m > 0xd7 {
				return errCut
			}
			r.pos += 2
			return nil
		}
	}
	return errCut
}
