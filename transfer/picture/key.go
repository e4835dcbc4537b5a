package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
)

// A result can carry a key, a hash of everything that it was made of. Each format
// has it where it can be found without reading the file: behind the header of a PNG
// (iTXt), a JPEG (a comment) and a TIFF (ImageDescription), at the end of a WebP (a
// chunk of its own) and of an AVIF (a box that readers skip).
const (
	keyText    = "stylize-key "
	keyDigits  = 64
	webpKey    = "STYK"
	keyKeyword = "stylize-key"
)

func pngKey(key string) []byte {
	return pngChunk("iTXt", append([]byte(keyKeyword+"\x00\x00\x00\x00\x00"), keyText+key...))
}

// avifKey is the box at the end of an AVIF: free space, by its name.
func avifKey(key string) []byte {
	text := keyText + key
	return append(binary.BigEndian.AppendUint32(nil, uint32(8+len(text))), "free"+text...)
}

// jpegWithKey puts a comment behind the JFIF header.
func jpegWithKey(b []byte, key string) ([]byte, error) {
	const header = 2 + 2 + 16
	if len(b) < header || !bytes.HasPrefix(b, []byte("\xff\xd8\xff\xe0")) {
		return nil, errors.New("not a JPEG stream")
	}
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xfe}, uint16(2+len(keyText+key)))
	return bytes.Join([][]byte{b[:header], append(segment, keyText+key...), b[header:]}, nil), nil
}

// ReadKey returns the key that a result was saved with. It is empty for a picture
// that has none, and for what is no picture.
func ReadKey(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: cannot be read: %w", path, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return "", err
	}
	head := make([]byte, 256)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("%s: cannot be read: %w", path, err)
	}
	head = head[:n]
	if webp := matches(head, "RIFF????WEBP"); webp || matches(head, "????ftypavif") {
		tail := make([]byte, 8+len(keyText)+keyDigits)
		if st.Size() < int64(len(tail)) {
			return "", nil
		}
		if _, err := f.ReadAt(tail, st.Size()-int64(len(tail))); err != nil {
			return "", fmt.Errorf("%s: cannot be read: %w", path, err)
		}
		switch {
		case webp && int64(binary.LittleEndian.Uint32(head[4:]))+8 == st.Size() && bytes.HasPrefix(tail, []byte(webpKey)):
		case !webp && bytes.HasPrefix(tail, avifKey(strings.Repeat("0", keyDigits))[:8]):
		default:
			return "", nil
		}
		return keyIn(tail[8:]), nil
	}
	return keyOf(head), nil
}

// keyOf finds the key in the head of a PNG, JPEG or TIFF.
func keyOf(head []byte) string {
	const ihdrEnd = 8 + 4 + 4 + 13 + 4
	switch {
	case bytes.HasPrefix(head, pngMagic) && len(head) > ihdrEnd+12:
		chunk := head[ihdrEnd:]
		n := int(binary.BigEndian.Uint32(chunk))
		if n < len(keyKeyword)+5 || n > len(chunk)-12 || !matches(chunk[4:], "iTXt"+keyKeyword) || crc32.ChecksumIEEE(chunk[4:8+n]) != binary.BigEndian.Uint32(chunk[8+n:]) {
			return ""
		}
		return keyIn(chunk[8+len(keyKeyword)+5 : 8+n])
	case matches(head, "\xff\xd8\xff\xe0") && len(head) > 24 && head[20] == 0xff && head[21] == 0xfe:
		return keyIn(head[24:])
	case matches(head, "II*\x00") && len(head) > 8:
		return keyIn(head[8:])
	}
	return ""
}

// keyIn is the key that a text begins with.
func keyIn(b []byte) string {
	text, ok := bytes.CutPrefix(b, []byte(keyText))
	if !ok || len(text) < keyDigits {
		return ""
	}
	text = text[:keyDigits]
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return string(text)
}
