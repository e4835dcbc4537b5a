package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// The steps. Each has a function that reads it, from the words that a line of a script
// and the flags of run have in common.
type (
	loadStep struct{ file string }
	// defineStep makes a buffer, or gives a tensor map or struct a name.
	defineStep struct {
		name   string
		spec   spec
		memory bool
	}
	setStep struct {
		to   *target
		spec spec
	}
	copyStep struct {
		to, from *target
		bytes    int // 0 for all
	}
	launchStep struct {
		kernel               string
		args                 []argument
		grid, block, cluster sim.Dim
		shared, registers    int
		dependent            bool
	}
	expectStep struct {
		of               *target
		spec             spec
		within, relative float64
	}
	printStep struct{ of *target }
	outStep   struct {
		of   *target
		file string
	}
)

// argument is one of a kernel; name is that of the buffer which it makes.
type argument struct {
	name string
	spec spec
}

// assignment cuts NAME=REST.
func assignment(word, form string) (name, rest string, err error) {
	name, rest, ok := strings.Cut(word, "=")
	if !ok || name == "" || rest == "" {
		return "", "", fmt.Errorf("%q: want %s", word, form)
	}
	return name, rest, nil
}

func (l *loadStep) do(_ context.Context, s *session) error {
	_, err := s.load(l.file)
	return err
}

