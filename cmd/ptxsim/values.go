package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

func (n *number) value(_ *session, want ptx.Type) (*value, error) {
	t := n.typ
	if t == ptx.NoType {
		t = want
	}
	if t == ptx.NoType {
		return nil, fmt.Errorf("%s: of which type? write f32:%s", n.text, n.text)
	}
	b, err := parseScalar(n.text, t)
	if err != nil {
		return nil, err
	}
	return &value{typ: t, data: b, align: len(b)}, nil
}

// value is the address of a place, or a value that has a name.
func (r *reference) value(s *session, _ ptx.Type) (*value, error) {
	if v := s.values[r.name]; v != nil && r.offset == 0 {
		return v, nil
	}
	p, err := s.find(r)
	if err != nil {
		return nil, err
	}
	return &value{typ: ptx.U64, data: le.AppendUint64(nil, uint64(p.ptr)), align: 8}, nil
}

func (a *array) value(s *session, _ ptx.Type) (*value, error) {
	v := &value{typ: a.typ, shape: a.shape, align: a.typ.Bits() / 8}
	if free, _ := s.dev.MemInfo(); int64(v.size()) > free {
		return nil, fmt.Errorf("%d bytes asked for, the device has %d free; make the buffer smaller", v.size(), free)
	}
	if s.dry || a.kind == "empty" {
		return v, nil
	}
	n, size := elems(a.shape), v.align
	switch a.kind {
	case "zeros":
		v.data = make([]byte, n*size)
	case "values":
		v.data = a.data
	case "fill":
		v.data = bytes.Repeat(a.data, n)
	case "range":
		for i := range n {
			if a.typ.Float() {
				v.data = append(v.data, encode(a.from+float64(i)*a.step, a.typ)...)
			} else {
				v.data = append(v.data, le.AppendUint64(nil, uint64(int64(a.from)+int64(i)*int64(a.step)))[:size]...)
			}
		}
	case "rand":
		r := rand.New(rand.NewPCG(a.seed, 0))
		for range n {
			if a.typ.Float() {
				v.data = append(v.data, encode(r.Float64()*2-1, a.typ)...)
			} else {
				v.data = append(v.data, le.AppendUint64(nil, r.Uint64())[:size]...)
			}
		}
	}
	return v, nil
}

func (f *file) value(s *session, want ptx.Type) (*value, error) {
	b, err := s.read(f.path)
	if err != nil {
		return nil, err
	}
	if f.kind == "npy" {
		typ, shape, data, err := readNPY(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.path(f.path), err)
		}
		return &value{typ: typ, shape: shape, data: data}, nil
	}
	t := f.typ
	if t == ptx.NoType && want != ptx.NoType && len(b)%(want.Bits()/8) == 0 {
		t = want
	} else if t == ptx.NoType {
		t = ptx.U8
	}
	size := t.Bits() / 8
	switch {
	case len(b) == 0:
		return nil, fmt.Errorf("%s is empty", s.path(f.path))
	case len(b)%size != 0:
		return nil, fmt.Errorf("%s has %d bytes, which are no whole number of %v", s.path(f.path), len(b), t)
	}
	return &value{typ: t, shape: []int{len(b) / size}, data: b, align: 1}, nil
}

func (l *literal) value(*session, ptx.Type) (*value, error) {
	return &value{typ: ptx.U8, shape: []int{len(l.data)}, data: l.data, align: 1}, nil
}

// value lays the fields out as C does: each at a multiple of its size, the whole a
// multiple of the widest.
func (st *structure) value(s *session, _ ptx.Type) (*value, error) {
	v := &value{typ: ptx.U8, align: 1}
	pad := func(align int) { v.data = append(v.data, make([]byte, -len(v.data)&(align-1))...) }
	for _, f := range st.fields {
		field, err := f.value(s, ptx.NoType)
		if err != nil {
			return nil, err
		}
		v.align = max(v.align, field.align)
		pad(field.align)
		if v.data = append(v.data, field.data...); len(v.data) > maxStruct {
			return nil, fmt.Errorf("a struct of more than %d bytes", maxStruct)
		}
	}
	pad(v.align)
	if len(v.data) == 0 {
		return nil, errors.New("the struct has no fields")
	}
	v.shape = []int{len(v.data)}
	return v, nil
}
