package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/openfile"
)

// session is a simulated device and what the steps of a run or a script have put on it.
type session struct {
	dev     *sim.Device
	dry     bool // nothing is launched, compared, printed or written: mistakes are looked for
	modules []*module
	buffers map[string]*place
	values  map[string]*value // that have a name: tensor maps, structs

	folder string    // that names of files are relative to
	where  string    // of the step: "FILE:7: " in a script, "--set x=7: " of a run
	left   int       // steps behind it
	text   io.Writer // for people; nil with --json
	opts   *options
	res    *result

	reads, writes []string
}

// module is a loaded file with the names of what is in it.
type module struct {
	*sim.Module
	kernels   *names
	vars      *names
	variables map[string]*place
}

// place is memory of the device: a buffer, a variable, or a part of one.
type place struct {
	label string
	ptr   sim.Ptr
	typ   ptx.Type
	shape []int
}

func (p *place) size() int { return elems(p.shape) * p.typ.Bits() / 8 }

// newSession makes a device in a mode.
func newSession(o *options, mode sim.Mode, text io.Writer, printf io.Writer, dry bool) *session {
	cfg := sim.Config{Arch: o.arch, Mode: mode, MaxSteps: o.maxSteps, Profile: o.profile, Printf: printf}
	if cfg.NoChecks = len(o.ignore) == len(sim.Optional); !cfg.NoChecks {
		cfg.Ignore = o.ignore
	}
	return &session{
		dev: sim.New(cfg), dry: dry, folder: o.folder, text: text, opts: o, res: &result{Mode: mode.String()},
		buffers: map[string]*place{}, values: map[string]*value{},
	}
}

// say prints a line for people.
func (s *session) say(format string, args ...any) {
	where := ""
	if s.opts.isScript {
		where = s.where
	}
	if s.text != nil && !s.dry {
		fmt.Fprintf(s.text, "%s: %s%s\n", s.res.Mode, where, fmt.Sprintf(format, args...))
	}
}

// plain puts plain names into a text.
func (s *session) plain(text string) string {
	var ns []*names
	for _, m := range s.modules {
		ns = append(ns, m.kernels, m.vars)
	}
	return plain(text, ns...)
}

// path is where a file is.
func (s *session) path(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(s.folder, file)
}

// read reads a file of at most maxBytes.
func (s *session) read(file string) ([]byte, error) {
	path := s.path(file)
	s.reads = append(s.reads, path)
	return openfile.Read(path, maxBytes)
}

// load reads and decodes a file.
func (s *session) load(file string) (*module, error) {
	src, err := s.read(file)
	if err != nil {
		return nil, err
	}
	if hint := notPTX(file, src); hint != "" {
		return nil, fmt.Errorf("%s: %s", s.path(file), hint)
	}
	mod, err := s.dev.LoadSome(s.path(file), src)
	if err != nil {
		return nil, err
	}
	m := &module{Module: mod, kernels: kernelNames(mod), variables: map[string]*place{}}
	var all []string
	for _, v := range mod.Variables() {
		all = append(all, v.Name)
		t := map[ptx.Type]ptx.Type{ptx.B8: ptx.U8, ptx.B16: ptx.U16, ptx.B32: ptx.U32, ptx.B64: ptx.U64}[v.Type]
		if t == ptx.NoType {
			t = v.Type
		}
		m.variables[v.Name] = &place{ptr: v.Ptr, typ: t, shape: []int{int(v.Bytes) * 8 / t.Bits()}}
	}
	m.vars = newNames("variable", mod.File, all)
	for name, p := range m.variables {
		p.label = m.vars.label[name]
	}
	s.modules = append(s.modules, m)
	return m, nil
}

// notPTX says what a file is that people take for PTX.
func notPTX(file string, src []byte) string {
	switch ext := strings.ToLower(filepath.Ext(file)); {
	case ext == ".cu" || ext == ".cpp" || ext == ".c" || ext == ".cuh":
		return "is C++; nvcc -ptx compiles it to PTX"
	case bytes.HasPrefix(src, []byte("\x7fELF")), bytes.HasPrefix(src, []byte("\x50\xed\x55\xba")):
		return "is machine code; nvcc -ptx makes PTX, and cuobjdump -ptx takes it out of a program"
	case bytes.HasPrefix(src, []byte("; ModuleID")), bytes.HasPrefix(src, []byte("BC\xc0\xde")):
		return "is LLVM's; llc -march=nvptx64 makes PTX of it"
	}
	return ""
}

