package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// A spec is what a word of a command line or a script stands for: an argument of a kernel,
// the contents of a buffer or a variable, what is expected. Words are parsed before
// anything runs; value makes the bytes, when buffers have their addresses.
type spec interface {
	// value is the spec's. want is the type of a number that has none of its own.
	value(s *session, want ptx.Type) (*value, error)
}

// value is bytes with their type and shape.
type value struct {
	typ   ptx.Type
	shape []int
	data  []byte // nil when the spec leaves memory uninitialised, and while nothing runs
	align int    // as a field of a struct
}

func (v *value) size() int { return elems(v.shape) * v.typ.Bits() / 8 }

func elems(shape []int) int {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return n
}

// The kinds of specs.
type (
	// number is one of the type that it is wanted as, or of its own.
	number struct {
		text string
		typ  ptx.Type // NoType when it says none
	}
	// reference is a buffer or a variable, by its address, or a value that has a name.
	reference struct {
		name   string
		offset int
	}
	// array is a buffer's contents: zeros, empty, fill, range, rand, values.
	array struct {
		kind  string
		typ   ptx.Type
		shape []int
		data  []byte // of fill one element, of values all
		from  float64
		step  float64
		seed  uint64
	}
	// file is what a file holds: an array in .npy, elements in raw, the bytes of a struct.
	file struct {
		path string
		kind string   // "npy", "raw", "bytes"
		typ  ptx.Type // of raw elements, NoType for those that are wanted
	}
	// literal is bytes in hexadecimal, or the gap between two fields.
	literal struct{ data []byte }
	// structure is a struct by its fields.
	structure struct{ fields []spec }
)

const (
	maxBytes  = 1 << 31 // of a buffer: keeps a typing mistake from taking the machine
	maxStruct = 1 << 16 // bytes: PTX allows 32764 of parameters
	maxNested = 16
)

