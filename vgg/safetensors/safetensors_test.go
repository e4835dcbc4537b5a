package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

func written(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	err := Write(&b, map[string]string{"who": "me"}, []Tensor{
		{"second", []int{2, 3}, func() []float32 { return []float32{1, 2, 3, 4, 5, 6} }},
		{"first", []int{1}, func() []float32 { return []float32{-1} }},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	b := written(t)
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if f.Metadata["who"] != "me" || len(f.Tensors) != 2 || len(f.Tensors["second"].Shape) != 2 {
		t.Errorf("%+v", f)
	}
	v, err := f.Bytes(f.Tensors["first"], 4)
	if err != nil || binary.LittleEndian.Uint32(v) != 0xbf800000 {
		t.Errorf("% x, %v", v, err)
	}
}

// Cut off anywhere, or with a header that lies, a file is an error.
func TestDamaged(t *testing.T) {
	whole := written(t)
	for n := range whole {
		f, err := Open(bytes.NewReader(whole[:n]), int64(n))
		if err == nil {
			_, e1 := f.Bytes(f.Tensors["second"], 24)
			_, err = f.Bytes(f.Tensors["first"], 4)
			if e1 == nil && err == nil {
				t.Fatalf("cut at %d: no error", n)
			}
		}
	}
	header := func(js string) []byte {
		return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(js))), js...), 0, 0, 0, 0)
	}
	for js, want := range map[string]string{
		`{`:           "header is damaged",
		`{"t":7}`:     `tensor "t"`,
		`{"t":{}} {}`: "something behind it",
		`[]`:          "no object",
		`{"t":{"shape":[` + strings.Repeat("1,", 64) + `1]}}`:                      "65 dimensions",
		"{" + manyTensors() + "}":                                                  "more than 65536 tensors",
		`{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,400]}}`:                 "cut off",
		`{"t":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}`:                  "cut off",
		`{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,3]}}`:                   "3 bytes for a tensor of 4",
		`{"t":{"dtype":"F32","shape":[1],"data_offsets":[4,9223372036854775807]}}`: "cut off",
	} {
		b := header(js)
		f, err := Open(bytes.NewReader(b), int64(len(b)))
		if err == nil {
			_, err = f.Bytes(f.Tensors["t"], 4)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: %v", js, err)
		}
	}
}

// manyTensors are more than any network has.
func manyTensors() string {
	var b strings.Builder
	for i := range maxTensors + 1 {
		fmt.Fprintf(&b, `%.1s"%d":{}`, strings.Repeat(",", min(i, 1)), i)
	}
	return b.String()
}
