package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/format"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// A family is the entries that differ in element type and tile only. They have
// one signature, and so one struct of arguments.
type family struct {
	name     string // "mse_bwd"
	file     string // "elementwise.cu"
	arch     string // the oldest that it is compiled for: "sm80"
	threads  int    // of a block
	overlaps bool   // waits by itself for the launches before it
	// registers are kRegisters of its file: what setmaxnreg moves between warpgroups, and
	// so what a thread must have; 0 where the compiler is free.
	registers int
	params    []param
	epilogue  int // how many of the params, at the end, are those of Epilogue
	entries   []entryOf
}

// entryOf is one entry of a family.
type entryOf struct {
	name, elem, module string
	tile               string // a Tile literal
	stages             int
	shared, cluster    int
}

// param is a parameter, or a member of a table's rows.
type param struct {
	name      string
	c         string // as the source has it: "const T*"
	kind      string // a Kind of package kernels
	elem      string // of a pointer, as an Elem of package kernels
	out       bool
	maybeNull bool
	offset    int // in a row
}

// table is a struct that entries find at an address.
type table struct {
	name, source, file string // GramLayer is Layer of gram_mma.cu
	fields             []param
	bytes              int
	typed              bool // a field points to elements of the entry's type
}

// api is what args_gen.go holds.
type api struct {
	families  []*family
	tables    []*table
	epilogue  []param
	constants []constantOf
	byEntry   map[string]*family
}

type constantOf struct {
	file, name, source string
	value              int64
}

// elements are the types that entries are named after.
var elements = []string{"f32", "f16", "bf16", "tf32"}

var (
	tileWord    = regexp.MustCompile(`^(\d+x\d+(x\d+)?|(multicast|split)\d+|pingpong)$`)
	tileFields  = map[string]string{"CH": "Channels", "BN": "Channels", "PX": "Pixels", "MULTICAST": "Multicast", "SPLIT": "Split", "PINGPONG": "Pingpong"}
	scalarKinds = map[string]string{"int": "Int32", "flag": "Flag", "unsigned": "Uint32", "unsigned long long": "Uint64", "float": "Float32", "double": "Float64"}
	pointees    = map[string]string{
		"float": "F32", "double": "F64", "uint8_t": "U8", "uint32_t": "U32", "unsigned long long": "U64", "uint4": "U32x4",
	}
)

// splitName takes an entry's name apart.
func splitName(entry string) (family, elem string) {
	var words []string
	for _, w := range strings.Split(entry, "_") {
		switch {
		case elem == "" && slices.Contains(elements, w):
			elem = w
		case w == "nhwc", tileWord.MatchString(w):
		default:
			words = append(words, w)
		}
	}
	return strings.Join(words, "_"), elem
}

