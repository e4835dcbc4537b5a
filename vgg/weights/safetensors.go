package weights

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/safetensors"
)

// maxUnpacked bounds what a packed file unpacks to: the 13 convolutions take 52 MB as
// fp32, and twice that as fp64.
const maxUnpacked = 120 << 20

// digestKey names the metadata that Write leaves, and nobody else.
const digestKey = "sha256"

// openSafetensors opens one in place: a file of the whole network is ten times what
// is needed of it.
func openSafetensors(r io.ReaderAt, size int64) (*file, error) {
	st, err := safetensors.Open(r, size)
	if err != nil {
		return nil, formatErr("%v", err)
	}
	f := &file{format: "safetensors", tensors: map[string]tensor{}, ours: st.Metadata[digestKey] != ""}
	for name, e := range st.Tensors {
		f.tensors[name] = tensor{dtype: e.DType, shape: e.Shape, read: func(dst []float32) error {
			es, ok := dtypeSize[e.DType]
			if !ok {
				return formatErr("type %s is not a float type", plain(e.DType))
			}
			raw, err := st.Bytes(e, int64(len(dst))*int64(es))
			if err != nil {
				return formatErr("%v", err)
			}
			return decode(dst, raw, e.DType)
		}}
	}
	return f, nil
}

// openZstd unpacks a compressed safetensors file, as the cache holds it.
func openZstd(r io.Reader) (*file, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(1<<27))
	if err != nil {
		return nil, formatErr("it cannot be unpacked (%v)", err)
	}
	defer d.Close()
	head := make([]byte, 9)
	if _, err := io.ReadFull(d, head); err != nil || head[8] != '{' {
		return nil, formatErr("what is packed in it is no safetensors file")
	}
	b := append(make([]byte, 0, 1<<20), head...)
	for len(b) <= maxUnpacked {
		if len(b) == cap(b) {
			b = append(make([]byte, 0, min(2*cap(b), maxUnpacked+1)), b...)
		}
		n, err := d.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, formatErr("it cannot be unpacked (%v)", err)
		}
	}
	if len(b) > maxUnpacked {
		return nil, formatErr("it unpacks to more than %d MB; unpack it first", maxUnpacked>>20)
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
	var all []safetensors.Tensor
	for i := range v.Conv {
		cw := &v.Conv[i]
		l := vgg.Layers[cw.Layer]
		all = append(all,
			safetensors.Tensor{Name: fmt.Sprintf("features.%d.weight", cw.Layer), Shape: []int{l.K, l.C, 3, 3}, Values: func() []float32 { return toKCRS(cw.W, l.K, l.C) }},
			safetensors.Tensor{Name: fmt.Sprintf("features.%d.bias", cw.Layer), Shape: []int{l.K}, Values: func() []float32 { return cw.B }})
	}
	return safetensors.Write(w, map[string]string{"source": v.Source, digestKey: v.SHA256, "format": "pt"}, all)
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