// add makes a buffer with a name, and with a value in it.
func (s *session) add(name string, v *value) (*place, error) {
	ptr, err := s.dev.Alloc(name, int64(v.size()))
	if err != nil {
		return nil, err
	}
	if v.data != nil {
		if err := s.dev.Write(ptr, v.data); err != nil {
			return nil, err
		}
	}
	p := &place{label: name, ptr: ptr, typ: v.typ, shape: v.shape}
	s.buffers[name] = p
	return p, nil
}

// free reports a name that is taken.
func (s *session) free(name string) error {
	if !identifier.MatchString(name) || isFloatWord(name) || ptx.TypeNamed(name) != ptx.NoType {
		return fmt.Errorf("%q cannot be a name; take letters, digits and _", name)
	}
	if s.buffers[name] != nil || s.values[name] != nil {
		return fmt.Errorf("two buffers are called %s; take another name for one", name)
	}
	return nil
}

// find finds a buffer, or a variable of a module, the last loaded first.
func (s *session) find(r *reference) (*place, error) {
	p := s.buffers[r.name]
	if p == nil {
		for _, m := range slices.Backward(s.modules) {
			name, err := m.vars.find(r.name)
			if err == nil {
				p = m.variables[name]
				break
			}
			if strings.Contains(err.Error(), " fits ") {
				return nil, err
			}
		}
	}
	if p == nil {
		return nil, s.unknown(r.name)
	}
	size := p.size()
	if r.offset >= size {
		return nil, fmt.Errorf("%s+%d lies behind %s, which has %d bytes", r.name, r.offset, p.label, size)
	}
	if r.offset == 0 {
		return p, nil
	}
	part := &place{label: fmt.Sprintf("%s+%d", p.label, r.offset), ptr: p.ptr + sim.Ptr(r.offset), typ: p.typ}
	elem := p.typ.Bits() / 8
	if (size-r.offset)%elem != 0 {
		part.typ, elem = ptx.U8, 1
	}
	part.shape = []int{(size - r.offset) / elem}
	return part, nil
}

// unknown says which names there are.
func (s *session) unknown(name string) error {
	say := "no buffer " + name + "; "
	switch ext := filepath.Ext(name); {
	case ext == ".raw" || ext == ".bin" || ext == ".dat":
		say += "raw:" + name + " is the file; "
	case strings.EqualFold(name, "null") || name == "nullptr":
		say += "a null pointer is 0; "
	}
	say += "there are " + listed(s.buffers)
	if len(s.values) > 0 {
		say += "; values " + listed(s.values)
	}
	for _, m := range s.modules {
		if len(m.vars.all) > 0 {
			say += "; variables " + m.vars.list(m.vars.all)
		}
	}
	return errors.New(say)
}

// target is NAME[+BYTES][:TYPE], memory that is set, copied, expected, printed or written.
type target struct {
	reference
	typ ptx.Type // as which it is seen; NoType for its own
}

func parseTarget(word string) (*target, error) {
	name, view, colon := strings.Cut(word, ":")
	t := &target{}
	if colon {
		if t.typ = elementType(view); t.typ == ptx.NoType {
			return nil, fmt.Errorf("%q: type %q: want f16, bf16, f32, f64, u8 to u64, s8 to s64", word, view)
		}
	}
	r, err := parseReference(name)
	if err != nil {
		return nil, err
	}
	t.reference = *r
	return t, nil
}

// place finds the memory and sees it as the type.
func (t *target) place(s *session) (*place, error) {
	p, err := s.find(&t.reference)
	if err != nil || t.typ == ptx.NoType || t.typ == p.typ {
		return p, err
	}
	if p.size()*8%t.typ.Bits() != 0 {
		return nil, fmt.Errorf("%s has %d bytes, which are no whole number of %v", p.label, p.size(), t.typ)
	}
	return &place{label: p.label, ptr: p.ptr, typ: t.typ, shape: []int{p.size() * 8 / t.typ.Bits()}}, nil
}

// bytes reads a place.
func (s *session) bytes(p *place) ([]byte, error) {
	b := make([]byte, p.size())
	return b, s.dev.Read(p.ptr, b)
}

// check looks for a file that would be read and written, or written twice.
func (s *session) check() error {
	resolve := func(path string) string {
		if r, err := atomicfile.Resolve(path); err == nil {
			return r
		}
		return path
	}
	written := map[string]bool{}
	for _, w := range s.writes {
		to := resolve(w)
		if written[to] {
			return fmt.Errorf("%s is written twice; take another name for one", w)
		}
		written[to] = true
		for _, r := range s.reads {
			if resolve(r) == to || sameFile(r, w) {
				return fmt.Errorf("%s is read and would be overwritten; write to another file", w)
			}
		}
		if err := atomicfile.Check(w); err != nil {
			return err
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
