// Package fatbin finds PTX in fat binaries: what nvcc puts into programs, one for each
// source file, with code for several architectures.
//
//	images, err := fatbin.Parse(data)
//	ptx, err := fatbin.Choose(images, "sm_90a")
//
// A fat binary is a header of 16 bytes (magic 0xBA55ED50, version 1, the header's own
// bytes, the bytes behind it) and entries, each with a header of its own. The format is
// not documented; this is what nvcc 12 and 13 write.
//
// It imports nothing of this repository.
package fatbin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// MaxPTX bounds what an entry may unpack to, in bytes.
const MaxPTX = 64 << 20

// maxEntries bounds a fat binary: nvcc writes one entry for each architecture.
const maxEntries = 1024

// Image is one entry: PTX, or machine code (a cubin) of which only the kind is kept.
type Image struct {
	Arch string // "sm_80"; of PTX what its .target says, "sm_90a"
	PTX  []byte // nil for machine code
}

const (
	magic       = 0xBA55ED50
	headerBytes = 16
	entryBytes  = 64 // of its header, at least

	kindPTX = 1
	kindELF = 2

	flagLZ4  = 0x2000
	flagZstd = 0x8000
)

var le = binary.LittleEndian

// Size is how many bytes a fat binary has that begins with these 16.
func Size(header []byte) (int64, error) {
	if len(header) < headerBytes || le.Uint32(header) != magic {
		return 0, errors.New("no fat binary: it does not begin with 0xBA55ED50")
	}
	if v := le.Uint16(header[4:]); v != 1 {
		return 0, fmt.Errorf("fat binary of version %d, want 1", v)
	}
	h, n := int64(le.Uint16(header[6:])), le.Uint64(header[8:])
	if h < headerBytes || n > 1<<40 {
		return 0, fmt.Errorf("fat binary with a header of %d bytes and %d behind it", h, n)
	}
	return h + int64(n), nil
}

// Parse lists the entries. It unpacks PTX; kinds that it does not know are left out.
func Parse(data []byte) ([]Image, error) {
	n, err := Size(data)
	if err != nil {
		return nil, err
	}
	if n > int64(len(data)) {
		return nil, fmt.Errorf("fat binary cut short: %d bytes of %d", len(data), n)
	}
	data = data[le.Uint16(data[6:]):n]
	var images []Image
	for i := 0; len(data) > 0; i++ {
		if i == maxEntries {
			return nil, fmt.Errorf("fat binary with more than %d entries", maxEntries)
		}
		if len(data) < entryBytes {
			return nil, fmt.Errorf("fat binary: entry %d is cut short", i)
		}
		kind, head, size := le.Uint16(data), uint64(le.Uint32(data[4:])), le.Uint64(data[8:])
		if head < entryBytes || head > uint64(len(data)) || size > uint64(len(data))-head {
			return nil, fmt.Errorf("fat binary: entry %d says %d+%d bytes, %d are left", i, head, size, len(data))
		}
		body := data[head : head+size]
		arch := fmt.Sprintf("sm_%d", le.Uint32(data[28:]))
		switch kind {
		case kindPTX:
			ptx, err := unpack(body, uint64(le.Uint32(data[16:])), le.Uint64(data[40:]), le.Uint64(data[56:]))
			if err != nil {
				return nil, fmt.Errorf("fat binary: entry %d (PTX for %s): %w", i, arch, err)
			}
			if t := Target(ptx); t != "" { // the header has only the number
				arch = t
			}
			images = append(images, Image{Arch: arch, PTX: ptx})
		case kindELF:
			images = append(images, Image{Arch: arch})
		}
		data = data[head+size:]
	}
	return images, nil
}

// unpack returns the text of an entry; packed and full are the bytes that its header
// gives for compressed entries.
func unpack(body []byte, packed, flags, full uint64) ([]byte, error) {
	if flags&(flagLZ4|flagZstd) == 0 {
		return bytes.TrimRight(body, "\x00"), nil
	}
	switch {
	case packed > uint64(len(body)):
		return nil, fmt.Errorf("%d compressed bytes of %d", packed, len(body))
	case full > MaxPTX:
		return nil, fmt.Errorf("it unpacks to %d bytes, more than %d", full, MaxPTX)
	}
	body = body[:packed]
	var out []byte
	var err error
	if flags&flagZstd != 0 {
		var d *zstd.Decoder
		if d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(max(full, 16<<20))); err != nil {
			return nil, err
		}
		defer d.Close()
		out, err = d.DecodeAll(body, nil)
	} else {
		out, err = unpackLZ4(body, int(full))
	}
	if err == nil && uint64(len(out)) != full {
		err = fmt.Errorf("it unpacks to %d bytes, the header says %d", len(out), full)
	}
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(out, "\x00"), nil
}

// unpackLZ4 reads a raw LZ4 block, by way of S2, which has the same matches.
func unpackLZ4(body []byte, full int) ([]byte, error) {
	if full > 255*len(body) { // what LZ4 can do at most; before memory is taken
		return nil, fmt.Errorf("%d bytes cannot unpack to %d", len(body), full)
	}
	block := binary.AppendUvarint(make([]byte, 0, s2.MaxEncodedLen(full)+binary.MaxVarintLen64), uint64(full))
	var c s2.LZ4Converter
	block, n, err := c.ConvertBlock(block, body)
	switch {
	case err != nil:
		return nil, err
	case n != full:
		return nil, fmt.Errorf("it unpacks to %d bytes, the header says %d", n, full)
	}
	return s2.Decode(nil, block)
}

var targetLine = regexp.MustCompile(`(?m)^[ \t]*\.target[ \t]+(sm_\d+[af]?)`)

// Target reads the .target of PTX, as sm_90a; it is empty where there is none.
func Target(ptx []byte) string {
	m := targetLine.FindSubmatch(ptx[:min(len(ptx), 4096)])
	if m == nil {
		return ""
	}
	return string(m[1])
}

// version reads sm_90a as 90 and "a".
func version(arch string) (int, string) {
	s := strings.TrimPrefix(arch, "sm_")
	digits := strings.TrimRight(s, "af")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 1 << 30, ""
	}
	return n, s[len(digits):]
}

// Choose returns the PTX that suits a device best: that of its own architecture, with the
// features of it alone before the one without, else the latest before it.
func Choose(images []Image, arch string) (*Image, error) {
	cc, special := version(arch)
	var best *Image
	score := -1
	var have []string
	for i := range images {
		m := &images[i]
		v, feature := version(m.Arch)
		kind := "machine code for " + m.Arch
		if m.PTX != nil {
			kind = "PTX for " + m.Arch
		}
		if !slices.Contains(have, kind) {
			have = append(have, kind)
		}
		s := 4 * v
		switch {
		case m.PTX == nil || v > cc:
			continue
		case feature == "a" && (v != cc || special != "a"), feature == "f" && v/10 != cc/10:
			continue
		case feature != "":
			s += 2
		}
		if s > score {
			best, score = m, s
		}
	}
	if best == nil {
		if len(have) == 0 {
			have = []string{"an empty list"}
		}
		return nil, fmt.Errorf("no PTX for a device of %s, only %s; compile with nvcc -gencode arch=compute_%s,code=compute_%[3]s",
			arch, strings.Join(have, ", "), strings.TrimPrefix(arch, "sm_"))
	}
	return best, nil
}
