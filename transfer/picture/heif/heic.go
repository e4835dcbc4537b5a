package heif

import (
	_ "embed" // the decoder
	"sync"
)

//go:embed heic.wasm.gz
var heicModule []byte

var heicCompiled = sync.OnceValues(func() (*compiled, error) { return compile(heicModule) })

// heic calls decode(file, size, config only, width, height, colours, chroma, premultiplied, out).
func (c *caller) heic(b []byte) (*Image, error) {
	file, out := c.room(len(b), b), c.room(20, nil)
	args := []uint64{file, uint64(len(b)), 1, out, out + 4, out + 8, out + 12, out + 16, 0}
	if ok := c.call("decode", args...); ok == 0 {
		return nil, errDecode
	}
	v := c.words(out, 4)
	m := &Image{W: v[0], H: v[1], Bits: 8}
	if !c.allowed(m.W, m.H) {
		return nil, errDecode
	}
	// libheif's rows have an even number of samples, 64 at least, and whole 16 bytes.
	rows := func(n, bytes int) int { return (max(n+n&1, 64)*bytes + 15) &^ 15 }
	const ycbcr, grey = 0, 2
	size := 0
	switch colours, chroma := v[2], v[3]; {
	case colours == grey:
		m.YStride = rows(m.W, 1)
		size = m.YStride * m.H
	case colours == ycbcr && chroma >= 1 && chroma <= 3: // 4:2:0, 4:2:2, 4:4:4
		m.HalfAcross, m.Down2 = chroma < 3, chroma == 1
		m.ChromaW, m.ChromaH = m.W, m.H
		if m.HalfAcross {
			m.ChromaW = (m.W + 1) / 2
		}
		if m.Down2 {
			m.ChromaH = (m.H + 1) / 2
		}
		m.YStride, m.CStride = rows(m.W, 1), rows(m.ChromaW, 1)
		size = m.YStride*m.H + 2*m.CStride*m.ChromaH
	case colours == 1:
		size = rows(m.W, 4) * m.H
	default:
		return nil, errDecode
	}
	pix := c.room(size+4096, nil) // libheif may pad a little more
	args[2], args[8] = 0, pix
	if ok := c.call("decode", args...); ok == 0 {
		return nil, errDecode
	}
	all := c.read(pix, size)
	if c.err != nil {
		return nil, errDecode
	}
	switch v[2] {
	case grey:
		m.Y = all
	case ycbcr:
		y, ch := m.YStride*m.H, m.CStride*m.ChromaH
		m.Y, m.Cb, m.Cr = all[:y], all[y:y+ch], all[y+ch:]
	default:
		for y := range m.H {
			m.RGBA = append(m.RGBA, all[y*rows(m.W, 4):][:4*m.W]...)
		}
	}
	return m, nil
}
