package kernels

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrShape says that a kernel does not take these extents: a grid or a number that
// does not fit, channels that its tiles do not divide.
var ErrShape = errors.New("the kernel does not take this shape")

// ErrElem says that a kernel is not compiled for an element type, or a tile.
var ErrElem = errors.New("the kernel is not compiled for it")

// Elem is the type of what lies at an address: a number, or a row of a table
// (AdamConstantsElem and its like).
type Elem string

// The element types. Entries are named after the first four.
const (
	F32   Elem = "f32"
	F16   Elem = "f16"
	BF16  Elem = "bf16"
	TF32  Elem = "tf32" // of the tensor cores: F32 in memory, ten bits of fraction in the multiplier
	F64   Elem = "f64"
	U8    Elem = "u8"
	U32   Elem = "u32"
	U64   Elem = "u64"
	U32x4 Elem = "u32x4"

	stored Elem = "T" // in a signature: what the entry's type is stored as
)

// Storage is the type that e is kept as in memory.
func (e Elem) Storage() Elem {
	if e == TF32 {
		return F32
	}
	return e
}

// Size is the bytes of a number in memory.
func (e Elem) Size() int {
	switch e {
	case U8:
		return 1
	case F16, BF16:
		return 2
	case F32, TF32, U32:
		return 4
	case F64, U64:
		return 8
	case U32x4:
		return 16
	default:
		return 0
	}
}

// Ptr is an address that is not known yet: Offset bytes behind what Ref stands for,
// which the caller alone understands. One without Ref is null.
type Ptr struct {
	Ref    any
	Elem   Elem // that lies there
	Offset int64
}

// Map describes a tensor to the copy engine of sm_90a: dense elements of Of.Elem in
// boxes whose rows are 128 bytes, swizzled by as many. One whose Of is null is
// never read.
type Map struct {
	Of   Ptr
	Dims []uint64 // elements, the innermost first
	Box  []uint32
}

// Kind is the type of a parameter.
type Kind uint8

// The kinds. Integers carry extents and are never negative; a Flag is an int of 0 or 1.
const (
	Pointer Kind = iota
	Int32
	Uint32
	Uint64
	Float32
	Float64 // in tables only
	Flag
	TensorMap // by value
)

// Bytes is the size of a parameter.
func (k Kind) Bytes() int { return [...]int{8, 4, 4, 8, 4, 8, 4, 128}[k] }

// Param is a parameter of an entry, as its source declares it.
type Param struct {
	Name      string
	Kind      Kind
	Elem      Elem // of a pointer or a tensor map
	Out       bool // the entry writes there, and may read it too
	MayBeNull bool
}

// Arg is what a launch passes for a parameter: one of the three, by its Kind.
type Arg struct {
	Ptr  Ptr
	Map  Map
	Bits uint64 // of a scalar
}

func pointer(p Ptr) Arg    { return Arg{Ptr: p} }
func tensorMap(m Map) Arg  { return Arg{Map: m} }
func integer(v int) Arg    { return Arg{Bits: uint64(v)} }
func float(v float32) Arg  { return Arg{Bits: uint64(math.Float32bits(v))} }
func double(v float64) Arg { return Arg{Bits: math.Float64bits(v)} }
func flag(v bool) Arg {
	if v {
		return Arg{Bits: 1}
	}
	return Arg{}
}

// check holds an argument against the parameter.
func (p Param) check(a Arg) error {
	switch p.Kind {
	case Int32, Uint32, Uint64:
		most := [...]uint64{Int32: math.MaxInt32, Uint32: math.MaxUint32, Uint64: math.MaxInt64}[p.Kind]
		if a.Bits > most {
			return fmt.Errorf("%s is %d, and must be from 0 to %d: %w", p.Name, int64(a.Bits), most, ErrShape)
		}
	case Pointer:
		return p.checkPtr(a.Ptr)
	case TensorMap:
		if len(a.Map.Dims) != len(a.Map.Box) || a.Map.Of.Ref != nil && len(a.Map.Box) == 0 {
			return fmt.Errorf("%s has %d extents and a box of %d", p.Name, len(a.Map.Dims), len(a.Map.Box))
		}
		return p.checkPtr(a.Map.Of)
	case Float32, Float64, Flag:
	}
	return nil
}

func (p Param) checkPtr(a Ptr) error {
	switch {
	case a.Ref == nil && !p.MayBeNull:
		return fmt.Errorf("%s is null", p.Name)
	case a.Ref != nil && a.Elem != p.Elem:
		return fmt.Errorf("%s points to %s, and must to %s", p.Name, a.Elem, p.Elem)
	}
	return nil
}

// of resolves the parameters of an entry's family for its element type.
func of(ps []Param, t Elem) []Param {
	ps = slices.Clone(ps)
	for i := range ps {
		if ps[i].Elem == stored {
			ps[i].Elem = t.Storage()
		}
	}
	return ps
}

