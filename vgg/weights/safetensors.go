package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"

	"github.com/stylize-gpu/stylize/vgg"
)

// The format (github.com/huggingface/safetensors): a 64-bit length, a JSON
// header of that length, then the values. It is read in place: a file of the
// whole network is ten times what is needed of it.

const (
	maxHeader   = 100 << 20 // the format's own limit
	maxUnpacked = 256 << 20 // of a compressed file; the 13 convolutions take 52 MB
)

type safeEntry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

func openSafetensors(r io.ReaderAt, size int64) (*file, error) {
	b, err := readRaw(r, size, 0, 8)
	if err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(b)
	if n > maxHeader || int64(n) > size-8 {
		return nil, formatErr("the file is cut off or damaged: its header claims %d bytes", n)
	}
	if b, err = readRaw(r, size, 8, int64(n)); err != nil {
		return nil, err
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, formatErr("its header is damaged (%v)", err)
	}
	data := 8 + int64(n)
	f := &file{format: "safetensors", tensors: map[string]tensor{}}
	for name, msg := range raw {
		if name == "__metadata__" {
			continue
		}
		var e safeEntry
		if err := json.Unmarshal(msg, &e); err != nil {
			return nil, formatErr("tensor %s: its header is damaged (%v)", name, err)
		}
		f.tensors[name] = tensor{dtype: e.DType, shape: e.Shape, read: func(dst []float32) error {
			if e.Offsets[0] < 0 || e.Offsets[1] < e.Offsets[0] || e.Offsets[1] > size-data {
				return formatErr("the file is cut off: it should lie at bytes %d to %d of %d", e.Offsets[0], e.Offsets[1], size-data)
			}
			es, ok := dtypeSize[e.DType]
			if !ok {
				return formatErr("type %s is not a float type", e.DType)
			}
			if int64(len(dst))*int64(es) != e.Offsets[1]-e.Offsets[0] {
				return formatErr("%d bytes for %d values of %s", e.Offsets[1]-e.Offsets[0], len(dst), e.DType)
			}
			raw, err := readRaw(r, size, data+e.Offsets[0], e.Offsets[1]-e.Offsets[0])
			if err != nil {
				return err
			}
			return decode(dst, raw, e.DType)
		}}
	}
	return f, nil
}

// openZstd unpacks a compressed safetensors file, as the cache holds it.
func openZstd(r io.Reader) (*file, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderMaxMemory(maxUnpacked))
	if err != nil {
		return nil, formatErr("it cannot be unpacked (%v)", err)
	}
	defer d.Close()
	var buf bytes.Buffer
	buf.Grow(56 << 20)
	if _, err := io.Copy(&buf, io.LimitReader(d, maxUnpacked+1)); err != nil {
		return nil, formatErr("it cannot be unpacked (%v)", err)
	}
	if buf.Len() > maxUnpacked {
		return nil, formatErr("it unpacks to more than %d MB; unpack it first", maxUnpacked>>20)
	}
	b := buf.Bytes()
	if len(b) < 9 || b[8] != '{' {
		return nil, formatErr("what is packed in it is no safetensors file")
	}
	f, err := openSafetensors(bytes.NewReader(b), int64(len(b)))
	if err == nil {
		f.format = "safetensors in zstd"
	}
	return f, err
}

// Write writes the 13 convolutions as safetensors, weights (K,C,3,3), with
// where they came from as metadata.
func Write(w io.Writer, v *vgg.Weights) error {
	type named struct {
		name   string
		shape  []int
		values func() []float32
	}
	var all []named
	for i := range v.Conv {
		cw := &v.Conv[i]
		l := vgg.Layers[cw.Layer]
		all = append(all,
			named{fmt.Sprintf("features.%d.weight", cw.Layer), []int{l.K, l.C, 3, 3}, func() []float32 { return toKCRS(cw.W, l.K, l.C) }},
			named{fmt.Sprintf("features.%d.bias", cw.Layer), []int{l.K}, func() []float32 { return cw.B }})
	}
	header := map[string]any{"__metadata__": map[string]string{"source": v.Source, "sha256": v.SHA256, "format": "pt"}}
	var at int64
	for _, t := range all {
		n := int64(4)
		for _, s := range t.shape {
			n *= int64(s)
		}
		header[t.name] = safeEntry{"F32", t.shape, [2]int64{at, at + n}}
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
	for _, t := range all {
		vals := t.values()
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

// toKCRS undoes the layout of vgg.ConvWeights: (K,3,3,C) to (K,C,3,3).
func toKCRS(w []float32, k, c int) []float32 {
	out := make([]float32, len(w))
	for o := range k {
		for t := range 9 {
			for i := range c {
				out[(o*c+i)*9+t] = w[(o*9+t)*c+i]
			}
		}
	}
	return out
}
