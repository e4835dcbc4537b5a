// Package weights reads, makes, fetches and keeps the weights of VGG19.
//
// Files: what torch.save writes, in both its forms (pth.go), and safetensors,
// plain or inside zstd (safetensors.go). The tensors are named as torchvision
// does, features.N.weight (K,C,3,3) and features.N.bias (K), or as Caffe,
// conv1_1.weight, behind any prefix (names.go); other keys are ignored. Caffe's
// weights are converted (caffe.go). [Load] tells the formats apart by their first bytes.
//
// A file from outside is data and hostile until checked: a pickle is
// interpreted by a machine that knows dictionaries, tuples and tensors and
// nothing that could be called, sizes are checked before memory is taken, and
// every parser is fuzzed.
//
// It imports vgg.
package weights

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/stylize-gpu/stylize/gpu/half"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/openfile"
)

// ErrFormat marks a file that is not weights, or is damaged.
var ErrFormat = errors.New("not a usable weights file")

func formatErr(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// plain is text from a file as a message may have it: short, and nothing in it that a
// terminal would obey.
func plain(s string) string {
	const most = 80
	if len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return s
	}
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// shapeText is a shape as a message may have it.
func shapeText(shape []int) string {
	if len(shape) > 8 {
		return fmt.Sprintf("of %d dimensions", len(shape))
	}
	return fmt.Sprint(shape)
}

// tensor is one entry of a file: where it is and what it claims to be.
type tensor struct {
	dtype string // "F32", "F16", "F64", "BF16"
	shape []int
	// read fills dst with the values, in row-major order of shape.
	read func(dst []float32) error
}

// file is an opened weights file.
type file struct {
	format  string // "torch zip", "torch legacy", "safetensors", "safetensors in zstd"
	tensors map[string]tensor
	ours    bool // written by Write: its values are what we compute with
}

// Load reads the 13 convolutions from a file. Those that are recognised as Caffe's, by
// their names, the file's name or their scale, are converted to what the others are.
func Load(path string) (*vgg.Weights, error) { return load(path, false) }

// LoadCaffe reads a file whose weights are Caffe's, whatever it looks like.
func LoadCaffe(path string) (*vgg.Weights, error) { return load(path, true) }

func load(path string, caffe bool) (*vgg.Weights, error) {
	f, size, err := openfile.Regular(path)
	if err != nil {
		return nil, fmt.Errorf("weights %w; give a .pth or .safetensors file", err)
	}
	defer f.Close()
	w, err := read(f, size, filepath.Base(path), caffe)
	if err != nil {
		return nil, fmt.Errorf("weights %s: %w", path, err)
	}
	w.Source = path
	return w, nil
}

// read loads from any random-access source of a name.
func read(r io.ReaderAt, size int64, name string, caffe bool) (*vgg.Weights, error) {
	f, err := open(r, size)
	if err != nil {
		return nil, err
	}
	names, err := f.naming()
	if err != nil {
		return nil, err
	}
	w := &vgg.Weights{}
	errs := make([]error, vgg.Convs)
	var wg sync.WaitGroup
	conv := 0
	for i, l := range vgg.Layers {
		if l.Kind != vgg.Conv {
			continue
		}
		n := conv
		conv++
		wg.Go(func() {
			cw, err := f.conv(i, l, names)
			w.Conv[n], errs[n] = cw, err
		})
	}
	wg.Wait()
	for _, err := range errs { // the first layer's complaint, whichever goroutine was first
		if err != nil {
			return nil, fmt.Errorf("%w%s", err, f.another(names))
		}
	}
	if caffe || !f.ours && isCaffe(w, names, name) {
		w.Converted = "Caffe's (BGR, 0 to 255), converted"
		if d := fromCaffe(w); d != 1 {
			w.Converted += fmt.Sprintf(", features divided by %g", d)
		}
	}
	w.SHA256 = digest(w)
	return w, nil
}

// open recognises the format and reads the directory of tensors.
func open(r io.ReaderAt, size int64) (*file, error) {
	head := make([]byte, 16)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	head = head[:n]
	switch {
	case size == 0:
		return nil, formatErr("the file is empty")
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return openTorchZip(r, size)
	case bytes.HasPrefix(head, legacyMagic):
		return openTorchLegacy(r, size)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return openZstd(io.NewSectionReader(r, 0, size))
	case len(head) >= 9 && head[8] == '{':
		return openSafetensors(r, size)
	}
	return nil, formatErr("it is neither a .pth of torch.save nor a .safetensors file; give the VGG19 of torchvision or Caffe in one of them")
}

// conv reads one convolution and turns its weights from (K,C,3,3) to (K,3,3,C).
func (f *file) conv(index int, l vgg.Layer, names naming) (cw vgg.ConvWeights, err error) {
	wn, bn := names.layer(index)+".weight", names.layer(index)+".bias"
	raw, err := f.values(wn, []int{l.K, l.C, 3, 3})
	if err != nil {
		return cw, err
	}
	cw.Layer = index
	if cw.B, err = f.values(bn, []int{l.K}); err != nil {
		return cw, err
	}
	cw.W = make([]float32, len(raw))
	for k := range l.K {
		for c := range l.C {
			src := raw[(k*l.C+c)*9:][:9]
			dst := cw.W[k*9*l.C+c:]
			for t, v := range src {
				dst[t*l.C] = v
			}
		}
	}
	return cw, nil
}

// values reads one tensor and checks its shape and that every value is finite.
func (f *file) values(name string, shape []int) ([]float32, error) {
	t, ok := f.tensors[name]
	if !ok {
		return nil, fmt.Errorf("tensor %s is missing; %s", name, f.describe())
	}
	if !slices.Equal(t.shape, shape) {
		return nil, fmt.Errorf("tensor %s has shape %s, VGG19 has %v; is this another network?", name, shapeText(t.shape), shape)
	}
	n := 1
	for _, s := range shape {
		n *= s
	}
	v := make([]float32, n)
	if err := t.read(v); err != nil {
		return nil, fmt.Errorf("tensor %s: %w", name, err)
	}
	for i, x := range v {
		if x-x != 0 {
			return nil, fmt.Errorf("tensor %s: value %d is %v; the file is damaged", name, i, x)
		}
	}
	return v, nil
}

// describe says what a file holds instead, shortly.
func (f *file) describe() string {
	if len(f.tensors) == 0 {
		return "the file holds no tensors"
	}
	names := make([]string, 0, len(f.tensors))
	for n := range f.tensors {
		names = append(names, n)
	}
	sort.Strings(names)
	more := ""
	if len(names) > 3 {
		more = fmt.Sprintf(" and %d more", len(names)-3)
		names = names[:3]
	}
	for i := range names {
		names[i] = plain(names[i])
	}
	return "the file holds " + strings.Join(names, ", ") + more
}

// decode turns raw little-endian values of a type into float32.
func decode(dst []float32, raw []byte, dtype string) error {
	size, ok := dtypeSize[dtype]
	if !ok {
		return formatErr("type %s is not a float type", plain(dtype))
	}
	if len(raw) != len(dst)*size {
		return formatErr("%d bytes for %d values of %s", len(raw), len(dst), dtype)
	}
	for i := range dst {
		switch dtype {
		case "F32":
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		case "F64":
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
		case "BF16":
			dst[i] = half.FromBF16(binary.LittleEndian.Uint16(raw[2*i:]))
		case "F16":
			dst[i] = half.FromF16(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	}
	return nil
}

var dtypeSize = map[string]int{"F32": 4, "F64": 8, "BF16": 2, "F16": 2}

// readRaw reads n bytes at off of a source of known size. It takes memory only
// after checking that the bytes can exist.
func readRaw(r io.ReaderAt, size, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > size || n > size-off {
		return nil, formatErr("the file is cut off: %d bytes at %d, but it ends at %d", n, off, size)
	}
	b := make([]byte, n)
	if _, err := r.ReadAt(b, off); err != nil {
		return nil, err
	}
	return b, nil
}

// digest is the SHA-256 of all values, layer by layer, weights (K,3,3,C) before
// biases, as little-endian fp32: the same for every file format.
func digest(w *vgg.Weights) string {
	h := sha256.New()
	buf := make([]byte, 0, 1<<16)
	for i := range w.Conv {
		for _, v := range [][]float32{w.Conv[i].W, w.Conv[i].B} {
			for len(v) > 0 {
				n := min(len(v), cap(buf)/4)
				buf = buf[:0]
				for _, x := range v[:n] {
					buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x))
				}
				h.Write(buf)
				v = v[n:]
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ReadTensors reads every float tensor of a weights file as it is, without
// asking for VGG19: for fixtures and tools.
func ReadTensors(path string) (map[string][]float32, error) {
	r, size, err := openfile.Regular(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := open(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	all := map[string][]float32{}
	for name, t := range f.tensors {
		n := int64(1)
		for _, s := range t.shape {
			if s < 0 || n*int64(s) > size {
				return nil, fmt.Errorf("%s: %w", path, formatErr("tensor %s claims shape %s", plain(name), shapeText(t.shape)))
			}
			n *= int64(s)
		}
		v := make([]float32, n)
		if err := t.read(v); err != nil {
			return nil, fmt.Errorf("%s: tensor %s: %w", path, plain(name), err)
		}
		all[name] = v
	}
	return all, nil
}
