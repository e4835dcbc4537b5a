package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/half"
	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

var le = binary.LittleEndian

// maxElems keeps a typing mistake from taking the machine.
const maxElems = 1 << 31

// buffer is device memory with the type and shape that its specification gave.
type buffer struct {
	name  string
	ptr   sim.Ptr
	typ   ptx.Type
	shape []int
}

type buffers struct {
	dev    *sim.Device
	byName map[string]*buffer
}

// add makes a buffer of a specification.
func (bs *buffers) add(name, spec string) (*buffer, error) {
	if bs.byName[name] != nil {
		return nil, fmt.Errorf("two buffers are called %s", name)
	}
	b, data, err := parseBuffer(spec)
	if err != nil {
		return nil, fmt.Errorf("buffer %s: %w", name, err)
	}
	b.name = name
	if b.ptr, err = bs.dev.Alloc(name, int64(elems(b.shape)*b.typ.Bits()/8)); err != nil {
		return nil, err
	}
	if data != nil {
		if err := bs.dev.Write(b.ptr, data); err != nil {
			return nil, err
		}
	}
	bs.byName[name] = b
	return b, nil
}

func elems(shape []int) int {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return n
}

// parseBuffer reads a specification; data is nil for an empty buffer.
func parseBuffer(spec string) (b *buffer, data []byte, err error) {
	if strings.HasSuffix(spec, ".npy") {
		f, err := os.Open(spec)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		typ, shape, data, err := readNPY(f)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", spec, err)
		}
		return &buffer{typ: typ, shape: shape}, data, nil
	}
	kind, rest, _ := strings.Cut(spec, ":")
	if kind == "raw" {
		data, err := os.ReadFile(rest)
		if err == nil && len(data) == 0 {
			err = fmt.Errorf("%s is empty", rest)
		}
		return &buffer{typ: ptx.U8, shape: []int{len(data)}}, data, err
	}
	parts := strings.Split(rest, ":")
	want := map[string][2]int{"zeros": {2, 2}, "empty": {2, 2}, "fill": {3, 3}, "rand": {2, 3}}[kind]
	if want[0] == 0 || len(parts) < want[0] || len(parts) > want[1] {
		return nil, nil, fmt.Errorf("%q is no buffer: want zeros:TYPE:N, empty:TYPE:N, fill:TYPE:N:VALUE, rand:TYPE:N[:SEED], FILE.npy or raw:FILE", spec)
	}
	b = &buffer{typ: ptx.TypeNamed(parts[0])}
	if !isElement(b.typ) {
		return nil, nil, fmt.Errorf("type %q: want f16, bf16, f32, f64, u8 to u64, s8 to s64", parts[0])
	}
	n := 1
	for _, s := range strings.Split(parts[1], "x") {
		v, err := strconv.Atoi(s)
		if err != nil || v < 1 || v > maxElems/n {
			return nil, nil, fmt.Errorf("%q is no number of elements, nor a shape such as 20x50", parts[1])
		}
		n *= v
		b.shape = append(b.shape, v)
	}
	size := b.typ.Bits() / 8
	switch kind {
	case "zeros":
		data = make([]byte, n*size)
	case "fill":
		v, err := parseScalar(parts[2], b.typ)
		if err != nil {
			return nil, nil, err
		}
		for range n {
			data = append(data, v...)
		}
	case "rand":
		seed := uint64(0)
		if len(parts) == 3 {
			if seed, err = strconv.ParseUint(parts[2], 10, 64); err != nil {
				return nil, nil, fmt.Errorf("seed %q is no whole number", parts[2])
			}
		}
		r := rand.New(rand.NewPCG(seed, 0))
		for range n {
			if b.typ.Float() {
				data = append(data, encode(r.Float64()*2-1, b.typ)...)
			} else {
				data = append(data, le.AppendUint64(nil, r.Uint64())[:size]...)
			}
		}
	}
	return b, data, nil
}

func isElement(t ptx.Type) bool {
	switch t {
	case ptx.F16, ptx.BF16, ptx.F32, ptx.F64, ptx.U8, ptx.U16, ptx.U32, ptx.U64, ptx.S8, ptx.S16, ptx.S32, ptx.S64:
		return true
	default:
		return false
	}
}

