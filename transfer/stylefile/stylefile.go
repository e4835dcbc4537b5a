// Package stylefile reads and writes style files: what a painting is to have of a style,
// without the pictures. A file holds the Gram matrices of the thirteen ReLUs of VGG19's
// layers 0 to 29, at one size of the style or several, with what they were made of.
//
//	f, err := stylefile.Read("wave.style")
//	s := f.Nearest(512)
//	g := s.Grams["relu3_1"] // 256x256 values
//
// It is a safetensors file, which other programs read too: the matrix of a ReLU at a size
// is the tensor "512/relu3_1.gram", of shape [C,C], whole although it is symmetric, 6.5 MB
// a size in all. Everything else is JSON in the metadata, with the hash of the values.
//
// A file from outside is hostile until checked: it takes no more memory than it is long,
// and what no style could give is refused.
package stylefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/openfile"
	"github.com/stylize-gpu/stylize/vgg/safetensors"
)

// File is a style.
type File struct {
	Name    string       // of the picture, or of the pictures, for people
	Sources []Source     // what it was made of
	Weights string       // SHA-256 of the network's weights, as vgg.Weights has it
	Pooling string       // "avg" or "max"
	Sizes   []Size       // from small to large, none twice
	Palette [][3]float32 // the main colours, sRGB from 0 to 1, the most frequent first

	SHA256 string // of the file that was read, hexadecimal; Write does not look at it
}

// Source is a picture that a style was made of.
type Source struct {
	Name   string  `json:"name"`
	SHA256 string  `json:"sha256"` // of the file, hexadecimal
	Width  int     `json:"width"`  // of the file
	Height int     `json:"height"`
	Weight float64 `json:"weight"` // in the blend
}

// Size is a style at one size.
type Size struct {
	Size int `json:"size"`   // the longest side that was asked for
	W    int `json:"width"`  // of the first picture, as the network saw it
	H    int `json:"height"` //

	// Grams are the matrices by the name of their ReLU, of C*C values each:
	// g[i,j] = sum_p f[p,i] f[p,j] / (C H W), as gpu.GramFwd has it.
	Grams map[string][]float32 `json:"-"`
}

// What a file may have.
const (
	MaxSizes   = 64
	maxSide    = 1 << 17
	maxPalette = 256
	maxHeader  = 16 << 20
)

const (
	format    = 1               // raised when an older reader would misunderstand
	key       = "stylize.style" // of the metadata
	sizeBytes = 4 * (2*64*64 + 2*128*128 + 4*256*256 + 5*512*512)
	maxFile   = 8 + maxHeader + MaxSizes*sizeBytes
)

// inFile is the JSON in the file.
type inFile struct {
	Format  int          `json:"format"`
	SHA256  string       `json:"sha256"` // of everything behind the header
	Name    string       `json:"name"`
	Sources []Source     `json:"sources"`
	Weights string       `json:"weights"`
	Pooling string       `json:"pooling"`
	Sizes   []Size       `json:"sizes"`
	Palette [][3]float32 `json:"palette"`
}

// Layers are the ReLUs whose matrices a file holds, the shallowest first.
func Layers() (relus []vgg.Layer) {
	for _, l := range vgg.Layers {
		if l.Kind == vgg.ReLU {
			relus = append(relus, l)
		}
	}
	return relus
}

