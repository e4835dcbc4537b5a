// Package safetensors reads and writes the format of that name
// (github.com/huggingface/safetensors): a 64-bit length, a JSON header of that
// length, which names tensors and says where their values lie, then the values.
//
// A file is read in place: what is not asked for takes no memory, and no memory is
// taken before it is known that the file has as many bytes.
//
// It imports nothing of this module.
package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
)

const (
	maxHeader  = 100 << 20 // the format's own limit
	maxTensors = 1 << 16   // the largest networks have some thousands
	maxDims    = 64
)

// metadata is the header's key for what is no tensor.
const metadata = "__metadata__"

// Entry says what a tensor is and where its values lie, behind the header.
type Entry struct {
	DType   string   `json:"dtype"` // "F32", "F16", "I64", ...
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// File is an opened file.
type File struct {
	Metadata map[string]string
	Tensors  map[string]Entry

	r    io.ReaderAt
	data int64 // where the values begin
	size int64
}

// Open reads the header of a file of size bytes. The errors say what is wrong with
// it, and are for a person.
func Open(r io.ReaderAt, size int64) (*File, error) {
	if size < 8 {
		return nil, fmt.Errorf("the file is cut off: it ends at byte %d", size)
	}
	var length [8]byte
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > size-8 {
		return nil, fmt.Errorf("the file is cut off or damaged: its header claims %d bytes", n)
	}
	head := make([]byte, n)
	if _, err := r.ReadAt(head, 8); err != nil {
		return nil, err
	}
	f := &File{Tensors: map[string]Entry{}, r: r, data: 8 + int64(n), size: size}
	if err := f.header(head); err != nil {
		return nil, fmt.Errorf("its header is damaged (%w)", err)
	}
	return f, nil
}

// header reads names and entries one after the other: as a whole they would take ten
// times the memory.
func (f *File) header(head []byte) error {
	d := json.NewDecoder(bytes.NewReader(head))
	if t, err := d.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return errors.New("it is no object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if name == metadata { // anything: a reader that wants it looks
			var msg json.RawMessage
			if err := d.Decode(&msg); err != nil {
				return err
			}
			_ = json.Unmarshal(msg, &f.Metadata)
			continue
		}
		if len(f.Tensors) == maxTensors {
			return fmt.Errorf("it has more than %d tensors", maxTensors)
		}
		var e Entry
		if err := d.Decode(&e); err != nil {
			return fmt.Errorf("tensor %.80q: %w", name, err)
		}
		if len(e.Shape) > maxDims {
			return fmt.Errorf("tensor %.80q has %d dimensions", name, len(e.Shape))
		}
		f.Tensors[name] = e
	}
	if _, err := d.Token(); err != nil { // the brace at the end
		return err
	}
	if len(bytes.TrimSpace(head[d.InputOffset():])) > 0 {
		return errors.New("there is something behind it")
	}
	return nil
}

// Bytes reads the values of a tensor, of n bytes in all.
func (f *File) Bytes(e Entry, n int64) ([]byte, error) {
	room := f.size - f.data
	if e.Offsets[0] < 0 || e.Offsets[1] < e.Offsets[0] || e.Offsets[1] > room {
		return nil, fmt.Errorf("the file is cut off: it should lie at bytes %d to %d of %d", e.Offsets[0], e.Offsets[1], room)
	}
	if has := e.Offsets[1] - e.Offsets[0]; has != n {
		return nil, fmt.Errorf("%d bytes for a tensor of %d", has, n)
	}
	b := make([]byte, n)
	if _, err := f.r.ReadAt(b, f.data+e.Offsets[0]); err != nil {
		return nil, err
	}
	return b, nil
}

// Tensor is what Write writes, as fp32.
type Tensor struct {
	Name   string
	Shape  []int
	Values func() []float32 // as many as Shape says
}

// Write writes tensors in their order, and metadata.
func Write(w io.Writer, meta map[string]string, tensors []Tensor) error {
	header := map[string]any{metadata: maps.Clone(meta)}
	var at int64
	for _, t := range tensors {
		n := int64(4)
		for _, s := range t.Shape {
			n *= int64(s)
		}
		header[t.Name] = Entry{"F32", t.Shape, [2]int64{at, at + n}}
		at += n
	}
	js, err := json.Marshal(header)
	if err != nil {
		return err
	}
	for len(js)%8 != 0 {
		js = append(js, ' ')
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(js)))); err != nil {
		return err
	}
	if _, err := w.Write(js); err != nil {
		return err
	}
	for _, t := range tensors {
		vals := t.Values()
		b := make([]byte, 0, 4*len(vals))
		for _, x := range vals {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}