// encode rounds a number to a floating-point type.
func encode(v float64, t ptx.Type) []byte {
	switch t {
	case ptx.F16:
		return le.AppendUint16(nil, half.ToF16(float32(v)))
	case ptx.BF16:
		return le.AppendUint16(nil, half.ToBF16(float32(v)))
	case ptx.F32:
		return le.AppendUint32(nil, math.Float32bits(float32(v)))
	default:
		return le.AppendUint64(nil, math.Float64bits(v))
	}
}

// parseScalar reads a number as the bytes of a type. Untyped bits (b32) take
// whole numbers and, written with a point, floats.
func parseScalar(s string, t ptx.Type) ([]byte, error) {
	size := t.Bits() / 8
	untyped := t == ptx.B32 || t == ptx.B64
	if t.Float() || untyped && strings.ContainsAny(s, ".") {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no number", s)
		}
		if untyped {
			t = map[int]ptx.Type{4: ptx.F32, 8: ptx.F64}[size]
		}
		return encode(v, t), nil
	}
	if v, err := strconv.ParseInt(s, 0, 64); err == nil {
		lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
		if size < 8 {
			lo, hi = -1<<(8*size-1), 1<<(8*size)-1
		}
		if v < lo || v > hi {
			return nil, fmt.Errorf("%s does not fit %v", s, t)
		}
		return le.AppendUint64(nil, uint64(v))[:size], nil
	}
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil || size < 8 {
		return nil, fmt.Errorf("%q is no %v", s, t)
	}
	return le.AppendUint64(nil, v), nil
}

// arguments turns the command line into the kernel's arguments.
func (bs *buffers) arguments(k *sim.Kernel, specs []string) ([]any, error) {
	params := k.Params()
	if len(specs) != len(params) {
		var names []string
		for _, p := range params {
			names = append(names, p.Type+" "+p.Name)
		}
		return nil, fmt.Errorf("%s takes %d arguments (%s), got %d", k.Name, len(params), strings.Join(names, ", "), len(specs))
	}
	args := make([]any, len(params))
	for i, p := range params { // buffers first: maps refer to them
		name, spec := p.Name, specs[i]
		if n, s, ok := strings.Cut(spec, "="); ok && !strings.Contains(n, ":") {
			name, spec = n, s
		}
		if strings.HasPrefix(spec, "map:") || isStruct(spec) || !strings.Contains(spec, ":") && !strings.HasSuffix(spec, ".npy") {
			continue
		}
		if p.Bytes != 8 {
			return nil, fmt.Errorf("argument %d (%s) is a %s of %d bytes, a buffer's address has 8", i+1, p.Name, p.Type, p.Bytes)
		}
		b, err := bs.add(name, spec)
		if err != nil {
			return nil, err
		}
		args[i] = b.ptr
	}
	for i, p := range params {
		if args[i] != nil {
			continue
		}
		spec := specs[i]
		if strings.HasPrefix(spec, "map:") {
			m, err := bs.tensorMap(spec)
			if err != nil {
				return nil, fmt.Errorf("argument %d (%s): %w", i+1, p.Name, err)
			}
			args[i] = m[:]
			continue
		}
		if isStruct(spec) {
			v, err := bs.structure(spec, p.Bytes)
			if err != nil {
				return nil, fmt.Errorf("argument %d (%s, a %s): %w", i+1, p.Name, p.Type, err)
			}
			args[i] = v
			continue
		}
		if b := bs.byName[spec]; b != nil && p.Bytes == 8 { // a buffer again
			args[i] = b.ptr
			continue
		}
		var v []byte
		var err error
		if t := ptx.TypeNamed(p.Type); t.Bits() != 8*p.Bytes {
			err = fmt.Errorf("%q is not %d bytes; write a struct as {f32:1.5,u32:7,NAME}, bytes as hex:00ff, or a tensor map as map:NAME:TYPE:EXTENTS:BOX", spec, p.Bytes)
		} else {
			v, err = parseScalar(spec, t)
		}
		if err != nil {
			return nil, fmt.Errorf("argument %d (%s, a %s): %w", i+1, p.Name, p.Type, err)
		}
		args[i] = v
	}
	return args, nil
}

func isStruct(spec string) bool {
	return strings.HasPrefix(spec, "{") || strings.HasPrefix(spec, "hex:")
}

