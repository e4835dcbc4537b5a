package picture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"

	"golang.org/x/image/webp"
)

// riff are the chunks of a WebP file, or of a frame of one.
type riff struct {
	name string
	data []byte
}

func riffChunks(b []byte) (all []riff) {
	for len(b) >= 8 {
		n := int(binary.LittleEndian.Uint32(b[4:]))
		data := b[8:]
		if n < 0 || n > len(data) { // the last one may be cut off; the decoder says so
			n = len(data)
		}
		all = append(all, riff{string(b[:4]), data[:n]})
		b = data[min(n+n&1, len(data)):]
	}
	return all
}

func (r riff) bytes() []byte {
	b := binary.LittleEndian.AppendUint32([]byte(r.name), uint32(len(r.data)))
	b = append(b, r.data...)
	if len(r.data)&1 == 1 {
		b = append(b, 0)
	}
	return b
}

func webpFile(chunks ...riff) []byte {
	body := []byte("WEBP")
	for _, c := range chunks {
		body = append(body, c.bytes()...)
	}
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

func put24(b []byte, v int) { b[0], b[1], b[2] = byte(v), byte(v>>8), byte(v>>16) }
func get24(b []byte) int    { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

const webpAnimated, webpAlpha, webpProfile = 0x02, 0x10, 0x20 // of VP8X

// webpConfig gives the canvas, also of an animation.
func webpConfig(b []byte) (w, h int, err error) {
	for _, c := range riffChunks(b[12:]) {
		if c.name == "VP8X" && len(c.data) >= 10 {
			return get24(c.data[4:]) + 1, get24(c.data[7:]) + 1, nil
		}
	}
	c, err := webp.DecodeConfig(bytes.NewReader(b))
	return c.Width, c.Height, err
}

// decodeWebP decodes a picture, or the first frame of an animation.
func decodeWebP(ctx context.Context, b []byte) (raw, error) {
	r := raw{channels: 3, turn: 1}
	chunks := riffChunks(b[12:])
	var frame *riff
	animated := false
	for i, c := range chunks {
		switch c.name {
		case "VP8X":
			animated = len(c.data) > 0 && c.data[0]&webpAnimated != 0
		case "ICCP":
			r.profile = parsed(c.data)
		case "EXIF":
			r.turn = orientation(c.data)
		case "ANMF":
			if frame == nil {
				frame = &chunks[i]
			}
		}
	}
	at := image.Point{}
	w, h, err := webpConfig(b)
	if err != nil {
		return r, err
	}
	still := chunks
	if animated {
		if frame == nil || len(frame.data) < 16 {
			return r, errors.New("an animation without a frame")
		}
		f := frame.data
		still = riffChunks(f[16:])
		at = image.Pt(2*get24(f), 2*get24(f[3:]))
		head := make([]byte, 10)
		put24(head[4:], get24(f[6:]))
		put24(head[7:], get24(f[9:]))
		parts := []riff{{"VP8X", head}}
		for _, c := range riffChunks(f[16:]) {
			switch c.name {
			case "ALPH":
				head[0] |= webpAlpha
				parts = append(parts, c)
			case "VP8 ":
				parts = append(parts, c)
			case "VP8L":
				parts = []riff{c} // stands alone
			}
		}
		b = webpFile(parts...)
	}
	if err := within(still, w-at.X, h-at.Y); err != nil {
		return r, err
	}
	img, err := webp.Decode(until(ctx, b))
	if err != nil {
		return r, err
	}
	switch m := img.(type) {
	case *image.YCbCr:
		img = fromStudio(m, nil, 0)
	case *image.NYCbCrA:
		img = fromStudio(&m.YCbCr, m.A, m.AStride)
	}
	if animated {
		img = onCanvas(shifted(img, at), image.Rect(0, 0, w, h))
	}
	r.img = img
	return r, nil
}

// within checks that what will be decoded is no larger than the canvas, which is all
// that was looked at.
func within(chunks []riff, w, h int) error {
	for _, c := range chunks {
		if c.name != "VP8 " && c.name != "VP8L" {
			continue
		}
		got, err := webp.DecodeConfig(bytes.NewReader(webpFile(c)))
		if err != nil {
			return err
		}
		if got.Width > w || got.Height > h {
			return errors.New("its picture is larger than its canvas")
		}
	}
	return nil
}

// shifted moves a picture that begins at (0,0).
func shifted(img image.Image, by image.Point) image.Image {
	if by == (image.Point{}) {
		return img
	}
	m := image.NewNRGBA(img.Bounds())
	for y := range m.Rect.Max.Y {
		for x := range m.Rect.Max.X {
			m.Set(x, y, img.At(x, y))
		}
	}
	m.Rect = m.Rect.Add(by)
	return m
}

// fromStudio converts lossy WebP, which has the studio range of BT.601, with
// libwebp's filter for the chroma and its fixed point: the bits that every
// browser shows. The standard decoder hands the planes on as if they were JPEG's.
func fromStudio(m *image.YCbCr, alpha []byte, alphaStride int) image.Image {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	canvas := image.Rect(0, 0, w, h)
	n := 3
	if alpha != nil {
		n = 4
	}
	pix := make([]byte, n*w*h)
	cw, ch := (w+1)/2, (h+1)/2
	parallel(h, func(lo, hi int) {
		u, v := make([]byte, 2*cw), make([]byte, 2*cw)
		for y := lo; y < hi; y++ {
			near := y / 2 // the chroma row of y, and the one on its other side
			far := min(max(near-1+2*(y&1), 0), ch-1)
			upsampleWebP(u, m.Cb[near*m.CStride:][:cw], m.Cb[far*m.CStride:][:cw])
			upsampleWebP(v, m.Cr[near*m.CStride:][:cw], m.Cr[far*m.CStride:][:cw])
			for x := range w {
				d := pix[n*(y*w+x):]
				l, cb, cr := int32(m.Y[y*m.YStride+x])*19077>>8, int32(u[x]), int32(v[x])
				d[0] = clip6(l + cr*26149>>8 - 14234)
				d[1] = clip6(l - cb*6419>>8 - cr*13320>>8 + 8708)
				d[2] = clip6(l + cb*33050>>8 - 17685)
				if n == 4 {
					d[3] = alpha[y*alphaStride+x]
				}
			}
		}
	})
	if n == 4 {
		return &image.NRGBA{Pix: pix, Stride: 4 * w, Rect: canvas}
	}
	return &rgb{pix, canvas}
}

// upsampleWebP weighs four chroma samples 9, 3, 3 and 1, rounding twice as libwebp does.
func upsampleWebP(out, near, far []byte) {
	last := len(near) - 1
	out[0] = byte((3*int32(near[0]) + int32(far[0]) + 2) >> 2)
	out[2*last+1] = byte((3*int32(near[last]) + int32(far[last]) + 2) >> 2)
	for i := range last {
		a, b, c, d := int32(near[i]), int32(near[i+1]), int32(far[i]), int32(far[i+1])
		sum := a + b + c + d + 8
		out[2*i+1] = byte(((sum+2*(b+c))>>3 + a) >> 1)
		out[2*i+2] = byte(((sum+2*(a+d))>>3 + b) >> 1)
	}
}

// clip6 drops six bits and clips.
func clip6(v int32) byte { return byte(min(max(v>>6, 0), 255)) }