// family is the entries that differ in their element type and tile only.
type family struct {
	name, source, arch string
	threads            int
	registers          int
	overlaps           bool
	params             []Param
	entries            []entry
}

type entry struct {
	name, module            string
	elem                    Elem
	tile                    Tile
	stages, shared, cluster int
}

// find is the entry for an element type, or for the type that it is stored as.
func (f *family) find(t Elem, tile Tile) (*Spec, error) {
	for _, e := range []Elem{t, t.Storage()} {
		for i := range f.entries {
			if f.entries[i].elem == e && f.entries[i].tile == tile {
				return All[f.entries[i].name], nil
			}
		}
	}
	if tile == (Tile{}) {
		return nil, fmt.Errorf("%s of %s: %w", f.name, t, ErrElem)
	}
	return nil, fmt.Errorf("%s of %s in tiles of %v: %w", f.name, t, tile, ErrElem)
}

// tiles lists those that each type is compiled for.
func (f *family) tiles() (all []Tile) {
	for _, e := range f.entries {
		if e.elem == f.entries[0].elem {
			all = append(all, e.tile)
		}
	}
	return all
}

// arguments is every ...Args of args_gen.go.
type arguments interface {
	arguments() (*family, []Arg)
}

// Launch is one launch of an entry.
type Launch struct {
	Spec *Spec
	Grid [3]int // blocks
	Args []Arg  // in the order of Spec.Params
}

// launch makes a checked one, of the entry for t; also are checks of its own that the
// caller has made. The error names the entry and the parameter.
func launch(a arguments, t Elem, tile Tile, grid [3]int, also ...error) (Launch, error) {
	f, args := a.arguments()
	s, err := f.find(t, tile)
	if err != nil {
		return Launch{}, err
	}
	for i, p := range s.Params {
		also = append(also, p.check(args[i]))
	}
	for _, err := range also {
		if err != nil {
			return Launch{}, fmt.Errorf("%s: %w", s.Entry, err)
		}
	}
	for i, most := range [3]int{math.MaxInt32, math.MaxUint16, math.MaxUint16} {
		if grid[i] < 1 || grid[i] > most {
			return Launch{}, fmt.Errorf("%s: a grid of %v blocks: %w", s.Entry, grid, ErrShape)
		}
	}
	return Launch{s, grid, args}, nil
}

// Table is rows of constants that a launch finds at an address.
type Table struct {
	Elem      Elem // of a pointer to it
	Bytes     []byte
	Addresses []Address // that its bytes must hold before a launch
	Fields    []Param   // of a row; nil where the bytes are plain numbers
	Rows      [][]Arg   // what the bytes encode
}

// Address is a place in a table, 8 bytes, for an address.
type Address struct {
	At  int
	Of  Ptr
	Out bool // the launch writes there
}

// field is a member of a table's rows, at an offset in bytes.
type field struct {
	Param
	at int
}

// encode lays rows out as the source's struct, bytes long each.
func encode[R interface{ list() []Arg }](elem, t Elem, bytes int, fields []field, rows []R) (Table, error) {
	table := Table{Elem: elem, Bytes: make([]byte, bytes*len(rows))}
	for _, f := range fields {
		table.Fields = append(table.Fields, f.Param)
	}
	for i, r := range rows {
		table.Rows = append(table.Rows, r.list())
		for j, a := range table.Rows[i] {
			f, at := fields[j], i*bytes+fields[j].at
			if f.Elem == stored {
				f.Elem = t.Storage()
			}
			if err := f.check(a); err != nil {
				return Table{}, fmt.Errorf("row %d of a table of %s: %w", i, elem, err)
			}
			switch f.Kind.Bytes() {
			case 4:
				binary.LittleEndian.PutUint32(table.Bytes[at:], uint32(a.Bits))
			case 8:
				binary.LittleEndian.PutUint64(table.Bytes[at:], a.Bits)
			}
			if f.Kind == Pointer && a.Ptr.Ref != nil {
				table.Addresses = append(table.Addresses, Address{at, a.Ptr, f.Out})
			}
		}
	}
	return table, nil
}

// Grids and extents.

func ceil(a, b int) int { return (a + b - 1) / b }

// linear is a grid of one thread an element.
func linear(elems, threads int) [3]int { return [3]int{ceil(elems, threads), 1, 1} }

// below31 says that a product of extents, which the kernel has as an int, does not fit.
func below31(what string, extents ...int) error {
	product := 1
	for _, e := range extents {
		if product *= e; product > math.MaxInt32 {
			return fmt.Errorf("%s is %v, and must be below 2^31: %w", what, extents, ErrShape)
		}
	}
	return nil
}