// identifier is the name of a buffer: a word that is none of the other specs.
var identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$.]*$`)

const specForms = "a number, NAME, zeros:TYPE:N, fill:TYPE:N:VALUE, FILE.npy, raw:FILE, {FIELD,…} or map:NAME:… (ptxsim run --help lists all)"

// parseSpec reads a word.
func parseSpec(word string) (spec, error) { return parseNested(word, 0) }

func parseNested(word string, depth int) (spec, error) {
	head, rest, colon := strings.Cut(word, ":")
	switch {
	case word == "":
		return nil, errors.New("an empty word; write " + specForms)
	case word[0] == '{':
		return parseStructure(word, depth)
	case !colon && strings.HasSuffix(word, ".npy"):
		return &file{path: word, kind: "npy"}, nil
	case !colon:
		return parseWord(word)
	}
	switch head {
	case "zeros", "empty", "fill", "range", "rand", "values":
		return parseArray(word, head, strings.Split(rest, ":"))
	case "raw":
		f := &file{path: rest, kind: "raw"}
		if t, path, ok := strings.Cut(rest, ":"); ok && elementType(t) != ptx.NoType {
			f.typ, f.path = elementType(t), path
		}
		return f, noPath(f, word)
	case "bytes":
		f := &file{path: rest, kind: "bytes"}
		return f, noPath(f, word)
	case "hex":
		b, err := hex.DecodeString(rest)
		if err != nil || len(b) == 0 || len(b) > maxStruct {
			return nil, fmt.Errorf("%q: want two digits for each byte, as hex:00ff", word)
		}
		return &literal{b}, nil
	case "pad":
		n, err := strconv.Atoi(rest)
		if err != nil || n < 1 || n > maxStruct {
			return nil, fmt.Errorf("%q: want a number of bytes, as pad:4", word)
		}
		return &literal{make([]byte, n)}, nil
	case "ptr":
		if rest == "0" {
			return &number{rest, ptx.U64}, nil
		}
		return parseReference(rest)
	case "map", "im2col":
		return parseMap(word)
	case "im2col_w", "im2colw", "im2col-w":
		return nil, fmt.Errorf("%q: maps in im2col-w mode are not simulated; take map:… or im2col:…", word)
	}
	if t := elementType(head); t != ptx.NoType {
		if _, err := parseScalar(rest, t); err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
		return &number{rest, t}, nil
	}
	if strings.HasSuffix(word, ".npy") {
		return &file{path: word, kind: "npy"}, nil
	}
	return nil, fmt.Errorf("%q is no buffer and no value: want zeros:TYPE:N, empty:TYPE:N, fill:TYPE:N:VALUE, range:TYPE:N[:FROM[:STEP]], rand:TYPE:N[:SEED], values:TYPE:V,V…, FILE.npy, raw:FILE, or TYPE:VALUE", word)
}

func noPath(f *file, word string) error {
	if f.path == "" {
		return fmt.Errorf("%q: the name of the file is missing", word)
	}
	return nil
}

// parseWord reads a word without a colon: a number, or the name of something.
func parseWord(word string) (spec, error) {
	if c := word[0]; c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || isFloatWord(word) {
		return &number{text: word}, nil
	}
	return parseReference(word)
}

// isFloatWord reports whether a word is a number that begins with a letter. A buffer
// cannot have such a name.
func isFloatWord(word string) bool {
	switch strings.ToLower(word) {
	case "inf", "infinity", "nan":
		return true
	}
	return false
}

// parseReference reads NAME or NAME+BYTES.
func parseReference(word string) (*reference, error) {
	name, offset, plus := strings.Cut(word, "+")
	r := &reference{name: name}
	if plus {
		n, err := strconv.ParseInt(offset, 0, 48)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q: want bytes behind the +, as in %s+16", word, name)
		}
		r.offset = int(n)
	}
	if name == "" {
		return nil, fmt.Errorf("%q: the name is missing; write %s", word, specForms)
	}
	if !identifier.MatchString(name) {
		return nil, fmt.Errorf("%q is no name, and no value either; write %s", word, specForms)
	}
	return r, nil
}

// parseArray reads KIND:TYPE:SHAPE[:…].
func parseArray(word, kind string, parts []string) (spec, error) {
	want := map[string]struct {
		least, most int
		form        string
	}{
		"zeros": {2, 2, "zeros:TYPE:N"}, "empty": {2, 2, "empty:TYPE:N"}, "fill": {3, 3, "fill:TYPE:N:VALUE"},
		"range": {2, 4, "range:TYPE:N[:FROM[:STEP]]"}, "rand": {2, 3, "rand:TYPE:N[:SEED]"}, "values": {2, 2, "values:TYPE:V,V…"},
	}[kind]
	if len(parts) < want.least || len(parts) > want.most {
		return nil, fmt.Errorf("%q: want %s", word, want.form)
	}
	a := &array{kind: kind, typ: elementType(parts[0]), step: 1}
	if a.typ == ptx.NoType {
		return nil, fmt.Errorf("%q: type %q: want f16, bf16, f32, f64, u8 to u64, s8 to s64", word, parts[0])
	}
	if kind == "values" {
		list := strings.Split(parts[1], ",")
		a.shape = []int{len(list)}
		for _, v := range list {
			b, err := parseScalar(v, a.typ)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", word, err)
			}
			a.data = append(a.data, b...)
		}
		return a, nil
	}
	n := 1
	for s := range strings.SplitSeq(parts[1], "x") {
		v, err := parseCount(s)
		if err != nil || v < 1 || v > maxBytes/n {
			return nil, fmt.Errorf("%q: %q is no number of elements, nor a shape such as 20x50", word, parts[1])
		}
		n *= v
		a.shape = append(a.shape, v)
	}
	if n > maxBytes/(a.typ.Bits()/8) {
		return nil, fmt.Errorf("%q: a buffer of more than 2 GB; make it smaller", word)
	}
	var err error
	switch {
	case kind == "fill":
		if a.data, err = parseScalar(parts[2], a.typ); err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
	case kind == "rand" && len(parts) == 3:
		if a.seed, err = strconv.ParseUint(parts[2], 10, 64); err != nil {
			return nil, fmt.Errorf("%q: seed %q is no whole number", word, parts[2])
		}
	case kind == "range":
		for i, to := range []*float64{&a.from, &a.step}[:len(parts)-2] {
			if *to, err = strconv.ParseFloat(parts[2+i], 64); err != nil {
				return nil, fmt.Errorf("%q: %q is no number", word, parts[2+i])
			}
			if !a.typ.Float() && (*to != float64(int64(*to)) || *to > 1<<53 || *to < -1<<53) {
				return nil, fmt.Errorf("%q: %s is no whole number, which %v wants", word, parts[2+i], a.typ)
			}
		}
	}
	return a, nil
}

// parseStructure reads {FIELD,FIELD,…}; a field may be a struct again.
func parseStructure(word string, depth int) (spec, error) {
	if depth == maxNested {
		return nil, fmt.Errorf("%q: more than %d structs within structs", shorten(word), maxNested)
	}
	if word[len(word)-1] != '}' || len(word) < 2 {
		return nil, fmt.Errorf("%q: the struct has no end; write {f32:1.5,u32:7}", word)
	}
	st := &structure{}
	inner, open, from := word[1:len(word)-1], 0, 0
	for i := 0; i <= len(inner); i++ {
		switch {
		case i < len(inner) && inner[i] == '{':
			open++
		case i < len(inner) && inner[i] == '}':
			if open--; open < 0 {
				return nil, fmt.Errorf("%q: one } too many", word)
			}
		case i == len(inner) || inner[i] == ',' && open == 0:
			text := strings.TrimSpace(inner[from:i])
			from = i + 1
			f, err := parseField(text, depth+1)
			if err != nil {
				return nil, err
			}
			st.fields = append(st.fields, f)
		}
	}
	if open > 0 {
		return nil, fmt.Errorf("%q: one } is missing", word)
	}
	return st, nil
}

// parseField reads what may stand in a struct: a value that says how wide it is.
func parseField(text string, depth int) (spec, error) {
	const want = "want TYPE:VALUE, as u32:7, ptr:NAME, pad:BYTES, hex:…, {…}, or the name of a buffer or map"
	f, err := parseNested(text, depth)
	if err != nil {
		if !strings.ContainsAny(text, ":{") {
			return nil, fmt.Errorf("field %q: %s", text, want)
		}
		return nil, fmt.Errorf("field %w", err)
	}
	switch n := f.(type) {
	case *reference:
		if ptx.TypeNamed(n.name) != ptx.NoType {
			return nil, fmt.Errorf("field %q: %s", text, want)
		}
	case *number:
		if n.typ == ptx.NoType {
			return nil, fmt.Errorf("field %q: %s", text, want)
		}
	case *array, *file:
		return nil, fmt.Errorf("field %q: %s", text, want)
	}
	return f, nil
}

// elementType is the type of an element with a name, i32 being s32; NoType for others.
func elementType(name string) ptx.Type {
	if len(name) > 1 && name[0] == 'i' {
		name = "s" + name[1:]
	}
	switch t := ptx.TypeNamed(name); t {
	case ptx.F16, ptx.BF16, ptx.F32, ptx.F64, ptx.U8, ptx.U16, ptx.U32, ptx.U64, ptx.S8, ptx.S16, ptx.S32, ptx.S64,
		ptx.B8, ptx.B16, ptx.B32, ptx.B64:
		return t
	default:
		return ptx.NoType
	}
}