// add takes the kernels of one compilation in: of a file, for one value of EACH
// and its oldest architecture; without a module each kernel is one of its own name.
// values are what nvcc says of expressions.
func (a *api) add(file, module string, s *source, values map[string]int64) error {
	for _, c := range s.constants {
		g := constantOf{c.file, constantName(c), c.name, values[c.name]}
		if i := slices.IndexFunc(a.constants, func(o constantOf) bool { return o.name == g.name }); i < 0 {
			a.constants = append(a.constants, g)
		} else if a.constants[i] != g {
			return fmt.Errorf("%s: %s of %s and %s of %s have one name in Go", file, c.name, c.file, a.constants[i].source, a.constants[i].file)
		}
	}
	for _, k := range s.kernels {
		if err := a.addKernel(file, module, s, k, values); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	return nil
}

func (a *api) addKernel(file, module string, s *source, k *kernel, values map[string]int64) error {
	name, elem := splitName(k.name)
	if elem == "" {
		return fmt.Errorf("no element type in the name, of %v", elements)
	}
	f := &family{name: name, file: file, registers: int(values["kRegisters"])}
	for _, v := range k.params {
		p, err := a.param(v, elem, s, file, values)
		if err != nil {
			return err
		}
		f.params = append(f.params, p)
	}
	if end := s.records["Epilogue"]; len(end) > 0 && len(end) <= len(k.params) &&
		slices.EqualFunc(end, k.params[len(k.params)-len(end):], func(a, b variable) bool { return a.name == b.name }) {
		f.epilogue = len(end)
		a.epilogue = f.params[len(f.params)-len(end):]
	}
	e := entryOf{name: k.name, elem: elem, module: cmp.Or(module, k.name)}
	e.shared = int(values[sharedOf(s, k)])
	fields := map[string]int64{"Multicast": 1, "Split": 1}
	for i, t := range s.templates[k.callee].params {
		if t.typ != "int" {
			continue
		}
		n, ok := integer(k.callArgs[i])
		switch field := tileFields[t.name]; {
		case !ok:
			return fmt.Errorf("%s = %s of %s is no literal", t.name, k.callArgs[i], k.callee)
		case field != "":
			fields[field] = int64(n)
		case t.name == "STAGES":
			e.stages = n
		default:
			return fmt.Errorf("no field of Tile is for %s of %s", t.name, k.callee)
		}
	}
	if k.callee != "" {
		if fields["Pixels"] == 0 {
			fields["Pixels"] = values["BM"]
		}
		if e.stages == 0 {
			e.stages = int(values["kStages"])
		}
		e.tile = fmt.Sprintf("Tile{%d, %d, %d, %d, %t}", fields["Channels"], fields["Pixels"], fields["Multicast"], fields["Split"], fields["Pingpong"] == 1)
	}
	if i := slices.IndexFunc(a.families, func(o *family) bool { return o.name == name }); i < 0 {
		a.families = append(a.families, f)
	} else if o := a.families[i]; o.file != file || o.epilogue != f.epilogue || !slices.Equal(o.params, f.params) {
		return fmt.Errorf("its parameters are not those of %s", o.entries[0].name)
	} else {
		f = o
	}
	f.entries = append(f.entries, e)
	a.byEntry[k.name] = f
	return nil
}

// sharedOf is the constant that says how much dynamic shared memory a kernel is
// launched with: kShared of the struct that it runs, or of its file.
func sharedOf(s *source, k *kernel) string {
	if slices.Contains(s.statics[k.callee], "kShared") {
		return k.callee + "<" + strings.Join(k.callArgs, ", ") + ">::kShared"
	}
	if slices.ContainsFunc(s.constants, func(c constant) bool { return c.name == "kShared" }) {
		return "kShared"
	}
	return ""
}

// param says what a parameter is in Go. The element type that the entry is named
// after is T.
func (a *api) param(v variable, elem string, s *source, file string, values map[string]int64) (param, error) {
	p := param{name: v.name, maybeNull: v.maybeNull}
	if !v.pointer {
		p.c = v.typ
		if v.typ == "CUtensorMap" {
			p.kind, p.elem = "TensorMap", "stored"
		} else if p.kind = scalarKinds[v.typ]; p.kind == "" {
			return p, fmt.Errorf("%s: no scalar of type %s", v.name, v.typ)
		}
		if v.maybeNull && p.kind != "TensorMap" {
			return p, fmt.Errorf("%s: MAYBE_NULL is for pointers", v.name)
		}
		return p, nil
	}
	p.kind, p.out = "Pointer", !v.constant
	typ := v.typ
	switch {
	case typ == elem, typ == "Element<"+elem+">::Store":
		typ, p.elem = "T", "stored"
	case typ == "void": // of a row, which several types share
		p.elem = "stored"
	case pointees[typ] != "":
		p.elem = pointees[typ]
	case s.records[typ] != nil:
		t, err := a.table(typ, s, file, values)
		if err != nil {
			return p, err
		}
		typ, p.elem = t.name, t.name+"Elem"
	default:
		return p, fmt.Errorf("%s: no element of type %s", v.name, v.typ)
	}
	p.c = typ + "*"
	if v.constant {
		p.c = "const " + p.c
	}
	return p, nil
}

func (a *api) table(name string, s *source, file string, values map[string]int64) (*table, error) {
	t := &table{name: tableName(name, file), source: name, file: file, bytes: int(values["sizeof("+name+")"])}
	for _, v := range s.records[name] {
		p, err := a.param(v, "", s, file, values)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p.offset = int(values["offsetof("+name+", "+v.name+")"])
		t.typed = t.typed || p.elem == "stored"
		t.fields = append(t.fields, p)
	}
	for _, o := range a.tables {
		if o.name == t.name {
			if o.file != t.file || o.source != t.source || o.bytes != t.bytes || !slices.Equal(o.fields, t.fields) {
				return nil, fmt.Errorf("%s of %s and %s of %s have one name in Go", name, file, o.source, o.file)
			}
			return o, nil
		}
	}
	a.tables = append(a.tables, t)
	return t, nil
}

// expressions are what the generator wants to know from nvcc.
func expressions(s *source) []string {
	var all []string
	for _, c := range s.constants {
		all = append(all, c.name)
	}
	for _, k := range s.kernels {
		if e := sharedOf(s, k); e != "" && !slices.Contains(all, e) {
			all = append(all, e)
		}
		for _, v := range k.params {
			if size := "sizeof(" + v.typ + ")"; v.pointer && s.records[v.typ] != nil && !slices.Contains(all, size) {
				all = append(all, size)
				for _, m := range s.records[v.typ] {
					all = append(all, "offsetof("+v.typ+", "+m.name+")")
				}
			}
		}
	}
	return all
}

// planned is the registers that an entry must have, or 0.
func (a *api) planned(entry string) int {
	if f := a.byEntry[entry]; f != nil {
		return f.registers
	}
	return 0
}

// compiled holds what the sources say against PTX, and takes from it what the
// compiler has decided.
func (a *api) compiled(arch string, text []byte) error {
	m, err := ptx.Parse(arch, text)
	if err != nil {
		return err
	}
	bytes := map[string]int{"Pointer": 8, "TensorMap": 128, "Int32": 4, "Flag": 4, "Uint32": 4, "Uint64": 8, "Float32": 4, "Float64": 8}
	for _, k := range m.Entries {
		f := a.byEntry[k.Name]
		if f == nil {
			return fmt.Errorf("%s is no entry of a source", k.Name)
		}
		if len(k.Params) != len(f.params) {
			return fmt.Errorf("%s has %d parameters, its source %d", k.Name, len(k.Params), len(f.params))
		}
		for i, p := range k.Params {
			if want := bytes[f.params[i].kind]; p.Size != want {
				return fmt.Errorf("%s: %s has %d bytes, its type %d", k.Name, f.params[i].name, p.Size, want)
			}
		}
		threads := k.MaxNTID[0] * k.MaxNTID[1] * k.MaxNTID[2]
		if threads == 0 || f.threads != 0 && f.threads != threads {
			return fmt.Errorf("%s: %d threads in __launch_bounds__, others of its family have %d", k.Name, threads, f.threads)
		}
		f.threads = threads
		if f.arch == "" {
			f.arch = arch
		}
		f.overlaps = f.overlaps || slices.ContainsFunc(k.Code, func(i *ptx.Instr) bool { return i.Op == "griddepcontrol" && i.Has("wait") })
		i := slices.IndexFunc(f.entries, func(e entryOf) bool { return e.name == k.Name })
		f.entries[i].cluster = k.ReqCluster[0]
	}
	return nil
}

// Names in Go.

var initialisms = map[string]string{
	"relu": "ReLU", "mse": "MSE", "lbfgs": "LBFGS", "tv": "TV", "mma": "MMA", "wgmma": "WGMMA", "dtv": "DTV", "pps": "PPS",
}

// exported is a name of C in Go: "dx" becomes DX, "one_target" OneTarget.
func exported(name string) string {
	var b strings.Builder
	for _, w := range strings.Split(name, "_") {
		kind, pooling := strings.CutSuffix(w, "pool2x2")
		switch up := initialisms[w]; {
		case up != "":
			b.WriteString(up)
		case pooling: // of any kind
			b.WriteString(strings.ToUpper(kind[:1]) + kind[1:] + "Pool2x2")
		case len(w) <= 2 && !strings.Contains(name, "_"):
			b.WriteString(strings.ToUpper(w))
		case w != "":
			b.WriteString(strings.ToUpper(w[:1]) + w[1:])
		}
	}
	return b.String()
}

// unexported is a family's name for what the package keeps to itself.
func unexported(name string) string {
	first, rest, _ := strings.Cut(name, "_")
	if rest == "" {
		return first
	}
	rest = exported(rest)
	return first + rest
}

// tableName puts a word of the file's name before a struct's that is one word.
func tableName(name, file string) string {
	if strings.ToLower(name[1:]) != name[1:] {
		return name
	}
	word, _, _ := strings.Cut(strings.TrimSuffix(file, ".cu"), "_")
	return exported(word) + name
}

// constantName is kStages of conv3x3_mma.cu as mmaStages, and a constant of a
// header alike.
func constantName(c constant) string {
	file := strings.TrimPrefix(strings.TrimSuffix(c.file, filepath.Ext(c.file)), "conv3x3_")
	prefix := unexported(file)
	var words []string
	for _, w := range strings.Split(c.name, "::") {
		if len(w) > 1 && w[0] == 'k' && strings.ToUpper(w[1:2]) == w[1:2] {
			w = w[1:]
		}
		words = append(words, strings.ToUpper(w[:1])+w[1:])
	}
	return prefix + strings.TrimPrefix(strings.Join(words, ""), strings.ToUpper(prefix[:1])+prefix[1:])
}

// Writing.

type printer struct{ bytes.Buffer }

func (p *printer) f(format string, args ...any) { fmt.Fprintf(&p.Buffer, format, args...) }

// source writes args_gen.go.
func (a *api) source() ([]byte, error) {
	p := &printer{}
	p.f("// Code generated by tools/ptx; DO NOT EDIT.\n\npackage kernels\n\n")
	if slices.ContainsFunc(a.families, func(f *family) bool { return f.epilogue > 0 }) {
		p.f("import \"slices\"\n\n")
	}
	a.writeConstants(p)
	a.writeEpilogue(p)
	for _, t := range a.tables {
		t.write(p)
	}
	for _, f := range a.families {
		f.write(p)
	}
	p.f("// families lists those of all sources.\nvar families = []*family{\n")
	for _, f := range a.families {
		p.f("&%sFamily,\n", unexported(f.name))
	}
	p.f("}\n")
	out, err := format.Source(p.Bytes())
	if err != nil {
		return nil, fmt.Errorf("args_gen.go: %w\n%s", err, p.Bytes())
	}
	return out, nil
}

func (a *api) writeConstants(p *printer) {
	byFile := map[string][]constantOf{}
	for _, c := range a.constants {
		byFile[c.file] = append(byFile[c.file], c)
	}
	for _, file := range slices.Sorted(maps.Keys(byFile)) {
		p.f("// Constants of %s.\nconst (\n", file)
		for _, c := range byFile[file] {
			p.f("%s = %d // %s\n", c.name, c.value, c.source)
		}
		p.f(")\n\n")
	}
}

func (a *api) writeEpilogue(p *printer) {
	if a.epilogue == nil {
		return
	}
	p.f("// EpilogueArgs are the parameters of every entry that ends in an epilogue (epilogue.cuh).\ntype EpilogueArgs struct {\n")
	writeFields(p, a.epilogue)
	p.f("}\n\nvar epilogueParams = []Param{\n")
	writeParams(p, a.epilogue)
	p.f("}\n\nfunc (a EpilogueArgs) list() []Arg {\nreturn []Arg{")
	writeList(p, a.epilogue)
	p.f("}\n}\n\n")
}

func (t *table) write(p *printer) {
	p.f("// %s is a row of a table: %s of %s.\ntype %s struct {\n", t.name, t.source, t.file, t.name)
	writeFields(p, t.fields)
	p.f("}\n\n// %sElem is what a pointer to such a table points to.\nconst %sElem Elem = %q\n\n", t.name, t.name, t.name)
	p.f("func (a %s) list() []Arg {\nreturn []Arg{", t.name)
	writeList(p, t.fields)
	name := strings.ToLower(t.name[:1]) + t.name[1:]
	p.f("}\n}\n\nvar %sFields = []field{\n", name)
	for _, f := range t.fields {
		p.f("{%s, %d},\n", f.literal(), f.offset)
	}
	p.f("}\n\n")
	if t.typed {
		p.f("// %sTable encodes rows for entries of an element type.\n", t.name)
		p.f("func %sTable(t Elem, rows ...%s) (Table, error) {\nreturn encode(%sElem, t, %d, %sFields, rows)\n}\n\n", t.name, t.name, t.name, t.bytes, name)
		return
	}
	p.f("// %sTable encodes rows.\n", t.name)
	p.f("func %sTable(rows ...%s) (Table, error) {\nreturn encode(%sElem, \"\", %d, %sFields, rows)\n}\n\n", t.name, t.name, t.name, t.bytes, name)
}

func (f *family) write(p *printer) {
	name, own := exported(f.name)+"Args", f.params[:len(f.params)-f.epilogue]
	p.f("// %s are the parameters of %s (%s).\ntype %s struct {\n", name, f.names(), f.file, name)
	writeFields(p, own)
	if f.epilogue > 0 {
		p.f("EpilogueArgs\n")
	}
	p.f("}\n\n// %sThreads is the threads of a block.\nconst %sThreads = %d\n\n", unexported(f.name), unexported(f.name), f.threads)
	p.f("func (a %s) arguments() (*family, []Arg) {\n", name)
	if f.epilogue > 0 {
		p.f("return &%sFamily, slices.Concat([]Arg{", unexported(f.name))
		writeList(p, own)
		p.f("}, a.EpilogueArgs.list())\n}\n\n")
	} else {
		p.f("return &%sFamily, []Arg{", unexported(f.name))
		writeList(p, own)
		p.f("}\n}\n\n")
	}
	p.f("var %sFamily = family{\nname: %q, source: %q, arch: %q, threads: %sThreads,\n", unexported(f.name), f.name, strings.TrimSuffix(f.file, ".cu"), f.arch, unexported(f.name))
	if f.registers > 0 {
		p.f("registers: %d,\n", f.registers)
	}
	if f.overlaps {
		p.f("overlaps: true,\n")
	}
	if f.epilogue > 0 {
		p.f("params: slices.Concat([]Param{\n")
		writeParams(p, own)
		p.f("}, epilogueParams),\n")
	} else {
		p.f("params: []Param{\n")
		writeParams(p, own)
		p.f("},\n")
	}
	p.f("entries: []entry{\n")
	for _, e := range f.entries {
		p.f("{name: %q, module: %q, elem: %s", e.name, e.module, strings.ToUpper(e.elem))
		if e.tile != "" {
			p.f(", tile: %s, stages: %d", e.tile, e.stages)
		}
		if e.shared > 0 {
			p.f(", shared: %d", e.shared)
		}
		if e.cluster > 0 {
			p.f(", cluster: %d", e.cluster)
		}
		p.f("},\n")
	}
	p.f("},\n}\n\n")
}

// names lists a few entries, or how they are named.
func (f *family) names() string {
	if len(f.entries) > 4 {
		return f.entries[0].name + " and its like"
	}
	var all []string
	for _, e := range f.entries {
		all = append(all, e.name)
	}
	if len(all) == 1 {
		return all[0]
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}

// writeFields writes the members of a struct of Go, neighbours of one type together.
func writeFields(p *printer, ps []param) {
	for i := 0; i < len(ps); {
		j := i + 1
		for j < len(ps) && ps[j].c == ps[i].c && ps[j].maybeNull == ps[i].maybeNull {
			j++
		}
		var names []string
		for _, q := range ps[i:j] {
			names = append(names, exported(q.name))
		}
		p.f("%s %s // %s", strings.Join(names, ", "), goType(ps[i].kind), ps[i].c)
		if ps[i].maybeNull {
			p.f(", may be null")
		}
		p.f("\n")
		i = j
	}
}

func goType(kind string) string {
	return cmp.Or(map[string]string{"Pointer": "Ptr", "TensorMap": "Map", "Float32": "float32", "Float64": "float64", "Flag": "bool"}[kind], "int")
}

func (q param) literal() string {
	s := fmt.Sprintf("Param{Name: %q, Kind: %s", q.name, q.kind)
	if q.elem != "" {
		s += ", Elem: " + q.elem
	}
	if q.out {
		s += ", Out: true"
	}
	if q.maybeNull {
		s += ", MayBeNull: true"
	}
	return s + "}"
}

func writeParams(p *printer, ps []param) {
	for _, q := range ps {
		p.f("%s,\n", strings.TrimPrefix(q.literal(), "Param"))
	}
}

// writeList writes the arguments in the order of the parameters.
func writeList(p *printer, ps []param) {
	of := map[string]string{"Pointer": "pointer", "TensorMap": "tensorMap", "Float32": "float", "Float64": "double", "Flag": "flag"}
	for i, q := range ps {
		if i > 0 {
			p.f(", ")
		}
		p.f("%s(a.%s)", cmp.Or(of[q.kind], "integer"), exported(q.name))
	}
}
