package picture

import (
	"context"
	"encoding/binary"
	"errors"
	"image"

	"github.com/stylize-gpu/stylize/transfer/picture/heif"
	"github.com/stylize-gpu/stylize/transfer/picture/icc"
)

func heifConfig(b []byte) (w, h int, err error) {
	in, err := heif.Read(b)
	if errors.Is(err, heif.ErrFilm) {
		err = unsupported(err.Error())
	}
	return in.W, in.H, err
}

// decodeHEIF decodes the first picture of an AVIF or a HEIC.
func decodeHEIF(ctx context.Context, b []byte) (raw, error) {
	in, err := heif.Read(b)
	if err != nil {
		return raw{}, err
	}
	if !in.AV1 && !in.HEVC {
		return raw{}, unsupported("a HEIF of neither HEVC nor AV1")
	}
	if in.Alpha && !in.AV1 {
		return raw{}, unsupported("a HEIC with transparency")
	}
	if in.Deep && !in.AV1 {
		return raw{}, unsupported("a HEIC of 4:4:4 with more than 8 bits")
	}
	m, err := heif.Decode(ctx, b, in)
	if err != nil {
		return raw{}, err
	}
	r := raw{channels: 3, profile: parsed(in.ICC), turn: in.Turn}
	if in.ICC == nil {
		r.profile = icc.FromCode(in.Primaries, in.Transfer)
	}
	canvas := image.Rect(0, 0, m.W, m.H)
	switch {
	case m.RGBA == nil && m.Cb == nil:
		r.img = &image.Gray{Pix: m.Y, Stride: m.YStride, Rect: canvas}
		r.channels = 1
	case m.RGBA == nil:
		r.img = fromPlanes(m, in)
	case m.Bits == 8:
		img := &image.NRGBA{Pix: m.RGBA, Stride: 4 * m.W, Rect: canvas}
		for p := img.Pix; len(p) >= 4; p = p[4:] { // straight
			if a := int(p[3]); a > 0 && a < 255 {
				for c := range 3 {
					p[c] = byte(min((int(p[c])*255+a/2)/a, 255))
				}
			}
		}
		r.img = img
	default:
		img := image.NewNRGBA64(canvas)
		for i := 0; i+8 <= len(m.RGBA); i += 8 {
			a := uint32(binary.LittleEndian.Uint16(m.RGBA[i+6:]))
			for c := range 4 {
				v := uint32(binary.LittleEndian.Uint16(m.RGBA[i+2*c:]))
				if c < 3 && a > 0 && a < 65535 {
					v = min((v*65535+a/2)/a, 65535)
				}
				binary.BigEndian.PutUint16(img.Pix[i+2*c:], uint16(v))
			}
		}
		r.img = img
	}
	return r, nil
}

// fromPlanes converts YCbCr by the file's matrix and range, with the chroma
// filtered as WebP's is.
func fromPlanes(m *heif.Image, in heif.Info) image.Image {
	kr, kb := float32(0.299), float32(0.114)
	switch in.Matrix {
	case 1:
		kr, kb = 0.2126, 0.0722
	case 9, 10:
		kr, kb = 0.2627, 0.0593
	}
	kg := 1 - kr - kb
	black, luma, chroma := float32(0), float32(1), float32(1)
	if !in.FullRange {
		black, luma, chroma = 16, 255.0/219, 255.0/224
	}
	out := &rgb{make([]byte, 3*m.W*m.H), image.Rect(0, 0, m.W, m.H)}
	parallel(m.H, func(lo, hi int) {
		u, v := make([]byte, 2*m.ChromaW), make([]byte, 2*m.ChromaW)
		for y := lo; y < hi; y++ {
			near, far := y, y
			if m.Down2 {
				near = y / 2
				far = min(max(near-1+2*(y&1), 0), m.ChromaH-1)
			}
			for i, p := range [][]byte{m.Cb, m.Cr} {
				a, b, dst := p[near*m.CStride:][:m.ChromaW], p[far*m.CStride:][:m.ChromaW], [][]byte{u, v}[i]
				if m.HalfAcross {
					upsampleWebP(dst, a, b)
				} else {
					copy(dst, a)
				}
			}
			for x := range m.W {
				l := (float32(m.Y[y*m.YStride+x]) - black) * luma
				cb, cr := (float32(u[x])-128)*chroma, (float32(v[x])-128)*chroma
				d := out.pix[3*(y*m.W+x):]
				d[0] = byte(clamp((l+2*(1-kr)*cr)/255)*255 + 0.5)
				d[1] = byte(clamp((l-2*(1-kr)*kr/kg*cr-2*(1-kb)*kb/kg*cb)/255)*255 + 0.5)
				d[2] = byte(clamp((l+2*(1-kb)*cb)/255)*255 + 0.5)
			}
		}
	})
	return out
}