func parseDefine(word string, memory bool) (*defineStep, error) {
	form := "NAME=BUFFER, as x=zeros:f32:1000"
	if !memory {
		form = "NAME=MAP, as m=map:x:f16:64x16:64x8"
	}
	name, rest, err := assignment(word, form)
	if err != nil {
		return nil, err
	}
	sp, err := parseSpec(rest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	switch sp.(type) {
	case *number, *reference:
		return nil, fmt.Errorf("%q: want %s", word, form)
	case *array, *file:
		if !memory {
			return nil, fmt.Errorf("%q is a buffer; want %s", word, form)
		}
	}
	return &defineStep{name, sp, memory}, nil
}

func (d *defineStep) do(_ context.Context, s *session) error {
	if err := s.free(d.name); err != nil {
		return err
	}
	v, err := d.spec.value(s, ptx.NoType)
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	if !d.memory {
		s.values[d.name] = v
		return nil
	}
	_, err = s.add(d.name, v)
	return err
}

func parseSet(word string) (*setStep, error) {
	name, rest, err := assignment(word, "NAME=VALUE, as scale=f32:1.5")
	if err != nil {
		return nil, err
	}
	to, err := parseTarget(name)
	if err != nil {
		return nil, err
	}
	sp, err := parseSpec(rest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &setStep{to, sp}, nil
}

func (c *setStep) do(_ context.Context, s *session) error {
	p, err := c.to.place(s)
	if err != nil {
		return err
	}
	v, err := c.spec.value(s, p.typ)
	if err != nil {
		return fmt.Errorf("%s: %w", p.label, err)
	}
	size, room := v.size(), p.size()
	n, isNumber := c.spec.(*number)
	switch {
	case isNumber && n.typ == ptx.NoType: // stands for every element
		v.data = []byte(strings.Repeat(string(v.data), elems(p.shape)))
	case size > room, size < room && c.to.offset == 0:
		return fmt.Errorf("%s has %d bytes, the value %d; NAME+BYTES sets a part", p.label, room, size)
	}
	if s.dry {
		return nil
	}
	if v.data == nil {
		return fmt.Errorf("%s: empty is no value; take zeros", p.label)
	}
	return s.dev.Write(p.ptr, v.data)
}

func parseCopy(word string, bytes int) (*copyStep, error) {
	to, from, err := assignment(word, "TO=FROM, as y=x or y+64=x+128")
	if err != nil {
		return nil, err
	}
	c := &copyStep{bytes: bytes}
	if bytes < 0 {
		return nil, fmt.Errorf("--bytes %d: want how many, at least 1", bytes)
	}
	if c.to, err = parseTarget(to); err != nil {
		return nil, err
	}
	if c.from, err = parseTarget(from); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *copyStep) do(_ context.Context, s *session) error {
	to, err := c.to.place(s)
	if err != nil {
		return err
	}
	from, err := c.from.place(s)
	if err != nil {
		return err
	}
	n := c.bytes
	if n == 0 {
		n = from.size()
	}
	switch {
	case n > from.size():
		return fmt.Errorf("%s has %d bytes, %d are to be copied", from.label, from.size(), n)
	case n > to.size():
		return fmt.Errorf("%s has %d bytes, %d are to be copied into it; --bytes says how many", to.label, to.size(), n)
	case s.dry:
		return nil
	}
	return s.dev.Copy(to.ptr, from.ptr, n)
}

// parseDim reads X, XxY or XxYxZ.
func parseDim(flag, s string) (sim.Dim, error) {
	d := [3]int{1, 1, 1}
	for i, p := range strings.Split(s, "x") {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || i > 2 {
			return sim.Dim{}, fmt.Errorf("--%s %s: want X, XxY or XxYxZ, each at least 1", flag, s)
		}
		d[i] = n
	}
	return sim.Dim{X: d[0], Y: d[1], Z: d[2]}, nil
}

// parseLaunch reads the kernel and its arguments.
func parseLaunch(words []string, f *launchFlags) (*launchStep, error) {
	l := &launchStep{kernel: words[0], shared: f.shared, registers: f.registers, dependent: f.dependent}
	if strings.Count(l.kernel, "<") > strings.Count(l.kernel, ">") {
		return nil, fmt.Errorf("kernel %s: write the name in quotes, or without spaces", l.kernel)
	}
	var err error
	if l.grid, err = parseDim("grid", f.grid); err != nil {
		return nil, err
	}
	if l.block, err = parseDim("block", f.block); err != nil {
		return nil, err
	}
	if f.cluster != "" {
		if l.cluster, err = parseDim("cluster", f.cluster); err != nil {
			return nil, err
		}
	}
	if f.shared < 0 || f.registers < 0 {
		return nil, errors.New("--shared and --registers want 0 or more")
	}
	for i, w := range words[1:] {
		var a argument
		if name, rest, ok := strings.Cut(w, "="); ok && identifier.MatchString(name) {
			a.name, w = name, rest
		}
		if a.spec, err = parseSpec(w); err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		switch a.spec.(type) {
		case *array, *file:
		default:
			if a.name != "" {
				return nil, fmt.Errorf("argument %d: %s= is a name for a buffer, %s is none", i+1, a.name, w)
			}
		}
		l.args = append(l.args, a)
	}
	return l, nil
}

// find finds the kernel, in the module that was loaded last if several have it.
func (l *launchStep) find(s *session) (*module, *sim.Kernel, error) {
	if len(s.modules) == 0 {
		return nil, nil, errors.New("no file is loaded; write load FILE.ptx before launch")
	}
	var first error
	for i := len(s.modules) - 1; i >= 0; i-- {
		m := s.modules[i]
		name, err := m.kernels.find(l.kernel)
		if err == nil {
			k, err := m.Kernel(name)
			return m, k, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, nil, first
}

func (l *launchStep) do(ctx context.Context, s *session) error {
	m, k, err := l.find(s)
	if err != nil {
		return err
	}
	args, err := s.arguments(k, l.args)
	if err != nil {
		return err
	}
	launch := sim.Launch{
		Kernel: k, Grid: l.grid, Block: l.block, Cluster: l.cluster, SharedBytes: l.shared,
		Registers: l.registers, Dependent: l.dependent,
	}
	if launch.Params, err = k.Pack(args...); err != nil || s.dry {
		return err
	}
	label := m.kernels.label[k.Name]
	before := ""
	if s.opts.isScript {
		before = label + ": "
	}
	p, err := s.dev.Launch(ctx, launch)
	switch {
	case errors.As(err, &s.res.Report):
		s.say("%s", s.plain(s.res.Report.Error()))
		return errReport
	case err != nil:
		return err
	}
	for _, w := range p.Warnings {
		s.say("warning: %s", s.plain(w.Error()))
	}
	s.say("%s%s%s", before, s.clean(), warned(len(p.Warnings)))
	s.res.Warnings = append(s.res.Warnings, p.Warnings...)
	switch l := (launched{Where: strings.TrimSuffix(s.where, ": "), Kernel: k.Name}); {
	case !s.opts.isScript:
		s.res.Profile = p
	case s.opts.profile:
		l.Profile = p
		fallthrough
	default:
		s.res.Launches = append(s.res.Launches, l)
	}
	if s.opts.profile && s.text != nil {
		short := *p
		short.Kernel = label
		short.Print(s.text)
	}
	return nil
}

// arguments makes the kernel's arguments.
func (s *session) arguments(k *sim.Kernel, specs []argument) ([]any, error) {
	params := k.Params()
	if len(specs) != len(params) {
		var names []string
		for _, p := range params {
			names = append(names, p.Type+" "+p.Name)
		}
		return nil, fmt.Errorf("%s takes %d arguments (%s), got %d", k.Name, len(params), strings.Join(names, ", "), len(specs))
	}
	args := make([]any, len(params))
	named := func(i int, err error) error {
		return fmt.Errorf("argument %d (%s, a %s): %w", i+1, params[i].Name, params[i].Type, err)
	}
	for i, p := range params { // buffers first: maps and structs refer to them
		switch f := specs[i].spec.(type) {
		case *array:
		case *file:
			if f.kind == "bytes" {
				continue
			}
		default:
			continue
		}
		if p.Bytes != 8 {
			return nil, named(i, fmt.Errorf("it has %d bytes, and the address of a buffer 8", p.Bytes))
		}
		b, err := s.argumentBuffer(p, specs[i])
		if err != nil {
			return nil, named(i, err)
		}
		args[i] = b.ptr
	}
	for i, p := range params {
		if args[i] != nil {
			continue
		}
		v, err := specs[i].spec.value(s, ptx.TypeNamed(p.Type))
		if n, ok := specs[i].spec.(*number); ok && n.typ == ptx.NoType && ptx.TypeNamed(p.Type).Bits() != 8*p.Bytes {
			err = fmt.Errorf("%q is not %d bytes; write a struct as {f32:1.5,u32:7,NAME}, bytes as hex:00ff or bytes:FILE, or a tensor map as %s", n.text, p.Bytes, tiledForm)
		}
		if r, ok := specs[i].spec.(*reference); ok && err != nil && p.Bytes != 8 {
			err = fmt.Errorf("%q is no number, and no map or struct has that name", r.name)
		}
		if err != nil {
			return nil, named(i, err)
		}
		if err := fits(len(v.data), p.Bytes); err != nil {
			return nil, named(i, err)
		}
		args[i] = v.data
	}
	return args, nil
}

// fits says what to do about a value of another size than its parameter.
func fits(has, want int) error {
	switch {
	case has == want:
		return nil
	case want == 8:
		return fmt.Errorf("the value has %d bytes, the parameter 8: if it is an address, put the value into a buffer (--buffer NAME=…) and give NAME", has)
	case has < want:
		return fmt.Errorf("the value has %d bytes, the parameter %d; give the missing fields, or pad:%d", has, want, want-has)
	}
	return fmt.Errorf("the value has %d bytes, the parameter %d", has, want)
}

// argumentBuffer makes a buffer of an argument. Without a name it has the parameter's; that
// of an earlier launch then loses it.
func (s *session) argumentBuffer(p sim.Param, a argument) (*place, error) {
	name := a.name
	if name == "" {
		suffix := paramName.FindString(p.Name)
		name = last(shortName(strings.TrimSuffix(p.Name, suffix))) + suffix
	} else if err := s.free(name); err != nil {
		return nil, err
	}
	v, err := a.spec.value(s, ptx.NoType)
	if err != nil {
		return nil, err
	}
	return s.add(name, v)
}

func parsePrint(word string) (*printStep, error) {
	t, err := parseTarget(word)
	return &printStep{t}, err
}

func parseOut(word string) (*outStep, error) {
	name, file, err := assignment(word, "NAME=FILE.npy, or FILE.raw for the bytes alone")
	if err != nil {
		return nil, err
	}
	o := &outStep{file: file}
	if o.of, err = parseTarget(name); err != nil {
		return nil, err
	}
	switch ext := filepath.Ext(file); ext {
	case ".npy", ".raw", ".bin":
	default:
		return nil, fmt.Errorf("%s: the name says what is written: FILE.npy is an array, FILE.raw or FILE.bin the bytes alone", word)
	}
	return o, nil
}

func (o *outStep) do(_ context.Context, s *session) error {
	p, err := o.of.place(s)
	if err != nil {
		return err
	}
	path := s.path(o.file)
	if s.dry {
		s.writes = append(s.writes, path)
		return nil
	}
	data, err := s.bytes(p)
	if err != nil {
		return err
	}
	switch i, err := s.dev.Unwritten(p.ptr, len(data)); {
	case err != nil:
		return err
	case i >= 0:
		s.say("warning: %s is written out, but its element %d was never written", p.label, i*8/p.typ.Bits())
	}
	err = atomicfile.Write(path, func(w io.Writer) error {
		if filepath.Ext(path) == ".npy" {
			return writeNPY(w, p.typ, p.shape, data)
		}
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return &failedError{err}
	}
	return nil
}

// failedError is what goes wrong while running: exit code 1.
type failedError struct{ error }

func (e *failedError) Unwrap() error { return e.error }

func (p *printStep) do(_ context.Context, s *session) error {
	at, err := p.of.place(s)
	if err != nil || s.dry {
		return err
	}
	v := shown{Name: at.label, Type: at.typ.String(), Shape: at.shape}
	if v.Values, err = s.first(at, mostShown); err != nil {
		return err
	}
	s.res.Values = append(s.res.Values, v)
	s.say("%s, %v %s: %s", v.Name, at.typ, shapeText(at.shape), text(v.Values, elems(at.shape)))
	return nil
}

// mostShown is how many elements are printed.
const mostShown = 64

// first are the first elements of a place, as people read them.
func (s *session) first(p *place, most int) (values []string, err error) {
	data, err := s.bytes(p)
	if err != nil {
		return nil, err
	}
	size := p.typ.Bits() / 8
	for i := 0; i < elems(p.shape) && i < most; i++ {
		values = append(values, format(data[i*size:], p.typ))
	}
	return values, nil
}

// text are the first of n elements.
func text(values []string, n int) string {
	s := strings.Join(values, " ")
	if more := n - len(values); more > 0 {
		s += fmt.Sprintf(" … %d more", more)
	}
	return s
}

func shapeText(shape []int) string {
	var s []string
	for _, n := range shape {
		s = append(s, strconv.Itoa(n))
	}
	return strings.Join(s, "x")
}
