package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"

	"github.com/stylize-gpu/stylize/transfer/picture/icc"
)

// parsed reads an embedded profile; one that cannot be read says nothing, as in
// browsers: the picture is then taken for sRGB.
func parsed(b []byte) *icc.Profile {
	if b == nil {
		return nil
	}
	p, err := icc.Parse(b)
	if err != nil {
		return nil
	}
	return p
}

// usable is a profile that fits a picture of so many channels and changes
// something; grey pictures may have one of RGB.
func usable(p *icc.Profile, channels int) *icc.Profile {
	if p == nil || p.Channels() != channels && (channels != 1 || p.Channels() != 3) || p.SRGB() {
		return nil
	}
	return p
}

// pngColour is what a PNG's chunks say about its colours, in the order of the
// specification: cICP, iCCP, sRGB, then gAMA and cHRM.
func pngColour(chunks map[string][]byte) *icc.Profile {
	if c := chunks["cICP"]; len(c) == 4 {
		if p := icc.FromCode(int(c[0]), int(c[1])); p != nil && c[2] == 0 && c[3] == 1 {
			return p
		}
	}
	if c, ok := chunks["iCCP"]; ok {
		if _, c, ok = bytes.Cut(c, []byte{0}); ok && len(c) > 1 {
			if p := parsed(inflated(c[1:], 1<<24)); p != nil {
				return p
			}
		}
	}
	if _, ok := chunks["sRGB"]; ok {
		return nil
	}
	gama, chrm := chunks["gAMA"], chunks["cHRM"]
	if len(gama) != 4 && len(chrm) != 32 {
		return nil
	}
	gamma, chroma := 0.0, icc.SRGBChroma
	if len(gama) == 4 {
		// Writers put 1/2.2 for sRGB's curve. It means that curve.
		if v := binary.BigEndian.Uint32(gama); v != 0 && (v < 45000 || v > 46000) {
			gamma = 100000 / float64(v)
		}
	}
	if len(chrm) == 32 {
		at := func(i int) [2]float64 {
			v := func(j int) float64 { return float64(binary.BigEndian.Uint32(chrm[8*i+4*j:])) / 100000 }
			return [2]float64{v(0), v(1)}
		}
		chroma = icc.Chroma{White: at(0), Red: at(1), Green: at(2), Blue: at(3)}
	}
	return icc.FromChroma(chroma, gamma)
}

// inflated unpacks zlib data, at most limit bytes of it; nil if it is damaged.
func inflated(b []byte, limit int64) []byte {
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	out, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return nil
	}
	return out
}
