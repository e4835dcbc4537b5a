package picture

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"image/png"
)

func pngConfig(b []byte) (w, h int, err error) {
	if matches(b[8:], "????CgBI") && len(b) > 8+16+16 { // a chunk before the header
		b = append(bytes.Clone(b[:8]), b[8+16:]...)
	}
	c, err := png.DecodeConfig(bytes.NewReader(b))
	return c.Width, c.Height, err
}

// decodePNG decodes what libpng decodes: a damaged chunk that is not needed is
// left out, and so is an end that is missing.
func decodePNG(ctx context.Context, b []byte) (raw, error) {
	if matches(b[8:], "????CgBI") {
		return raw{}, unsupported("a PNG that Apple's tools have changed for iPhones")
	}
	clean, colour := pngChunks(b)
	img, err := png.Decode(until(ctx, clean))
	if err != nil {
		return raw{}, err
	}
	r := raw{img: img, channels: 3, profile: pngColour(colour), turn: orientation(colour["eXIf"])}
	if len(b) > 25 && b[25]&2 == 0 { // colour types 0 and 4 are grey
		r.channels = 1
	}
	return r, nil
}

// pngChunks keeps the chunks that make the pixels, as they are, and hands out
// those that say what the colours mean and which way is up.
func pngChunks(b []byte) (clean []byte, colour map[string][]byte) {
	colour = map[string][]byte{}
	clean = append(clean, b[:8]...)
	for rest := b[8:]; len(rest) >= 12; {
		n := uint64(binary.BigEndian.Uint32(rest))
		if n+12 > uint64(len(rest)) {
			return append(clean, rest...), colour // cut off: the decoder says so
		}
		chunk, name, data := rest[:n+12], string(rest[4:8]), rest[8:8+n]
		rest = rest[n+12:]
		good := crc32.ChecksumIEEE(chunk[4:8+n]) == binary.BigEndian.Uint32(chunk[8+n:])
		switch name {
		case "IHDR", "PLTE", "IDAT":
			clean = append(clean, chunk...)
		case "IEND":
			return append(clean, pngEnd...), colour
		case "tRNS":
			if good {
				clean = append(clean, chunk...)
			}
		case "cICP", "iCCP", "sRGB", "gAMA", "cHRM", "eXIf":
			if _, twice := colour[name]; good && !twice {
				colour[name] = data
			}
		default:
			if name[0]&0x20 == 0 { // nobody knows it, and it says that it matters
				clean = append(clean, chunk...)
			}
		}
	}
	return append(clean, pngEnd...), colour
}

var pngEnd = []byte("\x00\x00\x00\x00IEND\xaeB`\x82")