// structure reads the bytes of a struct: hex:00ff…, all of them, or its fields in braces,
// TYPE:VALUE or the name of a buffer, each where C puts it. What is left is zero.
func (bs *buffers) structure(spec string, size int) ([]byte, error) {
	if digits, ok := strings.CutPrefix(spec, "hex:"); ok {
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) != size {
			return nil, fmt.Errorf("%q: want %d bytes, two digits each", spec, size)
		}
		return b, nil
	}
	inner, ok := strings.CutSuffix(spec[1:], "}")
	if !ok {
		return nil, fmt.Errorf("%q: the struct has no end; write {f32:1.5,u32:7}", spec)
	}
	var out []byte
	for field := range strings.SplitSeq(inner, ",") {
		field = strings.TrimSpace(field)
		var v []byte
		if b := bs.byName[field]; b != nil {
			v = le.AppendUint64(nil, uint64(b.ptr))
		} else {
			name, value, ok := strings.Cut(field, ":")
			t := ptx.TypeNamed(name)
			if !ok || t.Bits() < 8 {
				return nil, fmt.Errorf("field %q: want TYPE:VALUE, as u32:7, or the name of a buffer", field)
			}
			var err error
			if v, err = parseScalar(value, t); err != nil {
				return nil, fmt.Errorf("field %q: %w", field, err)
			}
		}
		for len(out)%len(v) != 0 {
			out = append(out, 0)
		}
		out = append(out, v...)
	}
	if len(out) > size {
		return nil, fmt.Errorf("%q has %d bytes, the parameter %d", spec, len(out), size)
	}
	return append(out, make([]byte, size-len(out))...), nil
}

// tensorMap reads map:NAME:TYPE:EXTENTS:BOX[:SWIZZLE].
func (bs *buffers) tensorMap(spec string) (m sim.TensorMap, err error) {
	f := strings.Split(spec, ":")
	if len(f) != 5 && len(f) != 6 {
		return m, fmt.Errorf("%q: want map:NAME:TYPE:EXTENTS:BOX[:SWIZZLE]", spec)
	}
	b := bs.byName[f[1]]
	if b == nil {
		return m, fmt.Errorf("no buffer %s; there are %s", f[1], listed(bs.byName))
	}
	t := tensormap.Tiled{Type: ptx.TypeNamed(f[2]), Base: uint64(b.ptr)}
	for _, s := range strings.Split(f[3], "x") {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return m, fmt.Errorf("extents %q: want numbers with x between them, innermost first", f[3])
		}
		t.Dims = append(t.Dims, n)
	}
	t.Strides = tensormap.DenseStrides(t.Type, t.Dims)
	for _, s := range strings.Split(f[4], "x") {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return m, fmt.Errorf("box %q: want numbers with x between them, innermost first", f[4])
		}
		t.Box = append(t.Box, uint32(n))
	}
	if len(f) == 6 {
		s, ok := map[string]tensormap.Swizzle{"0": tensormap.SwizzleNone, "32": tensormap.Swizzle32, "64": tensormap.Swizzle64, "128": tensormap.Swizzle128}[f[5]]
		if !ok {
			return m, fmt.Errorf("swizzle %q: want 0, 32, 64 or 128", f[5])
		}
		t.Swizzle = s
	}
	return sim.EncodeTiled(t)
}

// outputs reads --out NAME=FILE.npy.
func (bs *buffers) outputs(specs []string) (map[string]*buffer, error) {
	outs := map[string]*buffer{}
	for _, s := range specs {
		name, file, ok := strings.Cut(s, "=")
		b := bs.byName[name]
		switch {
		case !ok || filepath.Ext(file) != ".npy":
			return nil, fmt.Errorf("--out %s: want NAME=FILE.npy", s)
		case b == nil:
			return nil, fmt.Errorf("--out %s: no buffer %s; there are %s", s, name, listed(bs.byName))
		}
		outs[file] = b
	}
	return outs, nil
}

func (b *buffer) write(dev *sim.Device, file string) error {
	data := make([]byte, elems(b.shape)*b.typ.Bits()/8)
	if err := dev.Read(b.ptr, data); err != nil {
		return err
	}
	return atomicfile.Write(file, func(w io.Writer) error { return writeNPY(w, b.typ, b.shape, data) })
}