// Nearest is the size whose ratio to a longest side is nearest to 1, of two that are as
// near the larger one; nil where there is none.
func (f *File) Nearest(longest int) *Size {
	best := -1
	for i, s := range f.Sizes {
		// Of a < b, b is as near as a or nearer where longest^2 >= a b.
		if best < 0 || float64(longest)*float64(longest) >= float64(f.Sizes[best].Size)*float64(s.Size) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	return &f.Sizes[best]
}

func tensorName(size int, layer string) string { return fmt.Sprintf("%d/%s.gram", size, layer) }

// Write writes the file; equal styles have equal bytes. What Read would refuse is an error,
// before anything is written.
func (f *File) Write(w io.Writer) error {
	js := inFile{format, "", f.Name, f.Sources, f.Weights, f.Pooling, f.Sizes, f.Palette}
	if err := js.check(); err != nil {
		return fmt.Errorf("style file: %w", err)
	}
	var list []safetensors.Tensor
	h, b := sha256.New(), []byte(nil)
	for _, s := range f.Sizes {
		for _, l := range Layers() {
			name, g := tensorName(s.Size, l.Name), s.Grams[l.Name]
			if len(g) != l.C*l.C {
				return fmt.Errorf("style file: %s has %d values, want %d", name, len(g), l.C*l.C)
			}
			if err := checkGram(g, l.C); err != nil {
				return fmt.Errorf("style file: %s: %w", name, err)
			}
			list = append(list, safetensors.Tensor{Name: name, Shape: []int{l.C, l.C}, Values: func() []float32 { return g }})
			b = b[:0]
			for _, v := range g {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			}
			h.Write(b)
		}
	}
	js.SHA256 = hex.EncodeToString(h.Sum(nil))
	text, err := json.Marshal(js)
	if err != nil {
		return fmt.Errorf("style file: %w", err)
	}
	if len(text) > maxHeader/2 { // in the header its quotes have backslashes
		return fmt.Errorf("style file: the names of %d pictures are too much; use fewer", len(f.Sources))
	}
	return safetensors.Write(w, map[string]string{key: string(text)}, list)
}

// errOther says that a file is something else.
var errOther = errors.New("is no style file; give a picture, or a style file that was made of some")

// Read reads a file. Its errors name the file, and say in a line what is wrong with it.
func Read(path string) (*File, error) {
	in, size, err := openfile.Regular(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	f, err := Decode(in, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Decode reads a file of size bytes. It takes no more memory than that.
func Decode(r io.ReaderAt, size int64) (*File, error) {
	if size > maxFile {
		return nil, fmt.Errorf("has %d MB, more than any style file; give another", size>>20)
	}
	head, err := headerOf(r, size)
	if err != nil {
		return nil, err
	}
	st, err := safetensors.Open(r, size)
	if err != nil {
		return nil, damaged("%w", err)
	}
	text, ok := st.Metadata[key]
	if !ok {
		return nil, errOther
	}
	var js inFile
	if err := json.Unmarshal([]byte(text), &js); err != nil {
		return nil, damaged("what it says of itself is no JSON of a style: %w", err)
	}
	if js.Format != format {
		return nil, fmt.Errorf("was written by another version of stylize, in format %d, and this one reads %d; make it again", js.Format, format)
	}
	if err := js.check(); err != nil {
		return nil, damaged("%w", err)
	}
	if err := js.checkTensors(st.Tensors); err != nil {
		return nil, err
	}
	switch want := head + int64(len(js.Sizes))*sizeBytes; {
	case size < want:
		return nil, fmt.Errorf("the file is cut short: it has %d of %d bytes; copy it again or make it again", size, want)
	case size > want:
		return nil, damaged("it has %d bytes behind its end", size-want)
	}
	f := &File{Name: js.Name, Sources: js.Sources, Weights: js.Weights, Pooling: js.Pooling, Sizes: js.Sizes, Palette: js.Palette}
	whole, data := sha256.New(), sha256.New()
	if _, err := io.Copy(whole, io.NewSectionReader(r, 0, head)); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if _, err := io.Copy(io.MultiWriter(whole, data), io.NewSectionReader(r, head, size-head)); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if hex.EncodeToString(data.Sum(nil)) != js.SHA256 {
		return nil, damaged("its values are not those that were written")
	}
	f.SHA256 = hex.EncodeToString(whole.Sum(nil))
	for i := range f.Sizes {
		s := &f.Sizes[i]
		s.Grams = map[string][]float32{}
		for _, l := range Layers() {
			name := tensorName(s.Size, l.Name)
			b, err := st.Bytes(st.Tensors[name], 4*int64(l.C*l.C))
			if err != nil {
				return nil, damaged("%s: %w", name, err)
			}
			g := make([]float32, l.C*l.C)
			for j := range g {
				g[j] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*j:]))
			}
			if err := checkGram(g, l.C); err != nil {
				return nil, damaged("%s: %w", name, err)
			}
			s.Grams[l.Name] = g
		}
	}
	return f, nil
}

func damaged(what string, args ...any) error {
	return fmt.Errorf("the style file is damaged (%w); make it again", fmt.Errorf(what, args...))
}

// headerOf is where the values of a file begin.
func headerOf(r io.ReaderAt, size int64) (int64, error) {
	begin, err := beginning(r, size)
	if err != nil {
		return 0, fmt.Errorf("cannot be read: %w", err)
	}
	if !looksAlike(begin) {
		return 0, errOther
	}
	n := int64(binary.LittleEndian.Uint64(begin))
	if 8+n > size {
		return 0, fmt.Errorf("the file is cut short: its header has %d bytes, the whole file %d; copy it again or make it again", n, size)
	}
	return 8 + n, nil
}

const headBytes = 64 // enough to tell a file by

func beginning(r io.ReaderAt, size int64) ([]byte, error) {
	b := make([]byte, min(size, headBytes))
	n, err := r.ReadAt(b, 0)
	if n == len(b) {
		err = nil
	}
	return b[:n], err
}

// looksAlike reports whether a file may be one of safetensors with a header that a style
// file could have.
func looksAlike(begin []byte) bool {
	return len(begin) > 8 && binary.LittleEndian.Uint64(begin) <= maxHeader && begin[8] == '{'
}

// IsFile reports whether a file is meant to be a style file, by what is in it and not by
// its name: Read then says what is wrong with it. It is meant to be one if its header says
// so, or, where that is cut off, begins as that of one. What cannot be read is none.
func IsFile(path string) bool {
	in, size, err := openfile.Regular(path)
	if err != nil {
		return false
	}
	defer in.Close()
	begin, err := beginning(in, size)
	if err != nil || !looksAlike(begin) {
		return false
	}
	st, err := safetensors.Open(in, size)
	if err != nil {
		return bytes.Contains(begin, []byte("/relu")) && bytes.Contains(begin, []byte(`.gram":`))
	}
	_, ok := st.Metadata[key]
	return ok
}
