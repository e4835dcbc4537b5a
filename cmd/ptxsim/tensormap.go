package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

// tensorMap is a spec of a tensor map, tiled or im2col. The address comes later.
type tensorMap struct {
	of     *reference
	im2col bool
	tiled  tensormap.Tiled  // of both: type, extents, strides, swizzle, fill
	column tensormap.Im2col // what im2col has beside them
}

const (
	tiledForm  = "map:NAME:TYPE:EXTENTS:BOX[:OPTION…]"
	im2colForm = "im2col:NAME:TYPE:EXTENTS:lower=W…:upper=W…:channels=N:pixels=N[:OPTION…]"
)

// parseMap reads map:… or im2col:…. Numbers stand innermost first, with x between them.
func parseMap(word string) (spec, error) {
	fail := func(format string, args ...any) (spec, error) {
		return nil, fmt.Errorf("%q: %w", word, fmt.Errorf(format, args...))
	}
	f := strings.Split(word, ":")
	m := &tensorMap{im2col: f[0] == "im2col"}
	least, form := 5, tiledForm
	if m.im2col {
		least, form = 4, im2colForm
	}
	if len(f) < least {
		return fail("want %s", form)
	}
	var err error
	if m.of, err = parseReference(f[1]); err != nil {
		return fail("want %s", form)
	}
	m.tiled.Type = elementType(f[2])
	if f[2] == "tf32" {
		m.tiled.Type = ptx.TF32
	}
	if m.tiled.Type == ptx.NoType {
		return fail("type %q: want f16, bf16, f32, tf32, f64 or an integer", f[2])
	}
	if m.tiled.Dims, err = numbers[uint64]("extents", f[3]); err != nil {
		return fail("%w", err)
	}
	if len(m.tiled.Dims) > 5 {
		return fail("%d extents; a tensor has 1 to 5 dimensions", len(m.tiled.Dims))
	}
	m.tiled.Strides = tensormap.DenseStrides(m.tiled.Type, m.tiled.Dims)
	if !m.im2col {
		if m.tiled.Box, err = numbers[uint32]("box", f[4]); err != nil {
			return fail("%w", err)
		}
	}
	seen := map[string]bool{}
	for _, o := range f[least:] {
		name, v, ok := strings.Cut(o, "=")
		if !ok {
			name, v = "swizzle", o
		}
		if seen[name] {
			return fail("%s stands twice", name)
		}
		seen[name] = true
		if err := m.option(name, v); err != nil {
			return fail("%w", err)
		}
	}
	for _, need := range []string{"lower", "upper", "channels", "pixels"} {
		if m.im2col && !seen[need] {
			return fail("%s= is missing; want %s", need, im2colForm)
		}
	}
	return m, nil
}

// option reads one of those behind the box.
func (m *tensorMap) option(name, v string) (err error) {
	t, c := &m.tiled, &m.column
	switch name {
	case "swizzle":
		s, ok := map[string]tensormap.Swizzle{"0": tensormap.SwizzleNone, "32": tensormap.Swizzle32, "64": tensormap.Swizzle64, "128": tensormap.Swizzle128}[v]
		if !ok {
			return fmt.Errorf("swizzle %q: want 0, 32, 64 or 128", v)
		}
		t.Swizzle = s
	case "strides":
		if t.Strides, err = numbers[uint64]("strides", v); err == nil && len(t.Strides) != len(t.Dims)-1 {
			err = fmt.Errorf("strides %s: want %d, in bytes, one for each dimension but the innermost", v, len(t.Dims)-1)
		}
	case "steps":
		if t.ElementStrides, err = numbers[uint32]("steps", v); err == nil && len(t.ElementStrides) != len(t.Dims) {
			err = fmt.Errorf("steps %s: want %d element strides, one for each dimension", v, len(t.Dims))
		}
	case "fill":
		if v != "nan" && v != "zeros" {
			return fmt.Errorf("fill %q: what lies out of bounds reads as zeros or nan", v)
		}
		t.NaNFill = v == "nan"
	case "interleave", "l2", "promotion":
		return fmt.Errorf("%s= is not simulated; leave it out", name)
	case "lower", "upper", "channels", "pixels":
		if !m.im2col {
			return fmt.Errorf("%s= is for im2col maps; want %s", name, im2colForm)
		}
		switch name {
		case "lower":
			c.Lower, err = numbers[int32](name, v)
		case "upper":
			c.Upper, err = numbers[int32](name, v)
		case "channels":
			c.ChannelsPerPixel, err = oneNumber(name, v)
		case "pixels":
			c.PixelsPerColumn, err = oneNumber(name, v)
		}
	default:
		return fmt.Errorf("no option %s; there are swizzle, strides, steps, fill, and lower, upper, channels, pixels of im2col", name)
	}
	return err
}

// numbers reads 64x16x8.
func numbers[T uint64 | uint32 | int32](what, s string) (ns []T, err error) {
	for part := range strings.SplitSeq(s, "x") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil || int64(T(n)) != n || n < 0 && T(0)-1 > 0 {
			return nil, fmt.Errorf("%s %q: want numbers with x between them, innermost first", what, s)
		}
		ns = append(ns, T(n))
	}
	return ns, nil
}

func oneNumber(what, s string) (uint32, error) {
	ns, err := numbers[uint32](what, s)
	if err == nil && len(ns) != 1 {
		err = fmt.Errorf("%s %q: want one number", what, s)
	}
	if err != nil {
		return 0, err
	}
	return ns[0], nil
}

// value encodes the map. Whether the tensor fits its buffer is found when a kernel copies
// a box of it.
func (m *tensorMap) value(s *session, _ ptx.Type) (*value, error) {
	p, err := s.find(m.of)
	if err != nil {
		return nil, err
	}
	var t sim.TensorMap
	tiled := m.tiled
	tiled.Base = uint64(p.ptr)
	if m.im2col {
		c := m.column
		c.Type, c.Base, c.Dims, c.Strides = tiled.Type, tiled.Base, tiled.Dims, tiled.Strides
		c.ElementStrides, c.Swizzle, c.NaNFill = tiled.ElementStrides, tiled.Swizzle, tiled.NaNFill
		t, err = sim.EncodeIm2col(c)
	} else {
		t, err = sim.EncodeTiled(tiled)
	}
	if err != nil {
		return nil, err
	}
	return &value{typ: ptx.U8, shape: []int{len(t)}, data: t[:], align: 64}, nil
}
